#include "module/tar_file.h"

#include <limits.h>
#include <string.h>

/* What a header block holds, and where. */
enum {
    BLOCK = 512,
    NAME_SIZE = 100,
    SIZE_AT = 124,
    CHECKSUM_AT = 148,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    PREFIX_AT = 345,
    PREFIX_SIZE = 155,
    MAX_NAME = 4096,
    PAX_HEAD = MAX_NAME + 16, /* "path=" and the longest value */
};

struct tar {
    struct tvm_reader *reader;
    char member[MAX_NAME + 1]; /* the name of the next file, where an extra header tells it */
    bool has_name, has_size;
    uint64_t member_size;
};

static int damaged(const struct tar *tar, const char *what) {
    return tvm_raise(TVM_FORMAT_ERROR, "%s: a damaged tar archive: byte %zu: %s", tar->reader->name,
                     tar->reader->pos, what);
}

/* A number in octal digits or, with the first bit set, as big-endian bytes. An empty field is 0:
 * GNU tar's labels have no size. */
static bool read_number(const unsigned char *field, size_t size, uint64_t *out) {
    size_t i = 0;
    *out = 0;
    if (field[0] == '\0')
        return true;
    if (field[0] & 0x80) {
        for (; i < size; i++) {
            if (*out >> 55)
                return false;
            *out = *out << 8 | (i ? field[i] : field[0] & 0x7fu);
        }
        return true;
    }
    while (i < size && field[i] == ' ')
        i++;
    size_t first = i;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        *out = *out << 3 | (uint64_t)(field[i] - '0'); /* at most 12 digits */
    return i > first && (i == size || field[i] == ' ' || field[i] == '\0');
}

/* The sum of a header's bytes, blanks in place of its own; some old writers added signed ones. */
static bool checksum_fits(const unsigned char *block) {
    uint64_t stored;
    int plain = 8 * ' ', negative = 0;
    /* An empty field is none: where a library has zeros, its bytes may add up to that. */
    if (!block[CHECKSUM_AT] || !read_number(block + CHECKSUM_AT, 8, &stored))
        return false;
    for (int i = 0; i < BLOCK; i++) {
        plain += block[i];
        negative += block[i] >> 7;
    }
    for (int i = CHECKSUM_AT; i < CHECKSUM_AT + 8; i++) {
        plain -= block[i];
        negative -= block[i] >> 7;
    }
    return (int64_t)stored == plain || (int64_t)stored == plain - 256 * negative;
}

bool tvm_tar_is(const unsigned char *data, size_t size) {
    return size >= BLOCK && (memcmp(data + MAGIC_AT, "ustar", 5) == 0 || checksum_fits(data));
}

/* Sets the name of the next file. */
static int keep_name(struct tar *tar, const unsigned char *text, size_t size) {
    if (size > MAX_NAME)
        return damaged(tar, "a name is longer than any path");
    memcpy(tar->member, text, size);
    tar->member[size] = '\0';
    tar->has_name = true;
    return 0;
}

/* One "key=value" of a PAX header, of which the first given bytes of size are at hand. */
static int pax_record(struct tar *tar, const unsigned char *record, size_t given, size_t size) {
    const unsigned char *equals = memchr(record, '=', given);
    if (!equals)
        return damaged(tar, "an extended header without '='");
    size_t key = (size_t)(equals - record), length = size - key - 1;
    if (key >= 11 && memcmp(record, "GNU.sparse.", 11) == 0)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: a tar archive with sparse files: make it without them",
                         tar->reader->name);
    if (key == 4 && memcmp(record, "path", 4) == 0)
        return keep_name(tar, equals + 1, length);
    if (key != 4 || memcmp(record, "size", 4) != 0)
        return 0;
    tar->member_size = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = i < given - key - 1 ? (unsigned)equals[1 + i] - '0' : UINT_MAX;
        if (digit > 9 || tar->member_size > (UINT64_MAX >> 4) - digit)
            return damaged(tar, "an extended header's size is no number");
        tar->member_size = tar->member_size * 10 + digit;
    }
    tar->has_size = length > 0;
    return 0;
}

/* The length of a PAX header's record, and the blank behind it; 0 for another text. */
static int read_pax_length(struct tar *tar, size_t *out) {
    const unsigned char *byte;
    *out = 0;
    for (int digits = 0; digits < 10; digits++) {
        if (tvm_read_bytes(tar->reader, "an extended header", 1, &byte))
            return -1;
        if (*byte == ' ')
            return 0;
        if (*byte < '0' || *byte > '9')
            break;
        *out = *out * 10 + (size_t)(*byte - '0');
    }
    *out = 0;
    return 0;
}

/* A PAX header: "<length of the record> <key>=<value>\n" and so on. Long values are of no interest
 * here, and are not read. */
static int read_pax(struct tar *tar, size_t size) {
    struct tvm_reader *reader = tar->reader;
    const size_t end = reader->pos + size;
    while (reader->pos < end) {
        const unsigned char *record, *last;
        size_t length, start = reader->pos;
        if (read_pax_length(tar, &length))
            return -1;
        size_t head = reader->pos - start;
        if (length < head + 2 || length > end - start)
            return damaged(tar, "an extended header's record does not end where it says");
        reader->pos = start + length - 1;
        if (tvm_read_bytes(reader, "an extended header", 1, &last))
            return -1;
        if (*last != '\n')
            return damaged(tar, "an extended header's record does not end where it says");
        size_t whole = length - head - 1, given = whole < PAX_HEAD ? whole : PAX_HEAD;
        reader->pos = start + head;
        if (tvm_read_bytes(reader, "an extended header", given, &record) ||
            pax_record(tar, record, given, whole))
            return -1;
        reader->pos = start + length;
    }
    return 0;
}

/* GNU's header with the next file's long name. */
static int read_long_name(struct tar *tar, size_t size) {
    const unsigned char *text;
    if (size > MAX_NAME + 1)
        size = MAX_NAME + 1;
    if (tvm_read_bytes(tar->reader, "a long name", size, &text))
        return -1;
    return keep_name(tar, text, strnlen((const char *)text, size));
}

/* The name in a header block. */
static int header_name(struct tar *tar, const unsigned char *block) {
    unsigned char text[NAME_SIZE + PREFIX_SIZE + 1];
    size_t size = 0;
    if (memcmp(block + MAGIC_AT, "ustar", 6) == 0) { /* GNU's has a blank there and no prefix */
        size = strnlen((const char *)block + PREFIX_AT, PREFIX_SIZE);
        memcpy(text, block + PREFIX_AT, size);
        if (size)
            text[size++] = '/';
    }
    size_t length = strnlen((const char *)block, NAME_SIZE);
    memcpy(text + size, block, length);
    return keep_name(tar, text, size + length);
}

/* Compares the file with those that are wanted. */
static int match(const struct tar *tar, char type, size_t size, struct tvm_tar_member *members,
                 size_t count) {
    const char *name = tar->member;
    while (name[0] == '.' && name[1] == '/')
        for (name += 2; *name == '/'; name++)
            continue;
    for (size_t i = 0; i < count; i++) {
        struct tvm_tar_member *member = &members[i];
        if (strcmp(member->name, name) != 0)
            continue;
        if (member->found)
            return tvm_raise(TVM_FORMAT_ERROR, "%s: %s is in it twice", tar->reader->name, name);
        if (type == 'S')
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: %s is a sparse file: make the archive without them",
                             tar->reader->name, name);
        if (type != '0' && type != '\0' && type != '7')
            return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: %s is a link or no file",
                             tar->reader->name, name);
        *member = (struct tvm_tar_member){member->name, tar->reader->pos, size, true};
    }
    return 0;
}

/* What belongs to a header block; *at_end: it was the end mark. */
static int read_member(struct tar *tar, struct tvm_tar_member *members, size_t count,
                       bool *at_end) {
    static const unsigned char end[BLOCK];
    struct tvm_reader *reader = tar->reader;
    const unsigned char *block;
    uint64_t size;
    if (tvm_reader_left(reader) < BLOCK)
        return damaged(tar, "it is cut short");
    if (tvm_read_bytes(reader, "a header", BLOCK, &block))
        return -1;
    *at_end = memcmp(block, end, BLOCK) == 0;
    if (*at_end)
        return 0;
    reader->pos -= BLOCK; /* for messages */
    char type = (char)block[TYPE_AT];
    if (!checksum_fits(block))
        return damaged(tar, "a header's checksum does not fit");
    if (!read_number(block + SIZE_AT, 12, &size))
        return damaged(tar, "a header's size is no number");
    reader->pos += BLOCK;
    bool is_extra = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!is_extra && tar->has_size)
        size = tar->member_size;
    if (type >= '1' && type <= '6')
        size = 0; /* links, devices, folders */
    if (size > tvm_reader_left(reader) ||
        (size + BLOCK - 1) / BLOCK * BLOCK > tvm_reader_left(reader))
        return damaged(tar, "a file reaches beyond the end");
    const size_t next = reader->pos + (size_t)((size + BLOCK - 1) / BLOCK * BLOCK);
    if (!is_extra) {
        if ((!tar->has_name && header_name(tar, block)) ||
            match(tar, type, (size_t)size, members, count))
            return -1;
        tar->has_name = tar->has_size = false;
    }
    if ((type == 'x' && read_pax(tar, (size_t)size)) ||
        (type == 'L' && read_long_name(tar, (size_t)size)))
        return -1;
    reader->pos = next;
    return 0;
}

int tvm_tar_find(struct tvm_reader *reader, struct tvm_tar_member *members, size_t count) {
    struct tar tar = {.reader = reader};
    bool at_end = false;
    while (!at_end)
        if (read_member(&tar, members, count, &at_end))
            return -1;
    return 0;
}
