/* Arithmetic on sizes that come from outside: every operation reports overflow. */
#ifndef TVM_BASE_CHECKED_H
#define TVM_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns false, leaving *out undefined, where the result does not fit. The operands may be
 * wider than a size_t is on 32-bit machines. */
static inline bool tvm_size_add(uint64_t a, uint64_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

static inline bool tvm_size_mul(uint64_t a, uint64_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* A size as files and compiled code give it. */
static inline bool tvm_size_from(uint64_t size, size_t *out) {
    return tvm_size_add(size, 0, out);
}

/* Rounds up to a multiple of alignment, a power of two. */
static inline bool tvm_size_align(size_t size, size_t alignment, size_t *out) {
    if (!tvm_size_add(size, alignment - 1, out))
        return false;
    *out &= ~(alignment - 1);
    return true;
}

#endif
