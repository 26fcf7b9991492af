/* The tvm-ffi functions of include/tvm_ffi_runtime.h. Its structs are those of csrc/base under
 * public names. */
#include "include/tvm_ffi_runtime.h"

#include "base/container.h"
#include "base/context.h"
#include "base/dtype.h"
#include "base/function.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "module/library.h"
#include "module/system_library.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(TVMFFIAny) == sizeof(struct tvm_value), "TVMFFIAny");
_Static_assert(sizeof(TVMFFIObject) == sizeof(struct tvm_object), "TVMFFIObject");
_Static_assert(offsetof(TVMFFIErrorCell, extra_context) + sizeof(struct tvm_object) ==
                   offsetof(struct tvm_error, payload),
               "TVMFFIErrorCell");
_Static_assert(sizeof(TVMFFIByteArray) == sizeof(struct tvm_bytes), "TVMFFIByteArray");

static struct tvm_bytes bytes_of(const TVMFFIByteArray *array) {
    return array && array->size ? (struct tvm_bytes){array->data, array->size}
                                : (struct tvm_bytes){"", 0};
}

static int refuse_null(const char *function, const char *argument) {
    return tvm_raise(TVM_VALUE_ERROR, "%s: %s is NULL", function, argument);
}

int TVMFFIObjectIncRef(TVMFFIObjectHandle object) {
    if (!object)
        return refuse_null("TVMFFIObjectIncRef", "object");
    tvm_object_retain(object);
    return 0;
}

int TVMFFIObjectDecRef(TVMFFIObjectHandle object) {
    tvm_object_release(object);
    return 0;
}

/* Values */

int TVMFFIAnyViewToOwnedAny(const TVMFFIAny *view, TVMFFIAny *out) {
    return tvm_value_own((const struct tvm_value *)view, (struct tvm_value *)out);
}

int TVMFFIStringFromByteArray(const TVMFFIByteArray *input, TVMFFIAny *out) {
    struct tvm_bytes text = bytes_of(input);
    return tvm_value_from_text(TVM_TYPE_STR, text.data, text.size, (struct tvm_value *)out);
}

int TVMFFIBytesFromByteArray(const TVMFFIByteArray *input, TVMFFIAny *out) {
    struct tvm_bytes text = bytes_of(input);
    return tvm_value_from_text(TVM_TYPE_BYTES, text.data, text.size, (struct tvm_value *)out);
}

static const DLDataType void_type = {TVM_DTYPE_HANDLE, 0, 0};

int TVMFFIDataTypeFromString(const TVMFFIByteArray *text, DLDataType *out) {
    struct tvm_bytes bytes = bytes_of(text);
    if (bytes.size == 0 || (bytes.size == 4 && memcmp(bytes.data, "void", 4) == 0)) {
        *out = void_type;
        return 0;
    }
    return tvm_dtype_parse(bytes.data, bytes.size, out);
}

int TVMFFIDataTypeToString(const DLDataType *dtype, TVMFFIAny *out) {
    char text[TVM_DTYPE_TEXT_SIZE];
    if (tvm_dtype_equal(*dtype, void_type))
        strcpy(text, "void");
    else
        tvm_dtype_print(*dtype, text);
    return tvm_value_from_text(TVM_TYPE_STR, text, strlen(text), (struct tvm_value *)out);
}

/* Functions */

/* A client's function: safe_call wants its own self, not the function object. */
struct client_function {
    TVMFFISafeCallType call;
    void *self;
    void (*deleter)(void *self);
};

static void client_free(void *resource) {
    struct client_function *client = resource;
    if (client->deleter)
        client->deleter(client->self);
    free(client);
}

static int client_call(void *self, const struct tvm_value *args, int32_t count,
                       struct tvm_value *result) {
    const struct client_function *client = ((struct tvm_function *)self)->resource;
    struct tvm_error *before = tvm_error_take(); /* an old error must not pass for this call's */
    int status = client->call(client->self, (const TVMFFIAny *)args, count, (TVMFFIAny *)result);
    if (status || before)
        status = tvm_error_settle(before, status, (void *)client->call);
    if (status)
        tvm_value_clear(result);
    return status;
}

int TVMFFIFunctionCreate(void *self, TVMFFISafeCallType safe_call, void (*deleter)(void *self),
                         TVMFFIObjectHandle *out) {
    if (!safe_call)
        return refuse_null("TVMFFIFunctionCreate", "safe_call");
    struct client_function *client = malloc(sizeof(*client));
    if (!client)
        return tvm_raise_out_of_memory();
    *client = (struct client_function){safe_call, self, deleter};
    struct tvm_function *function;
    if (tvm_function_new(client_call, client, client_free, &function)) {
        free(client);
        return -1;
    }
    *out = function;
    return 0;
}

static int refuse_object(const char *name, const struct tvm_object *base,
                         enum tvm_type_index type) {
    if (!base)
        return refuse_null(name, tvm_type_name((int32_t)type));
    return tvm_raise(TVM_TYPE_ERROR, "%s: expected %s, got %s", name, tvm_type_name((int32_t)type),
                     tvm_type_name(base->type_index));
}

static inline int check_object(const char *name, const void *object, enum tvm_type_index type) {
    const struct tvm_object *base = object;
    return base && base->type_index == (int32_t)type ? 0 : refuse_object(name, base, type);
}

int TVMFFIFunctionCall(TVMFFIObjectHandle function, TVMFFIAny *args, int32_t num_args,
                       TVMFFIAny *result) {
    if (check_object("TVMFFIFunctionCall", function, TVM_TYPE_FUNCTION) ||
        tvm_context_check_cancel())
        return -1;
    return tvm_function_call(function, (const struct tvm_value *)args, num_args,
                             (struct tvm_value *)result);
}

/* A name as a C string, to be freed. */
static int copy_name(const char *function, const TVMFFIByteArray *name, char **out) {
    struct tvm_bytes text = bytes_of(name);
    if (memchr(text.data, 0, text.size))
        return tvm_raise(TVM_VALUE_ERROR, "%s: the name holds a NUL byte", function);
    *out = strndup(text.data, text.size);
    return *out ? 0 : tvm_raise_out_of_memory();
}

int TVMFFIFunctionGetGlobal(const TVMFFIByteArray *name, TVMFFIObjectHandle *out) {
    struct tvm_function *function;
    char *text;
    if (copy_name("TVMFFIFunctionGetGlobal", name, &text))
        return -1;
    int status = tvm_registry_get(text, &function);
    free(text);
    if (status == 0)
        *out = function;
    return status;
}

int TVMFFIFunctionSetGlobal(const TVMFFIByteArray *name, TVMFFIObjectHandle function,
                            int allow_override) {
    char *text;
    if (check_object("TVMFFIFunctionSetGlobal", function, TVM_TYPE_FUNCTION) ||
        copy_name("TVMFFIFunctionSetGlobal", name, &text))
        return -1;
    int status = tvm_registry_set(text, function, allow_override != 0);
    free(text);
    return status;
}

/* Errors */

void TVMFFIErrorMoveFromRaised(TVMFFIObjectHandle *result) {
    *result = tvm_error_take();
}

void TVMFFIErrorSetRaised(TVMFFIObjectHandle error) {
    if (check_object("TVMFFIErrorSetRaised", error, TVM_TYPE_ERROR_OBJECT))
        return;
    tvm_object_retain(error);
    tvm_error_restore(error);
}

static void raise_parts(const char *kind, const char *const *parts, int32_t count) {
    size_t size = 0;
    for (int32_t i = 0; i < count; i++)
        size += parts[i] ? strlen(parts[i]) : 0;
    char *text = malloc(size + 1);
    if (!text) {
        tvm_raise_out_of_memory();
        return;
    }
    size_t used = 0;
    for (int32_t i = 0; i < count; i++) {
        size_t length = parts[i] ? strlen(parts[i]) : 0;
        if (length)
            memcpy(text + used, parts[i], length);
        used += length;
    }
    tvm_raise_with_payload(kind ? kind : TVM_RUNTIME_ERROR, text, used, NULL);
    free(text);
}

void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message) {
    raise_parts(kind, &message, 1);
}

void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t num_parts) {
    raise_parts(kind, parts, num_parts);
}

int TVMFFIErrorCreateWithCauseAndExtraContext(
    const TVMFFIByteArray *kind, const TVMFFIByteArray *message, const TVMFFIByteArray *backtrace,
    TVMFFIObjectHandle cause, TVMFFIObjectHandle extra_context, TVMFFIObjectHandle *out) {
    struct tvm_error *error;
    if (tvm_error_new(bytes_of(kind), bytes_of(message), bytes_of(backtrace), &error))
        return -1;
    if (cause)
        tvm_object_retain(cause);
    if (extra_context)
        tvm_object_retain(extra_context);
    error->cause = cause;
    error->payload = extra_context;
    *out = error;
    return 0;
}

int TVMFFIErrorCreate(const TVMFFIByteArray *kind, const TVMFFIByteArray *message,
                      const TVMFFIByteArray *backtrace, TVMFFIObjectHandle *out) {
    return TVMFFIErrorCreateWithCauseAndExtraContext(kind, message, backtrace, NULL, NULL, out);
}

/* Tensors */

int TVMFFITensorFromDLPack(DLManagedTensor *from, int32_t require_alignment,
                           int32_t require_contiguous, TVMFFIObjectHandle *out) {
    (void)require_contiguous; /* every tensor here is */
    struct tvm_tensor *tensor;
    if (!from)
        return refuse_null("TVMFFITensorFromDLPack", "from");
    uintptr_t address = (uintptr_t)from->dl_tensor.data + (uintptr_t)from->dl_tensor.byte_offset;
    if (require_alignment > 0 && address % (uintptr_t)require_alignment)
        return tvm_raise(TVM_VALUE_ERROR,
                         "TVMFFITensorFromDLPack: the data is not aligned to %d bytes",
                         require_alignment);
    if (tvm_tensor_from_dlpack(from, &tensor))
        return -1;
    *out = tensor;
    return 0;
}

int TVMFFITensorToDLPack(TVMFFIObjectHandle from, DLManagedTensor **out) {
    if (check_object("TVMFFITensorToDLPack", from, TVM_TYPE_TENSOR))
        return -1;
    return tvm_tensor_to_dlpack(from, out);
}

/* Compiled code */

int TVMFFIEnvModRegisterSystemLibSymbol(const char *name, void *symbol) {
    return tvm_system_register(name, symbol);
}

int TVMFFIEnvModLookupFromImports(TVMFFIObjectHandle library_context, const char *name,
                                  TVMFFIObjectHandle *out) {
    struct tvm_function *function;
    if (tvm_library_env_function(library_context, name, &function))
        return -1;
    *out = function;
    return 0;
}

int TVMFFIHandleInitOnce(void **handle, int (*init)(void **result)) {
    if (__atomic_load_n(handle, __ATOMIC_ACQUIRE))
        return 0;
    int status = 0;
    tvm_init_lock();
    if (!*handle) {
        void *made = NULL;
        status = init(&made) ? -1 : 0;
        if (status == 0 && !made)
            status = refuse_null("TVMFFIHandleInitOnce", "the handle that init gave");
        if (status == 0)
            __atomic_store_n(handle, made, __ATOMIC_RELEASE);
    }
    tvm_init_unlock();
    return status;
}

int TVMFFIHandleDeinitOnce(void **handle, int (*deinit)(void *handle)) {
    void *old = __atomic_exchange_n(handle, NULL, __ATOMIC_ACQ_REL);
    return old && deinit(old) ? -1 : 0;
}

int TVMBackendAnyListSetPackedArg(void *list, int index, TVMFFIAny *args, int arg_offset) {
    args[arg_offset] = ((const TVMFFIAny *)list)[index];
    return 0;
}

int TVMBackendAnyListResetItem(void *list, int index) {
    tvm_value_clear((struct tvm_value *)list + index);
    return 0;
}

int TVMBackendAnyListMoveFromPackedReturn(void *list, int index, TVMFFIAny *args, int ret_offset) {
    struct tvm_value *item = (struct tvm_value *)list + index;
    struct tvm_value *from = (struct tvm_value *)args + ret_offset;
    struct tvm_value old = *item;
    *item = *from;
    *from = tvm_none();
    tvm_value_clear(&old);
    return 0;
}
