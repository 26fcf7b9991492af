/* Modules of constants for external code, and the mark of models for the AOT executor. */
#include "graph/factory.h"

#include "base/container.h"
#include "graph/params.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A function and the constants that its module's init function wants. */
struct symbol {
    char *name;
    struct tvm_bytes *constants; /* names, in one block with the texts */
    size_t count;
    bool ready;
};

struct const_loader {
    struct tvm_module module;
    struct tvm_graph_weights *weights; /* owned; NULL: none */
    struct symbol *symbols;
    size_t count;
    pthread_mutex_t mutex; /* recursive: an init function may look functions up */
};

static void const_loader_destroy(struct tvm_module *self) {
    struct const_loader *loader = (struct const_loader *)self;
    for (size_t i = 0; i < loader->count; i++) {
        free(loader->symbols[i].name);
        free(loader->symbols[i].constants);
    }
    free(loader->symbols);
    tvm_object_release((struct tvm_object *)loader->weights);
    pthread_mutex_destroy(&loader->mutex);
}

/* Reads names into one block that also holds the texts. */
static int read_names(struct tvm_reader *reader, struct tvm_bytes **out, size_t *out_count) {
    size_t count, start = reader->pos;
    struct tvm_bytes name;
    if (tvm_read_count(reader, "number of names", sizeof(uint64_t), &count))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (tvm_read_string(reader, "name", &name))
            return -1;
    size_t head = count * sizeof(name), texts = reader->pos - start; /* less than 3 × the data */
    struct tvm_bytes *names = malloc(head + texts);
    if (!names)
        return tvm_raise_out_of_memory(head + texts);
    memcpy((char *)names + head, reader->data + start, texts);
    struct tvm_reader copy = {
        .data = (unsigned char *)names + head, .size = texts, .pos = 8, .name = reader->name};
    for (size_t i = 0; i < count; i++)
        (void)tvm_read_string(&copy, "name", &names[i]); /* it could be read before */
    *out = names;
    *out_count = count;
    return 0;
}

static int read_symbols(struct tvm_reader *reader, struct const_loader *loader) {
    struct tvm_bytes *names;
    size_t count;
    uint64_t lists;
    if (read_names(reader, &names, &count))
        return -1;
    loader->symbols = calloc(count + 1, sizeof(*loader->symbols));
    int status = loader->symbols ? tvm_read_u64(reader, "number of symbols", &lists)
                                 : tvm_raise_out_of_memory(count * sizeof(*loader->symbols));
    if (status == 0 && lists != count)
        status = tvm_reader_fail(reader, "%llu lists of constants for %zu symbols",
                                 (unsigned long long)lists, count);
    for (size_t i = 0; i < count && status == 0; i++) {
        struct symbol *symbol = &loader->symbols[loader->count++];
        symbol->name = strndup(names[i].data, names[i].size);
        status = symbol->name ? read_names(reader, &symbol->constants, &symbol->count)
                              : tvm_raise_out_of_memory(names[i].size);
        for (size_t k = 0; k < symbol->count && status == 0; k++)
            if (!loader->weights || !tvm_graph_weights_has(loader->weights, symbol->constants[k]))
                status = tvm_reader_fail(
                    reader,
                    "function %.200s wants a constant %.*s, which is "
                    "not there",
                    symbol->name,
                    (int)(symbol->constants[k].size < 200 ? symbol->constants[k].size : 200),
                    symbol->constants[k].data);
    }
    free(names);
    return status;
}

static int const_loader_load(struct tvm_reader *reader, struct tvm_module **out) {
    struct const_loader *loader = tvm_module_alloc(sizeof(*loader), &tvm_const_loader_kind);
    pthread_mutexattr_t recursive;
    if (!loader)
        return -1;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&loader->mutex, &recursive);
    pthread_mutexattr_destroy(&recursive);
    if (tvm_graph_read_weights(reader, false, &loader->weights) || read_symbols(reader, loader)) {
        tvm_object_release(&loader->module.object);
        return -1;
    }
    *out = &loader->module;
    return 0;
}

/* An Array of the constants of symbol. */
static int gather(const struct const_loader *loader, const struct symbol *symbol,
                  struct tvm_array **out) {
    struct tvm_graph_params *params = NULL;
    if (loader->weights &&
        tvm_graph_weights_place(loader->weights, NULL, (DLDevice){kDLCPU, 0}, &params))
        return -1;
    int status = tvm_array_new(symbol->count, out);
    for (size_t i = 0; i < symbol->count && status == 0; i++) {
        struct tvm_tensor *tensor = tvm_graph_params_find(params, symbol->constants[i]);
        tvm_object_retain(&tensor->object);
        (*out)->items[(*out)->size++] = tvm_from_object(tensor);
    }
    tvm_object_release((struct tvm_object *)params);
    return status;
}

/* Calls __init_<symbol> of the first import that has it. */
static int initialize(struct const_loader *loader, struct symbol *symbol) {
    struct tvm_function *init = NULL;
    struct tvm_array *array;
    struct tvm_value result;
    size_t size = strlen("__init_") + strlen(symbol->name) + 1;
    char *name = malloc(size);
    if (!name)
        return tvm_raise_out_of_memory(size);
    snprintf(name, size, "__init_%s", symbol->name);
    int status = 0;
    for (size_t i = 0; i < loader->module.import_count && status == 0 && !init; i++)
        status = tvm_module_get_function(loader->module.imports[i], name, false, &init);
    if (status == 0 && init && (status = gather(loader, symbol, &array)) == 0) {
        struct tvm_value argument = tvm_from_object(array);
        status = tvm_function_call(init, &argument, 1, &result);
        if (status == 0 && result.type_index == TVM_TYPE_INT && result.v_int != 0)
            status = tvm_raise(TVM_RUNTIME_ERROR, "it returned %lld", (long long)result.v_int);
        if (status)
            tvm_raise_context("%s", name);
        tvm_value_clear(&result);
        tvm_object_release(&array->object);
    }
    if (init)
        tvm_object_release(&init->object);
    free(name);
    return status;
}

static int get_const_var_ndarray(struct tvm_module *self, const struct tvm_call *call,
                                 struct tvm_value *result) {
    return tvm_call_check_count(call, 0, 0)
               ? -1
               : tvm_graph_weights_map(((struct const_loader *)self)->weights, result);
}

/* Before a function is handed out, the module that has it gets its constants. */
static int const_loader_function(struct tvm_module *self, const char *name,
                                 struct tvm_function **out) {
    static const struct tvm_module_method methods[] = {
        {"get_const_var_ndarray", get_const_var_ndarray}, {NULL, NULL}};
    struct const_loader *loader = (struct const_loader *)self;
    int status = 0;
    *out = NULL;
    pthread_mutex_lock(&loader->mutex);
    for (size_t i = 0; i < loader->count && status == 0; i++) {
        struct symbol *symbol = &loader->symbols[i];
        if (symbol->ready || strcmp(symbol->name, name) != 0)
            continue;
        symbol->ready = true; /* init may ask for it */
        status = initialize(loader, symbol);
        symbol->ready = status == 0;
    }
    pthread_mutex_unlock(&loader->mutex);
    if (status || tvm_module_get_method(self, methods, name, out))
        return -1;
    for (size_t i = 0; i < self->import_count && !*out; i++)
        if (tvm_module_get_function(self->imports[i], name, false, out))
            return -1;
    return 0;
}

/* Its get_metadata gives C++ objects; what is in them is had from the library's get_c_metadata. */
static int metadata_module_function(struct tvm_module *self, const char *name,
                                    struct tvm_function **out) {
    (void)self, (void)name;
    *out = NULL;
    return 0;
}

static int metadata_module_load(struct tvm_reader *reader, struct tvm_module **out) {
    (void)reader; /* nothing of its own */
    *out = tvm_module_alloc(sizeof(struct tvm_module), &tvm_metadata_module_kind);
    return *out ? 0 : -1;
}

const struct tvm_module_kind tvm_const_loader_kind = {
    .key = "const_loader",
    .load = const_loader_load,
    .get_function = const_loader_function,
    .destroy = const_loader_destroy,
};

/* As TVM 0.7 and 0.8 call it. */
const struct tvm_module_kind tvm_const_loader_old_kind = {
    .key = "metadata",
    .load = const_loader_load,
    .get_function = const_loader_function,
    .destroy = const_loader_destroy,
};

const struct tvm_module_kind tvm_metadata_module_kind = {
    .key = "metadata_module",
    .load = metadata_module_load,
    .get_function = metadata_module_function,
};
