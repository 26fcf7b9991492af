/* Finding names in a list. */
#ifndef TVM_GRAPH_NAMES_H
#define TVM_GRAPH_NAMES_H

#include "base/error.h"

#include <stdbool.h>

struct tvm_graph_names {
    struct tvm_bytes *names; /* of the list's maker */
    size_t *order;           /* positions sorted by name, then position; owned */
    size_t count;
};

/* Sorts the names that are there already. End with free(names->order), also on failure. */
int tvm_graph_names_sort(struct tvm_graph_names *names);

/* The position of name, the last one with duplicates. */
bool tvm_graph_names_find(const struct tvm_graph_names *names, struct tvm_bytes name, size_t *out);

/* A name that is there twice, or NULL. */
const struct tvm_bytes *tvm_graph_names_duplicate(const struct tvm_graph_names *names);

bool tvm_graph_name_equal(struct tvm_bytes a, struct tvm_bytes b);

#endif
