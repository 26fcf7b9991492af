/* The inside of lists of parameters, for the sources of this folder. */
#ifndef TVM_GRAPH_PARAMS_H
#define TVM_GRAPH_PARAMS_H

#include "graph/graph.h"
#include "graph/names.h"

struct tvm_graph_param {
    DLDataType dtype; /* today's code */
    int ndim;
    int64_t *shape; /* owned */
    size_t nbytes;
    size_t offset; /* of the data, in the reader's */
};

struct tvm_graph_param_list {
    struct tvm_object object;
    struct tvm_graph_names names;  /* all owned, NUL-terminated; sorted when tensors are known */
    struct tvm_graph_param *items; /* in the order of names */
};

/* Reads one tensor; its data is skipped. param->shape is to be freed, also on failure. */
int tvm_graph_param_read(struct tvm_reader *reader, struct tvm_graph_param *param);

/* Reads a whole params file. */
int tvm_graph_params_read_all(struct tvm_reader *reader, struct tvm_graph_param_list **out);

/* The list that params were made from, borrowed. */
const struct tvm_graph_param_list *tvm_graph_params_list(const struct tvm_graph_params *params);

/* What checks of a parameter want to know: a tensor without data. */
static inline DLTensor tvm_graph_param_header(const struct tvm_graph_param *param) {
    return (DLTensor){.dtype = param->dtype, .ndim = param->ndim, .shape = param->shape};
}

/* Whether there is a parameter for input index, and which: not for the first ones of equal name. */
bool tvm_graph_find_param(const struct tvm_graph_plan *plan, size_t index,
                          const struct tvm_graph_param_list *list, size_t *out);

/* Checks that parameters fit the inputs of their names, if the graph has such: dtype, shape, and
 * that no operator overwrites them. */
int tvm_graph_check_params(const struct tvm_graph_plan *plan,
                           const struct tvm_graph_param_list *list);

/* Reads names, then tensors, with their number before or (TVM's two orders) between them. NULL in
 * *out where there are none. */
int tvm_graph_weights_read(struct tvm_reader *reader, bool count_first,
                           struct tvm_graph_weights **out);

/* A Map of the names and tensors: copies, because sessions share the originals. weights may be
 * NULL. */
int tvm_graph_weights_map(struct tvm_graph_weights *weights, struct tvm_value *result);

#endif
