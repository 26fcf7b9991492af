#include "shim.h"

#include "_cgo_export.h"
#include "base/context.h"
#include "base/function.h"
#include "base/module.h"
#include "base/tensor.h"
#include "graph/json.h"
#include "module/library.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct gotvm_arg) == sizeof(struct tvm_value), "one value, two names");
_Static_assert(offsetof(struct gotvm_arg, bits) == offsetof(struct tvm_value, v_int), "the same");

static struct tvm_object *object_of(uintptr_t object) {
    return (struct tvm_object *)object;
}

/* Errors */

/* Carries a Go error through C. Told apart from other objects by its deleter. */
struct payload {
    struct tvm_object object;
    uint64_t id;                    /* 0: taken back by Go */
    const struct tvm_error *origin; /* the error that it was raised in, to know that again */
};

static void payload_delete(void *self, int flags) {
    struct payload *payload = self;
    if ((flags & TVM_DELETE_STRONG) && payload->id)
        gotvmReleaseError(payload->id);
    if (flags & TVM_DELETE_WEAK)
        free(payload);
}

void gotvm_raise(const char *kind, const char *message, size_t size, uint64_t id) {
    struct payload *payload = malloc(sizeof(*payload));
    if (payload) {
        tvm_object_init(&payload->object, TVM_TYPE_OBJECT, payload_delete);
        payload->id = id;
        payload->origin = NULL;
    } else {
        gotvmReleaseError(id); /* the text goes on alone */
    }
    tvm_raise_with_payload(kind, message, size, payload ? &payload->object : NULL);
    const struct tvm_error *error = tvm_error_peek();
    if (payload && error && error->payload == &payload->object) /* memory did not run out */
        payload->origin = error;
}

/* Takes the Go error out of error when nobody else can come for it. */
static void take_payload(struct tvm_error *error, struct gotvm_failure *failure) {
    struct payload *payload = (struct payload *)error->payload;
    failure->payload = payload->id;
    if (tvm_object_use_count(&error->object) != 1 || tvm_object_use_count(&payload->object) != 1)
        return;
    failure->payload_taken = 1; /* saves a call back into Go */
    payload->id = 0;
    if (payload->origin != error)
        return;
    failure->error = 0; /* saves a call from Go */
    tvm_object_release(&error->object);
}

/* Takes this thread's error. */
static struct gotvm_failure take_failure(void) {
    struct tvm_error *error = tvm_error_take();
    if (!error) {
        tvm_raise(TVM_RUNTIME_ERROR, "failed without an error message");
        error = tvm_error_take();
    }
    struct gotvm_failure failure = {
        .error = (uintptr_t)error,
        .kind = (uintptr_t)error->kind.data,
        .kind_size = error->kind.size,
        .message = (uintptr_t)error->message.data,
        .message_size = error->message.size,
    };
    if (error->payload && error->payload->deleter == payload_delete)
        take_payload(error, &failure);
    return failure;
}

struct gotvm_failure gotvm_failure_of(int status) {
    return status ? take_failure() : (struct gotvm_failure){0};
}

struct gotvm_result gotvm_result_of(int status, const void *object) {
    if (status)
        return (struct gotvm_result){.failure = take_failure()};
    return (struct gotvm_result){.value = (uintptr_t)object};
}

/* Go's memory */

/* What the storage of an Array's tensor refers to. Arrays keep the memory alive themselves, so C
 * has to look after it only when others hold the tensor too. */
struct memory {
    _Atomic uint64_t
        handles;            /* low half: Arrays that hold the tensor; high half: changes of that */
    _Atomic uint64_t block; /* what keeps the memory alive for C; 0: nothing does */
};

static void free_memory(void *resource) {
    struct memory *memory = resource;
    uint64_t block = atomic_load(&memory->block);
    if (block)
        gotvmReleaseBlock(block);
    free(memory);
}

/* NULL where object is no tensor in Go's memory. */
static struct memory *memory_of(const struct tvm_object *object) {
    if (object->type_index != TVM_TYPE_TENSOR)
        return NULL;
    const struct tvm_storage *storage = ((const struct tvm_tensor *)object)->storage;
    return storage->free == free_memory ? storage->resource : NULL;
}

/* A reference to object became one of Go's. */
static void add_handle(struct tvm_object *object) {
    struct memory *memory = memory_of(object);
    if (memory)
        atomic_fetch_add(&memory->handles, (UINT64_C(1) << 32) + 1);
}

void gotvm_retain_handle(uintptr_t handle) {
    struct tvm_object *object = (struct tvm_object *)handle;
    tvm_object_retain(object);
    add_handle(object);
}

void gotvm_release_handle(uintptr_t handle) {
    struct tvm_object *object = (struct tvm_object *)handle;
    struct memory *memory = memory_of(object);
    if (memory)
        atomic_fetch_add(&memory->handles, (UINT64_C(1) << 32) - 1);
    tvm_object_release(object);
}

/* Whether anything but Arrays holds the tensor or its storage. Handles are counted after they got
 * their reference and until they give it back, so that a wrong answer, from changes at this moment,
 * is always yes. */
static bool is_kept(struct tvm_object *object) {
    struct memory *memory = memory_of(object);
    if (!memory)
        return false;
    uint64_t handles = atomic_load(&memory->handles);
    uint32_t references = tvm_object_use_count(object);
    return references > (uint32_t)handles || handles != atomic_load(&memory->handles) ||
           tvm_object_use_count(&((struct tvm_tensor *)object)->storage->object) > 1;
}

/* Values */

/* Objects in the result are the ones in value: references are the caller's business. */
static struct gotvm_value read_value(const struct tvm_value *value) {
    struct gotvm_value out = {.type_index = value->type_index, .bits = (uint64_t)value->v_int};
    if (value->type_index == TVM_TYPE_SMALL_STR || value->type_index == TVM_TYPE_SMALL_BYTES) {
        out.size = value->small_size;
    } else if (value->type_index == TVM_TYPE_TENSOR) {
        out.data = (uintptr_t) & ((const struct tvm_tensor *)value->v_object)->dl;
        out.size = memory_of(value->v_object) != NULL;
    } else {
        struct tvm_bytes text;
        if (tvm_value_text(value, &text)) {
            out.data = (uintptr_t)text.data;
            out.size = text.size;
        }
    }
    return out;
}

/* Text is copied by Go; everything else that is an object gets a reference for it. */
static bool is_held(const struct tvm_value *value) {
    return tvm_value_is_object(value) && value->type_index != TVM_TYPE_STR &&
           value->type_index != TVM_TYPE_BYTES;
}

struct gotvm_value gotvm_hold_value(const struct tvm_value *value) {
    if (is_held(value)) {
        tvm_object_retain(value->v_object);
        add_handle(value->v_object);
    }
    return read_value(value);
}

struct gotvm_failure gotvm_text_new(int is_bytes, const char *text, size_t size,
                                    struct gotvm_arg *out) {
    return gotvm_failure_of(tvm_value_from_text(is_bytes ? TVM_TYPE_BYTES : TVM_TYPE_STR, text,
                                                size, (struct tvm_value *)out));
}

void gotvm_nothing(void) {}

void gotvm_retain(uintptr_t object) {
    tvm_object_retain(object_of(object));
}

void gotvm_release(uintptr_t object) {
    tvm_object_release(object_of(object));
}

uint32_t gotvm_use_count(uintptr_t object) {
    return tvm_object_use_count(object_of(object));
}

/* The build */

void gotvm_context_cancel(uintptr_t context, int cancelled) {
    atomic_store_explicit(&((struct tvm_context *)context)->cancelled, cancelled != 0,
                          memory_order_relaxed);
}

const struct tvm_device_api *gotvm_device_kind(size_t index) {
    return tvm_devices[index]; /* Go stops at the end */
}

int gotvm_device_count(const struct tvm_device_api *kind) {
    return kind->count();
}

struct gotvm_failure gotvm_device_check(DLDevice device) {
    const struct tvm_device_api *api;
    return gotvm_failure_of(tvm_device_get(device, &api));
}

struct gotvm_failure gotvm_device_sync(DLDevice device) {
    const struct tvm_device_api *api;
    return gotvm_failure_of(tvm_device_get(device, &api) || api->sync(device) ? -1 : 0);
}

const char *gotvm_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

const char *gotvm_cjson_version(void) {
    return cJSON_Version();
}

/* Calls */

/* The memory is where it was when the tensor was made, as long as Go's collector moves nothing.
 * Data is the first element, which in a view lies byte_offset behind dl.data. */
static void set_data(struct tvm_tensor *tensor, const char *data) {
    char *begin = (char *)(uintptr_t)data - tensor->dl.byte_offset;
    ptrdiff_t moved = begin - (char *)tensor->dl.data;
    if (moved == 0)
        return;
    tensor->storage->data = (char *)tensor->storage->data + moved;
    tensor->dl.data = tensor->classic.data = begin;
}

/* Makes args of Go's memory; *made is how many are done, also on failure. */
static int enter_memory(const struct gotvm_frame *frame, struct tvm_value *args,
                        struct tvm_bytes *views, int *made) {
    for (int i = 0; i < frame->memory_count; i++) {
        const struct gotvm_memory *memory = &frame->memories[i];
        struct tvm_value *arg = &args[memory->arg];
        if (memory->use == GOTVM_DATA)
            set_data((struct tvm_tensor *)arg->v_object, views[i].data);
        else if (memory->use == GOTVM_BYTES) /* what is called copies what it keeps */
            *arg = (struct tvm_value){.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &views[i]};
        else if (tvm_value_from_text(TVM_TYPE_STR, views[i].data, memory->size, arg))
            return -1;
        *made = i + 1;
    }
    return 0;
}

static void leave_memory(struct gotvm_frame *frame, struct tvm_value *args, int made) {
    for (int i = 0; i < made; i++) {
        struct tvm_value *arg = &args[frame->memories[i].arg];
        if (frame->memories[i].use == GOTVM_STR)
            tvm_value_clear(arg);
        else if (frame->memories[i].use == GOTVM_DATA && is_kept(arg->v_object))
            frame->tensors_kept = 1;
    }
}

static void read_result(const struct tvm_value *result, struct gotvm_value *out) {
    *out = read_value(result);
    if (tvm_value_is_object(result))
        add_handle(result->v_object);
}

/* Of callbacks that call functions that call back. */
enum { MAX_CALL_DEPTH = 1000 };
static _Thread_local int call_depth;

int gotvm_call(struct gotvm_frame *frame, struct gotvm_arg *args, const char *memory0,
               const char *memory1, const char *memory2, const char *memory3, const char *memory4,
               const char *memory5, const char *memory6, const char *memory7) {
    struct tvm_bytes views[GOTVM_MEMORIES] = {
        {memory0, frame->memories[0].size}, {memory1, frame->memories[1].size},
        {memory2, frame->memories[2].size}, {memory3, frame->memories[3].size},
        {memory4, frame->memories[4].size}, {memory5, frame->memories[5].size},
        {memory6, frame->memories[6].size}, {memory7, frame->memories[7].size},
    };
    struct tvm_value *values = (struct tvm_value *)args, result;
    int made = 0;
    frame->tensors_kept = 0;
    int status = enter_memory(frame, values, views, &made);
    if (status == 0)
        status = tvm_check_depth(call_depth, MAX_CALL_DEPTH);
    if (status == 0) {
        call_depth++;
        status = tvm_function_call((struct tvm_function *)frame->function, values, frame->count,
                                   &result);
        call_depth--;
    }
    if (status)
        frame->failure = take_failure();
    else
        read_result(&result, &frame->result);
    leave_memory(frame, values, made);
    return status;
}

/* Closures */

static int closure_call(void *self, const struct tvm_value *args, int32_t count,
                        struct tvm_value *result) {
    struct gotvm_value buffer[8], *values = buffer;
    if (count > (int32_t)(sizeof(buffer) / sizeof(buffer[0]))) {
        values = malloc((size_t)count * sizeof(*values));
        if (!values)
            return tvm_raise_out_of_memory();
    }
    for (int32_t i = 0; i < count; i++)
        values[i] = gotvm_hold_value(&args[i]);
    uintptr_t id = (uintptr_t)((struct tvm_function *)self)->resource;
    int status = gotvmCall(id, values, count, (struct gotvm_arg *)result);
    if (values != buffer)
        free(values);
    return status;
}

static void closure_free(void *resource) {
    gotvmReleaseClosure((uintptr_t)resource);
}

struct gotvm_result gotvm_closure_new(uint64_t closure) {
    struct tvm_function *function = NULL;
    int status =
        tvm_function_new(closure_call, (void *)(uintptr_t)closure, closure_free, &function);
    return gotvm_result_of(status, function);
}

/* Registry and modules */

struct gotvm_result gotvm_registry_get(const char *name) {
    struct tvm_function *function = NULL;
    int status = tvm_registry_get(name, &function);
    return gotvm_result_of(status, function);
}

struct gotvm_failure gotvm_registry_set(const char *name, uintptr_t function) {
    return gotvm_failure_of(tvm_registry_set(name, (struct tvm_function *)function, false));
}

struct gotvm_failure gotvm_registry_remove(const char *name) {
    return gotvm_failure_of(tvm_registry_remove(name));
}

struct gotvm_result gotvm_registry_list(size_t *count) {
    const char **names = NULL;
    int status = tvm_registry_list(&names, count);
    return gotvm_result_of(status, names);
}

struct gotvm_result gotvm_library_load(const char *path, const char *format) {
    struct tvm_module *module = NULL;
    int status = tvm_library_load(path, format, &module);
    return gotvm_result_of(status, module);
}

struct gotvm_result gotvm_library_open_bytes(const char *name, const char *data, size_t size) {
    struct tvm_module *module = NULL;
    int status = tvm_library_open_bytes(name, data, size, &module);
    return gotvm_result_of(status, module);
}

struct gotvm_result gotvm_module_get_function(uintptr_t module, const char *name,
                                              int query_imports) {
    struct tvm_function *function = NULL;
    int status =
        tvm_module_get_function((struct tvm_module *)module, name, query_imports != 0, &function);
    return gotvm_result_of(status, function);
}

/* Tensors */

struct gotvm_result gotvm_tensor_wrap(const char *data, size_t nbytes, const int64_t *shape,
                                      int ndim, DLDataType dtype, DLDevice device) {
    struct memory *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return gotvm_result_of(tvm_raise_out_of_memory(), NULL);
    struct tvm_tensor *tensor = NULL;
    int status =
        tvm_tensor_over(device, (void *)(uintptr_t)data, nbytes, NULL, shape, ndim, dtype, &tensor);
    if (status) {
        free(memory);
    } else {
        atomic_init(&memory->handles, 1);
        tensor->storage->resource = memory;
        tensor->storage->free = free_memory;
    }
    return gotvm_result_of(status, tensor);
}

bool gotvm_tensor_keep(uintptr_t tensor, uint64_t block) {
    uint64_t none = 0;
    return atomic_compare_exchange_strong(&memory_of(object_of(tensor))->block, &none, block);
}

struct gotvm_result gotvm_tensor_empty(const int64_t *shape, int ndim, DLDataType dtype,
                                       DLDevice device) {
    struct tvm_tensor *tensor = NULL;
    int status = tvm_tensor_empty(shape, ndim, dtype, device, &tensor);
    return gotvm_result_of(status, tensor);
}

static int borrow(const DLTensor *dl, struct tvm_tensor **out) {
    size_t nbytes;
    if (tvm_tensor_nbytes(dl, &nbytes))
        return -1;
    if (!tvm_tensor_is_compact(dl))
        return tvm_raise(TVM_VALUE_ERROR, "the tensor is not compact: its elements have gaps");
    if (tvm_tensor_over(dl->device, dl->data, nbytes, NULL, dl->shape, dl->ndim, dl->dtype, out))
        return -1;
    (*out)->storage->lent = true;
    (*out)->dl.byte_offset = (*out)->classic.byte_offset = dl->byte_offset;
    return 0;
}

struct gotvm_result gotvm_tensor_borrow(uintptr_t dltensor) {
    struct tvm_tensor *tensor = NULL;
    int status = borrow((const DLTensor *)dltensor, &tensor);
    return gotvm_result_of(status, tensor);
}

struct gotvm_failure gotvm_tensor_detach(uintptr_t from, uintptr_t to) {
    struct tvm_tensor *tensor = (struct tvm_tensor *)from;
    struct tvm_tensor *replacement = (struct tvm_tensor *)to;
    if (tvm_tensor_copy(&tensor->dl, &replacement->dl))
        return take_failure();
    struct tvm_storage *storage = tensor->storage;
    tensor->storage = replacement->storage;
    replacement->storage = storage;
    tensor->dl.data = tensor->classic.data = tensor->storage->data;
    tensor->dl.byte_offset = tensor->classic.byte_offset = 0;
    return (struct gotvm_failure){0};
}

bool gotvm_tensor_is_shared(uintptr_t tensor) {
    const struct tvm_tensor *it = (const struct tvm_tensor *)tensor;
    return tvm_object_use_count(&it->object) > 1 || tvm_object_use_count(&it->storage->object) > 1;
}

uintptr_t gotvm_tensor_dl(uintptr_t tensor) {
    return (uintptr_t) & ((struct tvm_tensor *)tensor)->dl;
}

struct gotvm_failure gotvm_tensor_copy(uintptr_t from, uintptr_t to) {
    return gotvm_failure_of(
        tvm_tensor_copy(&((struct tvm_tensor *)from)->dl, &((struct tvm_tensor *)to)->dl));
}

struct gotvm_failure gotvm_tensor_read(uintptr_t tensor, char *data, size_t nbytes) {
    return gotvm_failure_of(
        tvm_tensor_copy_to_bytes(&((struct tvm_tensor *)tensor)->dl, data, nbytes));
}

struct gotvm_failure gotvm_tensor_write(uintptr_t tensor, const char *data, size_t nbytes) {
    return gotvm_failure_of(
        tvm_tensor_copy_from_bytes(&((struct tvm_tensor *)tensor)->dl, data, nbytes));
}

struct gotvm_failure gotvm_dtype_parse(const char *text, size_t size, DLDataType *out) {
    return gotvm_failure_of(tvm_dtype_parse(text, size, out));
}

void gotvm_dtype_print(DLDataType dtype, char *buffer) {
    tvm_dtype_print(dtype, buffer);
}

void gotvm_device_print(DLDevice device, char *buffer) {
    tvm_device_print(device, buffer);
}
