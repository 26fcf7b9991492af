#include "base/threads.h"

#include "base/context.h"
#include "base/error.h"
#include "base/os.h"
#include "base/region.h"
#include "include/tvm_runtime.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_WORKERS = TVM_MAX_TASKS - 1,
    WORKER_STACK = 2 << 20, /* compiled code keeps small buffers on the stack */
    CACHE_LINE = 128,       /* two of amd64's, which are fetched in pairs */

    /* Nanoseconds that a thread waits awake before it sleeps: about what going to sleep and being
     * woken costs. From SPIN_POLITE on it lets others run that are ready to. */
    SPIN = 50000,
    SPIN_POLITE = 5000,
    SPIN_CHECK = 16, /* looks between two looks at the clock */

    START_RETRY = 1000000000, /* after the system refused a thread, in nanoseconds */
};

/* One parallel launch, on its caller's stack. Workers may touch it until they have counted
 * themselves off in pending. */
struct launch {
    /* Written before the tasks begin. */
    TVMParallelGroupEnv env;
    FTVMParallelLambda lambda;
    void *closure;
    struct tvm_context *context;
    unsigned generation;
    int cpu; /* the caller's processor */
    bool measured;

    enum tvm_workers workers; /* of interest where measured */

    /* A futex word: tasks on workers that have not ended, and PENDING_SLEEPER. */
    _Alignas(CACHE_LINE) _Atomic uint32_t pending;
    _Atomic int64_t work; /* time that ended tasks took, if measured */

    /* The barrier: tasks that have arrived in this phase; a futex word. */
    _Alignas(CACHE_LINE) _Atomic uint32_t arrived;
    _Alignas(CACHE_LINE) _Atomic uint32_t phase;

    /* The failure to report: the one of lowest rank. */
    atomic_flag failing; /* a lock, held for a few instructions */
    unsigned rank;
    struct tvm_error *error;

    uint8_t members[MAX_WORKERS]; /* the worker that task i + 1 was given to */
};

#define PENDING_SLEEPER (UINT32_C(1) << 31) /* the caller sleeps until all have ended */

/* The phase word counts phases in steps of PHASE_STEP, above two flags. */
enum { PHASE_SLEEPERS = 1, PHASE_BROKEN = 2, PHASE_STEP = 4 };

struct worker {
    /* The launch that this worker was given a task of. Who sets it back to NULL has the task: the
     * worker, or the launch's caller, who takes it back when the worker has not begun. It is a
     * pointer and no number, as the caller must not mistake another launch's task for its own. */
    _Alignas(CACHE_LINE) _Atomic(struct launch *) given;
    _Atomic uint32_t asleep; /* a futex word: 1 while the worker sleeps, or is about to */
    unsigned task;           /* written by whoever took the worker's bit out of pool.idle */
    bool placed; /* the worker's own: since it woke it is not on its caller's processor */
};

static struct worker workers[MAX_WORKERS];

enum { IDLE_BITS = 64, IDLE_WORDS = TVM_MAX_TASKS / IDLE_BITS };

static struct {
    /* Workers that may be taken, as bits. Low ones are preferred: they are the likeliest to be
     * awake. */
    _Alignas(CACHE_LINE) _Atomic uint64_t idle[IDLE_WORDS];
    /* Threads in launches, callers included: a hint that keeps running threads to the pool's size.
     */
    _Alignas(CACHE_LINE) _Atomic int busy;
    _Alignas(CACHE_LINE) _Atomic int size; /* 0: default_size */
    _Atomic int default_size;              /* 0: not found out yet */
    _Atomic int started;                   /* workers that exist */
    _Atomic bool always_parallel;
    /* Tells a child process from its parent. */
    _Atomic unsigned generation;
    /* Held while threads are started, together with what follows. */
    _Atomic bool starting;
    bool fork_handled;
    int64_t retry; /* no thread is started before this time */
} pool;

/* What a task finds raised when it waits at a barrier that another one will never reach. */
static struct tvm_error barrier_broken = {
    .object = {.refs = TVM_REFS_ONE, .type_index = TVM_TYPE_ERROR_OBJECT, .deleter = NULL},
#define BARRIER_BROKEN "another task of the parallel region failed"
    .kind = {TVM_RUNTIME_ERROR, sizeof(TVM_RUNTIME_ERROR) - 1},
    .message = {BARRIER_BROKEN, sizeof(BARRIER_BROKEN) - 1},
    .backtrace = {"", 0},
    .update_backtrace = tvm_error_keep_backtrace,
};

/* Waiting awake. */

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* "yield" does not take any time */
#endif
}

struct spin {
    unsigned rounds;
    int64_t start;
};

/* Lets some time pass; false once SPIN is over. */
static bool spin_on(struct spin *spin) {
    cpu_relax();
    if (++spin->rounds % SPIN_CHECK)
        return true;
    int64_t now = tvm_os_now();
    if (!spin->start)
        spin->start = now;
    if (now - spin->start >= SPIN_POLITE)
        sched_yield();
    return now - spin->start < SPIN;
}

/* Tasks. */

/* Whether this is a child process, forked from a task: the launch's workers are not here. */
static bool is_orphaned(const struct launch *launch) {
    return atomic_load_explicit(&pool.generation, memory_order_relaxed) != launch->generation;
}

static void launch_fail(struct launch *launch, unsigned task, struct tvm_error *error) {
    /* A task that only suffers from another's failure does not hide that one. */
    unsigned rank = error == &barrier_broken ? task + TVM_MAX_TASKS : task;
    while (atomic_flag_test_and_set_explicit(&launch->failing, memory_order_acquire))
        cpu_relax();
    if (!launch->error || rank < launch->rank) {
        struct tvm_error *other = launch->error;
        launch->error = error;
        launch->rank = rank;
        error = other;
    }
    atomic_flag_clear_explicit(&launch->failing, memory_order_release);
    if (error)
        tvm_object_release(&error->object);
    uint32_t old = atomic_fetch_or_explicit(&launch->phase, PHASE_BROKEN, memory_order_acq_rel);
    if (old & PHASE_SLEEPERS)
        tvm_os_futex_wake(&launch->phase, INT_MAX);
}

/* Runs one task on this thread; a failure is kept in launch. */
static void run_task(struct launch *launch, unsigned task) {
    struct tvm_thread *thread = tvm_thread();
    struct tvm_error *before = tvm_error_take(); /* an old error must not pass for the task's */
    size_t mark = tvm_workspace_mark();
    thread->parallel_depth++;
    int status = launch->lambda((int)task, &launch->env, launch->closure);
    thread->parallel_depth--;
    if (status) {
        if (!thread->error)
            tvm_raise(TVM_RUNTIME_ERROR,
                      "task %u of a parallel region returned %d without an error", task, status);
        tvm_workspace_drop(mark);
        launch_fail(launch, task, tvm_error_take());
    }
    (void)tvm_error_settle(before, 0, NULL);
}

/* The same, in the launch's context and with its time taken. */
static void run_shared_task(struct launch *launch, unsigned task) {
    struct tvm_thread *thread = tvm_thread();
    struct tvm_context *context = thread->context;
    unsigned slot = thread->task;
    thread->context = launch->context;
    thread->task = task;
    int64_t start = launch->measured ? tvm_os_now() : 0;
    run_task(launch, task);
    if (launch->measured)
        atomic_fetch_add_explicit(&launch->work, tvm_os_now() - start, memory_order_relaxed);
    thread->context = context;
    thread->task = slot;
}

/* Workers. */

static void make_idle(size_t worker) {
    atomic_fetch_or_explicit(&pool.idle[worker / IDLE_BITS], UINT64_C(1) << (worker % IDLE_BITS),
                             memory_order_release);
}

/* Gives an idle worker a task; true if it had to be woken. This and accept_task each write one of
 * the two words and then read the other, in the one order of seq_cst: one of them sees what the
 * other did. They write by exchanging: QEMU (7.2) lets arm64's loads pass mere stores. */
static bool give_task(struct worker *worker, struct launch *launch, unsigned task) {
    worker->task = task;
    atomic_exchange_explicit(&worker->given, launch, memory_order_seq_cst);
    if (!atomic_load_explicit(&worker->asleep, memory_order_seq_cst))
        return false;
    atomic_store_explicit(&worker->asleep, 0, memory_order_seq_cst);
    tvm_os_futex_wake(&worker->asleep, 1);
    return true;
}

/* Takes a task back that the worker has not accepted; false if it has. */
static bool take_back_task(struct worker *worker, struct launch *launch) {
    return atomic_compare_exchange_strong_explicit(&worker->given, &launch, NULL,
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* Waits until this worker has a task that nobody else can take any more. */
static struct launch *accept_task(struct worker *self) {
    struct spin spin = {0};
    for (;;) {
        struct launch *launch = atomic_load_explicit(&self->given, memory_order_relaxed);
        if (launch) {
            if (atomic_compare_exchange_strong_explicit(&self->given, &launch, NULL,
                                                        memory_order_acquire, memory_order_relaxed))
                return launch;
        } else if (!spin_on(&spin)) {
            atomic_exchange_explicit(&self->asleep, 1, memory_order_seq_cst);
            if (!atomic_load_explicit(&self->given, memory_order_seq_cst))
                tvm_os_futex_wait(&self->asleep, 1);
            atomic_store_explicit(&self->asleep, 0, memory_order_relaxed);
            self->placed = false;
            spin = (struct spin){0};
        }
    }
}

static void *worker_main(void *argument) {
    struct worker *self = argument;
    pthread_setname_np(pthread_self(), "gotvm-worker");
    tvm_os_use_all_cpus(); /* who started it may have bound itself to one */
    for (;;) {
        struct launch *launch = accept_task(self);
        if (!self->placed && launch->cpu == tvm_os_cpu())
            tvm_os_leave_cpu(launch->cpu);
        self->placed = true;
        run_shared_task(launch, self->task);
        /* Nobody looks at errors that are left here, but they may hold on to foreign objects. */
        struct tvm_error *error = tvm_error_take();
        if (error)
            tvm_object_release(&error->object);
        /* In a child that the task forked, this is the only thread, and not one of its pool. */
        if (is_orphaned(launch))
            return NULL;
        /* Idle first, so that the caller's next launch finds this worker. */
        make_idle((size_t)(self - workers));
        uint32_t pending = atomic_fetch_sub_explicit(&launch->pending, 1, memory_order_release);
        if (pending == (PENDING_SLEEPER | 1))
            tvm_os_futex_wake(&launch->pending, 1); /* only names an address, maybe stale by now */
    }
}

static void after_fork_in_child(void) {
    int started = atomic_load_explicit(&pool.started, memory_order_relaxed);
    for (int i = 0; i < started; i++) {
        atomic_store_explicit(&workers[i].given, NULL, memory_order_relaxed);
        atomic_store_explicit(&workers[i].asleep, 0, memory_order_relaxed);
    }
    for (size_t i = 0; i < IDLE_WORDS; i++)
        atomic_store_explicit(&pool.idle[i], 0, memory_order_relaxed);
    atomic_store_explicit(&pool.started, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.busy, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.starting, false, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool.generation, 1, memory_order_relaxed);
}

bool tvm_thread_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                      void *argument) {
    /* Those of a fault in compiled code come to the thread that caused them; blocked, they would
     * end the process without its handlers' report. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /* the new thread inherits it */
    bool ok = pthread_create(thread, attributes, run, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

void tvm_mutex_init_recursive(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t init_mutex;

static void make_init_mutex(void) {
    tvm_mutex_init_recursive(&init_mutex);
}

void tvm_init_lock(void) {
    pthread_once(&init_once, make_init_mutex);
    pthread_mutex_lock(&init_mutex);
}

void tvm_init_unlock(void) {
    pthread_mutex_unlock(&init_mutex);
}

static bool start_worker(struct worker *worker) {
    worker->placed = false;
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, WORKER_STACK);
    bool ok = tvm_thread_start(&thread, &attributes, worker_main, worker);
    pthread_attr_destroy(&attributes);
    return ok;
}

/* Tries to have count workers; returns whether any was added. */
static bool start_workers(int count) {
    int started = atomic_load_explicit(&pool.started, memory_order_relaxed);
    if (started >= count || atomic_exchange_explicit(&pool.starting, true, memory_order_acquire))
        return false; /* by another thread: no reason to wait for it */
    bool added = false;
    started = atomic_load_explicit(&pool.started, memory_order_relaxed);
    if (!pool.fork_handled)
        pool.fork_handled = pthread_atfork(NULL, NULL, after_fork_in_child) == 0;
    if (pool.fork_handled && (!pool.retry || tvm_os_now() >= pool.retry)) {
        pool.retry = 0;
        for (; started < count && !pool.retry; started++) {
            if (start_worker(&workers[started])) {
                make_idle((size_t)started);
                atomic_store_explicit(&pool.started, started + 1, memory_order_relaxed);
                added = true;
            } else {
                pool.retry = tvm_os_now() + START_RETRY;
            }
        }
    }
    atomic_store_explicit(&pool.starting, false, memory_order_release);
    return added;
}

/* Takes up to count idle workers of the first limit ones; returns how many. */
static int take_workers(uint8_t *members, int count, int limit) {
    int taken = 0;
    for (int base = 0; base < limit && taken < count; base += IDLE_BITS) {
        _Atomic uint64_t *word = &pool.idle[base / IDLE_BITS];
        uint64_t within =
            limit - base >= IDLE_BITS ? UINT64_MAX : (UINT64_C(1) << (limit - base)) - 1;
        uint64_t idle = atomic_load_explicit(word, memory_order_relaxed);
        uint64_t chosen;
        do {
            chosen = 0;
            uint64_t rest = idle & within;
            for (int more = count - taken; rest && more > 0; more--) {
                chosen |= rest & -rest;
                rest &= rest - 1;
            }
        } while (chosen && !atomic_compare_exchange_weak_explicit(word, &idle, idle & ~chosen,
                                                                  memory_order_acquire,
                                                                  memory_order_relaxed));
        for (; chosen; chosen &= chosen - 1)
            members[taken++] = (uint8_t)(base + __builtin_ctzll(chosen));
    }
    return taken;
}

/* Launches. */

/* Waits for the tasks that workers run. */
static void wait_for_workers(struct launch *launch) {
    struct spin spin = {0};
    uint32_t pending;
    while ((pending = atomic_load_explicit(&launch->pending, memory_order_acquire)) != 0) {
        if (spin_on(&spin))
            continue;
        pending = atomic_fetch_or_explicit(&launch->pending, PENDING_SLEEPER, memory_order_acquire);
        while ((pending & ~PENDING_SLEEPER) != 0) {
            tvm_os_futex_wait(&launch->pending, pending | PENDING_SLEEPER);
            pending = atomic_load_explicit(&launch->pending, memory_order_acquire);
        }
        return;
    }
}

/* Runs launch in 1 + count tasks, on this thread and on its members. */
static int run_parallel(struct launch *launch, int count) {
    launch->env = (TVMParallelGroupEnv){.sync_handle = launch, .num_task = 1 + count};
    launch->cpu = tvm_os_cpu();
    atomic_store_explicit(&launch->pending, (uint32_t)count, memory_order_relaxed);
    for (int i = 0; i < count; i++) {
        if (give_task(&workers[launch->members[i]], launch, (unsigned)i + 1) &&
            launch->workers == TVM_WORKERS_READY)
            launch->workers = TVM_WORKERS_WOKEN;
    }
    run_shared_task(launch, 0);
    if (is_orphaned(launch))
        return tvm_raise(TVM_RUNTIME_ERROR, "the process was forked inside of a parallel region");

    /* Take back the tasks of workers that have not even begun. No other task can be waiting for
     * these at a barrier: task 0 has passed all of its own. */
    uint32_t taken_back = 0;
    for (int i = count - 1; i >= 0; i--) {
        if (!take_back_task(&workers[launch->members[i]], launch))
            continue;
        make_idle(launch->members[i]);
        run_shared_task(launch, (unsigned)i + 1);
        taken_back++;
        if (launch->workers == TVM_WORKERS_READY)
            launch->workers = TVM_WORKERS_COMING;
    }
    atomic_fetch_sub_explicit(&launch->pending, taken_back, memory_order_relaxed);
    wait_for_workers(launch);
    return launch->error ? tvm_error_restore(launch->error) : 0;
}

/* Runs launch in one task, in the caller's own workspace slot. */
static int run_inline(struct launch *launch) {
    launch->env = (TVMParallelGroupEnv){.num_task = 1};
    run_task(launch, 0);
    return launch->error ? tvm_error_restore(launch->error) : 0;
}

/* Tasks that a launch from this thread may have at most. */
static int most_tasks(const struct tvm_context *context, int num_task) {
    if (tvm_thread()->parallel_depth)
        return 1;
    int most = tvm_pool_size();
    if (num_task > 0 && num_task < most)
        most = num_task;
    if (context->thread_limit > 0 && context->thread_limit < most)
        most = context->thread_limit;
    return most;
}

/* Finds workers for up to most tasks: members of launch. */
static int find_workers(struct launch *launch, int most) {
    int limit = tvm_pool_size() - 1;
    /* The threads of other launches leave less room than there are idle workers, when their callers
     * are beyond the pool's own threads. */
    int room = limit - atomic_load_explicit(&pool.busy, memory_order_relaxed);
    int wanted = most - 1 < room ? most - 1 : room;
    if (wanted <= 0)
        return 0;
    int count = take_workers(launch->members, wanted, limit);
    if (count == wanted || atomic_load_explicit(&pool.started, memory_order_relaxed) >= limit)
        return count;
    int target = atomic_load_explicit(&pool.started, memory_order_relaxed) + wanted - count;
    if (start_workers(target < limit ? target : limit)) {
        launch->workers = TVM_WORKERS_COMING;
        count += take_workers(launch->members + count, wanted - count, limit);
    }
    return count;
}

int TVMBackendParallelLaunch(FTVMParallelLambda lambda, void *closure, int num_task) {
    struct tvm_context *context = tvm_context_current();
    if (!context || tvm_context_check_cancel())
        return -1;
    struct launch launch;
    launch.lambda = lambda;
    launch.closure = closure;
    launch.context = context;
    launch.measured = false;
    launch.workers = TVM_WORKERS_READY;
    launch.generation = atomic_load_explicit(&pool.generation, memory_order_relaxed);
    launch.error = NULL;
    atomic_flag_clear_explicit(&launch.failing, memory_order_relaxed);
    atomic_init(&launch.work, 0);
    atomic_init(&launch.arrived, 0);
    atomic_init(&launch.phase, 0);

    int most = most_tasks(context, num_task);
    if (most <= 1)
        return run_inline(&launch);
    struct tvm_region_plan plan = tvm_region_begin((const void *)lambda);
    launch.measured = plan.measured;
    int count = 0, status;
    if (plan.parallel || atomic_load_explicit(&pool.always_parallel, memory_order_relaxed)) {
        count = find_workers(&launch, most);
        atomic_fetch_add_explicit(&pool.busy, 1 + count, memory_order_relaxed);
        status = count ? run_parallel(&launch, count) : run_inline(&launch);
        if (!is_orphaned(&launch))
            atomic_fetch_sub_explicit(&pool.busy, 1 + count, memory_order_relaxed);
    } else {
        status = run_inline(&launch);
    }
    if (plan.measured && count)
        tvm_region_end_parallel(&plan, atomic_load_explicit(&launch.work, memory_order_relaxed),
                                launch.workers);
    else if (plan.measured)
        tvm_region_end_inline(&plan);
    return status;
}

int TVMBackendParallelBarrier(int task_id, TVMParallelGroupEnv *env) {
    (void)task_id;
    struct launch *launch = env->sync_handle;
    if (!launch)
        return 0; /* one task */
    uint32_t phase = atomic_load_explicit(&launch->phase, memory_order_acquire);
    uint32_t arrived = atomic_fetch_add_explicit(&launch->arrived, 1, memory_order_acq_rel) + 1;
    if (arrived == (uint32_t)env->num_task) {
        atomic_store_explicit(&launch->arrived, 0, memory_order_relaxed);
        phase = atomic_load_explicit(&launch->phase, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(
            &launch->phase, &phase, (phase + PHASE_STEP) & ~(uint32_t)PHASE_SLEEPERS,
            memory_order_acq_rel, memory_order_relaxed))
            ;
        if (phase & PHASE_SLEEPERS)
            tvm_os_futex_wake(&launch->phase, INT_MAX);
        return 0;
    }
    struct spin spin = {0};
    for (;;) {
        uint32_t now = atomic_load_explicit(&launch->phase, memory_order_acquire);
        if ((now & PHASE_BROKEN) || is_orphaned(launch)) {
            tvm_object_retain(&barrier_broken.object);
            return tvm_error_restore(&barrier_broken);
        }
        if ((now ^ phase) >= PHASE_STEP)
            return 0;
        if (spin_on(&spin))
            continue;
        if ((now & PHASE_SLEEPERS) ||
            atomic_compare_exchange_strong_explicit(&launch->phase, &now, now | PHASE_SLEEPERS,
                                                    memory_order_relaxed, memory_order_relaxed))
            tvm_os_futex_wait(&launch->phase, now | PHASE_SLEEPERS);
    }
}

/* Size. */

/* The number in an environment variable, 0 when there is none. OMP_NUM_THREADS may be a list, one
 * number for each level of nesting. */
static int read_size(const char *name) {
    const char *text = getenv(name);
    if (!text || *text < '0' || *text > '9')
        return 0;
    char *end;
    long size = strtol(text, &end, 10);
    if (*end && *end != ',')
        return 0;
    return size < TVM_MAX_TASKS ? (int)size : TVM_MAX_TASKS;
}

static int find_default_size(void) {
    int size = read_size("TVM_NUM_THREADS");
    if (!size)
        size = read_size("OMP_NUM_THREADS");
    if (!size)
        size = tvm_os_cpu_count();
    return size < TVM_MAX_TASKS ? size : TVM_MAX_TASKS;
}

int tvm_pool_size(void) {
    int size = atomic_load_explicit(&pool.size, memory_order_relaxed);
    if (size)
        return size;
    size = atomic_load_explicit(&pool.default_size, memory_order_relaxed);
    if (!size) {
        size = find_default_size(); /* several threads may, with one result */
        atomic_store_explicit(&pool.default_size, size, memory_order_relaxed);
    }
    return size;
}

int tvm_pool_set_size(int size) {
    if (size < 0 || size > TVM_MAX_TASKS)
        return tvm_raise(TVM_VALUE_ERROR, "a pool of %d threads: expected 1 to %d, or 0", size,
                         TVM_MAX_TASKS);
    /* Workers beyond a smaller size sleep until it grows again. */
    atomic_store_explicit(&pool.size, size, memory_order_relaxed);
    atomic_store_explicit(&pool.default_size, 0, memory_order_relaxed); /* is found out anew */
    tvm_region_forget_all();
    return 0;
}

void tvm_pool_always_parallel(bool on) {
    atomic_store_explicit(&pool.always_parallel, on, memory_order_relaxed);
}
