/* What the Go package asks of the runtime: functions of csrc/base in a form that suits cgo. Objects
 * cross as uintptr_t, so that Go neither checks nor scans them, and whatever fails hands over its
 * error in the same call. */
#ifndef GOTVM_SHIM_H
#define GOTVM_SHIM_H

#include "base/device.h"
#include "base/value.h"
#include "include/tvm_runtime.h"

#include <stdbool.h>
#include <stdint.h>

/* A struct tvm_value as Go writes it. */
struct gotvm_arg {
    int32_t type_index;
    uint32_t small_size;
    uint64_t bits;
};

/* A value as Go reads it. */
struct gotvm_value {
    int32_t type_index;
    uint64_t bits;  /* scalars as they are, small text inline, objects with a reference for Go */
    uintptr_t data; /* of text that is not small: its first byte; of a tensor: its DLTensor */
    uint64_t size;  /* of text: bytes; of a tensor: 1 when it is in Go's memory */
};

/* An error, owned by Go; all zero when there is none. The texts are the error's own. Where error is
 * 0 and payload is not, the error was just as the Go side had raised it, and is gone. */
struct gotvm_failure {
    uintptr_t error;
    uintptr_t kind, kind_size;
    uintptr_t message, message_size;
    uint64_t payload;      /* id of the Go error inside; 0: none */
    int32_t payload_taken; /* not 0: nobody else has the error, and the id is now the caller's */
};

/* Memory of Go that an argument is about. Its address is an argument of gotvm_call, since cgo
 * pins what is passed so. */
struct gotvm_memory {
    int32_t arg;
    int32_t use;   /* an enum gotvm_use */
    uint64_t size; /* of text: bytes */
};

enum gotvm_use {
    GOTVM_STR,
    GOTVM_BYTES, /* not copied */
    GOTVM_DATA,  /* the elements of a tensor, whose object is in the argument already */
};

enum { GOTVM_MEMORIES = 8 };

/* One call of a packed function. */
struct gotvm_frame {
    uintptr_t function;
    int32_t count;
    int32_t memory_count;
    struct gotvm_memory memories[GOTVM_MEMORIES];
    int32_t tensors_kept; /* after the call: not 0 when C has kept a tensor */
    struct gotvm_value result;
    struct gotvm_failure failure;
};

/* What a function returns that gives an object, or some other number, or fails. */
struct gotvm_result {
    uint64_t value;
    struct gotvm_failure failure;
};

/* What the outcome of a function of the runtime is to Go. Let the call be a statement of its own
 * before: object is read when this is called. */
struct gotvm_failure gotvm_failure_of(int status);
struct gotvm_result gotvm_result_of(int status, const void *object);

/* Calls frame->function with args: 0 with frame->result, or -1 with frame->failure. */
int gotvm_call(struct gotvm_frame *frame, struct gotvm_arg *args, const char *memory0,
               const char *memory1, const char *memory2, const char *memory3, const char *memory4,
               const char *memory5, const char *memory6, const char *memory7);

/* Does nothing: what crossing from Go to C costs. */
void gotvm_nothing(void);

void gotvm_retain(uintptr_t object);
void gotvm_release(uintptr_t object);
/* The same for one that a handle of the program holds, such as an Array. */
void gotvm_retain_handle(uintptr_t object);
void gotvm_release_handle(uintptr_t object);
/* A value for a handle of the program: with a reference for it, but for text, which is borrowed. */
struct gotvm_value gotvm_hold_value(const struct tvm_value *value);
uint32_t gotvm_use_count(uintptr_t object);

/* An owned string or byte string with a copy of text. */
struct gotvm_failure gotvm_text_new(int is_bytes, const char *text, size_t size,
                                    struct gotvm_arg *out);

/* Raises the Go error number payload on this thread. kind ends with a NUL; the texts are copied. */
void gotvm_raise(const char *kind, const char *message, size_t size, uint64_t payload);

/* A run in this context at this time, or the next one, fails as cancelled; 0 takes that back. Any
 * thread may call it. */
void gotvm_context_cancel(uintptr_t context, int cancelled);

/* Number index of the kinds of devices in this build; NULL after the last one. */
const struct tvm_device_api *gotvm_device_kind(size_t index);
int gotvm_device_count(const struct tvm_device_api *kind);
struct gotvm_failure gotvm_device_check(DLDevice device);
struct gotvm_failure gotvm_device_sync(DLDevice device);

/* What this was compiled with. */
const char *gotvm_compiler(void);
const char *gotvm_cjson_version(void);

/* Results are objects with a reference for the caller. In the first, closure is an id. */
struct gotvm_result gotvm_closure_new(uint64_t closure);
struct gotvm_result gotvm_registry_get(const char *name); /* 0: no such function */
struct gotvm_failure gotvm_registry_set(const char *name, uintptr_t function);
struct gotvm_failure gotvm_registry_remove(const char *name);
struct gotvm_result gotvm_library_load(const char *path, const char *format);
struct gotvm_result gotvm_library_open_bytes(const char *name, const char *data, size_t size);
struct gotvm_result gotvm_module_get_function(uintptr_t module, const char *name,
                                              int query_imports);

/* All names: result is an array of count strings, one malloc'ed block. */
struct gotvm_result gotvm_registry_list(size_t *count);

/* A tensor over nbytes of Go's memory, for an Array. Only Arrays may hold it, and calls use it,
 * until gotvm_tensor_keep. */
struct gotvm_result gotvm_tensor_wrap(const char *data, size_t nbytes, const int64_t *shape,
                                      int ndim, DLDataType dtype, DLDevice device);
/* From now on the memory, which is pinned, is given back by the id of its block, with the last
 * reference; false when it is so already. */
bool gotvm_tensor_keep(uintptr_t tensor, uint64_t block);
struct gotvm_result gotvm_tensor_empty(const int64_t *shape, int ndim, DLDataType dtype,
                                       DLDevice device);

/* A tensor over the memory of a borrowed DLTensor, to be detached before that goes. */
struct gotvm_result gotvm_tensor_borrow(uintptr_t dltensor);

/* Copies tensor's contents to replacement, a tensor of equal dtype and shape that nobody else
 * knows, and lets the two change memory. */
struct gotvm_failure gotvm_tensor_detach(uintptr_t tensor, uintptr_t replacement);

/* Whether anybody but the one who asks holds the tensor or a view of its memory. */
bool gotvm_tensor_is_shared(uintptr_t tensor);

/* The DLTensor inside. */
uintptr_t gotvm_tensor_dl(uintptr_t tensor);

struct gotvm_failure gotvm_tensor_copy(uintptr_t from, uintptr_t to);
struct gotvm_failure gotvm_tensor_read(uintptr_t tensor, char *data, size_t nbytes);
struct gotvm_failure gotvm_tensor_write(uintptr_t tensor, const char *data, size_t nbytes);

struct gotvm_failure gotvm_dtype_parse(const char *text, size_t size, DLDataType *out);
/* buffer is TVM_DTYPE_TEXT_SIZE long. */
void gotvm_dtype_print(DLDataType dtype, char *buffer);
/* buffer is TVM_DEVICE_TEXT_SIZE long. */
void gotvm_device_print(DLDevice device, char *buffer);

#endif
