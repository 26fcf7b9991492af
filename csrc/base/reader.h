/* Reading little-endian data from bytes that cannot be trusted, in memory or in a file: every read
 * is checked against what is left. Formats: dmlc::Stream, as TVM's params files and blobs use it.
 */
#ifndef TVM_BASE_READER_H
#define TVM_BASE_READER_H

#include "base/error.h"

/* A file that is read in pieces; what is skipped is never read. */
enum { TVM_READER_WINDOW = 1 << 13 };
struct tvm_reader_file {
    int fd;
    uint64_t offset;   /* where in the file the reader's data begins */
    size_t start, end; /* the reader's positions that are in window */
    unsigned char window[TVM_READER_WINDOW];
};

/* Where a reader's data is still to be found when the reader is gone. */
struct tvm_reader_origin {
    int fd; /* -1: it stays where it is in memory */
    uint64_t offset;
};

struct tvm_reader {
    const unsigned char *data; /* all of it; not used with a file */
    size_t size;
    size_t pos;
    const char *name;             /* what messages call the data: a file, "OpenBytes: Params" … */
    struct tvm_reader_file *file; /* NULL: in memory */
    const struct tvm_reader_origin *origin; /* for those that read again later; may be NULL */
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

/* size bytes, borrowed from the data; of a file, until the next read and at most TVM_READER_WINDOW.
 */
int tvm_read_bytes(struct tvm_reader *reader, const char *what, size_t size,
                   const unsigned char **out);

/* Leaves size bytes out. */
int tvm_read_skip(struct tvm_reader *reader, const char *what, size_t size);

/* A u64 length and as many bytes, borrowed likewise; not NUL-terminated. */
int tvm_read_string(struct tvm_reader *reader, const char *what, struct tvm_bytes *out);

/* A u64 number of items of at least item_size > 0 bytes each; FormatError when so many cannot
 * follow. */
int tvm_read_count(struct tvm_reader *reader, const char *what, size_t item_size, size_t *out);

/* Reads just size bytes at offset of a file, which messages call name. OSError, or FormatError when
 * the file ends before. */
int tvm_read_file(const char *name, int fd, uint64_t offset, void *buffer, size_t size);

#endif
