/* Every allocation made to fail once: the call that needed it fails with MemoryError, and nothing
 * is left behind. The linker turns the runtime's allocations into the ones here (--wrap, see
 * Makefile). */
#include "base/context.h"
#include "base/module.h"
#include "base/profile.h"
#include "base/tensor.h"
#include "graph/package.h"
#include "include/tvm_runtime.h"
#include "module/library.h"
#include "test/expect.h"
#include "test/library_fixture.h"
#include "test/relax_fixture.h"
#include "test/zoo.h"

#include <pthread.h>
#include <stdlib.h>

/* Allocations that still succeed on this thread; below 0: all do. */
static _Thread_local int allowed = -1;
static _Thread_local bool failed;

static _Atomic long blocks; /* allocated and not freed */

static bool refuse(void) {
    if (allowed < 0 || allowed-- > 0)
        return false;
    allowed = -1;
    failed = true;
    return true;
}

static void *count_block(void *block) {
    if (block)
        blocks++;
    return block;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
void __wrap_free(void *block);

void *__wrap_malloc(size_t size) {
    return refuse() ? NULL : count_block(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
    return refuse() ? NULL : count_block(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size) {
    if (refuse())
        return NULL;
    void *moved = __real_realloc(block, size);
    return block ? moved : count_block(moved);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return refuse() ? NULL : count_block(__real_aligned_alloc(alignment, size));
}

char *__wrap_strdup(const char *text) {
    return refuse() ? NULL : count_block(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t size) {
    return refuse() ? NULL : count_block(__real_strndup(text, size));
}

void __wrap_free(void *block) {
    if (block)
        blocks--;
    __real_free(block);
}

static const DLDataType float32 = {kDLFloat, 32, 1};
static const DLDevice cpu = {kDLCPU, 0};

/* One attempt on a thread of its own, so that what threads keep is counted too. */
struct attempt {
    int (*scenario)(void);
    int allowed;
    int status;
    bool failed;
    bool memory_error;
};

static void *run_attempt(void *data) {
    struct attempt *attempt = data;
    allowed = attempt->allowed;
    attempt->status = attempt->scenario();
    allowed = -1;
    attempt->failed = failed;
    const struct tvm_error *error = tvm_error_peek();
    attempt->memory_error = error && strcmp(error->kind.data, TVM_MEMORY_ERROR) == 0;
    return NULL;
}

static struct attempt try_scenario(int (*scenario)(void), int count) {
    struct attempt attempt = {.scenario = scenario, .allowed = count};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_attempt, &attempt), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return attempt;
}

/* Fails each of the scenario's allocations in turn, at least expected ones. */
static void exhaust(int (*scenario)(void), int expected) {
    assert_int_equal(try_scenario(scenario, -1).status, 0); /* makes what stays, such as tables */
    int64_t objects = tvm_object_live_count();
    long before = blocks;
    for (int count = 0;; count++) {
        struct attempt attempt = try_scenario(scenario, count);
        assert_int_equal(tvm_object_live_count(), objects);
        assert_int_equal(blocks, before);
        if (!attempt.failed) {
            assert_int_equal(attempt.status, 0);
            assert_true(count >= expected);
            return;
        }
        assert_int_equal(attempt.status, -1);
        assert_true(attempt.memory_error);
    }
}

static int use_tensors(void) {
    struct tvm_tensor *tensor, *again;
    DLManagedTensor *export;
    int64_t shape[] = {2, 3};
    if (tvm_tensor_empty(shape, 2, float32, cpu, &tensor))
        return -1;
    int status = tvm_tensor_to_dlpack(tensor, &export);
    tvm_object_release(&tensor->object);
    if (status)
        return -1;
    if (tvm_tensor_from_dlpack(export, &again)) {
        export->deleter(export); /* still ours */
        return -1;
    }
    tvm_object_release(&again->object);
    return 0;
}

static void test_tensors(void **state) {
    (void)state;
    exhaust(use_tensors, 6);
}

static int use_strings(void) {
    struct tvm_value view = tvm_raw_string("too long to be small"), owned, again;
    if (tvm_value_own(&view, &owned))
        return -1;
    int status = tvm_value_from_text(TVM_TYPE_BYTES, "also too long", 13, &again);
    tvm_value_clear(&owned);
    if (status == 0)
        tvm_value_clear(&again);
    return status;
}

static void test_strings(void **state) {
    (void)state;
    exhaust(use_strings, 2);
}

static int use_maps(void) {
    const struct tvm_bytes key = {"too long to be small", 20};
    struct tvm_map *map;
    struct tvm_array *array;
    if (tvm_map_new(1, &map))
        return -1;
    int status = tvm_array_new(0, &array);
    if (status == 0)
        status = tvm_map_set(map, key, tvm_from_object(array));
    tvm_object_release(&map->object);
    return status;
}

static void test_maps(void **state) {
    (void)state;
    exhaust(use_maps, 3);
}

/* The error itself needs memory: without, MemoryError stands in for it. */
static int raise_value_error(void) {
    tvm_raise(TVM_VALUE_ERROR, "%s", "expected");
    return strcmp(tvm_error_peek()->kind.data, TVM_VALUE_ERROR) == 0 ? 0 : -1;
}

static void test_errors(void **state) {
    (void)state;
    exhaust(raise_value_error, 1);
}

static int raise_payload(void) {
    struct tvm_object *payload = tvm_object_alloc(sizeof(*payload), TVM_TYPE_OBJECT, NULL);
    if (!payload)
        return -1;
    tvm_raise_with_payload("GoError", "expected", 8, payload);
    return tvm_error_peek()->payload ? 0 : -1;
}

static void test_error_payloads(void **state) {
    (void)state;
    exhaust(raise_payload, 2);
}

/* Context that cannot be added leaves the error as it was. */
static void test_error_context(void **state) {
    (void)state;
    tvm_raise(TVM_VALUE_ERROR, "inner");
    allowed = 0;
    tvm_raise_context("outer");
    assert_true(failed);
    failed = false;
    assert_string_equal(tvm_error_peek()->message.data, "inner");
    expect_error(tvm_raise_context("outer"), TVM_VALUE_ERROR, "outer: inner");
}

static int return_text(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                       void *resource) {
    TVMValue text = {.v_str = "a result too long to be small"};
    (void)args, (void)codes, (void)count, (void)resource;
    return TVMCFuncSetReturn(ret, &text, &(int){kTVMStr}, 1);
}

static _Atomic int made, finalized;

static void count_finalized(void *resource) {
    (void)resource;
    finalized++;
}

static int use_classic_calls(void) {
    enum { MANY = 17 }; /* one more than there is room for without allocations */
    TVMValue args[MANY], ret;
    int codes[MANY], code;
    TVMFunctionHandle function, global;
    const char **names;
    for (int i = 0; i < MANY; i++) {
        args[i].v_int64 = i;
        codes[i] = kTVMArgInt;
    }
    if (TVMFuncCreateFromCFunc(return_text, NULL, count_finalized, &function))
        return -1; /* without finalizing what was not made */
    made++;
    int status = TVMFuncRegisterGlobal("test.no_memory", function, 0);
    if (status == 0) {
        if (TVMFuncGetGlobal("test.no_memory", &global) ||
            TVMFuncCall(global, args, codes, MANY, &ret, &code) ||
            TVMFuncCall(global, args, codes, 1, &ret, &code) ||
            TVMFuncListGlobalNames(&code, &names) || TVMFuncListGlobalNames(&code, &names))
            status = -1;
        TVMFuncFree(global);
        TVMFuncRemoveGlobal("test.no_memory");
    }
    TVMFuncFree(function);
    return status;
}

static void test_classic_calls(void **state) {
    (void)state;
    exhaust(use_classic_calls, 10);
    assert_int_equal(made, finalized);
}

static int use_classic_arrays(void) {
    TVMArrayHandle array, again;
    DLManagedTensor *export;
    TVMValue ret;
    int code;
    TVMFunctionHandle function;
    if (TVMArrayAlloc(&(int64_t){3}, 1, kDLUInt, 1, 1, kDLCPU, 0, &array))
        return -1;
    int status = TVMArrayToDLPack(array, &export);
    TVMArrayFree(array);
    if (status)
        return -1;
    if (TVMArrayFromDLPack(export, &again)) {
        TVMDLManagedTensorCallDeleter(export);
        return -1;
    }
    status = TVMFuncCreateFromCFunc(return_text, NULL, NULL, &function);
    if (status == 0) {
        status = TVMFuncCall(function, &(TVMValue){.v_handle = again}, &(int){kTVMDLTensorHandle},
                             1, &ret, &code);
        TVMFuncFree(function);
    }
    TVMArrayFree(again);
    return status;
}

static void test_classic_arrays(void **state) {
    (void)state;
    exhaust(use_classic_arrays, 8);
}

static int use_workspaces(void) {
    void *spaces[40];
    int count = 0, status = 0;
    while (status == 0 && count < 40) {
        spaces[count] = TVMBackendAllocWorkspace(kDLCPU, 0, 10000, kDLFloat, 32);
        if (spaces[count])
            count++;
        else
            status = -1;
    }
    while (count > 0)
        if (TVMBackendFreeWorkspace(kDLCPU, 0, spaces[--count]))
            abort();
    return status;
}

static void test_workspaces(void **state) {
    (void)state;
    exhaust(use_workspaces, 4);
}

static int do_nothing(struct tvm_module *self, const struct tvm_call *call,
                      struct tvm_value *result) {
    (void)self, (void)call, (void)result;
    return 0;
}

static const struct tvm_module_method methods[] = {{"method", do_nothing}, {NULL, NULL}};

static int get_method(struct tvm_module *self, const char *name, struct tvm_function **out) {
    return tvm_module_get_method(self, methods, name, out);
}

static const struct tvm_module_kind kind = {.key = "test", .get_function = get_method};

static int use_modules(void) {
    struct tvm_function *function;
    struct tvm_module *root = tvm_module_alloc(sizeof(*root), &kind);
    if (!root)
        return -1;
    struct tvm_module *dep = tvm_module_alloc(sizeof(*dep), &kind);
    int status = dep ? tvm_module_import(root, dep) : -1;
    if (dep)
        tvm_object_release(&dep->object);
    if (status == 0)
        status = tvm_module_get_function(root, "method", true, &function);
    tvm_object_release(&root->object);
    if (status == 0)
        tvm_object_release(&function->object);
    return status;
}

static void test_modules(void **state) {
    (void)state;
    exhaust(use_modules, 5);
}

/* The table of names: made at its first use, which is here, and grown. Both can be tried again. */

static int make_registry(void) {
    struct tvm_function *function;
    return tvm_registry_get("test.none", &function);
}

static void test_registry_first_use(void **state) {
    (void)state;
    struct attempt attempt;
    int failures = 0;
    for (int count = 0; (attempt = try_scenario(make_registry, count)).failed; count++) {
        assert_int_equal(attempt.status, -1);
        assert_true(attempt.memory_error);
        failures++;
    }
    assert_int_equal(attempt.status, 0);
    assert_true(failures > 3);
    size_t objects = 0;
    for (const struct tvm_builtin *builtin = tvm_builtins; builtin->name; builtin++)
        objects++;
    assert_int_equal(tvm_object_live_count(), objects);
}

static void test_registry_growth(void **state) {
    (void)state;
    enum { NAMES = 300 };
    char name[] = "test.growth.000";
    struct tvm_function *function;
    int64_t objects = tvm_object_live_count();
    int refused = 0;
    expect_ok(tvm_function_new(NULL, NULL, NULL, &function)); /* nobody calls it */
    for (int i = 0; i < NAMES; i++) {
        name[12] = (char)('0' + i / 100);
        name[13] = (char)('0' + i / 10 % 10);
        name[14] = (char)('0' + i % 10);
        int status = -1;
        for (int count = 0; status; count++) {
            allowed = count;
            status = tvm_registry_set(name, function, false);
            allowed = -1;
            if (status == 0)
                break;
            expect_error(status, TVM_MEMORY_ERROR, "out of memory");
            assert_int_equal(tvm_object_use_count(&function->object), i + 1);
            refused++;
        }
    }
    assert_int_equal(refused, NAMES + 2); /* once for each name and for each larger table */
    for (int i = 0; i < NAMES; i++) {
        name[12] = (char)('0' + i / 100);
        name[13] = (char)('0' + i / 10 % 10);
        name[14] = (char)('0' + i % 10);
        expect_ok(tvm_registry_remove(name));
    }
    tvm_object_release(&function->object);
    assert_int_equal(tvm_object_live_count(), objects);
}

static unsigned char *relax_data;
static size_t relax_size;

static int load_relax(void) {
    struct tvm_reader reader = {.data = relax_data, .size = relax_size, .name = "m.so"};
    struct tvm_module *module;
    if (tvm_relax_executable_kind.load(&reader, &module))
        return -1;
    tvm_object_release(&module->object);
    return 0;
}

static void test_relax_executable(void **state) {
    (void)state;
    relax_data = relax_payload("tvm0.27/nested", &relax_size);
    exhaust(load_relax, 50);
    free(relax_data);
}

static struct tvm_relax_executable *relax_model;

/* A session's life: two calls, the second of them with memory that must be copied, and TVM's way.
 */
static int run_relax(void) {
    struct tvm_relax_session *session;
    struct tvm_module *machine = NULL;
    struct tvm_tensor *tensor;
    struct tvm_value result;
    int64_t shape[] = {2, 3};
    size_t function = relax_function(relax_model, "same");
    if (tvm_tensor_empty(shape, 2, float32, cpu, &tensor))
        return -1;
    memset(tensor->dl.data, 0, 24);
    struct tvm_value x = tvm_from_object(tensor);
    struct tvm_value view = {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &tensor->dl};
    int status = tvm_relax_session_new(relax_model, cpu, &session);
    if (status == 0) {
        status = tvm_relax_session_call(session, function, &x, 1, &result);
        if (status == 0)
            tvm_value_clear(&result);
        if (status == 0 &&
            (status = tvm_relax_session_call(session, function, &view, 1, &result)) == 0)
            tvm_value_clear(&result);
        tvm_object_release((struct tvm_object *)session);
    }
    if (status == 0)
        status = tvm_relax_machine_new(relax_model, &machine);
    const struct tvm_value init[] = {tvm_int(1), tvm_int(0), tvm_int(2)};
    const struct tvm_value inputs[] = {tvm_raw_string("same"), x};
    const struct {
        const char *name;
        const struct tvm_value *args;
        int32_t count;
    } steps[] = {
        {"vm_initialization", init, 3}, {"set_input", inputs, 2}, {"invoke_stateful", inputs, 1}};
    for (size_t i = 0; status == 0 && i < 3; i++) {
        struct tvm_function *method;
        if ((status = tvm_module_get_function(machine, steps[i].name, false, &method)) == 0) {
            status = tvm_function_call(method, steps[i].args, steps[i].count, &result);
            tvm_object_release(&method->object);
        }
    }
    if (machine)
        tvm_object_release(&machine->object);
    tvm_object_release(&tensor->object);
    return status;
}

static void test_relax_session(void **state) {
    (void)state;
    relax_model = relax_open("tvm0.27/nested", "model.so");
    exhaust(run_relax, 30);
    tvm_object_release((struct tvm_object *)relax_model);
}

/* A call that is measured. */
static int profile_relax(void) {
    struct tvm_profile profile = {0};
    struct tvm_relax_session *session;
    struct tvm_tensor *tensor;
    struct tvm_value result;
    size_t function = relax_function(relax_model, "main");
    if (tvm_tensor_empty((int64_t[]){1, 16}, 2, float32, cpu, &tensor))
        return -1;
    memset(tensor->dl.data, 0, 64);
    struct tvm_value x = tvm_from_object(tensor);
    int status = tvm_relax_session_new(relax_model, cpu, &session);
    if (status == 0) {
        tvm_relax_session_context(session)->profile = &profile;
        status = tvm_relax_session_call(session, function, &x, 1, &result);
        if (status == 0)
            tvm_value_clear(&result);
        tvm_object_release((struct tvm_object *)session);
    }
    tvm_profile_clear(&profile);
    tvm_object_release(&tensor->object);
    return status;
}

static void test_relax_profile(void **state) {
    (void)state;
    relax_model = relax_open("tvm0.27/mlp", "model.so");
    exhaust(profile_relax, 30);
    tvm_object_release((struct tvm_object *)relax_model);
}

static const char *package_path;

/* A package's life: a session, and TVM's way where it is a library. */
static int use_package(void) {
    struct tvm_graph_package package;
    struct tvm_graph_session *session = NULL;
    struct tvm_graph_params *params = NULL;
    struct tvm_value device = {.type_index = TVM_TYPE_DEVICE, .v_device = cpu}, result;
    if (tvm_graph_package_open(package_path, &package))
        return -1;
    int status = 0;
    if (package.weights)
        status = tvm_graph_weights_place(package.weights, NULL, cpu, &params);
    if (status == 0)
        status =
            tvm_graph_session_new(package.plan, package.library, params, &cpu, 1, NULL, &session);
    static const char *const names[] = {"default", "remove_params"};
    for (int i = 0; i < 2 && status == 0; i++) {
        struct tvm_function *make = NULL;
        status = tvm_module_get_function(package.module, names[i], true, &make);
        if (status == 0 && make && (status = tvm_function_call(make, &device, 1 - i, &result)) == 0)
            tvm_value_clear(&result);
        tvm_object_release((struct tvm_object *)make);
    }
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release((struct tvm_object *)params);
    tvm_graph_package_clear(&package);
    return status;
}

static void test_packages(void **state) {
    static const char *const files[] = {"dense/factory.so", "dense/package.tar", "dense/aot.so",
                                        "conv/pools.so"};
    (void)state;
    zoo_need();
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        char name[64] = "models/tvm0.9/";
        package_path = zoo_path(strcat(name, files[i]));
        exhaust(use_package, 50);
    }
}

static const char *resident_path;

static int open_resident(void) {
    struct tvm_module *module;
    if (tvm_library_open(resident_path, &module))
        return -1;
    tvm_object_release(&module->object);
    return 0;
}

/* A library that stays loaded, so that what it may remember is kept: also where it cannot be opened
 * again. */
static void test_resident(void **state) {
    (void)state;
    resident_path = fixture_compile("resident.so", FIXTURE_LIBRARY " -Wl,-z,nodelete",
                                    "void *__tvm_module_ctx; int f(void) { return 0; }");
    exhaust(open_resident, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry_first_use),
        cmocka_unit_test(test_registry_growth),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_error_payloads),
        cmocka_unit_test(test_error_context),
        cmocka_unit_test(test_classic_calls),
        cmocka_unit_test(test_classic_arrays),
        cmocka_unit_test(test_workspaces),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_relax_executable),
        cmocka_unit_test(test_relax_session),
        cmocka_unit_test(test_relax_profile),
        cmocka_unit_test(test_packages),
        cmocka_unit_test(test_resident),
    };
    return cmocka_run_group_tests_name("no memory", tests, NULL, NULL);
}
