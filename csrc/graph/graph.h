/* The graph executor: graph JSON of TVM 0.5 to 0.19 over a compiled library.
 *
 * Plan: the validated graph, immutable. Weights: the parameters of one file where they lie. Params:
 * the same on devices, immutable, shared by all sessions of a model. Session: activations, bound
 * arguments and its own overrides; one thread at a time. All but sessions may be used by any
 * threads at once. */
#ifndef TVM_GRAPH_GRAPH_H
#define TVM_GRAPH_GRAPH_H

#include "base/context.h"
#include "base/module.h"
#include "base/tensor.h"

/* Each a struct tvm_object. */
struct tvm_graph_plan;
struct tvm_graph_param_list;
struct tvm_graph_weights;
struct tvm_graph_params;
struct tvm_graph_session;

/* Name, dtype and shape of a graph's input or output, borrowed from the plan. */
struct tvm_graph_tensor_info {
    struct tvm_bytes name; /* NUL-terminated; of an output: the name of the node that makes it */
    DLDataType dtype;
    const int64_t *shape;
    int ndim;
};

/* Parses and checks a graph; name is what messages call the data. The library is not needed yet.
 * FormatError for damaged data, UnsupportedError for textures. */
int tvm_graph_plan_new(const char *name, const char *json, size_t size,
                       struct tvm_graph_plan **out);
/* Inputs in the order of arg_nodes, parameters included. */
size_t tvm_graph_plan_input_count(const struct tvm_graph_plan *plan);
size_t tvm_graph_plan_output_count(const struct tvm_graph_plan *plan);
/* index must be below the count. */
struct tvm_graph_tensor_info tvm_graph_plan_input(const struct tvm_graph_plan *plan, size_t index);
struct tvm_graph_tensor_info tvm_graph_plan_output(const struct tvm_graph_plan *plan, size_t index);
/* Index of the input called name, or of the output whose node is; false when there is none. With
 * duplicates, the last. */
bool tvm_graph_plan_find_input(const struct tvm_graph_plan *plan, struct tvm_bytes name,
                               size_t *out);
bool tvm_graph_plan_find_output(const struct tvm_graph_plan *plan, struct tvm_bytes name,
                                size_t *out);
/* Whether anything of it can be on the first device of a session, of that type. */
bool tvm_graph_plan_uses(const struct tvm_graph_plan *plan, DLDeviceType type);

/* Modules that libraries package: factories of executors (TVM 0.7 to 0.19; see graph/package.h for
 * what to make of them), constants for external code, and a mark of the AOT executor's. */
extern const struct tvm_module_kind tvm_graph_executor_factory_kind;
extern const struct tvm_module_kind tvm_graph_runtime_factory_kind;
extern const struct tvm_module_kind tvm_aot_executor_factory_kind;
extern const struct tvm_module_kind tvm_const_loader_kind;
extern const struct tvm_module_kind tvm_const_loader_old_kind;
extern const struct tvm_module_kind tvm_metadata_module_kind;

/* A param list: names, dtypes, shapes and places of parameters. Nothing in it points to the
 * reader's data. */

/* Reads a u64 count's worth of names, then as many tensors, whose data is skipped: as factory
 * libraries hold them. */
int tvm_graph_params_read_names(struct tvm_reader *reader, struct tvm_graph_param_list **out);
int tvm_graph_params_read_tensors(struct tvm_reader *reader, struct tvm_graph_param_list *list);
/* Reads what a params file (F7E58D4F05049CB7) has before the tensors. */
int tvm_graph_params_read_head(struct tvm_reader *reader, struct tvm_graph_param_list **out);

/* The parameters of a complete list, wherever they lie until they are placed; name is what messages
 * call the place. In a file, fd is kept open by a descriptor of its own, and the reader's data
 * began at offset. In memory, fd is -1, and offset the address of the reader's data or,
 * where tvm_graph_weights_place is given that, 0. */
int tvm_graph_weights_new(const char *name, struct tvm_graph_param_list *list, int fd,
                          uint64_t offset, struct tvm_graph_weights **out);
/* Those of a params file, which is size bytes at offset of a regular file; only heads are read.
 * Bytes behind the last tensor are ignored, as TVM does. */
int tvm_graph_weights_open(const char *name, int fd, uint64_t offset, size_t size,
                           struct tvm_graph_weights **out);
/* Those of a params file in memory. */
int tvm_graph_weights_from_bytes(const char *name, const void *data, size_t size,
                                 struct tvm_graph_weights **out);
bool tvm_graph_weights_has(const struct tvm_graph_weights *weights, struct tvm_bytes name);
/* Whether a session of plan would take them: see tvm_graph_session_set_params. */
int tvm_graph_weights_check(const struct tvm_graph_weights *weights,
                            const struct tvm_graph_plan *plan);

/* The parameters in aligned memory of device (new reference): copied when they are asked for the
 * first time, then shared. memory is where the reader's data lies now (NULL for a file); it is not
 * needed afterwards. FormatError when the file was changed since it was opened. */
int tvm_graph_weights_place(struct tvm_graph_weights *weights, const void *memory, DLDevice device,
                            struct tvm_graph_params **out);
/* The same, each on the device where a session of plan on these devices has it. */
int tvm_graph_weights_place_for(struct tvm_graph_weights *weights, const void *memory,
                                const struct tvm_graph_plan *plan, const DLDevice *devices,
                                size_t device_count, struct tvm_graph_params **out);

/* Reads a params file in memory and places it. */
int tvm_graph_params_new(const char *name, const void *data, size_t size, DLDevice device,
                         struct tvm_graph_params **out);
size_t tvm_graph_params_count(const struct tvm_graph_params *params);
/* Parameter index of the file's order, borrowed; index must be below the count. */
struct tvm_bytes tvm_graph_params_name(const struct tvm_graph_params *params, size_t index);
struct tvm_tensor *tvm_graph_params_tensor(const struct tvm_graph_params *params, size_t index);
/* The parameter called name, borrowed; NULL when there is none. */
struct tvm_tensor *tvm_graph_params_find(const struct tvm_graph_params *params,
                                         struct tvm_bytes name);

/* Makes a session: storage zeroed, arguments bound. library's functions are looked up with imports.
 * Each entry of the graph lives on the first of devices (at least one) that has its device type;
 * without types, on devices[0]. params may be NULL (tvm_graph_session_set_params later). lookup may
 * be NULL; else it gives linked parameters: TVM's (module, storage id, template tensor, device) →
 * tensor or None. Without it the library's own _lookup_linked_param (TVM 0.8) is asked. References
 * are added to all that is kept. */
int tvm_graph_session_new(struct tvm_graph_plan *plan, struct tvm_module *library,
                          struct tvm_graph_params *params, const DLDevice *devices,
                          size_t device_count, struct tvm_function *lookup,
                          struct tvm_graph_session **out);
/* The plan of a session, borrowed. */
struct tvm_graph_plan *tvm_graph_session_plan(const struct tvm_graph_session *session);
/* The device that input or activation memory of unspecified type is on: devices[0]. */
DLDevice tvm_graph_session_device(const struct tvm_graph_session *session);

/* Attaches params, without a copy where they are on the entry's device. They replace what inputs of
 * their names held, bound memory included; inputs that they do not name stay. Names that the graph
 * has not are skipped; a dtype or shape that does not fit, or a graph that overwrites a parameter,
 * is an error, and nothing has changed then. */
int tvm_graph_session_set_params(struct tvm_graph_session *session,
                                 struct tvm_graph_params *params);
/* Attaches what other holds for the named inputs, without a copy where the devices agree. Names
 * that session's graph has not are skipped; NotFoundError for one that only other's has not. other
 * may be running, unless one of them is a value of its own: BusyError. */
int tvm_graph_session_share_params(struct tvm_graph_session *session,
                                   struct tvm_graph_session *other,
                                   const struct tvm_graph_param_list *params);

/* A value for an input; index is that of the plan. */
struct tvm_graph_slot {
    size_t index;
    struct tvm_tensor *tensor; /* borrowed */
};

/* Copies value into input index, and ends its binding. IndexError, TypeError or ValueError naming
 * the input, expected and actual dtype or shape. A shared parameter is replaced for this session
 * only. */
int tvm_graph_session_set_input(struct tvm_graph_session *session, size_t index,
                                const DLTensor *value);
/* The same for several inputs; in addition ValueError, naming them, where inputs never had a value
 * and get none now. Nothing has changed after such errors, only after one of a device. */
int tvm_graph_session_set_inputs(struct tvm_graph_session *session,
                                 const struct tvm_graph_slot *slots, size_t count);
/* Reads and writes value's memory in place until the input or output is bound again, set or
 * unbound (value NULL). owner (may be NULL) is kept alive as long, and by views of it; memory that
 * has no owner is the caller's to keep, and a tensor as owner must not be lent: ValueError. It must
 * be compact, on the session's device, of equal dtype and shape and aligned to 64 bytes. An output
 * that is an input, a parameter or the same as another bound output is copied to value's memory at
 * the end of each run. */
int tvm_graph_session_bind_input(struct tvm_graph_session *session, size_t index,
                                 const DLTensor *value, struct tvm_object *owner);
int tvm_graph_session_bind_output(struct tvm_graph_session *session, size_t index,
                                  const DLTensor *value, struct tvm_object *owner);
/* A view of what the input or output holds now (new reference; it keeps the storage, or the owner
 * of what is bound, alive). The contents change with the next run. An input that is a shared
 * parameter becomes the session's own, with a copy of it; an output that is one is a copy. */
int tvm_graph_session_get_input(struct tvm_graph_session *session, size_t index,
                                struct tvm_tensor **out);
int tvm_graph_session_get_output(struct tvm_graph_session *session, size_t index,
                                 struct tvm_tensor **out);
/* Copies output index into value. */
int tvm_graph_session_copy_output(struct tvm_graph_session *session, size_t index,
                                  const DLTensor *value);
/* Whether input index is bound; index must be below the count. */
int tvm_graph_session_is_bound(struct tvm_graph_session *session, size_t index, bool *out);
/* Whether it is a parameter that the session shares, also while it runs. */
bool tvm_graph_session_is_shared(struct tvm_graph_session *session, size_t index);
/* Runs all operators once. On an error the message names the node. Where the session's context has
 * a profile, it gets the operators: calls of compiled functions and copies between devices, each
 * called as its node, and its tensors as the nodes that make them. */
int tvm_graph_session_run(struct tvm_graph_session *session);

/* The session's own execution context, borrowed: for its thread limit, cancel flag
 * and profile. */
struct tvm_context *tvm_graph_session_context(struct tvm_graph_session *session);

/* All functions of a session that use its values raise BusyError while another
 * thread is in one of them. */

enum { TVM_GRAPH_MAX_DEVICES = 16 }; /* of a session */

/* tvm.graph_executor.create(json, library, [lookup function,] device type, device id, …): a module
 * with TVM's functions, set_input, run, get_output …, and a session of its own. debug_create: with
 * those of TVM's debug executor as well, see graph/debug.c. */
tvm_builtin_call tvm_graph_executor_create;
tvm_builtin_call tvm_graph_executor_debug_create;
/* Those of TVM 0.5 to 0.7, where they differ; remote_create takes the library's handle as an opaque
 * pointer. */
tvm_builtin_call tvm_graph_runtime_debug_create;
tvm_builtin_call tvm_graph_runtime_remote_create;
tvm_builtin_call tvm_graph_runtime_debug_remote_create;
/* Always an error. */
tvm_builtin_call tvm_graph_executor_cuda_graph_create;

#endif
