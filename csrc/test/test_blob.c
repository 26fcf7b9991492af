/* Packaged modules, read with a table of kinds that only this test has. */
#define tvm_module_kinds test_kinds
#define tvm_blob_read test_blob_read
#define tvm_blob_read_ffi test_blob_read_ffi
#define tvm_blob_link test_blob_link
#define tvm_blob_free test_blob_free
#include "module/blob.c"

#include "test/blob_fixture.h"
#include "test/leaks.h"

/* A kind with a payload: one string, the name of its one function. */
struct toy {
    struct tvm_module module;
    char name[16];
};

static int toy_get_function(struct tvm_module *self, const char *name, struct tvm_function **out);

static int nothing(void *self, const struct tvm_value *args, int32_t count,
                   struct tvm_value *result) {
    (void)self, (void)args, (void)count, (void)result;
    return 0;
}

static int toy_load(struct tvm_reader *reader, struct tvm_module **out);

static const struct tvm_module_kind toy_kind = {
    .key = "toy", .load = toy_load, .get_function = toy_get_function};
static const struct tvm_module_kind not_packaged = {.key = "library",
                                                    .get_function = toy_get_function};
static const struct tvm_module_kind ffi_kind = {
    .key = "toy", .ffi = true, .load = toy_load, .get_function = toy_get_function};
const struct tvm_module_kind *const test_kinds[] = {&not_packaged, &toy_kind, &ffi_kind, NULL};

static int toy_load(struct tvm_reader *reader, struct tvm_module **out) {
    struct tvm_bytes name;
    if (tvm_read_string(reader, "name", &name))
        return -1;
    if (name.size >= sizeof(((struct toy *)0)->name))
        return tvm_reader_fail(reader, "the name is too long");
    struct toy *toy = tvm_module_alloc(sizeof(*toy), &toy_kind);
    if (!toy)
        return -1;
    memcpy(toy->name, name.data, name.size);
    *out = &toy->module;
    return 0;
}

static int toy_get_function(struct tvm_module *self, const char *name, struct tvm_function **out) {
    *out = NULL;
    return strcmp(name, ((struct toy *)self)->name) ? 0
                                                    : tvm_function_new(nothing, NULL, NULL, out);
}

/* Writing blobs */

static void put_toy(const char *name) {
    blob_put_text("toy");
    blob_put_text(name);
}

#define TREE(rows, edges) blob_put_tree(rows, COUNT(rows), edges, COUNT(edges))

/* Reads a copy of just size bytes, for AddressSanitizer. */
static int read_copy(size_t size, struct tvm_blob *out) {
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, blob, size);
    int status = tvm_blob_read("m.so", copy, size, &(struct tvm_reader_origin){.fd = -1}, out);
    free(copy);
    return status;
}

static int read_all(void) {
    struct tvm_blob out;
    blob_end(0);
    int status = read_copy(blob_size, &out);
    if (status == 0)
        tvm_blob_free(&out);
    return status;
}

static struct tvm_module *new_library(void) {
    struct toy *toy = tvm_module_alloc(sizeof(*toy), &not_packaged);
    assert_non_null(toy);
    strcpy(toy->name, "lib");
    return &toy->module;
}

static bool has(struct tvm_module *module, const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_module_get_function(module, name, true, &function));
    if (!function)
        return false;
    tvm_object_release(&function->object);
    return true;
}

/* Reads and links what was written; *library is that module, borrowed from the result. */
static struct tvm_module *link_all(struct tvm_module **library) {
    struct tvm_blob out;
    struct tvm_module *root;
    blob_end(0);
    expect_ok(read_copy(blob_size + 5, &out)); /* a symbol may be larger */
    *library = new_library();
    expect_ok(tvm_blob_link(&out, *library, &root));
    tvm_blob_free(&out);
    tvm_object_release(&(*library)->object);
    return root;
}

static void test_no_tree(void **state) {
    struct tvm_module *library, *root;
    (void)state;
    blob_begin(0);
    root = link_all(&library);
    assert_ptr_equal(root, library);
    assert_int_equal(root->import_count, 0);
    tvm_object_release(&root->object);

    blob_begin(2);
    put_toy("a");
    put_toy("b");
    root = link_all(&library);
    assert_ptr_equal(root, library);
    assert_int_equal(root->import_count, 2);
    assert_true(has(root, "a") && has(root, "b") && has(root, "lib") && !has(root, "c"));
    tvm_object_release(&root->object);

    blob_begin(2);
    blob_put_text("_lib");
    put_toy("a");
    root = link_all(&library);
    assert_int_equal(root->import_count, 1);
    tvm_object_release(&root->object);
}

static void test_tree(void **state) {
    struct tvm_module *library, *root;
    (void)state;
    blob_begin(2);
    blob_put_text("_lib");
    blob_put_tree((const uint64_t[]){0, 0}, 2, NULL, 0);
    root = link_all(&library);
    assert_ptr_equal(root, library);
    tvm_object_release(&root->object);

    /* A factory over the library over device code, the last imported twice. */
    blob_begin(4);
    put_toy("factory");
    blob_put_text("_lib");
    put_toy("device");
    const uint64_t rows[] = {0, 2, 3, 3}, edges[] = {1, 2, 2};
    TREE(rows, edges);
    root = link_all(&library);
    assert_ptr_not_equal(root, library);
    assert_int_equal(root->import_count, 2);
    assert_ptr_equal(root->imports[0], library);
    assert_ptr_equal(root->imports[1], library->imports[0]);
    assert_true(has(root, "factory") && has(root, "lib") && has(library, "device"));
    assert_false(has(library, "factory"));
    tvm_object_release(&root->object);
}

/* Of TVM 0.22: the tree comes first, and each module says how many bytes it has. */
static void test_ffi(void **state) {
    static const struct {
        uint64_t size;
        const char *text; /* NULL: none */
    } cases[] = {{9, NULL}, {8, "cannot fit"}, {12, "3 bytes follow the module's last"}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tvm_blob out;
        blob_begin(3);
        blob_put_bytes((const uint64_t[]){0, 1, 1, 1, 1}, 40); /* rows, number of edges, edge */
        blob_put_text("_lib");
        blob_put_text("toy");
        blob_put(cases[i].size);
        blob_put_text("a");
        blob_put_bytes("...", (size_t)(cases[i].size == 12 ? 3 : 0));
        blob_end(0);
        int status =
            tvm_blob_read_ffi("m.so", blob, blob_size, &(struct tvm_reader_origin){.fd = -1}, &out);
        if (cases[i].text) {
            expect_error(status, TVM_FORMAT_ERROR, cases[i].text);
            continue;
        }
        expect_ok(status);
        assert_int_equal(out.count, 2);
        tvm_blob_free(&out);
    }
}

static void test_unknown(void **state) {
    (void)state;
    static const struct {
        const char *key, *text;
    } cases[] = {
        {"VMExecutable", "holds a module of kind VMExecutable, which this build"},
        {"relay.Executable", "Relay's virtual machine; compile it for the graph executor"},
        {"relax.VMExecutable", "a Relax model of TVM 0.20 or older"},
        {"cuda", "CUDA kernels; compile the model for a CPU"},
        {"library", "kind \"library\""},
        {"dnnl_json", "kind \"dnnl_json\""},
        {"a\nb\xff", "kind \"a?b?\""},
        {"", "kind \"\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        blob_begin(3);
        blob_put_text("_lib");
        put_toy("before"); /* is freed */
        blob_put_text(cases[i].key);
        expect_error(read_all(), TVM_UNSUPPORTED_ERROR, cases[i].text);
    }
}

static void bad_tree(const uint64_t *rows, size_t row_count, const uint64_t *edges,
                     size_t edge_count, const char *text) {
    blob_begin(4);
    blob_put_text("_lib");
    put_toy("a");
    put_toy("b");
    blob_put_tree(rows, row_count, edges, edge_count);
    expect_error(read_all(), TVM_FORMAT_ERROR, text);
}

#define BAD_TREE(text, rows, edges) bad_tree(rows, COUNT(rows), edges, COUNT(edges), text)
#define LIST(...) ((const uint64_t[]){__VA_ARGS__})

static void test_bad_trees(void **state) {
    (void)state;
    BAD_TREE("does not fit its 3 modules", LIST(0, 2, 2), LIST(1, 2));    /* too few rows */
    BAD_TREE("does not fit its 3 modules", LIST(0, 2, 2, 3), LIST(1, 2)); /* too few edges */
    BAD_TREE("does not fit its 3 modules", LIST(1, 2, 2, 2), LIST(1, 2));
    BAD_TREE("does not fit its 3 modules", LIST(0, 2, 2, 2), LIST(1, 2, 2));
    BAD_TREE("row 1 of its import tree ends before", LIST(0, UINT64_MAX, 1, 2), LIST(1, 2));
    BAD_TREE("row 1 of its import tree ends before", LIST(0, 3, 1, 2), LIST(1, 2));
    BAD_TREE("module 0 imports module 3 of 3", LIST(0, 2, 2, 2), LIST(1, 3));
    BAD_TREE("imports module 18446744073709551615", LIST(0, 2, 2, 2), LIST(1, UINT64_MAX));
    BAD_TREE("module 0 imports module 0", LIST(0, 3, 3, 3), LIST(1, 2, 0));
    BAD_TREE("module 2 imports module 1 of 3", LIST(0, 1, 2, 3), LIST(1, 2, 1)); /* a cycle */
    BAD_TREE("module 2 is imported by none", LIST(0, 1, 1, 1), LIST(1));
    blob_begin(2);
    put_toy("a");
    blob_put_tree(LIST(0, 0), 2, NULL, 0);
    expect_error(read_all(), TVM_FORMAT_ERROR, "an import tree without the library itself");
    blob_begin(1);
    blob_put_tree(LIST(0), 1, NULL, 0);
    expect_error(read_all(), TVM_FORMAT_ERROR, "an import tree without the library itself");
    blob_begin(3);
    blob_put_text("_lib");
    blob_put_tree(LIST(0, 0), 2, NULL, 0);
    blob_put_tree(LIST(0, 0), 2, NULL, 0);
    expect_error(read_all(), TVM_FORMAT_ERROR, "a second import tree");
    blob_begin(2);
    blob_put_text("_lib");
    blob_put_text("_lib");
    expect_error(read_all(), TVM_FORMAT_ERROR, "the library stands in it twice");
}

/* Modules that each import the next two: paths grow as Fibonacci's numbers, and looking a function
 * up must not walk them all. */
static void test_many_branches(void **state) {
    enum { LENGTH = 64 };
    struct tvm_module *library, *root;
    struct tvm_blob out;
    uint64_t rows[LENGTH + 1], edges[2 * LENGTH];
    size_t edge_count = 0;
    (void)state;
    blob_begin(LENGTH + 1);
    blob_put_text("_lib");
    for (uint64_t i = 0; i < LENGTH; i++) {
        if (i)
            put_toy("a");
        rows[i] = edge_count;
        for (uint64_t child = i + 1; child < i + 3 && child < LENGTH; child++)
            edges[edge_count++] = child;
    }
    rows[LENGTH] = edge_count;
    blob_put_tree(rows, LENGTH + 1, edges, edge_count);
    blob_end(0);
    expect_ok(read_copy(blob_size, &out));
    library = new_library();
    expect_ok(tvm_blob_link(&out, library, &root));
    tvm_blob_free(&out);
    assert_false(has(root, "nobody"));
    assert_true(has(root, "a"));
    tvm_object_release(&library->object);
    tvm_object_release(&root->object);
    blob_begin(256);
    for (int i = 0; i < 256; i++)
        put_toy("a");
    expect_ok(read_all());
    blob_begin(257);
    for (int i = 0; i < 257; i++)
        put_toy("a");
    expect_error(read_all(), TVM_FORMAT_ERROR, "more than 256 modules");
}

static void test_damage(void **state) {
    struct tvm_blob out;
    (void)state;
    blob_begin(4);
    put_toy("factory");
    blob_put_text("_lib");
    put_toy("device");
    TREE(LIST(0, 1, 2, 2), LIST(1, 2));
    blob_end(0);
    for (size_t size = 0; size < blob_size; size++) /* the symbol is too small */
        expect_error(read_copy(size, &out), TVM_FORMAT_ERROR, "m.so: byte ");
    size_t whole = blob_size;
    for (uint64_t nbytes = 0; nbytes < whole - 8; nbytes++) { /* the blob says less than it has */
        memcpy(blob, &nbytes, 8);
        expect_error(read_copy(whole, &out), TVM_FORMAT_ERROR, "m.so: byte ");
    }
    memcpy(blob, LIST(UINT64_MAX), 8);
    expect_error(read_copy(whole, &out), TVM_FORMAT_ERROR, "bytes follow, and its symbol has room");
    blob_begin(UINT64_C(1) << 61);
    expect_error(read_all(), TVM_FORMAT_ERROR, "items cannot fit");
    blob_begin((UINT64_C(1) << 32) + 1); /* which is 1 in 32 bits, as in the next two */
    put_toy("a");
    expect_error(read_all(), TVM_FORMAT_ERROR, "items cannot fit");
    blob_begin(1);
    put_toy("a");
    blob_end(0);
    memcpy(blob, LIST((UINT64_C(1) << 32) + blob_size - 8), 8);
    expect_error(read_copy(blob_size, &out), TVM_FORMAT_ERROR, "bytes follow, and its symbol has");
    memcpy(blob + 16, LIST((UINT64_C(1) << 32) + 3), 8); /* the length of "toy" */
    expect_error(read_all(), TVM_FORMAT_ERROR, "items cannot fit");
    blob_begin(0);
    blob_put(0);
    expect_error(read_all(), TVM_FORMAT_ERROR, "8 bytes follow its last module");

    /* Every field with hostile values: no crash, and an error wherever it is refused. */
    static const uint64_t nasty[] = {
        0, 1, 2, 3, 255, UINT32_MAX, (UINT64_C(1) << 32) + 1, INT64_MAX, UINT64_MAX};
    blob_begin(4);
    put_toy("factory");
    blob_put_text("_lib");
    put_toy("device");
    TREE(LIST(0, 1, 2, 2), LIST(1, 2));
    blob_end(0);
    for (size_t at = 0; at + 8 <= blob_size; at++)
        for (size_t i = 0; i < COUNT(nasty); i++) {
            uint64_t old;
            memcpy(&old, blob + at, 8);
            memcpy(blob + at, &nasty[i], 8);
            if (read_copy(blob_size, &out) == 0) {
                tvm_blob_free(&out);
            } else {
                struct tvm_error *error = tvm_error_take();
                assert_non_null(error);
                tvm_object_release(&error->object);
            }
            memcpy(blob + at, &old, 8);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_no_tree), LEAKS_TEST(test_tree),      LEAKS_TEST(test_ffi),
        LEAKS_TEST(test_unknown), LEAKS_TEST(test_bad_trees), LEAKS_TEST(test_many_branches),
        LEAKS_TEST(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
