/* The half-float helpers that compiled libraries import. */
#include "include/tvm_runtime.h"
#include "test/expect.h"

#include <math.h>
#include <stdlib.h>

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* What a half is worth, by its definition. */
static double value_of(uint16_t half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double value = exponent ? ldexp(mantissa + 1024, exponent - 25) : ldexp(mantissa, -24);
    if (exponent == 31)
        value = mantissa ? (double)NAN : (double)INFINITY;
    return half & 0x8000 ? -value : value;
}

/* The nearest half, ties to even, in arithmetic that is exact. */
static uint16_t nearest(float value) {
    double x = fabs((double)value), scaled;
    unsigned sign = signbit(value) ? 0x8000 : 0, half;
    if (x < ldexp(1, -14)) {
        half = (unsigned)rint(ldexp(x, 24));
    } else if (isinf(x)) {
        half = 0x7c00;
    } else {
        int exponent = ilogb(x);
        scaled = rint(ldexp(x, 10 - exponent));
        half = exponent > 15 ? 0x7c00 : ((unsigned)(exponent + 15) << 10) + (unsigned)scaled - 1024;
    }
    return (uint16_t)(sign | half);
}

static void check_to_half(float value) {
    uint16_t half = __gnu_f2h_ieee(value);
    if (isnan(value)) {
        if ((half & 0x7e00) != 0x7e00 || half >> 15 != bits_of(value) >> 31)
            fail_msg("NaN %08x became %04x", bits_of(value), half);
    } else if (half != nearest(value)) {
        fail_msg("%a (%08x) became %04x, not %04x", (double)value, bits_of(value), half,
                 nearest(value));
    }
}

static void test_to_float(void **state) {
    (void)state;
    for (unsigned half = 0; half <= 0xffff; half++) {
        float value = __gnu_h2f_ieee((uint16_t)half);
        double expected = value_of((uint16_t)half);
        if (isnan(expected) ? !isnan(value)
                            : (double)value != expected || !signbit(value) != !signbit(expected))
            fail_msg("%04x became %a, not %a", half, (double)value, expected);
        if (!isnan(expected))
            assert_int_equal(__gnu_f2h_ieee(value), half);
    }
    assert_int_equal(bits_of(__gnu_h2f_ieee(0xfe01)), 0xffc02000); /* NaNs keep sign and payload */
    assert_int_equal(__gnu_f2h_ieee(from_bits(0xffc02000)), 0xfe01);
    assert_int_equal(__gnu_f2h_ieee(from_bits(0x7f800001)), 0x7e00);
}

static void test_to_half(void **state) {
    (void)state;
    for (unsigned half = 0; half < 0x7c00;
         half++) { /* each half, each middle, and their neighbours */
        uint32_t here = bits_of((float)value_of((uint16_t)half));
        uint32_t next =
            half == 0x7bff ? bits_of(65536) : bits_of((float)value_of((uint16_t)(half + 1)));
        float middle = (from_bits(here) + from_bits(next)) / 2;
        for (uint32_t sign = 0; sign < 2; sign++)
            for (uint32_t step = 0; step < 3; step++) {
                check_to_half(from_bits((here - 1 + step + (here == 0 && step == 0)) | sign << 31));
                check_to_half(from_bits((bits_of(middle) - 1 + step) | sign << 31));
            }
    }
    for (uint32_t exponent = 0; exponent < 512; exponent++) /* of the sign too */
        for (uint32_t mantissa = 0; mantissa < 1 << 23; mantissa += 4093)
            check_to_half(from_bits(exponent << 23 | mantissa));
    check_to_half(65519.996f);
    check_to_half(65520.0f);
    check_to_half(INFINITY);
    check_to_half(-INFINITY);
    check_to_half(-0.0f);
    uint32_t random = 1;
    for (int i = 0; i < 2000000; i++) {
        random = random * 1664525 + 1013904223;
        check_to_half(from_bits(random));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_to_float),
                                       cmocka_unit_test(test_to_half)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
