/* Conversions between float and IEEE half, under the names that compiled libraries import. */
#include "include/tvm_runtime.h"

#include <string.h>

uint16_t __gnu_f2h_ieee(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff, half;
    if (rest > 0x7f800000) { /* NaN: quiet, with what fits of its payload */
        half = 0x7e00 | (rest >> 13 & 0x3ff);
    } else if (rest >= 0x477ff000) { /* 65520 and above round to infinity */
        half = 0x7c00;
    } else if (rest >= 0x38800000) { /* normal: change the bias, round to even */
        rest -= 0x38000000;
        half = (rest + 0xfff + (rest >> 13 & 1)) >> 13;
    } else if (rest > 0x33000000) { /* subnormal: above half of the smallest */
        uint32_t shift = 126 - (rest >> 23);
        uint32_t mantissa = (rest & 0x7fffff) | 0x800000;
        uint32_t cut = mantissa & ((UINT32_C(1) << shift) - 1), tie = UINT32_C(1) << (shift - 1);
        half = mantissa >> shift;
        half += cut > tie || (cut == tie && (half & 1));
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

float __gnu_h2f_ieee(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000) << 16, exponent = value >> 10 & 0x1f;
    uint32_t mantissa = value & 0x3ff, bits;
    if (exponent == 0x1f) {
        bits = 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0);
    } else if (exponent) {
        bits = (exponent + 112) << 23 | mantissa << 13;
    } else if (mantissa) { /* subnormal: every one is a normal float */
        uint32_t shift = (uint32_t)__builtin_clz(mantissa) - 21;
        bits = (113 - shift) << 23 | (mantissa << shift & 0x3ff) << 13;
    } else {
        bits = 0;
    }
    bits |= sign;
    float result;
    memcpy(&result, &bits, sizeof(result));
    return result;
}
