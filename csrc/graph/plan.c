/* Graph JSON → plan. */
#include "graph/plan.h"

#include "base/checked.h"
#include "graph/json.h"
#include "module/filetype.h"

#include <stdlib.h>
#include <string.h>

struct plan_block {
    struct plan_block *next;
    _Alignas(max_align_t) unsigned char data[];
};

void *tvm_graph_plan_alloc(struct tvm_graph_plan *plan, size_t count, size_t size) {
    size_t nbytes;
    struct plan_block *block = NULL;
    if (tvm_size_mul(count, size, &nbytes) && tvm_size_add(nbytes, sizeof(*block), &nbytes))
        block = calloc(1, nbytes);
    if (!block) {
        tvm_raise_out_of_memory();
        return NULL;
    }
    block->next = plan->blocks;
    plan->blocks = block;
    return block->data;
}

static void plan_destroy(void *self) {
    struct tvm_graph_plan *plan = self;
    free(plan->input_names.order);
    while (plan->blocks) {
        struct plan_block *next = plan->blocks->next;
        free(plan->blocks);
        plan->blocks = next;
    }
}

int tvm_graph_format_error(void) {
    struct tvm_error *error = tvm_error_take();
    if (strcmp(error->kind.data, TVM_MEMORY_ERROR) == 0)
        return tvm_error_restore(error);
    tvm_raise(TVM_FORMAT_ERROR, "%s", error->message.data);
    tvm_object_release(&error->object);
    return -1;
}

int tvm_graph_plan_copy_text(struct tvm_graph_plan *plan, struct tvm_bytes text,
                             struct tvm_bytes *out) {
    char *copy = tvm_graph_plan_alloc(plan, text.size + 1, 1);
    if (!copy)
        return -1;
    memcpy(copy, text.data, text.size);
    *out = (struct tvm_bytes){copy, text.size};
    return 0;
}

/* node_row_ptr: where each node's outputs begin; here they become first_entry and output_count. */
static int parse_row_ptr(struct tvm_graph_plan *plan, const cJSON *rows) {
    size_t count;
    if (tvm_json_array(rows, &count))
        return -1;
    if (count != (size_t)plan->node_count + 1)
        return tvm_raise(TVM_FORMAT_ERROR, "expected %zu items for %u nodes, got %zu",
                         (size_t)plan->node_count + 1, plan->node_count, count);
    const cJSON *row = rows->child;
    int64_t begin = 0;
    for (uint32_t i = 0; i <= plan->node_count; i++, row = row->next) {
        int64_t value;
        if (tvm_json_int(row, i ? begin : 0, i ? INT32_MAX / 2 : 0, &value))
            return tvm_raise_context("item %u", i);
        if (i) {
            plan->nodes[i - 1].first_entry = (uint32_t)begin;
            plan->nodes[i - 1].output_count = (uint32_t)(value - begin);
        }
        begin = value;
    }
    plan->entry_count = (uint32_t)begin;
    return 0;
}

/* [node, output] or [node, output, version]: an entry of the first node_limit nodes. */
static int parse_entry(const struct tvm_graph_plan *plan, const cJSON *item, uint32_t node_limit,
                       uint32_t *out) {
    size_t count;
    int64_t id, index;
    if (tvm_json_array(item, &count))
        return -1;
    if (count != 2 && count != 3)
        return tvm_raise(TVM_FORMAT_ERROR, "expected [node, output, version], got %zu items",
                         count);
    const cJSON *second = item->child->next;
    if (tvm_json_int(item->child, INT64_MIN, INT64_MAX, &id))
        return tvm_raise_context("node");
    if (tvm_json_int(second, INT64_MIN, INT64_MAX, &index))
        return tvm_raise_context("output");
    if (count == 3 && !cJSON_IsNumber(second->next)) {
        tvm_json_expected(second->next, "a number");
        return tvm_raise_context("version");
    }
    if (id < 0 || id >= plan->node_count)
        return tvm_raise(TVM_FORMAT_ERROR,
                         "entry [%lld, %lld]: node %lld is out of range (there are %u nodes)",
                         (long long)id, (long long)index, (long long)id, plan->node_count);
    if (id >= node_limit)
        return tvm_raise(TVM_FORMAT_ERROR,
                         "entry [%lld, %lld]: node %lld does not come before this node",
                         (long long)id, (long long)index, (long long)id);
    const struct tvm_graph_node *node = &plan->nodes[id];
    if (index < 0 || index >= node->output_count)
        return tvm_raise(
            TVM_FORMAT_ERROR, "entry [%lld, %lld]: output %lld is out of range (node %lld has %u)",
            (long long)id, (long long)index, (long long)index, (long long)id, node->output_count);
    *out = node->first_entry + (uint32_t)index;
    return 0;
}

/* A list of entries, such as heads or a node's inputs. */
static int parse_entries(struct tvm_graph_plan *plan, const cJSON *list, uint32_t node_limit,
                         uint32_t **out, uint32_t *out_count) {
    size_t count;
    if (tvm_json_array(list, &count))
        return -1;
    if (count >= INT32_MAX / 2) /* so that inputs and outputs together can be counted, too */
        return tvm_raise(TVM_UNSUPPORTED_ERROR, "%zu items", count);
    uint32_t *entries = tvm_graph_plan_alloc(plan, count, sizeof(*entries));
    if (!entries)
        return -1;
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next)
        if (parse_entry(plan, item, node_limit, &entries[i]))
            return tvm_raise_context("[%zu]", i);
    *out = entries;
    *out_count = (uint32_t)count;
    return 0;
}

/* A decimal number written as a string, which must be just expected. */
static int check_count(const cJSON *item, const char *key, uint32_t expected, const char *why) {
    struct tvm_bytes text;
    if (tvm_json_string(item, &text))
        return tvm_raise_context("attrs: %s", key);
    uint64_t value = 0;
    bool number = text.size > 0 && text.size < 10;
    for (size_t i = 0; number && i < text.size; i++) {
        number = text.data[i] >= '0' && text.data[i] <= '9';
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (!number || value != expected)
        return tvm_raise(TVM_FORMAT_ERROR, "attrs: %s: expected \"%u\" (%s), got \"%.60s\"", key,
                         expected, why, text.data);
    return 0;
}

/* The attributes of a tvm_op; its inputs are known. */
static int parse_operator(struct tvm_graph_plan *plan, struct tvm_graph_node *node,
                          const cJSON *attrs) {
    const cJSON *function, *inputs, *outputs, *flatten;
    const struct tvm_json_member members[] = {
        {"func_name", &function, true},
        {"num_inputs", &inputs, true},
        {"num_outputs", &outputs, true},
        {"flatten_data", &flatten, true},
        {NULL, NULL, false},
    };
    struct tvm_bytes text;
    if (tvm_json_members(attrs, members))
        return tvm_raise_context("attrs");
    if (tvm_json_string(function, &text))
        return tvm_raise_context("attrs: func_name");
    if (tvm_graph_plan_copy_text(plan, text, &node->function) ||
        check_count(inputs, "num_inputs", node->input_count, "so many are listed") ||
        check_count(outputs, "num_outputs", node->output_count, "by node_row_ptr"))
        return -1;
    if (tvm_json_string(flatten, &text))
        return tvm_raise_context("attrs: flatten_data");
    if (strcmp(text.data, "0") != 0 && strcmp(text.data, "1") != 0)
        return tvm_raise(TVM_FORMAT_ERROR,
                         "attrs: flatten_data: expected \"0\" or \"1\", got \"%.60s\"", text.data);
    node->flatten = text.data[0] == '1';
    node->op = strcmp(node->function.data, "__nop") == 0    ? TVM_GRAPH_NOP
               : strcmp(node->function.data, "__copy") == 0 ? TVM_GRAPH_COPY
                                                            : TVM_GRAPH_CALL;
    if (node->op != TVM_GRAPH_CALL && (node->input_count != 1 || node->output_count != 1))
        return tvm_raise(TVM_FORMAT_ERROR, "%s: expected 1 input and 1 output, got %u and %u",
                         node->function.data, node->input_count, node->output_count);
    return 0;
}

static int parse_node(struct tvm_graph_plan *plan, uint32_t index, const cJSON *json) {
    struct tvm_graph_node *node = &plan->nodes[index];
    const cJSON *op, *name, *inputs, *attr, *attrs;
    const struct tvm_json_member members[] = {
        {"op", &op, true},      {"name", &name, true},    {"inputs", &inputs, true},
        {"attr", &attr, false}, {"attrs", &attrs, false}, {NULL, NULL, false},
    };
    struct tvm_bytes text;
    if (tvm_json_members(json, members))
        return -1;
    if (tvm_json_string(name, &text))
        return tvm_raise_context("name");
    uint32_t *entries;
    if (tvm_graph_plan_copy_text(plan, text, &node->name))
        return -1;
    if (parse_entries(plan, inputs, index, &entries, &node->input_count))
        return tvm_raise_context("inputs");
    node->inputs = entries;
    if (tvm_json_string(op, &text))
        return tvm_raise_context("op");
    if (strcmp(text.data, "null") == 0) {
        node->function = (struct tvm_bytes){"", 0};
        if (node->input_count || node->output_count != 1)
            return tvm_raise(TVM_FORMAT_ERROR,
                             "an input: expected no inputs and 1 output, got %u and %u",
                             node->input_count, node->output_count);
        return 0;
    }
    if (strcmp(text.data, "tvm_op") != 0) {
        tvm_json_expected(op, "\"null\" or \"tvm_op\"");
        return tvm_raise_context("op");
    }
    if (attr && attrs)
        return tvm_raise(TVM_FORMAT_ERROR, "both \"attr\" and \"attrs\" are there");
    return parse_operator(plan, node, attr ? attr : attrs);
}

static int parse_nodes(struct tvm_graph_plan *plan, const cJSON *list) {
    const cJSON *item = list->child;
    for (uint32_t i = 0; i < plan->node_count; i++, item = item->next)
        if (parse_node(plan, i, item)) {
            const char *name = plan->nodes[i].name.data;
            return name ? tvm_raise_context("node %u (%.200s)", i, name)
                        : tvm_raise_context("node %u", i);
        }
    return 0;
}

/* The payload of a graph attribute [tag, [one item for each entry]]; *first is its first item. */
static int open_attribute(const struct tvm_graph_plan *plan, const cJSON *attribute,
                          const char *tag, const cJSON **first) {
    size_t count;
    struct tvm_bytes text;
    if (tvm_json_array(attribute, &count))
        return -1;
    if (count != 2)
        return tvm_raise(TVM_FORMAT_ERROR, "expected [\"%s\", […]], got %zu items", tag, count);
    if (tvm_json_string(attribute->child, &text) || strcmp(text.data, tag) != 0)
        return tvm_raise(TVM_FORMAT_ERROR, "expected the tag \"%s\"", tag);
    if (tvm_json_array(attribute->child->next, &count))
        return -1;
    if (count != plan->entry_count)
        return tvm_raise(TVM_FORMAT_ERROR, "expected %u items, one for each node output, got %zu",
                         plan->entry_count, count);
    *first = attribute->child->next->child;
    return 0;
}

static int parse_shape(struct tvm_graph_plan *plan, struct tvm_graph_entry *entry,
                       const cJSON *item) {
    size_t ndim;
    if (tvm_json_array(item, &ndim))
        return -1;
    if (ndim > TVM_MAX_NDIM)
        return tvm_raise(TVM_FORMAT_ERROR, "%zu dimensions, expected at most %d", ndim,
                         TVM_MAX_NDIM);
    int64_t *shape = tvm_graph_plan_alloc(plan, ndim, sizeof(*shape));
    if (!shape)
        return -1;
    const cJSON *dimension = item->child;
    for (size_t i = 0; i < ndim; i++, dimension = dimension->next)
        if (tvm_json_int(dimension, 0, INT64_MAX, &shape[i]))
            return tvm_raise_context("dimension %zu", i);
    entry->shape = shape;
    entry->ndim = (int)ndim;
    return tvm_shape_nbytes(shape, entry->ndim, entry->dtype, &entry->nbytes)
               ? tvm_graph_format_error()
               : 0;
}

static int parse_scope(const cJSON *item) {
    struct tvm_bytes text;
    if (tvm_json_string(item, &text))
        return -1;
    if (text.size == 0 || strcmp(text.data, "global") == 0)
        return 0;
    return tvm_raise(
        TVM_UNSUPPORTED_ERROR,
        "\"%.60s\": only plain buffers are supported; compile the model without textures",
        text.data);
}

/* Runs parse for each item of an attribute; where it is absent, does nothing. */
#define FOR_EACH_ENTRY(plan, attribute, tag, what, parse)                                          \
    do {                                                                                           \
        const cJSON *item;                                                                         \
        if (!(attribute))                                                                          \
            break;                                                                                 \
        if (open_attribute(plan, attribute, tag, &item))                                           \
            return tvm_raise_context("attrs: %s", what);                                           \
        for (uint32_t i = 0; i < (plan)->entry_count; i++, item = item->next)                      \
            if (parse)                                                                             \
                return tvm_raise_context("attrs: %s[%u]", what, i);                                \
    } while (0)

static int parse_dtype(struct tvm_graph_entry *entry, const cJSON *item) {
    struct tvm_bytes text;
    if (tvm_json_string(item, &text))
        return -1;
    return tvm_dtype_parse(text.data, text.size, &entry->dtype) ? tvm_graph_format_error() : 0;
}

static int parse_storage(struct tvm_graph_plan *plan, struct tvm_graph_entry *entry,
                         const cJSON *item) {
    int64_t id;
    if (tvm_json_int(item, 0, (int64_t)plan->entry_count - 1, &id))
        return -1;
    entry->storage = (uint32_t)id;
    struct tvm_graph_storage *storage = &plan->storages[id];
    if (storage->nbytes < entry->nbytes)
        storage->nbytes = entry->nbytes;
    if (plan->storage_count <= id)
        plan->storage_count = (uint32_t)id + 1;
    return 0;
}

static int parse_device_type(struct tvm_graph_plan *plan, const struct tvm_graph_entry *entry,
                             const cJSON *item) {
    int64_t type;
    if (tvm_json_int(item, 1, INT16_MAX, &type))
        return -1;
    struct tvm_graph_storage *storage = &plan->storages[entry->storage];
    if (storage->device_type && storage->device_type != type)
        return tvm_raise(TVM_FORMAT_ERROR,
                         "device type %d, but storage %u is also used with device type %d",
                         (int)type, entry->storage, storage->device_type);
    storage->device_type = (int)type;
    return 0;
}

static int parse_attrs(struct tvm_graph_plan *plan, const cJSON *attrs) {
    const cJSON *dltype, *shape, *storage_id, *device_index, *storage_scope;
    const struct tvm_json_member members[] = {
        {"dltype", &dltype, true},
        {"shape", &shape, true},
        {"storage_id", &storage_id, true},
        {"device_index", &device_index, false},
        {"storage_scope", &storage_scope, false},
        {NULL, NULL, false},
    };
    if (tvm_json_members(attrs, members))
        return tvm_raise_context("attrs");
    struct tvm_graph_entry *entries = plan->entries;
    FOR_EACH_ENTRY(plan, storage_scope, "list_str", "storage_scope", parse_scope(item));
    FOR_EACH_ENTRY(plan, dltype, "list_str", "dltype", parse_dtype(&entries[i], item));
    FOR_EACH_ENTRY(plan, shape, "list_shape", "shape", parse_shape(plan, &entries[i], item));
    FOR_EACH_ENTRY(plan, storage_id, "list_int", "storage_id",
                   parse_storage(plan, &entries[i], item));
    FOR_EACH_ENTRY(plan, device_index, "list_int", "device_index",
                   parse_device_type(plan, &entries[i], item));
    return 0;
}

static int parse_arg_nodes(struct tvm_graph_plan *plan, const cJSON *list) {
    size_t count;
    if (tvm_json_array(list, &count))
        return -1;
    if (count > plan->node_count)
        return tvm_raise(TVM_FORMAT_ERROR, "%zu items for %u nodes", count, plan->node_count);
    plan->inputs = tvm_graph_plan_alloc(plan, count, sizeof(uint32_t));
    bool *listed = tvm_graph_plan_alloc(plan, plan->node_count, sizeof(bool));
    if (!plan->inputs || !listed)
        return -1;
    const cJSON *item = list->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        int64_t id;
        if (tvm_json_int(item, 0, (int64_t)plan->node_count - 1, &id))
            return tvm_raise_context("[%zu]", i);
        const struct tvm_graph_node *node = &plan->nodes[id];
        if (node->op != TVM_GRAPH_NULL || listed[id])
            return tvm_raise(TVM_FORMAT_ERROR, "[%zu]: node %u (%.200s) %s", i, (unsigned)id,
                             node->name.data,
                             listed[id] ? "is there twice" : "is an operator, not an input");
        listed[id] = true;
        plan->inputs[i] = node->first_entry;
    }
    plan->input_count = (uint32_t)count;
    return 0;
}

static int parse_graph(struct tvm_graph_plan *plan, const cJSON *json) {
    const cJSON *nodes, *arg_nodes, *heads, *rows, *attrs;
    const struct tvm_json_member members[] = {
        {"nodes", &nodes, true},       {"arg_nodes", &arg_nodes, true}, {"heads", &heads, true},
        {"node_row_ptr", &rows, true}, {"attrs", &attrs, true},         {NULL, NULL, false},
    };
    size_t count;
    if (tvm_json_members(json, members))
        return -1;
    if (tvm_json_array(nodes, &count))
        return tvm_raise_context("nodes");
    if (count >= INT32_MAX)
        return tvm_raise(TVM_UNSUPPORTED_ERROR, "%zu nodes", count);
    plan->node_count = (uint32_t)count;
    plan->nodes = tvm_graph_plan_alloc(plan, count, sizeof(struct tvm_graph_node));
    if (!plan->nodes)
        return -1;
    if (parse_row_ptr(plan, rows))
        return tvm_raise_context("node_row_ptr");
    /* Before memory is taken for so many entries: that many items must be in the file. */
    const cJSON *shape, *first;
    const struct tvm_json_member sized[] = {{"shape", &shape, true}, {NULL, NULL, false}};
    if (tvm_json_members(attrs, sized))
        return tvm_raise_context("attrs");
    if (open_attribute(plan, shape, "list_shape", &first))
        return tvm_raise_context("attrs: shape");
    plan->entries = tvm_graph_plan_alloc(plan, plan->entry_count, sizeof(struct tvm_graph_entry));
    plan->storages =
        tvm_graph_plan_alloc(plan, plan->entry_count, sizeof(struct tvm_graph_storage));
    if (!plan->entries || !plan->storages || parse_nodes(plan, nodes) || parse_attrs(plan, attrs))
        return -1;
    if (parse_arg_nodes(plan, arg_nodes))
        return tvm_raise_context("arg_nodes");
    if (parse_entries(plan, heads, plan->node_count, &plan->outputs, &plan->output_count))
        return tvm_raise_context("heads");
    return tvm_graph_plan_check(plan);
}

int tvm_graph_plan_begin(const char *name, struct tvm_graph_plan **out) {
    struct tvm_graph_plan *plan = tvm_object_alloc(sizeof(*plan), TVM_TYPE_OBJECT, plan_destroy);
    if (!plan)
        return -1;
    if (tvm_graph_plan_copy_text(plan, (struct tvm_bytes){name, strlen(name)}, &plan->name)) {
        tvm_object_release(&plan->object);
        return -1;
    }
    *out = plan;
    return 0;
}

static bool begins_as_json(const char *text, size_t size) {
    size_t i = 0;
    while (i < size && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n'))
        i++;
    return i < size && (text[i] == '{' || text[i] == '[');
}

int tvm_graph_plan_new(const char *name, const char *json, size_t size,
                       struct tvm_graph_plan **out) {
    struct tvm_graph_plan *plan;
    if (tvm_graph_plan_begin(name, &plan))
        return -1;
    cJSON *root = NULL;
    int status = 0;
    if (tvm_json_parse(json, size, &root))
        status = begins_as_json(json, size)
                     ? tvm_raise_context("%s", name)
                     : tvm_filetype_refuse(TVM_FORMAT_ERROR, name, "a graph in JSON",
                                           (const unsigned char *)json, size);
    else if (parse_graph(plan, root))
        status = tvm_raise_context("%s", name);
    cJSON_Delete(root);
    if (status)
        tvm_object_release(&plan->object);
    else
        *out = plan;
    return status;
}
