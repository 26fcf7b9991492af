/* The inside of a plan, for the sources of this folder. Entries are numbered as node_row_ptr does:
 * output k of node n is entry first_entry[n] + k. */
#ifndef TVM_GRAPH_PLAN_H
#define TVM_GRAPH_PLAN_H

#include "graph/graph.h"
#include "graph/names.h"

#define TVM_GRAPH_NONE UINT32_MAX /* no entry, no input */

enum tvm_graph_op {
    TVM_GRAPH_NULL, /* an input, or unused */
    TVM_GRAPH_CALL, /* a function of the library */
    TVM_GRAPH_NOP,  /* "__nop": a reshape, input and output are the same bytes */
    TVM_GRAPH_COPY, /* "__copy", from device to device */
};

struct tvm_graph_node {
    enum tvm_graph_op op;
    bool flatten; /* pass tensors as one-dimensional */
    uint32_t input_count;
    uint32_t output_count;
    uint32_t first_entry;      /* of the outputs */
    const uint32_t *inputs;    /* entries */
    struct tvm_bytes name;     /* NUL-terminated */
    struct tvm_bytes function; /* likewise; empty for an input */
};

struct tvm_graph_entry {
    DLDataType dtype;
    int ndim;
    const int64_t *shape;
    size_t nbytes;
    uint32_t node;
    uint32_t storage;
    uint32_t root;  /* the entry whose bytes these are: itself but for reshapes */
    uint32_t next;  /* next entry of the same root, TVM_GRAPH_NONE after the last */
    uint32_t input; /* of an input: its position in arg_nodes, else TVM_GRAPH_NONE */
};

/* Memory that entries share, at different times or as reshapes of each other. */
struct tvm_graph_storage {
    size_t nbytes;
    int device_type; /* 0: the session's first device */
    bool written;    /* by some operator */
};

struct tvm_graph_plan {
    struct tvm_object object;
    struct tvm_bytes name; /* what messages call the graph */
    struct tvm_graph_node *nodes;
    struct tvm_graph_entry *entries;
    struct tvm_graph_storage *storages;
    uint32_t *inputs;  /* entries, in the order of arg_nodes */
    uint32_t *outputs; /* entries, in the order of heads */
    struct tvm_graph_names input_names;
    bool clean_names; /* of inputs: what is no ASCII letter or digit became '_' */
    uint32_t node_count, entry_count, storage_count, input_count, output_count;
    struct plan_block *blocks; /* the memory of all the above but input_names.order */
};

/* Entry of an argument of node: its inputs, then its outputs. */
static inline uint32_t tvm_graph_node_argument(const struct tvm_graph_node *node, uint32_t index) {
    return index < node->input_count ? node->inputs[index]
                                     : node->first_entry + index - node->input_count;
}

static inline const struct tvm_graph_node *tvm_graph_entry_node(const struct tvm_graph_plan *plan,
                                                                uint32_t entry) {
    return &plan->nodes[plan->entries[entry].node];
}

/* An empty plan; name is what messages call it. */
int tvm_graph_plan_begin(const char *name, struct tvm_graph_plan **out);
/* A copy of text that ends with the plan, NUL-terminated. */
int tvm_graph_plan_copy_text(struct tvm_graph_plan *plan, struct tvm_bytes text,
                             struct tvm_bytes *out);
/* Memory that ends with the plan: count zeroed items of size bytes, NULL with an error raised when
 * there is none. */
void *tvm_graph_plan_alloc(struct tvm_graph_plan *plan, size_t count, size_t size);

/* Finds roots, and checks what follows from all parts together: that every value an operator or the
 * caller reads is still the one that was written. */
int tvm_graph_plan_check(struct tvm_graph_plan *plan);

/* The raised error as a FormatError, unless it is about memory; returns -1. */
int tvm_graph_format_error(void);

#endif
