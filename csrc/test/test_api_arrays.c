/* Arrays of the classic C API: their life, copies, element types, and DLPack. */
#include "test/api_client.h"

static void test_array(void **state) {
    (void)state;
    const int64_t shape[] = {2, 3};
    TVMArrayHandle array, other, small;
    float in[6] = {0, 1, 2, 3, 4, 5}, out[6] = {0};
    expect_ok(TVMArrayAlloc(shape, 2, kDLFloat, 32, 1, kDLCPU, 0, &array));
    expect_ok(TVMArrayAlloc(&shape[1], 1, kDLInt, 64, 1, kDLCPU, 1, &other));
    small = array_new(5, float32);
    assert_int_equal(array->ndim, 2);
    assert_int_equal(array->shape[0], 2);
    assert_int_equal(array->shape[1], 3);
    assert_int_equal(array->dtype.code, kDLFloat);
    assert_int_equal(array->dtype.bits, 32);
    assert_int_equal(array->dtype.lanes, 1);
    assert_int_equal(array->device.device_type, kDLCPU);
    assert_int_equal(array->byte_offset, 0);
    assert_null(array->strides);
    assert_int_equal((uintptr_t)array->data % 128, 0);
    expect_ok(TVMArrayCopyFromBytes(array, in, sizeof(in)));
    expect_ok(TVMArrayCopyFromTo(array, other, NULL)); /* equal bytes are enough */
    expect_ok(TVMArrayCopyToBytes(other, out, sizeof(out)));
    assert_memory_equal(in, out, sizeof(in));
    expect_failure(TVMArrayCopyFromBytes(array, in, 20), "holds 24 bytes, but the copy is of 20");
    expect_failure(TVMArrayCopyToBytes(array, out, 28), "holds 24 bytes, but the copy is of 28");
    expect_failure(TVMArrayCopyFromBytes(array, NULL, 24), "source of a copy of 24 bytes is NULL");
    expect_failure(TVMArrayCopyToBytes(array, NULL, 24), "target of a copy of 24 bytes is NULL");
    expect_failure(TVMArrayCopyFromTo(array, small, NULL),
                   "cannot copy 24 bytes to an array of 20 bytes");
    expect_failure(TVMArrayCopyFromTo(array, other, &array), "stream must be NULL");
    int64_t strides[] = {1, 2};
    array->strides = strides;
    expect_failure(TVMArrayCopyFromTo(array, other, NULL), "not compact");
    expect_failure(TVMArrayCopyToBytes(array, out, sizeof(out)), "not compact");
    TVMArrayFree(array);
    TVMArrayFree(other);
    TVMArrayFree(small);
    expect_ok(TVMArrayFree(NULL));
}

static void test_array_alloc_refuses(void **state) {
    (void)state;
    static const struct {
        int64_t shape[2];
        int ndim, code, bits, lanes, device, id;
        const char *text;
    } cases[] = {
        {{1}, 1, kDLFloat, 32, 1, kDLVulkan, 0, "vulkan(0)"},
        {{1}, 1, kDLFloat, 32, 1, 99, 0, "device type 99(0)"},
        {{1}, 1, kDLFloat, 32, 1, -1, 0, "device type -1(0)"},
        {{1}, 1, kDLFloat, 32, 1, kDLCPU, -1, "cpu(-1)"},
        {{-1}, 1, kDLFloat, 32, 1, kDLCPU, 0, "shape [-1] has a negative dimension"},
        {{1}, -1, kDLFloat, 32, 1, kDLCPU, 0, "-1 dimensions"},
        {{1}, 65, kDLFloat, 32, 1, kDLCPU, 0, "65 dimensions"},
        {{INT64_MAX, INT64_MAX}, 2, kDLFloat, 32, 1, kDLCPU, 0, "memory"},
        {{PTRDIFF_MAX}, 1, kDLFloat, 16, 1, kDLCPU, 0, "larger than memory"},
        {{1}, 1, 256, 32, 1, kDLCPU, 0, "dtype 256, 32 bits, 1 lanes"},
        {{1}, 1, -1, 32, 1, kDLCPU, 0, "dtype -1"},
        {{1}, 1, kDLFloat, 256, 1, kDLCPU, 0, "256 bits"},
        {{1}, 1, kDLFloat, -8, 1, kDLCPU, 0, "-8 bits"},
        {{1}, 1, kDLFloat, 0, 1, kDLCPU, 0, "no element type"},
        {{1}, 1, kDLFloat, 32, 0, kDLCPU, 0, "no element type"},
        {{1}, 1, kDLFloat, 32, 65536, kDLCPU, 0, "65536 lanes"},
        {{1}, 1, kDLFloat, 32, -1, kDLCPU, 0, "-1 lanes"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        TVMArrayHandle array;
        expect_failure(TVMArrayAlloc(cases[i].shape, cases[i].ndim, cases[i].code, cases[i].bits,
                                     cases[i].lanes, cases[i].device, cases[i].id, &array),
                       cases[i].text);
    }
}

/* The JVM client points an array's header to its own memory for a copy, then clears it. */
static void test_array_with_redirected_data(void **state) {
    (void)state;
    TVMArrayHandle array = array_new(3, float32), temporary = array_new(3, float32);
    float memory[4] = {9, 1, 2, 3}, out[3];
    temporary->data = &memory[1];
    expect_ok(TVMArrayCopyFromTo(temporary, array, NULL));
    temporary->data = NULL;
    expect_ok(TVMArrayCopyToBytes(array, out, sizeof(out)));
    assert_true(out[0] == 1 && out[2] == 3);
    expect_failure(TVMArrayCopyFromTo(temporary, array, NULL),
                   "source of a copy of 12 bytes is NULL");
    TVMArrayFree(temporary); /* what was allocated is freed all the same */
    TVMArrayFree(array);
}

static void test_arrays_as_values(void **state) {
    (void)state;
    TVMFunctionHandle function = function_new(echo, NULL);
    TVMArrayHandle array = array_new(3, float32);
    TVMValue ret;
    int code;
    expect_ok(call_one(function, handle_value(array), kTVMNDArrayHandle, &ret, &code));
    assert_int_equal(seen.codes[0], kTVMNDArrayHandle);
    assert_ptr_equal(seen.values[0].v_handle, array);
    assert_int_equal(code, kTVMNDArrayHandle);
    assert_ptr_equal(ret.v_handle, array);
    expect_ok(TVMArrayFree(ret.v_handle));

    expect_ok(call_one(function, handle_value(array), kTVMDLTensorHandle, &ret, &code));
    assert_int_equal(seen.codes[0], kTVMDLTensorHandle);
    assert_ptr_equal(seen.values[0].v_handle, array);
    assert_int_equal(code, kTVMDLTensorHandle); /* borrowed: nothing to free */
    assert_ptr_equal(ret.v_handle, array);
    TVMArrayFree(array);
    TVMFuncFree(function);
}

static TVMValue kept;

/* How clients of TVM 0.7 and later keep an argument. */
static int keep_by_pointer(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                           void *resource) {
    (void)count, (void)ret, (void)resource;
    kept = args[0];
    return TVMCbArgToReturn(&kept, &codes[0]);
}

/* How those of TVM 0.6 and earlier do: the second parameter was the code itself. */
static int keep_by_value(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                         void *resource) {
    (void)count, (void)ret, (void)resource;
    kept = args[0];
    return TVMCbArgToReturn(&kept, (int *)(intptr_t)codes[0]);
}

static void test_callbacks_keep_arguments(void **state) {
    (void)state;
    static const TVMPackedCFunc callbacks[] = {keep_by_pointer, keep_by_value};
    for (size_t i = 0; i < COUNT(callbacks); i++) {
        TVMFunctionHandle keep = function_new(callbacks[i], NULL), other = function_new(echo, NULL);
        TVMValue ret;
        int code;
        float out[2] = {0};
        TVMArrayHandle array = array_new(2, float32);
        expect_ok(TVMArrayCopyFromBytes(array, (float[]){3, 4}, 8));
        expect_ok(call_one(keep, handle_value(array), kTVMNDArrayHandle, &ret, &code));
        assert_int_equal(code, kTVMNullptr);
        TVMArrayFree(array);
        expect_ok(TVMArrayCopyToBytes(kept.v_handle, out, 8));
        assert_true(out[0] == 3 && out[1] == 4);
        TVMArrayFree(kept.v_handle);

        expect_ok(call_one(keep, handle_value(other), kTVMPackedFuncHandle, &ret, &code));
        TVMFuncFree(other);
        expect_ok(call_one(kept.v_handle, int_value(6), kTVMArgInt, &ret, &code));
        TVMFuncFree(kept.v_handle);

        static const int plain[] = {kTVMArgInt, kTVMArgFloat, kTVMOpaqueHandle, kTVMNullptr,
                                    kDLDevice};
        for (size_t j = 0; j < COUNT(plain); j++)
            expect_ok(call_one(keep, int_value(8), plain[j], &ret, &code));
        expect_failure(call_one(keep, (TVMValue){.v_str = "text"}, kTVMStr, &ret, &code),
                       "strings and bytes are copied by the callback, not kept");
        TVMByteArray bytes = {"text", 4};
        expect_failure(call_one(keep, handle_value(&bytes), kTVMBytes, &ret, &code),
                       "strings and bytes are copied");
        TVMFuncFree(keep);
    }
    TVMValue none = {.v_handle = NULL};
    expect_failure(TVMCbArgToReturn(NULL, &(int){kTVMArgInt}), "TVMCbArgToReturn: value is NULL");
    expect_failure(TVMCbArgToReturn(NULL, NULL), "TVMCbArgToReturn: value is NULL");
    expect_failure(TVMCbArgToReturn(&none, &(int){kTVMNDArrayHandle}), "is NULL");
    expect_failure(TVMCbArgToReturn(&none, &(int){kTVMPackedFuncHandle}), "is NULL");
}

/* bool: a 1-bit uint for classic clients, code 6 for the runtime and what TVM 0.23 and newer
 * compile */

static DLDataType seen_dtype;
static void *seen_data;

static int note_dtype(void *self, const struct tvm_value *args, int32_t count,
                      struct tvm_value *result) {
    struct tvm_call call = {"note_dtype", args, count};
    const DLTensor *tensor;
    (void)self, (void)result;
    if (tvm_call_tensor(&call, 0, "x", &tensor))
        return -1;
    seen_dtype = tensor->dtype;
    seen_data = tensor->data;
    return 0;
}

static int note_classic_dtype(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                              void *resource) {
    (void)codes, (void)count, (void)ret, (void)resource;
    seen_dtype = ((DLTensor *)args[0].v_handle)->dtype;
    return 0;
}

static void test_bool_arrays(void **state) {
    (void)state;
    struct tvm_function *modern;
    TVMFunctionHandle classic = function_new(echo, NULL);
    TVMFunctionHandle noting = function_new(note_classic_dtype, NULL);
    TVMArrayHandle array = array_new(4, (DLDataType){kDLUInt, 1, 1});
    TVMValue ret;
    int code;
    unsigned char in[] = {1, 0, 1, 1}, out[4] = {0};
    expect_ok(tvm_function_new(note_dtype, NULL, NULL, &modern));
    assert_int_equal(array->dtype.code, kDLUInt);
    assert_int_equal(array->dtype.bits, 1);
    expect_ok(TVMArrayCopyFromBytes(array, in, sizeof(in)));
    expect_ok(TVMArrayCopyToBytes(array, out, sizeof(out)));
    assert_memory_equal(in, out, sizeof(in));
    expect_failure(TVMArrayCopyToBytes(array, out, 3), "bool [4] holds 4 bytes");
    static const int codes[] = {kTVMDLTensorHandle, kTVMNDArrayHandle};
    for (size_t i = 0; i < COUNT(codes); i++) {
        expect_ok(call_one(modern, handle_value(array), codes[i], &ret, &code));
        assert_int_equal(seen_dtype.code, TVM_DTYPE_BOOL);
        assert_int_equal(seen_dtype.bits, 8);
        assert_ptr_equal(seen_data, array->data);
        expect_ok(call_one(noting, handle_value(array), codes[i], &ret, &code));
        assert_int_equal(seen_dtype.code, kDLUInt);
        assert_int_equal(seen_dtype.bits, 1);
    }
    TVMFuncFree(noting);
    expect_ok(call_one(classic, handle_value(array), kTVMNDArrayHandle, &ret, &code));
    assert_ptr_equal(ret.v_handle, array); /* the very handle, in classic codes */
    TVMArrayFree(ret.v_handle);
    /* A borrowed one reaches the callback as a header that ends with the call. */
    expect_failure(call_one(classic, handle_value(array), kTVMDLTensorHandle, &ret, &code),
                   "a borrowed DLTensor of bool or float8 cannot be returned");
    TVMArrayFree(array);
    tvm_object_release(&modern->object);
    TVMFuncFree(classic);
}

static void test_float8_arrays(void **state) {
    (void)state;
    struct tvm_function *modern;
    expect_ok(tvm_function_new(note_dtype, NULL, NULL, &modern));
    TVMArrayHandle array = array_new(4, (DLDataType){6, 8, 1});
    TVMValue ret;
    int code;
    assert_int_equal(array->dtype.code, 6);
    expect_ok(call_one(modern, handle_value(array), kTVMDLTensorHandle, &ret, &code));
    assert_int_equal(seen_dtype.code, TVM_DTYPE_FLOAT8_E4M3FN);
    expect_failure(TVMArrayCopyToBytes(array, NULL, 3), "float8_e4m3fn [4] holds 4 bytes");
    TVMArrayFree(array);
    tvm_object_release(&modern->object);
}

/* DLPack */

static int deleted;

static void count_deleted(DLManagedTensor *tensor) {
    (void)tensor;
    deleted++;
}

static void test_dlpack(void **state) {
    (void)state;
    DLManagedTensor *export;
    TVMArrayHandle array = array_new(3, float32), again;
    float out[3];
    expect_ok(TVMArrayCopyFromBytes(array, (float[]){1, 2, 3}, 12));
    expect_ok(TVMArrayToDLPack(array, &export));
    TVMArrayFree(array);
    assert_int_equal(export->dl_tensor.shape[0], 3);
    expect_ok(TVMArrayFromDLPack(export, &again));
    expect_ok(TVMArrayCopyToBytes(again, out, 12));
    assert_true(out[0] == 1 && out[2] == 3);
    TVMArrayFree(again);

    array = array_new(3, float32);
    expect_ok(TVMArrayToDLPack(array, &export));
    TVMDLManagedTensorCallDeleter(export);
    TVMArrayFree(array);
    TVMDLManagedTensorCallDeleter(NULL);
    TVMDLManagedTensorCallDeleter(&(DLManagedTensor){.deleter = NULL});
}

/* Through an export and an import every dtype comes back, and bool also from DLPack's own code. */
static void test_dlpack_dtypes(void **state) {
    (void)state;
    static const DLDataType dtypes[] = {
        {kDLUInt, 1, 1}, {6, 8, 1}, {7, 8, 1}, {kDLBfloat, 16, 1}, {kDLUInt, 8, 1}, {kDLInt, 4, 2},
    };
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        DLManagedTensor *export;
        TVMArrayHandle array = array_new(3, dtypes[i]), again;
        expect_ok(TVMArrayToDLPack(array, &export));
        TVMArrayFree(array);
        if (i == 0) /* bool, as classic clients know it */
            assert_memory_equal(&export->dl_tensor.dtype, &dtypes[i], sizeof(DLDataType));
        expect_ok(TVMArrayFromDLPack(export, &again));
        assert_memory_equal(&again->dtype, &dtypes[i], sizeof(DLDataType));
        TVMArrayFree(again);
    }
    int64_t shape[] = {2}, strides[] = {2};
    char data[2] = {1, 0};
    DLManagedTensor import = {.dl_tensor = {.data = data,
                                            .device = {kDLCPU, 0},
                                            .ndim = 1,
                                            .dtype = {TVM_DTYPE_BOOL, 8, 1},
                                            .shape = shape},
                              .deleter = count_deleted};
    TVMArrayHandle array;
    deleted = 0;
    expect_ok(TVMArrayFromDLPack(&import, &array));
    assert_int_equal(array->dtype.code, kDLUInt);
    assert_int_equal(array->dtype.bits, 1);
    TVMArrayFree(array);
    assert_int_equal(deleted, 1);
    import.dl_tensor.strides = strides;
    expect_failure(TVMArrayFromDLPack(&import, &array), "the imported tensor is not compact");
    assert_int_equal(deleted, 1); /* still the caller's */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        API_TEST(test_array),
        API_TEST(test_array_alloc_refuses),
        API_TEST(test_array_with_redirected_data),
        API_TEST(test_arrays_as_values),
        API_TEST(test_callbacks_keep_arguments),
        API_TEST(test_bool_arrays),
        API_TEST(test_float8_arrays),
        API_TEST(test_dlpack),
        API_TEST(test_dlpack_dtypes),
    };
    return cmocka_run_group_tests_name("api arrays", tests, NULL, NULL);
}
