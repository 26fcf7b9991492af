/* The classic calling convention, both ways. */
#include "base/classic.h"

#include "base/dtype.h"
#include "base/tensor.h"
#include "test/leaks.h"

#include <stdio.h>
#include <stdlib.h>

/* Values and their classic form */

static struct tvm_tensor *new_tensor(DLDataType dtype) {
    struct tvm_tensor *tensor;
    int64_t shape[] = {2, 3};
    expect_ok(tvm_tensor_empty(shape, 2, dtype, (DLDevice){kDLCPU, 0}, &tensor));
    return tensor;
}

static const DLDataType float32 = {TVM_DTYPE_FLOAT, 32, 1};
static const DLDataType boolean = {TVM_DTYPE_BOOL, 8, 1};

/* The view of a value in a union whose other bytes are noise. */
static struct tvm_value view_of(TVMValue value, int code, DLTensor *scratch) {
    struct tvm_value view;
    memset(&view, 0xaa, sizeof(view));
    expect_ok(tvm_classic_to_view(value, code, scratch, &view));
    assert_int_equal(view.small_size, 0);
    return view;
}

static void test_scalars_in(void **state) {
    (void)state;
    DLTensor scratch;
    struct tvm_value view = view_of((TVMValue){.v_int64 = INT64_MIN}, 0, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_INT);
    assert_true(view.v_int == INT64_MIN);
    view = view_of((TVMValue){.v_float64 = 0.5}, 2, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_FLOAT);
    assert_true(view.v_float == 0.5);
    view = view_of((TVMValue){.v_handle = state}, 3, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_OPAQUE_PTR);
    assert_ptr_equal(view.v_ptr, state);
    view = view_of((TVMValue){.v_handle = state}, 4, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_NONE);
    view = view_of((TVMValue){.v_type = {1, 1, 1}}, 5, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_DTYPE);
    assert_true(tvm_dtype_equal(view.v_dtype, boolean));
    view = view_of((TVMValue){.v_device = {kDLOpenCL, 3}}, 6, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_DEVICE);
    assert_int_equal(view.v_device.device_id, 3);
    view = view_of((TVMValue){.v_int64 = 2}, 15, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_BOOL);
    assert_int_equal(view.v_int, 1);
}

static void test_pointers_in(void **state) {
    (void)state;
    DLTensor scratch;
    struct tvm_tensor *tensor = new_tensor(float32), *flags = new_tensor(boolean);
    struct tvm_value view = view_of((TVMValue){.v_handle = &tensor->classic}, 13, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_TENSOR);
    assert_ptr_equal(view.v_object, tensor);
    view = view_of((TVMValue){.v_handle = &tensor->classic}, 7, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_DLTENSOR_PTR);
    assert_ptr_equal(view.v_ptr, &tensor->classic);
    view = view_of((TVMValue){.v_handle = &flags->classic}, 7, &scratch);
    assert_ptr_equal(view.v_ptr, &scratch);
    assert_true(tvm_dtype_equal(scratch.dtype, boolean));
    assert_ptr_equal(scratch.data, flags->dl.data);
    assert_true(tvm_dtype_equal(flags->classic.dtype, (DLDataType){1, 1, 1}));

    view = view_of((TVMValue){.v_handle = tensor}, 8, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_TENSOR);
    struct tvm_object *object = &tensor->object;
    view = view_of((TVMValue){.v_handle = &object}, 14, &scratch);
    assert_ptr_equal(view.v_object, tensor);
    expect_error(tvm_classic_to_view((TVMValue){.v_handle = tensor}, 9, &scratch, &view),
                 TVM_TYPE_ERROR, "a handle passed as a Module (type code 9) is a Tensor");
    expect_error(tvm_classic_to_view((TVMValue){.v_handle = tensor}, 10, &scratch, &view),
                 TVM_TYPE_ERROR, "passed as a Function");
    view = view_of((TVMValue){.v_str = "text"}, 11, &scratch);
    assert_int_equal(view.type_index, TVM_TYPE_RAW_STR);
    assert_string_equal(view.v_str, "text");
    TVMByteArray bytes = {"a\0b", 3};
    view = view_of((TVMValue){.v_handle = &bytes}, 12, &scratch);
    struct tvm_bytes text;
    assert_true(tvm_value_text(&view, &text));
    assert_int_equal(text.size, 3);
    for (int code = 7; code < 15; code++)
        assert_int_equal(view_of((TVMValue){.v_handle = NULL}, code, &scratch).type_index,
                         TVM_TYPE_NONE);
    static const int wrong[] = {1, -1, 16, 64, 128, 129};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        expect_error(tvm_classic_to_view((TVMValue){0}, wrong[i], &scratch, &view), TVM_TYPE_ERROR,
                     "is none of TVM's");
    tvm_object_release(&tensor->object);
    tvm_object_release(&flags->object);
}

static void test_take(void **state) {
    (void)state;
    struct tvm_tensor *tensor = new_tensor(float32), *flags = new_tensor(boolean);
    struct tvm_value value;
    expect_ok(tvm_classic_take((TVMValue){.v_handle = &tensor->classic}, 13, &value));
    assert_int_equal(tvm_object_use_count(&tensor->object), 1);
    tvm_value_clear(&value);
    char text[] = "longer than seven";
    expect_ok(tvm_classic_take((TVMValue){.v_str = text}, 11, &value));
    text[0] = 'X';
    struct tvm_bytes taken;
    assert_true(tvm_value_text(&value, &taken));
    assert_string_equal(taken.data, "longer than seven");
    tvm_value_clear(&value);
    TVMByteArray bytes = {"a\0b", 3};
    expect_ok(tvm_classic_take((TVMValue){.v_handle = &bytes}, 12, &value));
    assert_int_equal(value.type_index, TVM_TYPE_SMALL_BYTES);
    assert_int_equal(value.small_size, 3);
    expect_ok(tvm_classic_take((TVMValue){.v_int64 = 7}, 0, &value));
    assert_int_equal(value.v_int, 7);
    expect_error(tvm_classic_take((TVMValue){.v_handle = &flags->classic}, 7, &value),
                 TVM_TYPE_ERROR, "cannot be returned");
    expect_error(tvm_classic_take((TVMValue){.v_handle = &value}, 14, &value), TVM_TYPE_ERROR,
                 "cannot be returned");
    expect_error(tvm_classic_take((TVMValue){.v_handle = &value}, 99, &value), TVM_TYPE_ERROR,
                 "type code 99");
    tvm_object_release(&flags->object);
}

struct classic {
    DLTensor scratch;
    struct tvm_bytes text;
    TVMValue value;
    int code;
};

static void to_classic(const struct tvm_value *value, struct classic *out) {
    expect_ok(tvm_classic_from_view(value, &out->scratch, &out->text, &out->value, &out->code));
}

static void test_out(void **state) {
    (void)state;
    struct classic c;
    struct tvm_value value = tvm_none();
    to_classic(&value, &c);
    assert_int_equal(c.code, 4);
    assert_null(c.value.v_handle);
    value = tvm_int(-5);
    to_classic(&value, &c);
    assert_int_equal(c.code, 0);
    assert_true(c.value.v_int64 == -5);
    value = (struct tvm_value){.type_index = TVM_TYPE_BOOL, .v_int = 1};
    to_classic(&value, &c);
    assert_int_equal(c.code, 0);
    assert_int_equal(c.value.v_int64, 1);
    value = tvm_float(2.5);
    to_classic(&value, &c);
    assert_int_equal(c.code, 2);
    value = (struct tvm_value){.type_index = TVM_TYPE_DTYPE, .v_dtype = boolean};
    to_classic(&value, &c);
    assert_int_equal(c.code, 5);
    assert_true(tvm_dtype_equal(c.value.v_type, (DLDataType){1, 1, 1}));
    value = tvm_device((DLDevice){kDLCPU, 2});
    to_classic(&value, &c);
    assert_int_equal(c.code, 6);
    value = tvm_raw_string("x");
    to_classic(&value, &c);
    assert_int_equal(c.code, 11);

    struct tvm_tensor *flags = new_tensor(boolean);
    value = tvm_from_object(flags);
    to_classic(&value, &c);
    assert_int_equal(c.code, 7);
    assert_ptr_equal(c.value.v_handle, &flags->classic);
    value = (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &flags->dl};
    to_classic(&value, &c);
    assert_int_equal(c.code, 7);
    assert_ptr_equal(c.value.v_handle, &c.scratch);
    assert_true(tvm_dtype_equal(c.scratch.dtype, (DLDataType){1, 1, 1}));
    tvm_object_release(&flags->object);

    value.type_index = 13;
    expect_error(tvm_classic_from_view(&value, &c.scratch, &c.text, &c.value, &c.code),
                 TVM_TYPE_ERROR, "type index 13");
}

static void test_text_out(void **state) {
    (void)state;
    static const char *const texts[] = {"", "short", "seven c", "eight ch", "a long string"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct classic c;
        struct tvm_value value;
        expect_ok(tvm_value_from_text(TVM_TYPE_STR, texts[i], strlen(texts[i]), &value));
        to_classic(&value, &c);
        assert_int_equal(c.code, 11);
        assert_string_equal(c.value.v_str, texts[i]);
        tvm_value_clear(&value);
        expect_ok(tvm_value_from_text(TVM_TYPE_BYTES, texts[i], strlen(texts[i]), &value));
        to_classic(&value, &c);
        assert_int_equal(c.code, 12);
        const TVMByteArray *bytes = c.value.v_handle;
        assert_int_equal(bytes->size, strlen(texts[i]));
        assert_memory_equal(bytes->data, texts[i], bytes->size);
        tvm_value_clear(&value);
    }
    for (size_t size = 3; size < 12; size += 6) {
        struct classic c;
        struct tvm_value value;
        expect_ok(tvm_value_from_text(TVM_TYPE_STR, "a\0b\0c\0d\0e\0f\0g", size, &value));
        expect_error(tvm_classic_from_view(&value, &c.scratch, &c.text, &c.value, &c.code),
                     TVM_VALUE_ERROR, "holds a NUL byte");
        tvm_value_clear(&value);
    }
}

/* Compiled code */

static int seen_count, seen_codes[64];

static int sum(TVMValue *args, int *codes, int count, TVMValue *result, int *result_code,
               void *resource) {
    int64_t total = 0;
    assert_null(resource);
    assert_int_equal(*result_code, 4);
    seen_count = count;
    for (int i = 0; i < count; i++) {
        seen_codes[i] = codes[i];
        total += args[i].v_int64;
    }
    result->v_int64 = total;
    *result_code = 0;
    return 0;
}

static int silent(TVMValue *args, int *codes, int count, TVMValue *result, int *result_code,
                  void *resource) {
    (void)args, (void)codes, (void)count, (void)result, (void)result_code, (void)resource;
    return 0;
}

static int fails(TVMValue *args, int *codes, int count, TVMValue *result, int *result_code,
                 void *resource) {
    (void)args, (void)codes, (void)count, (void)result, (void)result_code, (void)resource;
    TVMAPISetLastError("assert failed: n == 4");
    return -1;
}

static int fails_silently(TVMValue *args, int *codes, int count, TVMValue *result, int *result_code,
                          void *resource) {
    (void)args, (void)codes, (void)count, (void)result, (void)result_code, (void)resource;
    return 3;
}

static struct tvm_object *to_return;
static int to_return_code;

static int returns_handle(TVMValue *args, int *codes, int count, TVMValue *result, int *result_code,
                          void *resource) {
    (void)args, (void)codes, (void)count, (void)resource;
    *result_code = to_return_code;
    result->v_handle = to_return_code == 13 ? (void *)&((struct tvm_tensor *)to_return)->classic
                                            : (void *)to_return;
    return 0;
}

static struct tvm_function *compiled(TVMBackendPackedCFunc code, struct tvm_object *owner) {
    struct tvm_function *function;
    expect_ok(tvm_classic_function_new(code, owner, &function));
    assert_true(tvm_classic_function_code(function) == code);
    return function;
}

static void test_compiled(void **state) {
    (void)state;
    struct tvm_tensor *owner = new_tensor(float32);
    struct tvm_function *function = compiled(sum, &owner->object);
    assert_int_equal(tvm_object_use_count(&owner->object), 2);
    struct tvm_value args[50], result;
    for (int i = 0; i < 50; i++)
        args[i] = tvm_int(i);
    static const int counts[] = {0, 1, 15, 16, 17, 50}; /* on the stack and on the heap */
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        expect_ok(tvm_function_call(function, args, counts[i], &result));
        assert_int_equal(seen_count, counts[i]);
        assert_int_equal(result.type_index, TVM_TYPE_INT);
        assert_int_equal(result.v_int, counts[i] * (counts[i] - 1) / 2);
    }
    args[1] = tvm_from_object(owner);
    args[2] = (struct tvm_value){.type_index = 13};
    expect_error(tvm_function_call(function, args, 40, &result), TVM_TYPE_ERROR, "argument 2: ");
    expect_error(tvm_function_call(function, args, 3, &result), TVM_TYPE_ERROR, "argument 2: ");
    expect_ok(tvm_function_call(function, args, 2, &result));
    assert_int_equal(seen_codes[1], 7);
    tvm_object_release(&function->object);
    assert_int_equal(tvm_object_use_count(&owner->object), 1);

    function = compiled(silent, NULL);
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_NONE);
    tvm_object_release(&function->object);
    tvm_object_release(&owner->object);
}

static void test_compiled_errors(void **state) {
    (void)state;
    struct tvm_value result;
    struct tvm_function *function = compiled(fails, NULL);
    expect_error(tvm_function_call(function, NULL, 0, &result), TVM_RUNTIME_ERROR,
                 "assert failed: n == 4");
    expect_error(tvm_classic_invoke(fails, NULL, NULL, 0), TVM_RUNTIME_ERROR, "assert failed");
    tvm_object_release(&function->object);

    /* An old error is not taken for the new one … */
    tvm_raise(TVM_VALUE_ERROR, "an old error");
    expect_error(tvm_classic_invoke(fails_silently, NULL, NULL, 0), TVM_RUNTIME_ERROR,
                 "failed (status 3) without an error message");
    tvm_raise(TVM_VALUE_ERROR, "an old error");
    expect_error(tvm_classic_invoke(fails, NULL, NULL, 0), TVM_RUNTIME_ERROR, "assert failed");
    /* … and survives success. */
    tvm_raise(TVM_VALUE_ERROR, "an old error");
    expect_ok(tvm_classic_invoke(silent, NULL, NULL, 0));
    expect_error(-1, TVM_VALUE_ERROR, "an old error");
    assert_null(tvm_error_peek());
    tvm_raise_out_of_memory(); /* a static object, whose address tells nothing */
    expect_error(tvm_classic_invoke(fails_silently, NULL, NULL, 0), TVM_RUNTIME_ERROR, "without");
}

static void test_compiled_results(void **state) {
    (void)state;
    struct tvm_tensor *tensor = new_tensor(float32);
    struct tvm_function *function = compiled(returns_handle, NULL);
    struct tvm_value result;
    to_return = &tensor->object;
    static const int codes[] = {8, 13};
    for (size_t i = 0; i < 2; i++) {
        to_return_code = codes[i];
        tvm_object_retain(to_return);
        expect_ok(tvm_function_call(function, NULL, 0, &result));
        assert_ptr_equal(result.v_object, tensor);
        assert_int_equal(result.type_index, TVM_TYPE_TENSOR);
        tvm_value_clear(&result);
        assert_int_equal(tvm_object_use_count(to_return), 1);
        tvm_object_retain(to_return);
        expect_ok(tvm_classic_invoke(returns_handle, NULL, NULL, 0)); /* dropped */
        assert_int_equal(tvm_object_use_count(to_return), 1);
    }
    to_return = &function->object;
    to_return_code = 10;
    tvm_object_retain(to_return);
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_FUNCTION);
    tvm_value_clear(&result);
    to_return_code = 77;
    expect_error(tvm_function_call(function, NULL, 0, &result), TVM_TYPE_ERROR, "type code 77");
    tvm_object_release(&function->object);
    tvm_object_release(&tensor->object);
}

/* Callbacks */

struct record {
    int finalized;
    int codes[4];
    int fail; /* 1: with a message, 2: without, 3: after setting a result */
};

static void finalize(void *resource) {
    ((struct record *)resource)->finalized++;
}

static int callback(TVMValue *args, int *codes, int count, TVMRetValueHandle ret, void *resource) {
    struct record *record = resource;
    for (int i = 0; i < count && i < 4; i++)
        record->codes[i] = codes[i];
    TVMValue value = {.v_str = "a string that is copied"};
    int code = 11;
    if (count && codes[0] == 13) { /* gives back its argument */
        value = args[0];
        code = 13;
    }
    if (record->fail == 1)
        TVMAPISetLastError("the callback's own words");
    if (record->fail != 1 && record->fail != 2)
        assert_int_equal(TVMCFuncSetReturn(ret, &value, &code, 1), 0);
    return record->fail ? -1 : 0;
}

static void test_callback(void **state) {
    (void)state;
    struct record record = {0};
    struct tvm_function *function;
    struct tvm_value args[3], result;
    struct tvm_bytes text;
    expect_ok(tvm_classic_callback_new(callback, &record, finalize, &function));
    assert_true(tvm_classic_function_code(function) == NULL);
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    assert_true(tvm_value_text(&result, &text));
    assert_string_equal(text.data, "a string that is copied");
    tvm_value_clear(&result);

    struct tvm_tensor *tensor = new_tensor(float32);
    args[0] = tvm_from_object(tensor);
    args[1] = (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &tensor->dl};
    args[2] = (struct tvm_value){.type_index = TVM_TYPE_BOOL, .v_int = 1};
    expect_ok(tvm_function_call(function, args, 3, &result));
    assert_int_equal(record.codes[0], 13);
    assert_int_equal(record.codes[1], 7);
    assert_int_equal(record.codes[2], 0);
    assert_ptr_equal(result.v_object, tensor);
    assert_int_equal(tvm_object_use_count(&tensor->object), 2);
    tvm_value_clear(&result);

    record.fail = 1;
    expect_error(tvm_function_call(function, NULL, 0, &result), TVM_RUNTIME_ERROR,
                 "the callback's own words");
    record.fail = 2;
    tvm_raise(TVM_VALUE_ERROR, "an old error");
    expect_error(tvm_function_call(function, NULL, 0, &result), TVM_RUNTIME_ERROR, "without");
    record.fail = 3; /* its result is not leaked */
    expect_error(tvm_function_call(function, args, 1, &result), TVM_RUNTIME_ERROR, "without");
    assert_int_equal(tvm_object_use_count(&tensor->object), 1);
    assert_int_equal(record.finalized, 0);
    tvm_object_release(&function->object);
    assert_int_equal(record.finalized, 1);
    tvm_object_release(&tensor->object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_scalars_in),
        LEAKS_TEST(test_pointers_in),
        LEAKS_TEST(test_take),
        LEAKS_TEST(test_out),
        LEAKS_TEST(test_text_out),
        LEAKS_TEST(test_compiled),
        LEAKS_TEST(test_callback),
        LEAKS_TEST(test_compiled_errors),
        LEAKS_TEST(test_compiled_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
