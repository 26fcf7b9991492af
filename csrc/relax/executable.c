/* Reading executables. What is checked here the interpreter does not check again. */
#include "relax/vm.h"

#include "base/checked.h"
#include "relax/decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC_V1 UINT64_C(0xD225DE2F4214151D) /* TVM 0.22: without memory scopes */
#define MAGIC_V2 UINT64_C(0xD225DE2F4214151E)
#define TENSOR_MAGIC UINT64_C(0xDD5E40F096B4A13F)
#define VERSION "0.14"

/* The least that things take in a file. */
enum { MIN_FUNCTION = 4 + 8 + 4 * 8 + 8, MIN_STRING = 8, MIN_CONSTANT = 4 + 4, MIN_SCOPE = 16 };

enum { MAX_REGISTERS = 1 << 20, MAX_COUNT = 1 << 24, FROM_FILE = 1 << 15 };

static void executable_destroy(struct tvm_module *self) {
    struct tvm_relax_executable *executable = (struct tvm_relax_executable *)self;
    for (uint32_t i = 0; executable->functions && i < executable->function_count; i++) {
        struct vm_function *function = &executable->functions[i];
        for (uint32_t j = 0; function->infos && j <= function->param_count; j++) {
            free((void *)(uintptr_t)function->infos[j].name.data);
            free((void *)(uintptr_t)function->infos[j].shape);
        }
        free(function->infos);
        tvm_vm_results_free(function);
        free(function->name);
    }
    tvm_vm_constants_free(executable);
    pthread_mutex_destroy(&executable->mutex);
    for (uint32_t i = 0; executable->literals && i < executable->literal_count; i++)
        tvm_value_clear(&executable->literals[i]);
    free(executable->functions);
    free(executable->callable);
    free(executable->by_name);
    free(executable->code);
    free(executable->args);
    free(executable->literals);
}

/* A count of items, each with item_size bytes at least. */
static int read_count(struct tvm_reader *reader, const char *what, size_t item_size,
                      uint32_t *out) {
    size_t count;
    if (tvm_read_count(reader, what, item_size, &count))
        return -1;
    if (count > MAX_COUNT) {
        tvm_reader_fail(reader, "%s: %zu are too many", what, count);
        return -1; /* a constant, so that the compiler sees *out set where the result is 0 */
    }
    *out = (uint32_t)count;
    return 0;
}

/* A string as a C string, to be freed. */
static int read_text(struct tvm_reader *reader, const char *what, struct tvm_bytes *out) {
    struct tvm_bytes text;
    if (tvm_read_string(reader, what, &text))
        return -1;
    if (text.size && memchr(text.data, 0, text.size))
        return tvm_reader_fail(reader, "%s: it holds a NUL byte", what);
    char *copy = strndup(text.size ? text.data : "", text.size);
    if (!copy)
        return tvm_raise_out_of_memory();
    *out = (struct tvm_bytes){copy, text.size};
    return 0;
}

/* Functions */

/* Names of parameters, which packed functions do not have. */
static int read_param_names(struct tvm_reader *reader, struct vm_function *function) {
    size_t count;
    if (tvm_read_count(reader, "parameters of a function", MIN_STRING, &count))
        return -1;
    if (count != function->param_count)
        return tvm_reader_fail(reader, "function %s has %zu names for %u parameters",
                               function->name, count, function->param_count);
    if (function->kind == VM_PACKED)
        return 0;
    function->infos = calloc((size_t)function->param_count + 1, sizeof(*function->infos));
    if (!function->infos)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i <= function->param_count; i++)
        function->infos[i] = (struct tvm_relax_info){.annotation = {"", 0}, .ndim = -1};
    for (size_t i = 0; i < count; i++)
        if (read_text(reader, "name of a parameter", &function->infos[i].name))
            return -1;
    return 0;
}

static int check_function(struct tvm_reader *reader, struct vm_function *function,
                          const int64_t numbers[4], struct decode_range *range) {
    int64_t param_count = numbers[2], register_count = numbers[3];
    if (function->kind == VM_PACKED) {
        if (strncmp(function->name, "__vmtir__", 9) == 0)
            return tvm_reader_fail(reader, "%s is no function to be called by name",
                                   function->name);
        return 0;
    }
    if (register_count < 0 || register_count > MAX_REGISTERS || param_count < 0 ||
        param_count > register_count - (function->kind == VM_TIR))
        return tvm_reader_fail(reader, "function %s has %lld parameters and %lld registers",
                               function->name, (long long)param_count, (long long)register_count);
    function->param_count = (uint32_t)param_count;
    function->register_count = (uint32_t)register_count;
    *range = (struct decode_range){numbers[0], numbers[1]};
    return 0;
}

static int read_function(struct tvm_reader *reader, struct vm_function *function,
                         struct decode_range *range) {
    int64_t numbers[4]; /* first instruction, behind the last, parameters, registers */
    int32_t kind;
    struct tvm_bytes name;
    if (tvm_read_i32(reader, "kind of a function", &kind))
        return -1;
    if (kind < VM_PACKED || kind > VM_TIR)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: byte %zu: a function of kind %d, which this build does not know",
                         reader->name, reader->pos, kind);
    function->kind = (enum vm_kind)kind;
    if (read_text(reader, "name of a function", &name))
        return -1;
    function->name = (char *)(uintptr_t)name.data;
    for (int i = 0; i < 4; i++)
        if (tvm_read_i64(reader, "numbers of a function", &numbers[i]))
            return -1;
    if (check_function(reader, function, numbers, range))
        return -1;
    return read_param_names(reader, function);
}

void tvm_vm_names_add(struct vm_names *names, const char *name) {
    enum { MOST = 8 };
    if (++names->count <= MOST && names->used < sizeof(names->text))
        names->used +=
            (size_t)snprintf(names->text + names->used, sizeof(names->text) - names->used,
                             "%s%.80s", names->used ? ", " : "", name);
    else if (names->count == MOST + 1 && names->used < sizeof(names->text))
        snprintf(names->text + names->used, sizeof(names->text) - names->used, " …");
}

/* Functions that TVM's compiler calls and only its Python package has. */
static int refuse_python(const struct tvm_reader *reader,
                         const struct tvm_relax_executable *executable) {
    struct vm_names names = {0};
    for (uint32_t i = 0; i < executable->function_count; i++) {
        const struct vm_function *function = &executable->functions[i];
        if (function->kind == VM_PACKED && (strncmp(function->name, "relax.run.", 10) == 0 ||
                                            strcmp(function->name, "vm.builtin.call_py_func") == 0))
            tvm_vm_names_add(&names, function->name);
    }
    if (names.count == 0)
        return 0;
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: the model calls %s, which exist%s only in Python: compile it without %s",
                     reader->name, names.text, names.count == 1 ? "s" : "",
                     names.count == 1 ? "that function" : "those functions");
}

static int compare_names(const void *a, const void *b) {
    const struct vm_function *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static int sort_functions(const struct tvm_reader *reader,
                          struct tvm_relax_executable *executable) {
    uint32_t count = executable->function_count;
    struct vm_function **sorted = calloc((size_t)count + 1, sizeof(struct vm_function *));
    executable->by_name = sorted;
    if (!sorted)
        return tvm_raise_out_of_memory();
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &executable->functions[i];
    qsort(sorted, count, sizeof(struct vm_function *), compare_names);
    for (uint32_t i = 1; i < count; i++)
        if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
            return tvm_reader_fail(reader, "two functions are called %s", sorted[i]->name);
    return 0;
}

static int compare_name(const void *key, const void *item) {
    const struct tvm_bytes *name = key;
    const struct vm_function *const *function = item;
    size_t size = strnlen((*function)->name, name->size + 1); /* a forged one may be megabytes */
    int order = memcmp(name->data, (*function)->name, name->size < size ? name->size : size);
    return order ? order : (name->size > size) - (name->size < size);
}

struct vm_function *tvm_vm_find_function(const struct tvm_relax_executable *executable,
                                         struct tvm_bytes name) {
    struct vm_function **found = bsearch(&name, executable->by_name, executable->function_count,
                                         sizeof(struct vm_function *), compare_name);
    return found ? *found : NULL;
}

static int read_functions(struct tvm_reader *reader, struct tvm_relax_executable *executable,
                          struct decode_range **ranges) {
    uint32_t count;
    if (read_count(reader, "functions", MIN_FUNCTION, &count))
        return -1;
    executable->functions = calloc((size_t)count + 1, sizeof(*executable->functions));
    executable->callable = calloc((size_t)count + 1, sizeof(*executable->callable));
    *ranges = calloc((size_t)count + 1, sizeof(**ranges));
    if (!executable->functions || !executable->callable || !*ranges)
        return tvm_raise_out_of_memory();
    executable->function_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct vm_function *function = &executable->functions[i];
        if (read_function(reader, function, &(*ranges)[i]))
            return -1;
        if (function->kind == VM_PACKED)
            continue;
        function->callable = executable->callable_count++;
        executable->callable[function->callable] = i;
    }
    return sort_functions(reader, executable);
}

/* Memory scopes name places that a CPU does not have. */
static int read_scopes(struct tvm_reader *reader) {
    uint32_t count;
    if (read_count(reader, "memory scopes", MIN_SCOPE, &count))
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        int64_t constant;
        struct tvm_bytes scope;
        if (tvm_read_i64(reader, "constant of a memory scope", &constant) ||
            tvm_read_string(reader, "memory scope", &scope))
            return -1;
        if (scope.size != 6 || memcmp(scope.data, "global", 6) != 0)
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: constant %lld lives in memory of scope \"%.*s\": compile the "
                             "model for a CPU (target \"llvm\")",
                             reader->name, (long long)constant,
                             (int)(scope.size < 40 ? scope.size : 40), scope.data);
    }
    return 0;
}

/* Constants */

/* Copies the next size bytes. Large ones are read from the file: mapped pages that are touched
 * would stay in memory beside the copy. */
static int read_data(struct tvm_reader *reader, const char *what, void *out, size_t size) {
    size_t start = reader->pos;
    if (tvm_read_skip(reader, what, size))
        return -1;
    if (reader->file)
        return tvm_read_file(reader->name, reader->file->fd, reader->file->offset + start, out,
                             size);
    if (reader->origin && reader->origin->fd >= 0 && size >= FROM_FILE)
        return tvm_read_file(reader->name, reader->origin->fd, reader->origin->offset + start, out,
                             size);
    if (size)
        memcpy(out, reader->data + start, size);
    return 0;
}

static int read_dtype(struct tvm_reader *reader, bool old_bool, DLDataType *out) {
    if (tvm_read_u8(reader, "dtype code", &out->code) ||
        tvm_read_u8(reader, "dtype bits", &out->bits) ||
        tvm_read_u16(reader, "dtype lanes", &out->lanes))
        return -1;
    if (old_bool && out->code == TVM_DTYPE_UINT && out->bits == 1)
        *out = (DLDataType){TVM_DTYPE_BOOL, 8, out->lanes};
    return 0;
}

static int read_tensor(struct tvm_reader *reader, bool old_bool, struct tvm_value *out) {
    uint64_t magic, reserved;
    int32_t device_type, device_id, ndim;
    int64_t shape[TVM_MAX_NDIM], stored;
    DLDataType dtype;
    size_t nbytes;
    if (tvm_read_u64(reader, "magic number of a tensor", &magic))
        return -1;
    if (magic != TENSOR_MAGIC)
        return tvm_reader_fail(reader, "no tensor begins here: magic number %016llx",
                               (unsigned long long)magic);
    if (tvm_read_u64(reader, "reserved word", &reserved) ||
        tvm_read_i32(reader, "device type", &device_type) ||
        tvm_read_i32(reader, "device id", &device_id) || tvm_read_i32(reader, "ndim", &ndim))
        return -1;
    if (device_type != kDLCPU)
        return tvm_reader_fail(reader, "device type %d: only cpu (1) is stored in files",
                               device_type);
    if (ndim < 0 || ndim > TVM_MAX_NDIM)
        return tvm_reader_fail(reader, "%d dimensions: expected 0 to %d", ndim, TVM_MAX_NDIM);
    if (read_dtype(reader, old_bool, &dtype))
        return -1;
    for (int i = 0; i < ndim; i++)
        if (tvm_read_i64(reader, "shape", &shape[i]))
            return -1;
    if (tvm_read_i64(reader, "byte count", &stored))
        return -1;
    if (tvm_shape_nbytes(shape, ndim, dtype, &nbytes))
        return tvm_raise_context("%s: byte %zu", reader->name, reader->pos);
    if (stored < 0 || (uint64_t)stored != nbytes || nbytes > tvm_reader_left(reader))
        return tvm_reader_fail(reader, "a tensor of %zu bytes has %lld, and %zu follow", nbytes,
                               (long long)stored, tvm_reader_left(reader));
    struct tvm_tensor *tensor;
    if (tvm_tensor_empty(shape, ndim, dtype, (DLDevice){kDLCPU, 0}, &tensor))
        return -1;
    *out = tvm_from_object(tensor);
    return read_data(reader, "data", tensor->dl.data, nbytes);
}

static int read_shape(struct tvm_reader *reader, struct tvm_value *out) {
    uint32_t count;
    struct tvm_shape *shape;
    if (read_count(reader, "shape", sizeof(int64_t), &count))
        return -1;
    int64_t *dims = calloc((size_t)count + 1, sizeof(int64_t));
    if (!dims)
        return tvm_raise_out_of_memory();
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = tvm_read_i64(reader, "shape", &dims[i]);
    if (status == 0 && (status = tvm_shape_new(dims, count, &shape)) == 0)
        *out = tvm_from_object(shape);
    free(dims);
    return status;
}

static int read_string(struct tvm_reader *reader, struct tvm_value *out) {
    struct tvm_bytes text;
    if (tvm_read_string(reader, "string", &text))
        return -1;
    return tvm_value_from_text(TVM_TYPE_STR, text.data, text.size, out);
}

static int read_float(struct tvm_reader *reader, struct tvm_value *out) {
    uint64_t bits;
    if (tvm_read_u64(reader, "float", &bits))
        return -1;
    *out = (struct tvm_value){.type_index = TVM_TYPE_FLOAT, .v_int = (int64_t)bits};
    return 0;
}

static int read_constant(struct tvm_reader *reader, bool old_bool, struct tvm_value *out) {
    int32_t type;
    if (tvm_read_i32(reader, "type of a constant", &type))
        return -1;
    switch (type) {
    case TVM_TYPE_TENSOR:
        return read_tensor(reader, old_bool, out);
    case TVM_TYPE_SHAPE:
        return read_shape(reader, out);
    case TVM_TYPE_STR:
        return read_string(reader, out);
    case TVM_TYPE_FLOAT:
        return read_float(reader, out);
    case TVM_TYPE_INT:
        *out = tvm_int(0);
        return tvm_read_i64(reader, "int", &out->v_int);
    case TVM_TYPE_DTYPE:
        *out = (struct tvm_value){.type_index = TVM_TYPE_DTYPE};
        return read_dtype(reader, old_bool, &out->v_dtype);
    default:
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: byte %zu: a constant of type %d, which this build does not know",
                         reader->name, reader->pos - 4, type);
    }
}

static int read_constants(struct tvm_reader *reader, struct tvm_relax_executable *executable) {
    uint32_t count;
    if (read_count(reader, "constants", MIN_CONSTANT, &count))
        return -1;
    size_t room = (size_t)count + executable->function_count + 2;
    executable->literals = calloc(room, sizeof(struct tvm_value));
    if (!executable->literals)
        return tvm_raise_out_of_memory();
    executable->constant_count = count;
    executable->literal_count = (uint32_t)room;
    for (uint32_t i = 0; i < count; i++)
        if (read_constant(reader, executable->old_bool, &executable->literals[i]))
            return tvm_raise_context("constant %u", i);
    return 0;
}

/* Code */

static int read_words(struct tvm_reader *reader, const char *what, int64_t **out, uint32_t *count) {
    if (read_count(reader, what, sizeof(int64_t), count))
        return -1;
    *out = calloc((size_t)*count + 1, sizeof(int64_t));
    if (!*out)
        return tvm_raise_out_of_memory();
    for (uint32_t i = 0; i < *count; i++)
        if (tvm_read_i64(reader, what, &(*out)[i]))
            return -1;
    return 0;
}

static int read_code(struct tvm_reader *reader, struct tvm_relax_executable *executable,
                     const struct decode_range *ranges) {
    struct decode_words words = {0};
    int status = read_words(reader, "places of instructions", &words.offsets, &words.offset_count);
    if (status == 0)
        status = read_words(reader, "instructions", &words.data, &words.data_count);
    if (status == 0 && tvm_vm_decode(executable, &words, ranges))
        status = tvm_raise_context("%s", reader->name);
    free(words.offsets);
    free(words.data);
    return status;
}

static int read_header(struct tvm_reader *reader, uint64_t *magic) {
    struct tvm_bytes version;
    if (tvm_read_u64(reader, "magic number", magic))
        return -1;
    if (*magic != MAGIC_V1 && *magic != MAGIC_V2)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: byte %zu: a Relax executable of format %016llx: this build knows "
                         "%016llx and %016llx (TVM 0.22 to 0.27)",
                         reader->name, reader->pos - 8, (unsigned long long)*magic,
                         (unsigned long long)MAGIC_V1, (unsigned long long)MAGIC_V2);
    if (tvm_read_string(reader, "version", &version))
        return -1;
    if (tvm_bytes_is(version, VERSION))
        return 0;
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: a Relax executable of version \"%.*s\": this build knows " VERSION,
                     reader->name, (int)(version.size < 40 ? version.size : 40), version.data);
}

static int executable_read(struct tvm_reader *reader, struct tvm_relax_executable *executable) {
    struct decode_range *ranges = NULL;
    uint64_t magic;
    if (read_header(reader, &magic))
        return -1;
    executable->old_bool = magic == MAGIC_V1;
    int status = read_functions(reader, executable, &ranges);
    if (status == 0)
        status = refuse_python(reader, executable);
    if (status == 0 && magic == MAGIC_V2)
        status = read_scopes(reader);
    if (status == 0)
        status = read_constants(reader, executable);
    if (status == 0)
        status = read_code(reader, executable, ranges);
    if (status == 0)
        status = tvm_vm_infos_read(executable);
    if (status == 0)
        status = tvm_vm_results_read(executable);
    free(ranges);
    return status;
}

static int executable_load(struct tvm_reader *reader, struct tvm_module **out) {
    struct tvm_relax_executable *executable =
        tvm_module_alloc(sizeof(*executable), &tvm_relax_executable_kind);
    if (!executable)
        return -1;
    pthread_mutex_init(&executable->mutex, NULL);
    if (executable_read(reader, executable)) {
        tvm_object_release(&executable->module.object);
        return -1;
    }
    *out = &executable->module;
    return 0;
}

/* Its functions as a module */

static int load_executable(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    struct tvm_module *machine;
    if (tvm_call_check_count(call, 0, 0) ||
        tvm_relax_machine_new((struct tvm_relax_executable *)self, &machine))
        return -1;
    *result = tvm_from_object(machine);
    return 0;
}

static int has_function(struct tvm_module *self, const struct tvm_call *call,
                        struct tvm_value *result) {
    const struct tvm_relax_executable *executable = (struct tvm_relax_executable *)self;
    struct tvm_bytes name;
    if (tvm_call_check_count(call, 1, 1) || tvm_call_text(call, 0, "name", &name))
        return -1;
    *result = (struct tvm_value){.type_index = TVM_TYPE_BOOL,
                                 .v_int = tvm_vm_find_function(executable, name) != NULL};
    return 0;
}

static int executable_get_function(struct tvm_module *self, const char *name,
                                   struct tvm_function **out) {
    static const struct tvm_module_method methods[] = {
        {"vm_load_executable", load_executable}, {"has_function", has_function}, {NULL, NULL}};
    return tvm_module_get_method(self, methods, name, out);
}

const struct tvm_module_kind tvm_relax_executable_kind = {.key = "relax.VMExecutable",
                                                          .ffi = true,
                                                          .load = executable_load,
                                                          .get_function = executable_get_function,
                                                          .destroy = executable_destroy};

struct tvm_relax_executable *tvm_relax_executable_of(struct tvm_module *module) {
    return module->kind == &tvm_relax_executable_kind ? (struct tvm_relax_executable *)module
                                                      : NULL;
}

size_t tvm_relax_function_count(const struct tvm_relax_executable *executable) {
    return executable->callable_count;
}

static const struct vm_function *callable(const struct tvm_relax_executable *executable,
                                          size_t index) {
    return &executable->functions[executable->callable[index]];
}

struct tvm_bytes tvm_relax_function_name(const struct tvm_relax_executable *executable,
                                         size_t index) {
    const char *name = callable(executable, index)->name;
    return (struct tvm_bytes){name, strlen(name)};
}

size_t tvm_relax_param_count(const struct tvm_relax_executable *executable, size_t index) {
    return callable(executable, index)->param_count;
}

struct tvm_relax_info tvm_relax_param(const struct tvm_relax_executable *executable, size_t index,
                                      size_t param) {
    return callable(executable, index)->infos[param];
}

size_t tvm_relax_result_count(const struct tvm_relax_executable *executable, size_t index) {
    return callable(executable, index)->result_count;
}

struct tvm_relax_info tvm_relax_result(const struct tvm_relax_executable *executable, size_t index,
                                       size_t result) {
    return callable(executable, index)->results[result];
}

bool tvm_relax_find_function(const struct tvm_relax_executable *executable, const char *name,
                             size_t *index) {
    struct tvm_bytes text = {name, strlen(name)};
    const struct vm_function *function = tvm_vm_find_function(executable, text);
    if (!function || function->kind == VM_PACKED)
        return false;
    *index = function->callable;
    return true;
}
