/* The inside of the executor module, for its debug functions. */
#ifndef TVM_GRAPH_EXECUTOR_H
#define TVM_GRAPH_EXECUTOR_H

#include "graph/session.h"

#include <stdio.h>

struct tvm_graph_executor {
    struct tvm_module module;
    struct tvm_graph_session *session; /* owned */
    bool is_debug;                     /* has the debug functions */
    bool in_microseconds;              /* where run_individual gives text: TVM 0.6 and 0.7 */
};

int tvm_graph_executor_make(struct tvm_graph_session *session, bool is_debug, bool in_microseconds,
                            struct tvm_module **out);

/* A debug function; NULL in *out when there is none of this name. */
int tvm_graph_debug_get_function(struct tvm_module *self, const char *name,
                                 struct tvm_function **out);

/* Ends a stream of open_memstream on *text and *size: an owned string of what was written, or
 * MemoryError, as when out is NULL. */
int tvm_graph_text_end(FILE *out, char **text, size_t *size, struct tvm_value *result);

/* Measures one run: an owned string with the JSON that TVM's profiler makes of its Report. */
int tvm_graph_session_report(struct tvm_graph_session *session, struct tvm_value *result);

#endif
