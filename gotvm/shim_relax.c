#include "shim_relax.h"

#include "base/checked.h"
#include "base/container.h"
#include "graph/graph.h"
#include "relax/relax.h"

#include <stdlib.h>
#include <string.h>

static struct tvm_relax_executable *executable_of(uintptr_t executable) {
    return (struct tvm_relax_executable *)executable;
}

static struct tvm_relax_session *session_of(uintptr_t session) {
    return (struct tvm_relax_session *)session;
}

uintptr_t gotvm_relax_executable(uintptr_t module) {
    return (uintptr_t)tvm_relax_executable_of((struct tvm_module *)module);
}

size_t gotvm_relax_function_count(uintptr_t executable) {
    return tvm_relax_function_count(executable_of(executable));
}

struct gotvm_port gotvm_relax_function_name(uintptr_t executable, size_t index) {
    struct tvm_bytes name = tvm_relax_function_name(executable_of(executable), index);
    return (struct gotvm_port){.name = (uintptr_t)name.data, .name_size = name.size};
}

size_t gotvm_relax_param_count(uintptr_t executable, size_t index) {
    return tvm_relax_param_count(executable_of(executable), index);
}

static struct gotvm_port port_of(struct tvm_relax_info info) {
    struct gotvm_port port = {
        .name = (uintptr_t)info.name.data, .name_size = info.name.size, .ndim = -1};
    if (info.is_tensor) {
        port.shape = (uintptr_t)info.shape;
        port.ndim = info.ndim;
        port.dtype = info.dtype;
    }
    return port;
}

struct gotvm_port gotvm_relax_param(uintptr_t executable, size_t index, size_t param) {
    return port_of(tvm_relax_param(executable_of(executable), index, param));
}

size_t gotvm_relax_result_count(uintptr_t executable, size_t index) {
    return tvm_relax_result_count(executable_of(executable), index);
}

struct gotvm_port gotvm_relax_result(uintptr_t executable, size_t index, size_t result) {
    return port_of(tvm_relax_result(executable_of(executable), index, result));
}

struct gotvm_result gotvm_relax_session_new(uintptr_t executable, DLDevice device, int threads) {
    struct tvm_relax_session *session = NULL;
    int status = tvm_relax_session_new(executable_of(executable), device, &session);
    if (status == 0)
        tvm_relax_session_context(session)->thread_limit = threads;
    return gotvm_result_of(status, session);
}

struct bound_function {
    struct tvm_relax_session *session; /* owned */
    size_t index;
};

static int bound_call(void *self, const struct tvm_value *args, int32_t count,
                      struct tvm_value *result) {
    const struct bound_function *bound = ((struct tvm_function *)self)->resource;
    return tvm_relax_session_call(bound->session, bound->index, args, count, result);
}

/* Tensors that a result is copied to. */
struct targets {
    const struct tvm_value *values;
    int32_t count;
    int32_t used;
};

static bool fits(const struct tvm_value *result, struct targets *targets) {
    if (result->type_index == TVM_TYPE_ARRAY) {
        const struct tvm_array *array = (const struct tvm_array *)result->v_object;
        for (int64_t i = 0; i < array->size; i++)
            if (!fits(&array->items[i], targets))
                return false;
        return true;
    }
    if (result->type_index != TVM_TYPE_TENSOR || targets->used >= targets->count)
        return false;
    const struct tvm_value *target = &targets->values[targets->used++];
    if (target->type_index != TVM_TYPE_TENSOR)
        return false;
    const DLTensor *from = &((struct tvm_tensor *)result->v_object)->dl;
    const DLTensor *to = &((struct tvm_tensor *)target->v_object)->dl;
    return tvm_dtype_equal(from->dtype, to->dtype) && from->ndim == to->ndim &&
           (from->ndim == 0 ||
            memcmp(from->shape, to->shape, (size_t)from->ndim * sizeof(int64_t)) == 0);
}

static bool shares_memory(const DLTensor *a, const DLTensor *b) {
    size_t a_size, b_size;
    if (a->device.device_type != kDLCPU || b->device.device_type != kDLCPU)
        return a->data == b->data;
    if (tvm_tensor_nbytes(a, &a_size) || tvm_tensor_nbytes(b, &b_size))
        return true;
    uintptr_t from = (uintptr_t)a->data + (uintptr_t)a->byte_offset;
    uintptr_t to = (uintptr_t)b->data + (uintptr_t)b->byte_offset;
    return from < to + b_size && to < from + a_size;
}

/* Whether a tensor of the result would be overwritten before its turn to be copied. */
static bool is_overwritten(const struct tvm_value *result, struct targets *targets) {
    if (result->type_index == TVM_TYPE_ARRAY) {
        const struct tvm_array *array = (const struct tvm_array *)result->v_object;
        for (int64_t i = 0; i < array->size; i++)
            if (is_overwritten(&array->items[i], targets))
                return true;
        return false;
    }
    const DLTensor *from = &((struct tvm_tensor *)result->v_object)->dl;
    for (int32_t i = 0; i < targets->used; i++)
        if (shares_memory(from, &((struct tvm_tensor *)targets->values[i].v_object)->dl))
            return true;
    targets->used++;
    return false;
}

static int copy_result(const struct tvm_value *result, struct targets *targets) {
    if (result->type_index == TVM_TYPE_ARRAY) {
        const struct tvm_array *array = (const struct tvm_array *)result->v_object;
        for (int64_t i = 0; i < array->size; i++)
            if (copy_result(&array->items[i], targets))
                return -1;
        return 0;
    }
    struct tvm_tensor *target = (struct tvm_tensor *)targets->values[targets->used++].v_object;
    return tvm_tensor_copy(&((struct tvm_tensor *)result->v_object)->dl, &target->dl);
}

static int copying_call(void *self, const struct tvm_value *args, int32_t count,
                        struct tvm_value *result) {
    const struct bound_function *bound = ((struct tvm_function *)self)->resource;
    size_t params =
        tvm_relax_param_count(tvm_relax_session_executable(bound->session), bound->index);
    int32_t inputs = (size_t)count < params ? count : (int32_t)params;
    if (tvm_relax_session_call(bound->session, bound->index, args, inputs, result))
        return -1;
    struct targets targets = {args + inputs, count - inputs, 0};
    if (targets.count == 0 || !fits(result, &targets) || targets.used != targets.count)
        return 0;
    targets.used = 0;
    if (is_overwritten(result, &targets))
        return 0;
    targets.used = 0;
    int status = copy_result(result, &targets);
    tvm_value_clear(result);
    if (status == 0)
        *result = tvm_opaque(self);
    return status;
}

static void bound_free(void *resource) {
    struct bound_function *bound = resource;
    tvm_object_release((struct tvm_object *)bound->session);
    free(bound);
}

static int function_new(struct tvm_relax_session *session, size_t index, tvm_safe_call *call,
                        struct tvm_function **out) {
    struct bound_function *bound = malloc(sizeof(*bound));
    if (!bound)
        return tvm_raise_out_of_memory();
    *bound = (struct bound_function){session, index};
    tvm_object_retain((struct tvm_object *)session);
    if (tvm_function_new(call, bound, bound_free, out) == 0)
        return 0;
    bound_free(bound);
    return -1;
}

struct gotvm_result gotvm_relax_function_new(uintptr_t session, size_t index) {
    struct tvm_function *function = NULL;
    int status = function_new(session_of(session), index, bound_call, &function);
    return gotvm_result_of(status, function);
}

struct gotvm_result gotvm_relax_copying_function_new(uintptr_t session, size_t index) {
    struct tvm_function *function = NULL;
    int status = function_new(session_of(session), index, copying_call, &function);
    return gotvm_result_of(status, function);
}

uintptr_t gotvm_relax_session_context(uintptr_t session) {
    return (uintptr_t)tvm_relax_session_context(session_of(session));
}

struct gotvm_result gotvm_weights_place(uintptr_t weights, const char *data, DLDevice device) {
    struct tvm_graph_params *params = NULL;
    int status =
        tvm_graph_weights_place((struct tvm_graph_weights *)weights, data, device, &params);
    return gotvm_result_of(status, params);
}

uintptr_t gotvm_params_find(uintptr_t params, const char *name, size_t size) {
    struct tvm_tensor *tensor =
        tvm_graph_params_find((struct tvm_graph_params *)params, (struct tvm_bytes){name, size});
    if (tensor)
        tvm_object_retain(&tensor->object);
    return (uintptr_t)tensor;
}

struct gotvm_port gotvm_shape(uintptr_t shape) {
    const struct tvm_shape *it = (const struct tvm_shape *)shape;
    return (struct gotvm_port){.shape = (uintptr_t)it->data, .ndim = (int32_t)it->size};
}

size_t gotvm_array_size(uintptr_t array) {
    return (size_t)((struct tvm_array *)array)->size;
}

struct gotvm_value gotvm_array_item(uintptr_t array, size_t index) {
    return gotvm_hold_value(&((struct tvm_array *)array)->items[index]);
}
