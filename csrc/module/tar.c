#include "module/tar_file.h"

#include <inttypes.h>
#include <stdio.h>
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
};

enum { MAX_NAME = 4096 };

struct tar {
    const char *name;
    const unsigned char *data;
    size_t size, pos;
    char member[MAX_NAME + 1]; /* the name of the next file, where an extra header tells it */
    bool has_name, has_size;
    uint64_t member_size;
};

static int damaged(const struct tar *tar, const char *what) {
    return tvm_raise(TVM_FORMAT_ERROR, "%s: a damaged tar archive: byte %zu: %s", tar->name,
                     tar->pos, what);
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
    if (!read_number(block + CHECKSUM_AT, 8, &stored))
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

/* One "key=value" of a PAX header. */
static int pax_record(struct tar *tar, const unsigned char *record, size_t size) {
    const unsigned char *equals = memchr(record, '=', size);
    if (!equals)
        return damaged(tar, "an extended header without '='");
    size_t key = (size_t)(equals - record), length = size - key - 1;
    if (key >= 11 && memcmp(record, "GNU.sparse.", 11) == 0)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: a tar archive with sparse files: make it without them", tar->name);
    if (key == 4 && memcmp(record, "path", 4) == 0)
        return keep_name(tar, equals + 1, length);
    if (key != 4 || memcmp(record, "size", 4) != 0)
        return 0;
    tar->member_size = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned)equals[1 + i] - '0';
        if (digit > 9 || tar->member_size > (UINT64_MAX >> 4) - digit)
            return damaged(tar, "an extended header's size is no number");
        tar->member_size = tar->member_size * 10 + digit;
    }
    tar->has_size = length > 0;
    return 0;
}

/* A PAX header: "<length of the record> <key>=<value>\n" and so on. */
static int read_pax(struct tar *tar, const unsigned char *data, size_t size) {
    while (size) {
        size_t length = 0, digits = 0;
        for (; digits < size && digits < 9 && data[digits] >= '0' && data[digits] <= '9'; digits++)
            length = length * 10 + (size_t)(data[digits] - '0');
        if (digits == 0 || digits == size || data[digits] != ' ' || length > size ||
            length < digits + 2 || data[length - 1] != '\n')
            return damaged(tar, "an extended header's record does not end where it says");
        if (pax_record(tar, data + digits + 1, length - digits - 2))
            return -1;
        data += length;
        size -= length;
    }
    return 0;
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
            return tvm_raise(TVM_FORMAT_ERROR, "%s: %s is in it twice", tar->name, name);
        if (type == 'S')
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: %s is a sparse file: make the archive without them", tar->name,
                             name);
        if (type != '0' && type != '\0' && type != '7')
            return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: %s is a link or no file", tar->name, name);
        *member = (struct tvm_tar_member){member->name, tar->pos, size, true};
    }
    return 0;
}

/* One header block and what belongs to it. */
static int read_member(struct tar *tar, struct tvm_tar_member *members, size_t count) {
    const unsigned char *block = tar->data + tar->pos;
    char type = (char)block[TYPE_AT];
    uint64_t size;
    if (!checksum_fits(block))
        return damaged(tar, "a header's checksum does not fit");
    if (!read_number(block + SIZE_AT, 12, &size))
        return damaged(tar, "a header's size is no number");
    bool is_extra = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!is_extra && tar->has_size)
        size = tar->member_size;
    if (type >= '1' && type <= '6')
        size = 0; /* links, devices, folders */
    tar->pos += BLOCK;
    if (size > tar->size - tar->pos || (size + BLOCK - 1) / BLOCK * BLOCK > tar->size - tar->pos)
        return damaged(tar, "a file reaches beyond the end");
    const unsigned char *content = tar->data + tar->pos;
    if (type == 'x' && read_pax(tar, content, (size_t)size))
        return -1;
    if (type == 'L' && keep_name(tar, content, strnlen((const char *)content, (size_t)size)))
        return -1;
    if (!is_extra) {
        if ((!tar->has_name && header_name(tar, block)) ||
            match(tar, type, (size_t)size, members, count))
            return -1;
        tar->has_name = tar->has_size = false;
    }
    tar->pos += (size_t)((size + BLOCK - 1) / BLOCK * BLOCK);
    return 0;
}

int tvm_tar_find(const char *name, const unsigned char *data, size_t size,
                 struct tvm_tar_member *members, size_t count) {
    static const unsigned char end[BLOCK];
    struct tar tar = {.name = name, .data = data, .size = size};
    for (;;) {
        if (tar.size - tar.pos < BLOCK)
            return damaged(&tar, "it is cut short");
        if (memcmp(data + tar.pos, end, BLOCK) == 0)
            return 0;
        if (read_member(&tar, members, count))
            return -1;
    }
}
