/* The byte reader: every item at every length of the data, in memory and in a file. */
#include "base/os.h"
#include "base/reader.h"
#include "test/expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool in_file; /* what reader_new makes; else in memory */

/* A reader on a heap copy of exactly size bytes, so that AddressSanitizer sees reads beyond them;
 * or on a file that has other bytes before and behind. */
static struct tvm_reader reader_new(const void *data, size_t size) {
    size_t before = in_file ? 3 : 0, behind = in_file ? 20 : 0;
    unsigned char *copy = malloc(before + size + behind + 1);
    struct tvm_reader reader = {.data = copy, .size = size, .name = "test.bin"};
    assert_non_null(copy);
    memset(copy, 0x55, before + size + behind);
    if (size)
        memcpy(copy + before, data, size);
    if (!in_file) {
        reader.data = realloc(copy, size ? size : 1);
        return reader;
    }
    reader.file = calloc(1, sizeof(*reader.file));
    assert_non_null(reader.file);
    expect_ok(tvm_os_memory_file("test.bin", copy, before + size + behind, &reader.file->fd));
    reader.file->offset = before;
    reader.data = NULL;
    free(copy);
    return reader;
}

static void reader_free(struct tvm_reader *reader) {
    if (reader->file)
        close(reader->file->fd);
    free(reader->file);
    free((void *)(uintptr_t)reader->data);
}

static const unsigned char numbers[] = {0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88, 0xff};

static void test_numbers(void **state) {
    (void)state;
    uint64_t u64;
    int64_t i64;
    int32_t i32;
    uint16_t u16;
    uint8_t u8;
    for (size_t start = 0; start < 2; start++) { /* aligned or not */
        struct tvm_reader reader = reader_new(numbers, sizeof(numbers));
        reader.pos = start;
        expect_ok(tvm_read_u64(&reader, "n", &u64));
        assert_true(u64 == (start ? 0xff88078605840382u : 0x8807860584038201u));
        assert_int_equal(reader.pos, start + 8);
        reader.pos = start;
        expect_ok(tvm_read_i64(&reader, "n", &i64));
        assert_true(i64 == (int64_t)u64 && i64 < 0);
        reader.pos = start;
        expect_ok(tvm_read_i32(&reader, "n", &i32));
        assert_true(i32 == (int32_t)(uint32_t)u64);
        reader.pos = start;
        expect_ok(tvm_read_u16(&reader, "n", &u16));
        assert_true(u16 == (uint16_t)u64);
        reader.pos = start;
        expect_ok(tvm_read_u8(&reader, "n", &u8));
        assert_true(u8 == (uint8_t)u64);
        assert_int_equal(tvm_reader_left(&reader), sizeof(numbers) - start - 1);
        reader_free(&reader);
    }
}

static int read_u64(struct tvm_reader *reader) {
    uint64_t out;
    return tvm_read_u64(reader, "item", &out);
}

static int read_i64(struct tvm_reader *reader) {
    int64_t out;
    return tvm_read_i64(reader, "item", &out);
}

static int read_i32(struct tvm_reader *reader) {
    int32_t out;
    return tvm_read_i32(reader, "item", &out);
}

static int read_u16(struct tvm_reader *reader) {
    uint16_t out;
    return tvm_read_u16(reader, "item", &out);
}

static int read_u8(struct tvm_reader *reader) {
    uint8_t out;
    return tvm_read_u8(reader, "item", &out);
}

static int read_five_bytes(struct tvm_reader *reader) {
    const unsigned char *out;
    return tvm_read_bytes(reader, "item", 5, &out);
}

static int read_string(struct tvm_reader *reader) {
    struct tvm_bytes out;
    return tvm_read_string(reader, "item", &out);
}

static int read_count_of_three(struct tvm_reader *reader) {
    size_t out;
    return tvm_read_count(reader, "item", 3, &out);
}

/* Truncated data is refused whatever is missing, names item and place, and leaves pos alone. */
static void test_truncation(void **state) {
    (void)state;
    static const unsigned char data[8 + 6] = {2}; /* a length or count of 2 */
    static const struct {
        int (*read)(struct tvm_reader *reader);
        size_t needed, taken;
    } items[] = {
        {read_u64, 8, 8},      {read_i64, 8, 8},
        {read_i32, 4, 4},      {read_u16, 2, 2},
        {read_u8, 1, 1},       {read_five_bytes, 5, 5},
        {read_string, 10, 10}, {read_count_of_three, 14, 8},
    };
    for (size_t i = 0; i < sizeof(items) / sizeof(*items); i++) {
        for (size_t size = 0; size <= sizeof(data); size++) {
            for (size_t before = 0; before < 3; before++) {
                unsigned char padded[sizeof(data) + 3] = {0};
                memcpy(padded + before, data, size);
                struct tvm_reader reader = reader_new(padded, before + size);
                reader.pos = before;
                if (size >= items[i].needed) {
                    expect_ok(items[i].read(&reader));
                    assert_int_equal(reader.pos, before + items[i].taken);
                } else {
                    char place[32];
                    snprintf(place, sizeof(place), "test.bin: byte %zu: item: ", before);
                    expect_error(items[i].read(&reader), TVM_FORMAT_ERROR, place);
                    assert_int_equal(reader.pos, before);
                }
                reader_free(&reader);
            }
        }
    }
}

static void test_bytes(void **state) {
    (void)state;
    struct tvm_reader reader = reader_new("abc", 3);
    const unsigned char *out;
    expect_ok(tvm_read_bytes(&reader, "text", 2, &out));
    assert_memory_equal(out, "ab", 2);
    if (!in_file)
        assert_ptr_equal(out, reader.data); /* no copy */
    expect_ok(tvm_read_bytes(&reader, "text", 0, &out));
    expect_error(tvm_read_bytes(&reader, "text", 2, &out), TVM_FORMAT_ERROR,
                 "test.bin: byte 2: text: expected 2 bytes, 1 are left");
    expect_error(tvm_read_bytes(&reader, "text", SIZE_MAX, &out), TVM_FORMAT_ERROR, "text");
    expect_ok(tvm_read_bytes(&reader, "text", 1, &out));
    assert_int_equal(*out, 'c');
    expect_ok(tvm_read_bytes(&reader, "text", 0, &out)); /* at the very end */
    assert_int_equal(tvm_reader_left(&reader), 0);
    reader_free(&reader);
}

static void test_strings(void **state) {
    (void)state;
    static const char data[] = "\3\0\0\0\0\0\0\0a\0b"
                               "\0\0\0\0\0\0\0\0";
    struct tvm_reader reader = reader_new(data, sizeof(data) - 1);
    struct tvm_bytes out;
    expect_ok(tvm_read_string(&reader, "name", &out));
    assert_int_equal(out.size, 3);
    assert_memory_equal(out.data, "a\0b", 3);
    expect_ok(tvm_read_string(&reader, "name", &out));
    assert_int_equal(out.size, 0);
    assert_int_equal(tvm_reader_left(&reader), 0);
    expect_error(tvm_read_string(&reader, "name", &out), TVM_FORMAT_ERROR, "name");
    reader_free(&reader);
}

/* Counts and lengths that no data could follow, those included whose byte size overflows. */
static void test_huge_counts(void **state) {
    (void)state;
    static const uint64_t counts[] = {
        2,
        0xff,
        UINT64_C(1) << 31,
        UINT64_C(1) << 32,
        (UINT64_C(1) << 32) + 1, /* 1 in 32 bits */
        UINT64_C(1) << 40,
        (UINT64_C(1) << 61) + 1, /* × 8 wraps to 8 */
        UINT64_C(1) << 63,
        UINT64_MAX - 7,
        UINT64_MAX,
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        unsigned char data[8 + 15] = {0};
        for (int byte = 0; byte < 8; byte++)
            data[byte] = (unsigned char)(counts[i] >> 8 * byte);
        struct tvm_reader reader = reader_new(data, sizeof(data));
        size_t count;
        struct tvm_bytes text;
        expect_error(tvm_read_count(&reader, "names", 8, &count), TVM_FORMAT_ERROR,
                     "items cannot fit into the 15 bytes that follow");
        assert_int_equal(reader.pos, 0);
        if (counts[i] == 2)
            expect_ok(tvm_read_string(&reader, "name", &text));
        else
            expect_error(tvm_read_string(&reader, "name", &text), TVM_FORMAT_ERROR, "name");
        assert_int_equal(reader.pos, counts[i] == 2 ? 10 : 0);
        reader_free(&reader);
    }
}

static void test_counts(void **state) {
    (void)state;
    unsigned char data[8 + 16] = {2};
    struct tvm_reader reader = reader_new(data, sizeof(data));
    size_t count;
    expect_ok(tvm_read_count(&reader, "names", 8, &count));
    assert_int_equal(count, 2);
    assert_int_equal(reader.pos, 8);
    expect_ok(tvm_read_count(&reader, "names", SIZE_MAX, &count)); /* none of whatever size */
    assert_int_equal(count, 0);
    reader_free(&reader);
}

static void test_skip(void **state) {
    (void)state;
    struct tvm_reader reader = reader_new("abcd", 4);
    const unsigned char *out;
    expect_ok(tvm_read_skip(&reader, "data", 3));
    expect_error(tvm_read_skip(&reader, "data", 2), TVM_FORMAT_ERROR,
                 "test.bin: byte 3: data: expected 2 bytes, 1 are left");
    expect_error(tvm_read_skip(&reader, "data", SIZE_MAX), TVM_FORMAT_ERROR, "data");
    expect_ok(tvm_read_bytes(&reader, "text", 1, &out));
    assert_int_equal(*out, 'd');
    expect_ok(tvm_read_skip(&reader, "data", 0));
    reader_free(&reader);
}

/* Reads and skips of all sizes, so that items lie across the ends of windows. */
static void test_windows(void **state) {
    (void)state;
    enum { SIZE = 5 * TVM_READER_WINDOW + 77 };
    unsigned char *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    for (size_t step = 1; step <= TVM_READER_WINDOW; step += step / 3 + 1) {
        struct tvm_reader reader = reader_new(data, SIZE);
        const unsigned char *out;
        for (size_t at = 0; at + step <= SIZE; at += step) {
            if (at / step % 3 == 2) {
                expect_ok(tvm_read_skip(&reader, "data", step));
                continue;
            }
            expect_ok(tvm_read_bytes(&reader, "data", step, &out));
            assert_memory_equal(out, data + at, step);
        }
        reader.pos = 1; /* back, before the window */
        expect_ok(tvm_read_bytes(&reader, "data", step, &out));
        assert_memory_equal(out, data + 1, step);
        reader_free(&reader);
    }
    free(data);
}

/* Trouble that only files can make. */
static void test_file_damage(void **state) {
    (void)state;
    static unsigned char data[2 * TVM_READER_WINDOW];
    struct tvm_reader_file file = {.fd = -1};
    struct tvm_reader reader = {.size = sizeof(data), .name = "test.bin", .file = &file};
    const unsigned char *out;
    char buffer[8];
    expect_ok(tvm_read_skip(&reader, "data", 5)); /* reads nothing */
    expect_error(tvm_read_bytes(&reader, "data", 5, &out), TVM_OS_ERROR,
                 "test.bin: cannot be read: Bad file descriptor");
    assert_int_equal(reader.pos, 5);
    FILE *cut = tmpfile();
    assert_non_null(cut);
    file.fd = fileno(cut);
    assert_int_equal(ftruncate(file.fd, 30), 0);
    expect_error(tvm_read_bytes(&reader, "data", 5, &out), TVM_FORMAT_ERROR,
                 "test.bin: the file ends at byte 30");
    assert_int_equal(reader.pos, 5);
    expect_error(tvm_read_bytes(&reader, "data", TVM_READER_WINDOW + 1, &out), TVM_FORMAT_ERROR,
                 "test.bin: byte 5: data: 8193 bytes are too many: expected at most 8192");
    assert_int_equal(ftruncate(file.fd, sizeof(data)), 0);
    expect_ok(tvm_read_bytes(&reader, "data", TVM_READER_WINDOW, &out));
    const uint64_t length = TVM_READER_WINDOW + 1;
    struct tvm_bytes text;
    reader.pos = 0;
    assert_int_equal(pwrite(file.fd, &length, 8, 0), 8);
    expect_error(tvm_read_string(&reader, "text", &text), TVM_FORMAT_ERROR,
                 "text: 8193 bytes are too many");
    assert_int_equal(reader.pos, 0);
    expect_error(tvm_read_file("odd", file.fd, sizeof(data) - 7, buffer, 8), TVM_FORMAT_ERROR,
                 "odd: the file ends at byte 16384");
    expect_ok(tvm_read_file("odd", file.fd, sizeof(data) - 8, buffer, 8));
    expect_ok(tvm_read_file("odd", file.fd, sizeof(data), buffer, 0));
    fclose(cut);
}

static void test_memory_file(void **state) {
    (void)state;
    for (size_t size = 0; size <= 4; size += 4) {
        const unsigned char *data;
        size_t mapped;
        int fd;
        expect_ok(tvm_os_memory_file("test.bin", "text", size, &fd));
        assert_int_equal(pwrite(fd, "T", 1, 0), -1); /* it stays as it is */
        assert_int_equal(ftruncate(fd, 8), -1);
        assert_int_equal(ftruncate(fd, 0), size ? -1 : 0);
        expect_ok(tvm_os_map_file("test.bin", fd, &data, &mapped));
        assert_int_equal(mapped, size);
        assert_memory_equal(data, "text", size);
        tvm_os_unmap_file(data, mapped);
        close(fd);
    }
}

static void test_fail(void **state) {
    (void)state;
    struct tvm_reader reader = {.name = "model.params", .pos = 12};
    expect_error(tvm_reader_fail(&reader, "%s of %d", "ndim", -1), TVM_FORMAT_ERROR,
                 "model.params: byte 12: ndim of -1");
    char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    expect_error(tvm_reader_fail(&reader, "%s", text), TVM_FORMAT_ERROR, "byte 12: xxx");
    reader.name = text; /* a long path is not cut */
    expect_error(tvm_reader_fail(&reader, "odd"), TVM_FORMAT_ERROR, "x: byte 12: odd");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_bytes),       cmocka_unit_test(test_strings),
        cmocka_unit_test(test_huge_counts), cmocka_unit_test(test_counts),
        cmocka_unit_test(test_skip),        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_file_damage), cmocka_unit_test(test_memory_file),
        cmocka_unit_test(test_fail),
    };
    int failed = cmocka_run_group_tests_name("in memory", tests, NULL, NULL);
    in_file = true;
    return failed + cmocka_run_group_tests_name("in a file", tests, NULL, NULL);
}
