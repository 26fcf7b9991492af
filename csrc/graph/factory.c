/* Factory libraries: a graph (or AOT) model in one file with its library. */
#include "graph/factory.h"

#include "base/container.h"
#include "graph/executor.h"
#include "graph/params.h"

#include <stdlib.h>
#include <string.h>

static struct tvm_graph_factory *factory_from(struct tvm_module *self) {
    return (struct tvm_graph_factory *)self;
}

static void factory_destroy(struct tvm_module *self) {
    struct tvm_graph_factory *factory = factory_from(self);
    tvm_object_release((struct tvm_object *)factory->plan);
    tvm_object_release((struct tvm_object *)factory->weights);
    tvm_object_release((struct tvm_object *)atomic_load(&factory->aot_function));
    free(factory->json);
    free(factory->name);
}

/* Reading */

/* A copy, NUL-terminated. */
static int read_text(struct tvm_reader *reader, const char *what, char **out) {
    struct tvm_bytes text;
    if (tvm_read_string(reader, what, &text))
        return -1;
    if (memchr(text.data, '\0', text.size))
        return tvm_reader_fail(reader, "the %s holds a NUL", what);
    *out = malloc(text.size + 1);
    if (!*out)
        return tvm_raise_out_of_memory();
    memcpy(*out, text.data, text.size);
    (*out)[text.size] = '\0';
    return 0;
}

static int read_factory(struct tvm_reader *reader, bool has_graph,
                        struct tvm_graph_factory *factory) {
    if (has_graph &&
        (read_text(reader, "graph", &factory->json) ||
         tvm_graph_plan_new(reader->name, factory->json, strlen(factory->json), &factory->plan)))
        return -1;
    if (tvm_graph_weights_read(reader, true, &factory->weights) ||
        read_text(reader, "name of the model", &factory->name))
        return -1;
    return factory->plan && factory->weights
               ? tvm_graph_weights_check(factory->weights, factory->plan)
               : 0;
}

static int load(struct tvm_reader *reader, const struct tvm_module_kind *kind,
                struct tvm_module **out) {
    struct tvm_graph_factory *factory = tvm_module_alloc(sizeof(*factory), kind);
    if (!factory)
        return -1;
    if (read_factory(reader, kind != &tvm_aot_executor_factory_kind, factory)) {
        tvm_object_release(&factory->module.object);
        return -1;
    }
    *out = &factory->module;
    return 0;
}

static int graph_executor_load(struct tvm_reader *reader, struct tvm_module **out) {
    return load(reader, &tvm_graph_executor_factory_kind, out);
}

static int graph_runtime_load(struct tvm_reader *reader, struct tvm_module **out) {
    return load(reader, &tvm_graph_runtime_factory_kind, out);
}

static int aot_executor_load(struct tvm_reader *reader, struct tvm_module **out) {
    return load(reader, &tvm_aot_executor_factory_kind, out);
}

/* Making executors */

/* TVM looks functions up in a factory's first import, borrowed. NULL with an error raised when
 * there is none. */
static struct tvm_module *first_import(const struct tvm_graph_factory *factory) {
    struct tvm_module *import = tvm_module_import_at(&factory->module, 0);
    if (import)
        return import;
    tvm_raise(TVM_FORMAT_ERROR,
              "the factory of model \"%.200s\" imports no library, so that its functions cannot be "
              "found; export the model again",
              factory->name);
    return NULL;
}

int tvm_graph_factory_parts(struct tvm_graph_factory *factory, struct tvm_graph_plan **plan,
                            struct tvm_module **library) {
    struct tvm_module *first = first_import(factory);
    if (!first)
        return -1;
    if (factory->plan) {
        tvm_object_retain((struct tvm_object *)factory->plan);
        *plan = factory->plan;
        *library = first;
    } else {
        if (tvm_graph_aot_plan(first, plan))
            return -1;
        if (factory->weights && tvm_graph_weights_check(factory->weights, *plan)) {
            tvm_object_release((struct tvm_object *)*plan);
            return -1;
        }
        *library = &factory->module; /* it has the main function */
    }
    tvm_object_retain(&(*library)->object);
    return 0;
}

static int session_new(struct tvm_graph_factory *factory, const DLDevice *devices, size_t count,
                       struct tvm_graph_session **out) {
    struct tvm_graph_plan *plan;
    struct tvm_module *library;
    struct tvm_graph_params *params = NULL;
    if (tvm_graph_factory_parts(factory, &plan, &library))
        return -1;
    int status = 0;
    if (factory->weights)
        status = tvm_graph_weights_place_for(factory->weights, NULL, plan, devices, count, &params);
    if (status == 0)
        status = tvm_graph_session_new(plan, library, params, devices, count, NULL, out);
    tvm_object_release((struct tvm_object *)params);
    tvm_object_release((struct tvm_object *)plan);
    tvm_object_release(&library->object);
    return status;
}

/* Arguments from first on are devices. */
static int executor_new(struct tvm_module *self, const struct tvm_call *call, int32_t first,
                        bool is_debug, struct tvm_value *result) {
    DLDevice devices[TVM_GRAPH_MAX_DEVICES];
    struct tvm_graph_session *session;
    struct tvm_module *module;
    if (tvm_call_check_count(call, first + 1, first + TVM_GRAPH_MAX_DEVICES))
        return -1;
    for (int32_t i = first; i < call->count; i++) {
        if (call->args[i].type_index != TVM_TYPE_DEVICE)
            return tvm_raise(TVM_TYPE_ERROR, "%s: argument %d: expected a Device, got %s",
                             call->name, i, tvm_type_name(call->args[i].type_index));
        devices[i - first] = call->args[i].v_device;
    }
    if (session_new(factory_from(self), devices, (size_t)(call->count - first), &session))
        return tvm_raise_context("%s", call->name);
    int status = tvm_graph_executor_make(session, is_debug,
                                         self->kind == &tvm_graph_runtime_factory_kind, &module);
    tvm_object_release((struct tvm_object *)session);
    if (status == 0)
        *result = tvm_from_object(module);
    return status;
}

/* The function that is called as the model is. */
static int create(struct tvm_module *self, const struct tvm_call *call, struct tvm_value *result) {
    return executor_new(self, call, 0, false, result);
}

static int debug_create(struct tvm_module *self, const struct tvm_call *call,
                        struct tvm_value *result) {
    const char *expected = factory_from(self)->name;
    struct tvm_bytes name;
    if (tvm_call_text(call, 0, "name of the model", &name))
        return -1;
    if (!tvm_bytes_is(name, expected))
        return tvm_raise(TVM_NOT_FOUND_ERROR,
                         "debug_create: there is no model \"%.*s\": the library has \"%.200s\"",
                         (int)(name.size < 200 ? name.size : 200), name.data, expected);
    return executor_new(self, call, 1, true, result);
}

static int cuda_graph_create(struct tvm_module *self, const struct tvm_call *call,
                             struct tvm_value *result) {
    (void)self;
    return tvm_graph_executor_cuda_graph_create(call, result);
}

/* The parts of the model */

static int get_graph_json(struct tvm_module *self, const struct tvm_call *call,
                          struct tvm_value *result) {
    const char *json = factory_from(self)->json;
    if (tvm_call_check_count(call, 0, 0))
        return -1;
    return tvm_value_from_text(TVM_TYPE_STR, json, strlen(json), result);
}

static int get_graph_params(struct tvm_module *self, const struct tvm_call *call,
                            struct tvm_value *result) {
    return tvm_call_check_count(call, 0, 0)
               ? -1
               : tvm_graph_weights_map(factory_from(self)->weights, result);
}

/* A factory of the same model without parameters. */
static int remove_params(struct tvm_module *self, const struct tvm_call *call,
                         struct tvm_value *result) {
    const struct tvm_graph_factory *factory = factory_from(self);
    struct tvm_module *library = first_import(factory);
    if (!library || tvm_call_check_count(call, 0, 0))
        return -1;
    struct tvm_graph_factory *made = tvm_module_alloc(sizeof(*made), self->kind);
    if (!made)
        return -1;
    made->name = strdup(factory->name);
    made->json = factory->json ? strdup(factory->json) : NULL;
    made->plan = factory->plan;
    if (made->plan)
        tvm_object_retain((struct tvm_object *)made->plan);
    int status = !made->name || (factory->json && !made->json)
                     ? tvm_raise_out_of_memory()
                     : tvm_module_import(&made->module, library);
    if (status)
        tvm_object_release(&made->module.object);
    else
        *result = tvm_from_object(made);
    return status;
}

static int list_module_names(struct tvm_module *self, const struct tvm_call *call,
                             struct tvm_value *result) {
    const char *name = factory_from(self)->name;
    struct tvm_array *array;
    if (tvm_call_check_count(call, 0, 0) || tvm_array_new(1, &array))
        return -1;
    *result = tvm_from_object(array);
    if (tvm_value_from_text(TVM_TYPE_STR, name, strlen(name), &array->items[0])) {
        tvm_value_clear(result);
        return -1;
    }
    array->size = 1;
    return 0;
}

static int get_function(struct tvm_module *self, const char *name, struct tvm_function **out) {
    static const struct tvm_module_method maker[] = {{"default", create}, {NULL, NULL}};
    static const struct tvm_module_method methods[] = {
        {"debug_create", debug_create},           {"remove_params", remove_params},
        {"get_graph_json", get_graph_json},       {"get_graph_params", get_graph_params},
        {"cuda_graph_create", cuda_graph_create}, {NULL, NULL},
    };
    if (strcmp(name, factory_from(self)->name) == 0)
        return tvm_module_get_method(self, maker, "default", out);
    return tvm_module_get_method(self, methods, name, out);
}

static int aot_get_function(struct tvm_module *self, const char *name, struct tvm_function **out) {
    static const struct tvm_module_method maker[] = {{"default", create}, {NULL, NULL}};
    static const struct tvm_module_method methods[] = {
        {"list_module_names", list_module_names},
        {"remove_params", remove_params},
        {NULL, NULL},
    };
    if (strcmp(name, factory_from(self)->name) == 0)
        return tvm_module_get_method(self, maker, "default", out);
    if (tvm_module_get_method(self, methods, name, out))
        return -1;
    struct tvm_module *import = tvm_module_import_at(self, 0);
    return *out || !import
               ? 0
               : tvm_graph_aot_function(import, name, &factory_from(self)->aot_function, out);
}

const struct tvm_module_kind tvm_graph_executor_factory_kind = {
    .key = "GraphExecutorFactory",
    .load = graph_executor_load,
    .get_function = get_function,
    .destroy = factory_destroy,
};

const struct tvm_module_kind tvm_graph_runtime_factory_kind = {
    .key = "GraphRuntimeFactory",
    .load = graph_runtime_load,
    .get_function = get_function,
    .destroy = factory_destroy,
};

const struct tvm_module_kind tvm_aot_executor_factory_kind = {
    .key = "AotExecutorFactory",
    .load = aot_executor_load,
    .get_function = aot_get_function,
    .destroy = factory_destroy,
};

struct tvm_graph_factory *tvm_graph_factory_of(struct tvm_module *module) {
    return module->kind == &tvm_graph_executor_factory_kind ||
                   module->kind == &tvm_graph_runtime_factory_kind ||
                   module->kind == &tvm_aot_executor_factory_kind
               ? factory_from(module)
               : NULL;
}
