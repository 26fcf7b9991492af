/* Making executor modules, under all the names that TVM has for that. */
#include "graph/executor.h"

/* The plan and the session. */
static int session_new(struct tvm_bytes json, struct tvm_module *library, const DLDevice *devices,
                       size_t device_count, struct tvm_function *lookup,
                       struct tvm_graph_session **out) {
    struct tvm_graph_plan *plan;
    if (tvm_graph_plan_new("graph", json.data, json.size, &plan))
        return -1;
    int status = tvm_graph_session_new(plan, library, NULL, devices, device_count, lookup, out);
    tvm_object_release(&plan->object);
    return status;
}

/* Argument 1: a module or, in what clients once called through RPC, the handle of one. */
static int library_argument(const struct tvm_call *call, bool is_remote, struct tvm_module **out) {
    struct tvm_object *handle = call->args[1].v_object;
    if (is_remote && call->args[1].type_index == TVM_TYPE_OPAQUE_PTR && handle &&
        handle->type_index == TVM_TYPE_MODULE) {
        *out = (struct tvm_module *)handle;
        return 0;
    }
    return tvm_call_object(call, 1, "library", TVM_TYPE_MODULE, out);
}

/* Makes the session that a create function is asked for. */
static int create(const struct tvm_call *call, bool is_remote, struct tvm_graph_session **out) {
    struct tvm_bytes json;
    struct tvm_module *library;
    struct tvm_function *lookup = NULL;
    DLDevice devices[TVM_GRAPH_MAX_DEVICES];
    size_t device_count = 0;
    if (tvm_call_text(call, 0, "graph JSON", &json) || library_argument(call, is_remote, &library))
        return -1;
    int32_t first = 2;
    if (call->args[2].type_index == TVM_TYPE_FUNCTION ||
        call->args[2].type_index == TVM_TYPE_NONE) {
        if (call->args[2].type_index == TVM_TYPE_FUNCTION)
            lookup = (struct tvm_function *)call->args[2].v_object;
        first = 3;
    }
    if ((call->count - first) % 2)
        return tvm_raise(
            TVM_VALUE_ERROR,
            "%s: expected pairs of device type and id, got %d arguments behind the library",
            call->name, call->count - 2);
    for (int32_t i = first; i < call->count && device_count < TVM_GRAPH_MAX_DEVICES; i += 2)
        if (tvm_call_device(call, i, &devices[device_count++]))
            return -1;
    if (session_new(json, library, devices, device_count, lookup, out))
        return tvm_raise_context("%s", call->name);
    return 0;
}

static int create_executor(const struct tvm_call *call, bool is_remote, bool is_debug,
                           bool in_microseconds, struct tvm_value *result) {
    struct tvm_graph_session *session;
    struct tvm_module *module;
    if (create(call, is_remote, &session))
        return -1;
    int status = tvm_graph_executor_make(session, is_debug, in_microseconds, &module);
    tvm_object_release(&session->object);
    if (status == 0)
        *result = tvm_from_object(module);
    return status;
}

#define CREATE(function, is_remote, is_debug, in_microseconds)                                     \
    int function(const struct tvm_call *call, struct tvm_value *result) {                          \
        return create_executor(call, is_remote, is_debug, in_microseconds, result);                \
    }

CREATE(tvm_graph_executor_create, false, false, false)
CREATE(tvm_graph_executor_debug_create, false, true, false)
CREATE(tvm_graph_runtime_debug_create, false, true, true)
CREATE(tvm_graph_runtime_remote_create, true, false, false)
CREATE(tvm_graph_runtime_debug_remote_create, true, true, true)

/* An executor that records a run on a CUDA device and replays it. A plain one in its place would
 * lack start_capture and run_cuda_graph, and fail later with less to say. */
int tvm_graph_executor_cuda_graph_create(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: CUDA graphs need CUDA, which this runtime has not: use "
                     "tvm.graph_executor.create with a library compiled for llvm or another target "
                     "that it has",
                     call->name);
}
