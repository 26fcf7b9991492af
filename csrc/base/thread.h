/* What the runtime keeps for each thread, freed when the thread ends. */
#ifndef TVM_BASE_THREAD_H
#define TVM_BASE_THREAD_H

#include "base/value.h"

struct tvm_context;

struct tvm_thread {
    struct tvm_error *error;         /* raised error, owned */
    struct tvm_context *context;     /* the one entered last; NULL: use own_context */
    struct tvm_context *own_context; /* for calls outside of any session, owned, made on demand */
    unsigned task;                   /* task number inside a parallel region: the workspace slot */
    unsigned parallel_depth;         /* above 0 inside a parallel region */
    struct tvm_value returned;       /* text that a classic call returned last, owned */
    struct tvm_bytes returned_bytes; /* what a classic bytes result points to */
    const char **returned_names;     /* array that the classic list call returned last, owned */
};

/* initial-exec: each operator of a model asks for it, and a call of the linker's each time would be
 * much of what a small model's run costs beside its kernels. */
extern _Thread_local struct tvm_thread tvm_thread_state
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* This thread's state. */
static inline struct tvm_thread *tvm_thread(void) {
    return &tvm_thread_state;
}

/* The same, after arranging for it to be freed when the thread ends. For whoever stores something
 * owned in it. */
struct tvm_thread *tvm_thread_with_cleanup(void);

#endif
