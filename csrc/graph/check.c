/* What holds for a plan as a whole, and the questions that are asked of it. */
#include "graph/plan.h"

#include <stdlib.h>

static int node_fail(const struct tvm_graph_plan *plan, uint32_t node, const char *what) {
    tvm_raise(TVM_FORMAT_ERROR, "%s", what);
    return tvm_raise_context("node %u (%.200s)", node, plan->nodes[node].name.data);
}

/* Gives every entry its root, and links the entries of one root. */
static int find_roots(struct tvm_graph_plan *plan) {
    for (uint32_t n = 0; n < plan->node_count; n++) {
        const struct tvm_graph_node *node = &plan->nodes[n];
        for (uint32_t k = 0; k < node->output_count; k++) {
            uint32_t id = node->first_entry + k;
            struct tvm_graph_entry *entry = &plan->entries[id];
            entry->node = n;
            entry->root = id;
            entry->next = TVM_GRAPH_NONE;
            entry->input = TVM_GRAPH_NONE;
        }
        if (node->op != TVM_GRAPH_NOP && node->op != TVM_GRAPH_COPY)
            continue;
        const struct tvm_graph_entry *from = &plan->entries[node->inputs[0]];
        struct tvm_graph_entry *to = &plan->entries[node->first_entry];
        if (from->nbytes != to->nbytes) {
            tvm_raise(TVM_FORMAT_ERROR, "%s: its input has %zu bytes, its output %zu",
                      node->function.data, from->nbytes, to->nbytes);
            return tvm_raise_context("node %u (%.200s)", n, node->name.data);
        }
        if (node->op == TVM_GRAPH_COPY) {
            if (!tvm_dtype_equal(from->dtype, to->dtype))
                return node_fail(plan, n, "__copy: input and output differ in dtype");
            continue;
        }
        if (from->storage != to->storage) {
            tvm_raise(TVM_FORMAT_ERROR, "__nop: its input has storage %u, its output storage %u",
                      from->storage, to->storage);
            return tvm_raise_context("node %u (%.200s)", n, node->name.data);
        }
        to->root = from->root;
        to->next = plan->entries[to->root].next;
        plan->entries[to->root].next = node->first_entry;
    }
    return 0;
}

/* Null nodes must be listed in arg_nodes unless nothing reads them. */
static int check_unlisted(const struct tvm_graph_plan *plan, const bool *listed) {
    for (uint32_t n = 0; n < plan->node_count; n++) {
        const struct tvm_graph_node *node = &plan->nodes[n];
        for (uint32_t i = 0; i < node->input_count; i++) {
            uint32_t from = plan->entries[node->inputs[i]].node;
            if (plan->nodes[from].op != TVM_GRAPH_NULL || listed[from])
                continue;
            tvm_raise(TVM_FORMAT_ERROR, "inputs[%u]: node %u (%.200s) is not in arg_nodes", i, from,
                      plan->nodes[from].name.data);
            return tvm_raise_context("node %u (%.200s)", n, node->name.data);
        }
    }
    for (uint32_t k = 0; k < plan->output_count; k++) {
        uint32_t from = plan->entries[plan->outputs[k]].node;
        if (plan->nodes[from].op == TVM_GRAPH_NULL && !listed[from])
            return tvm_raise(TVM_FORMAT_ERROR, "heads: [%u]: node %u (%.200s) is not in arg_nodes",
                             k, from, plan->nodes[from].name.data);
    }
    return 0;
}

/* Raises the error unless storage still holds what entry id is to read. */
static int check_read(const struct tvm_graph_plan *plan, const uint32_t *holder, uint32_t id) {
    const struct tvm_graph_entry *entry = &plan->entries[id];
    uint32_t held = holder[entry->storage];
    if (held == entry->root)
        return 0;
    uint32_t writer = plan->entries[held].node;
    return tvm_raise(TVM_FORMAT_ERROR,
                     "the output of node %u (%.200s) is lost: node %u (%.200s) has overwritten its "
                     "storage %u",
                     entry->node, plan->nodes[entry->node].name.data, writer,
                     plan->nodes[writer].name.data, entry->storage);
}

/* Follows which value each storage holds while the nodes run. */
static int check_lifetimes(struct tvm_graph_plan *plan, uint32_t *holder) {
    for (uint32_t i = 0; i < plan->storage_count; i++)
        holder[i] = TVM_GRAPH_NONE;
    for (uint32_t i = 0; i < plan->input_count; i++) {
        uint32_t *first = &holder[plan->entries[plan->inputs[i]].storage];
        if (*first != TVM_GRAPH_NONE)
            return tvm_raise(TVM_FORMAT_ERROR, "the inputs %.200s and %.200s share storage %u",
                             tvm_graph_entry_node(plan, *first)->name.data,
                             tvm_graph_entry_node(plan, plan->inputs[i])->name.data,
                             (unsigned)(first - holder));
        *first = plan->inputs[i];
        plan->entries[plan->inputs[i]].input = i;
    }
    for (uint32_t n = 0; n < plan->node_count; n++) {
        const struct tvm_graph_node *node = &plan->nodes[n];
        for (uint32_t i = 0; i < node->input_count; i++)
            if (check_read(plan, holder, node->inputs[i])) {
                tvm_raise_context("inputs[%u]", i);
                return tvm_raise_context("node %u (%.200s)", n, node->name.data);
            }
        if (node->op == TVM_GRAPH_NULL || node->op == TVM_GRAPH_NOP)
            continue;
        for (uint32_t k = 0; k < node->output_count; k++) {
            uint32_t storage = plan->entries[node->first_entry + k].storage;
            holder[storage] = node->first_entry + k;
            plan->storages[storage].written = true;
        }
    }
    for (uint32_t k = 0; k < plan->output_count; k++)
        if (check_read(plan, holder, plan->outputs[k]))
            return tvm_raise_context("heads: [%u]", k);
    return 0;
}

static int sort_inputs(struct tvm_graph_plan *plan) {
    plan->input_names.count = plan->input_count;
    plan->input_names.names =
        tvm_graph_plan_alloc(plan, plan->input_count, sizeof(struct tvm_bytes));
    if (!plan->input_names.names)
        return -1;
    for (uint32_t i = 0; i < plan->input_count; i++)
        plan->input_names.names[i] = tvm_graph_entry_node(plan, plan->inputs[i])->name;
    return tvm_graph_names_sort(&plan->input_names);
}

int tvm_graph_plan_check(struct tvm_graph_plan *plan) {
    if (find_roots(plan))
        return -1;
    uint32_t *holder = malloc(((size_t)plan->storage_count + 1) * sizeof(*holder));
    bool *listed = calloc((size_t)plan->node_count + 1, sizeof(*listed));
    int status = -1;
    if (holder && listed) {
        for (uint32_t i = 0; i < plan->input_count; i++)
            listed[plan->entries[plan->inputs[i]].node] = true;
        status = check_unlisted(plan, listed) || check_lifetimes(plan, holder) ? -1 : 0;
    } else {
        tvm_raise_out_of_memory();
    }
    free(listed);
    free(holder);
    return status ? status : sort_inputs(plan);
}

size_t tvm_graph_plan_input_count(const struct tvm_graph_plan *plan) {
    return plan->input_count;
}

size_t tvm_graph_plan_output_count(const struct tvm_graph_plan *plan) {
    return plan->output_count;
}

bool tvm_graph_plan_uses(const struct tvm_graph_plan *plan, DLDeviceType type) {
    bool uses = plan->storage_count == 0;
    for (uint32_t i = 0; i < plan->storage_count; i++)
        uses |= !plan->storages[i].device_type || plan->storages[i].device_type == (int)type;
    return uses;
}

static struct tvm_graph_tensor_info entry_info(const struct tvm_graph_plan *plan, uint32_t id) {
    const struct tvm_graph_entry *entry = &plan->entries[id];
    return (struct tvm_graph_tensor_info){plan->nodes[entry->node].name, entry->dtype, entry->shape,
                                          entry->ndim};
}

struct tvm_graph_tensor_info tvm_graph_plan_input(const struct tvm_graph_plan *plan, size_t index) {
    return entry_info(plan, plan->inputs[index]);
}

struct tvm_graph_tensor_info tvm_graph_plan_output(const struct tvm_graph_plan *plan,
                                                   size_t index) {
    return entry_info(plan, plan->outputs[index]);
}

bool tvm_graph_plan_find_input(const struct tvm_graph_plan *plan, struct tvm_bytes name,
                               size_t *out) {
    if (tvm_graph_names_find(&plan->input_names, name, out))
        return true;
    char clean[256];
    if (!plan->clean_names || name.size > sizeof(clean))
        return false;
    for (size_t i = 0; i < name.size; i++) {
        char lower = (char)(name.data[i] | 0x20);
        bool kept = (lower >= 'a' && lower <= 'z') || (name.data[i] >= '0' && name.data[i] <= '9');
        clean[i] = kept ? name.data[i] : '_';
    }
    return tvm_graph_names_find(&plan->input_names, (struct tvm_bytes){clean, name.size}, out);
}

bool tvm_graph_plan_find_output(const struct tvm_graph_plan *plan, struct tvm_bytes name,
                                size_t *out) {
    for (size_t i = plan->output_count; i-- > 0;)
        if (tvm_graph_name_equal(tvm_graph_entry_node(plan, plan->outputs[i])->name, name)) {
            *out = i;
            return true;
        }
    return false;
}
