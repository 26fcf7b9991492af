/* The worker pool: launches, barriers, errors, contexts, and life as a good citizen. */
#include "base/context.h"
#include "base/os.h"
#include "base/threads.h"
#include "include/tvm_runtime.h"
#include "test/emulated.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

/* qemu-user aborts when a child of a process with threads starts threads itself. */
static void skip_under_emulation(void) {
    if (emulated())
        skip();
}

static int count_threads(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void set_pool(int size, bool always_parallel) {
    assert_int_equal(tvm_pool_set_size(size), 0);
    tvm_pool_always_parallel(always_parallel);
}

/* Exit status of a child process that runs body. */
static int in_child(int (*body)(void)) {
    pid_t child = fork();
    if (child == 0)
        _exit(body());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct visits {
    _Atomic int by_task[TVM_MAX_TASKS];
    _Atomic int num_task;
};

static int visit(int task, TVMParallelGroupEnv *env, void *closure) {
    struct visits *visits = closure;
    atomic_store(&visits->num_task, env->num_task);
    atomic_fetch_add(&visits->by_task[task], 1);
    return 0;
}

/* The number of tasks, after checking that each ran once; 0 when not. */
static int count_visits(const struct visits *visits) {
    for (int i = 0; i < TVM_MAX_TASKS; i++) {
        if (visits->by_task[i] != (i < visits->num_task))
            return 0;
    }
    return visits->num_task;
}

static int launch_visits(int num_task) {
    struct visits visits = {.num_task = 0};
    if (TVMBackendParallelLaunch(visit, &visits, num_task) != 0)
        return -1;
    return count_visits(&visits);
}

/* Runs first: nothing before it may ask for the pool's size or start it. */
static void test_default_size(void **state) {
    (void)state;
    static const struct {
        const char *tvm, *omp;
        int size; /* 0: the number of CPUs */
    } cases[] = {
        {"3", NULL, 3},   {"3", "5", 3},   {NULL, "5", 5},
        {NULL, "4,2", 4}, {"0", "5", 5},   {"-1", "5", 5},
        {"two", "5", 5},  {"2x", NULL, 0}, {"", "", 0},
        {NULL, NULL, 0},  {"1", NULL, 1},  {"9999999999999999999999", NULL, TVM_MAX_TASKS},
        {" 2", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        unsetenv("TVM_NUM_THREADS");
        unsetenv("OMP_NUM_THREADS");
        if (cases[i].tvm)
            setenv("TVM_NUM_THREADS", cases[i].tvm, 1);
        if (cases[i].omp)
            setenv("OMP_NUM_THREADS", cases[i].omp, 1);
        int expected = cases[i].size ? cases[i].size : tvm_os_cpu_count();
        assert_int_equal(in_child(tvm_pool_size), expected & 0xff);
    }
    unsetenv("TVM_NUM_THREADS");
    unsetenv("OMP_NUM_THREADS");
    assert_int_equal(tvm_pool_set_size(-1), -1);
    assert_int_equal(tvm_pool_set_size(TVM_MAX_TASKS + 1), -1);
    assert_string_equal(tvm_error_peek()->kind.data, TVM_VALUE_ERROR);
}

static void *do_nothing(void *argument) {
    return argument;
}

/* Runs second. */
static void test_no_thread_before_needed(void **state) {
    (void)state;
    /* A sanitizer starts its own thread together with the first. */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, do_nothing, NULL), 0);
    pthread_join(thread, NULL);
    int before = count_threads();
    set_pool(1, true);
    assert_int_equal(launch_visits(0), 1);
    set_pool(8, true);
    assert_int_equal(launch_visits(1), 1);
    struct tvm_context *context;
    assert_int_equal(tvm_context_new(&context), 0);
    context->thread_limit = 1;
    struct tvm_context_scope scope = tvm_context_enter(context);
    assert_int_equal(launch_visits(0), 1);
    tvm_context_leave(scope);
    assert_int_equal(count_threads(), before);
    assert_int_equal(launch_visits(3), 3);
    assert_int_equal(count_threads(), before + 2); /* and no more than needed */
    tvm_context_destroy(context);
}

static void test_each_task_once(void **state) {
    (void)state;
    static const int requests[] = {-5, 0, 1, 2, 3, 5, 8, 9, 100, 1000000};
    for (int size = 1; size <= 8; size++) {
        set_pool(size, true);
        for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
            int expected = requests[i] <= 0 || requests[i] > size ? size : requests[i];
            for (int round = 0; round < 20; round++)
                assert_int_equal(launch_visits(requests[i]), expected);
        }
    }
}

struct meeting {
    _Atomic int begun;
};

/* No task ends before all have begun, so that workers run theirs for sure. */
static int meet(int task, TVMParallelGroupEnv *env, void *closure) {
    struct meeting *meeting = closure;
    atomic_fetch_add(&meeting->begun, 1);
    (void)task;
    while (atomic_load(&meeting->begun) < env->num_task)
        sched_yield();
    return 0;
}

static void test_tasks_run_together(void **state) {
    (void)state;
    for (int size = 2; size <= 8; size++) {
        set_pool(size, true);
        for (int round = 0; round < 100; round++) {
            struct meeting meeting = {0};
            assert_int_equal(TVMBackendParallelLaunch(meet, &meeting, 0), 0);
            assert_int_equal(meeting.begun, size);
        }
    }
}

static int nest(int task, TVMParallelGroupEnv *env, void *closure) {
    _Atomic int *wrong = closure;
    struct tvm_thread *thread = tvm_thread();
    unsigned depth = thread->parallel_depth, slot = thread->task;
    struct meeting *meeting = (struct meeting *)(wrong + 1);
    meet(task, env, meeting);
    *wrong += launch_visits(0) != 1 || launch_visits(4) != 1;
    *wrong +=
        depth != 1 || thread->parallel_depth != 1 || slot != (unsigned)task || thread->task != slot;
    return 0;
}

static void test_nested_runs_inline(void **state) {
    (void)state;
    set_pool(4, true);
    struct {
        _Atomic int wrong;
        struct meeting meeting;
    } closure = {0};
    assert_int_equal(TVMBackendParallelLaunch(nest, &closure, 0), 0);
    assert_int_equal(closure.wrong, 0);
    assert_int_equal(tvm_thread()->parallel_depth, 0);
    assert_int_equal(tvm_thread()->task, 0);
}

/* Barriers. */

enum { PHASES = 200 };

struct phases {
    _Atomic int arrived[PHASES];
    _Atomic int wrong;
};

static int barrier_task(int task, TVMParallelGroupEnv *env, void *closure) {
    struct phases *phases = closure;
    for (int i = 0; i < PHASES; i++) {
        atomic_fetch_add(&phases->arrived[i], 1);
        if (i % 50 == task)
            usleep(200); /* the others spin, yield and sleep */
        if (TVMBackendParallelBarrier(task, env) != 0 || phases->arrived[i] != env->num_task)
            atomic_fetch_add(&phases->wrong, 1);
    }
    return 0;
}

static void test_barrier(void **state) {
    (void)state;
    for (int size = 1; size <= 8; size++) {
        set_pool(size, true);
        struct phases phases = {.wrong = 0};
        assert_int_equal(TVMBackendParallelLaunch(barrier_task, &phases, 0), 0);
        assert_int_equal(phases.wrong, 0);
        assert_int_equal(phases.arrived[PHASES - 1], size);
    }
}

static int deserter(int task, TVMParallelGroupEnv *env, void *closure) {
    (void)closure;
    if (task == env->num_task - 1) {
        usleep(1000);
        return tvm_raise(TVM_INDEX_ERROR, "task %d deserts", task);
    }
    return TVMBackendParallelBarrier(task, env);
}

static void test_failing_task_breaks_barrier(void **state) {
    (void)state;
    set_pool(4, true);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(TVMBackendParallelLaunch(deserter, NULL, 0), -1);
        /* The cause, and not what it did to tasks with lower numbers. */
        assert_string_equal(tvm_error_peek()->message.data, "task 3 deserts");
    }
}

/* Errors. */

struct failures {
    struct meeting meeting;
    uint64_t failing; /* tasks, as bits */
    bool silent;
    struct tvm_object *payloads[TVM_MAX_TASKS];
};

static int fail_task(int task, TVMParallelGroupEnv *env, void *closure) {
    struct failures *failures = closure;
    meet(task, env, &failures->meeting);
    if (!(failures->failing >> task & 1))
        return 0;
    if (failures->silent)
        return 7;
    char message[32];
    int size = snprintf(message, sizeof(message), "task %d", task);
    tvm_object_retain(failures->payloads[task]);
    return tvm_raise_with_payload("CustomError", message, (size_t)size, failures->payloads[task]);
}

static void test_lowest_error_is_raised(void **state) {
    (void)state;
    set_pool(8, true);
    struct tvm_error *earlier = tvm_error_take();
    if (earlier)
        tvm_object_release(&earlier->object);
    int64_t live = tvm_object_live_count();
    struct failures failures = {.failing = 0};
    for (int i = 0; i < 8; i++)
        failures.payloads[i] = tvm_object_alloc(sizeof(struct tvm_object), TVM_TYPE_OBJECT, NULL);
    for (unsigned failing = 1; failing < 256; failing += 3) {
        failures.failing = failing;
        atomic_store(&failures.meeting.begun, 0);
        assert_int_equal(TVMBackendParallelLaunch(fail_task, &failures, 0), -1);
        int lowest = __builtin_ctz(failing);
        struct tvm_error *error = tvm_error_take();
        assert_non_null(error);
        assert_string_equal(error->kind.data, "CustomError");
        assert_int_equal(error->message.data[5], '0' + lowest);
        assert_ptr_equal(error->payload, failures.payloads[lowest]);
        tvm_object_release(&error->object);
        for (int i = 0; i < 8; i++) /* the others' errors are gone */
            assert_int_equal(tvm_object_use_count(failures.payloads[i]), 1);
    }
    for (int i = 0; i < 8; i++)
        tvm_object_release(failures.payloads[i]);
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_silent_failure(void **state) {
    (void)state;
    for (int size = 1; size <= 2; size++) {
        set_pool(size, true);
        struct failures failures = {.failing = UINT64_C(1) << (size - 1), .silent = true};
        tvm_raise(TVM_VALUE_ERROR, "an old one");
        assert_int_equal(TVMBackendParallelLaunch(fail_task, &failures, 0), -1);
        assert_string_equal(tvm_error_peek()->kind.data, TVM_RUNTIME_ERROR);
        assert_non_null(strstr(tvm_error_peek()->message.data, "returned 7"));
        /* An old error survives success. */
        tvm_raise(TVM_VALUE_ERROR, "an old one");
        assert_int_equal(launch_visits(0), size);
        assert_string_equal(tvm_error_peek()->message.data, "an old one");
    }
}

/* Contexts. */

struct contexts {
    struct meeting meeting;
    struct tvm_context *expected;
    _Atomic int wrong;
    _Atomic uintptr_t workspaces[TVM_MAX_TASKS];
    bool leave_behind;
};

static int use_context(int task, TVMParallelGroupEnv *env, void *closure) {
    struct contexts *contexts = closure;
    meet(task, env, &contexts->meeting);
    void *first, *second;
    contexts->wrong += tvm_context_current() != contexts->expected;
    contexts->wrong += tvm_thread()->task != (unsigned)task;
    contexts->wrong += tvm_workspace_alloc(5000, &first) != 0;
    contexts->wrong += tvm_workspace_alloc(100, &second) != 0;
    memset(first, task, 5000);
    memset(second, task, 100);
    contexts->workspaces[task] = (uintptr_t)first;
    if (contexts->leave_behind)
        return tvm_raise(TVM_RUNTIME_ERROR, "failed between allocation and free");
    contexts->wrong += tvm_workspace_free(second) != 0 || tvm_workspace_free(first) != 0;
    return 0;
}

static void check_contexts(struct tvm_context *expected) {
    struct contexts first = {.expected = expected}, second = {.expected = expected};
    assert_int_equal(TVMBackendParallelLaunch(use_context, &first, 0), 0);
    first.leave_behind = true;
    atomic_store(&first.meeting.begun, 0);
    assert_int_equal(TVMBackendParallelLaunch(use_context, &first, 0), -1);
    assert_int_equal(TVMBackendParallelLaunch(use_context, &second, 0), 0);
    assert_int_equal(first.wrong, 0);
    assert_int_equal(second.wrong, 0);
    for (int i = 0; i < 4; i++) { /* whichever worker ran the task */
        assert_int_not_equal(first.workspaces[i], 0);
        assert_int_equal(first.workspaces[i], second.workspaces[i]);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(first.workspaces[i], first.workspaces[j]);
    }
}

static void test_context_of_tasks(void **state) {
    (void)state;
    set_pool(4, true);
    struct tvm_context *context;
    assert_int_equal(tvm_context_new(&context), 0);
    struct tvm_context_scope scope = tvm_context_enter(context);
    check_contexts(context);
    tvm_context_leave(scope);
    tvm_context_destroy(context);
    check_contexts(tvm_context_current());
    assert_null(tvm_thread()->context);
}

static void test_thread_limit(void **state) {
    (void)state;
    set_pool(8, true);
    struct tvm_context *context;
    assert_int_equal(tvm_context_new(&context), 0);
    struct tvm_context_scope scope = tvm_context_enter(context);
    for (int limit = 1; limit <= 10; limit++) {
        context->thread_limit = limit;
        assert_int_equal(launch_visits(0), limit < 8 ? limit : 8);
        assert_int_equal(launch_visits(2), limit < 2 ? limit : 2);
    }
    tvm_context_leave(scope);
    tvm_context_destroy(context);
}

static int cancel_and_launch(int task, TVMParallelGroupEnv *env, void *closure) {
    if (task == 0)
        tvm_context_current()->cancelled = true;
    meet(task, env, closure);
    return launch_visits(0) == -1 ? -1 : 0; /* workers see the flag, too */
}

static void test_cancel(void **state) {
    (void)state;
    set_pool(2, true);
    struct meeting meeting = {0};
    struct tvm_context *context;
    assert_int_equal(tvm_context_new(&context), 0);
    struct tvm_context_scope scope = tvm_context_enter(context);
    assert_int_equal(launch_visits(0), 2);
    assert_int_equal(TVMBackendParallelLaunch(cancel_and_launch, &meeting, 0), -1);
    assert_string_equal(tvm_error_peek()->kind.data, TVM_CANCELLED_ERROR);
    assert_int_equal(launch_visits(0), -1);
    context->cancelled = false;
    assert_int_equal(launch_visits(0), 2);
    tvm_context_leave(scope);
    tvm_context_destroy(context);
}

/* Load. */

enum { CALLERS = 16 };

struct caller {
    pthread_t thread;
    _Atomic bool *stop; /* NULL: after a number of launches */
    int wrong;
};

static void *caller_main(void *argument) {
    struct caller *caller = argument;
    for (int i = 0; caller->stop ? !*caller->stop : i < 2000; i++) {
        struct phases phases = {.wrong = 0};
        int tasks = launch_visits(0);
        caller->wrong += tasks < 1 || tasks > 8;
        if (i % 200 == 0)
            caller->wrong += TVMBackendParallelLaunch(barrier_task, &phases, 0) || phases.wrong;
    }
    return NULL;
}

static void start_callers(struct caller *callers, _Atomic bool *stop) {
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.stop = stop};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]), 0);
    }
}

static void join_callers(struct caller *callers) {
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        assert_int_equal(callers[i].wrong, 0);
    }
}

static void test_concurrent_callers(void **state) {
    (void)state;
    set_pool(8, true);
    launch_visits(0); /* all workers exist from here on */
    int before = count_threads(), most = 0;
    struct caller callers[CALLERS];
    _Atomic bool stop = false;
    start_callers(callers, &stop);
    for (int i = 0; i < 50; i++) {
        int now = count_threads();
        most = now > most ? now : most;
        usleep(2000);
    }
    stop = true;
    join_callers(callers);
    assert_true(most <= before + CALLERS);
    /* Nothing was lost: a single caller gets everyone again. */
    assert_int_equal(launch_visits(0), 8);
    tvm_pool_always_parallel(false);
    start_callers(callers, NULL);
    join_callers(callers);
}

static void test_size_changes_under_load(void **state) {
    (void)state;
    set_pool(2, true);
    struct caller callers[CALLERS];
    _Atomic bool stop = false;
    start_callers(callers, &stop);
    for (int i = 0; i < 200; i++) {
        set_pool(1 + i * 5 % 8, i % 3 != 0);
        usleep(500);
    }
    stop = true;
    join_callers(callers);
    for (int size = 8; size >= 1; size--) {
        set_pool(size, true);
        assert_int_equal(launch_visits(0), size);
    }
}

/* A worker that ends early serves another launch before its first one looks at it again. */
static int uneven(int task, TVMParallelGroupEnv *env, void *closure) {
    static _Thread_local unsigned random = 1;
    random = random * 1664525 + 1013904223;
    int64_t end = tvm_os_now() + (task == 0 ? random >> 8 & 0x1ffff : 0);
    while (tvm_os_now() < end)
        ;
    return visit(task, env, closure);
}

static void *uneven_main(void *argument) {
    struct caller *caller = argument;
    while (!*caller->stop) {
        struct visits visits = {.num_task = 0};
        caller->wrong += TVMBackendParallelLaunch(uneven, &visits, 2) != 0;
        caller->wrong += count_visits(&visits) == 0;
    }
    return NULL;
}

static void test_workers_change_launches(void **state) {
    (void)state;
    set_pool(8, true);
    _Atomic bool stop = false;
    struct caller callers[3];
    for (int i = 0; i < 3; i++) {
        callers[i] = (struct caller){.stop = &stop};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, uneven_main, &callers[i]), 0);
    }
    usleep(500000);
    stop = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        assert_int_equal(callers[i].wrong, 0);
    }
}

/* Measured inlining. */

struct timed {
    int64_t work; /* nanoseconds, shared by all tasks */
    _Atomic int num_task;
};

static int take_time(int task, TVMParallelGroupEnv *env, void *closure) {
    struct timed *timed = closure;
    int64_t end = tvm_os_now() + timed->work / env->num_task;
    (void)task;
    timed->num_task = env->num_task;
    while (timed->work && tvm_os_now() < end)
        ;
    return 0;
}

static int launch_timed(int64_t work) {
    struct timed timed = {.work = work};
    assert_int_equal(TVMBackendParallelLaunch(take_time, &timed, 0), 0);
    return timed.num_task;
}

static void test_small_regions_inline(void **state) {
    (void)state;
    set_pool(2, false);
    for (int i = 0; i < 20; i++)
        assert_int_equal(launch_timed(2000000), 2); /* large ones never */
    /* Measurements are noisy on a busy machine, but not always. */
    int in_a_row = 0;
    for (int64_t i = 0; i < 20000000 && in_a_row < 1000; i++)
        in_a_row = launch_timed(0) == 1 ? in_a_row + 1 : 0;
    assert_int_equal(in_a_row, 1000);
    /* The same code with more data is noticed soon, and then stays parallel. */
    for (int i = 0; i < 5; i++)
        launch_timed(2000000);
    for (int i = 0; i < 20; i++)
        assert_int_equal(launch_timed(2000000), 2);
}

/* Life in a process. */

static int64_t cpu_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void test_idle_uses_no_cpu(void **state) {
    (void)state;
    set_pool(8, true);
    struct meeting meeting = {0};
    assert_int_equal(TVMBackendParallelLaunch(meet, &meeting, 0), 0);
    usleep(50000);
    int64_t start = cpu_time();
    usleep(500000);
    int64_t idle = cpu_time() - start;
    /* As much CPU time as one thread gets in half a second; on a busy machine that is less. */
    start = cpu_time();
    for (int64_t end = tvm_os_now() + 500000000; tvm_os_now() < end;)
        ;
    int64_t busy = cpu_time() - start;
    assert_true(idle < busy / 4);
    assert_int_equal(launch_visits(0), 8); /* and all wake up again */
}

struct inspection {
    struct meeting meeting;
    _Atomic int wrong;
};

static int inspect(int task, TVMParallelGroupEnv *env, void *closure) {
    struct inspection *inspection = closure;
    meet(task, env, &inspection->meeting);
    if (task == 0)
        return 0;
    static const int sent[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGALRM, SIGPROF, SIGUSR1, SIGURG};
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    for (size_t i = 0; i < sizeof(sent) / sizeof(*sent); i++)
        inspection->wrong += !sigismember(&blocked, sent[i]);
    inspection->wrong += sigismember(&blocked, SIGSEGV); /* a fault must be reported */
    char name[32] = "";
    pthread_getname_np(pthread_self(), name, sizeof(name));
    inspection->wrong += strcmp(name, "gotvm-worker") != 0;
    pthread_attr_t attributes;
    size_t stack = 0;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstacksize(&attributes, &stack);
    pthread_attr_destroy(&attributes);
    inspection->wrong += stack < 1 << 20;
    return 0;
}

static void test_worker_properties(void **state) {
    (void)state;
    set_pool(8, true);
    sigset_t before, after;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    struct inspection inspection = {.wrong = 0};
    assert_int_equal(TVMBackendParallelLaunch(inspect, &inspection, 0), 0);
    assert_int_equal(inspection.wrong, 0);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int i = 1; i < 32; i++)
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
}

/* The thread goes elsewhere if it may, and may afterwards run where it could before. */
static void test_leaving_a_cpu(void **state) {
    (void)state;
    skip_under_emulation();
    cpu_set_t before, after, one;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    int moved = 0;
    for (int i = 0; i < 20; i++) { /* the system may bring it back at any time */
        int cpu = tvm_os_cpu();
        tvm_os_leave_cpu(cpu);
        moved += tvm_os_cpu() != cpu;
        assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
        assert_true(CPU_EQUAL(&before, &after));
    }
    assert_true(moved > 0 || CPU_COUNT(&before) == 1);

    CPU_ZERO(&one);
    int cpu = tvm_os_cpu();
    CPU_SET((size_t)cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    tvm_os_leave_cpu(tvm_os_cpu());
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&one, &after));
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    tvm_os_leave_cpu(-1);
    tvm_os_leave_cpu(1 << 20);
}

static int launch_in_child(void) {
    int threads = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        threads += entry->d_name[0] != '.';
    if (threads != 1)
        return 1;
    for (int i = 0; i < 100; i++) {
        struct meeting meeting = {0};
        if (launch_visits(0) != 4 || TVMBackendParallelLaunch(meet, &meeting, 0) != 0)
            return 2;
    }
    return 0;
}

static int launch_without_threads(void) {
    struct rlimit limit = {.rlim_cur = 1, .rlim_max = 1}; /* no memory for another stack */
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 1;
    struct phases phases = {.wrong = 0};
    /* A few start on the stacks of the parent's threads, which the C library keeps. */
    for (int i = 0; i < 100; i++) {
        int tasks = launch_visits(0);
        if (tasks < 1 || tasks > 64)
            return 2;
    }
    return TVMBackendParallelLaunch(barrier_task, &phases, 0) == 0 && !phases.wrong ? 0 : 3;
}

static void test_no_more_threads(void **state) {
    (void)state;
    skip_under_emulation();
    if (THREAD_SANITIZER || ADDRESS_SANITIZER) /* they need memory themselves */
        skip();
    set_pool(TVM_MAX_TASKS, true);
    assert_int_equal(in_child(launch_without_threads), 0);
}

static int fork_inside(int task, TVMParallelGroupEnv *env, void *closure) {
    struct meeting *meeting = closure;
    meet(task, env, meeting);
    _Atomic int *child = (_Atomic int *)closure + 1;
    if (task == 0)
        *child = fork();
    return 0;
}

static void test_fork(void **state) {
    (void)state;
    skip_under_emulation();
    if (THREAD_SANITIZER) /* cannot follow threads of a forked child */
        skip();
    set_pool(4, true);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(launch_visits(0), 4);
        assert_int_equal(in_child(launch_in_child), 0);
    }
    struct {
        struct meeting meeting;
        _Atomic int child;
    } closure = {.child = 0};
    int status = TVMBackendParallelLaunch(fork_inside, &closure, 0);
    if (closure.child == 0) /* the launch cannot end well here, but it ends */
        _exit(status == -1 && launch_visits(0) == 4 ? 0 : 1);
    assert_int_equal(status, 0);
    assert_int_equal(waitpid(closure.child, &status, 0), closure.child);
    assert_int_equal(status, 0);
    assert_int_equal(launch_visits(0), 4);
}

static useconds_t exit_delay;

static int leave_with_workers(void) {
    struct meeting meeting = {0};
    if (TVMBackendParallelLaunch(meet, &meeting, 0) != 0)
        return 1;
    usleep(exit_delay);
    exit(0);
}

static void *long_task(void *closure) {
    TVMBackendParallelLaunch(take_time, closure, 0);
    return NULL;
}

static int leave_with_tasks(void) {
    static struct timed timed = {.work = 60000000000};
    pthread_t thread;
    if (pthread_create(&thread, NULL, long_task, &timed) != 0)
        return 1;
    while (!timed.num_task)
        usleep(100);
    exit(0);
}

static void test_exit(void **state) {
    (void)state;
    skip_under_emulation();
    if (THREAD_SANITIZER)
        skip();
    set_pool(4, true);
    for (exit_delay = 0; exit_delay < 200; exit_delay += 10) /* while awake, and asleep */
        assert_int_equal(in_child(leave_with_workers), 0);
    assert_int_equal(in_child(leave_with_tasks), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_size),
        cmocka_unit_test(test_no_thread_before_needed),
        cmocka_unit_test(test_each_task_once),
        cmocka_unit_test(test_tasks_run_together),
        cmocka_unit_test(test_nested_runs_inline),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_failing_task_breaks_barrier),
        cmocka_unit_test(test_lowest_error_is_raised),
        cmocka_unit_test(test_silent_failure),
        cmocka_unit_test(test_context_of_tasks),
        cmocka_unit_test(test_thread_limit),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_concurrent_callers),
        cmocka_unit_test(test_size_changes_under_load),
        cmocka_unit_test(test_workers_change_launches),
        cmocka_unit_test(test_small_regions_inline),
        cmocka_unit_test(test_idle_uses_no_cpu),
        cmocka_unit_test(test_worker_properties),
        cmocka_unit_test(test_leaving_a_cpu),
        cmocka_unit_test(test_no_more_threads),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_exit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
