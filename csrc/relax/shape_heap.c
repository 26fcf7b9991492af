/* vm.builtin.* on the shape heap: numbers of dimensions that are known only at run time. */
#include "relax/builtin.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

static bool is_null(const struct tvm_value *value) {
    return value->type_index == TVM_TYPE_NONE ||
           (value->type_index == TVM_TYPE_OPAQUE_PTR && !value->v_ptr);
}

/* As an argument; NULL is one without slots. */
struct heap {
    int64_t *slots;
    int64_t count;
};

static int call_heap(const struct tvm_call *call, int32_t index, struct heap *out) {
    const DLTensor *dl;
    *out = (struct heap){0};
    if (index < call->count && is_null(&call->args[index]))
        return 0;
    if (tvm_call_tensor(call, index, "shape heap", &dl))
        return -1;
    if (dl->device.device_type != kDLCPU || dl->ndim != 1 || dl->dtype.code != TVM_DTYPE_INT ||
        dl->dtype.bits != 64 || dl->dtype.lanes != 1 || dl->byte_offset != 0 || !dl->data ||
        (uintptr_t)dl->data % sizeof(int64_t) || !tvm_tensor_is_compact(dl))
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument %d is no shape heap", call->name, index);
    *out = (struct heap){dl->data, dl->shape[0]};
    return 0;
}

static int heap_slot(const struct tvm_call *call, const struct heap *heap, int64_t slot,
                     int64_t **out) {
    if (slot < 0 || slot >= heap->count) {
        tvm_raise(TVM_INDEX_ERROR, "%s: slot %lld of a shape heap with %lld", call->name,
                  (long long)slot, (long long)heap->count);
        return -1; /* a constant, so that the compiler sees *out set where the result is 0 */
    }
    *out = &heap->slots[slot];
    return 0;
}

/* A code and a number, at index and the next, which compiled code passes as ints. */
static int call_pair(const struct tvm_call *call, int32_t index, int64_t *code, int64_t *number) {
    return tvm_call_int(call, index, "code", code) ||
           tvm_call_int(call, index + 1, "number", number);
}

BUILTIN(alloc_shape_heap) {
    struct tvm_relax_session *session;
    struct vm_storage *storage;
    struct tvm_shape *shape;
    int64_t size;
    size_t nbytes;
    if (tvm_vm_session_of(call, &session) || tvm_call_int(call, 1, "size", &size))
        return -1;
    if (size < 0 || size > INT32_MAX || !tvm_size_mul((uint64_t)size, sizeof(int64_t), &nbytes))
        return tvm_raise(TVM_VALUE_ERROR, "%s: size %lld", call->name, (long long)size);
    if (tvm_vm_pool_alloc(&session->pool, (DLDevice){kDLCPU, 0}, nbytes, &storage))
        return -1;
    memset(storage->memory->data, 0, nbytes);
    struct tvm_tensor *tensor;
    int status = tvm_shape_new(&size, 1, &shape);
    if (status == 0) {
        status =
            tvm_vm_storage_tensor(storage, 0, shape, (DLDataType){TVM_DTYPE_INT, 64, 1}, &tensor);
        tvm_object_release(&shape->object);
    }
    tvm_object_release(&storage->object);
    if (status == 0)
        *result = tvm_from_object(tensor);
    return status;
}

enum { MATCH_IMMEDIATE = 0, MATCH_STORE = 1, MATCH_NOTHING = 2, MATCH_SLOT = 3 };

/* Whether number fits code and reg, in *fits; stores it where code says so. */
static int match(const struct tvm_call *call, const struct heap *heap, int64_t number, int64_t code,
                 int64_t reg, bool *fits) {
    int64_t *slot;
    *fits = true;
    switch (code) {
    case MATCH_IMMEDIATE:
        *fits = number == reg;
        return 0;
    case MATCH_STORE:
        if (heap_slot(call, heap, reg, &slot))
            return -1;
        *slot = number;
        return 0;
    case MATCH_NOTHING:
        return 0;
    case MATCH_SLOT:
        if (heap_slot(call, heap, reg, &slot))
            return -1;
        *fits = number == *slot;
        return 0;
    default:
        return tvm_raise(TVM_VALUE_ERROR, "%s: code %lld", call->name, (long long)code);
    }
}

/* Says which dimension does not fit: for kinds of contexts that do not tell the whole shape. */
static int dimension_mismatch(const struct tvm_call *call, const struct heap *heap, int64_t index,
                              int64_t code, int64_t reg, int32_t context) {
    char expected[96];
    int64_t *slot = NULL;
    if (code == MATCH_SLOT && heap_slot(call, heap, reg, &slot))
        return -1;
    snprintf(expected, sizeof(expected), "%lld in dimension %lld", (long long)(slot ? *slot : reg),
             (long long)index);
    if (tvm_vm_mismatch(call, TVM_VALUE_ERROR, context, expected, &call->args[0]) && slot)
        return tvm_raise_context("dimension %lld should be %lld here", (long long)index,
                                 (long long)*slot);
    return -1;
}

/* (tensor or shape, heap, number of dimensions, code and number of each, error context) */
BUILTIN(match_shape) {
    struct heap heap;
    int64_t size, ndim;
    const int64_t *dims;
    if (call_heap(call, 1, &heap) || tvm_call_int(call, 2, "dimensions", &size))
        return -1;
    const DLTensor *dl = tvm_vm_tensor_of(&call->args[0]);
    if (dl) {
        dims = dl->shape;
        ndim = dl->ndim;
    } else {
        struct tvm_shape *shape;
        if (tvm_vm_call_shape(call, 0, &shape))
            return -1;
        dims = shape->data;
        ndim = (int64_t)shape->size;
    }
    if (size < 0 || size > (call->count - 3) / 2)
        return tvm_raise(TVM_VALUE_ERROR, "%s: %lld dimensions in %d arguments", call->name,
                         (long long)size, call->count);
    int32_t context = 3 + 2 * (int32_t)size;
    if (ndim != size) {
        char expected[48];
        snprintf(expected, sizeof(expected), "%lld dimensions", (long long)size);
        return tvm_vm_mismatch(call, TVM_VALUE_ERROR, context, expected, &call->args[0]);
    }
    for (int32_t i = 0; i < (int32_t)size; i++) {
        int64_t code, reg;
        bool fits;
        if (call_pair(call, 3 + 2 * i, &code, &reg) ||
            match(call, &heap, dims[i], code, reg, &fits))
            return -1;
        if (!fits)
            return dimension_mismatch(call, &heap, i, code, reg, context);
    }
    return 0;
}

/* (value, heap, code, number, error context) */
BUILTIN(match_prim_value) {
    struct heap heap;
    int64_t value, code, reg;
    bool fits;
    char expected[64];
    if (tvm_call_int(call, 0, "value", &value) || call_heap(call, 1, &heap) ||
        call_pair(call, 2, &code, &reg) || match(call, &heap, value, code, reg, &fits))
        return -1;
    if (fits)
        return 0;
    snprintf(expected, sizeof(expected), "%lld instead of %lld",
             (long long)(code == MATCH_SLOT ? heap.slots[reg] : reg), (long long)value);
    return tvm_vm_mismatch(call, TVM_VALUE_ERROR, 4, expected, &call->args[0]);
}

static int make_number(const struct tvm_call *call, const struct heap *heap, int32_t index,
                       int64_t *out) {
    int64_t code, reg, *slot;
    if (call_pair(call, index, &code, &reg))
        return -1;
    if (code != 0 && code != 1)
        return tvm_raise(TVM_VALUE_ERROR, "%s: code %lld", call->name, (long long)code);
    if (code == 1 && heap_slot(call, heap, reg, &slot))
        return -1;
    *out = code == 1 ? *slot : reg;
    return 0;
}

/* (heap, number of dimensions, code and number of each) */
BUILTIN(make_shape) {
    int64_t dims[TVM_MAX_NDIM], size;
    struct tvm_shape *shape;
    struct heap heap;
    if (call_heap(call, 0, &heap) || tvm_call_int(call, 1, "dimensions", &size))
        return -1;
    if (size < 0 || size > TVM_MAX_NDIM || size > (call->count - 2) / 2)
        return tvm_raise(TVM_VALUE_ERROR, "%s: %lld dimensions in %d arguments", call->name,
                         (long long)size, call->count);
    for (int32_t i = 0; i < (int32_t)size; i++)
        if (make_number(call, &heap, 2 + 2 * i, &dims[i]))
            return -1;
    if (tvm_shape_new(dims, (size_t)size, &shape))
        return -1;
    *result = tvm_from_object(shape);
    return 0;
}

/* (heap, code, number) */
BUILTIN(make_prim_value) {
    struct heap heap;
    int64_t value;
    if (call_heap(call, 0, &heap) || make_number(call, &heap, 1, &value))
        return -1;
    *result = tvm_int(value);
    return 0;
}
