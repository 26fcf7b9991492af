/* Element types. Tensors hold the codes of DLPack 1.1 and tvm-ffi 0.23 or newer; classic TVM (0.5
 * to 0.19) and tvm-ffi up to 0.22 write bool as a 1-bit uint and number float8 otherwise. */
#ifndef TVM_BASE_DTYPE_H
#define TVM_BASE_DTYPE_H

#include "include/tvm_runtime.h"

#include <stdbool.h>
#include <stddef.h>

/* Codes of DLPack 1.1 and tvm-ffi; Debian's DLPack header (0.6) ends with complex. */
enum tvm_dtype_code {
    TVM_DTYPE_INT = 0,
    TVM_DTYPE_UINT = 1,
    TVM_DTYPE_FLOAT = 2,
    TVM_DTYPE_HANDLE = 3,
    TVM_DTYPE_BFLOAT = 4,
    TVM_DTYPE_COMPLEX = 5,
    TVM_DTYPE_BOOL = 6,
    TVM_DTYPE_FLOAT8_E3M4 = 7,
    TVM_DTYPE_FLOAT8_E4M3 = 8,
    TVM_DTYPE_FLOAT8_E4M3B11FNUZ = 9,
    TVM_DTYPE_FLOAT8_E4M3FN = 10,
    TVM_DTYPE_FLOAT8_E4M3FNUZ = 11,
    TVM_DTYPE_FLOAT8_E5M2 = 12,
    TVM_DTYPE_FLOAT8_E5M2FNUZ = 13,
    TVM_DTYPE_FLOAT8_E8M0FNU = 14,
    TVM_DTYPE_FLOAT6_E2M3FN = 15,
    TVM_DTYPE_FLOAT6_E3M2FN = 16,
    TVM_DTYPE_FLOAT4_E2M1FN = 17,
};

enum { TVM_DTYPE_TEXT_SIZE = 40 }; /* enough for any dtype as text, with its NUL */

static inline bool tvm_dtype_equal(DLDataType a, DLDataType b) {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

/* Parses size bytes such as "float32", "int8x4", "bool", "bfloat16", "float8_e4m3fn", "handle", and
 * TVM 0.19's "e4m3_float8". As TVM: int, uint and float without a number mean 32 bits, bfloat means
 * 16, handle 64. ValueError for anything else, widths that are not 1, 4 or a multiple of 8
 * included. */
int tvm_dtype_parse(const char *text, size_t size, DLDataType *out);

/* Writes dtype as tvm-ffi's text into buffer, of TVM_DTYPE_TEXT_SIZE bytes, and returns it. */
const char *tvm_dtype_print(DLDataType dtype, char *buffer);
/* The same as TVM 0.19's text. */
const char *tvm_dtype_print_classic(DLDataType dtype, char *buffer);

/* Bytes of one element, all lanes: bits rounded up to whole bytes. 0 for a type without data. */
static inline size_t tvm_dtype_nbytes(DLDataType dtype) {
    return ((size_t)dtype.bits * dtype.lanes + 7) / 8;
}

/* Between today's codes and the classic ones; types that both write alike stay as they are. */
DLDataType tvm_dtype_from_classic(DLDataType dtype);
DLDataType tvm_dtype_to_classic(DLDataType dtype);

#endif
