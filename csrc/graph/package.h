/* Opening models in one file, whatever the packaging: what is in it decides, not its name. */
#ifndef TVM_GRAPH_PACKAGE_H
#define TVM_GRAPH_PACKAGE_H

#include "graph/graph.h"

struct tvm_graph_package {
    struct tvm_module *module; /* what the library is: its own functions, a factory … */
    /* The graph, its parameters (NULL: none), and the module that has its functions. All NULL when
     * the file is a library without a graph; module tells what it is then. */
    struct tvm_graph_plan *plan;
    struct tvm_graph_weights *weights;
    struct tvm_module *library;
    bool in_bytes; /* the weights are still in the bytes that were given: the memory for placing */
};

/* Opens a factory library, a tvmc package, or any other library; every pointer in *out is a new
 * reference. FormatError for damaged files, UnsupportedError for other kinds of package, with what
 * would work. */
int tvm_graph_package_open(const char *path, struct tvm_graph_package *out);

/* The same from bytes; name is what messages call them. */
int tvm_graph_package_from_bytes(const char *name, const void *data, size_t size,
                                 struct tvm_graph_package *out);

/* The same of what is linked into the program with this prefix; NotFoundError lists those that are.
 */
int tvm_graph_package_linked(const char *prefix, struct tvm_graph_package *out);

void tvm_graph_package_clear(struct tvm_graph_package *package);

#endif
