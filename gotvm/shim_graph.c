#include "shim_graph.h"

#include "graph/package.h"

_Static_assert(sizeof(struct gotvm_slot) == sizeof(struct tvm_graph_slot), "one slot, two names");
_Static_assert(offsetof(struct gotvm_slot, tensor) == offsetof(struct tvm_graph_slot, tensor),
               "the same");

static struct tvm_graph_session *session_of(uintptr_t session) {
    return (struct tvm_graph_session *)session;
}

static const DLTensor *dl_of(uintptr_t tensor) {
    return tensor ? &((struct tvm_tensor *)tensor)->dl : NULL;
}

struct gotvm_result gotvm_plan_new(const char *name, const char *json, size_t size) {
    struct tvm_graph_plan *plan = NULL;
    int status = tvm_graph_plan_new(name, json, size, &plan);
    return gotvm_result_of(status, plan);
}

static struct tvm_graph_weights *weights_of(uintptr_t weights) {
    return (struct tvm_graph_weights *)weights;
}

struct gotvm_result gotvm_weights_new(uintptr_t plan, const char *name, int fd, const char *data,
                                      size_t size) {
    struct tvm_graph_weights *weights = NULL;
    int status = fd < 0 ? tvm_graph_weights_from_bytes(name, data, size, &weights)
                        : tvm_graph_weights_open(name, fd, 0, size, &weights);
    if (status == 0 && plan && tvm_graph_weights_check(weights, (struct tvm_graph_plan *)plan)) {
        status = -1;
        tvm_object_release((struct tvm_object *)weights);
    }
    return gotvm_result_of(status, weights);
}

static struct gotvm_package package_of(int status, const struct tvm_graph_package *package) {
    return (struct gotvm_package){
        .module = (uintptr_t)package->module,
        .plan = (uintptr_t)package->plan,
        .library = (uintptr_t)package->library,
        .weights = (uintptr_t)package->weights,
        .in_bytes = package->in_bytes,
        .failure = gotvm_failure_of(status),
    };
}

struct gotvm_package gotvm_package_open(const char *path, const char *data, size_t size) {
    struct tvm_graph_package package;
    int status = data ? tvm_graph_package_from_bytes(path, data, size, &package)
                      : tvm_graph_package_open(path, &package);
    return package_of(status, &package);
}

struct gotvm_package gotvm_package_linked(const char *prefix) {
    struct tvm_graph_package package;
    int status = tvm_graph_package_linked(prefix, &package);
    return package_of(status, &package);
}

static int session_new(uintptr_t plan, uintptr_t library, uintptr_t weights, const char *data,
                       DLDevice device, struct tvm_graph_session **out) {
    struct tvm_graph_params *params = NULL;
    DLDevice devices[] = {device, {kDLCPU, 0}}; /* a graph may have operators for both */
    char text[TVM_DEVICE_TEXT_SIZE];
    if (device.device_type != kDLCPU &&
        !tvm_graph_plan_uses((struct tvm_graph_plan *)plan, device.device_type))
        return tvm_raise(TVM_TYPE_ERROR, "nothing of the model is compiled for %s",
                         tvm_device_print(device, text));
    if (weights && tvm_graph_weights_place_for(weights_of(weights), data,
                                               (struct tvm_graph_plan *)plan, devices, 2, &params))
        return -1;
    int status = tvm_graph_session_new((struct tvm_graph_plan *)plan, (struct tvm_module *)library,
                                       params, devices, 2, NULL, out);
    tvm_object_release((struct tvm_object *)params);
    return status;
}

struct gotvm_result gotvm_session_new(uintptr_t plan, uintptr_t library, uintptr_t weights,
                                      const char *data, DLDevice device, int threads) {
    struct tvm_graph_session *session = NULL;
    int status = session_new(plan, library, weights, data, device, &session);
    if (status == 0)
        tvm_graph_session_context(session)->thread_limit = threads;
    return gotvm_result_of(status, session);
}

size_t gotvm_plan_input_count(uintptr_t plan) {
    return tvm_graph_plan_input_count((struct tvm_graph_plan *)plan);
}

size_t gotvm_plan_output_count(uintptr_t plan) {
    return tvm_graph_plan_output_count((struct tvm_graph_plan *)plan);
}

static struct gotvm_port port_of(struct tvm_graph_tensor_info info) {
    return (struct gotvm_port){.name = (uintptr_t)info.name.data,
                               .name_size = info.name.size,
                               .shape = (uintptr_t)info.shape,
                               .ndim = info.ndim,
                               .dtype = info.dtype};
}

struct gotvm_port gotvm_plan_input(uintptr_t plan, size_t index) {
    return port_of(tvm_graph_plan_input((struct tvm_graph_plan *)plan, index));
}

struct gotvm_port gotvm_plan_output(uintptr_t plan, size_t index) {
    return port_of(tvm_graph_plan_output((struct tvm_graph_plan *)plan, index));
}

int gotvm_weights_has(uintptr_t weights, const char *name, size_t size) {
    return tvm_graph_weights_has(weights_of(weights), (struct tvm_bytes){name, size});
}

static int run(struct tvm_graph_session *session, const struct gotvm_slot *inputs,
               size_t input_count, const struct gotvm_slot *outputs, size_t output_count) {
    const struct tvm_graph_slot *slots = (const struct tvm_graph_slot *)(const void *)inputs;
    if (tvm_graph_session_set_inputs(session, slots, input_count) || tvm_graph_session_run(session))
        return -1;
    for (size_t i = 0; i < output_count; i++)
        if (tvm_graph_session_copy_output(session, outputs[i].index, dl_of(outputs[i].tensor)))
            return -1;
    return 0;
}

struct gotvm_failure gotvm_session_run(uintptr_t session, const struct gotvm_slot *inputs,
                                       size_t input_count, const struct gotvm_slot *outputs,
                                       size_t output_count) {
    return gotvm_failure_of(run(session_of(session), inputs, input_count, outputs, output_count));
}

struct gotvm_result gotvm_session_is_bound(uintptr_t session, size_t index) {
    bool is_bound = false;
    int status = tvm_graph_session_is_bound(session_of(session), index, &is_bound);
    return (struct gotvm_result){is_bound, gotvm_failure_of(status)};
}

uintptr_t gotvm_session_context(uintptr_t session) {
    return (uintptr_t)tvm_graph_session_context(session_of(session));
}

struct gotvm_failure gotvm_session_bind_input(uintptr_t session, struct gotvm_slot slot) {
    return gotvm_failure_of(tvm_graph_session_bind_input(
        session_of(session), slot.index, dl_of(slot.tensor), (struct tvm_object *)slot.tensor));
}

struct gotvm_failure gotvm_session_bind_output(uintptr_t session, struct gotvm_slot slot) {
    return gotvm_failure_of(tvm_graph_session_bind_output(
        session_of(session), slot.index, dl_of(slot.tensor), (struct tvm_object *)slot.tensor));
}
