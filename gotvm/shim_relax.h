/* What the Go package asks of the Relax virtual machine, in the form of shim.h. */
#ifndef GOTVM_SHIM_RELAX_H
#define GOTVM_SHIM_RELAX_H

#include "shim_graph.h"

/* The executable that a module is, borrowed from it; 0 for any other module. */
uintptr_t gotvm_relax_executable(uintptr_t module);

size_t gotvm_relax_function_count(uintptr_t executable);
struct gotvm_port gotvm_relax_function_name(uintptr_t executable, size_t index);
size_t gotvm_relax_param_count(uintptr_t executable, size_t index);
/* Of what is no tensor, or unknown, dtype is 0; of a tensor of unknown rank ndim is -1. */
struct gotvm_port gotvm_relax_param(uintptr_t executable, size_t index, size_t param);
/* 0 results: it is not known what the function gives. */
size_t gotvm_relax_result_count(uintptr_t executable, size_t index);
struct gotvm_port gotvm_relax_result(uintptr_t executable, size_t index, size_t result);

/* Results are objects with a reference for the caller. threads 0 means no limit. */
struct gotvm_result gotvm_relax_session_new(uintptr_t executable, DLDevice device, int threads);
/* Function index of the executable as a packed function that runs in session. */
struct gotvm_result gotvm_relax_function_new(uintptr_t session, size_t index);
/* The execution context, for gotvm_context_cancel and gotvm_context_profile. */
uintptr_t gotvm_relax_session_context(uintptr_t session);
/* The same; behind the function's arguments come tensors that its result is copied to, nested
 * tuples in order, and it gives its own address, as no model can. Where the result is not as many
 * tensors of their types and shapes, or one would be overwritten before it is copied, or there are
 * none, nothing is copied, and it gives the result. */
struct gotvm_result gotvm_relax_copying_function_new(uintptr_t session, size_t index);

/* The parameters in weights on device, placed if they are not yet; data as in gotvm_session_new. */
struct gotvm_result gotvm_weights_place(uintptr_t weights, const char *data, DLDevice device);
/* The parameter of this name, with a reference for the caller; 0: there is none. */
uintptr_t gotvm_params_find(uintptr_t params, const char *name, size_t size);

/* The dimensions of a shape. */
struct gotvm_port gotvm_shape(uintptr_t shape);
size_t gotvm_array_size(uintptr_t array);
/* An item with a reference for the caller, but for text, which is borrowed. */
struct gotvm_value gotvm_array_item(uintptr_t array, size_t index);

#endif
