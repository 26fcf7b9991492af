/* The classic C API as its clients use it: errors, modules, functions that the runtime has for
 * programs and for compiled code; test_api_functions.c calls functions, test_api_arrays.c has
 * arrays.
 */
#include "test/api_client.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

/* Errors */

static void *errors_on_a_new_thread(void *unused) {
    (void)unused;
    if (strcmp(TVMGetLastError(), "") != 0)
        return "a new thread has an error";
    TVMAPISetLastError("theirs");
    return strcmp(TVMGetLastError(), "theirs") == 0 ? NULL : "the message is not there";
}

static void test_last_error(void **state) {
    (void)state;
    char message[] = "ours %s%n";
    assert_string_equal(TVMGetLastError(), "");
    TVMAPISetLastError(message);
    message[0] = 'X'; /* it was copied */
    assert_string_equal(TVMGetLastError(), "ours %s%n");
    pthread_t thread;
    void *problem;
    assert_int_equal(pthread_create(&thread, NULL, errors_on_a_new_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, &problem), 0);
    assert_null(problem);
    assert_string_equal(TVMGetLastError(), "ours %s%n");
    TVMFunctionHandle none;
    expect_ok(TVMFuncGetGlobal("test.none", &none)); /* success does not clear it */
    assert_string_equal(TVMGetLastError(), "ours %s%n");
    TVMAPISetLastError(TVMGetLastError());
    assert_string_equal(TVMGetLastError(), "ours %s%n");
    TVMAPISetLastError(NULL);
    assert_string_equal(TVMGetLastError(), "");
}

/* Modules: of a kind made here; opening libraries is tested with the loader. */

static int echo_in_module(struct tvm_module *self, const struct tvm_call *call,
                          struct tvm_value *result) {
    (void)self;
    return tvm_value_own(&call->args[0], result);
}

static const struct tvm_module_method methods[] = {{"echo", echo_in_module}, {NULL, NULL}};

static int get_method(struct tvm_module *self, const char *name, struct tvm_function **out) {
    return tvm_module_get_method(self, methods, name, out);
}

static int get_nothing(struct tvm_module *self, const char *name, struct tvm_function **out) {
    (void)self;
    if (strcmp(name, "broken") == 0)
        return tvm_raise(TVM_RUNTIME_ERROR, "this module is broken");
    *out = NULL;
    return 0;
}

static const struct tvm_module_kind echo_kind = {.key = "echo", .get_function = get_method};
static const struct tvm_module_kind empty_kind = {.key = "empty", .get_function = get_nothing};

static void *import_many(void *root) {
    for (int i = 0; i < 100; i++) {
        TVMModuleHandle dep = tvm_module_alloc(sizeof(struct tvm_module), &empty_kind);
        if (TVMModImport(root, dep) || TVMModFree(dep))
            return root;
    }
    return NULL;
}

/* Who opens a file that is open gets the same module, so that imports meet look-ups. */
static void test_imports_at_once(void **state) {
    (void)state;
    TVMModuleHandle root = tvm_module_alloc(sizeof(struct tvm_module), &empty_kind);
    pthread_t thread;
    void *failed;
    assert_int_equal(pthread_create(&thread, NULL, import_many, root), 0);
    for (int i = 0; i < 100; i++) {
        TVMFunctionHandle function;
        expect_ok(TVMModGetFunction(root, "echo", 1, &function));
        assert_null(function);
    }
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(((struct tvm_module *)root)->import_count, 100);
    expect_ok(TVMModFree(root));
}

static void test_modules(void **state) {
    (void)state;
    TVMModuleHandle root = tvm_module_alloc(sizeof(struct tvm_module), &empty_kind);
    TVMModuleHandle dep = tvm_module_alloc(sizeof(struct tvm_module), &echo_kind);
    TVMFunctionHandle function, echoer = function_new(echo, NULL);
    TVMValue ret;
    int code;
    expect_ok(TVMModImport(root, dep));
    expect_ok(TVMModImport(root, dep));
    assert_int_equal(((struct tvm_module *)root)->import_count, 1);
    expect_failure(TVMModImport(dep, root), "a module cannot import itself");
    expect_failure(TVMModGetFunction(root, "broken", 1, &function), "this module is broken");
    expect_ok(TVMModGetFunction(root, "echo", 0, &function));
    assert_null(function);
    expect_ok(TVMModGetFunction(root, "echo", 1, &function));
    assert_non_null(function);
    expect_ok(call_one(echoer, handle_value(dep), kTVMModuleHandle, &ret, &code));
    assert_int_equal(seen.codes[0], kTVMModuleHandle);
    assert_int_equal(code, kTVMModuleHandle);
    assert_ptr_equal(ret.v_handle, dep);
    expect_ok(TVMModFree(ret.v_handle));
    expect_ok(TVMModFree(dep));
    expect_ok(TVMModFree(root));
    expect_ok(call_one(function, int_value(3), kTVMArgInt, &ret, &code)); /* keeps its module */
    assert_int_equal(ret.v_int64, 3);
    TVMFuncFree(function);
    TVMFuncFree(echoer);
    expect_ok(TVMModFree(NULL));
    TVMModuleHandle module;
    expect_failure(TVMModLoadFromFile("/nonexistent/model.so", "so", &module),
                   "/nonexistent/model.so");
}

/* Built-in functions */

static int call_global(const char *name, const TVMValue *args, const int *codes, int count,
                       TVMValue *ret, int *code) {
    TVMFunctionHandle function;
    expect_ok(TVMFuncGetGlobal(name, &function));
    assert_non_null(function);
    int status = TVMFuncCall(function, (TVMValue *)(uintptr_t)args, (int *)(uintptr_t)codes, count,
                             ret, code);
    TVMFuncFree(function);
    return status;
}

static void test_builtins(void **state) {
    (void)state;
    static const int ints[] = {kTVMArgInt, kTVMArgInt, kTVMArgInt};
    TVMValue ret, args[3] = {{.v_int64 = kDLCPU}, {.v_int64 = 0}, {.v_int64 = 0}};
    int code;
    static const char *const attributes[] = {"_GetDeviceAttr", "runtime.GetDeviceAttr"};
    for (size_t i = 0; i < COUNT(attributes); i++) {
        args[0].v_int64 = kDLCPU;
        args[2].v_int64 = 0;
        expect_ok(call_global(attributes[i], args, ints, 3, &ret, &code));
        assert_true(code == kTVMArgInt && ret.v_int64 == 1);
        args[2].v_int64 = 1; /* threads of a block: none */
        expect_ok(call_global(attributes[i], args, ints, 3, &ret, &code));
        assert_int_equal(code, kTVMNullptr);
        args[0].v_int64 = 99;
        expect_failure(call_global(attributes[i], args, ints, 3, &ret, &code), "device type 99(0)");
        args[2].v_int64 = 0;
        expect_ok(call_global(attributes[i], args, ints, 3, &ret, &code));
        assert_true(code == kTVMArgInt && ret.v_int64 == 0);
    }
    expect_failure(call_global("_GetDeviceAttr", args, ints, 2, &ret, &code),
                   "_GetDeviceAttr: expected 3 arguments, got 2");
    args[0].v_int64 = INT64_MIN;
    expect_failure(call_global("_GetDeviceAttr", args, ints, 3, &ret, &code), "no device has type");

    args[0].v_int64 = kDLCPU;
    expect_ok(call_global("__tvm_set_device", args, ints, 2, &ret, &code));
    expect_failure(call_global("__tvm_set_device", args, ints, 1, &ret, &code),
                   "__tvm_set_device: expected 2 arguments, got 1");
    args[0].v_int64 = kDLMetal;
    expect_failure(call_global("__tvm_set_device", args, ints, 2, &ret, &code), "metal(0)");

    static const char *const names[] = {"runtime.RuntimeEnabled", "module._Enabled"};
    for (size_t i = 0; i < COUNT(names); i++) {
        static const struct {
            const char *name;
            int enabled;
        } kinds[] = {{"cpu", 1}, {"llvm", 1}, {"c", 1},   {"cuda", 0},
                     {"", 0},    {"cp", 0},   {"cpux", 0}};
        for (size_t j = 0; j < COUNT(kinds); j++) {
            expect_ok(call_global(names[i], &(TVMValue){.v_str = kinds[j].name}, &(int){kTVMStr}, 1,
                                  &ret, &code));
            assert_true(code == kTVMArgInt && ret.v_int64 == kinds[j].enabled);
        }
        expect_failure(call_global(names[i], args, ints, 1, &ret, &code), "expected str or bytes");
    }

    TVMValue module = {.v_handle = tvm_module_alloc(sizeof(struct tvm_module), &echo_kind)};
    expect_ok(
        call_global("runtime.ModuleGetTypeKey", &module, &(int){kTVMModuleHandle}, 1, &ret, &code));
    assert_int_equal(code, kTVMStr);
    assert_string_equal(ret.v_str, "echo");
    TVMModFree(module.v_handle);
    expect_failure(call_global("module._GetTypeKey", args, ints, 1, &ret, &code),
                   "module._GetTypeKey: argument 0 (module): expected Module, got int");

    args[0].v_int64 = 1;
    args[1].v_int64 = 0;
    expect_ok(call_global("runtime.config_threadpool", args, ints, 2, &ret, &code));
    args[1].v_int64 = -1;
    expect_failure(call_global("runtime.config_threadpool", args, ints, 2, &ret, &code),
                   "expected 0 or more, got -1");
    args[1].v_int64 = INT64_MAX;
    expect_failure(call_global("runtime.config_threadpool", args, ints, 2, &ret, &code), "threads");
}

/* Back-end functions */

static int run_count;

static int count_run(void *closure) {
    run_count++;
    return *(int *)closure;
}

static void *once_handle;
static _Atomic int once_done;

static int slow_run(void *closure) {
    (void)closure;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    once_done++;
    return 0;
}

static void *run_once(void *unused) {
    (void)unused;
    return TVMBackendRunOnce(&once_handle, slow_run, NULL, 0) == 0 && once_done == 1 ? NULL
                                                                                     : &once_handle;
}

static void run_once_in_threads(void) {
    pthread_t threads[4];
    void *failed;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_once, NULL), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

/* What succeeds leaves the last error's text where the client found it. */
static void test_error_stays(void **state) {
    (void)state;
    TVMValue args[3] = {{.v_int64 = 2}, {.v_int64 = 0}, {.v_int64 = 0}}, ret;
    int ints[3] = {kDLInt, kDLInt, kDLInt}, code;
    TVMModuleHandle module;
    expect_failure(TVMModLoadFromFile("/nonexistent.so", "", &module), "/nonexistent.so");
    const char *text = TVMGetLastError();
    expect_ok(
        call_global("runtime.GetDeviceAttr", args, ints, 3, &ret, &code)); /* no such device */
    assert_int_equal(ret.v_int64, 0);
    assert_ptr_equal(TVMGetLastError(), text);
    assert_non_null(strstr(text, "/nonexistent.so"));
}

static void test_back_end(void **state) {
    (void)state;
    void *once = NULL;
    int status = -1;
    expect_failure((TVMAPISetLastError("once"), TVMBackendRunOnce(&once, count_run, &status, 4)),
                   "once");
    assert_null(once); /* another call tries again */
    status = 0;
    for (int i = 0; i < 2; i++)
        expect_ok(TVMBackendRunOnce(&once, count_run, &status, 4));
    assert_int_equal(run_count, 2);
    run_once_in_threads();

    void *first = TVMBackendAllocWorkspace(kDLCPU, 0, 5000, kDLFloat, 32);
    void *second = TVMBackendAllocWorkspace(kDLCPU, 0, 0, kDLFloat, 32);
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal((uintptr_t)first % 128, 0);
    memset(first, 1, 5000);
    expect_ok(TVMBackendFreeWorkspace(kDLCPU, 0, second));
    expect_ok(TVMBackendFreeWorkspace(kDLCPU, 0, first));
    expect_failure(TVMBackendFreeWorkspace(kDLCPU, 0, first), "not a workspace");
    expect_failure(TVMBackendFreeWorkspace(kDLCPU, 0, NULL), "not a workspace");
    expect_failure(TVMBackendFreeWorkspace(kDLVPI, 0, first), "vpi(0)");
    assert_null(TVMBackendAllocWorkspace(kDLVPI, 0, 1, 0, 0));
    expect_failure(-1, "vpi(0)");
    assert_null(TVMBackendAllocWorkspace(kDLCPU, 0, SIZE_MAX, 0, 0));
    expect_failure(-1, "cannot allocate a workspace of ");
    if (SIZE_MAX == UINT32_MAX) {
        assert_null(TVMBackendAllocWorkspace(kDLCPU, 0, (UINT64_C(1) << 32) + 64, 0, 0));
        expect_failure(-1, "out of memory");
    }

    TVMFunctionHandle function;
    expect_ok(TVMBackendGetFuncFromEnv(NULL, "runtime.RuntimeEnabled", &function));
    assert_non_null(function); /* borrowed */
    expect_failure(TVMBackendGetFuncFromEnv(NULL, "test.none", &function), "test.none");
}

static void test_devices(void **state) {
    (void)state;
    expect_ok(TVMSynchronize(kDLCPU, 0, NULL));
    expect_ok(TVMSetStream(kDLCPU, 0, NULL));
    expect_failure(TVMSynchronize(kDLCPU, 0, &finalized), "TVMSynchronize: stream must be NULL");
    expect_failure(TVMSetStream(kDLCPU, 0, &finalized), "TVMSetStream: stream must be NULL");
    expect_failure(TVMSynchronize(99, 0, NULL), "device type 99(0)");
    expect_failure(TVMSetStream(-5, 0, NULL), "device type -5(0)");
}

/* NULL where the API does not allow it is an error that names the function. */
static void test_null_arguments(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    TVMArrayHandle array = array_new(1, float32);
    TVMModuleHandle module = tvm_module_alloc(sizeof(struct tvm_module), &empty_kind);
    TVMValue value = {.v_int64 = 0};
    int code = kTVMArgInt, size;
    const char **names;
    void *out;
    DLManagedTensor *managed;
    expect_failure(TVMModLoadFromFile(NULL, "so", &out), "TVMModLoadFromFile");
    expect_failure(TVMModLoadFromFile("model.so", NULL, &out), "TVMModLoadFromFile");
    expect_failure(TVMModLoadFromFile("model.so", "so", NULL), "TVMModLoadFromFile");
    expect_failure(TVMModImport(NULL, module), "TVMModImport");
    expect_failure(TVMModImport(module, NULL), "TVMModImport");
    expect_failure(TVMModGetFunction(NULL, "f", 0, &out), "TVMModGetFunction");
    expect_failure(TVMModGetFunction(module, NULL, 0, &out), "TVMModGetFunction");
    expect_failure(TVMModGetFunction(module, "f", 0, NULL), "TVMModGetFunction");
    expect_failure(TVMFuncCall(NULL, &value, &code, 1, &value, &code), "TVMFuncCall");
    expect_failure(TVMFuncCall(function, NULL, &code, 1, &value, &code),
                   "TVMFuncCall: 1 arguments");
    expect_failure(TVMFuncCall(function, &value, NULL, 1, &value, &code), "TVMFuncCall");
    expect_failure(TVMFuncCall(function, &value, &code, 1, NULL, &code), "TVMFuncCall");
    expect_failure(TVMFuncCall(function, &value, &code, 1, &value, NULL), "TVMFuncCall");
    expect_failure(TVMFuncCall(function, &value, &code, -1, &value, &code), "-1 arguments");
    expect_failure(TVMFuncCreateFromCFunc(NULL, NULL, NULL, &out), "TVMFuncCreateFromCFunc");
    expect_failure(TVMFuncCreateFromCFunc(echo, NULL, NULL, NULL), "TVMFuncCreateFromCFunc");
    expect_failure(TVMFuncRegisterGlobal(NULL, function, 0), "TVMFuncRegisterGlobal");
    expect_failure(TVMFuncRegisterGlobal("test.null", NULL, 0), "TVMFuncRegisterGlobal");
    expect_failure(TVMFuncGetGlobal(NULL, &out), "TVMFuncGetGlobal");
    expect_failure(TVMFuncGetGlobal("f", NULL), "TVMFuncGetGlobal");
    expect_failure(TVMFuncRemoveGlobal(NULL), "TVMFuncRemoveGlobal");
    expect_failure(TVMFuncListGlobalNames(NULL, &names), "TVMFuncListGlobalNames");
    expect_failure(TVMFuncListGlobalNames(&size, NULL), "TVMFuncListGlobalNames");
    expect_failure(TVMObjectRetain(NULL), "TVMObjectRetain");
    expect_ok(TVMObjectFree(NULL));
    expect_ok(TVMByteArrayFree(NULL));
    expect_failure(TVMArrayAlloc(NULL, 1, kDLFloat, 32, 1, kDLCPU, 0, &array), "TVMArrayAlloc");
    expect_failure(TVMArrayAlloc(NULL, 0, kDLFloat, 32, 1, kDLCPU, 0, NULL), "TVMArrayAlloc");
    expect_failure(TVMArrayCopyFromBytes(NULL, &value, 4), "TVMArrayCopyFromBytes");
    expect_failure(TVMArrayCopyToBytes(NULL, &value, 4), "TVMArrayCopyToBytes");
    expect_failure(TVMArrayCopyFromTo(NULL, array, NULL), "TVMArrayCopyFromTo");
    expect_failure(TVMArrayCopyFromTo(array, NULL, NULL), "TVMArrayCopyFromTo");
    expect_failure(TVMArrayFromDLPack(NULL, &array), "TVMArrayFromDLPack");
    expect_failure(TVMArrayFromDLPack(&(DLManagedTensor){.deleter = NULL}, NULL),
                   "TVMArrayFromDLPack");
    expect_failure(TVMArrayToDLPack(NULL, &managed), "TVMArrayToDLPack");
    expect_failure(TVMArrayToDLPack(array, NULL), "TVMArrayToDLPack");
    TVMFuncFree(function);
    TVMArrayFree(array);
    TVMModFree(module);
}

/* Many threads at once: shared functions, arrays and names; errors and results of their own */

enum { THREADS = 8, ROUNDS = 300 };

static TVMFunctionHandle shared_function;
static TVMArrayHandle shared_array;

/* Like echo, without notes; fails when told to. */
static int echo_or_fail(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                        void *resource) {
    (void)resource;
    if (count > 1 && codes[1] == kTVMStr) {
        TVMAPISetLastError(args[1].v_str);
        return -1;
    }
    return TVMCFuncSetReturn(ret, args, codes, 1);
}

static void *use_api(void *number) {
    char text[64], name[64];
    for (int i = 0; i < ROUNDS; i++) {
        TVMValue args[2], ret;
        int codes[2] = {kTVMStr, kTVMStr}, code, count;
        const char **names;
        TVMFunctionHandle global;
        snprintf(text, sizeof(text), "thread %d, round %d", (int)(uintptr_t)number, i);
        snprintf(name, sizeof(name), "test.thread.%d", (int)(uintptr_t)number);
        args[0].v_str = args[1].v_str = text;
        if (TVMFuncCall(shared_function, args, codes, 1, &ret, &code) || code != kTVMStr)
            return "a call with a string";
        const char *returned = ret.v_str;
        if (TVMFuncCall(shared_function, args, codes, 2, &ret, &code) != -1 ||
            strcmp(TVMGetLastError(), text) != 0)
            return "an error";
        if (strcmp(returned, text) != 0)
            return "a string that another thread overwrote";
        args[0].v_handle = shared_array;
        codes[0] = kTVMNDArrayHandle;
        if (TVMFuncCall(shared_function, args, codes, 1, &ret, &code) ||
            ret.v_handle != shared_array || TVMArrayFree(ret.v_handle))
            return "a call with an array";
        if (TVMFuncRegisterGlobal(name, shared_function, i % 2) ||
            TVMFuncGetGlobal(name, &global) || global != shared_function || TVMFuncFree(global) ||
            TVMFuncListGlobalNames(&count, &names) || TVMFuncRemoveGlobal(name))
            return "a global function";
        bool listed = false;
        for (int j = 0; j < count; j++)
            listed |= strcmp(names[j], name) == 0;
        if (!listed)
            return "the list of names";
    }
    return NULL; /* with an error, a string and a list left to the thread's end */
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    finalized = 0;
    shared_function = function_new(echo_or_fail, NULL);
    shared_array = array_new(3, float32);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_api, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *problem;
        assert_int_equal(pthread_join(threads[i], &problem), 0);
        if (problem)
            fail_msg("%s", (char *)problem);
    }
    TVMFuncFree(shared_function);
    assert_int_equal(finalized, 1);
    TVMArrayFree(shared_array);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        API_TEST(test_last_error), API_TEST(test_modules),        API_TEST(test_imports_at_once),
        API_TEST(test_builtins),   API_TEST(test_error_stays),    API_TEST(test_back_end),
        API_TEST(test_devices),    API_TEST(test_null_arguments), API_TEST(test_threads),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
