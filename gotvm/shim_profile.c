#include "shim_profile.h"

static struct tvm_graph_session *session_of(uintptr_t session) {
    return (struct tvm_graph_session *)session;
}

size_t gotvm_session_operator_count(uintptr_t session) {
    return tvm_graph_session_operator_count(session_of(session));
}

struct gotvm_operator gotvm_session_operator(uintptr_t session, uint32_t node) {
    struct tvm_graph_operator_info info =
        tvm_graph_plan_operator(tvm_graph_session_plan(session_of(session)), node);
    return (struct gotvm_operator){.name = (uintptr_t)info.name.data,
                                   .name_size = info.name.size,
                                   .function = (uintptr_t)info.function.data,
                                   .function_size = info.function.size,
                                   .input_count = info.input_count,
                                   .output_count = info.output_count,
                                   .nbytes = info.nbytes};
}

struct gotvm_port gotvm_session_argument(uintptr_t session, uint32_t node, size_t index) {
    struct tvm_graph_tensor_info info =
        tvm_graph_plan_argument(tvm_graph_session_plan(session_of(session)), node, index);
    return (struct gotvm_port){.name = (uintptr_t)info.name.data,
                               .name_size = info.name.size,
                               .shape = (uintptr_t)info.shape,
                               .ndim = info.ndim,
                               .dtype = info.dtype};
}

struct gotvm_failure gotvm_session_profile(uintptr_t session, struct tvm_graph_time *times,
                                           int64_t *total) {
    int status = tvm_graph_session_check_inputs(session_of(session)) ||
                 tvm_graph_session_profile(session_of(session), times, total);
    return gotvm_failure_of(status);
}
