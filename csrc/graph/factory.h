/* Factories: modules in libraries that make executors, and the parts of a model that they hold. */
#ifndef TVM_GRAPH_FACTORY_H
#define TVM_GRAPH_FACTORY_H

#include "base/value.h"
#include "graph/graph.h"

struct tvm_graph_factory {
    struct tvm_module module;
    char *name;                        /* of the model: the function that makes an executor */
    char *json;                        /* of the graph; NULL: it is for the AOT executor */
    struct tvm_graph_plan *plan;       /* owned; NULL likewise */
    struct tvm_graph_weights *weights; /* owned; NULL: none */
    _Atomic(struct tvm_function *) aot_function; /* owned; NULL: nobody asked for it yet */
};

/* The factory that module is, or NULL. */
struct tvm_graph_factory *tvm_graph_factory_of(struct tvm_module *module);

/* The plan of the model and the module that has its functions (new references). */
int tvm_graph_factory_parts(struct tvm_graph_factory *factory, struct tvm_graph_plan **plan,
                            struct tvm_module **library);

/* The plan of a model for the AOT executor: one call of its main function. library is asked what it
 * wants. */
int tvm_graph_aot_plan(struct tvm_module *library, struct tvm_graph_plan **out);

/* The main function of such a model, where it wants memory pools besides inputs and outputs: one
 * that gives them, and holds the model's constants, so that it is made once and kept in *kept. NULL
 * in *out where it does not, and for other names. */
int tvm_graph_aot_function(struct tvm_module *library, const char *name,
                           _Atomic(struct tvm_function *) *kept, struct tvm_function **out);

#endif
