/* Params files: values, alignment, and every kind of damage. */
#include "test/graph_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {kDLFloat, 32, 1};

static struct tvm_bytes text(const char *name) {
    return (struct tvm_bytes){name, strlen(name)};
}

static int parse(struct fixture_bytes bytes) {
    struct tvm_graph_params *params = NULL;
    /* In memory of just that size: reads beyond it show. */
    unsigned char *exact = malloc(bytes.size ? bytes.size : 1);
    if (bytes.size)
        memcpy(exact, bytes.data, bytes.size);
    int status = tvm_graph_params_new("test.params", exact, bytes.size, cpu, &params);
    free(exact);
    if (status == 0)
        fixture_release(params);
    return status;
}

static void expect_damage(struct fixture_bytes bytes, const char *message) {
    assert_int_equal(parse(bytes), -1);
    fixture_expect_error(TVM_FORMAT_ERROR, "test.params: ");
    assert_int_equal(parse(bytes), -1);
    fixture_expect_error(TVM_FORMAT_ERROR, message);
    free(bytes.data);
}

static struct fixture_bytes several(void) {
    static const char *const names[] = {"weight", "", "scalar", "empty", "mask"};
    static const float weight[] = {1, 2, 3, 4, 5, 6, 7};
    static const int64_t seven[] = {7}, none[] = {3, 0, 2}, mask_shape[] = {3, 1};
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, names, 5);
    fixture_put_tensor(&bytes, float32, seven, 1, weight, sizeof(weight));
    fixture_put_tensor(&bytes, (DLDataType){kDLInt, 64, 1}, seven, 0, "\1\2\0\0\0\0\0\0", 8);
    fixture_put_tensor(&bytes, (DLDataType){kDLFloat, 16, 1}, seven, 0, "ab", 2);
    fixture_put_tensor(&bytes, float32, none, 3, NULL, 0);
    fixture_put_tensor(&bytes, (DLDataType){kDLUInt, 1, 1}, mask_shape, 2, "\1\0\1", 3);
    return bytes;
}

static void test_values(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
    fixture_put(&bytes, "trailing bytes", 14); /* ignored, as TVM does */
    struct tvm_graph_params *params;
    assert_int_equal(tvm_graph_params_new("test.params", bytes.data, bytes.size, cpu, &params), 0);
    memset(bytes.data, 0xff, bytes.size); /* everything was copied */
    free(bytes.data);
    assert_int_equal(tvm_graph_params_count(params), 5);
    assert_string_equal(tvm_graph_params_name(params, 2).data, "scalar");
    struct tvm_tensor *weight = tvm_graph_params_find(params, text("weight"));
    assert_ptr_equal(weight, tvm_graph_params_tensor(params, 0));
    assert_int_equal(weight->dl.shape[0], 7);
    assert_float_equal(((float *)weight->dl.data)[6], 7, 0);
    struct tvm_tensor *unnamed = tvm_graph_params_find(params, text(""));
    assert_int_equal(unnamed->dl.ndim, 0);
    assert_int_equal(*(int64_t *)unnamed->dl.data, 0x201);
    struct tvm_tensor *mask = tvm_graph_params_find(params, text("mask"));
    assert_int_equal(mask->dl.dtype.code, TVM_DTYPE_BOOL);
    assert_int_equal(mask->dl.dtype.bits, 8);
    assert_int_equal(mask->classic.dtype.code, kDLUInt);
    assert_int_equal(mask->classic.dtype.bits, 1);
    assert_memory_equal(mask->dl.data, "\1\0\1", 3);
    for (size_t i = 0; i < 5; i++) {
        const struct tvm_tensor *tensor = tvm_graph_params_tensor(params, i);
        assert_int_equal((uintptr_t)tensor->dl.data % TVM_ALIGNMENT, 0);
        assert_int_equal(tensor->dl.byte_offset, 0);
        assert_ptr_equal(tensor->dl.data, tensor->classic.data);
        assert_ptr_equal(tensor->storage, weight->storage); /* one piece of memory */
    }
    assert_null(tvm_graph_params_find(params, text("weigh")));
    assert_null(tvm_graph_params_find(params, text("weightt")));
    /* A tensor outlives its params. */
    tvm_object_retain(&weight->object);
    fixture_release(params);
    assert_float_equal(((float *)weight->dl.data)[0], 1, 0);
    fixture_release(weight);
}

static void test_empty(void **state) {
    (void)state;
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, NULL, 0);
    assert_int_equal(bytes.size, 32);
    struct tvm_graph_params *params;
    assert_int_equal(tvm_graph_params_new("test.params", bytes.data, bytes.size, cpu, &params), 0);
    assert_int_equal(tvm_graph_params_count(params), 0);
    assert_null(tvm_graph_params_find(params, text("")));
    fixture_release(params);
    free(bytes.data);
}

static void test_head_damage(void **state) {
    (void)state;
    static const char *const twice[] = {"a", "b", "a"};
    struct fixture_bytes bytes = {NULL, 0};
    expect_damage(bytes, "magic number");
    fixture_put(&bytes, "not a params file at all", 24);
    expect_damage(bytes, "not a params file");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_number(&bytes, UINT64_C(0xF7E58D4F05049CB7), 8);
    fixture_put_number(&bytes, 0, 8);
    fixture_put_number(&bytes, UINT64_C(1) << 40, 8);
    fixture_put_number(&bytes, 0, 8);
    expect_damage(bytes, "number of names");
    for (int i = 0; i < 3; i++) {
        static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, 9};
        bytes = (struct fixture_bytes){NULL, 0};
        fixture_put_number(&bytes, UINT64_C(0xF7E58D4F05049CB7), 8);
        fixture_put_number(&bytes, 0, 8);
        fixture_put_number(&bytes, 1, 8);
        fixture_put_number(&bytes, lengths[i], 8);
        fixture_put_number(&bytes, 0, 8);
        expect_damage(bytes, "name of a parameter");
    }
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 2);
    bytes.data[bytes.size - 8] = 3;
    expect_damage(bytes, "3 tensors, but 2 names");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 1);
    bytes.data[32] = '\0';
    expect_damage(bytes, "the name of parameter 0 holds a NUL");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 3);
    expect_damage(bytes, "3 tensors cannot fit");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 3);
    for (int i = 0; i < 3; i++)
        fixture_put_tensor(&bytes, float32, NULL, 0, "1234", 4);
    expect_damage(bytes, "two parameters are called a");
}

/* Offsets in a file with one tensor called "p" of 2 dimensions. */
enum {
    TENSOR = 41,
    DEVICE = 57,
    NDIM = 65,
    CODE = 69,
    BITS = 70,
    LANES = 71,
    SHAPE = 73,
    SIZE = 89
};

static struct fixture_bytes one(void) {
    static const float data[] = {1, 2, 3, 4, 5, 6};
    static const int64_t shape[] = {2, 3};
    return fixture_params("p", shape, 2, data);
}

static void test_tensor_damage(void **state) {
    (void)state;
    static const struct {
        size_t offset, size;
        uint64_t value;
        const char *message;
    } damages[] = {
        {TENSOR, 8, 5, "test.params: parameter 0 (p): byte 49: no tensor begins here"},
        {DEVICE, 4, 2, "device type 2: only cpu"},
        {NDIM, 4, 0xffffffff, "-1 dimensions"},
        {NDIM, 4, 1 << 30, "1073741824 dimensions"},
        {NDIM, 4, 65, "65 dimensions: expected 0 to 64"},
        {NDIM, 4, 64, "shape: expected 512 bytes"},
        {NDIM, 4, 1, "bytes, but 3 are stored"},
        {BITS, 1, 0, "has no bits"},
        {BITS, 1, 64, "float64 [2, 3] has 48 bytes, but 24 are stored"},
        {BITS, 1, 8, "has 6 bytes, but 24 are stored"},
        {LANES, 2, 0, "0 lanes: expected 1"},
        {LANES, 2, 4, "4 lanes: expected 1"},
        {SHAPE, 8, 3, "float32 [3, 3] has 36 bytes, but 24 are stored"},
        {SHAPE, 8, UINT64_MAX, "negative dimension"},
        {SHAPE, 8, INT64_MAX, "more elements"},
        {SHAPE, 8, UINT64_C(1) << 61, "larger than memory"},
        {SIZE, 8, 25, "has 24 bytes, but 25 are stored"},
        {SIZE, 8, UINT64_MAX, "has 24 bytes, but -1 are stored"},
    };
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct fixture_bytes bytes = one();
        for (size_t k = 0; k < damages[i].size; k++)
            bytes.data[damages[i].offset + k] = (unsigned char)(damages[i].value >> 8 * k);
        expect_damage(bytes, damages[i].message);
    }
    struct fixture_bytes custom = one();
    custom.data[CODE] = 131;
    assert_int_equal(parse(custom), -1);
    fixture_expect_error(TVM_UNSUPPORTED_ERROR, "parameter 0 (p): dtype code 131");
    free(custom.data);
    /* TVM 0.6 wrote bool parameters without their data. */
    static const char *const name = "mask";
    static const int64_t shape[] = {4};
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, &name, 1);
    fixture_put_tensor(&bytes, (DLDataType){kDLUInt, 1, 1}, shape, 1, NULL, 0);
    expect_damage(bytes, "bool [4] without data: TVM 0.6");
}

static void test_unknown_device(void **state) {
    (void)state;
    struct fixture_bytes bytes = one();
    struct tvm_graph_params *params;
    assert_int_equal(tvm_graph_params_new("test.params", bytes.data, bytes.size,
                                          (DLDevice){(DLDeviceType)99, 0}, &params),
                     -1);
    fixture_expect_error(TVM_TYPE_ERROR, "no support for such a device");
    free(bytes.data);
}

static void test_truncated(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(parse((struct fixture_bytes){bytes.data, size}), -1);
        fixture_expect_error(TVM_FORMAT_ERROR, "test.params: ");
    }
    assert_int_equal(parse(bytes), 0);
    free(bytes.data);
}

static void test_mutated(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
    unsigned char *original = malloc(bytes.size);
    memcpy(original, bytes.data, bytes.size);
    uint64_t seed = 3;
    for (int i = 0; i < 20000; i++) {
        static const unsigned char values[] = {0, 1, 2, 0x7f, 0x80, 0xff, 64, 32};
        memcpy(bytes.data, original, bytes.size);
        for (uint32_t n = 1 + fixture_random(&seed) % 4; n > 0; n--)
            bytes.data[fixture_random(&seed) % bytes.size] =
                values[fixture_random(&seed) % sizeof(values)];
        parse(bytes);
    }
    free(original);
    free(bytes.data);
}

static void test_no_leaks(void **state) {
    (void)state;
    fixture_release(tvm_error_take());
    int64_t before = tvm_object_live_count();
    test_values(state);
    test_tensor_damage(state);
    test_truncated(state);
    assert_int_equal(tvm_object_live_count(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),         cmocka_unit_test(test_empty),
        cmocka_unit_test(test_head_damage),    cmocka_unit_test(test_tensor_damage),
        cmocka_unit_test(test_unknown_device), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_mutated),        cmocka_unit_test(test_no_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
