/* Element types, shapes, storage, tensors, DLPack, devices. */
#include "base/context.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "device/cpu.h"
#include "test/expect.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {TVM_DTYPE_FLOAT, 32, 1};
static const DLDataType boolean = {TVM_DTYPE_BOOL, 8, 1};
static const DLDataType uint1 = {TVM_DTYPE_UINT, 1, 1};

static void assert_dtype(DLDataType dtype, unsigned code, unsigned bits, unsigned lanes) {
    assert_int_equal(dtype.code, code);
    assert_int_equal(dtype.bits, bits);
    assert_int_equal(dtype.lanes, lanes);
}

/* Element types */

static void test_dtype_parse(void **state) {
    (void)state;
    static const struct {
        const char *text;
        DLDataType dtype;
        const char *printed; /* NULL: as text */
    } types[] = {
        {"int8", {TVM_DTYPE_INT, 8, 1}, NULL},
        {"int16", {TVM_DTYPE_INT, 16, 1}, NULL},
        {"int32", {TVM_DTYPE_INT, 32, 1}, NULL},
        {"int64", {TVM_DTYPE_INT, 64, 1}, NULL},
        {"int4", {TVM_DTYPE_INT, 4, 1}, NULL},
        {"int1", {TVM_DTYPE_INT, 1, 1}, NULL},
        {"int", {TVM_DTYPE_INT, 32, 1}, "int32"},
        {"uint8", {TVM_DTYPE_UINT, 8, 1}, NULL},
        {"uint64", {TVM_DTYPE_UINT, 64, 1}, NULL},
        {"uint", {TVM_DTYPE_UINT, 32, 1}, "uint32"},
        {"float16", {TVM_DTYPE_FLOAT, 16, 1}, NULL},
        {"float32", {TVM_DTYPE_FLOAT, 32, 1}, NULL},
        {"float64", {TVM_DTYPE_FLOAT, 64, 1}, NULL},
        {"float128", {TVM_DTYPE_FLOAT, 128, 1}, NULL},
        {"float", {TVM_DTYPE_FLOAT, 32, 1}, "float32"},
        {"bfloat16", {TVM_DTYPE_BFLOAT, 16, 1}, NULL},
        {"bfloat", {TVM_DTYPE_BFLOAT, 16, 1}, "bfloat16"},
        {"complex64", {TVM_DTYPE_COMPLEX, 64, 1}, NULL},
        {"complex128", {TVM_DTYPE_COMPLEX, 128, 1}, NULL},
        {"bool", {TVM_DTYPE_BOOL, 8, 1}, NULL},
        {"boolx4", {TVM_DTYPE_BOOL, 8, 4}, NULL},
        {"uint1", {TVM_DTYPE_BOOL, 8, 1}, "bool"},
        {"uint1x8", {TVM_DTYPE_BOOL, 8, 8}, "boolx8"},
        {"handle", {TVM_DTYPE_HANDLE, 64, 1}, NULL},
        {"e4m3_float8", {TVM_DTYPE_FLOAT8_E4M3FN, 8, 1}, NULL},
        {"e5m2_float8", {TVM_DTYPE_FLOAT8_E5M2, 8, 1}, NULL},
        {"float8_e4m3fn", {TVM_DTYPE_FLOAT8_E4M3FN, 8, 1}, "e4m3_float8"},
        {"float8_e5m2", {TVM_DTYPE_FLOAT8_E5M2, 8, 1}, "e5m2_float8"},
        {"e4m3_float8x4", {TVM_DTYPE_FLOAT8_E4M3FN, 8, 4}, NULL},
        {"float32x4", {TVM_DTYPE_FLOAT, 32, 4}, NULL},
        {"floatx4", {TVM_DTYPE_FLOAT, 32, 4}, "float32x4"},
        {"int8x65535", {TVM_DTYPE_INT, 8, 65535}, NULL},
        {"int8x1", {TVM_DTYPE_INT, 8, 1}, "int8"},
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        char text[TVM_DTYPE_TEXT_SIZE];
        DLDataType dtype, again;
        expect_ok(tvm_dtype_parse(types[i].text, strlen(types[i].text), &dtype));
        assert_dtype(dtype, types[i].dtype.code, types[i].dtype.bits, types[i].dtype.lanes);
        assert_true(tvm_dtype_equal(dtype, types[i].dtype));
        assert_ptr_equal(tvm_dtype_print(dtype, text), text);
        assert_string_equal(text, types[i].printed ? types[i].printed : types[i].text);
        expect_ok(tvm_dtype_parse(text, strlen(text), &again));
        assert_true(tvm_dtype_equal(dtype, again));
    }
}

static void test_dtype_parse_refuses(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "i",
        "flo",
        "float32 ",
        " float32",
        "Float32",
        "float0",
        "float31",
        "float33",
        "float129",
        "float136",
        "float256",
        "int7",
        "int-8",
        "int+8",
        "int8x",
        "int8x0",
        "int8x65536",
        "int8x-1",
        "int8x4x2",
        "int8x99999999999999999999",
        "int99999999999999999999",
        "bool8",
        "bool1",
        "handle64",
        "e4m3_float",
        "float8_e9",
        "custom[x]8",
        "void",
        "x4",
        "int8,",
        "int 8",
        "uint1x",
        "double",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        DLDataType dtype;
        expect_error(tvm_dtype_parse(texts[i], strlen(texts[i]), &dtype), TVM_VALUE_ERROR,
                     "is not a dtype");
    }
    DLDataType dtype;
    expect_error(tvm_dtype_parse("float32\0", 8, &dtype), TVM_VALUE_ERROR, "\"float32\"");
    expect_ok(tvm_dtype_parse("float32garbage", 7, &dtype)); /* the size counts, not a NUL */
    assert_true(tvm_dtype_equal(dtype, float32));
    char text[1000];
    memset(text, 'y', sizeof(text));
    expect_error(tvm_dtype_parse(text, sizeof(text), &dtype), TVM_VALUE_ERROR, "yyy\" is not");
    char *exact = malloc(4); /* for AddressSanitizer: reads end with the size */
    assert_non_null(exact);
    memcpy(exact, "int8", 4);
    expect_ok(tvm_dtype_parse(exact, 4, &dtype));
    expect_error(tvm_dtype_parse(exact, 2, &dtype), TVM_VALUE_ERROR, "\"in\"");
    exact[3] = 'x';
    expect_error(tvm_dtype_parse(exact, 4, &dtype), TVM_VALUE_ERROR, "\"intx\"");
    free(exact);
}

/* Every dtype prints within the buffer. */
static void test_dtype_print_all(void **state) {
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        for (unsigned bits = 0; bits < 256; bits++) {
            char text[TVM_DTYPE_TEXT_SIZE + 1];
            memset(text, '!', sizeof(text));
            tvm_dtype_print((DLDataType){(uint8_t)code, (uint8_t)bits, UINT16_MAX}, text);
            assert_int_equal(text[TVM_DTYPE_TEXT_SIZE], '!');
            assert_true(strlen(text) < TVM_DTYPE_TEXT_SIZE - 1);
            assert_string_equal(text + strlen(text) - 6, "x65535");
        }
    }
    char text[TVM_DTYPE_TEXT_SIZE];
    assert_string_equal(tvm_dtype_print((DLDataType){99, 3, 1}, text), "dtype(code 99, 3 bits)");
}

static void test_dtype_nbytes(void **state) {
    (void)state;
    assert_int_equal(tvm_dtype_nbytes(float32), 4);
    assert_int_equal(tvm_dtype_nbytes((DLDataType){TVM_DTYPE_FLOAT, 32, 4}), 16);
    assert_int_equal(tvm_dtype_nbytes(boolean), 1);
    assert_int_equal(tvm_dtype_nbytes(uint1), 1);
    assert_int_equal(tvm_dtype_nbytes((DLDataType){TVM_DTYPE_INT, 4, 1}), 1);
    assert_int_equal(tvm_dtype_nbytes((DLDataType){TVM_DTYPE_INT, 4, 3}), 2);
    assert_int_equal(tvm_dtype_nbytes((DLDataType){TVM_DTYPE_INT, 0, 1}), 0);
    assert_int_equal(tvm_dtype_nbytes((DLDataType){TVM_DTYPE_INT, 8, 0}), 0);
    assert_int_equal(tvm_dtype_nbytes((DLDataType){TVM_DTYPE_INT, 255, 65535}), 2088929);
}

static void test_dtype_classic(void **state) {
    (void)state;
    static const struct {
        DLDataType classic, modern;
    } pairs[] = {
        {{TVM_DTYPE_UINT, 1, 1}, {TVM_DTYPE_BOOL, 8, 1}},
        {{TVM_DTYPE_UINT, 1, 4}, {TVM_DTYPE_BOOL, 8, 4}},
        {{6, 8, 1}, {TVM_DTYPE_FLOAT8_E4M3FN, 8, 1}},
        {{7, 8, 2}, {TVM_DTYPE_FLOAT8_E5M2, 8, 2}},
        {{TVM_DTYPE_UINT, 8, 1}, {TVM_DTYPE_UINT, 8, 1}},
        {{TVM_DTYPE_INT, 1, 1}, {TVM_DTYPE_INT, 1, 1}},
        {{TVM_DTYPE_FLOAT, 32, 1}, {TVM_DTYPE_FLOAT, 32, 1}},
        {{TVM_DTYPE_BFLOAT, 16, 1}, {TVM_DTYPE_BFLOAT, 16, 1}},
        {{TVM_DTYPE_HANDLE, 64, 1}, {TVM_DTYPE_HANDLE, 64, 1}},
        {{129, 16, 1}, {129, 16, 1}},
        {{6, 16, 1}, {6, 16, 1}}, /* of no known type */
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        assert_true(tvm_dtype_equal(tvm_dtype_from_classic(pairs[i].classic), pairs[i].modern));
        assert_true(tvm_dtype_equal(tvm_dtype_to_classic(pairs[i].modern), pairs[i].classic));
    }
}

/* Shapes */

static void test_shape_sizes(void **state) {
    (void)state;
    size_t out;
    expect_ok(tvm_shape_count(NULL, 0, &out));
    assert_int_equal(out, 1);
    expect_ok(tvm_shape_count((int64_t[]){2, 3, 4}, 3, &out));
    assert_int_equal(out, 24);
    expect_ok(tvm_shape_count((int64_t[]){2, 0, 4}, 3, &out));
    assert_int_equal(out, 0);
    expect_ok(tvm_shape_nbytes((int64_t[]){2, 3}, 2, (DLDataType){TVM_DTYPE_FLOAT, 16, 4}, &out));
    assert_int_equal(out, 48);
    expect_ok(tvm_shape_nbytes((int64_t[]){PTRDIFF_MAX}, 1, boolean, &out));
    assert_int_equal(out, PTRDIFF_MAX);
    int64_t ones[TVM_MAX_NDIM + 1];
    for (size_t i = 0; i < COUNT(ones); i++)
        ones[i] = 1;
    expect_ok(tvm_shape_count(ones, TVM_MAX_NDIM, &out));
    assert_int_equal(out, 1);
    expect_error(tvm_shape_count(ones, TVM_MAX_NDIM + 1, &out), TVM_VALUE_ERROR,
                 "a tensor of 65 dimensions: expected 0 to 64");
    expect_error(tvm_shape_count(NULL, -1, &out), TVM_VALUE_ERROR, "-1 dimensions");
    expect_error(tvm_shape_count(NULL, INT32_MAX, &out), TVM_VALUE_ERROR, "dimensions");
    expect_error(tvm_shape_count((int64_t[]){2, -1}, 2, &out), TVM_VALUE_ERROR,
                 "shape [2, -1] has a negative dimension");
    expect_error(tvm_shape_count((int64_t[]){INT64_MIN}, 1, &out), TVM_VALUE_ERROR, "negative");
    expect_error(tvm_shape_count((int64_t[]){INT64_MAX, 3}, 2, &out), TVM_VALUE_ERROR,
                 "more elements than memory could hold");
    expect_error(tvm_shape_count((int64_t[]){1LL << 32, 1LL << 32}, 2, &out), TVM_VALUE_ERROR,
                 "shape [4294967296, 4294967296]");
    expect_error(tvm_shape_nbytes((int64_t[]){SIZE_MAX / 4 + 1}, 1, float32, &out), TVM_VALUE_ERROR,
                 "] of float32 is larger than memory could be");
    expect_error(tvm_shape_nbytes((int64_t[]){SIZE_MAX / 8 + 1}, 1, float32, &out), TVM_VALUE_ERROR,
                 "larger than memory");
    expect_error(tvm_shape_nbytes((int64_t[]){2}, 1, (DLDataType){0, 8, 0}, &out), TVM_TYPE_ERROR,
                 "int8x0 is no element type");
    expect_error(tvm_shape_nbytes((int64_t[]){2}, 1, (DLDataType){0, 0, 1}, &out), TVM_TYPE_ERROR,
                 "no element type");
}

static void test_shape_print(void **state) {
    (void)state;
    char text[TVM_SHAPE_TEXT_SIZE];
    assert_string_equal(tvm_shape_print(NULL, 0, text, sizeof(text)), "[]");
    assert_string_equal(tvm_shape_print((int64_t[]){7}, 1, text, sizeof(text)), "[7]");
    assert_string_equal(tvm_shape_print((int64_t[]){1, -2, 224}, 3, text, sizeof(text)),
                        "[1, -2, 224]");
    int64_t shape[TVM_MAX_NDIM];
    for (size_t i = 0; i < COUNT(shape); i++)
        shape[i] = INT64_MIN;
    for (int ndim = 0; ndim <= TVM_MAX_NDIM; ndim++) {
        for (size_t size = 32; size <= sizeof(text); size++) {
            char *exact = malloc(size);
            assert_non_null(exact);
            tvm_shape_print(shape, ndim, exact, size);
            size_t length = strlen(exact);
            assert_true(length < size && exact[0] == '[' && exact[length - 1] == ']');
            free(exact);
        }
    }
    assert_string_equal(tvm_shape_print((int64_t[]){11111111, 22222222, 33333333, 4}, 4, text, 32),
                        "[11111111, 22222222, …]");
}

static void test_compact(void **state) {
    (void)state;
    static const struct {
        int ndim;
        int64_t shape[3], strides[3];
        bool compact;
    } cases[] = {
        {0, {0}, {0}, true},
        {1, {5}, {1}, true},
        {1, {5}, {2}, false},
        {1, {5}, {-1}, false},
        {1, {5}, {0}, false},
        {1, {1}, {99}, true}, /* of one element: the stride is never used */
        {2, {2, 3}, {3, 1}, true},
        {2, {2, 3}, {1, 2}, false},
        {2, {2, 3}, {4, 1}, false},
        {3, {2, 1, 3}, {3, -7, 1}, true},
        {3, {4, 0, 3}, {5, 6, 7}, true}, /* nothing to leave gaps between */
        {3, {0, 4, 3}, {5, 6, 7}, true},
        {3, {3, INT64_MAX, INT64_MAX}, {1, INT64_MAX, 1}, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        DLTensor tensor = {.ndim = cases[i].ndim,
                           .shape = (int64_t *)(uintptr_t)cases[i].shape,
                           .strides = (int64_t *)(uintptr_t)cases[i].strides};
        assert_int_equal(tvm_tensor_is_compact(&tensor), cases[i].compact);
        tensor.strides = NULL;
        assert_true(tvm_tensor_is_compact(&tensor));
    }
}

/* Storage and tensors */

static void test_empty(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    int64_t shape[] = {2, 3};
    struct tvm_tensor *tensor;
    expect_ok(tvm_tensor_empty(shape, 2, boolean, (DLDevice){kDLCPU, 3}, &tensor));
    shape[0] = 99; /* it was copied */
    assert_int_equal(tensor->object.type_index, TVM_TYPE_TENSOR);
    assert_int_equal((uintptr_t)tensor->dl.data % TVM_ALIGNMENT, 0);
    assert_int_equal(tensor->dl.ndim, 2);
    assert_int_equal(tensor->dl.shape[0], 2);
    assert_int_equal(tensor->dl.shape[1], 3);
    assert_null(tensor->dl.strides);
    assert_int_equal(tensor->dl.byte_offset, 0);
    assert_int_equal(tensor->dl.device.device_id, 3);
    assert_dtype(tensor->dl.dtype, TVM_DTYPE_BOOL, 8, 1);
    assert_dtype(tensor->classic.dtype, TVM_DTYPE_UINT, 1, 1);
    assert_ptr_equal(tensor->classic.data, tensor->dl.data);
    assert_ptr_equal(tensor->classic.shape, tensor->dl.shape);
    assert_ptr_equal(tvm_tensor_from_classic(&tensor->classic), tensor);
    assert_int_equal(tensor->storage->nbytes, 6);
    memset(tensor->dl.data, 1, 6);
    assert_int_equal(tvm_object_live_count(), live + 2);
    tvm_object_release(&tensor->object);
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_empty_of_nothing(void **state) {
    (void)state;
    struct tvm_tensor *first, *second;
    expect_ok(tvm_tensor_empty((int64_t[]){0, 5}, 2, float32, cpu, &first));
    expect_ok(tvm_tensor_empty((int64_t[]){0, 5}, 2, float32, cpu, &second));
    assert_non_null(first->dl.data);
    assert_ptr_not_equal(first->dl.data, second->dl.data);
    assert_int_equal((uintptr_t)first->dl.data % TVM_ALIGNMENT, 0);
    expect_ok(tvm_tensor_copy(&first->dl, &second->dl));
    expect_ok(tvm_tensor_copy_from_bytes(&first->dl, NULL, 0));
    expect_ok(tvm_tensor_copy_to_bytes(&first->dl, NULL, 0));
    tvm_object_release(&first->object);
    tvm_object_release(&second->object);
}

static void test_empty_refuses(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_tensor *tensor;
    const int64_t one = 1, negative = -1, huge = INT64_MAX;
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){kDLVulkan, 1}, &tensor),
                 TVM_TYPE_ERROR, "vulkan(1): this runtime has no support");
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){(DLDeviceType)99, 0}, &tensor),
                 TVM_TYPE_ERROR, "device type 99(0)");
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){(DLDeviceType)0, 0}, &tensor),
                 TVM_TYPE_ERROR, "device type 0(0)");
    expect_error(tvm_tensor_empty(&one, 1, float32, (DLDevice){kDLCPU, -1}, &tensor),
                 TVM_VALUE_ERROR, "cpu(-1)");
    expect_error(tvm_tensor_empty(&negative, 1, float32, cpu, &tensor), TVM_VALUE_ERROR,
                 "negative");
    expect_error(tvm_tensor_empty(&huge, 1, float32, cpu, &tensor), TVM_VALUE_ERROR, "memory");
    expect_error(tvm_tensor_empty(&one, 1, (DLDataType){0, 0, 0}, cpu, &tensor), TVM_TYPE_ERROR,
                 "no element type");
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_views(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_storage *storage;
    struct tvm_tensor *all, *tail, *end;
    expect_ok(tvm_storage_new(cpu, 64, &storage));
    assert_int_equal(storage->nbytes, 64);
    expect_ok(tvm_tensor_view(storage, 0, (int64_t[]){16}, 1, float32, &all));
    expect_ok(tvm_tensor_view(storage, 48, (int64_t[]){2, 2}, 2, float32, &tail));
    expect_ok(tvm_tensor_view(storage, 64, (int64_t[]){0}, 1, float32, &end));
    assert_int_equal(tvm_object_use_count(&storage->object), 4);
    for (int i = 0; i < 16; i++)
        ((float *)all->dl.data)[i] = (float)i;
    float out[4];
    expect_ok(tvm_tensor_copy_to_bytes(&tail->dl, out, sizeof(out)));
    assert_true(out[0] == 12 && out[3] == 15);
    struct tvm_place place = tvm_tensor_place(&tail->dl);
    assert_int_equal(place.offset, 48);

    struct tvm_tensor *none;
    expect_error(tvm_tensor_view(storage, 52, (int64_t[]){2, 2}, 2, float32, &none),
                 TVM_VALUE_ERROR,
                 "shape [2, 2] of float32 at byte 52 needs 16 bytes, storage has 64");
    expect_error(tvm_tensor_view(storage, 65, (int64_t[]){0}, 1, float32, &none), TVM_VALUE_ERROR,
                 "needs 0 bytes");
    expect_error(tvm_tensor_view(storage, SIZE_MAX - 3, (int64_t[]){4}, 1, boolean, &none),
                 TVM_VALUE_ERROR, "storage has 64");
    expect_error(tvm_tensor_view(storage, 0, (int64_t[]){-4}, 1, boolean, &none), TVM_VALUE_ERROR,
                 "negative");
    assert_int_equal(tvm_object_use_count(&storage->object), 4);

    tvm_object_release(&storage->object);
    tvm_object_release(&all->object);
    tvm_object_release(&end->object);
    assert_int_equal(tvm_object_live_count(), live + 2);
    tvm_object_release(&tail->object);
    assert_int_equal(tvm_object_live_count(), live);
}

static void count_frees(void *resource) {
    ++*(int *)resource;
}

static void test_memory_of_others(void **state) {
    (void)state;
    float memory[4] = {1, 2, 3, 4}, out[2];
    int frees = 0;
    struct tvm_storage *storage;
    struct tvm_tensor *first, *second;
    expect_ok(tvm_storage_wrap(cpu, memory, sizeof(memory), count_frees, &frees, &storage));
    expect_ok(tvm_tensor_view(storage, 0, (int64_t[]){4}, 1, float32, &first));
    expect_ok(tvm_tensor_view(storage, 8, (int64_t[]){2}, 1, float32, &second));
    tvm_object_release(&storage->object);
    assert_ptr_equal(first->dl.data, memory);
    memory[3] = 5;
    expect_ok(tvm_tensor_copy_to_bytes(&second->dl, out, sizeof(out)));
    assert_true(out[0] == 3 && out[1] == 5);
    tvm_object_release(&first->object);
    assert_int_equal(frees, 0);
    tvm_object_release(&second->object);
    assert_int_equal(frees, 1);

    expect_ok(tvm_storage_wrap(cpu, memory, sizeof(memory), NULL, memory, &storage));
    tvm_object_release(&storage->object); /* the memory is not freed, whatever resource is */
}

static void test_copies(void **state) {
    (void)state;
    struct tvm_tensor *from, *to, *ints, *small;
    const float in[6] = {0, 1, 2, 3, 4, 5};
    float out[6] = {0};
    expect_ok(tvm_tensor_empty((int64_t[]){2, 3}, 2, float32, cpu, &from));
    expect_ok(tvm_tensor_empty((int64_t[]){6}, 1, float32, (DLDevice){kDLCPU, 1}, &to));
    expect_ok(tvm_tensor_empty((int64_t[]){6}, 1, (DLDataType){TVM_DTYPE_INT, 32, 1}, cpu, &ints));
    expect_ok(tvm_tensor_empty((int64_t[]){5}, 1, float32, cpu, &small));
    expect_ok(tvm_tensor_copy_from_bytes(&from->dl, in, sizeof(in)));
    expect_ok(tvm_tensor_copy(&from->dl, &to->dl)); /* shapes may differ, sizes not */
    expect_ok(tvm_tensor_copy(&to->dl, &to->dl));
    expect_ok(tvm_tensor_copy_to_bytes(&to->dl, out, sizeof(out)));
    assert_memory_equal(in, out, sizeof(in));

    expect_error(tvm_tensor_copy(&from->dl, &ints->dl), TVM_TYPE_ERROR,
                 "cannot copy float32 to int32: dtypes differ");
    expect_error(tvm_tensor_copy(&from->dl, &small->dl), TVM_VALUE_ERROR,
                 "cannot copy [2, 3] (24 bytes) to [5] (20 bytes)");
    expect_error(tvm_tensor_copy_from_bytes(&from->dl, in, 23), TVM_VALUE_ERROR,
                 "float32 [2, 3] holds 24 bytes, but the copy is of 23 bytes");
    expect_error(tvm_tensor_copy_to_bytes(&from->dl, out, 25), TVM_VALUE_ERROR, "of 25 bytes");
    expect_error(tvm_tensor_copy_from_bytes(&from->dl, NULL, 24), TVM_VALUE_ERROR,
                 "the source of a copy of 24 bytes is NULL");
    expect_error(tvm_tensor_copy_to_bytes(&from->dl, NULL, 24), TVM_VALUE_ERROR,
                 "the target of a copy of 24 bytes is NULL");

    int64_t strides[] = {1, 2};
    DLTensor transposed = from->dl;
    transposed.strides = strides;
    expect_error(tvm_tensor_copy(&transposed, &to->dl), TVM_VALUE_ERROR,
                 "the source tensor is not compact");
    expect_error(tvm_tensor_copy(&to->dl, &transposed), TVM_VALUE_ERROR,
                 "the target tensor is not compact");
    expect_error(tvm_tensor_copy_to_bytes(&transposed, out, sizeof(out)), TVM_VALUE_ERROR,
                 "not compact");
    DLTensor elsewhere = to->dl;
    elsewhere.device.device_type = kDLVPI;
    expect_error(tvm_tensor_copy(&from->dl, &elsewhere), TVM_TYPE_ERROR, "vpi(1)");
    expect_error(tvm_tensor_copy(&elsewhere, &to->dl), TVM_TYPE_ERROR, "vpi(1)");
    struct tvm_tensor *all[] = {from, to, ints, small};
    for (size_t i = 0; i < COUNT(all); i++)
        tvm_object_release(&all[i]->object);
}

/* DLPack */

struct import {
    DLManagedTensor managed;
    int64_t shape[2], strides[2];
    float data[8];
    int deleted;
};

static void delete_import(DLManagedTensor *managed) {
    ((struct import *)managed)->deleted++;
}

static void import_init(struct import *import, DLDataType dtype) {
    *import = (struct import){.shape = {2, 3}, .strides = {3, 1}, .data = {0, 1, 2, 3, 4, 5, 6, 7}};
    import->managed = (DLManagedTensor){.dl_tensor = {.data = import->data,
                                                      .device = cpu,
                                                      .ndim = 2,
                                                      .dtype = dtype,
                                                      .shape = import->shape,
                                                      .strides = import->strides},
                                        .deleter = delete_import};
}

static void test_import(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct import import;
    struct tvm_tensor *tensor;
    import_init(&import, float32);
    import.managed.dl_tensor.byte_offset = 8;
    expect_ok(tvm_tensor_from_dlpack(&import.managed, &tensor));
    float out[6];
    expect_ok(tvm_tensor_copy_to_bytes(&tensor->dl, out, sizeof(out)));
    assert_true(out[0] == 2 && out[5] == 7);
    assert_null(tensor->dl.strides);
    assert_int_equal(import.deleted, 0);
    tvm_object_release(&tensor->object);
    assert_int_equal(import.deleted, 1);

    import_init(&import, float32);
    import.managed.deleter = NULL;
    expect_ok(tvm_tensor_from_dlpack(&import.managed, &tensor));
    tvm_object_release(&tensor->object);
    assert_int_equal(tvm_object_live_count(), live);
}

/* bool comes as DLPack numbers it and as classic TVM does; 6 and 7 are never classic float8. */
static void test_import_dtypes(void **state) {
    (void)state;
    static const struct {
        DLDataType given, dtype, classic;
    } cases[] = {
        {{TVM_DTYPE_BOOL, 8, 1}, {TVM_DTYPE_BOOL, 8, 1}, {TVM_DTYPE_UINT, 1, 1}},
        {{TVM_DTYPE_UINT, 1, 1}, {TVM_DTYPE_BOOL, 8, 1}, {TVM_DTYPE_UINT, 1, 1}},
        {{TVM_DTYPE_UINT, 8, 1}, {TVM_DTYPE_UINT, 8, 1}, {TVM_DTYPE_UINT, 8, 1}},
        {{TVM_DTYPE_FLOAT8_E5M2, 8, 1}, {TVM_DTYPE_FLOAT8_E5M2, 8, 1}, {7, 8, 1}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct import import;
        struct tvm_tensor *tensor;
        import_init(&import, cases[i].given);
        expect_ok(tvm_tensor_from_dlpack(&import.managed, &tensor));
        assert_true(tvm_dtype_equal(tensor->dl.dtype, cases[i].dtype));
        assert_true(tvm_dtype_equal(tensor->classic.dtype, cases[i].classic));
        tvm_object_release(&tensor->object);
    }
}

static void refuse_import(struct import *import, const char *kind, const char *text) {
    struct tvm_tensor *tensor;
    int64_t live = tvm_object_live_count();
    expect_error(tvm_tensor_from_dlpack(&import->managed, &tensor), kind, text);
    assert_int_equal(import->deleted, 0);
    assert_int_equal(tvm_object_live_count(), live);
    import_init(import, float32);
}

static void test_import_refuses(void **state) {
    (void)state;
    struct import import;
    DLTensor *dl = &import.managed.dl_tensor;
    import_init(&import, float32);
    import.strides[0] = 4;
    refuse_import(&import, TVM_VALUE_ERROR, "the imported tensor is not compact");
    dl->ndim = -1;
    refuse_import(&import, TVM_VALUE_ERROR, "-1 dimensions");
    dl->ndim = 1000;
    refuse_import(&import, TVM_VALUE_ERROR, "1000 dimensions");
    dl->shape = NULL;
    refuse_import(&import, TVM_VALUE_ERROR, "no shape");
    import.shape[1] = -3;
    refuse_import(&import, TVM_VALUE_ERROR, "negative");
    import.shape[0] = import.shape[1] = INT64_MAX;
    refuse_import(&import, TVM_VALUE_ERROR, "memory");
    dl->data = NULL;
    refuse_import(&import, TVM_VALUE_ERROR, "no data");
    dl->byte_offset = UINT64_MAX - 10;
    refuse_import(&import, TVM_VALUE_ERROR, "byte offset 18446744073709551605");
    dl->dtype.lanes = 0;
    refuse_import(&import, TVM_TYPE_ERROR, "no element type");
    dl->device = (DLDevice){kDLCUDA, 0};
    refuse_import(&import, TVM_TYPE_ERROR, "cuda(0)");
    struct tvm_tensor *tensor;
    dl->data = NULL;
    import.shape[0] = 0;
    expect_ok(
        tvm_tensor_from_dlpack(&import.managed, &tensor)); /* DLPack allows it for no elements */
    tvm_object_release(&tensor->object);
}

static void test_export(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_tensor *tensor, *again;
    DLManagedTensor *export;
    expect_ok(tvm_tensor_empty((int64_t[]){2, 3}, 2, boolean, cpu, &tensor));
    void *data = tensor->dl.data;
    expect_ok(tvm_tensor_to_dlpack(tensor, &export));
    assert_int_equal(tvm_object_use_count(&tensor->object), 2);
    tvm_object_release(&tensor->object);
    assert_ptr_equal(export->dl_tensor.data, data);
    assert_int_equal(export->dl_tensor.ndim, 2);
    assert_int_equal(export->dl_tensor.shape[1], 3);
    assert_dtype(export->dl_tensor.dtype, TVM_DTYPE_BOOL, 8, 1);
    memset(data, 1, 6);

    expect_ok(tvm_tensor_from_dlpack(export, &again)); /* and back: the import owns the export */
    assert_dtype(again->dl.dtype, TVM_DTYPE_BOOL, 8, 1);
    assert_ptr_equal(again->dl.data, data);
    tvm_object_release(&again->object);
    assert_int_equal(tvm_object_live_count(), live);
}

/* Devices */

static void test_device_texts(void **state) {
    (void)state;
    static const struct {
        int type, id;
        const char *text;
    } devices[] = {
        {1, 0, "cpu(0)"},
        {2, 1, "cuda(1)"},
        {4, 0, "opencl(0)"},
        {13, 2, "cuda_managed(2)"},
        {16, 0, "hexagon(0)"},
        {5, 0, "device type 5(0)"},
        {INT32_MAX, INT32_MIN, "device type 2147483647(-2147483648)"},
        {INT32_MIN, INT32_MIN, "device type -2147483648(-2147483648)"},
    };
    for (size_t i = 0; i < COUNT(devices); i++) {
        char text[TVM_DEVICE_TEXT_SIZE];
        DLDevice device = {(DLDeviceType)devices[i].type, devices[i].id};
        assert_string_equal(tvm_device_print(device, text), devices[i].text);
    }
    assert_true(tvm_device_equal(cpu, (DLDevice){kDLCPU, 0}));
    assert_false(tvm_device_equal(cpu, (DLDevice){kDLCPU, 1}));
    assert_false(tvm_device_equal(cpu, (DLDevice){kDLCUDAHost, 0}));
}

/* What every device in the table must offer. */
static void test_device_table(void **state) {
    (void)state;
    for (const struct tvm_device_api *const *api = tvm_devices; *api; api++) {
        assert_non_null((*api)->name);
        assert_true((*api)->count() >= ((*api)->type == kDLCPU));
        assert_non_null((*api)->check);
        assert_non_null((*api)->alloc);
        assert_non_null((*api)->free);
        assert_non_null((*api)->zero);
        assert_non_null((*api)->copy);
        assert_non_null((*api)->sync);
        assert_non_null((*api)->alloc_workspace);
        assert_non_null((*api)->free_workspace);
        assert_non_null((*api)->attribute);
        char text[TVM_DEVICE_TEXT_SIZE], expected[TVM_DEVICE_TEXT_SIZE];
        snprintf(expected, sizeof(expected), "%s(0)", (*api)->name);
        assert_string_equal(tvm_device_print((DLDevice){(*api)->type, 0}, text), expected);
    }
}

static void test_cpu(void **state) {
    (void)state;
    const struct tvm_device_api *api;
    expect_ok(tvm_device_get((DLDevice){kDLCPU, INT32_MAX}, &api));
    assert_ptr_equal(api, &tvm_cpu_device);
    for (size_t nbytes = 1; nbytes < 1000; nbytes += 37) {
        void *data;
        expect_ok(api->alloc(cpu, nbytes, &data));
        assert_int_equal((uintptr_t)data % TVM_ALIGNMENT, 0);
        memset(data, 0xff, nbytes);
        expect_ok(api->zero((struct tvm_place){cpu, data, 0}, nbytes));
        for (size_t i = 0; i < nbytes; i++)
            assert_int_equal(((char *)data)[i], 0);
        api->free(cpu, data);
    }
    void *data;
    char text[64];
    snprintf(text, sizeof(text), "cannot allocate %zu bytes", SIZE_MAX);
    expect_error(api->alloc(cpu, SIZE_MAX, &data), TVM_MEMORY_ERROR, text);
    char bytes[6] = "abcde";
    expect_ok(api->copy((struct tvm_place){cpu, bytes, 0}, (struct tvm_place){cpu, bytes, 1}, 3));
    assert_string_equal(bytes, "aabce");
    expect_ok(api->zero((struct tvm_place){cpu, bytes, 2}, 2));
    assert_memory_equal(bytes, "aa\0\0e", 6);
    expect_ok(api->sync(cpu));
    struct tvm_value value;
    expect_ok(api->attribute(cpu, 0, &value));
    assert_int_equal(value.type_index, TVM_TYPE_INT);
    assert_int_equal(value.v_int, 1);
    expect_ok(api->attribute(cpu, TVM_DEVICE_PROCESSORS, &value));
    assert_int_equal(value.v_int, tvm_pool_size());
    expect_ok(api->attribute(cpu, TVM_DEVICE_MEMORY, &value));
    assert_true(value.v_int > 1 << 20);
    struct tvm_bytes name;
    expect_ok(api->attribute(cpu, TVM_DEVICE_NAME, &value));
    assert_true(tvm_value_text(&value, &name) && name.size > 0);
    tvm_value_clear(&value);
    expect_ok(api->attribute(cpu, 12345, &value));
    assert_int_equal(value.type_index, TVM_TYPE_NONE);
}

static void test_cpu_workspace(void **state) {
    (void)state;
    const struct tvm_device_api *api = &tvm_cpu_device;
    void *first, *second;
    expect_ok(api->alloc_workspace(cpu, 1000, &first));
    expect_ok(api->alloc_workspace(cpu, 0, &second));
    assert_int_equal((uintptr_t)first % TVM_ALIGNMENT, 0);
    assert_int_equal((uintptr_t)second % TVM_ALIGNMENT, 0);
    assert_ptr_not_equal(first, second);
    memset(first, 1, 1000);
    expect_ok(api->free_workspace(cpu, first));
    expect_ok(api->free_workspace(cpu, second));
    expect_error(api->free_workspace(cpu, second), TVM_VALUE_ERROR, "not a workspace");
    expect_error(api->alloc_workspace(cpu, SIZE_MAX, &first), TVM_MEMORY_ERROR,
                 "cannot allocate a workspace");
}

static void test_copy_by_places(void **state) {
    (void)state;
    char from[] = "abcdef", to[] = "......";
    struct tvm_place source = {cpu, from, 2}, target = {{kDLCPU, 5}, to, 1}, none = {cpu, NULL, 0};
    expect_ok(tvm_device_copy(source, target, 3));
    assert_string_equal(to, ".cde..");
    expect_ok(tvm_device_copy(none, none, 0));
    expect_error(tvm_device_copy(none, target, 1), TVM_VALUE_ERROR, "source of a copy of 1 bytes");
    expect_error(tvm_device_copy(source, none, 1), TVM_VALUE_ERROR, "target of a copy of 1 bytes");
    source.device.device_id = -1;
    expect_error(tvm_device_copy(source, target, 1), TVM_VALUE_ERROR, "cpu(-1)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtype_parse),
        cmocka_unit_test(test_dtype_parse_refuses),
        cmocka_unit_test(test_dtype_print_all),
        cmocka_unit_test(test_dtype_nbytes),
        cmocka_unit_test(test_dtype_classic),
        cmocka_unit_test(test_shape_sizes),
        cmocka_unit_test(test_shape_print),
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_empty_of_nothing),
        cmocka_unit_test(test_empty_refuses),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_memory_of_others),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_import_dtypes),
        cmocka_unit_test(test_import_refuses),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_device_texts),
        cmocka_unit_test(test_device_table),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_cpu_workspace),
        cmocka_unit_test(test_copy_by_places),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
