/* Models for the AOT executor (TVM 0.9 to 0.19): one compiled function runs all operators. Here
 * they are graphs with a single operator, so that sessions need not know. */
#include "base/checked.h"
#include "base/context.h"
#include "base/os.h"
#include "graph/factory.h"
#include "graph/params.h"
#include "graph/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the library's get_c_metadata returns (TVM's metadata_types.h). */
struct tensor_info {
    const char *name;
    const int64_t *shape;
    int64_t ndim;
    DLDataType dtype; /* classic code */
};

struct constant_info {
    const char *name;
    int64_t offset; /* in the buffer of all constants */
    int64_t size;
    const void *data; /* a tensor as params files have it */
};

struct metadata {
    int64_t version;
    const struct tensor_info *inputs;
    int64_t input_count;
    const struct tensor_info *outputs;
    int64_t output_count;
    const struct tensor_info *pools; /* scratch memory for each run */
    int64_t pool_count;
    const struct constant_info *constants;
    int64_t constant_count;
    const char *name; /* of the model */
};

enum { MAX_TENSORS = 1 << 16, MAX_POOLS = 64 };
#define MAIN_SUFFIX "___tvm_main__"

/* Whether a list is data of a loaded library. */
static bool is_list(const void *items, int64_t count, size_t item_size) {
    return count >= 0 && count <= MAX_TENSORS &&
           (count == 0 || tvm_os_is_image_data(items, (size_t)count * item_size));
}

static bool are_tensors(const struct tensor_info *infos, int64_t count) {
    if (!is_list(infos, count, sizeof(*infos)))
        return false;
    for (int64_t i = 0; i < count; i++)
        if (infos[i].ndim > TVM_MAX_NDIM || !is_list(infos[i].name, 1, 1) ||
            !is_list(infos[i].shape, infos[i].ndim, sizeof(int64_t)))
            return false;
    return true;
}

static int check_metadata(const struct metadata *metadata) {
    if (!is_list(metadata, 1, sizeof(*metadata)))
        return tvm_raise(TVM_FORMAT_ERROR, "get_c_metadata gives no data of the library");
    if (metadata->version != 1)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "the library's metadata is of version %" PRId64 ": only 1 is known",
                         metadata->version);
    const char *what =
        !is_list(metadata->name, 1, 1)                            ? "name"
        : !are_tensors(metadata->inputs, metadata->input_count)   ? "inputs"
        : !are_tensors(metadata->outputs, metadata->output_count) ? "outputs"
        : metadata->pool_count > MAX_POOLS || !are_tensors(metadata->pools, metadata->pool_count)
            ? "memory pools"
        : !is_list(metadata->constants, metadata->constant_count, sizeof(struct constant_info))
            ? "constants"
            : NULL;
    return what ? tvm_raise(TVM_FORMAT_ERROR, "the library's metadata is damaged: its %s", what)
                : 0;
}

static int read_metadata(struct tvm_module *library, const struct metadata **out) {
    struct tvm_function *function;
    struct tvm_value result;
    if (tvm_module_get_function(library, "get_c_metadata", true, &function))
        return -1;
    if (!function)
        return tvm_raise(TVM_FORMAT_ERROR,
                         "the library has no function get_c_metadata, which tells the inputs and "
                         "outputs of a model for the AOT executor");
    int status = tvm_function_call(function, NULL, 0, &result);
    tvm_object_release(&function->object);
    if (status)
        return tvm_raise_context("get_c_metadata");
    if (result.type_index == TVM_TYPE_OPAQUE_PTR) {
        *out = result.v_ptr;
        return check_metadata(*out);
    }
    status = tvm_raise(TVM_FORMAT_ERROR, "get_c_metadata: expected a pointer, got %s",
                       tvm_type_name(result.type_index));
    tvm_value_clear(&result);
    return status;
}

/* The plan */

static int set_entry(struct tvm_graph_plan *plan, uint32_t id, uint32_t storage,
                     const struct tensor_info *info) {
    struct tvm_graph_entry *entry = &plan->entries[id];
    int64_t *shape = tvm_graph_plan_alloc(plan, (size_t)info->ndim, sizeof(*shape));
    if (!shape)
        return -1;
    if (info->ndim)
        memcpy(shape, info->shape, (size_t)info->ndim * sizeof(*shape));
    entry->dtype = tvm_dtype_from_classic(info->dtype);
    entry->ndim = (int)info->ndim;
    entry->shape = shape;
    entry->storage = storage;
    if (tvm_shape_nbytes(shape, entry->ndim, entry->dtype, &entry->nbytes))
        return tvm_graph_format_error();
    plan->storages[storage].nbytes = entry->nbytes;
    plan->storages[storage].device_type = kDLCPU;
    return 0;
}

static int set_node(struct tvm_graph_plan *plan, uint32_t index, enum tvm_graph_op op,
                    const char *name, const char *function) {
    struct tvm_graph_node *node = &plan->nodes[index];
    node->op = op;
    return tvm_graph_plan_copy_text(plan, (struct tvm_bytes){name, strlen(name)}, &node->name) ||
                   tvm_graph_plan_copy_text(plan, (struct tvm_bytes){function, strlen(function)},
                                            &node->function)
               ? -1
               : 0;
}

static int allocate(struct tvm_graph_plan *plan, uint32_t inputs, uint32_t outputs) {
    plan->input_count = inputs;
    plan->output_count = outputs;
    plan->node_count = inputs + 1 + outputs;
    plan->entry_count = inputs + 2 * outputs;
    plan->storage_count = inputs + outputs;
    plan->nodes = tvm_graph_plan_alloc(plan, plan->node_count, sizeof(*plan->nodes));
    plan->entries = tvm_graph_plan_alloc(plan, plan->entry_count, sizeof(*plan->entries));
    plan->storages = tvm_graph_plan_alloc(plan, plan->storage_count, sizeof(*plan->storages));
    plan->inputs = tvm_graph_plan_alloc(plan, inputs, sizeof(uint32_t));
    plan->outputs = tvm_graph_plan_alloc(plan, outputs, sizeof(uint32_t));
    return plan->nodes && plan->entries && plan->storages && plan->inputs && plan->outputs ? 0 : -1;
}

/* Inputs, the main function, and for each of its outputs a node that only names it. */
static int fill(struct tvm_graph_plan *plan, const struct metadata *metadata,
                const char *function) {
    uint32_t inputs = (uint32_t)metadata->input_count, outputs = (uint32_t)metadata->output_count;
    uint32_t *results = tvm_graph_plan_alloc(plan, outputs, sizeof(*results));
    if (!results || allocate(plan, inputs, outputs))
        return -1;
    for (uint32_t i = 0; i < inputs; i++) {
        if (set_node(plan, i, TVM_GRAPH_NULL, metadata->inputs[i].name, "") ||
            set_entry(plan, i, i, &metadata->inputs[i]))
            return tvm_raise_context("input %u", i);
        plan->nodes[i].output_count = 1;
        plan->nodes[i].first_entry = i;
        plan->inputs[i] = i;
    }
    struct tvm_graph_node *call = &plan->nodes[inputs];
    if (set_node(plan, inputs, TVM_GRAPH_CALL, function, function))
        return -1;
    call->input_count = inputs;
    call->inputs = plan->inputs;
    call->output_count = outputs;
    call->first_entry = inputs;
    for (uint32_t k = 0; k < outputs; k++) {
        uint32_t id = inputs + k, named = inputs + outputs + k;
        struct tvm_graph_node *node = &plan->nodes[inputs + 1 + k];
        if (set_node(plan, inputs + 1 + k, TVM_GRAPH_NOP, metadata->outputs[k].name, "__nop") ||
            set_entry(plan, id, id, &metadata->outputs[k]) ||
            set_entry(plan, named, id, &metadata->outputs[k]))
            return tvm_raise_context("output %u", k);
        results[k] = id;
        node->input_count = 1;
        node->inputs = &results[k];
        node->output_count = 1;
        node->first_entry = named;
        plan->outputs[k] = named;
    }
    plan->clean_names = true;
    return tvm_graph_plan_check(plan);
}

static int main_name(const struct metadata *metadata, char **out) {
    size_t size = strlen(metadata->name) + sizeof(MAIN_SUFFIX);
    *out = malloc(size);
    if (!*out)
        return tvm_raise_out_of_memory();
    snprintf(*out, size, "%s" MAIN_SUFFIX, metadata->name);
    return 0;
}

int tvm_graph_aot_plan(struct tvm_module *library, struct tvm_graph_plan **out) {
    const struct metadata *metadata;
    struct tvm_graph_plan *plan;
    char *function;
    if (read_metadata(library, &metadata) || main_name(metadata, &function))
        return -1;
    int status = tvm_graph_plan_begin(metadata->name, &plan);
    if (status == 0 && (status = fill(plan, metadata, function)) != 0) {
        tvm_raise_context("%s", metadata->name);
        tvm_object_release(&plan->object);
    }
    free(function);
    if (status == 0)
        *out = plan;
    return status;
}

/* Memory pools (TVM's unified static memory planner): behind inputs and outputs, the main function
 * gets all constants as one buffer, then the pools. */

struct pooled {
    struct tvm_function *main;    /* owned */
    struct tvm_tensor *constants; /* owned */
    size_t count;
    int64_t sizes[MAX_POOLS];
};

static void pooled_free(void *resource) {
    struct pooled *pooled = resource;
    if (pooled->main)
        tvm_object_release(&pooled->main->object);
    if (pooled->constants)
        tvm_object_release(&pooled->constants->object);
    free(pooled);
}

static int pooled_call(void *self, const struct tvm_value *args, int32_t count,
                       struct tvm_value *result) {
    struct pooled *pooled = ((struct tvm_function *)self)->resource;
    DLTensor pools[MAX_POOLS];
    size_t mark = tvm_workspace_mark(), total = (size_t)count + 1 + pooled->count, made = 0;
    void *all;
    if (tvm_workspace_alloc(total * sizeof(struct tvm_value), &all))
        return -1;
    struct tvm_value *values = memcpy(all, args, (size_t)count * sizeof(*args));
    values[count] =
        (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &pooled->constants->dl};
    int status = 0;
    for (; made < pooled->count && status == 0; made++) {
        pools[made] = (DLTensor){.device = {kDLCPU, 0},
                                 .ndim = 1,
                                 .dtype = {kDLUInt, 8, 1},
                                 .shape = &pooled->sizes[made]};
        values[(size_t)count + 1 + made] =
            (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &pools[made]};
        /* TVM 0.9 plans pools that can be some bytes too small. */
        status =
            tvm_workspace_alloc((size_t)pooled->sizes[made] + TVM_ALIGNMENT, &pools[made].data);
    }
    if (status == 0)
        status = tvm_function_call(pooled->main, values, (int32_t)total, result);
    tvm_workspace_drop(mark);
    return status;
}

/* Puts one constant into the buffer, or (buffer NULL) only tells in *end where it ends there. */
static int place_constant(const struct constant_info *info, struct tvm_tensor *buffer,
                          size_t *end) {
    struct tvm_graph_param param = {.shape = NULL};
    struct tvm_reader reader = {.data = info->data, .name = "constant of the library"};
    if (info->size <= 0 || info->offset < 0 || !tvm_size_from((uint64_t)info->size, &reader.size) ||
        !tvm_os_is_image_data(info->data, reader.size))
        return tvm_raise(TVM_FORMAT_ERROR, "a constant of the library has no data");
    int status = tvm_graph_param_read(&reader, &param);
    if (status == 0 && !tvm_size_add((uint64_t)info->offset, param.nbytes, end))
        status = tvm_raise(TVM_FORMAT_ERROR, "a constant of the library ends beyond any memory");
    if (status == 0 && buffer)
        memcpy((char *)buffer->dl.data + info->offset, reader.data + param.offset, param.nbytes);
    free(param.shape);
    return status;
}

static int make_constants(const struct metadata *metadata, struct tvm_tensor **out) {
    size_t end, size = 0;
    for (int64_t i = 0; i < metadata->constant_count; i++) {
        if (place_constant(&metadata->constants[i], NULL, &end))
            return -1;
        size = end > size ? end : size;
    }
    int64_t shape = (int64_t)size;
    if (tvm_tensor_empty(&shape, 1, (DLDataType){kDLUInt, 8, 1}, (DLDevice){kDLCPU, 0}, out))
        return -1;
    for (int64_t i = 0; i < metadata->constant_count; i++)
        if (place_constant(&metadata->constants[i], *out, &end))
            return -1;
    return 0;
}

static int fill_pooled(struct pooled *pooled, const struct metadata *metadata) {
    for (int64_t i = 0; i < metadata->pool_count; i++) {
        const struct tensor_info *pool = &metadata->pools[i];
        size_t nbytes;
        if (tvm_shape_nbytes(pool->shape, (int)pool->ndim, pool->dtype, &nbytes))
            return tvm_graph_format_error();
        pooled->sizes[pooled->count++] = (int64_t)nbytes;
    }
    return make_constants(metadata, &pooled->constants);
}

static int pooled_new(struct tvm_function *main, const struct metadata *metadata,
                      struct tvm_function **out) {
    struct pooled *pooled = calloc(1, sizeof(*pooled));
    if (!pooled)
        return tvm_raise_out_of_memory();
    tvm_object_retain(&main->object);
    pooled->main = main;
    if (fill_pooled(pooled, metadata) == 0 &&
        tvm_function_new(pooled_call, pooled, pooled_free, out) == 0)
        return 0;
    pooled_free(pooled);
    return -1;
}

/* Whether name is that of the model's main function. */
static bool is_main(const struct metadata *metadata, const char *name) {
    size_t size = strlen(metadata->name);
    return strncmp(name, metadata->name, size) == 0 && strcmp(name + size, MAIN_SUFFIX) == 0;
}

static int function_new(struct tvm_module *library, const char *name,
                        const struct metadata *metadata, struct tvm_function **out) {
    struct tvm_function *main;
    *out = NULL;
    if (tvm_module_get_function(library, name, true, &main))
        return -1;
    if (!main)
        return 0;
    int status = pooled_new(main, metadata, out);
    tvm_object_release(&main->object);
    return status;
}

int tvm_graph_aot_function(struct tvm_module *library, const char *name,
                           _Atomic(struct tvm_function *) *kept, struct tvm_function **out) {
    const struct metadata *metadata;
    size_t size = strlen(name), suffix = strlen(MAIN_SUFFIX);
    *out = NULL;
    if (size < suffix || strcmp(name + size - suffix, MAIN_SUFFIX) != 0)
        return 0;
    if (read_metadata(library, &metadata))
        return -1;
    if (!is_main(metadata, name) || (metadata->pool_count == 0 && metadata->constant_count == 0))
        return 0; /* the library's own function will do */
    struct tvm_function *none = NULL, *made = atomic_load(kept);
    if (!made) {
        if (function_new(library, name, metadata, &made))
            return -1;
        if (made && !atomic_compare_exchange_strong(kept, &none, made)) {
            tvm_object_release(&made->object); /* another thread was faster */
            made = none;
        }
    }
    *out = made;
    if (made)
        tvm_object_retain(&made->object);
    return 0;
}
