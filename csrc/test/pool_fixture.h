/* What tests of the worker pool launch, and what they look at. */
#ifndef TVM_TEST_POOL_FIXTURE_H
#define TVM_TEST_POOL_FIXTURE_H

#include "base/context.h"
#include "base/threads.h"
#include "include/tvm_runtime.h"
#include "test/expect.h"

#ifndef __has_feature /* gcc has macros instead */
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
enum { THREAD_SANITIZER = 1 };
#else
enum { THREAD_SANITIZER = 0 };
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { ADDRESS_SANITIZER = 1 };
#else
enum { ADDRESS_SANITIZER = 0 };
#endif

/* Threads of this process. */
int pool_count_threads(void);

void pool_set(int size, bool always_parallel);

/* Tasks that count how often each runs. pool_count_visits gives the number of tasks, after checking
 * that each ran once; 0 when not. */
struct visits {
    _Atomic int by_task[TVM_MAX_TASKS];
    _Atomic int num_task;
};
int pool_visit(int task, TVMParallelGroupEnv *env, void *visits);
int pool_count_visits(const struct visits *visits);

/* Launches such tasks and counts them; -1 when the launch fails. */
int pool_launch_visits(int num_task);

/* No task ends before all have begun, so that workers run theirs for sure. */
struct meeting {
    _Atomic int begun;
};
int pool_meet(int task, TVMParallelGroupEnv *env, void *meeting);

/* Tasks that wait for each other at a barrier, again and again. */
enum { PHASES = 200 };
struct phases {
    _Atomic int arrived[PHASES];
    _Atomic int wrong;
};
int pool_barrier(int task, TVMParallelGroupEnv *env, void *phases);

/* Tasks that take time. */
struct timed {
    int64_t work; /* nanoseconds, shared by all tasks */
    _Atomic int num_task;
};
int pool_take_time(int task, TVMParallelGroupEnv *env, void *timed);

#endif
