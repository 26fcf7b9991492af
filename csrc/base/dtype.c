#include "base/dtype.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

enum { CLASSIC_FLOAT8_E4M3 = 6, CLASSIC_FLOAT8_E5M2 = 7 };

/* The first name that the text begins with counts, so "float8_e5m2" comes before "float"; of two of
 * one type the first is today's. */
static const struct {
    const char *name;
    DLDataType dtype;
    bool sized; /* a number of bits may follow */
} names[] = {
    {"float8_e3m4", {TVM_DTYPE_FLOAT8_E3M4, 8, 1}, false},
    {"float8_e4m3b11fnuz", {TVM_DTYPE_FLOAT8_E4M3B11FNUZ, 8, 1}, false},
    {"float8_e4m3fnuz", {TVM_DTYPE_FLOAT8_E4M3FNUZ, 8, 1}, false},
    {"float8_e4m3fn", {TVM_DTYPE_FLOAT8_E4M3FN, 8, 1}, false},
    {"float8_e4m3", {TVM_DTYPE_FLOAT8_E4M3, 8, 1}, false},
    {"float8_e5m2fnuz", {TVM_DTYPE_FLOAT8_E5M2FNUZ, 8, 1}, false},
    {"float8_e5m2", {TVM_DTYPE_FLOAT8_E5M2, 8, 1}, false},
    {"float8_e8m0fnu", {TVM_DTYPE_FLOAT8_E8M0FNU, 8, 1}, false},
    {"float6_e2m3fn", {TVM_DTYPE_FLOAT6_E2M3FN, 6, 1}, false},
    {"float6_e3m2fn", {TVM_DTYPE_FLOAT6_E3M2FN, 6, 1}, false},
    {"float4_e2m1fn", {TVM_DTYPE_FLOAT4_E2M1FN, 4, 1}, false},
    {"e4m3_float8", {TVM_DTYPE_FLOAT8_E4M3FN, 8, 1}, false}, /* TVM 0.19's names */
    {"e5m2_float8", {TVM_DTYPE_FLOAT8_E5M2, 8, 1}, false},
    {"bfloat", {TVM_DTYPE_BFLOAT, 16, 1}, true},
    {"float", {TVM_DTYPE_FLOAT, 32, 1}, true},
    {"uint", {TVM_DTYPE_UINT, 32, 1}, true},
    {"int", {TVM_DTYPE_INT, 32, 1}, true},
    {"bool", {TVM_DTYPE_BOOL, 8, 1}, false},
    {"handle", {TVM_DTYPE_HANDLE, 64, 1}, false},
    {"complex", {TVM_DTYPE_COMPLEX, 64, 1}, true},
};

/* Reads a decimal number of at most max at *pos; leaves *out alone where there is no digit. */
static bool read_number(const char *text, size_t size, size_t *pos, unsigned max, unsigned *out) {
    size_t start = *pos;
    unsigned value = 0;
    while (*pos < size && text[*pos] >= '0' && text[*pos] <= '9') {
        value = value * 10 + (unsigned)(text[*pos] - '0');
        if (value > max)
            return false;
        (*pos)++;
    }
    if (*pos > start)
        *out = value;
    return true;
}

static bool parse(const char *text, size_t size, DLDataType *out) {
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t pos = strlen(names[i].name);
        if (size < pos || memcmp(text, names[i].name, pos) != 0)
            continue;
        unsigned bits = names[i].dtype.bits, lanes = 1;
        if (names[i].sized && !read_number(text, size, &pos, 128, &bits))
            return false;
        if (pos + 1 < size && text[pos] == 'x') {
            pos++;
            if (!read_number(text, size, &pos, UINT16_MAX, &lanes))
                return false;
        }
        bool fits = bits == 1 || bits == 4 || (bits && bits % 8 == 0) || !names[i].sized;
        if (pos != size || lanes == 0 || !fits)
            return false;
        *out = (DLDataType){names[i].dtype.code, (uint8_t)bits, (uint16_t)lanes};
        if (out->code == TVM_DTYPE_UINT && bits == 1)
            *out = tvm_dtype_from_classic(*out);
        return true;
    }
    return false;
}

int tvm_dtype_parse(const char *text, size_t size, DLDataType *out) {
    if (parse(text, size, out))
        return 0;
    return tvm_raise(TVM_VALUE_ERROR, "\"%.*s\" is not a dtype", (int)(size < 64 ? size : 64),
                     text);
}

static const char *print(DLDataType dtype, bool classic, char *buffer) {
    size_t count = sizeof(names) / sizeof(names[0]), found = count;
    for (size_t i = 0; i < count && (classic || found == count); i++)
        if (names[i].dtype.code == dtype.code)
            found = i;
    int used;
    if (found < count)
        used = names[found].sized
                   ? snprintf(buffer, TVM_DTYPE_TEXT_SIZE, "%s%d", names[found].name, dtype.bits)
                   : snprintf(buffer, TVM_DTYPE_TEXT_SIZE, "%s", names[found].name);
    else
        used = snprintf(buffer, TVM_DTYPE_TEXT_SIZE, "dtype(code %d, %d bits)", dtype.code,
                        dtype.bits);
    if (dtype.lanes != 1)
        snprintf(buffer + used, TVM_DTYPE_TEXT_SIZE - (size_t)used, "x%d", dtype.lanes);
    return buffer;
}

const char *tvm_dtype_print(DLDataType dtype, char *buffer) {
    return print(dtype, false, buffer);
}

const char *tvm_dtype_print_classic(DLDataType dtype, char *buffer) {
    return print(dtype, true, buffer);
}

DLDataType tvm_dtype_from_classic(DLDataType dtype) {
    if (dtype.code == TVM_DTYPE_UINT && dtype.bits == 1)
        return (DLDataType){TVM_DTYPE_BOOL, 8, dtype.lanes};
    if (dtype.code == CLASSIC_FLOAT8_E4M3 && dtype.bits == 8)
        return (DLDataType){TVM_DTYPE_FLOAT8_E4M3FN, 8, dtype.lanes};
    if (dtype.code == CLASSIC_FLOAT8_E5M2 && dtype.bits == 8)
        return (DLDataType){TVM_DTYPE_FLOAT8_E5M2, 8, dtype.lanes};
    return dtype;
}

DLDataType tvm_dtype_to_classic(DLDataType dtype) {
    if (dtype.code == TVM_DTYPE_BOOL && dtype.bits == 8)
        return (DLDataType){TVM_DTYPE_UINT, 1, dtype.lanes};
    if (dtype.code == TVM_DTYPE_FLOAT8_E4M3FN && dtype.bits == 8)
        return (DLDataType){CLASSIC_FLOAT8_E4M3, 8, dtype.lanes};
    if (dtype.code == TVM_DTYPE_FLOAT8_E5M2 && dtype.bits == 8)
        return (DLDataType){CLASSIC_FLOAT8_E5M2, 8, dtype.lanes};
    return dtype;
}
