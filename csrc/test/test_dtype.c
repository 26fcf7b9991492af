/* Element types and shapes. */
#include "base/tensor.h"
#include "test/expect.h"

#include <stdlib.h>

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
        {"e4m3_float8", {10, 8, 1}, "float8_e4m3fn"},
        {"e5m2_float8", {12, 8, 1}, "float8_e5m2"},
        {"e4m3_float8x4", {10, 8, 4}, "float8_e4m3fnx4"},
        {"float8_e3m4", {7, 8, 1}, NULL}, /* these as tvm-ffi 0.1.15 has them */
        {"float8_e4m3", {8, 8, 1}, NULL},
        {"float8_e4m3b11fnuz", {9, 8, 1}, NULL},
        {"float8_e4m3fn", {10, 8, 1}, NULL},
        {"float8_e4m3fnuz", {11, 8, 1}, NULL},
        {"float8_e5m2", {12, 8, 1}, NULL},
        {"float8_e5m2fnuz", {13, 8, 1}, NULL},
        {"float8_e8m0fnu", {14, 8, 1}, NULL},
        {"float6_e2m3fn", {15, 6, 1}, NULL},
        {"float6_e3m2fn", {16, 6, 1}, NULL},
        {"float4_e2m1fn", {17, 4, 1}, NULL},
        {"float4_e2m1fnx2", {17, 4, 2}, NULL},
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
    char text[TVM_DTYPE_TEXT_SIZE]; /* these differ from today's, all others do not */
    assert_string_equal(tvm_dtype_print_classic((DLDataType){TVM_DTYPE_FLOAT8_E4M3FN, 8, 1}, text),
                        "e4m3_float8");
    assert_string_equal(tvm_dtype_print_classic((DLDataType){TVM_DTYPE_FLOAT8_E5M2, 8, 2}, text),
                        "e5m2_float8x2");
    assert_string_equal(tvm_dtype_print_classic(float32, text), "float32");
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
        {3, {4, 3, 0}, {5, 6, 7}, true},
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtype_parse),     cmocka_unit_test(test_dtype_parse_refuses),
        cmocka_unit_test(test_dtype_print_all), cmocka_unit_test(test_dtype_nbytes),
        cmocka_unit_test(test_dtype_classic),   cmocka_unit_test(test_shape_sizes),
        cmocka_unit_test(test_shape_print),     cmocka_unit_test(test_compact),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
