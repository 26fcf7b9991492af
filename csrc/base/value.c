#include "base/value.h"

#include "base/checked.h"
#include "base/tensor.h"

#include <string.h>

int tvm_value_from_text(enum tvm_type_index type, const char *data, size_t size,
                        struct tvm_value *out) {
    if (size < sizeof(out->v_small)) {
        *out = (struct tvm_value){.type_index = type == TVM_TYPE_BYTES ? TVM_TYPE_SMALL_BYTES
                                                                       : TVM_TYPE_SMALL_STR,
                                  .small_size = (uint32_t)size};
        if (size)
            memcpy(out->v_small, data, size);
        return 0;
    }
    size_t nbytes;
    if (!tvm_size_add(size, sizeof(struct tvm_string) + 1, &nbytes))
        return tvm_raise_out_of_memory();
    struct tvm_string *string = tvm_object_alloc(nbytes, type, NULL);
    if (!string)
        return -1;
    memcpy(string->text, data, size);
    string->bytes = (struct tvm_bytes){string->text, size};
    *out = tvm_from_object(string);
    return 0;
}

int tvm_value_own(const struct tvm_value *view, struct tvm_value *out) {
    if (view->type_index == TVM_TYPE_RAW_STR)
        return tvm_value_from_text(TVM_TYPE_STR, view->v_str, strlen(view->v_str), out);
    if (view->type_index == TVM_TYPE_BYTES_PTR) {
        const struct tvm_bytes *bytes = view->v_ptr;
        return tvm_value_from_text(TVM_TYPE_BYTES, bytes->data, bytes->size, out);
    }
    if (tvm_value_is_object(view))
        tvm_object_retain(view->v_object);
    *out = *view;
    return 0;
}

int tvm_value_from_tensor(const DLTensor *from, DLDevice device, struct tvm_value *out) {
    struct tvm_tensor *copy;
    if (tvm_tensor_empty(from->shape, from->ndim, from->dtype, device, &copy))
        return -1;
    if (tvm_tensor_copy(from, &copy->dl)) {
        tvm_object_release(&copy->object);
        return -1;
    }
    *out = tvm_from_object(copy);
    return 0;
}

bool tvm_value_text(const struct tvm_value *value, struct tvm_bytes *out) {
    switch (value->type_index) {
    case TVM_TYPE_RAW_STR:
        *out = (struct tvm_bytes){value->v_str, strlen(value->v_str)};
        return true;
    case TVM_TYPE_BYTES_PTR:
        *out = *(const struct tvm_bytes *)value->v_ptr;
        return true;
    case TVM_TYPE_SMALL_STR:
    case TVM_TYPE_SMALL_BYTES:
        *out = (struct tvm_bytes){value->v_small, value->small_size};
        return true;
    case TVM_TYPE_STR:
    case TVM_TYPE_BYTES:
        *out = ((const struct tvm_string *)value->v_object)->bytes;
        return true;
    default:
        return false;
    }
}

const char *tvm_type_name(int32_t type_index) {
    switch (type_index) {
    case TVM_TYPE_NONE:
        return "None";
    case TVM_TYPE_INT:
        return "int";
    case TVM_TYPE_BOOL:
        return "bool";
    case TVM_TYPE_FLOAT:
        return "float";
    case TVM_TYPE_OPAQUE_PTR:
        return "pointer";
    case TVM_TYPE_DTYPE:
        return "dtype";
    case TVM_TYPE_DEVICE:
        return "Device";
    case TVM_TYPE_DLTENSOR_PTR:
        return "DLTensor*";
    case TVM_TYPE_RAW_STR:
    case TVM_TYPE_SMALL_STR:
    case TVM_TYPE_STR:
        return "str";
    case TVM_TYPE_BYTES_PTR:
    case TVM_TYPE_SMALL_BYTES:
    case TVM_TYPE_BYTES:
        return "bytes";
    case TVM_TYPE_ERROR_OBJECT:
        return "Error";
    case TVM_TYPE_FUNCTION:
        return "Function";
    case TVM_TYPE_SHAPE:
        return "Shape";
    case TVM_TYPE_TENSOR:
        return "Tensor";
    case TVM_TYPE_ARRAY:
        return "Array";
    case TVM_TYPE_MAP:
        return "Map";
    case TVM_TYPE_MODULE:
        return "Module";
    default:
        return "object";
    }
}

int tvm_call_wrong_count(const struct tvm_call *call, int32_t min, int32_t max) {
    if (min == max)
        return tvm_raise(TVM_VALUE_ERROR, "%s: expected %d argument%s, got %d", call->name, min,
                         min == 1 ? "" : "s", call->count);
    if (max == TVM_ANY_COUNT)
        return tvm_raise(TVM_VALUE_ERROR, "%s: expected %d argument%s or more, got %d", call->name,
                         min, min == 1 ? "" : "s", call->count);
    return tvm_raise(TVM_VALUE_ERROR, "%s: expected %d to %d arguments, got %d", call->name, min,
                     max, call->count);
}

/* The argument, or NULL with an error raised when there are fewer. */
static const struct tvm_value *argument(const struct tvm_call *call, int32_t index,
                                        const char *what) {
    if (index < call->count)
        return &call->args[index];
    tvm_raise(TVM_VALUE_ERROR, "%s: argument %d (%s) is missing: got %d", call->name, index, what,
              call->count);
    return NULL;
}

static int wrong_type(const struct tvm_call *call, int32_t index, const char *what,
                      const char *expected) {
    return tvm_raise(TVM_TYPE_ERROR, "%s: argument %d (%s): expected %s, got %s", call->name, index,
                     what, expected, tvm_type_name(call->args[index].type_index));
}

int tvm_call_int(const struct tvm_call *call, int32_t index, const char *what, int64_t *out) {
    const struct tvm_value *value = argument(call, index, what);
    if (!value)
        return -1;
    if (value->type_index != TVM_TYPE_INT && value->type_index != TVM_TYPE_BOOL)
        return wrong_type(call, index, what, "int");
    *out = value->v_int;
    return 0;
}

int tvm_call_float(const struct tvm_call *call, int32_t index, const char *what, double *out) {
    const struct tvm_value *value = argument(call, index, what);
    if (!value)
        return -1;
    if (value->type_index == TVM_TYPE_FLOAT)
        *out = value->v_float;
    else if (value->type_index == TVM_TYPE_INT || value->type_index == TVM_TYPE_BOOL)
        *out = (double)value->v_int;
    else
        return wrong_type(call, index, what, "float");
    return 0;
}

int tvm_call_text(const struct tvm_call *call, int32_t index, const char *what,
                  struct tvm_bytes *out) {
    const struct tvm_value *value = argument(call, index, what);
    if (!value)
        return -1;
    return tvm_value_text(value, out) ? 0 : wrong_type(call, index, what, "str or bytes");
}

int tvm_call_string(const struct tvm_call *call, int32_t index, const char *what, char **out) {
    struct tvm_bytes text;
    if (tvm_call_text(call, index, what, &text))
        return -1;
    if (text.size && memchr(text.data, 0, text.size))
        return tvm_raise(TVM_VALUE_ERROR, "%s: argument %d (%s) holds a NUL byte", call->name,
                         index, what);
    *out = strndup(text.size ? text.data : "", text.size);
    return *out ? 0 : tvm_raise_out_of_memory();
}

int tvm_call_device(const struct tvm_call *call, int32_t index, DLDevice *out) {
    int64_t type, id;
    if (tvm_call_int(call, index, "device type", &type) ||
        tvm_call_int(call, index + 1, "device id", &id))
        return -1;
    if (type < 0 || type > INT32_MAX || id < 0 || id > INT32_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "%s: no device has type %lld and id %lld", call->name,
                         (long long)type, (long long)id);
    *out = (DLDevice){(DLDeviceType)type, (int32_t)id};
    return 0;
}

int tvm_call_tensor(const struct tvm_call *call, int32_t index, const char *what,
                    const DLTensor **out) {
    const struct tvm_value *value = argument(call, index, what);
    if (!value)
        return -1;
    if (value->type_index == TVM_TYPE_TENSOR)
        *out = &((const struct tvm_tensor *)value->v_object)->dl;
    else if (value->type_index == TVM_TYPE_DLTENSOR_PTR && value->v_ptr)
        *out = value->v_ptr;
    else
        return wrong_type(call, index, what, "Tensor");
    return 0;
}

void tvm_call_no_object(const struct tvm_call *call, int32_t index, const char *what,
                        enum tvm_type_index type) {
    if (argument(call, index, what))
        wrong_type(call, index, what, tvm_type_name((int32_t)type));
}
