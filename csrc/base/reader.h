/* Reading little-endian data from bytes that cannot be trusted: every read is checked against what
 * is left. Formats: dmlc::Stream, as TVM's params files and blobs use it. */
#ifndef TVM_BASE_READER_H
#define TVM_BASE_READER_H

#include "base/error.h"

struct tvm_reader {
    const unsigned char *data;
    size_t size;
    size_t pos;
    const char *name; /* what messages call the data: a file, "OpenBytes: Params" … */
};

static inline size_t tvm_reader_left(const struct tvm_reader *reader) {
    return reader->size - reader->pos;
}

/* FormatError that names the data and the place: "name: byte 12: <text>"; returns -1. */
int tvm_reader_fail(const struct tvm_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Each reads one item called what, or raises FormatError and leaves pos alone. */
int tvm_read_u64(struct tvm_reader *reader, const char *what, uint64_t *out);
int tvm_read_i64(struct tvm_reader *reader, const char *what, int64_t *out);
int tvm_read_i32(struct tvm_reader *reader, const char *what, int32_t *out);
int tvm_read_u16(struct tvm_reader *reader, const char *what, uint16_t *out);
int tvm_read_u8(struct tvm_reader *reader, const char *what, uint8_t *out);

/* size bytes, borrowed from the data. */
int tvm_read_bytes(struct tvm_reader *reader, const char *what, size_t size,
                   const unsigned char **out);

/* A u64 length and as many bytes, borrowed; not NUL-terminated. */
int tvm_read_string(struct tvm_reader *reader, const char *what, struct tvm_bytes *out);

/* A u64 number of items of at least item_size > 0 bytes each; FormatError when so many cannot
 * follow. */
int tvm_read_count(struct tvm_reader *reader, const char *what, size_t item_size, size_t *out);

#endif
