#include "base/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int tvm_reader_fail(const struct tvm_reader *reader, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return tvm_raise(TVM_FORMAT_ERROR, "%s: byte %zu: %s", reader->name, reader->pos, text);
}

int tvm_read_bytes(struct tvm_reader *reader, const char *what, size_t size,
                   const unsigned char **out) {
    if (size > tvm_reader_left(reader)) {
        tvm_reader_fail(reader, "%s: expected %zu bytes, %zu are left", what, size,
                        tvm_reader_left(reader));
        return -1; /* a constant, so that the compiler sees *out set where the result is 0 */
    }
    *out = reader->data + reader->pos;
    reader->pos += size;
    return 0;
}

/* Little-endian number of size bytes. */
static int read_number(struct tvm_reader *reader, const char *what, size_t size, uint64_t *out) {
    const unsigned char *bytes;
    if (tvm_read_bytes(reader, what, size, &bytes))
        return -1;
    *out = 0;
    for (size_t i = size; i-- > 0;)
        *out = *out << 8 | bytes[i];
    return 0;
}

int tvm_read_u64(struct tvm_reader *reader, const char *what, uint64_t *out) {
    return read_number(reader, what, 8, out);
}

int tvm_read_i64(struct tvm_reader *reader, const char *what, int64_t *out) {
    uint64_t value;
    int status = read_number(reader, what, 8, &value);
    if (status == 0)
        *out = (int64_t)value;
    return status;
}

int tvm_read_i32(struct tvm_reader *reader, const char *what, int32_t *out) {
    uint64_t value;
    int status = read_number(reader, what, 4, &value);
    if (status == 0)
        *out = (int32_t)(uint32_t)value;
    return status;
}

int tvm_read_u16(struct tvm_reader *reader, const char *what, uint16_t *out) {
    uint64_t value;
    int status = read_number(reader, what, 2, &value);
    if (status == 0)
        *out = (uint16_t)value;
    return status;
}

int tvm_read_u8(struct tvm_reader *reader, const char *what, uint8_t *out) {
    uint64_t value;
    int status = read_number(reader, what, 1, &value);
    if (status == 0)
        *out = (uint8_t)value;
    return status;
}

int tvm_read_string(struct tvm_reader *reader, const char *what, struct tvm_bytes *out) {
    size_t start = reader->pos, size;
    const unsigned char *bytes;
    if (tvm_read_count(reader, what, 1, &size))
        return -1;
    if (tvm_read_bytes(reader, what, size, &bytes)) {
        reader->pos = start;
        return -1;
    }
    *out = (struct tvm_bytes){(const char *)bytes, size};
    return 0;
}

int tvm_read_count(struct tvm_reader *reader, const char *what, size_t item_size, size_t *out) {
    size_t start = reader->pos;
    uint64_t count;
    if (tvm_read_u64(reader, what, &count))
        return -1;
    if (count > tvm_reader_left(reader) / item_size) {
        reader->pos = start;
        return tvm_reader_fail(reader, "%s: %llu items cannot fit into the %zu bytes that follow",
                               what, (unsigned long long)count, tvm_reader_left(reader) - 8);
    }
    *out = (size_t)count;
    return 0;
}
