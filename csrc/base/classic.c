#include "base/classic.h"

#include "base/context.h"
#include "base/tensor.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(TVMByteArray) == sizeof(struct tvm_bytes) &&
                   offsetof(TVMByteArray, size) == offsetof(struct tvm_bytes, size),
               "byte arrays of both sides are the same struct");

static int object_to_view(struct tvm_object *object, int code, struct tvm_value *out) {
    bool fits = code == kTVMObjectHandle || !object ||
                object->type_index ==
                    (code == kTVMModuleHandle ? (int)TVM_TYPE_MODULE : (int)TVM_TYPE_FUNCTION);
    if (!fits)
        return tvm_raise(TVM_TYPE_ERROR, "a handle passed as a %s (type code %d) is a %s",
                         code == kTVMModuleHandle ? "Module" : "Function", code,
                         tvm_type_name(object->type_index));
    *out = tvm_from_object(object);
    return 0;
}

/* The tensor to use for a borrowed one: itself, or a copy of its header in *scratch. */
static DLTensor *renumber(DLTensor *tensor, DLDataType dtype, DLTensor *scratch) {
    if (tvm_dtype_equal(tensor->dtype, dtype))
        return tensor;
    *scratch = *tensor;
    scratch->dtype = dtype;
    return scratch;
}

int tvm_classic_to_view(TVMValue value, int code, DLTensor *scratch, struct tvm_value *out) {
    DLTensor *tensor = value.v_handle;
    *out = tvm_none();
    switch (code) {
    case kTVMArgInt:
        *out = tvm_int(value.v_int64);
        return 0;
    case kTVMArgBool:
        *out = (struct tvm_value){.type_index = TVM_TYPE_BOOL, .v_int = value.v_int64 != 0};
        return 0;
    case kTVMArgFloat:
        *out = tvm_float(value.v_float64);
        return 0;
    case kTVMOpaqueHandle:
        *out = tvm_opaque(value.v_handle);
        return 0;
    case kTVMNullptr:
        return 0;
    case kTVMDataType:
        *out = (struct tvm_value){.type_index = TVM_TYPE_DTYPE,
                                  .v_dtype = tvm_dtype_from_classic(value.v_type)};
        return 0;
    case kDLDevice:
        *out = tvm_device(value.v_device);
        return 0;
    case kTVMDLTensorHandle:
        if (tensor)
            *out = (struct tvm_value){
                .type_index = TVM_TYPE_DLTENSOR_PTR,
                .v_ptr = renumber(tensor, tvm_dtype_from_classic(tensor->dtype), scratch)};
        return 0;
    case kTVMNDArrayHandle:
        if (tensor)
            *out = tvm_from_object(tvm_tensor_from_classic(tensor));
        return 0;
    case kTVMObjectHandle:
    case kTVMModuleHandle:
    case kTVMPackedFuncHandle:
        return object_to_view(value.v_handle, code, out);
    case kTVMObjectRValueRefArg: /* a pointer to the caller's handle; nobody here moves out of it */
        if (value.v_handle)
            *out = tvm_from_object(*(struct tvm_object **)value.v_handle);
        return 0;
    case kTVMStr:
        if (value.v_str)
            *out = tvm_raw_string(value.v_str);
        return 0;
    case kTVMBytes:
        if (value.v_handle)
            *out = (struct tvm_value){.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = value.v_handle};
        return 0;
    default:
        return tvm_raise(TVM_TYPE_ERROR, "type code %d is none of TVM's", code);
    }
}

int tvm_classic_take(TVMValue value, int code, struct tvm_value *out) {
    DLTensor scratch;
    struct tvm_value view;
    if (code == kTVMObjectRValueRefArg)
        return tvm_raise(TVM_TYPE_ERROR, "type code %d cannot be returned", code);
    if (tvm_classic_to_view(value, code, &scratch, &view))
        return -1;
    if (view.type_index == TVM_TYPE_DLTENSOR_PTR && view.v_ptr == &scratch)
        return tvm_raise(
            TVM_TYPE_ERROR,
            "a borrowed DLTensor of bool or float8 cannot be returned: return an array");
    if (!tvm_value_is_object(&view))
        return tvm_value_own(&view, out);
    *out = view; /* with the reference that came along */
    return 0;
}

/* Text for a NUL-terminated argument. */
static int string_from_view(struct tvm_bytes bytes, TVMValue *out, int *code) {
    if (memchr(bytes.data, 0, bytes.size))
        return tvm_raise(TVM_VALUE_ERROR,
                         "a string of %zu bytes holds a NUL byte, where classic TVM's strings end: "
                         "pass bytes",
                         bytes.size);
    out->v_str = bytes.data;
    *code = kTVMStr;
    return 0;
}

static int object_from_view(struct tvm_object *object, TVMValue *out, int *code) {
    out->v_handle = object;
    switch (object->type_index) {
    case TVM_TYPE_STR:
        return string_from_view(((struct tvm_string *)object)->bytes, out, code);
    case TVM_TYPE_BYTES:
        out->v_handle = &((struct tvm_string *)object)->bytes;
        *code = kTVMBytes;
        return 0;
    case TVM_TYPE_TENSOR:
        out->v_handle = &((struct tvm_tensor *)object)->classic;
        *code = kTVMDLTensorHandle;
        return 0;
    case TVM_TYPE_MODULE:
        *code = kTVMModuleHandle;
        return 0;
    case TVM_TYPE_FUNCTION:
        *code = kTVMPackedFuncHandle;
        return 0;
    default:
        *code = kTVMObjectHandle;
        return 0;
    }
}

int tvm_classic_from_view(const struct tvm_value *value, DLTensor *scratch, struct tvm_bytes *text,
                          TVMValue *out, int *code) {
    DLTensor *tensor = value->v_ptr;
    *out = (TVMValue){.v_int64 = 0};
    switch (value->type_index) {
    case TVM_TYPE_NONE:
        *code = kTVMNullptr;
        return 0;
    case TVM_TYPE_INT:
    case TVM_TYPE_BOOL: /* TVM before 0.18 knows no bool arguments, and after it takes ints */
        out->v_int64 = value->v_int;
        *code = kTVMArgInt;
        return 0;
    case TVM_TYPE_FLOAT:
        out->v_float64 = value->v_float;
        *code = kTVMArgFloat;
        return 0;
    case TVM_TYPE_OPAQUE_PTR:
        out->v_handle = value->v_ptr;
        *code = kTVMOpaqueHandle;
        return 0;
    case TVM_TYPE_DTYPE:
        out->v_type = tvm_dtype_to_classic(value->v_dtype);
        *code = kTVMDataType;
        return 0;
    case TVM_TYPE_DEVICE:
        out->v_device = value->v_device;
        *code = kDLDevice;
        return 0;
    case TVM_TYPE_DLTENSOR_PTR:
        out->v_handle =
            tensor ? renumber(tensor, tvm_dtype_to_classic(tensor->dtype), scratch) : NULL;
        *code = tensor ? kTVMDLTensorHandle : kTVMNullptr;
        return 0;
    case TVM_TYPE_RAW_STR:
        out->v_str = value->v_str;
        *code = kTVMStr;
        return 0;
    case TVM_TYPE_SMALL_STR:
        return string_from_view((struct tvm_bytes){value->v_small, value->small_size}, out, code);
    case TVM_TYPE_BYTES_PTR:
        out->v_handle = value->v_ptr;
        *code = kTVMBytes;
        return 0;
    case TVM_TYPE_SMALL_BYTES:
        *text = (struct tvm_bytes){value->v_small, value->small_size};
        out->v_handle = text;
        *code = kTVMBytes;
        return 0;
    default:
        if (tvm_value_is_object(value) && value->v_object)
            return object_from_view(value->v_object, out, code);
        return tvm_raise(TVM_TYPE_ERROR, "classic TVM has no value of type index %d",
                         value->type_index);
    }
}

/* The classic form of a call's arguments: what fits inside, or one block from the heap. */
struct arguments {
    TVMValue *values;
    int *codes;
    void *block;
    TVMValue inline_values[TVM_CLASSIC_INLINE_ARGS];
    int inline_codes[TVM_CLASSIC_INLINE_ARGS];
    DLTensor inline_tensors[TVM_CLASSIC_INLINE_ARGS];
    struct tvm_bytes inline_texts[TVM_CLASSIC_INLINE_ARGS];
};

static int arguments_fill(struct arguments *arguments, const struct tvm_value *args,
                          int32_t count) {
    DLTensor *tensors = arguments->inline_tensors;
    struct tvm_bytes *texts = arguments->inline_texts;
    arguments->values = arguments->inline_values;
    arguments->codes = arguments->inline_codes;
    arguments->block = NULL;
    if (count > TVM_CLASSIC_INLINE_ARGS) {
        size_t n = (size_t)count; /* below 2^31: the sizes cannot overflow */
        size_t nbytes = n * (sizeof(TVMValue) + sizeof(DLTensor) + sizeof(*texts) + sizeof(int));
        arguments->block = malloc(nbytes);
        if (!arguments->block)
            return tvm_raise_out_of_memory();
        arguments->values = arguments->block;
        tensors = (DLTensor *)(arguments->values + n);
        texts = (struct tvm_bytes *)(tensors + n);
        arguments->codes = (int *)(texts + n);
    }
    for (int32_t i = 0; i < count; i++)
        if (tvm_classic_from_view(&args[i], &tensors[i], &texts[i], &arguments->values[i],
                                  &arguments->codes[i])) {
            free(arguments->block);
            return tvm_raise_context("argument %d", i);
        }
    return 0;
}

static int invoke(TVMBackendPackedCFunc code, TVMValue *args, int *codes, int count,
                  struct tvm_value *result) {
    TVMValue value = {.v_int64 = 0};
    int value_code = kTVMNullptr;
    struct tvm_error *before = tvm_error_take();
    size_t mark = tvm_workspace_mark();
    int status = code(args, codes, count, &value, &value_code, NULL);
    if (status) /* code that fails does not free its workspaces */
        tvm_workspace_drop(mark);
    if (status || before)
        status = tvm_error_settle(before, status, (void *)code);
    if (status == 0 && value_code != kTVMNullptr)
        status = tvm_classic_take(value, value_code, result);
    return status;
}

int tvm_classic_invoke(TVMBackendPackedCFunc code, TVMValue *args, int *codes, int count) {
    struct tvm_value result = tvm_none();
    if (invoke(code, args, codes, count, &result))
        return -1;
    tvm_value_clear(&result);
    return 0;
}

struct compiled {
    TVMBackendPackedCFunc code;
    struct tvm_object *owner;
};

static void compiled_free(void *resource) {
    struct compiled *compiled = resource;
    tvm_object_release(compiled->owner);
    free(compiled);
}

static int compiled_call(void *self, const struct tvm_value *args, int32_t count,
                         struct tvm_value *result) {
    const struct compiled *compiled = ((struct tvm_function *)self)->resource;
    struct arguments arguments;
    if (arguments_fill(&arguments, args, count))
        return -1;
    int status = invoke(compiled->code, arguments.values, arguments.codes, count, result);
    free(arguments.block);
    return status;
}

int tvm_classic_function_new(TVMBackendPackedCFunc code, struct tvm_object *owner,
                             struct tvm_function **out) {
    struct compiled *compiled = malloc(sizeof(*compiled));
    if (!compiled)
        return tvm_raise_out_of_memory();
    *compiled = (struct compiled){code, owner};
    if (owner)
        tvm_object_retain(owner);
    if (tvm_function_new(compiled_call, compiled, compiled_free, out)) {
        compiled_free(compiled);
        return -1;
    }
    return 0;
}

TVMBackendPackedCFunc tvm_classic_function_code(const struct tvm_function *function) {
    if (function->call != compiled_call)
        return NULL;
    return ((const struct compiled *)function->resource)->code;
}

struct callback {
    TVMPackedCFunc function;
    void *resource;
    TVMPackedCFuncFinalizer finalizer;
};

static void callback_free(void *resource) {
    struct callback *callback = resource;
    if (callback->finalizer)
        callback->finalizer(callback->resource);
    free(callback);
}

static int callback_call(void *self, const struct tvm_value *args, int32_t count,
                         struct tvm_value *result) {
    const struct callback *callback = ((struct tvm_function *)self)->resource;
    struct arguments arguments;
    if (arguments_fill(&arguments, args, count))
        return -1;
    for (int32_t i = 0; i < count; i++)
        if (args[i].type_index == TVM_TYPE_TENSOR)
            arguments.codes[i] = kTVMNDArrayHandle; /* which the callback may keep */
    struct tvm_error *before = tvm_error_take();
    int status =
        callback->function(arguments.values, arguments.codes, count, result, callback->resource);
    if (status || before)
        status = tvm_error_settle(before, status, (void *)callback->function);
    if (status)
        tvm_value_clear(result);
    free(arguments.block);
    return status;
}

int tvm_classic_callback_new(TVMPackedCFunc callback, void *resource,
                             TVMPackedCFuncFinalizer finalizer, struct tvm_function **out) {
    struct callback *made = malloc(sizeof(*made));
    if (!made)
        return tvm_raise_out_of_memory();
    *made = (struct callback){callback, resource, finalizer};
    if (tvm_function_new(callback_call, made, callback_free, out)) {
        free(made); /* the resource stays the caller's */
        return -1;
    }
    return 0;
}
