/* Errors. Every function that can fail returns int: 0, or -1 with an error raised on this thread.
 *
 * An error is an object (kind, message, backtrace, payload) laid out as tvm-ffi's TVMFFIErrorCell.
 * The raised one sits in a slot of the thread until it is taken or replaced; success does not clear
 * it. The classic TVMGetLastError reads the same slot. */
#ifndef TVM_BASE_ERROR_H
#define TVM_BASE_ERROR_H

#include "base/object.h"

#include <string.h>

/* Kinds: Python's names where one fits, as tvm-ffi has them. */
#define TVM_RUNTIME_ERROR "RuntimeError"         /* a model or a callback failed */
#define TVM_VALUE_ERROR "ValueError"             /* an argument's value is wrong */
#define TVM_TYPE_ERROR "TypeError"               /* an argument's type, dtype or device is wrong */
#define TVM_INDEX_ERROR "IndexError"             /* an index is out of range */
#define TVM_NOT_FOUND_ERROR "NotFoundError"      /* no such file, function or name */
#define TVM_FORMAT_ERROR "FormatError"           /* a file's content is damaged */
#define TVM_UNSUPPORTED_ERROR "UnsupportedError" /* well-formed, but not for this runtime */
#define TVM_MEMORY_ERROR "MemoryError"           /* memory ran out */
#define TVM_OS_ERROR "OSError"                   /* the operating system refused */
#define TVM_BUSY_ERROR "BusyError"               /* in use, which forbids it */
#define TVM_CANCELLED_ERROR "CancelledError"     /* the run was cancelled */

struct tvm_bytes {
    const char *data; /* followed by a NUL where the runtime made it */
    size_t size;
};

static inline bool tvm_bytes_is(struct tvm_bytes bytes, const char *text) {
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

struct tvm_error {
    struct tvm_object object;
    struct tvm_bytes kind;
    struct tvm_bytes message;
    struct tvm_bytes backtrace;
    void (*update_backtrace)(struct tvm_error *self, const struct tvm_bytes *backtrace, int mode);
    struct tvm_object *cause;   /* owned */
    struct tvm_object *payload; /* owned; what a foreign language wants back: its own error */
};

/* What errors have as update_backtrace: does nothing. */
void tvm_error_keep_backtrace(struct tvm_error *self, const struct tvm_bytes *backtrace, int mode);

/* Raises an error of kind on this thread; returns -1: callers write `return tvm_raise(…)`. */
int tvm_raise(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Raises MemoryError without allocating, so that the message has no size; returns -1. */
int tvm_raise_out_of_memory(void);

/* Raises an error that carries payload (ownership is taken, also on failure); returns -1. The
 * message is size bytes long and may hold NULs. */
int tvm_raise_with_payload(const char *kind, const char *message, size_t size,
                           struct tvm_object *payload);

/* Makes an error of copies of the texts, without raising it. */
int tvm_error_new(struct tvm_bytes kind, struct tvm_bytes message, struct tvm_bytes backtrace,
                  struct tvm_error **out);

/* Puts "<formatted text>: " before the message of the raised error, keeping kind, backtrace,
 * cause and payload, or leaves it as it is when there is no memory; returns -1. For callers that
 * know more (the file, the node) than the place that failed. */
int tvm_raise_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Takes the raised error out of this thread's slot: the caller owns it. NULL when there is none. */
struct tvm_error *tvm_error_take(void);

/* The raised error, borrowed until the next one is raised on this thread; NULL when none. */
const struct tvm_error *tvm_error_peek(void);

/* Puts error (ownership is taken) into this thread's slot; returns -1. For moving errors between
 * threads. */
int tvm_error_restore(struct tvm_error *error);

/* For what succeeds though a part of it failed: forgets the raised error. before is what the caller
 * took before that part (ownership is taken; NULL: nothing), and is the thread's error again. */
void tvm_error_drop(struct tvm_error *before);

/* After a call of code of others, which ended with status: on success before, taken before the
 * call, is the thread's error again, unless the call left another one; on failure there is an
 * error, which names code where it raised none. Takes ownership of before (may be NULL). Returns 0
 * or -1. */
int tvm_error_settle(struct tvm_error *before, int status, void *code);

#endif
