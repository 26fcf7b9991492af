/* Making arguments from outside what functions of a session take. */
#include "relax/vm.h"

/* How a value differs from what functions take. */
struct argument {
    const struct tvm_relax_session *session;
    const char *function, *what;
};

static int refuse_tensor(const struct argument *argument, const DLTensor *dl) {
    char device[TVM_DEVICE_TEXT_SIZE], expected[TVM_DEVICE_TEXT_SIZE];
    if (!tvm_device_equal(dl->device, argument->session->device))
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument %s: expected a tensor on %s, got one on %s",
                         argument->function, argument->what,
                         tvm_device_print(argument->session->device, expected),
                         tvm_device_print(dl->device, device));
    if (!tvm_tensor_is_compact(dl))
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s: argument %s: expected a tensor without gaps between its elements",
                         argument->function, argument->what);
    return 0;
}

static int convert(const struct argument *argument, const struct tvm_value *value, int depth,
                   struct tvm_value *out);

/* An array as it is where all of it can be taken so, else a new one. */
static int convert_array(const struct argument *argument, const struct tvm_array *array, int depth,
                         struct tvm_value *out) {
    struct tvm_array *copy;
    bool changed = false;
    if (depth > 64)
        return tvm_raise(TVM_VALUE_ERROR, "%s: argument %s: arrays that are nested too deep",
                         argument->function, argument->what);
    if (tvm_array_new((size_t)array->size, &copy))
        return -1;
    for (int64_t i = 0; i < array->size; i++) {
        if (convert(argument, &array->items[i], depth + 1, &copy->items[i])) {
            tvm_object_release(&copy->object);
            return -1;
        }
        copy->size++;
        changed |= copy->items[i].v_int != array->items[i].v_int;
    }
    if (changed) {
        *out = tvm_from_object(copy);
        return 0;
    }
    tvm_object_release(&copy->object);
    *out = tvm_from_object((void *)(uintptr_t)array);
    tvm_object_retain(out->v_object);
    return 0;
}

static int convert(const struct argument *argument, const struct tvm_value *value, int depth,
                   struct tvm_value *out) {
    if (value->type_index == TVM_TYPE_TENSOR) {
        const DLTensor *dl = &((struct tvm_tensor *)value->v_object)->dl;
        if (refuse_tensor(argument, dl))
            return -1;
        if (!tvm_vm_is_aligned(dl))
            return tvm_value_from_tensor(dl, dl->device, out);
    } else if (value->type_index == TVM_TYPE_DLTENSOR_PTR) {
        const DLTensor *dl = value->v_ptr;
        if (!dl)
            return tvm_raise(TVM_VALUE_ERROR, "%s: argument %s: it is NULL", argument->function,
                             argument->what);
        return refuse_tensor(argument, dl) ? -1 : tvm_value_from_tensor(dl, dl->device, out);
    } else if (value->type_index == TVM_TYPE_ARRAY) {
        return convert_array(argument, (struct tvm_array *)value->v_object, depth, out);
    }
    return tvm_value_own(value, out);
}

int tvm_relax_session_convert(const struct tvm_relax_session *session, const char *function,
                              const char *what, const struct tvm_value *value,
                              struct tvm_value *out) {
    const struct argument argument = {session, function, what};
    return convert(&argument, value, 0, out);
}
