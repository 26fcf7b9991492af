/* tvm.contrib.random.*: ranges, distributions (from fixed seeds, so the outcome never changes),
 * repetition after seeding. */
#include "base/function.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "include/tvm_runtime.h"
#include "test/contrib_fixture.h"
#include "test/expect.h"

#include <math.h>
#include <pthread.h>

#define CALL(name, ...)                                                                            \
    contrib_call(name, (struct tvm_value[]){__VA_ARGS__},                                          \
                 COUNT(((struct tvm_value[]){__VA_ARGS__})))

static const DLDataType float32 = {kDLFloat, 32, 1}, float64 = {kDLFloat, 64, 1};
static const DLDataType int32 = {kDLInt, 32, 1};

static struct tvm_tensor *tensor_new(int64_t count, DLDataType type) {
    struct tvm_tensor *tensor;
    expect_ok(tvm_tensor_empty(&count, 1, type, (DLDevice){kDLCPU, 0}, &tensor));
    memset(tensor->dl.data, 0, (size_t)count * tvm_dtype_nbytes(type));
    return tensor;
}

static void release(struct tvm_tensor *tensor) {
    tvm_object_release(&tensor->object);
}

static int64_t int_at(const struct tvm_tensor *tensor, size_t i) {
    uint64_t bits = 0;
    unsigned bytes = tensor->dl.dtype.bits / 8, unused = 64 - 8 * bytes;
    memcpy(&bits, (char *)tensor->dl.data + i * bytes, bytes);
    return tensor->dl.dtype.code == kDLInt ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
}

static double float_at(const struct tvm_tensor *tensor, size_t i) {
    if (tensor->dl.dtype.bits == 64)
        return ((double *)tensor->dl.data)[i];
    return (double)((float *)tensor->dl.data)[i];
}

/* Pearson's statistic of counts that should be equal, less its mean, in standard deviations. */
static double surprise(const size_t *counts, size_t bins, size_t total) {
    double expected = (double)total / (double)bins, sum = 0, freedom = (double)bins - 1;
    for (size_t i = 0; i < bins; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    return (sum - freedom) / sqrt(2 * freedom);
}

static void test_randint(void **state) {
    (void)state;
    enum { SIZE = 60000 };
    static const struct {
        DLDataType type;
        int64_t low, high, least, most;
    } cases[] = {
        {{kDLInt, 32, 1}, -3, 7, -3, 6},
        {{kDLInt, 64, 1},
         INT64_C(1) << 40,
         (INT64_C(1) << 40) + 10,
         INT64_C(1) << 40,
         (INT64_C(1) << 40) + 9},
        {{kDLInt, 16, 1}, 32763, 1000000, 32763, 32767},
        {{kDLInt, 8, 1}, -1000, 1000, -128, 127},
        {{kDLUInt, 8, 1}, -1000, 1000, 0, 255},
        {{kDLUInt, 16, 1}, 65530, 65600, 65530, 65535},
        {{kDLUInt, 32, 1}, INT64_C(4294967290), INT64_MAX, INT64_C(4294967290), UINT32_MAX},
        {{kDLUInt, 64, 1}, INT64_MIN, 12, 0, 11},
        {{kDLInt, 32, 1}, 5, 6, 5, 5},
    };
    expect_ok(CALL("random.seed", tvm_int(1)));
    for (size_t n = 0; n < COUNT(cases); n++) {
        struct tvm_tensor *out = tensor_new(SIZE, cases[n].type);
        size_t counts[256] = {0}, bins = (size_t)(cases[n].most - cases[n].least + 1);
        expect_ok(CALL("random.randint", tvm_int(cases[n].low), tvm_int(cases[n].high),
                       tvm_from_object(out)));
        for (size_t i = 0; i < SIZE; i++) {
            int64_t value = int_at(out, i);
            assert_true(value >= cases[n].least && value <= cases[n].most);
            counts[value - cases[n].least]++;
        }
        if (bins > 1)
            assert_true(fabs(surprise(counts, bins, SIZE)) < 4);
        release(out);
    }
}

/* Three quarters of all 64-bit numbers: a plain scaling or remainder would prefer some of them. */
static void test_randint_wide(void **state) {
    (void)state;
    enum { SIZE = 90000 };
    struct tvm_tensor *out = tensor_new(SIZE, (DLDataType){kDLInt, 64, 1});
    size_t thirds[3] = {0}, rests[3] = {0};
    expect_ok(CALL("random.seed", tvm_int(2)));
    expect_ok(CALL("random.randint", tvm_int(INT64_MIN), tvm_int(INT64_C(1) << 62),
                   tvm_from_object(out)));
    for (size_t i = 0; i < SIZE; i++) {
        uint64_t value = (uint64_t)int_at(out, i) - (uint64_t)INT64_MIN;
        assert_true(value < UINT64_C(3) << 62);
        thirds[value >> 62]++;
        rests[value % 3]++;
    }
    assert_true(fabs(surprise(thirds, 3, SIZE)) < 4);
    assert_true(fabs(surprise(rests, 3, SIZE)) < 4);
    expect_ok(CALL("random.randint", tvm_int(INT64_MIN), tvm_int(INT64_MAX), tvm_from_object(out)));
    release(out);
}

static void test_uniform(void **state) {
    (void)state;
    enum { SIZE = 100000, BINS = 100 };
    for (int wide = 0; wide < 2; wide++) {
        struct tvm_tensor *out = tensor_new(SIZE, wide ? float64 : float32);
        size_t counts[BINS] = {0}, pairs[BINS] = {0};
        expect_ok(CALL("random.seed", tvm_int(3)));
        expect_ok(CALL("random.uniform", tvm_float(-2), tvm_int(3), tvm_from_object(out)));
        for (size_t i = 0; i < SIZE; i++) {
            double value = float_at(out, i);
            assert_true(value >= -2 && value < 3);
            counts[(size_t)((value + 2) * 20)]++;
            if (i % 2) /* neighbours do not depend on each other */
                pairs[(size_t)((value + 2) * 2) * 10 + (size_t)((float_at(out, i - 1) + 2) * 2)]++;
        }
        assert_true(fabs(surprise(counts, BINS, SIZE)) < 4);
        assert_true(fabs(surprise(pairs, BINS, SIZE / 2)) < 4);
        release(out);
    }
}

/* Rounding does not reach the upper bound, even where there is nothing in between. */
static void test_uniform_bound(void **state) {
    (void)state;
    struct tvm_tensor *out = tensor_new(10000, float32);
    double above = 1 + ldexp(1, -23);
    expect_ok(CALL("random.uniform", tvm_float(1), tvm_float(above), tvm_from_object(out)));
    for (size_t i = 0; i < 10000; i++)
        assert_true(float_at(out, i) == 1);
    release(out);
}

static void test_normal(void **state) {
    (void)state;
    enum { SIZE = 100001, BINS = 64 };
    for (int wide = 0; wide < 2; wide++) {
        struct tvm_tensor *out = tensor_new(SIZE, wide ? float64 : float32);
        size_t counts[BINS] = {0};
        double product = 0;
        expect_ok(CALL("random.seed", tvm_int(4)));
        expect_ok(CALL("random.normal", tvm_float(10), tvm_float(2), tvm_from_object(out)));
        for (size_t i = 0; i < SIZE; i++) {
            double part = erfc((10 - float_at(out, i)) / 2 / sqrt(2)) / 2; /* uniform if normal */
            size_t bin = (size_t)(part * BINS);
            counts[bin < BINS ? bin : BINS - 1]++;
            if (i)
                product += (float_at(out, i) - 10) * (float_at(out, i - 1) - 10) / 4;
        }
        assert_true(fabs(surprise(counts, BINS, SIZE)) < 4);
        assert_true(fabs(product / sqrt(SIZE)) < 4); /* neighbours do not depend on each other */
        release(out);
    }
}

static void test_random_fill(void **state) {
    (void)state;
    enum { SIZE = 5000 };
    static const DLDataType types[] = {
        {kDLInt, 8, 1},    {kDLInt, 16, 1},   {kDLInt, 32, 1},           {kDLInt, 64, 1},
        {kDLUInt, 8, 1},   {kDLUInt, 16, 1},  {kDLUInt, 32, 1},          {kDLUInt, 64, 1},
        {kDLUInt, 32, 4},  {kDLInt, 4, 1},    {TVM_DTYPE_BOOL, 8, 1},    {kDLFloat, 16, 1},
        {kDLFloat, 32, 1}, {kDLFloat, 64, 1}, {TVM_DTYPE_BFLOAT, 16, 1}, {kDLFloat, 32, 2}};
    for (size_t t = 0; t < COUNT(types); t++) {
        struct tvm_tensor *out = tensor_new(SIZE, types[t]);
        const unsigned char *bytes = out->dl.data;
        const uint16_t *halves = out->dl.data;
        double sum = 0;
        size_t count = (size_t)SIZE * types[t].lanes;
        expect_ok(CALL("random.seed", tvm_int(5)));
        expect_ok(CALL(t % 2 ? "random.random_fill" : "random.random_fill_for_measure",
                       tvm_from_object(out)));
        for (size_t i = 0; i < count; i++) {
            double value;
            if (types[t].bits == 4) {
                assert_true(bytes[i] >> 4 >= 1 && bytes[i] >> 4 <= 7);
                value = bytes[i] & 15;
                assert_true(value >= 1 && value <= 7);
                value += 1; /* to the mean of the others */
            } else if (types[t].code == TVM_DTYPE_BOOL) {
                assert_int_equal(bytes[i], 1);
                value = 5;
            } else if (types[t].code == TVM_DTYPE_BFLOAT) {
                uint32_t word = (uint32_t)halves[i] << 16;
                float single;
                memcpy(&single, &word, sizeof(single));
                value = (double)single - 0.5;
            } else if (types[t].bits == 16 && types[t].code == kDLFloat) {
                value = ldexp((halves[i] & 1023) + 1024, (halves[i] >> 10) - 25) - 0.5;
            } else if (types[t].code == kDLFloat) {
                value = float_at(out, i) - 0.5;
            } else {
                value = (double)int_at(out, i);
            }
            assert_true(value >= 0.5 && value <= 9.5);
            sum += value;
        }
        assert_true(fabs(sum / (double)count - 5) < 0.15);
        release(out);
    }
}

static void *fill_on_thread(void *out) {
    return CALL("random.uniform", tvm_float(0), tvm_float(1), tvm_from_object(out)) ? out : NULL;
}

/* The same calls give the same numbers after the same seed, whether in parallel or not and on
 * whatever thread; calls and seeds differ from each other. */
static void test_seed(void **state) {
    (void)state;
    enum { SIZE = 100000, BYTES = SIZE * 4 };
    struct tvm_tensor *a = tensor_new(SIZE, float32), *b = tensor_new(SIZE, float32);
    struct tvm_tensor *c = tensor_new(SIZE, float32);
    const struct tvm_value zero = tvm_float(0), one = tvm_float(1);
    for (int normal = 0; normal < 2; normal++) {
        const char *name = normal ? "random.normal" : "random.uniform";
        expect_ok(CALL("random.seed", tvm_int(42)));
        expect_ok(CALL(name, zero, one, tvm_from_object(a)));
        expect_ok(CALL(name, zero, one, tvm_from_object(b)));
        assert_memory_not_equal(a->dl.data, b->dl.data, BYTES);
        expect_ok(tvm_pool_set_size(3));
        tvm_pool_always_parallel(true);
        expect_ok(CALL("random.seed", tvm_int(42)));
        expect_ok(CALL(name, zero, one, tvm_from_object(c)));
        assert_memory_equal(a->dl.data, c->dl.data, BYTES);
        tvm_pool_always_parallel(false);
        expect_ok(tvm_pool_set_size(0));
        expect_ok(CALL("random.seed", tvm_int(43)));
        expect_ok(CALL(name, zero, one, tvm_from_object(c)));
        assert_memory_not_equal(a->dl.data, c->dl.data, BYTES);
    }
    for (size_t i = 0; i < SIZE; i++) /* no call begins with what another one gave */
        assert_true(float_at(a, i) != float_at(b, 0));
    pthread_t thread;
    void *failed;
    expect_ok(CALL("random.seed", tvm_int(7)));
    expect_ok(CALL("random.uniform", zero, one, tvm_from_object(a)));
    expect_ok(CALL("random.uniform", zero, one, tvm_from_object(b)));
    expect_ok(CALL("random.seed", tvm_int(7)));
    expect_ok(CALL("random.uniform", zero, one, tvm_from_object(c)));
    assert_memory_equal(a->dl.data, c->dl.data, BYTES);
    assert_int_equal(pthread_create(&thread, NULL, fill_on_thread, c), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_memory_equal(b->dl.data, c->dl.data, BYTES);
    release(a);
    release(b);
    release(c);
}

/* Runs first: nothing has been seeded. */
static void test_unseeded(void **state) {
    (void)state;
    struct tvm_tensor *a = tensor_new(4, (DLDataType){kDLUInt, 64, 1});
    const uint64_t *numbers = a->dl.data;
    expect_ok(CALL("random.randint", tvm_int(0), tvm_int(INT64_MAX), tvm_from_object(a)));
    assert_true(numbers[0] != numbers[1] && numbers[1] != numbers[2] && numbers[2] != numbers[3]);
    release(a);
}

static void test_errors(void **state) {
    (void)state;
    struct tvm_tensor *floats = tensor_new(4, float32), *ints = tensor_new(4, int32);
    struct tvm_tensor *half = tensor_new(4, (DLDataType){kDLFloat, 16, 1});
    struct tvm_tensor *complex = tensor_new(4, (DLDataType){TVM_DTYPE_COMPLEX, 128, 1});
    struct tvm_tensor *none = tensor_new(0, float32);
    const struct tvm_value f = tvm_from_object(floats), i = tvm_from_object(ints);
    const struct tvm_value one = tvm_int(1), two = tvm_int(2);
    expect_error(CALL("random.seed", f), TVM_TYPE_ERROR, "argument 0 (seed): expected int");
    expect_error(CALL("random.randint", one, two), TVM_VALUE_ERROR, "expected 3 arguments, got 2");
    expect_error(CALL("random.randint", one, two, f), TVM_TYPE_ERROR,
                 "expected integers, got float32");
    expect_error(CALL("random.randint", one, two, one), TVM_TYPE_ERROR, "argument 2 (out)");
    expect_error(CALL("random.randint", two, two, i), TVM_VALUE_ERROR, "at least 2 and below 2");
    expect_error(CALL("random.randint", tvm_int(INT64_C(1) << 31), tvm_int(INT64_MAX), i),
                 TVM_VALUE_ERROR, "no int32 is at least 2147483648");
    expect_error(CALL("random.randint", tvm_int(INT64_MIN), tvm_int(INT32_MIN), i), TVM_VALUE_ERROR,
                 "and below -2147483648");
    expect_error(CALL("random.uniform", one, one, f), TVM_VALUE_ERROR,
                 "tvm.contrib.random.uniform: there is no float32 with low 1 and high 1");
    expect_error(CALL("random.uniform", tvm_float((double)NAN), one, f), TVM_VALUE_ERROR,
                 "with low nan");
    expect_error(CALL("random.uniform", one, tvm_float((double)INFINITY), f), TVM_VALUE_ERROR,
                 "inf");
    expect_error(CALL("random.uniform", one, tvm_float(1e39), f), TVM_VALUE_ERROR, "high inf");
    expect_error(CALL("random.uniform", one, two, i), TVM_TYPE_ERROR,
                 "expected float32 or float64");
    expect_error(CALL("random.uniform", one, two, tvm_from_object(half)), TVM_TYPE_ERROR,
                 "got float16");
    expect_error(CALL("random.normal", one, tvm_int(0), f), TVM_VALUE_ERROR,
                 "standard deviation 0");
    expect_error(CALL("random.normal", one, tvm_float(-1), f), TVM_VALUE_ERROR,
                 "standard deviation -1");
    expect_error(CALL("random.normal", one, f, f), TVM_TYPE_ERROR,
                 "argument 1 (standard deviation)");
    expect_error(CALL("random.random_fill", tvm_from_object(complex)), TVM_TYPE_ERROR,
                 "complex128");
    expect_error(CALL("random.random_fill", tvm_none()), TVM_TYPE_ERROR, "argument 0 (out)");
    DLTensor shapeless = floats->dl;
    shapeless.shape = NULL;
    expect_error(
        CALL("random.random_fill", {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &shapeless}),
        TVM_VALUE_ERROR, "has no shape");
    expect_ok(CALL("random.uniform", one, two, tvm_from_object(none)));
    expect_ok(CALL("random.random_fill", tvm_from_object(none)));
    struct tvm_tensor *all[] = {floats, ints, half, complex, none};
    for (size_t n = 0; n < COUNT(all); n++)
        release(all[n]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unseeded),      cmocka_unit_test(test_randint),
        cmocka_unit_test(test_randint_wide),  cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_uniform_bound), cmocka_unit_test(test_normal),
        cmocka_unit_test(test_random_fill),   cmocka_unit_test(test_seed),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
