#include "base/error.h"

#include "base/thread.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct owned_error {
    struct tvm_error error;
    char text[]; /* kind, NUL, message, NUL */
};

/* Raised when there is no memory for an error object either; never freed. */
static struct tvm_error out_of_memory = {
    .object = {.refs = TVM_REFS_ONE, .type_index = TVM_TYPE_ERROR_OBJECT, .deleter = NULL},
    .kind = {TVM_MEMORY_ERROR, sizeof(TVM_MEMORY_ERROR) - 1},
    .message = {"out of memory", sizeof("out of memory") - 1},
    .backtrace = {"", 0},
};

static void keep_backtrace(struct tvm_error *self, const struct tvm_bytes *backtrace, int mode) {
    (void)self, (void)backtrace, (void)mode; /* C frames are not recorded */
}

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

int tvm_raise_out_of_memory(size_t nbytes) {
    (void)nbytes; /* a message with the number would need memory */
    tvm_object_retain(&out_of_memory.object);
    return tvm_error_restore(&out_of_memory);
}

int tvm_raise_with_payload(const char *kind, const char *message, size_t size,
                           struct tvm_object *payload) {
    size_t kind_size = strlen(kind);
    struct owned_error *owned = tvm_object_alloc(sizeof(*owned) + kind_size + size + 2,
                                                 TVM_TYPE_ERROR_OBJECT, error_destroy);
    if (!owned) {
        tvm_object_release(payload);
        return -1;
    }
    memcpy(owned->text, kind, kind_size);
    memcpy(owned->text + kind_size + 1, message, size);
    struct tvm_error *error = &owned->error;
    error->kind = (struct tvm_bytes){owned->text, kind_size};
    error->message = (struct tvm_bytes){owned->text + kind_size + 1, size};
    error->backtrace = (struct tvm_bytes){"", 0};
    error->update_backtrace = keep_backtrace;
    error->payload = payload;
    return tvm_error_restore(error);
}

/* Formats into a malloc'ed string; NULL when there is no memory. */
static char *format_text(const char *format, va_list args, size_t *size) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text) {
        vsnprintf(text, (size_t)length + 1, format, again);
        *size = (size_t)length;
    }
    va_end(again);
    return text;
}

int tvm_raise(const char *kind, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t size = 0;
    char *text = format_text(format, args, &size);
    va_end(args);
    if (!text)
        return tvm_raise_out_of_memory(0);
    int status = tvm_raise_with_payload(kind, text, size, NULL);
    free(text);
    return status;
}

int tvm_raise_context(const char *format, ...) {
    struct tvm_error *inner = tvm_error_take();
    if (!inner || inner == &out_of_memory)
        return inner ? tvm_error_restore(inner)
                     : tvm_raise(TVM_RUNTIME_ERROR, "failed without an error message");
    va_list args;
    va_start(args, format);
    size_t size = 0;
    char *prefix = format_text(format, args, &size);
    va_end(args);
    char *text = prefix ? malloc(size + 2 + inner->message.size) : NULL;
    if (!text) {
        free(prefix);
        return tvm_error_restore(inner);
    }
    memcpy(text, prefix, size);
    memcpy(text + size, ": ", 2);
    memcpy(text + size + 2, inner->message.data, inner->message.size);
    free(prefix);
    if (inner->payload)
        tvm_object_retain(inner->payload);
    tvm_raise_with_payload(inner->kind.data, text, size + 2 + inner->message.size, inner->payload);
    free(text);
    tvm_object_release(&inner->object);
    return -1;
}
