/* The classic C API (include/tvm_runtime.h). Handles are the runtime's own objects; an array handle
 * is the tensor's classic DLTensor. */
#include "include/tvm_runtime.h"

#include "base/classic.h"
#include "base/context.h"
#include "base/module.h"
#include "base/tensor.h"
#include "base/thread.h"
#include "module/library.h"

#include <stdlib.h>

static int null_argument(const char *function, const char *what) {
    return tvm_raise(TVM_VALUE_ERROR, "%s: %s is NULL", function, what);
}

/* Errors */

const char *TVMGetLastError(void) {
    const struct tvm_error *error = tvm_error_peek();
    return error ? error->message.data : "";
}

void TVMAPISetLastError(const char *message) {
    tvm_raise(TVM_RUNTIME_ERROR, "%s", message ? message : "");
}

/* Modules */

int TVMModLoadFromFile(const char *file_name, const char *format, TVMModuleHandle *out) {
    struct tvm_module *module;
    if (!file_name || !format || !out)
        return null_argument(__func__, "an argument");
    if (tvm_library_load(file_name, format, &module))
        return -1;
    *out = module;
    return 0;
}

int TVMModFree(TVMModuleHandle module) {
    tvm_object_release(module);
    return 0;
}

int TVMModImport(TVMModuleHandle module, TVMModuleHandle dep) {
    if (!module || !dep)
        return null_argument(__func__, "a module");
    return tvm_module_import(module, dep);
}

int TVMModGetFunction(TVMModuleHandle module, const char *name, int query_imports,
                      TVMFunctionHandle *out) {
    struct tvm_function *function;
    if (!module || !name || !out)
        return null_argument(__func__, "an argument");
    if (tvm_module_get_function(module, name, query_imports != 0, &function))
        return -1;
    *out = function;
    return 0;
}

/* Packed functions */

int TVMFuncFree(TVMFunctionHandle function) {
    tvm_object_release(function);
    return 0;
}

/* Keeps a text result in the thread until its next call and points *out to it. */
static void return_text(struct tvm_value *owned, bool bytes, TVMValue *out, int *code) {
    struct tvm_thread *thread = tvm_thread_with_cleanup();
    struct tvm_bytes text;
    tvm_value_clear(&thread->returned);
    thread->returned = *owned;
    tvm_value_text(&thread->returned, &text);
    if (bytes) {
        thread->returned_bytes = text;
        out->v_handle = &thread->returned_bytes;
    } else {
        out->v_str = text.data;
    }
    *code = bytes ? kTVMBytes : kTVMStr;
}

/* Hands an owned result to a classic caller. */
static int return_value(struct tvm_value *owned, TVMValue *out, int *code) {
    char text[TVM_DTYPE_TEXT_SIZE];
    struct tvm_value name;
    switch (owned->type_index) {
    case TVM_TYPE_NONE:
        out->v_handle = NULL;
        *code = kTVMNullptr;
        return 0;
    case TVM_TYPE_INT:
    case TVM_TYPE_BOOL:
        out->v_int64 = owned->v_int;
        *code = kTVMArgInt;
        return 0;
    case TVM_TYPE_FLOAT:
        out->v_float64 = owned->v_float;
        *code = kTVMArgFloat;
        return 0;
    case TVM_TYPE_OPAQUE_PTR:
        out->v_handle = owned->v_ptr;
        *code = kTVMOpaqueHandle;
        return 0;
    case TVM_TYPE_DEVICE:
        out->v_device = owned->v_device;
        *code = kDLDevice;
        return 0;
    case TVM_TYPE_DLTENSOR_PTR:
        out->v_handle = owned->v_ptr;
        *code = kTVMDLTensorHandle;
        return 0;
    case TVM_TYPE_DTYPE: /* as TVM: its name */
        tvm_dtype_print_classic(owned->v_dtype, text);
        if (tvm_value_own(&(struct tvm_value){.type_index = TVM_TYPE_RAW_STR, .v_str = text},
                          &name))
            return -1;
        return_text(&name, false, out, code);
        return 0;
    case TVM_TYPE_SMALL_STR:
    case TVM_TYPE_STR:
        return_text(owned, false, out, code);
        return 0;
    case TVM_TYPE_SMALL_BYTES:
    case TVM_TYPE_BYTES:
        return_text(owned, true, out, code);
        return 0;
    case TVM_TYPE_TENSOR:
        out->v_handle = &((struct tvm_tensor *)owned->v_object)->classic;
        *code = kTVMNDArrayHandle;
        return 0;
    case TVM_TYPE_MODULE:
        *code = kTVMModuleHandle;
        break;
    case TVM_TYPE_FUNCTION:
        *code = kTVMPackedFuncHandle;
        break;
    default:
        if (!tvm_value_is_object(owned))
            return tvm_raise(TVM_TYPE_ERROR, "a result of type index %d has no classic form",
                             owned->type_index);
        *code = kTVMObjectHandle;
        break;
    }
    out->v_handle = owned->v_object;
    return 0;
}

/* Calls function with views of classic arguments in room that the caller provides. */
static int call_classic(struct tvm_function *function, const TVMValue *values, const int *codes,
                        int count, struct tvm_value *views, DLTensor *scratch, TVMValue *ret,
                        int *ret_code) {
    struct tvm_value result;
    for (int i = 0; i < count; i++)
        if (tvm_classic_to_view(values[i], codes[i], &scratch[i], &views[i]))
            return tvm_raise_context("argument %d", i);
    if (tvm_function_call(function, views, count, &result))
        return -1;
    if (return_value(&result, ret, ret_code) == 0)
        return 0;
    tvm_value_clear(&result);
    return -1;
}

int TVMFuncCall(TVMFunctionHandle function, TVMValue *arg_values, int *type_codes, int num_args,
                TVMValue *ret_value, int *ret_type_code) {
    struct tvm_value views[TVM_CLASSIC_INLINE_ARGS];
    DLTensor scratch[TVM_CLASSIC_INLINE_ARGS];
    if (!function || !ret_value || !ret_type_code)
        return null_argument(__func__, "the function or the place of its result");
    if (num_args < 0 || (num_args > 0 && (!arg_values || !type_codes)))
        return tvm_raise(TVM_VALUE_ERROR, "TVMFuncCall: %d arguments at NULL", num_args);
    if (tvm_context_check_cancel())
        return -1;
    if (num_args <= TVM_CLASSIC_INLINE_ARGS)
        return call_classic(function, arg_values, type_codes, num_args, views, scratch, ret_value,
                            ret_type_code);
    size_t count = (size_t)num_args; /* below 2^31: the products fit */
    struct tvm_value *more_views = malloc(count * sizeof(*more_views));
    DLTensor *more_scratch = malloc(count * sizeof(*more_scratch));
    int status = more_views && more_scratch
                     ? call_classic(function, arg_values, type_codes, num_args, more_views,
                                    more_scratch, ret_value, ret_type_code)
                     : tvm_raise_out_of_memory();
    free(more_views);
    free(more_scratch);
    return status;
}

int TVMCFuncSetReturn(TVMRetValueHandle ret, TVMValue *value, int *type_code, int num_ret) {
    struct tvm_value view, owned;
    DLTensor scratch;
    if (!ret || !value || !type_code)
        return null_argument(__func__, "an argument");
    if (num_ret != 1)
        return tvm_raise(TVM_VALUE_ERROR, "TVMCFuncSetReturn: a function has 1 result, not %d",
                         num_ret);
    if (tvm_classic_to_view(*value, *type_code, &scratch, &view))
        return -1;
    if (view.type_index == TVM_TYPE_DLTENSOR_PTR && view.v_ptr == &scratch)
        return tvm_raise(TVM_TYPE_ERROR, "TVMCFuncSetReturn: a borrowed DLTensor of bool or float8 "
                                         "cannot be returned: return an array");
    if (tvm_value_own(&view, &owned))
        return -1;
    tvm_value_clear(ret);
    *(struct tvm_value *)ret = owned;
    return 0;
}

int TVMCbArgToReturn(TVMValue *value, int *type_code) {
    /* Up to TVM 0.6 the second parameter was the code itself; no pointer is that small. */
    uintptr_t raw = (uintptr_t)type_code;
    if (!value)
        return null_argument(__func__, "value");
    switch (raw < 4096 ? (int)raw : *type_code) {
    case kTVMStr:
    case kTVMBytes:
        return tvm_raise(TVM_TYPE_ERROR, "TVMCbArgToReturn: strings and bytes are copied by the "
                                         "callback, not kept");
    case kTVMNDArrayHandle:
        if (!value->v_handle)
            return null_argument(__func__, "the array");
        tvm_object_retain(&tvm_tensor_from_classic(value->v_handle)->object);
        return 0;
    case kTVMObjectHandle:
    case kTVMModuleHandle:
    case kTVMPackedFuncHandle:
        return TVMObjectRetain(value->v_handle);
    default:
        return 0;
    }
}

int TVMFuncCreateFromCFunc(TVMPackedCFunc function, void *resource_handle,
                           TVMPackedCFuncFinalizer finalizer, TVMFunctionHandle *out) {
    struct tvm_function *made;
    if (!function || !out)
        return null_argument(__func__, "an argument");
    if (tvm_classic_callback_new(function, resource_handle, finalizer, &made))
        return -1;
    *out = made;
    return 0;
}

int TVMFuncRegisterGlobal(const char *name, TVMFunctionHandle function, int override) {
    if (!name || !function)
        return null_argument(__func__, "an argument");
    return tvm_registry_set(name, function, override != 0);
}

int TVMFuncGetGlobal(const char *name, TVMFunctionHandle *out) {
    struct tvm_function *function;
    if (!name || !out)
        return null_argument(__func__, "an argument");
    if (tvm_registry_get(name, &function))
        return -1;
    *out = function;
    return 0;
}

int TVMFuncRemoveGlobal(const char *name) {
    return name ? tvm_registry_remove(name) : null_argument(__func__, "name");
}

int TVMFuncListGlobalNames(int *out_size, const char ***out_array) {
    struct tvm_thread *thread = tvm_thread_with_cleanup();
    const char **names;
    size_t count;
    if (!out_size || !out_array)
        return null_argument(__func__, "an argument");
    if (tvm_registry_list(&names, &count))
        return -1;
    free(thread->returned_names);
    thread->returned_names = names;
    *out_size = (int)count;
    *out_array = names;
    return 0;
}

/* Objects */

int TVMObjectRetain(TVMObjectHandle object) {
    if (!object)
        return null_argument(__func__, "object");
    tvm_object_retain(object);
    return 0;
}

int TVMObjectFree(TVMObjectHandle object) {
    tvm_object_release(object);
    return 0;
}

int TVMByteArrayFree(TVMByteArray *array) {
    (void)array;
    return 0;
}

/* Arrays */

int TVMArrayAlloc(const tvm_index_t *shape, int ndim, int dtype_code, int dtype_bits,
                  int dtype_lanes, int device_type, int device_id, TVMArrayHandle *out) {
    struct tvm_tensor *tensor;
    if (!out || (ndim > 0 && !shape))
        return null_argument(__func__, "an argument");
    if (dtype_code < 0 || dtype_code > UINT8_MAX || dtype_bits < 0 || dtype_bits > UINT8_MAX ||
        dtype_lanes < 0 || dtype_lanes > UINT16_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "TVMArrayAlloc: dtype %d, %d bits, %d lanes", dtype_code,
                         dtype_bits, dtype_lanes);
    DLDataType dtype = {(uint8_t)dtype_code, (uint8_t)dtype_bits, (uint16_t)dtype_lanes};
    DLDevice device = {(DLDeviceType)device_type, device_id};
    if (tvm_tensor_empty(shape, ndim, tvm_dtype_from_classic(dtype), device, &tensor))
        return -1;
    *out = &tensor->classic;
    return 0;
}

int TVMArrayFree(TVMArrayHandle array) {
    if (array)
        tvm_object_release(&tvm_tensor_from_classic(array)->object);
    return 0;
}

/* The array as its header stands, which clients may have pointed to other data, in the runtime's
 * dtype codes. */
static DLTensor from_header(const DLTensor *array) {
    DLTensor tensor = *array;
    tensor.dtype = tvm_dtype_from_classic(array->dtype);
    return tensor;
}

int TVMArrayCopyFromBytes(TVMArrayHandle array, void *data, size_t nbytes) {
    if (!array)
        return null_argument(__func__, "array");
    DLTensor to = from_header(array);
    return tvm_tensor_copy_from_bytes(&to, data, nbytes);
}

int TVMArrayCopyToBytes(TVMArrayHandle array, void *data, size_t nbytes) {
    if (!array)
        return null_argument(__func__, "array");
    DLTensor from = from_header(array);
    return tvm_tensor_copy_to_bytes(&from, data, nbytes);
}

/* Streams other than a device's one queue do not exist here. */
static int check_stream(const char *function, TVMStreamHandle stream) {
    if (!stream)
        return 0;
    return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: stream must be NULL: a device has one queue",
                     function);
}

int TVMArrayCopyFromTo(TVMArrayHandle from, TVMArrayHandle to, TVMStreamHandle stream) {
    size_t from_size, to_size;
    if (!from || !to)
        return null_argument(__func__, "an array");
    DLTensor source = from_header(from), target = from_header(to);
    if (check_stream(__func__, stream) || tvm_tensor_nbytes(&source, &from_size) ||
        tvm_tensor_nbytes(&target, &to_size))
        return -1;
    if (!tvm_tensor_is_compact(from) || !tvm_tensor_is_compact(to))
        return tvm_raise(TVM_VALUE_ERROR, "TVMArrayCopyFromTo: an array is not compact");
    if (from_size != to_size)
        return tvm_raise(TVM_VALUE_ERROR,
                         "TVMArrayCopyFromTo: cannot copy %zu bytes to an array of %zu bytes",
                         from_size, to_size);
    return tvm_device_copy(tvm_tensor_place(from), tvm_tensor_place(to), from_size);
}

int TVMArrayFromDLPack(DLManagedTensor *from, TVMArrayHandle *out) {
    struct tvm_tensor *tensor;
    if (!from || !out)
        return null_argument(__func__, "an argument");
    if (tvm_tensor_from_dlpack(from, &tensor))
        return -1;
    *out = &tensor->classic;
    return 0;
}

int TVMArrayToDLPack(TVMArrayHandle from, DLManagedTensor **out) {
    if (!from || !out)
        return null_argument(__func__, "an argument");
    if (tvm_tensor_to_dlpack(tvm_tensor_from_classic(from), out))
        return -1;
    /* Classic clients know bool as a 1-bit uint. Their float8 code 6 would be DLPack's bool. */
    DLDataType *dtype = &(*out)->dl_tensor.dtype;
    if (dtype->code == TVM_DTYPE_BOOL)
        *dtype = from->dtype;
    return 0;
}

void TVMDLManagedTensorCallDeleter(DLManagedTensor *tensor) {
    if (tensor && tensor->deleter)
        tensor->deleter(tensor);
}

int TVMSynchronize(int device_type, int device_id, TVMStreamHandle stream) {
    const struct tvm_device_api *api;
    DLDevice device = {(DLDeviceType)device_type, device_id};
    if (check_stream(__func__, stream) || tvm_device_get(device, &api))
        return -1;
    return api->sync(device);
}

int TVMSetStream(int device_type, int device_id, TVMStreamHandle stream) {
    const struct tvm_device_api *api;
    DLDevice device = {(DLDeviceType)device_type, device_id};
    if (check_stream(__func__, stream))
        return -1;
    return tvm_device_get(device, &api);
}
