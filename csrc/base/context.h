/* Execution contexts: what one run needs beside its arguments. A session owns one; calls outside of
 * any session use one of their thread. The thread's current context is set on entry and restored on
 * exit, so that callbacks may nest runs. */
#ifndef TVM_BASE_CONTEXT_H
#define TVM_BASE_CONTEXT_H

#include "base/error.h"
#include "base/thread.h"

#include <stdbool.h>

enum { TVM_MAX_TASKS = 256 }; /* of one parallel region */

struct tvm_arena;
struct tvm_profile;

struct tvm_context {
    int thread_limit;            /* tasks of a parallel region at most; 0: no limit of its own */
    void *owner;                 /* the Relax session that it belongs to, NULL: none */
    _Atomic bool cancelled;      /* set by any thread: the run ends early, and so would the next */
    struct tvm_profile *profile; /* borrowed; runs are measured for it; NULL: they are not. Changed
                                    only between runs */
    struct tvm_arena *arenas[TVM_MAX_TASKS]; /* workspaces by task, made on demand by that task */
};

int tvm_context_new(struct tvm_context **out);

/* Only while no thread is inside. NULL is ignored. */
void tvm_context_destroy(struct tvm_context *context);

/* The context that calls on this thread run in; NULL with an error raised when there is no memory
 * for the thread's own. */
struct tvm_context *tvm_context_current(void);

/* What tvm_context_leave restores. */
struct tvm_context_scope {
    struct tvm_context *context;
    unsigned task;
};

/* Makes context the thread's current one, as task 0 … */
struct tvm_context_scope tvm_context_enter(struct tvm_context *context);
/* … and brings back what was before. */
void tvm_context_leave(struct tvm_context_scope scope);

/* CancelledError when the current run was cancelled. */
static inline int tvm_context_check_cancel(void) {
    const struct tvm_context *context = tvm_thread()->context;
    if (context && atomic_load_explicit(&context->cancelled, memory_order_relaxed))
        return tvm_raise(TVM_CANCELLED_ERROR, "the run was cancelled");
    return 0;
}

/* Temporary host memory for compiled code, at a multiple of TVM_ALIGNMENT, from the arena of the
 * current context and task: no system call and no lock once the arena has grown. Free on the same
 * thread; any order is legal, reverse order is fast. */
int tvm_workspace_alloc(size_t nbytes, void **out);
/* ValueError for a pointer that is no workspace of this thread's arena. */
int tvm_workspace_free(void *data);

/* Makes data, temporary memory of a device, a workspace that is freed like those: release(resource)
 * gives it back. On failure it stays the caller's. */
int tvm_workspace_adopt(void *data, void (*release)(void *resource), void *resource);

/* Compiled code that fails leaves its workspaces behind. Whoever calls it takes a mark before, and
 * drops what is above the mark when the call failed. */
size_t tvm_workspace_mark(void);
void tvm_workspace_drop(size_t mark);

#endif
