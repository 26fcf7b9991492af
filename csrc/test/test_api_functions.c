/* Functions of the classic C API: arguments and results, callbacks, and their life. */
#include "test/api_client.h"

#include <stdio.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests_name("api_functions", tests, NULL, NULL);
}
