/* Params files that are damaged, in memory and on disk: the same error from both, and no harm. */
#include "test/params_fixture.h"

#include <stdlib.h>
#include <string.h>

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {kDLFloat, 32, 1};

/* The same bytes in a file: they give the same params, or the same error. */
static void parse_file(struct fixture_bytes bytes, const struct tvm_graph_params *expected) {
    struct tvm_error *error = expected ? NULL : tvm_error_take();
    struct tvm_graph_weights *weights = params_open(bytes);
    if (error) {
        assert_null(weights);
        expect_error(-1, error->kind.data, error->message.data);
        (void)tvm_error_restore(error); /* the caller's */
    } else {
        struct tvm_graph_params *params;
        assert_non_null(weights);
        expect_ok(tvm_graph_weights_place(weights, NULL, cpu, &params));
        params_expect_equal(params, expected);
        fixture_release(params);
        fixture_release(weights);
    }
}

static uint64_t number(struct fixture_bytes bytes, size_t *at, size_t size) {
    uint64_t value = 0;
    assert_true(*at <= bytes.size && size <= bytes.size - *at);
    for (size_t k = 0; k < size; k++)
        value |= (uint64_t)bytes.data[(*at)++] << 8 * k;
    return value;
}

/* What was parsed is what the bytes say, in their order. */
static void expect_bytes(const struct tvm_graph_params *params, struct fixture_bytes bytes) {
    size_t at = 16, count = (size_t)number(bytes, &at, 8), nbytes;
    assert_int_equal(tvm_graph_params_count(params), count);
    for (size_t i = 0; i < count; i++) {
        struct tvm_bytes name = tvm_graph_params_name(params, i);
        assert_int_equal(number(bytes, &at, 8), name.size);
        assert_true(name.size <= bytes.size - at);
        assert_memory_equal(bytes.data + at, name.data, name.size);
        at += name.size;
    }
    assert_int_equal(number(bytes, &at, 8), count);
    for (size_t i = 0; i < count; i++) {
        const DLTensor *tensor = &tvm_graph_params_tensor(params, i)->classic;
        at += 24; /* magic number, reserved word, device */
        assert_int_equal(number(bytes, &at, 4), tensor->ndim);
        assert_int_equal(number(bytes, &at, 1), tensor->dtype.code);
        assert_int_equal(number(bytes, &at, 1), tensor->dtype.bits);
        assert_int_equal(number(bytes, &at, 2), tensor->dtype.lanes);
        for (int k = 0; k < tensor->ndim; k++)
            assert_int_equal(number(bytes, &at, 8), tensor->shape[k]);
        expect_ok(tvm_tensor_nbytes(tensor, &nbytes));
        assert_int_equal(number(bytes, &at, 8), nbytes);
        assert_true(nbytes <= bytes.size - at);
        assert_memory_equal(bytes.data + at, tensor->data, nbytes);
        at += nbytes;
    }
}

static int parse(struct fixture_bytes bytes) {
    struct tvm_graph_params *params = NULL;
    /* In memory of just that size: reads beyond it show. */
    unsigned char *exact = malloc(bytes.size ? bytes.size : 1);
    if (bytes.size)
        memcpy(exact, bytes.data, bytes.size);
    int status = tvm_graph_params_new("test.params", exact, bytes.size, cpu, &params);
    free(exact);
    parse_file(bytes, params);
    if (status == 0) {
        expect_bytes(params, bytes);
        fixture_release(params);
    }
    return status;
}

static void expect_damage(struct fixture_bytes bytes, const char *message) {
    expect_error(parse(bytes), TVM_FORMAT_ERROR, "test.params: ");
    expect_error(parse(bytes), TVM_FORMAT_ERROR, message);
    free(bytes.data);
}

static void test_head_damage(void **state) {
    (void)state;
    static const char *const twice[] = {"a", "b", "a"};
    struct fixture_bytes bytes = {NULL, 0};
    expect_damage(bytes, "test.params: it is empty");
    fixture_put(&bytes, "not a params file at all", 24);
    expect_damage(bytes, "test.params: not a params file, but text");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put(&bytes,
                "\x7f"
                "ELF\2\1\1",
                7);
    expect_damage(bytes, "test.params: not a params file, but a library, program or object file");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_number(&bytes, UINT64_C(0xF7E58D4F05049CB7) >> 8, 7);
    expect_damage(bytes, "its first bytes are 9c 04 05 4f 8d e5 f7)");
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
    fixture_put_head(&bytes, twice, 2);
    bytes.data[bytes.size - 4] = 1;
    expect_damage(bytes, "4294967298 tensors, but 2 names");
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
        {NDIM, 4, 64, "shape: expected 8 bytes, 0 are left"},
        {NDIM, 4, 1, "bytes, but 3 are stored"},
        {BITS, 1, 0, "has no bits"},
        {BITS, 1, 64, "float64 [2, 3] has 48 bytes, but 24 are stored"},
        {BITS, 1, 8, "has 6 bytes, but 24 are stored"},
        {LANES, 2, 0, "0 lanes: expected 1"},
        {LANES, 2, 4, "4 lanes: expected 1"},
        {SHAPE, 8, 3, "float32 [3, 3] has 36 bytes, but 24 are stored"},
        {SHAPE, 8, UINT64_MAX, "negative dimension"},
        {SHAPE, 8, INT64_MAX, "more elements"},
        {SHAPE, 8, SIZE_MAX / 8 + 1, "larger than memory"},
        {SIZE, 8, (UINT64_C(1) << 32) + 24, "has 24 bytes, but 4294967320 are stored"},
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
    expect_error(parse(custom), TVM_UNSUPPORTED_ERROR, "parameter 0 (p): dtype code 131");
    free(custom.data);
    /* TVM 0.6 wrote bool parameters without their data. */
    static const char *const name = "mask";
    static const int64_t shape[] = {4};
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, &name, 1);
    fixture_put_tensor(&bytes, (DLDataType){kDLUInt, 1, 1}, shape, 1, NULL, 0);
    expect_damage(bytes, "bool [4] without data: TVM 0.6");
}

static void test_truncated(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    for (size_t size = 0; size < bytes.size; size++) {
        expect_error(parse((struct fixture_bytes){bytes.data, size}), TVM_FORMAT_ERROR,
                     "test.params: ");
    }
    assert_int_equal(parse(bytes), 0);
    free(bytes.data);
}

static void test_mutated(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    unsigned char *original = malloc(bytes.size);
    memcpy(original, bytes.data, bytes.size);
    uint64_t seed = 3;
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        static const unsigned char values[] = {0, 1, 2, 0x7f, 0x80, 0xff, 64, 32};
        memcpy(bytes.data, original, bytes.size);
        for (uint32_t n = 1 + fixture_random(&seed) % 4; n > 0; n--)
            bytes.data[fixture_random(&seed) % bytes.size] =
                values[fixture_random(&seed) % sizeof(values)];
        refused += parse(bytes) != 0;
    }
    assert_in_range(refused, 1000, 19000);
    free(original);
    free(bytes.data);
}

static void test_no_leaks(void **state) {
    (void)state;
    drop_error();
    int64_t before = tvm_object_live_count();
    test_tensor_damage(state);
    test_truncated(state);
    assert_int_equal(tvm_object_live_count(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_damage), cmocka_unit_test(test_tensor_damage),
        cmocka_unit_test(test_truncated),   cmocka_unit_test(test_mutated),
        cmocka_unit_test(test_no_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
