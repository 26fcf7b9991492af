/* Finding members of archives. Those of GNU tar, Python and Go are read in the Go tests; here are
 * the ones that no writer makes. */
#include "module/tar_file.h"

#include "base/os.h"
#include "test/expect.h"
#include "test/library_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned char archive[1 << 16];
static size_t archive_size;

static void seal(unsigned char *block) {
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += block[i];
    snprintf((char *)block + 148, 8, "%06o", sum);
}

/* As some old writers did: the sum of signed bytes, with something behind it. */
static void seal_signed(unsigned char *block) {
    int sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (signed char)block[i];
    snprintf((char *)block + 148, 8, "%06o", (unsigned)sum);
    block[155] = 0xff;
}

/* A header block of the ustar format. */
static unsigned char *put_header(const char *name, char type, size_t size) {
    unsigned char *block = archive + archive_size;
    assert_true(archive_size + 512 <= sizeof(archive));
    memset(block, 0, 512);
    memcpy(block, name, strnlen(name, 100));
    memcpy(block + 100, "0000644", 8);
    snprintf((char *)block + 124, 12, "%011o", (unsigned)size);
    block[156] = (unsigned char)type;
    memcpy(block + 257, "ustar\00000", 8);
    seal(block);
    archive_size += 512;
    return block;
}

static void put_content(const void *data, size_t size) {
    size_t whole = (size + 511) / 512 * 512;
    assert_true(archive_size + whole <= sizeof(archive));
    memset(archive + archive_size, 0, whole);
    memcpy(archive + archive_size, data, size);
    archive_size += whole;
}

static unsigned char *put_text(const char *name, char type, const char *text) {
    unsigned char *block = put_header(name, type, strlen(text));
    put_content(text, strlen(text));
    return block;
}

static void put_end(void) {
    memset(archive + archive_size, 0, 1024);
    archive_size += 1024;
}

static struct tvm_tar_member members[3];

static int find_members(struct tvm_reader *reader) {
    memset(members, 0, sizeof(members));
    members[0].name = "mod.so";
    members[1].name = "mod.json";
    members[2].name = "mod.params";
    return tvm_tar_find(reader, members, COUNT(members));
}

/* Searches just size bytes in a file, then a copy of them, for AddressSanitizer: with one result.
 */
static int search(size_t size) {
    struct tvm_reader_file file = {0};
    expect_ok(tvm_os_memory_file("p.tar", archive, size, &file.fd));
    struct tvm_reader reader = {.size = size, .name = "p.tar", .file = &file};
    int status = find_members(&reader);
    close(file.fd);
    struct tvm_error *error = tvm_error_take();
    struct tvm_tar_member found[COUNT(members)];
    memcpy(found, members, sizeof(found));

    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, archive, size);
    reader = (struct tvm_reader){.data = copy, .size = size, .name = "p.tar"};
    assert_int_equal(find_members(&reader), status);
    free(copy);
    for (size_t i = 0; i < COUNT(members); i++)
        assert_true(found[i].found == members[i].found && found[i].size == members[i].size &&
                    found[i].offset == members[i].offset);
    if (status) {
        assert_string_equal(tvm_error_peek()->message.data, error->message.data);
        tvm_object_release(&error->object);
    }
    return status;
}

static int search_all(void) {
    put_end();
    int status = search(archive_size);
    archive_size = 0;
    return status;
}

static void is(int index, const char *text) {
    assert_true(members[index].found);
    assert_int_equal(members[index].size, strlen(text));
    assert_memory_equal(archive + members[index].offset, text, strlen(text));
}

static void test_plain(void **state) {
    (void)state;
    put_text("mod.so", '0', "library");
    put_text("mod.json", '\0', "graph"); /* as before ustar */
    put_text("mod.params", '7', "");
    expect_ok(search_all());
    is(0, "library");
    is(1, "graph");
    is(2, "");
    unsigned char *block = put_text("mod.so", '0', "old");
    memset(block + 257, 0, 8); /* no magic */
    seal(block);
    assert_true(tvm_tar_is(archive, archive_size));
    expect_ok(search_all());
    is(0, "old");
    block = put_text("mod.so", '0', "signed");
    memcpy(block + 265, "Ren\xe9", 4); /* the owner */
    seal_signed(block);
    expect_ok(search_all());
    is(0, "signed");
    put_text("deep/mod.so", '0', "no");
    put_text("mod.so.bak", '0', "no");
    put_text(".mod.so", '0', "no");
    put_text("././/./mod.json", '0', "yes");
    expect_ok(search_all());
    assert_false(members[0].found);
    is(1, "yes");
}

/* A library whose bytes add up, as some old writers added them, to nothing: as its empty field
 * says. */
static void test_library(void **state) {
    (void)state;
    unsigned char block[512] = "\x7f"
                               "ELF";
    int sum = 8 * ' ';
    for (size_t i = 0; i < sizeof(block); i++)
        sum += (signed char)block[i];
    for (size_t i = 300; sum > 0; i++) {
        int part = sum > 128 ? 128 : sum;
        block[i] = (unsigned char)(256 - part);
        sum -= part;
    }
    assert_false(tvm_tar_is(block, sizeof(block)));
}

/* The name in two parts. */
static void test_prefix(void **state) {
    (void)state;
    unsigned char *block = put_text("mod.so", '0', "x");
    memcpy(block + 345, "folder", 6);
    seal(block);
    block = put_text("mod.json", '0', "y");
    memcpy(block + 345, ".", 1);
    seal(block);
    block = put_text("mod.params", '0', "z"); /* GNU has times there */
    memcpy(block + 257, "ustar  ", 8);
    memcpy(block + 345, "00000000000", 11);
    seal(block);
    expect_ok(search_all());
    assert_false(members[0].found);
    is(1, "y");
    is(2, "z");
}

static void test_extra_headers(void **state) {
    (void)state;
    put_text("x", 'g', "20 comment=whatever\n"); /* for all files: as git archive writes */
    put_text("x", 'x', "15 path=mod.so\n22 mtime=1600000000.5\n");
    put_text("short", '0', "library");
    put_text("././@LongLink", 'L', "./mod.json");
    put_text("short", '0', "graph");
    put_text("././@LongLink", 'K', "mod.params"); /* a link's target: not the next file */
    put_text("short", '0', "no");
    put_text("x", 'x', "7 size=00000000006\n"); /* it is not 7 bytes */
    expect_error(search_all(), TVM_FORMAT_ERROR, "record does not end where it says");
    put_text("x", 'x', "15 path=mod.so\n");
    put_text("short", '0', "library");
    put_text("././@LongLink", 'L', "./mod.json");
    put_text("short", '0', "graph");
    put_text("././@LongLink", 'K', "mod.params");
    put_text("mod.params", '0', "params"); /* the extra name was for one file only */
    expect_ok(search_all());
    is(0, "library");
    is(1, "graph");
    is(2, "params");
    put_text("x", 'x', "9 size=3\n");
    put_header("mod.so", '0', 0); /* the size is in the extra header */
    put_content("abc", 3);
    put_text("mod.json", '0', "graph");
    expect_ok(search_all());
    is(0, "abc");
    is(1, "graph");
    put_text("x", 'x', "9 size=3\n"); /* of the file, not of the next extra header */
    put_text("././@LongLink", 'L', "./mod.so");
    put_header("short", '0', 0);
    put_content("abc", 3);
    expect_ok(search_all());
    is(0, "abc");
    /* Links, devices, folders and pipes with a size, which have no content. */
    for (char type = '1'; type <= '6'; type++) {
        put_header("d/", type, 4096);
        put_text("mod.so", '0', "x");
        expect_ok(search_all());
        is(0, "x");
    }
    /* A number that octal digits have no room for, in binary. */
    unsigned char *block = put_text("mod.so", '0', "xyz");
    memset(block + 124, 0, 12);
    block[124] = 0x80;
    block[135] = 3;
    seal(block);
    expect_ok(search_all());
    is(0, "xyz");
}

static void test_refused(void **state) {
    char long_name[5000];
    (void)state;
    static const struct {
        const char *record, *text;
    } records[] = {
        {"5 path", "record does not end"},
        {"path=x\n", "record does not end"},
        {"7 path\n", "without '='"},
        {"99 path=x\n", "record does not end"},
        {"2 \n", "record does not end"},
        {"9999999999 path=x\n", "record does not end"},
        {"10 size=x\n", "is no number"},
        {"30 size=184467440737095516160\n", "is no number"},
        {"28 size=1844674407370955161\n", "reaches beyond the end"},
        {"19 size=4294967297\n", "reaches beyond the end"}, /* 1 in 32 bits */
    };
    for (size_t i = 0; i < COUNT(records); i++) {
        put_text("x", 'x', records[i].record);
        put_text("mod.so", '0', "x");
        expect_error(search_all(), TVM_FORMAT_ERROR, records[i].text);
    }
    put_text("x", 'x', "22 GNU.sparse.major=1\n");
    put_text("mod.so", '0', "x");
    expect_error(search_all(), TVM_UNSUPPORTED_ERROR, "sparse");
    put_text("mod.so", 'S', "x");
    expect_error(search_all(), TVM_UNSUPPORTED_ERROR, "mod.so is a sparse file");
    put_header("mod.so", '2', 0);
    expect_error(search_all(), TVM_UNSUPPORTED_ERROR, "mod.so is a link");
    put_text("mod.so", '0', "x");
    put_text("./mod.so", '0', "x");
    expect_error(search_all(), TVM_FORMAT_ERROR, "mod.so is in it twice");
    memset(long_name, 'n', sizeof(long_name));
    put_header("x", 'L', sizeof(long_name));
    put_content(long_name, sizeof(long_name));
    expect_error(search_all(), TVM_FORMAT_ERROR, "longer than any path");
    unsigned char *block = put_text("mod.so", '0', "x");
    block[0] = 'n';
    expect_error(search_all(), TVM_FORMAT_ERROR, "byte 0: a header's checksum does not fit");
    static const char *const sizes[] = {"           ", "9", "12345678901x", "-1"};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        block = put_text("mod.so", '0', "x");
        memset(block + 124, 0, 12);
        memcpy(block + 124, sizes[i], strlen(sizes[i]));
        seal(block);
        expect_error(search_all(), TVM_FORMAT_ERROR, "byte 0: a header's size is no number");
    }
    for (unsigned char first = 0x80; first != 0; first = (unsigned char)(first + 0x20)) {
        block = put_text("mod.so", '0', "x");
        memset(block + 124, 0xff, 12);
        block[124] = first;
        seal(block);
        expect_error(search_all(), TVM_FORMAT_ERROR, "a header's size is no number");
    }
    block = put_text("mod.so", '0', "x");
    memset(block + 124, 0, 5);
    memset(block + 129, 0xff, 7);
    block[124] = 0x80;
    seal(block);
    expect_error(search_all(), TVM_FORMAT_ERROR, "reaches beyond the end");
    put_header("mod.so", '0', 2000);
    expect_error(search_all(), TVM_FORMAT_ERROR, "reaches beyond the end");
    memset(archive, 0, 512);
    assert_false(tvm_tar_is(archive, 512));
    assert_false(tvm_tar_is(archive, 511));
    memcpy(archive, "\177ELF", 4);
    assert_false(tvm_tar_is(archive, 512));
}

static void put_everything(void) {
    put_text("x", 'x', "15 path=mod.so\n22 mtime=1600000000.5\n");
    put_text("short", '0', "library");
    put_text("././@LongLink", 'L', "./mod.json");
    put_text("short", '0', "graph");
    put_text("mod.params", '0', "params");
}

static void test_damage(void **state) {
    uint32_t random = 777;
    size_t refused = 0;
    (void)state;
    archive_size = 0;
    put_everything();
    size_t end = archive_size;
    put_end();
    for (size_t size = 0; size < end + 512; size++)
        expect_error(search(size), TVM_FORMAT_ERROR, "p.tar: a damaged tar archive: byte ");
    for (size_t size = end + 512; size <= archive_size; size++)
        expect_ok(search(size)); /* what follows the end mark does not matter */
    for (int i = 0; i < 50000; i++) {
        unsigned char saved[8];
        random = random * 1664525 + 1013904223;
        size_t at = (random >> 8) % (archive_size - 8), block = at / 512 * 512;
        unsigned char whole[512];
        memcpy(whole, archive + block, 512);
        memcpy(saved, archive + at, 8);
        for (unsigned k = 0; k < 1 + (random >> 30); k++)
            archive[at + k] = (unsigned char)(random >> (20 - 4 * k));
        if (i % 2 && archive[block])
            seal(archive + block); /* so that it is not only the checksum */
        if (search(archive_size)) {
            struct tvm_error *error = tvm_error_take();
            assert_non_null(error);
            tvm_object_release(&error->object);
            refused++;
        }
        memcpy(archive + at, saved, 8);
        memcpy(archive + block, whole, 512);
    }
    assert_true(refused > 1000);
}

/* The archives of the system's own tar, in all its formats, with and without labels. */
static void test_system_tar(void **state) {
    static const char *const formats[] = {
        "v7", "oldgnu", "gnu", "gnu --label=x", "ustar", "posix", "posix --label=x"};
    (void)state;
    fixture_write("mod.so", "library", 7);
    fixture_write("mod.json", "graph", 5);
    fixture_write("mod.params", "", 0);
    char folder[256], command[1024];
    snprintf(folder, sizeof(folder), "%s", fixture_path(""));
    if (system("tar --version >/dev/null 2>&1"))
        skip();
    for (size_t i = 0; i < COUNT(formats); i++) {
        size_t size;
        snprintf(command, sizeof(command),
                 "cd %s && tar --format=%s -cf t.tar ./mod.json mod.so mod.params", folder,
                 formats[i]);
        assert_int_equal(system(command), 0);
        unsigned char *data = fixture_read(fixture_path("t.tar"), &size);
        assert_true(size <= sizeof(archive) && tvm_tar_is(data, size));
        memcpy(archive, data, size);
        free(data);
        expect_ok(search(size));
        is(0, "library");
        is(1, "graph");
        is(2, "");
    }
    archive_size = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),      cmocka_unit_test(test_library),
        cmocka_unit_test(test_prefix),     cmocka_unit_test(test_extra_headers),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_damage),
        cmocka_unit_test(test_system_tar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
