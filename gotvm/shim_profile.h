/* What the Go package asks for profiles, in the form of shim.h. */
#ifndef GOTVM_SHIM_PROFILE_H
#define GOTVM_SHIM_PROFILE_H

#include "graph/graph.h"
#include "shim_graph.h"

/* An operator of a session's graph, borrowed from the plan. */
struct gotvm_operator {
    uintptr_t name, name_size;
    uintptr_t function, function_size;
    size_t input_count, output_count;
    size_t nbytes;
};

size_t gotvm_session_operator_count(uintptr_t session);
struct gotvm_operator gotvm_session_operator(uintptr_t session, uint32_t node);
/* Inputs, then outputs. */
struct gotvm_port gotvm_session_argument(uintptr_t session, uint32_t node, size_t index);

/* Runs with the inputs that are set, and fills in times, which has room for all operators, and the
 * nanoseconds of the whole run. */
struct gotvm_failure gotvm_session_profile(uintptr_t session, struct tvm_graph_time *times,
                                           int64_t *total);

#endif
