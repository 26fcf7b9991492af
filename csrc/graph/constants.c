/* Modules of constants for external code, and the mark of models for the AOT executor. */
#include "graph/graph.h"

#include "base/container.h"
#include "base/threads.h"
#include "graph/params.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct const_loader {
    struct tvm_module module;
    struct tvm_graph_weights *weights;       /* owned; NULL: none */
    struct tvm_graph_param_list *symbols;    /* owned; names of functions only */
    struct tvm_graph_param_list **constants; /* owned; by symbol: names of what it wants */
    bool *ready;                             /* by symbol: it got them */
    pthread_mutex_t mutex;                   /* recursive: an init function may look functions up */
};

static void const_loader_destroy(struct tvm_module *self) {
    struct const_loader *loader = (struct const_loader *)self;
    for (size_t i = 0; loader->constants && i < loader->symbols->names.count; i++)
        tvm_object_release((struct tvm_object *)loader->constants[i]);
    free(loader->constants);
    free(loader->ready);
    tvm_object_release((struct tvm_object *)loader->symbols);
    tvm_object_release((struct tvm_object *)loader->weights);
    pthread_mutex_destroy(&loader->mutex);
}

/* Reads what one symbol wants, which must be there. */
static int read_constants(struct tvm_reader *reader, struct const_loader *loader, size_t index) {
    if (tvm_graph_params_read_names(reader, &loader->constants[index]))
        return -1;
    const struct tvm_graph_names *names = &loader->constants[index]->names;
    for (size_t k = 0; k < names->count; k++)
        if (!loader->weights || !tvm_graph_weights_has(loader->weights, names->names[k]))
            return tvm_reader_fail(reader,
                                   "function %.200s wants a constant %.200s, which is not there",
                                   loader->symbols->names.names[index].data, names->names[k].data);
    return 0;
}

static int read_const_loader(struct tvm_reader *reader, struct const_loader *loader) {
    uint64_t lists;
    if (tvm_graph_weights_read(reader, false, &loader->weights) ||
        tvm_graph_params_read_names(reader, &loader->symbols) ||
        tvm_read_u64(reader, "number of symbols", &lists))
        return -1;
    size_t count = loader->symbols->names.count;
    if (lists != count)
        return tvm_reader_fail(reader, "%llu lists of constants for %zu symbols",
                               (unsigned long long)lists, count);
    loader->constants = calloc(count + 1, sizeof(*loader->constants));
    loader->ready = calloc(count + 1, sizeof(*loader->ready));
    if (!loader->constants || !loader->ready)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < count; i++)
        if (read_constants(reader, loader, i))
            return -1;
    return 0;
}

static int const_loader_load(struct tvm_reader *reader, struct tvm_module **out) {
    struct const_loader *loader = tvm_module_alloc(sizeof(*loader), &tvm_const_loader_kind);
    if (!loader)
        return -1;
    tvm_mutex_init_recursive(&loader->mutex);
    if (read_const_loader(reader, loader)) {
        tvm_object_release(&loader->module.object);
        return -1;
    }
    *out = &loader->module;
    return 0;
}

/* Calls init with an Array of the constants called names. */
static int give(struct const_loader *loader, const struct tvm_graph_names *names,
                struct tvm_function *init) {
    struct tvm_graph_params *params = NULL;
    struct tvm_array *array;
    struct tvm_value result;
    if (loader->weights &&
        tvm_graph_weights_place(loader->weights, NULL, (DLDevice){kDLCPU, 0}, &params))
        return -1;
    int status = tvm_array_new(names->count, &array);
    if (status == 0) {
        for (size_t i = 0; i < names->count; i++) {
            struct tvm_tensor *tensor = tvm_graph_params_find(params, names->names[i]);
            tvm_object_retain(&tensor->object);
            array->items[array->size++] = tvm_from_object(tensor);
        }
        struct tvm_value argument = tvm_from_object(array);
        status = tvm_function_call(init, &argument, 1, &result);
        if (status == 0 && result.type_index == TVM_TYPE_INT && result.v_int != 0)
            status = tvm_raise(TVM_RUNTIME_ERROR, "it returned %lld", (long long)result.v_int);
        tvm_value_clear(&result);
        tvm_object_release(&array->object);
    }
    tvm_object_release((struct tvm_object *)params);
    return status;
}

/* Calls __init_<symbol> of the first import that has it. */
static int initialize(struct const_loader *loader, size_t index) {
    struct tvm_function *init = NULL;
    char name[512];
    int status, length = snprintf(name, sizeof(name), "__init_%s",
                                  loader->symbols->names.names[index].data);
    if ((size_t)length >= sizeof(name))
        return 0; /* no function is called so */
    status = tvm_module_get_imported(&loader->module, name, false, &init);
    if (status == 0 && init && (status = give(loader, &loader->constants[index]->names, init)))
        tvm_raise_context("%s", name);
    tvm_object_release((struct tvm_object *)init);
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
    for (size_t i = 0; i < loader->symbols->names.count && status == 0; i++) {
        if (loader->ready[i] || strcmp(loader->symbols->names.names[i].data, name) != 0)
            continue;
        loader->ready[i] = true; /* init may ask for it */
        status = initialize(loader, i);
        loader->ready[i] = status == 0;
    }
    pthread_mutex_unlock(&loader->mutex);
    if (status || tvm_module_get_method(self, methods, name, out))
        return -1;
    return *out ? 0 : tvm_module_get_imported(self, name, false, out);
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
