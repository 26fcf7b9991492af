#include "base/error.h"

#include "base/checked.h"
#include "base/thread.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct owned_error {
    struct tvm_error error;
    char text[]; /* kind, message and backtrace, a NUL after each; zeroed by the allocation */
};

void tvm_error_keep_backtrace(struct tvm_error *self, const struct tvm_bytes *backtrace, int mode) {
    (void)self, (void)backtrace, (void)mode; /* C frames are not recorded */
}

/* Raised when there is no memory for an error object either; never freed. */
static struct tvm_error out_of_memory = {
    .object = {.refs = TVM_REFS_ONE, .type_index = TVM_TYPE_ERROR_OBJECT, .deleter = NULL},
    .kind = {TVM_MEMORY_ERROR, sizeof(TVM_MEMORY_ERROR) - 1},
    .message = {"out of memory", sizeof("out of memory") - 1},
    .backtrace = {"", 0},
    .update_backtrace = tvm_error_keep_backtrace,
};

static void error_destroy(void *self) {
    struct tvm_error *error = self;
    tvm_object_release(error->cause);
    tvm_object_release(error->payload);
}

int tvm_error_restore(struct tvm_error *error) {
    struct tvm_thread *thread = tvm_thread_with_cleanup();
    struct tvm_error *old = thread->error;
    thread->error = error;
    if (old)
        tvm_object_release(&old->object);
    return -1;
}

struct tvm_error *tvm_error_take(void) {
    struct tvm_thread *thread = tvm_thread();
    struct tvm_error *error = thread->error;
    thread->error = NULL;
    return error;
}

const struct tvm_error *tvm_error_peek(void) {
    return tvm_thread()->error;
}

int tvm_raise_out_of_memory(void) {
    tvm_object_retain(&out_of_memory.object);
    return tvm_error_restore(&out_of_memory);
}

/* An error with room for size bytes and a NUL at *message; NULL with an error raised when there is
 * no memory. */
static struct tvm_error *allocate(struct tvm_bytes kind, size_t size, struct tvm_bytes backtrace,
                                  char **message) {
    size_t nbytes = sizeof(struct owned_error) + 3; /* texts are in memory: only size can be huge */
    if (!tvm_size_add(nbytes + kind.size + backtrace.size, size, &nbytes)) {
        tvm_raise_out_of_memory();
        return NULL;
    }
    struct owned_error *owned = tvm_object_alloc(nbytes, TVM_TYPE_ERROR_OBJECT, error_destroy);
    if (!owned)
        return NULL;
    memcpy(owned->text, kind.data, kind.size);
    *message = owned->text + kind.size + 1;
    char *trace = *message + size + 1;
    memcpy(trace, backtrace.data, backtrace.size);
    struct tvm_error *error = &owned->error;
    error->kind = (struct tvm_bytes){owned->text, kind.size};
    error->message = (struct tvm_bytes){*message, size};
    error->backtrace = (struct tvm_bytes){trace, backtrace.size};
    error->update_backtrace = tvm_error_keep_backtrace;
    return error;
}

static struct tvm_error *error_new(const char *kind, size_t size, char **message) {
    return allocate((struct tvm_bytes){kind, strlen(kind)}, size, (struct tvm_bytes){"", 0},
                    message);
}

int tvm_error_new(struct tvm_bytes kind, struct tvm_bytes message, struct tvm_bytes backtrace,
                  struct tvm_error **out) {
    char *text;
    struct tvm_error *error = allocate(kind, message.size, backtrace, &text);
    if (!error)
        return -1;
    memcpy(text, message.data, message.size);
    *out = error;
    return 0;
}

int tvm_raise_with_payload(const char *kind, const char *message, size_t size,
                           struct tvm_object *payload) {
    char *text;
    struct tvm_error *error = error_new(kind, size, &text);
    if (!error) {
        tvm_object_release(payload);
        return -1;
    }
    if (size)
        memcpy(text, message, size);
    error->payload = payload;
    return tvm_error_restore(error);
}

/* Length of formatted text; 0 where it cannot be formatted. */
static size_t measure(const char *format, va_list args) {
    int length = vsnprintf(NULL, 0, format, args);
    return length < 0 ? 0 : (size_t)length;
}

int tvm_raise(const char *kind, const char *format, ...) {
    char *text;
    va_list args;
    va_start(args, format);
    size_t size = measure(format, args);
    va_end(args);
    struct tvm_error *error = error_new(kind, size, &text);
    if (!error)
        return -1;
    va_start(args, format);
    vsnprintf(text, size + 1, format, args);
    va_end(args);
    return tvm_error_restore(error);
}

int tvm_raise_context(const char *format, ...) {
    struct tvm_error *inner = tvm_error_take();
    if (!inner)
        return tvm_raise(TVM_RUNTIME_ERROR, "failed without an error message");
    char *text;
    va_list args;
    va_start(args, format);
    size_t size = measure(format, args);
    va_end(args);
    struct tvm_error *outer =
        inner == &out_of_memory
            ? NULL
            : allocate(inner->kind, size + 2 + inner->message.size, inner->backtrace, &text);
    if (!outer)
        return tvm_error_restore(inner);
    va_start(args, format);
    vsnprintf(text, size + 1, format, args);
    va_end(args);
    memcpy(text + size, ": ", 2);
    memcpy(text + size + 2, inner->message.data, inner->message.size);
    if ((outer->cause = inner->cause))
        tvm_object_retain(outer->cause);
    if ((outer->payload = inner->payload))
        tvm_object_retain(outer->payload);
    tvm_object_release(&inner->object);
    return tvm_error_restore(outer);
}

void tvm_error_drop(struct tvm_error *before) {
    struct tvm_error *error = tvm_error_take();
    if (before)
        tvm_error_restore(before);
    if (error)
        tvm_object_release(&error->object);
}

int tvm_error_settle(struct tvm_error *before, int status, void *code) {
    if (status == 0) {
        if (before && !tvm_error_peek())
            tvm_error_restore(before);
        else if (before)
            tvm_object_release(&before->object);
        return 0;
    }
    if (before)
        tvm_object_release(&before->object);
    if (tvm_error_peek())
        return -1;
    Dl_info info;
    if (dladdr(code, &info) && info.dli_sname)
        return tvm_raise(TVM_RUNTIME_ERROR, "%s failed (status %d) without an error message",
                         info.dli_sname, status);
    return tvm_raise(TVM_RUNTIME_ERROR, "the function failed (status %d) without an error message",
                     status);
}
