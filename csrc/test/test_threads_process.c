/* The worker pool as a part of a process: its default size, when its threads start, what they are
 * like, and what becomes of them in forks, at exit and where there can be no more threads. */
#include "base/os.h"
#include "test/emulated.h"
#include "test/pool_fixture.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* qemu-user aborts when a child of a process with threads starts threads itself. */
static void skip_under_emulation(void) {
    if (emulated())
        skip();
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

/* The default is found out anew where it is asked for. */
static int find_sizes(void) {
    setenv("TVM_NUM_THREADS", "3", 1);
    int first = tvm_pool_size();
    setenv("TVM_NUM_THREADS", "5", 1);
    if (tvm_pool_size() != first || tvm_pool_set_size(0))
        return -1;
    return first * 10 + tvm_pool_size();
}

/* Runs first: nothing before it may ask for the pool's size or start it. */
static void test_default_size(void **state) {
    (void)state;
    static const struct {
        const char *tvm, *omp;
        int size; /* 0: the number of CPUs */
    } cases[] = {
        {"3", NULL, 3},   {"3", "5", 3},    {NULL, "5", 5},
        {NULL, "4,2", 4}, {"0", "5", 5},    {"-1", "5", 5},
        {"two", "5", 5},  {"77x", NULL, 0}, {"", "", 0},
        {NULL, NULL, 0},  {"1", NULL, 1},   {"9999999999999999999999", NULL, TVM_MAX_TASKS},
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
    assert_int_equal(in_child(find_sizes), 3 * 10 + 5);
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
    int before = pool_count_threads();
    pool_set(1, true);
    assert_int_equal(pool_launch_visits(0), 1);
    pool_set(8, true);
    assert_int_equal(pool_launch_visits(1), 1);
    struct tvm_context *context;
    assert_int_equal(tvm_context_new(&context), 0);
    context->thread_limit = 1;
    struct tvm_context_scope scope = tvm_context_enter(context);
    assert_int_equal(pool_launch_visits(0), 1);
    tvm_context_leave(scope);
    assert_int_equal(pool_count_threads(), before);
    assert_int_equal(pool_launch_visits(3), 3);
    assert_int_equal(pool_count_threads(), before + 2); /* and no more than needed */
    tvm_context_destroy(context);
}

static int64_t cpu_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void test_idle_uses_no_cpu(void **state) {
    (void)state;
    pool_set(8, true);
    struct meeting meeting = {0};
    assert_int_equal(TVMBackendParallelLaunch(pool_meet, &meeting, 0), 0);
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
    assert_int_equal(pool_launch_visits(0), 8); /* and all wake up again */
}

struct inspection {
    struct meeting meeting;
    _Atomic int wrong;
};

static int inspect(int task, TVMParallelGroupEnv *env, void *closure) {
    struct inspection *inspection = closure;
    pool_meet(task, env, &inspection->meeting);
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
    pool_set(8, true);
    sigset_t before, after;
    pthread_t thread;
    sigemptyset(&before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_true(tvm_thread_start(&thread, NULL, do_nothing, NULL));
    pthread_join(thread, NULL);
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

/* Binds the calling thread to one of its CPUs. */
static bool bind_to_one(void) {
    cpu_set_t one;
    int cpu = sched_getcpu();
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    return cpu >= 0 && sched_setaffinity(0, sizeof(one), &one) == 0;
}

static _Atomic int worker_cpus; /* that the workers of launch_bound may use */

static int count_cpus(int task, TVMParallelGroupEnv *env, void *closure) {
    cpu_set_t set;
    pool_meet(task, env, closure);
    if (task > 0 && sched_getaffinity(0, sizeof(set), &set) == 0)
        worker_cpus = CPU_COUNT(&set);
    return 0;
}

static void *launch_bound(void *closure) {
    if (!bind_to_one())
        return NULL;
    struct meeting meeting = {0};
    *(int *)closure = tvm_pool_size();
    pool_set(2, true);
    TVMBackendParallelLaunch(count_cpus, &meeting, 0);
    return NULL;
}

/* The first launch comes from a thread that is bound to one CPU. */
static int launch_from_bound_thread(void) {
    cpu_set_t all;
    pthread_t thread;
    int expected = tvm_os_cpu_count(), size = 0;
    if (tvm_pool_set_size(0) || pthread_create(&thread, NULL, launch_bound, &size))
        return 1;
    pthread_join(thread, NULL);
    if (sched_getaffinity(0, sizeof(all), &all))
        return 2;
    if (size != expected)
        return 3;
    return worker_cpus == CPU_COUNT(&all) ? 0 : 4;
}

static void test_bound_thread(void **state) {
    (void)state;
    skip_under_emulation();
    if (THREAD_SANITIZER) /* cannot follow threads of a forked child */
        skip();
    assert_int_equal(in_child(launch_from_bound_thread), 0);
}

/* As systemd does for a service with SystemCallFilter=~@resources. */
static int launch_under_filter(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof(code) / sizeof(*code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        return 1;
    tvm_os_leave_cpu(tvm_os_cpu());
    pool_set(2, true);
    return pool_launch_visits(0) == 2 ? 0 : 2;
}

static void test_filtered_calls(void **state) {
    (void)state;
    skip_under_emulation();
    if (THREAD_SANITIZER)
        skip();
    assert_int_equal(in_child(launch_under_filter), 0);
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
        if (pool_launch_visits(0) != 4 || TVMBackendParallelLaunch(pool_meet, &meeting, 0) != 0)
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
        int tasks = pool_launch_visits(0);
        if (tasks < 1 || tasks > 64)
            return 2;
    }
    return TVMBackendParallelLaunch(pool_barrier, &phases, 0) == 0 && !phases.wrong ? 0 : 3;
}

static void test_no_more_threads(void **state) {
    (void)state;
    skip_under_emulation();
    if (THREAD_SANITIZER || ADDRESS_SANITIZER) /* they need memory themselves */
        skip();
    pool_set(TVM_MAX_TASKS, true);
    assert_int_equal(in_child(launch_without_threads), 0);
}

struct forking {
    struct meeting meeting;
    int task; /* that forks */
    _Atomic int child;
};

static int fork_inside(int task, TVMParallelGroupEnv *env, void *closure) {
    struct forking *forking = closure;
    pool_meet(task, env, &forking->meeting);
    if (task == forking->task)
        forking->child = fork();
    return 0;
}

static void test_fork(void **state) {
    (void)state;
    skip_under_emulation();
    if (THREAD_SANITIZER) /* cannot follow threads of a forked child */
        skip();
    pool_set(4, true);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pool_launch_visits(0), 4);
        assert_int_equal(in_child(launch_in_child), 0);
    }
    /* A child of a worker ends with its task; AddressSanitizer then asks for threads it lacks. */
    for (int task = 0; task < (ADDRESS_SANITIZER ? 1 : 2); task++) {
        struct forking forking = {.task = task};
        int status = TVMBackendParallelLaunch(fork_inside, &forking, 0);
        if (forking.child == 0) /* the launch cannot end well here, but it ends */
            _exit(status == -1 && pool_launch_visits(0) == 4 ? 0 : 1);
        assert_int_equal(status, 0);
        assert_int_equal(waitpid(forking.child, &status, 0), forking.child);
        assert_int_equal(status, 0);
        assert_int_equal(pool_launch_visits(0), 4);
    }
}

static useconds_t exit_delay;

static int leave_with_workers(void) {
    struct meeting meeting = {0};
    if (TVMBackendParallelLaunch(pool_meet, &meeting, 0) != 0)
        return 1;
    usleep(exit_delay);
    exit(0);
}

static void *long_task(void *closure) {
    TVMBackendParallelLaunch(pool_take_time, closure, 0);
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
    pool_set(4, true);
    for (exit_delay = 0; exit_delay < 200; exit_delay += 10) /* while awake, and asleep */
        assert_int_equal(in_child(leave_with_workers), 0);
    assert_int_equal(in_child(leave_with_tasks), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_size),
        cmocka_unit_test(test_no_thread_before_needed),
        cmocka_unit_test(test_idle_uses_no_cpu),
        cmocka_unit_test(test_worker_properties),
        cmocka_unit_test(test_leaving_a_cpu),
        cmocka_unit_test(test_bound_thread),
        cmocka_unit_test(test_filtered_calls),
        cmocka_unit_test(test_no_more_threads),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_exit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
