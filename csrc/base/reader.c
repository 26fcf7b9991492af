#include "base/reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int tvm_reader_fail(const struct tvm_reader *reader, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return tvm_raise(TVM_FORMAT_ERROR, "%s: byte %zu: %s", reader->name, reader->pos, text);
}

int tvm_read_file(const char *name, int fd, uint64_t offset, void *buffer, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (got == 0)
            return tvm_raise(TVM_FORMAT_ERROR,
                             "%s: the file ends at byte %llu: it was cut while it was in use", name,
                             (unsigned long long)(offset + done));
        if (got < 0 && errno != EINTR)
            return tvm_raise(TVM_OS_ERROR, "%s: cannot be read: %s", name, strerror(errno));
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int check_left(const struct tvm_reader *reader, const char *what, size_t size) {
    if (size <= tvm_reader_left(reader))
        return 0;
    return tvm_reader_fail(reader, "%s: expected %zu bytes, %zu are left", what, size,
                           tvm_reader_left(reader));
}

int tvm_read_skip(struct tvm_reader *reader, const char *what, size_t size) {
    if (check_left(reader, what, size))
        return -1;
    reader->pos += size;
    return 0;
}

/* Reads the file until the next size bytes, which there are, are in the window. */
static int fill_window(struct tvm_reader *reader, const char *what, size_t size) {
    struct tvm_reader_file *file = reader->file;
    if (reader->pos >= file->start && reader->pos <= file->end && size <= file->end - reader->pos)
        return 0;
    if (size > TVM_READER_WINDOW)
        return tvm_reader_fail(reader, "%s: %zu bytes are too many: expected at most %d", what,
                               size, TVM_READER_WINDOW);
    size_t left = tvm_reader_left(reader);
    if (left > TVM_READER_WINDOW)
        left = TVM_READER_WINDOW;
    file->start = file->end = reader->pos;
    if (tvm_read_file(reader->name, file->fd, file->offset + reader->pos, file->window, left))
        return -1;
    file->end += left;
    return 0;
}

int tvm_read_bytes(struct tvm_reader *reader, const char *what, size_t size,
                   const unsigned char **out) {
    const struct tvm_reader_file *file = reader->file;
    if (check_left(reader, what, size) || (file && fill_window(reader, what, size)))
        return -1; /* a constant, so that the compiler sees *out set where the result is 0 */
    *out = file ? file->window + (reader->pos - file->start) : reader->data + reader->pos;
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
