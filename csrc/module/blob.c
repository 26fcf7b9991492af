#include "module/blob.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MODULES = 256 }; /* a handful is usual */

#define LIBRARY_KEY "_lib"
#define TREE_KEY "_import_tree"

static const struct tvm_module_kind *find_kind(struct tvm_bytes key, bool ffi) {
    for (const struct tvm_module_kind *const *kind = tvm_module_kinds; *kind; kind++)
        if ((*kind)->load && (*kind)->ffi == ffi && tvm_bytes_is(key, (*kind)->key))
            return *kind;
    return NULL;
}

#define FOR_GRAPH "compile it for the graph executor, with relay.build(…)"
#define FOR_RELAX "compile it with TVM 0.22 or newer"
#define FOR_CPU "compile the model for a CPU (target \"llvm\")"

/* Kinds that TVM has and this build may lack. */
static int refuse_kind(const char *name, struct tvm_bytes key) {
    static const struct {
        const char *key, *what;
    } known[] = {
        {"VMExecutable", "a model for Relay's virtual machine; " FOR_GRAPH},
        {"relay.Executable", "a model for Relay's virtual machine; " FOR_GRAPH},
        {"relax.Executable", "a Relax model of TVM 0.19 or older; " FOR_RELAX},
        {"relax.VMExecutable", "a Relax model of TVM 0.20 or older; " FOR_RELAX},
        {"static_library", "an object file that is not linked; use export_library(\"model.so\")"},
        {"opencl", "OpenCL kernels, and this program was built without OpenCL (tag noopencl)"},
        {"cuda", "CUDA kernels; " FOR_CPU},
        {"hip", "ROCm kernels; " FOR_CPU},
        {"hsaco", "ROCm kernels; " FOR_CPU},
        {"metal", "Metal kernels; " FOR_CPU},
        {"vulkan", "Vulkan kernels; " FOR_CPU},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (tvm_bytes_is(key, known[i].key))
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: holds a module of kind %s, which this build cannot run: it is %s",
                             name, known[i].key, known[i].what);
    char text[64];
    size_t size = key.size < sizeof(text) ? key.size : sizeof(text) - 1;
    for (size_t i = 0; i < size; i++)
        text[i] = key.data[i] >= ' ' && key.data[i] <= '~' ? key.data[i] : '?';
    text[size] = '\0';
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: holds a module of kind \"%s\", which this build cannot run: compile the "
                     "model for a CPU and without external code",
                     name, text);
}

static int read_numbers(struct tvm_reader *reader, const char *what, uint64_t **out,
                        size_t *count) {
    if (tvm_read_count(reader, what, sizeof(uint64_t), count))
        return -1;
    uint64_t *numbers = malloc((*count + 1) * sizeof(uint64_t)); /* bounded by the blob's size */
    if (!numbers)
        return tvm_raise_out_of_memory();
    *out = numbers;
    for (size_t i = 0; i < *count; i++)
        if (tvm_read_u64(reader, what, &numbers[i]))
            return -1;
    return 0;
}

struct parse {
    struct tvm_reader reader;
    struct tvm_blob *blob;
    size_t row_count;
    size_t edge_count;
};

static int read_tree(struct parse *parse) {
    struct tvm_blob *blob = parse->blob;
    if (blob->rows)
        return tvm_reader_fail(&parse->reader, "a second import tree");
    if (read_numbers(&parse->reader, "rows of the import tree", &blob->rows, &parse->row_count))
        return -1;
    return read_numbers(&parse->reader, "import tree", &blob->edges, &parse->edge_count);
}

/* ffi: the payload has a length before it. */
static int read_payload(struct parse *parse, const struct tvm_module_kind *kind, bool ffi) {
    struct tvm_reader *reader = &parse->reader;
    struct tvm_module **out = &parse->blob->modules[parse->blob->count];
    size_t length, end = reader->size;
    if (ffi) {
        if (tvm_read_count(reader, "size of a module", 1, &length))
            return -1;
        reader->size = reader->pos + length;
    }
    if (kind->load(reader, out))
        return -1;
    parse->blob->count++;
    if (ffi && tvm_reader_left(reader))
        return tvm_reader_fail(reader, "%zu bytes follow the module's last",
                               tvm_reader_left(reader));
    reader->size = end;
    return 0;
}

static int read_module(struct parse *parse, struct tvm_bytes key, bool ffi) {
    struct tvm_blob *blob = parse->blob;
    if (blob->count == MAX_MODULES)
        return tvm_reader_fail(&parse->reader, "more than %d modules", MAX_MODULES);
    if (tvm_bytes_is(key, LIBRARY_KEY)) {
        if (blob->place != SIZE_MAX)
            return tvm_reader_fail(&parse->reader, "the library stands in it twice");
        blob->place = blob->count;
        blob->modules[blob->count++] = NULL;
        return 0;
    }
    const struct tvm_module_kind *kind = find_kind(key, ffi);
    return kind ? read_payload(parse, kind, ffi) : refuse_kind(parse->reader.name, key);
}

/* Every module must hang on the first one, in a tree that can be walked. */
static int check_tree(const struct parse *parse) {
    const struct tvm_blob *blob = parse->blob;
    const struct tvm_reader *reader = &parse->reader;
    bool imported[MAX_MODULES] = {true};
    if (blob->place == blob->count)
        return tvm_reader_fail(reader, "it has an import tree without the library itself");
    if (parse->row_count != blob->count + 1 || blob->rows[0] != 0 ||
        blob->rows[blob->count] != parse->edge_count)
        return tvm_reader_fail(reader, "its import tree does not fit its %zu modules", blob->count);
    for (size_t i = 0; i < blob->count; i++)
        if (blob->rows[i] > blob->rows[i + 1])
            return tvm_reader_fail(reader, "row %zu of its import tree ends before it begins", i);
    for (size_t i = 0; i < blob->count; i++) {
        if (!imported[i]) /* all parents came before */
            return tvm_reader_fail(reader, "its module %zu is imported by none", i);
        for (uint64_t j = blob->rows[i]; j < blob->rows[i + 1]; j++) {
            uint64_t child = blob->edges[j];
            if (child <= i || child >= blob->count)
                return tvm_reader_fail(reader, "its module %zu imports module %llu of %zu", i,
                                       (unsigned long long)child, blob->count);
            imported[child] = true;
        }
    }
    return 0;
}

static int read_size(struct parse *parse) {
    struct tvm_reader *reader = &parse->reader;
    uint64_t nbytes;
    if (tvm_read_u64(reader, "size", &nbytes))
        return -1;
    if (nbytes > tvm_reader_left(reader))
        return tvm_reader_fail(reader, "it says %llu bytes follow, and its symbol has room for %zu",
                               (unsigned long long)nbytes, tvm_reader_left(reader));
    reader->size = reader->pos + (size_t)nbytes;
    parse->blob->modules = calloc(MAX_MODULES, sizeof(struct tvm_module *));
    return parse->blob->modules ? 0 : tvm_raise_out_of_memory();
}

static int read_end(const struct parse *parse) {
    const struct tvm_reader *reader = &parse->reader;
    struct tvm_blob *blob = parse->blob;
    if (tvm_reader_left(reader))
        return tvm_reader_fail(reader, "%zu bytes follow its last module", tvm_reader_left(reader));
    if (blob->place == SIZE_MAX)
        blob->place = blob->count;
    return blob->rows ? check_tree(parse) : 0;
}

static int read_entries(struct parse *parse) {
    struct tvm_reader *reader = &parse->reader;
    size_t count;
    if (read_size(parse) || tvm_read_count(reader, "modules", sizeof(uint64_t), &count))
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct tvm_bytes key;
        if (tvm_read_string(reader, "kind of a module", &key))
            return -1;
        if (tvm_bytes_is(key, TREE_KEY) ? read_tree(parse) : read_module(parse, key, false))
            return -1;
    }
    return read_end(parse);
}

static int read_ffi_entries(struct parse *parse) {
    if (read_size(parse) || read_tree(parse))
        return -1;
    for (size_t i = 0; i + 1 < parse->row_count; i++) {
        struct tvm_bytes key;
        if (tvm_read_string(&parse->reader, "kind of a module", &key) ||
            read_module(parse, key, true))
            return -1;
    }
    return read_end(parse);
}

static int read_blob(const char *name, const unsigned char *data, size_t size,
                     const struct tvm_reader_origin *origin, int (*read)(struct parse *parse),
                     struct tvm_blob *out) {
    struct parse parse = {.reader = {.data = data, .size = size, .name = name, .origin = origin},
                          .blob = out};
    *out = (struct tvm_blob){.place = SIZE_MAX};
    int status = read(&parse);
    if (status)
        tvm_blob_free(out);
    return status;
}

int tvm_blob_read(const char *name, const unsigned char *data, size_t size,
                  const struct tvm_reader_origin *origin, struct tvm_blob *out) {
    return read_blob(name, data, size, origin, read_entries, out);
}

int tvm_blob_read_ffi(const char *name, const unsigned char *data, size_t size,
                      const struct tvm_reader_origin *origin, struct tvm_blob *out) {
    return read_blob(name, data, size, origin, read_ffi_entries, out);
}

static struct tvm_module *module_at(const struct tvm_blob *blob, struct tvm_module *library,
                                    size_t index) {
    return index == blob->place ? library : blob->modules[index];
}

int tvm_blob_link(struct tvm_blob *blob, struct tvm_module *library, struct tvm_module **root) {
    struct tvm_module *top = blob->rows ? module_at(blob, library, 0) : library;
    for (size_t i = 0; i < blob->count; i++) {
        struct tvm_module *module = module_at(blob, library, i);
        if (!blob->rows && module != library && tvm_module_import(library, module))
            return -1;
        if (!blob->rows)
            continue;
        for (uint64_t j = blob->rows[i]; j < blob->rows[i + 1]; j++)
            if (tvm_module_import(module, module_at(blob, library, (size_t)blob->edges[j])))
                return -1;
    }
    tvm_object_retain(&top->object);
    *root = top;
    return 0;
}

void tvm_blob_free(struct tvm_blob *blob) {
    for (size_t i = 0; i < blob->count; i++)
        if (blob->modules[i])
            tvm_object_release(&blob->modules[i]->object);
    free(blob->modules);
    free(blob->rows);
    free(blob->edges);
    *blob = (struct tvm_blob){0};
}
