/* What the Go package asks of the graph executor, in the form of shim.h. */
#ifndef GOTVM_SHIM_GRAPH_H
#define GOTVM_SHIM_GRAPH_H

#include "shim.h"

/* An input or output of a graph, borrowed from the plan. */
struct gotvm_port {
    uintptr_t name;
    size_t name_size;
    uintptr_t shape; /* ndim int64 */
    int32_t ndim;
    DLDataType dtype;
};

/* A tensor for the input or output with this index. */
struct gotvm_slot {
    size_t index;
    uintptr_t tensor;
};

/* Results are objects with a reference for the caller. name is what messages call the data, which
 * is not needed afterwards. */
struct gotvm_result gotvm_plan_new(const char *name, const char *json, size_t size);
/* The parameters, checked against plan unless that is 0: in a regular file, or with fd -1 at data.
 */
struct gotvm_result gotvm_weights_new(uintptr_t plan, const char *name, int fd, const char *data,
                                      size_t size);
/* What one file holds, see graph/package.h. */
struct gotvm_package {
    uintptr_t module, plan, library, weights; /* references for the caller, or 0 */
    int32_t in_bytes;
    struct gotvm_failure failure;
};
/* Opens the file at path or, unless data is NULL, what data holds. */
struct gotvm_package gotvm_package_open(const char *path, const char *data, size_t size);
/* Opens what is linked into the program with this prefix. */
struct gotvm_package gotvm_package_linked(const char *prefix);
/* weights may be 0; data is where they were made from, NULL for a file; threads 0 means no limit.
 */
struct gotvm_result gotvm_session_new(uintptr_t plan, uintptr_t library, uintptr_t weights,
                                      const char *data, DLDevice device, int threads);

size_t gotvm_plan_input_count(uintptr_t plan);
size_t gotvm_plan_output_count(uintptr_t plan);
struct gotvm_port gotvm_plan_input(uintptr_t plan, size_t index);
struct gotvm_port gotvm_plan_output(uintptr_t plan, size_t index);
int gotvm_weights_has(uintptr_t weights, const char *name, size_t size);

/* Sets the inputs, runs, and copies the outputs to the tensors given for them. */
struct gotvm_failure gotvm_session_run(uintptr_t session, const struct gotvm_slot *inputs,
                                       size_t input_count, const struct gotvm_slot *outputs,
                                       size_t output_count);
/* Whether input index is bound: 0 or 1. */
struct gotvm_result gotvm_session_is_bound(uintptr_t session, size_t index);
/* The execution context, for gotvm_context_cancel and gotvm_context_profile. */
uintptr_t gotvm_session_context(uintptr_t session);
/* slot.tensor 0 ends the binding. */
struct gotvm_failure gotvm_session_bind_input(uintptr_t session, struct gotvm_slot slot);
struct gotvm_failure gotvm_session_bind_output(uintptr_t session, struct gotvm_slot slot);

#endif
