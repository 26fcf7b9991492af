/* TVM's graph executor module: one session behind functions by name. */
#include "graph/executor.h"

#include "base/checked.h"
#include "base/container.h"
#include "graph/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tvm_graph_session *session_of(struct tvm_module *self) {
    return ((struct tvm_graph_executor *)self)->session;
}

static const struct tvm_graph_plan *plan_of(struct tvm_module *self) {
    return tvm_graph_session_plan(session_of(self));
}

/* Raises NotFoundError that lists the names there are. */
static int unknown_name(const struct tvm_graph_plan *plan, const struct tvm_call *call,
                        const char *role, struct tvm_bytes name) {
    bool inputs = strcmp(role, "input") == 0;
    size_t count = inputs ? tvm_graph_plan_input_count(plan) : tvm_graph_plan_output_count(plan);
    char list[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof(list) - 8; i++) {
        struct tvm_graph_tensor_info info =
            inputs ? tvm_graph_plan_input(plan, i) : tvm_graph_plan_output(plan, i);
        int length =
            snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", info.name.data);
        used += length > 0 ? (size_t)length : 0;
    }
    if (used >= sizeof(list) - 8)
        snprintf(list + sizeof(list) - 8, 8, "…");
    int shown = (int)(name.size < 200 ? name.size : 200);
    return tvm_raise(TVM_NOT_FOUND_ERROR, "%s: the graph has no %s called %.*s; it has: %s",
                     call->name, role, shown, name.data, list);
}

/* A key argument that is an index. */
static int index_argument(const struct tvm_call *call, int32_t argument, const char *what,
                          size_t *out) {
    int64_t index;
    if (tvm_call_int(call, argument, what, &index))
        return -1;
    if (index >= 0 && tvm_size_from((uint64_t)index, out))
        return 0;
    return tvm_raise(TVM_INDEX_ERROR, "%s: %s %" PRId64 " is out of range", call->name, what,
                     index);
}

/* An input by index or name; *found is false for a name that the graph has not. */
static int input_argument(struct tvm_module *self, const struct tvm_call *call, int32_t argument,
                          bool *found, size_t *out) {
    struct tvm_bytes name;
    *found = true;
    if (argument >= call->count || !tvm_value_text(&call->args[argument], &name))
        return index_argument(call, argument, "input", out);
    *found = tvm_graph_plan_find_input(plan_of(self), name, out);
    return 0;
}

/* The same where the graph must have it. */
static int known_input(struct tvm_module *self, const struct tvm_call *call, int32_t argument,
                       size_t *out) {
    bool found;
    struct tvm_bytes name;
    if (input_argument(self, call, argument, &found, out))
        return -1;
    if (found)
        return 0;
    tvm_value_text(&call->args[argument], &name);
    return unknown_name(plan_of(self), call, "input", name);
}

/* What keeps a tensor argument's memory alive: NULL for a borrowed DLTensor. */
static struct tvm_object *owner_of(const struct tvm_value *value) {
    return tvm_value_is_object(value) ? value->v_object : NULL;
}

/* Arguments key and key + 1: an input, and a tensor that is copied to it or bound. */
static int give_input(struct tvm_module *self, const struct tvm_call *call, int32_t key,
                      bool bind) {
    struct tvm_graph_session *session = session_of(self);
    size_t index;
    const DLTensor *value;
    if (known_input(self, call, key, &index) || tvm_call_tensor(call, key + 1, "value", &value))
        return -1;
    if (bind ? tvm_graph_session_bind_input(session, index, value, owner_of(&call->args[key + 1]))
             : tvm_graph_session_set_input(session, index, value))
        return tvm_raise_context("%s", call->name);
    return 0;
}

static int set_input(struct tvm_module *self, const struct tvm_call *call,
                     struct tvm_value *result) {
    (void)result;
    return tvm_call_check_count(call, 2, 2) ? -1 : give_input(self, call, 0, false);
}

static int set_input_zero_copy(struct tvm_module *self, const struct tvm_call *call,
                               struct tvm_value *result) {
    (void)result;
    return tvm_call_check_count(call, 2, 2) ? -1 : give_input(self, call, 0, true);
}

/* An output by index or, as TVM names them here, "node:index". */
static int numbered_output(struct tvm_module *self, const struct tvm_call *call, size_t *out) {
    const struct tvm_graph_plan *plan = plan_of(self);
    struct tvm_bytes key;
    if (call->count < 1 || !tvm_value_text(&call->args[0], &key))
        return index_argument(call, 0, "output", out);
    size_t colon = key.size, index = 0;
    while (colon > 0 && key.data[colon - 1] != ':')
        colon--;
    bool valid = colon > 0 && colon < key.size && key.size - colon < 10;
    for (size_t i = colon; valid && i < key.size; i++) {
        valid = key.data[i] >= '0' && key.data[i] <= '9';
        index = index * 10 + (size_t)(key.data[i] - '0');
    }
    if (valid && index < tvm_graph_plan_output_count(plan) &&
        tvm_graph_name_equal(tvm_graph_plan_output(plan, index).name,
                             (struct tvm_bytes){key.data, colon - 1})) {
        *out = index;
        return 0;
    }
    unknown_name(plan, call, "output", key);
    return tvm_raise_context("expected \"node:index\"");
}

static int set_output_zero_copy(struct tvm_module *self, const struct tvm_call *call,
                                struct tvm_value *result) {
    size_t index = 0;
    const DLTensor *value;
    (void)result;
    if (tvm_call_check_count(call, 2, 2) || numbered_output(self, call, &index) ||
        tvm_call_tensor(call, 1, "value", &value))
        return -1;
    if (tvm_graph_session_bind_output(session_of(self), index, value, owner_of(&call->args[1])))
        return tvm_raise_context("%s", call->name);
    return 0;
}

static int get_input(struct tvm_module *self, const struct tvm_call *call,
                     struct tvm_value *result) {
    bool found;
    size_t index;
    struct tvm_tensor *tensor;
    /* Clients of old pass a second argument, which means nothing. */
    if (tvm_call_check_count(call, 1, 2) || input_argument(self, call, 0, &found, &index))
        return -1;
    if (!found)
        return 0;
    if (tvm_graph_session_get_input(session_of(self), index, &tensor))
        return tvm_raise_context("get_input");
    *result = tvm_from_object(tensor);
    return 0;
}

static int get_output(struct tvm_module *self, const struct tvm_call *call,
                      struct tvm_value *result) {
    size_t index;
    const DLTensor *value;
    struct tvm_bytes name;
    struct tvm_tensor *tensor;
    if (tvm_call_check_count(call, 1, 2))
        return -1;
    if (tvm_value_text(&call->args[0], &name)) {
        if (!tvm_graph_plan_find_output(plan_of(self), name, &index))
            return unknown_name(plan_of(self), call, "output", name);
    } else if (index_argument(call, 0, "output", &index)) {
        return -1;
    }
    if (call->count == 2) {
        if (tvm_call_tensor(call, 1, "value", &value))
            return -1;
        return tvm_graph_session_copy_output(session_of(self), index, value)
                   ? tvm_raise_context("get_output")
                   : 0;
    }
    if (tvm_graph_session_get_output(session_of(self), index, &tensor))
        return tvm_raise_context("get_output");
    *result = tvm_from_object(tensor);
    return 0;
}

static int get_num_outputs(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    *result = tvm_int((int64_t)tvm_graph_plan_output_count(plan_of(self)));
    return tvm_call_check_count(call, 0, 0);
}

static int get_num_inputs(struct tvm_module *self, const struct tvm_call *call,
                          struct tvm_value *result) {
    *result = tvm_int((int64_t)tvm_graph_plan_input_count(plan_of(self)));
    return tvm_call_check_count(call, 0, 0);
}

static int get_input_index(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    struct tvm_bytes name;
    size_t index;
    if (tvm_call_check_count(call, 1, 1) || tvm_call_text(call, 0, "name", &name))
        return -1;
    *result = tvm_int(tvm_graph_plan_find_input(plan_of(self), name, &index) ? (int64_t)index : -1);
    return 0;
}

/* Of the AOT executor in TVM. */
static int get_input_name(struct tvm_module *self, const struct tvm_call *call,
                          struct tvm_value *result) {
    const struct tvm_graph_plan *plan = plan_of(self);
    size_t index = 0;
    if (tvm_call_check_count(call, 1, 1) || index_argument(call, 0, "input", &index))
        return -1;
    if (index >= tvm_graph_plan_input_count(plan))
        return tvm_raise(TVM_INDEX_ERROR, "get_input_name: input %zu is out of range", index);
    struct tvm_bytes name = tvm_graph_plan_input(plan, index).name;
    return tvm_value_from_text(TVM_TYPE_STR, name.data, name.size, result);
}

static int run(struct tvm_module *self, const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    if (tvm_call_check_count(call, 0, 0))
        return -1;
    return tvm_graph_session_run(session_of(self));
}

static int load_params(struct tvm_module *self, const struct tvm_call *call,
                       struct tvm_value *result) {
    struct tvm_graph_session *session = session_of(self);
    struct tvm_graph_params *params;
    struct tvm_bytes blob;
    (void)result;
    if (tvm_call_check_count(call, 1, 1) || tvm_call_text(call, 0, "params", &blob) ||
        tvm_graph_params_new("load_params", blob.data, blob.size, tvm_graph_session_device(session),
                             &params))
        return -1;
    int status = tvm_graph_session_set_params(session, params);
    tvm_object_release((struct tvm_object *)params);
    return status ? tvm_raise_context("load_params") : 0;
}

static const struct tvm_module_kind executor_kind;

static int share_params(struct tvm_module *self, const struct tvm_call *call,
                        struct tvm_value *result) {
    struct tvm_module *other;
    struct tvm_bytes blob;
    struct tvm_graph_param_list *names;
    (void)result;
    if (tvm_call_check_count(call, 2, 2) ||
        tvm_call_object(call, 0, "module", TVM_TYPE_MODULE, &other) ||
        tvm_call_text(call, 1, "params", &blob))
        return -1;
    if (other->kind != &executor_kind)
        return tvm_raise(
            TVM_TYPE_ERROR,
            "share_params: argument 0 (module): expected a graph executor, got a module "
            "of kind %s",
            other->kind->key);
    struct tvm_reader reader = {
        .data = (const unsigned char *)blob.data, .size = blob.size, .name = "share_params"};
    if (tvm_graph_params_read_head(&reader, &names))
        return -1;
    int status = tvm_graph_session_share_params(session_of(self), session_of(other), names);
    tvm_object_release((struct tvm_object *)names);
    return status ? tvm_raise_context("share_params") : 0;
}

/* An Array of copies of all outputs on device. */
static int copy_outputs(struct tvm_module *self, DLDevice device, struct tvm_value *result) {
    const struct tvm_graph_plan *plan = plan_of(self);
    size_t count = tvm_graph_plan_output_count(plan);
    struct tvm_array *array;
    if (tvm_array_new(count, &array))
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct tvm_graph_tensor_info info = tvm_graph_plan_output(plan, i);
        struct tvm_tensor *tensor;
        if (tvm_tensor_empty(info.shape, info.ndim, info.dtype, device, &tensor)) {
            tvm_object_release(&array->object);
            return -1;
        }
        array->items[array->size++] = tvm_from_object(tensor);
        if (tvm_graph_session_copy_output(session_of(self), i, &tensor->dl)) {
            tvm_object_release(&array->object);
            return -1;
        }
    }
    *result = tvm_from_object(array);
    return 0;
}

static int run_from_inputs(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    DLDevice device;
    if (call->count % 2)
        return tvm_raise(
            TVM_VALUE_ERROR,
            "run_from_inputs: expected device type, id and pairs of name and tensor, got "
            "%d arguments",
            call->count);
    if (tvm_call_device(call, 0, &device))
        return -1;
    for (int32_t i = 2; i < call->count; i += 2)
        if (give_input(self, call, i, false))
            return -1;
    return tvm_graph_session_run(session_of(self)) || copy_outputs(self, device, result) ? -1 : 0;
}

/* Adds a tensor's shape and dtype, under its name, to the two maps. */
static int add_info(struct tvm_map *shapes, struct tvm_map *dtypes,
                    struct tvm_graph_tensor_info info) {
    char text[TVM_DTYPE_TEXT_SIZE];
    struct tvm_shape *shape;
    struct tvm_value dtype;
    if (tvm_shape_new(info.shape, (size_t)info.ndim, &shape) ||
        tvm_map_set(shapes, info.name, tvm_from_object(shape)))
        return -1;
    tvm_dtype_print(info.dtype, text);
    if (tvm_value_from_text(TVM_TYPE_STR, text, strlen(text), &dtype))
        return -1;
    return tvm_map_set(dtypes, info.name, dtype);
}

static int fill_info(struct tvm_module *self, bool inputs, struct tvm_map *shapes,
                     struct tvm_map *dtypes) {
    const struct tvm_graph_plan *plan = plan_of(self);
    size_t count = inputs ? tvm_graph_plan_input_count(plan) : tvm_graph_plan_output_count(plan);
    for (size_t i = 0; i < count; i++) {
        if (inputs && tvm_graph_session_is_shared(session_of(self), i))
            continue;
        if (add_info(shapes, dtypes,
                     inputs ? tvm_graph_plan_input(plan, i) : tvm_graph_plan_output(plan, i)))
            return -1;
    }
    return 0;
}

/* {"shape": {name: Shape}, "dtype": {name: str}} of the outputs, or of the inputs without those
 * that parameters give. */
static int get_info(struct tvm_module *self, bool inputs, struct tvm_value *result) {
    const struct tvm_graph_plan *plan = plan_of(self);
    size_t count = inputs ? tvm_graph_plan_input_count(plan) : tvm_graph_plan_output_count(plan);
    struct tvm_map *info, *shapes, *dtypes;
    if (tvm_map_new(2, &info))
        return -1;
    *result = tvm_from_object(info);
    if (tvm_map_new(count, &shapes) == 0 &&
        tvm_map_set(info, (struct tvm_bytes){"shape", 5}, tvm_from_object(shapes)) == 0 &&
        tvm_map_new(count, &dtypes) == 0 &&
        tvm_map_set(info, (struct tvm_bytes){"dtype", 5}, tvm_from_object(dtypes)) == 0 &&
        fill_info(self, inputs, shapes, dtypes) == 0)
        return 0;
    tvm_value_clear(result);
    return -1;
}

static int get_input_info(struct tvm_module *self, const struct tvm_call *call,
                          struct tvm_value *result) {
    (void)call;
    return get_info(self, true, result);
}

static int get_output_info(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    (void)call;
    return get_info(self, false, result);
}

static int get_function(struct tvm_module *self, const char *name, struct tvm_function **out) {
    static const struct tvm_module_method methods[] = {
        {"set_input", set_input},
        {"set_input_zero_copy", set_input_zero_copy},
        {"set_output_zero_copy", set_output_zero_copy},
        {"get_input", get_input},
        {"get_output", get_output},
        {"get_num_outputs", get_num_outputs},
        {"get_num_inputs", get_num_inputs},
        {"get_input_index", get_input_index},
        {"get_input_name", get_input_name},
        {"get_input_info", get_input_info},
        {"get_output_info", get_output_info},
        {"run", run},
        {"run_from_inputs", run_from_inputs},
        {"load_params", load_params},
        {"share_params", share_params},
        {NULL, NULL},
    };
    *out = NULL;
    if (((struct tvm_graph_executor *)self)->is_debug &&
        tvm_graph_debug_get_function(self, name, out))
        return -1;
    return *out ? 0 : tvm_module_get_method(self, methods, name, out);
}

static void executor_destroy(struct tvm_module *self) {
    tvm_object_release((struct tvm_object *)session_of(self));
}

static const struct tvm_module_kind executor_kind = {
    .key = "GraphExecutor",
    .get_function = get_function,
    .destroy = executor_destroy,
};

int tvm_graph_executor_make(struct tvm_graph_session *session, bool is_debug, bool in_microseconds,
                            struct tvm_module **out) {
    struct tvm_graph_executor *executor = tvm_module_alloc(sizeof(*executor), &executor_kind);
    if (!executor)
        return -1;
    tvm_object_retain(&session->object);
    executor->session = session;
    executor->is_debug = is_debug;
    executor->in_microseconds = in_microseconds;
    *out = &executor->module;
    return 0;
}
