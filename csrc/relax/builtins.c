/* vm.builtin.*: what Relax functions call beside kernels; those on the shape heap are in
 * shape_heap.c. */
#include "relax/builtin.h"

#include "base/checked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Arguments */

static int call_dtype(const struct tvm_call *call, int32_t index, DLDataType *out) {
    if (index < call->count && call->args[index].type_index == TVM_TYPE_DTYPE) {
        *out = call->args[index].v_dtype;
        return 0;
    }
    struct tvm_bytes text;
    return tvm_call_text(call, index, "dtype", &text) || tvm_dtype_parse(text.data, text.size, out);
}

/* A tensor whose elements can be read one by one. */
static int call_compact_tensor(const struct tvm_call *call, int32_t index, const DLTensor **out) {
    if (tvm_call_tensor(call, index, "tensor", out))
        return -1;
    if (tvm_tensor_is_compact(*out))
        return 0;
    return tvm_raise(TVM_TYPE_ERROR, "%s: argument %d: expected a compact tensor", call->name,
                     index);
}

/* Shapes */

BUILTIN(shape_of) {
    struct tvm_shape *shape;
    const DLTensor *dl;
    if (tvm_call_tensor(call, 0, "tensor", &dl) ||
        tvm_shape_new(dl->shape, (size_t)dl->ndim, &shape))
        return -1;
    *result = tvm_from_object(shape);
    return 0;
}

/* Element index of a tensor of ints of 8 bits or more, or of bools, on any device. */
static int read_element(const struct tvm_call *call, const DLTensor *dl, int64_t index,
                        int64_t *out) {
    char type[TVM_DTYPE_TEXT_SIZE];
    int8_t one;
    int16_t two;
    int32_t four;
    void *const places[] = {&one, &two, &four, out}; /* by size */
    size_t size = tvm_dtype_nbytes(dl->dtype);
    bool number = dl->dtype.lanes == 1 && dl->dtype.bits % 8 == 0 &&
                  (dl->dtype.code == TVM_DTYPE_INT || dl->dtype.code == TVM_DTYPE_UINT ||
                   dl->dtype.code == TVM_DTYPE_BOOL);
    if (!number || (size != 1 && size != 2 && size != 4 && size != 8))
        return tvm_raise(TVM_TYPE_ERROR, "%s: a tensor of %s: expected bool or int", call->name,
                         tvm_dtype_print(dl->dtype, type));
    struct tvm_place from = tvm_tensor_place(dl);
    struct tvm_place to = {{kDLCPU, 0}, places[size == 8 ? 3 : size / 2], 0};
    from.offset += (size_t)index * size;
    if (tvm_device_copy(from, to, size))
        return -1;
    bool is_signed = dl->dtype.code == TVM_DTYPE_INT;
    if (size == 1)
        *out = is_signed ? one : (uint8_t)one;
    else if (size == 2)
        *out = is_signed ? two : (uint16_t)two;
    else if (size == 4)
        *out = is_signed ? four : (int64_t)(uint32_t)four;
    return 0;
}

BUILTIN(tensor_to_shape) {
    int64_t dims[TVM_MAX_NDIM];
    struct tvm_shape *shape;
    const DLTensor *dl;
    if (call_compact_tensor(call, 0, &dl))
        return -1;
    if (dl->ndim != 1 || dl->shape[0] > TVM_MAX_NDIM)
        return tvm_raise(TVM_VALUE_ERROR, "%s: expected one dimension of at most %d", call->name,
                         TVM_MAX_NDIM);
    for (int64_t i = 0; i < dl->shape[0]; i++)
        if (read_element(call, dl, i, &dims[i]))
            return -1;
    if (tvm_shape_new(dims, (size_t)dl->shape[0], &shape))
        return -1;
    *result = tvm_from_object(shape);
    return 0;
}

/* Checks of parameters; the last argument is an error context */

/* (tensor, ndim or -1, [dtype], error context) */
BUILTIN(check_tensor_info) {
    char expected[96], name[TVM_DTYPE_TEXT_SIZE];
    int64_t ndim;
    DLDataType dtype = {0};
    if (tvm_call_int(call, 1, "ndim", &ndim))
        return -1;
    bool typed = call->count == 4 && call->args[2].type_index != TVM_TYPE_NONE;
    if (typed && call_dtype(call, 2, &dtype))
        return -1;
    typed = typed && !(dtype.code == TVM_DTYPE_HANDLE && dtype.bits == 0);
    const DLTensor *dl = tvm_vm_tensor_of(&call->args[0]);
    if (!dl)
        return tvm_vm_mismatch(call, TVM_TYPE_ERROR, call->count - 1, "a tensor", &call->args[0]);
    if (ndim != -1 && dl->ndim != ndim) {
        snprintf(expected, sizeof(expected), "a tensor of %lld dimensions", (long long)ndim);
        return tvm_vm_mismatch(call, TVM_VALUE_ERROR, call->count - 1, expected, &call->args[0]);
    }
    if (typed && !tvm_dtype_equal(dl->dtype, dtype)) {
        snprintf(expected, sizeof(expected), "a tensor of %s", tvm_dtype_print(dtype, name));
        return tvm_vm_mismatch(call, TVM_TYPE_ERROR, call->count - 1, expected, &call->args[0]);
    }
    return 0;
}

/* (shape, ndim or -1, error context) */
BUILTIN(check_shape_info) {
    char expected[64];
    int64_t ndim;
    if (tvm_call_int(call, 1, "ndim", &ndim))
        return -1;
    if (call->args[0].type_index != TVM_TYPE_SHAPE)
        return tvm_vm_mismatch(call, TVM_TYPE_ERROR, 2, "a shape", &call->args[0]);
    if (ndim == -1 || (int64_t)((const struct tvm_shape *)call->args[0].v_object)->size == ndim)
        return 0;
    snprintf(expected, sizeof(expected), "a shape of %lld dimensions", (long long)ndim);
    return tvm_vm_mismatch(call, TVM_VALUE_ERROR, 2, expected, &call->args[0]);
}

/* (string, error context); since TVM 0.27 */
BUILTIN(check_string_info) {
    switch (call->args[0].type_index) {
    case TVM_TYPE_RAW_STR:
    case TVM_TYPE_SMALL_STR:
    case TVM_TYPE_STR:
        return 0;
    default:
        return tvm_vm_mismatch(call, TVM_TYPE_ERROR, 1, "a string", &call->args[0]);
    }
}

/* (tuple, number of items, error context) */
BUILTIN(check_tuple_info) {
    char expected[64];
    int64_t size;
    if (tvm_call_int(call, 1, "size", &size))
        return -1;
    snprintf(expected, sizeof(expected), "a tuple of %lld", (long long)size);
    if (call->args[0].type_index != TVM_TYPE_ARRAY)
        return tvm_vm_mismatch(call, TVM_TYPE_ERROR, 2, expected, &call->args[0]);
    if (((const struct tvm_array *)call->args[0].v_object)->size == size)
        return 0;
    return tvm_vm_mismatch(call, TVM_VALUE_ERROR, 2, expected, &call->args[0]);
}

/* (value, dtype, error context) */
BUILTIN(check_prim_value_info) {
    char name[TVM_DTYPE_TEXT_SIZE];
    DLDataType dtype;
    if (call_dtype(call, 1, &dtype))
        return -1;
    int32_t type = call->args[0].type_index;
    bool whole = type == TVM_TYPE_INT || type == TVM_TYPE_BOOL;
    switch (dtype.code) {
    case TVM_DTYPE_BOOL:
    case TVM_DTYPE_INT:
    case TVM_DTYPE_UINT:
        if (whole)
            return 0;
        break;
    case TVM_DTYPE_FLOAT:
        if (whole || type == TVM_TYPE_FLOAT)
            return 0;
        break;
    case TVM_DTYPE_HANDLE:
        if (dtype.bits == 0 ? type < TVM_TYPE_OBJECT
                            : type == TVM_TYPE_OPAQUE_PTR || type == TVM_TYPE_NONE)
            return 0;
        break;
    default:
        break;
    }
    return tvm_vm_mismatch(call, TVM_TYPE_ERROR, 2, tvm_dtype_print(dtype, name), &call->args[0]);
}

/* (function, error context) */
BUILTIN(check_func_info) {
    if (call->args[0].type_index == TVM_TYPE_FUNCTION ||
        call->args[0].type_index == VM_TYPE_CLOSURE)
        return 0;
    return tvm_vm_mismatch(call, TVM_TYPE_ERROR, 1, "a function", &call->args[0]);
}

/* Memory */

/* (vm, shape, device index, dtype, scope); of a shape of bytes, dtype is that of its elements */
BUILTIN(alloc_storage) {
    struct tvm_relax_session *session;
    struct vm_storage *storage;
    struct tvm_shape *shape;
    DLDataType dtype;
    int64_t device;
    size_t nbytes;
    if (tvm_vm_session_of(call, &session) || tvm_vm_call_shape(call, 1, &shape) ||
        tvm_call_int(call, 2, "device", &device) || call_dtype(call, 3, &dtype))
        return -1;
    /* The session's device, and behind it the host. */
    int64_t devices = session->device.device_type == kDLCPU ? 1 : 2;
    if (device < -1 || device >= devices)
        return tvm_raise(TVM_VALUE_ERROR, "%s: device %lld of %lld", call->name, (long long)device,
                         (long long)devices);
    if (shape->size > TVM_MAX_NDIM ||
        tvm_shape_nbytes(shape->data, (int)shape->size, dtype, &nbytes))
        return tvm_raise(TVM_VALUE_ERROR, "%s: the shape has no size", call->name);
    DLDevice where = device == 0 || devices == 1 ? session->device : (DLDevice){kDLCPU, 0};
    if (tvm_vm_pool_alloc(&session->pool, where, nbytes, &storage))
        return -1;
    *result = tvm_from_object(storage);
    return 0;
}

/* (storage, byte offset, shape, dtype, [scope]) */
BUILTIN(alloc_tensor) {
    const struct tvm_relax_session *session = tvm_vm_session_current();
    struct vm_storage *storage;
    struct tvm_tensor *tensor;
    struct tvm_shape *shape;
    DLDataType dtype;
    int64_t offset;
    size_t begin;
    if (call->args[0].type_index != VM_TYPE_STORAGE)
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument 0: expected storage, got %s", call->name,
                         tvm_type_name(call->args[0].type_index));
    storage = (struct vm_storage *)call->args[0].v_object;
    if (!session || storage->pool != &session->pool)
        return tvm_raise(TVM_VALUE_ERROR, "%s: the storage belongs to another session", call->name);
    if (tvm_call_int(call, 1, "byte offset", &offset) || tvm_vm_call_shape(call, 2, &shape) ||
        call_dtype(call, 3, &dtype))
        return -1;
    if (offset < 0 || !tvm_size_from((uint64_t)offset, &begin))
        return tvm_raise(TVM_VALUE_ERROR, "%s: byte offset %lld", call->name, (long long)offset);
    if (tvm_vm_storage_tensor(storage, begin, shape, dtype, &tensor))
        return -1;
    *result = tvm_from_object(tensor);
    return 0;
}

/* A view of the memory of argument 0 from byte offset of it on, or a copy where that is lent. */
static int view(const struct tvm_call *call, size_t offset, const int64_t *dims, int ndim,
                const DLDataType *dtype, struct tvm_value *result) {
    struct tvm_tensor *tensor, *made;
    size_t begin;
    if (tvm_call_object(call, 0, "tensor", TVM_TYPE_TENSOR, &tensor))
        return -1;
    if (!tvm_tensor_is_compact(&tensor->dl))
        return tvm_raise(TVM_VALUE_ERROR, "%s: the tensor is not compact", call->name);
    if (__builtin_add_overflow(tvm_vm_tensor_offset(tensor), offset, &begin))
        return tvm_raise(TVM_VALUE_ERROR, "%s: byte offset %zu", call->name, offset);
    const DLDataType type = dtype ? *dtype : tensor->dl.dtype;
    if (tensor->storage->lent) {
        DLTensor part = tensor->dl;
        part.shape = (int64_t *)(uintptr_t)dims;
        part.ndim = ndim;
        part.dtype = type;
        part.byte_offset += offset;
        return tvm_value_from_tensor(&part, part.device, result);
    }
    if (tvm_vm_view(tensor->storage, begin, dims, ndim, type, &made))
        return -1;
    *result = tvm_from_object(made);
    return 0;
}

/* (tensor, shape) */
BUILTIN(reshape) {
    char from[TVM_SHAPE_TEXT_SIZE], to[TVM_SHAPE_TEXT_SIZE];
    struct tvm_shape *shape;
    const DLTensor *dl;
    size_t have, want;
    if (tvm_vm_call_shape(call, 1, &shape) || tvm_call_tensor(call, 0, "tensor", &dl) ||
        tvm_shape_count(dl->shape, dl->ndim, &have))
        return -1;
    int ndim = shape->size > TVM_MAX_NDIM ? TVM_MAX_NDIM + 1 : (int)shape->size;
    if (tvm_shape_count(shape->data, ndim, &want))
        return -1;
    if (have != want)
        return tvm_raise(TVM_VALUE_ERROR, "%s: %s has not as many elements as %s", call->name,
                         tvm_shape_print(dl->shape, dl->ndim, from, sizeof(from)),
                         tvm_shape_print(shape->data, ndim, to, sizeof(to)));
    return view(call, 0, shape->data, ndim, NULL, result);
}

/* runtime.TVMTensorCreateView(tensor, shape, dtype, byte offset from the tensor's first element) */
BUILTIN(create_view) {
    struct tvm_shape *shape;
    DLDataType dtype;
    int64_t offset;
    const DLTensor *dl;
    size_t have, want, end;
    if (tvm_call_tensor(call, 0, "tensor", &dl) || tvm_vm_call_shape(call, 1, &shape) ||
        call_dtype(call, 2, &dtype) || tvm_call_int(call, 3, "byte offset", &offset) ||
        tvm_tensor_nbytes(dl, &have))
        return -1;
    int ndim = shape->size > TVM_MAX_NDIM ? TVM_MAX_NDIM + 1 : (int)shape->size;
    if (tvm_shape_nbytes(shape->data, ndim, dtype, &want))
        return -1;
    if (offset < 0 || !tvm_size_add((uint64_t)offset, want, &end) || end > have)
        return tvm_raise(TVM_VALUE_ERROR, "%s: %zu bytes at byte %lld of a tensor with %zu",
                         call->name, want, (long long)offset, have);
    return view(call, (size_t)offset, shape->data, ndim, &dtype, result);
}

BUILTIN(ensure_zero_offset) {
    struct tvm_tensor *tensor;
    if (tvm_call_object(call, 0, "tensor", TVM_TYPE_TENSOR, &tensor))
        return -1;
    return tensor->dl.byte_offset == 0
               ? tvm_value_own(&call->args[0], result)
               : tvm_value_from_tensor(&tensor->dl, tensor->dl.device, result);
}

/* (tensor, device type, device id, [scope]): always a copy */
BUILTIN(to_device) {
    const DLTensor *dl;
    DLDevice device;
    if (tvm_call_tensor(call, 0, "tensor", &dl) || tvm_call_device(call, 1, &device))
        return -1;
    return tvm_value_from_tensor(dl, device, result);
}

/* Values */

BUILTIN(copy) {
    return tvm_vm_own(&call->args[0], result);
}

BUILTIN(null_value) {
    *result = tvm_none();
    return 0;
}

BUILTIN(read_if_cond) {
    const DLTensor *dl;
    size_t elements;
    int64_t value;
    if (call->args[0].type_index == TVM_TYPE_INT || call->args[0].type_index == TVM_TYPE_BOOL) {
        value = call->args[0].v_int;
    } else {
        if (call_compact_tensor(call, 0, &dl) || tvm_shape_count(dl->shape, dl->ndim, &elements))
            return -1;
        if (elements == 0)
            return tvm_raise(TVM_VALUE_ERROR, "%s: the condition has no element", call->name);
        if (read_element(call, dl, 0, &value))
            return -1;
    }
    *result = (struct tvm_value){.type_index = TVM_TYPE_BOOL, .v_int = value != 0};
    return 0;
}

BUILTIN(make_tuple) {
    struct tvm_array *array;
    if (tvm_array_new((size_t)call->count, &array))
        return -1;
    for (; array->size < call->count; array->size++)
        if (tvm_vm_keep(&call->args[array->size], &array->object, &array->items[array->size])) {
            tvm_object_release(&array->object);
            return -1;
        }
    *result = tvm_from_object(array);
    return 0;
}

/* The item at argument 1 of the tuple that argument 0 is. */
static int call_item(const struct tvm_call *call, struct tvm_value **out) {
    struct tvm_array *array;
    int64_t index;
    if (tvm_call_object(call, 0, "tuple", TVM_TYPE_ARRAY, &array) ||
        tvm_call_int(call, 1, "index", &index))
        return -1;
    if (index < 0 || index >= array->size)
        return tvm_raise(TVM_INDEX_ERROR, "%s: item %lld of %lld", call->name, (long long)index,
                         (long long)array->size);
    *out = &array->items[index];
    return 0;
}

BUILTIN(tuple_getitem) {
    struct tvm_value *item;
    return call_item(call, &item) ? -1 : tvm_value_own(item, result);
}

/* The compiler emits it where nobody uses the item any more. Another thread may hold the tuple, so
 * only one that is the model's own is changed. */
BUILTIN(tuple_reset_item) {
    struct tvm_value *item;
    if (call_item(call, &item))
        return -1;
    if (tvm_object_use_count(call->args[0].v_object) == 1)
        tvm_value_clear(item);
    return 0;
}

/* Functions */

/* (closure, last arguments…) */
BUILTIN(make_closure) {
    struct vm_closure *made;
    if (call->args[0].type_index != VM_TYPE_CLOSURE)
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument 0: expected a closure, got %s", call->name,
                         tvm_type_name(call->args[0].type_index));
    const struct vm_closure *inner = (const struct vm_closure *)call->args[0].v_object;
    const struct vm_function *function = &inner->executable->functions[inner->function];
    size_t total = (size_t)(call->count - 1) + (size_t)inner->count;
    if (total > function->param_count)
        return tvm_raise(TVM_VALUE_ERROR, "%s: %zu values for %s, which has %u parameters",
                         call->name, total, function->name, function->param_count);
    struct tvm_value *values = malloc((total + 1) * sizeof(*values));
    if (!values)
        return tvm_raise_out_of_memory();
    memcpy(values, call->args + 1, (size_t)(call->count - 1) * sizeof(*values));
    memcpy(values + call->count - 1, inner->values, (size_t)inner->count * sizeof(*values));
    int status =
        tvm_vm_closure_new(inner->executable, inner->function, values, (int32_t)total, &made);
    free(values);
    if (status == 0)
        *result = tvm_from_object(made);
    return status;
}

/* (vm, closure, arguments…) */
BUILTIN(invoke_closure) {
    struct tvm_relax_session *session;
    if (tvm_vm_session_of(call, &session))
        return -1;
    return tvm_vm_invoke(session, call->name, &call->args[1], call->args + 2, call->count - 2,
                         result);
}

/* (kernel, tensors…, shape whose numbers are its last arguments) */
BUILTIN(call_tir_dyn) {
    struct tvm_relax_session *session = tvm_vm_session_current();
    struct tvm_function *function;
    struct tvm_shape *shape;
    struct tvm_value few[32], *all = few;
    if (tvm_call_object(call, 0, "kernel", TVM_TYPE_FUNCTION, &function) ||
        tvm_vm_call_shape(call, call->count - 1, &shape))
        return -1;
    size_t tensors = (size_t)call->count - 2, total = tensors + shape->size;
    if (total > sizeof(few) / sizeof(*few) && !(all = malloc(total * sizeof(*all))))
        return tvm_raise_out_of_memory();
    memcpy(all, call->args + 1, tensors * sizeof(*all));
    if (session && session->executable->old_bool)
        tvm_vm_rewrite_bools(all, tensors);
    for (size_t i = 0; i < shape->size; i++)
        all[tensors + i] = tvm_int(shape->data[i]);
    int status = session ? tvm_vm_call(session, function, all, (int32_t)total, result)
                         : tvm_function_call(function, all, (int32_t)total, result);
    if (all != few)
        free(all);
    return status;
}
