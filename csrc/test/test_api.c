/* The classic C API as its clients use it; arrays are in test_api_arrays.c. */
#include "test/api_client.h"

#include <pthread.h>
#include <stdio.h>

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

/* Arguments and results */

static void test_scalars(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, &seen);
    TVMValue ret;
    int code;
    static const int64_t integers[] = {0, -1, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < COUNT(integers); i++) {
        expect_ok(call_one(function, int_value(integers[i]), kTVMArgInt, &ret, &code));
        assert_int_equal(code, kTVMArgInt);
        assert_true(ret.v_int64 == integers[i]);
        assert_int_equal(seen.codes[0], kTVMArgInt);
        assert_ptr_equal(seen.resource, &seen);
    }
    for (int value = 0; value < 3; value++) { /* bool is an int to the callback and to the caller */
        expect_ok(call_one(function, int_value(value), kTVMArgBool, &ret, &code));
        assert_int_equal(seen.codes[0], kTVMArgInt);
        assert_int_equal(code, kTVMArgInt);
        assert_int_equal(ret.v_int64, value != 0);
    }
    expect_ok(call_one(function, (TVMValue){.v_float64 = -2.5}, kTVMArgFloat, &ret, &code));
    assert_int_equal(code, kTVMArgFloat);
    assert_true(ret.v_float64 == -2.5);
    expect_ok(call_one(function, handle_value(&code), kTVMOpaqueHandle, &ret, &code));
    assert_int_equal(code, kTVMOpaqueHandle);
    assert_ptr_equal(ret.v_handle, &code);
    expect_ok(call_one(function, (TVMValue){.v_device = {kDLVulkan, 3}}, kDLDevice, &ret, &code));
    assert_int_equal(code, kDLDevice);
    assert_int_equal(ret.v_device.device_type, kDLVulkan);
    assert_int_equal(ret.v_device.device_id, 3);
    expect_ok(call_one(function, handle_value(&code), kTVMNullptr, &ret, &code));
    assert_int_equal(code, kTVMNullptr);
    assert_null(ret.v_handle);
    TVMFuncFree(function);
}

static void test_dtypes(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    static const struct {
        DLDataType dtype;
        const char *text;
    } cases[] = {
        {{kDLFloat, 32, 1}, "float32"}, {{kDLUInt, 1, 1}, "bool"},
        {{kDLInt, 8, 4}, "int8x4"},     {{6, 8, 1}, "e4m3_float8"},
        {{7, 8, 1}, "e5m2_float8"},     {{kDLBfloat, 16, 1}, "bfloat16"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        TVMValue ret;
        int code;
        expect_ok(
            call_one(function, (TVMValue){.v_type = cases[i].dtype}, kTVMDataType, &ret, &code));
        assert_int_equal(seen.codes[0], kTVMDataType);
        assert_memory_equal(&seen.values[0].v_type, &cases[i].dtype, sizeof(DLDataType));
        assert_int_equal(code, kTVMStr); /* as TVM returns them */
        assert_string_equal(ret.v_str, cases[i].text);
    }
    TVMFuncFree(function);
}

static void test_strings(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    TVMValue ret;
    int code;
    char text[300];
    for (size_t size = 0; size < sizeof(text); size += 1 + size / 10) {
        memset(text, 'a' + (int)(size % 26), size);
        text[size] = 0;
        expect_ok(call_one(function, (TVMValue){.v_str = text}, kTVMStr, &ret, &code));
        assert_int_equal(seen.codes[0], kTVMStr);
        assert_int_equal(code, kTVMStr);
        assert_ptr_not_equal(ret.v_str, text);
        assert_string_equal(ret.v_str, text);

        TVMByteArray bytes = {text, size + 1}; /* the NUL included */
        expect_ok(call_one(function, handle_value(&bytes), kTVMBytes, &ret, &code));
        assert_int_equal(seen.codes[0], kTVMBytes);
        assert_int_equal(code, kTVMBytes);
        const TVMByteArray *returned = ret.v_handle;
        assert_int_equal(returned->size, size + 1);
        assert_memory_equal(returned->data, text, size + 1);
        expect_ok(TVMByteArrayFree(ret.v_handle));
    }
    TVMByteArray none = {NULL, 0};
    expect_ok(call_one(function, handle_value(&none), kTVMBytes, &ret, &code));
    assert_int_equal(code, kTVMBytes);
    assert_int_equal(((TVMByteArray *)ret.v_handle)->size, 0);
    TVMFuncFree(function);
}

/* A result may be an argument of the call that replaces it. */
static void test_string_result_as_argument(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    TVMValue ret = {.v_str = "a string that is too long to be small"};
    int code = kTVMStr;
    for (int i = 0; i < 5; i++)
        expect_ok(call_one(function, ret, code, &ret, &code));
    assert_string_equal(ret.v_str, "a string that is too long to be small");
    TVMFuncFree(function);
}

static void test_null_arguments_become_null(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    static const int codes[] = {
        kTVMStr,          kTVMBytes,        kTVMDLTensorHandle,  kTVMNDArrayHandle,
        kTVMObjectHandle, kTVMModuleHandle, kTVMPackedFuncHandle};
    for (size_t i = 0; i < COUNT(codes); i++) {
        TVMValue ret;
        int code;
        expect_ok(call_one(function, handle_value(NULL), codes[i], &ret, &code));
        assert_int_equal(seen.codes[0], kTVMNullptr);
        assert_int_equal(code, kTVMNullptr);
    }
    TVMFuncFree(function);
}

static void test_unknown_codes(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    static const int codes[] = {-1, 1, 16, 64, 129, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(codes); i++) {
        TVMValue values[2] = {{.v_int64 = 0}, {.v_int64 = 0}}, ret;
        int both[2] = {kTVMArgInt, codes[i]}, code;
        char text[64];
        snprintf(text, sizeof(text), "argument 1: type code %d is none of TVM's", codes[i]);
        expect_failure(TVMFuncCall(function, values, both, 2, &ret, &code), text);
    }
    TVMFuncFree(function);
}

static void test_handle_of_another_kind(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    TVMValue ret;
    int code;
    expect_failure(call_one(function, handle_value(function), kTVMModuleHandle, &ret, &code),
                   "passed as a Module (type code 9) is a Function");
    TVMFuncFree(function);
}

static void test_argument_counts(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    for (int count = 0; count <= 64; count++) {
        TVMValue values[64], ret;
        int codes[64], code = -1;
        char text[64][24];
        for (int i = 0; i < count; i++) {
            snprintf(text[i], sizeof(text[i]), "argument %d", i);
            values[i].v_int64 = i;
            codes[i] = kTVMArgInt;
            if (i % 2) {
                values[i].v_str = text[i];
                codes[i] = kTVMStr;
            }
        }
        /* With no arguments the arrays may be missing, as the Go and the JVM clients have it. */
        expect_ok(
            TVMFuncCall(function, count ? values : NULL, count ? codes : NULL, count, &ret, &code));
        assert_int_equal(code, count ? kTVMArgInt : kTVMNullptr);
        assert_int_equal(seen.count, count);
        for (int i = 1; i < count; i++) {
            assert_int_equal(seen.codes[i], codes[i]);
            assert_true(seen.values[i].v_int64 == values[i].v_int64);
        }
    }
    TVMFuncFree(function);
}

/* Callbacks that fail */

static int set_message_and_fail(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                                void *resource) {
    if (count)
        TVMCFuncSetReturn(ret, args, codes, 1); /* is dropped */
    TVMAPISetLastError(resource);
    return -1;
}

static int fail_silently(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                         void *resource) {
    (void)args, (void)codes, (void)count, (void)ret, (void)resource;
    return 17;
}

static void test_failing_callbacks(void **state) {
    (void)state;
    TVMFunctionHandle failing = function_new(set_message_and_fail, "it does not work");
    TVMFunctionHandle silent = function_new(fail_silently, NULL);
    TVMValue ret;
    int code;
    expect_failure(call_one(failing, handle_value(silent), kTVMPackedFuncHandle, &ret, &code),
                   "it does not work");
    assert_int_equal(tvm_object_use_count(silent), 1);
    expect_failure(call_one(silent, int_value(1), kTVMArgInt, &ret, &code),
                   "failed (status 17) without an error message");
    TVMFuncFree(failing);
    TVMFuncFree(silent);
}

static int set_return_badly(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                            void *resource) {
    int unknown = 77;
    (void)resource;
    expect_failure(TVMCFuncSetReturn(ret, args, codes, 0), "has 1 result, not 0");
    expect_failure(TVMCFuncSetReturn(ret, args, codes, 2), "has 1 result, not 2");
    expect_failure(TVMCFuncSetReturn(NULL, args, codes, 1), "TVMCFuncSetReturn");
    expect_failure(TVMCFuncSetReturn(ret, NULL, codes, 1), "TVMCFuncSetReturn");
    expect_failure(TVMCFuncSetReturn(ret, args, NULL, 1), "TVMCFuncSetReturn");
    expect_failure(TVMCFuncSetReturn(ret, args, &unknown, 1), "type code 77");
    for (int i = 0; i < count; i++) /* the last one counts */
        expect_ok(TVMCFuncSetReturn(ret, &args[i], &codes[i], 1));
    return 0;
}

static void test_set_return(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(set_return_badly, NULL);
    TVMValue args[] = {{.v_handle = function}, {.v_str = "replaced by the next"}, {.v_int64 = 5}};
    int codes[] = {kTVMPackedFuncHandle, kTVMStr, kTVMArgInt}, code;
    TVMValue ret;
    expect_ok(TVMFuncCall(function, args, codes, 3, &ret, &code));
    assert_int_equal(code, kTVMArgInt);
    assert_int_equal(ret.v_int64, 5);
    assert_int_equal(tvm_object_use_count(function), 1);
    TVMFuncFree(function);
}

/* Functions */

static void test_function_life(void **state) {
    (void)state;
    finalized = 0;
    TVMFunctionHandle function = function_new(echo, NULL), global;
    expect_ok(TVMFuncRegisterGlobal("test.api", function, 0));
    expect_ok(TVMFuncFree(function));
    expect_ok(TVMFuncGetGlobal("test.api", &global));
    assert_ptr_equal(global, function);
    expect_failure(TVMFuncRegisterGlobal("test.api", global, 0),
                   "global function test.api is already registered");
    expect_ok(TVMFuncRegisterGlobal("test.api", global, 1));
    expect_ok(TVMFuncRemoveGlobal("test.api"));
    expect_failure(TVMFuncRemoveGlobal("test.api"), "no global function is called test.api");
    assert_int_equal(finalized, 0);
    expect_ok(TVMFuncFree(global));
    assert_int_equal(finalized, 1);
    expect_ok(TVMFuncGetGlobal("test.api", &global));
    assert_null(global);
    expect_ok(TVMFuncFree(NULL));
    expect_ok(TVMFuncCreateFromCFunc(echo, NULL, NULL, &function));
    expect_ok(TVMFuncFree(function));
}

static int make_function(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                         void *resource) {
    (void)args, (void)codes, (void)count;
    TVMValue made = {.v_handle = function_new(echo, resource)};
    int status = TVMCFuncSetReturn(ret, &made, &(int){kTVMPackedFuncHandle}, 1);
    TVMFuncFree(made.v_handle);
    return status;
}

static void test_functions_as_values(void **state) {
    (void)state;
    finalized = 0;
    TVMFunctionHandle maker = function_new(make_function, &finalized);
    TVMValue made, same, ret;
    int code;
    expect_ok(TVMFuncCall(maker, NULL, NULL, 0, &made, &code));
    assert_int_equal(code, kTVMPackedFuncHandle);
    expect_ok(call_one(made.v_handle, int_value(4), kTVMArgInt, &ret, &code));
    assert_int_equal(ret.v_int64, 4);
    expect_ok(call_one(made.v_handle, made, kTVMPackedFuncHandle, &same, &code));
    assert_int_equal(code, kTVMPackedFuncHandle);
    assert_ptr_equal(same.v_handle, made.v_handle);
    TVMFuncFree(made.v_handle);
    assert_int_equal(finalized, 0);
    TVMFuncFree(same.v_handle);
    assert_int_equal(finalized, 1);
    TVMFuncFree(maker);
}

static void test_list(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    expect_ok(TVMFuncRegisterGlobal("test.list", function, 0));
    int size = -1, found = 0;
    const char **names;
    for (int i = 0; i < 3; i++)
        expect_ok(TVMFuncListGlobalNames(&size, &names));
    expect_ok(TVMFuncRemoveGlobal("test.list"));
    for (int i = 0; i < size; i++) {
        TVMFunctionHandle global;
        found += strcmp(names[i], "test.list") == 0;
        expect_ok(TVMFuncGetGlobal(names[i], &global));
        assert_true(global || strcmp(names[i], "test.list") == 0);
        TVMFuncFree(global);
    }
    assert_int_equal(found, 1);
    TVMFuncFree(function);
}

/* A callback that calls on: results of the inner calls do not disturb the outer one's. */
static int count_down(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                      void *resource) {
    char text[64];
    TVMValue inner, value = {.v_str = text};
    int code;
    (void)codes, (void)count, (void)resource;
    if (args[0].v_int64 == 0) {
        TVMAPISetLastError("the bottom");
        return args[1].v_int64 ? -1 : 0;
    }
    TVMValue next[] = {{.v_int64 = args[0].v_int64 - 1}, args[1]};
    if (TVMFuncCall(args[2].v_handle, (TVMValue[]){next[0], next[1], args[2]},
                    (int[]){kTVMArgInt, kTVMArgInt, kTVMPackedFuncHandle}, 3, &inner, &code))
        return -1;
    snprintf(text, sizeof(text), "%s and level %lld", code == kTVMStr ? inner.v_str : "none",
             (long long)args[0].v_int64);
    return TVMCFuncSetReturn(ret, &value, &(int){kTVMStr}, 1);
}

static void test_nested_calls(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(count_down, NULL);
    TVMValue args[] = {{.v_int64 = 2}, {.v_int64 = 0}, {.v_handle = function}}, ret;
    int codes[] = {kTVMArgInt, kTVMArgInt, kTVMPackedFuncHandle}, code;
    expect_ok(TVMFuncCall(function, args, codes, 3, &ret, &code));
    assert_string_equal(ret.v_str, "none and level 1 and level 2");
    args[1].v_int64 = 1;
    expect_failure(TVMFuncCall(function, args, codes, 3, &ret, &code), "the bottom");
    TVMFuncFree(function);
}

/* Functions of the runtime itself, called through the classic API */

static struct tvm_value modern_result;

static int return_modern(void *self, const struct tvm_value *args, int32_t count,
                         struct tvm_value *result) {
    (void)self, (void)args, (void)count;
    *result = modern_result;
    return 0;
}

static void test_results_of_the_runtime(void **state) {
    (void)state;
    struct tvm_function *function;
    struct tvm_tensor *tensor;
    TVMValue ret;
    int code;
    expect_ok(tvm_function_new(return_modern, NULL, NULL, &function));

    modern_result = (struct tvm_value){.type_index = TVM_TYPE_BOOL, .v_int = 1};
    expect_ok(TVMFuncCall(function, NULL, NULL, 0, &ret, &code));
    assert_true(code == kTVMArgInt && ret.v_int64 == 1);

    expect_ok(tvm_tensor_empty(NULL, 0, float32, (DLDevice){kDLCPU, 0}, &tensor));
    modern_result = tvm_from_object(tensor);
    expect_ok(TVMFuncCall(function, NULL, NULL, 0, &ret, &code));
    assert_int_equal(code, kTVMNDArrayHandle);
    assert_ptr_equal(ret.v_handle, &tensor->classic);
    TVMArrayFree(ret.v_handle);

    modern_result = tvm_from_object(tvm_object_alloc(32, TVM_TYPE_SHAPE, NULL));
    expect_ok(TVMFuncCall(function, NULL, NULL, 0, &ret, &code));
    assert_int_equal(code, kTVMObjectHandle);
    expect_ok(TVMObjectRetain(ret.v_handle));
    expect_ok(TVMObjectFree(ret.v_handle));
    expect_ok(TVMObjectFree(ret.v_handle));

    expect_ok(tvm_value_from_text(TVM_TYPE_STR, "short", 5, &modern_result));
    expect_ok(TVMFuncCall(function, NULL, NULL, 0, &ret, &code));
    assert_int_equal(code, kTVMStr);
    assert_string_equal(ret.v_str, "short");

    expect_ok(tvm_value_from_text(TVM_TYPE_BYTES, "a\0b", 3, &modern_result));
    expect_ok(TVMFuncCall(function, NULL, NULL, 0, &ret, &code));
    assert_int_equal(code, kTVMBytes);
    assert_memory_equal(((TVMByteArray *)ret.v_handle)->data, "a\0b", 4);

    modern_result = tvm_raw_string("borrowed: no result");
    expect_failure(TVMFuncCall(function, NULL, NULL, 0, &ret, &code), "has no classic form");
    modern_result = (struct tvm_value){.type_index = 10, .v_ptr = &ret};
    expect_failure(TVMFuncCall(function, NULL, NULL, 0, &ret, &code),
                   "a result of type index 10 has no classic form");
    tvm_object_release(&function->object);
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

static void test_modules(void **state) {
    (void)state;
    TVMModuleHandle root = tvm_module_alloc(sizeof(struct tvm_module), &empty_kind);
    TVMModuleHandle dep = tvm_module_alloc(sizeof(struct tvm_module), &echo_kind);
    TVMFunctionHandle function, echoer = function_new(echo, NULL);
    TVMValue ret;
    int code;
    expect_ok(TVMModImport(root, dep));
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
                   "runtime.GetDeviceAttr: expected 3 arguments, got 2");
    args[0].v_int64 = INT64_MIN;
    expect_failure(call_global("_GetDeviceAttr", args, ints, 3, &ret, &code), "no device has type");

    args[0].v_int64 = kDLCPU;
    expect_ok(call_global("__tvm_set_device", args, ints, 2, &ret, &code));
    expect_failure(call_global("__tvm_set_device", args, ints, 1, &ret, &code),
                   "__tvm_set_device: argument 1 (device id) is missing");
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
                   "runtime.ModuleGetTypeKey: argument 0 (module): expected Module, got int");

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

static void test_back_end(void **state) {
    (void)state;
    void *once = NULL;
    int status = -1;
    expect_failure((TVMAPISetLastError("once"), TVMBackendRunOnce(&once, count_run, &status, 4)),
                   "once");
    expect_ok(TVMBackendRunOnce(&once, count_run, &status, 4));
    assert_int_equal(run_count, 1);

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
        API_TEST(test_last_error),
        API_TEST(test_scalars),
        API_TEST(test_dtypes),
        API_TEST(test_strings),
        API_TEST(test_string_result_as_argument),
        API_TEST(test_null_arguments_become_null),
        API_TEST(test_unknown_codes),
        API_TEST(test_handle_of_another_kind),
        API_TEST(test_argument_counts),
        API_TEST(test_failing_callbacks),
        API_TEST(test_set_return),
        API_TEST(test_function_life),
        API_TEST(test_functions_as_values),
        API_TEST(test_list),
        API_TEST(test_nested_calls),
        API_TEST(test_results_of_the_runtime),
        API_TEST(test_modules),
        API_TEST(test_builtins),
        API_TEST(test_back_end),
        API_TEST(test_devices),
        API_TEST(test_null_arguments),
        API_TEST(test_threads),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
