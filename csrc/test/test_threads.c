/* The worker pool: launches, barriers, errors, contexts, load. test_threads_process.c has its life
 * in a process. */
#include "base/os.h"
#include "base/region.h"
#include "test/pool_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static void test_each_task_once(void **state) {
    (void)state;
    static const int requests[] = {-5, 0, 1, 2, 3, 5, 8, 9, 100, 1000000};
    for (int size = 1; size <= 8; size++) {
        pool_set(size, true);
        for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
            int expected = requests[i] <= 0 || requests[i] > size ? size : requests[i];
            for (int round = 0; round < 20; round++)
                assert_int_equal(pool_launch_visits(requests[i]), expected);
        }
    }
}

static void test_tasks_run_together(void **state) {
    (void)state;
    for (int size = 2; size <= 8; size++) {
        pool_set(size, true);
        for (int round = 0; round < 100; round++) {
            struct meeting meeting = {0};
            assert_int_equal(TVMBackendParallelLaunch(pool_meet, &meeting, 0), 0);
            assert_int_equal(meeting.begun, size);
        }
    }
}

static int nest(int task, TVMParallelGroupEnv *env, void *closure) {
    _Atomic int *wrong = closure;
    struct tvm_thread *thread = tvm_thread();
    unsigned depth = thread->parallel_depth, slot = thread->task;
    struct meeting *meeting = (struct meeting *)(wrong + 1);
    pool_meet(task, env, meeting);
    *wrong += pool_launch_visits(0) != 1 || pool_launch_visits(4) != 1;
    *wrong +=
        depth != 1 || thread->parallel_depth != 1 || slot != (unsigned)task || thread->task != slot;
    return 0;
}

static void test_nested_runs_inline(void **state) {
    (void)state;
    pool_set(4, true);
    for (int tasks = 2; tasks <= 4; tasks += 2) { /* with idle workers, and without */
        struct {
            _Atomic int wrong;
            struct meeting meeting;
        } closure = {0};
        assert_int_equal(TVMBackendParallelLaunch(nest, &closure, tasks), 0);
        assert_int_equal(closure.wrong, 0);
    }
    assert_int_equal(tvm_thread()->parallel_depth, 0);
    assert_int_equal(tvm_thread()->task, 0);
}

/* Barriers. */

static void test_barrier(void **state) {
    (void)state;
    for (int size = 1; size <= 8; size++) {
        pool_set(size, true);
        struct phases phases = {.wrong = 0};
        assert_int_equal(TVMBackendParallelLaunch(pool_barrier, &phases, 0), 0);
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
    pool_set(4, true);
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
    bool succeeding; /* with errors that nobody asked for */
    struct tvm_object *payloads[TVM_MAX_TASKS];
};

static int fail_task(int task, TVMParallelGroupEnv *env, void *closure) {
    struct failures *failures = closure;
    pool_meet(task, env, &failures->meeting);
    if (!(failures->failing >> task & 1))
        return 0;
    if (failures->silent)
        return 7;
    char message[32];
    int size = snprintf(message, sizeof(message), "task %d", task);
    tvm_object_retain(failures->payloads[task]);
    tvm_raise_with_payload("CustomError", message, (size_t)size, failures->payloads[task]);
    return failures->succeeding ? 0 : -1;
}

static void test_lowest_error_is_raised(void **state) {
    (void)state;
    pool_set(8, true);
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
    failures.failing = 0xfe;
    failures.succeeding = true;
    atomic_store(&failures.meeting.begun, 0);
    assert_int_equal(TVMBackendParallelLaunch(fail_task, &failures, 0), 0);
    for (int i = 0; i < 8; i++) { /* no worker keeps any */
        assert_int_equal(tvm_object_use_count(failures.payloads[i]), 1);
        tvm_object_release(failures.payloads[i]);
    }
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_silent_failure(void **state) {
    (void)state;
    for (int size = 1; size <= 2; size++) {
        pool_set(size, true);
        struct failures failures = {.failing = UINT64_C(1) << (size - 1), .silent = true};
        tvm_raise(TVM_VALUE_ERROR, "an old one");
        assert_int_equal(TVMBackendParallelLaunch(fail_task, &failures, 0), -1);
        assert_string_equal(tvm_error_peek()->kind.data, TVM_RUNTIME_ERROR);
        assert_non_null(strstr(tvm_error_peek()->message.data, "returned 7"));
        /* An old error survives success. */
        tvm_raise(TVM_VALUE_ERROR, "an old one");
        assert_int_equal(pool_launch_visits(0), size);
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
    pool_meet(task, env, &contexts->meeting);
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
    pool_set(4, true);
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
    pool_set(8, true);
    struct tvm_context *context;
    assert_int_equal(tvm_context_new(&context), 0);
    struct tvm_context_scope scope = tvm_context_enter(context);
    for (int limit = 1; limit <= 10; limit++) {
        context->thread_limit = limit;
        assert_int_equal(pool_launch_visits(0), limit < 8 ? limit : 8);
        assert_int_equal(pool_launch_visits(2), limit < 2 ? limit : 2);
    }
    tvm_context_leave(scope);
    tvm_context_destroy(context);
}

static int cancel_and_launch(int task, TVMParallelGroupEnv *env, void *closure) {
    if (task == 0)
        tvm_context_current()->cancelled = true;
    pool_meet(task, env, closure);
    return pool_launch_visits(0) == -1 ? -1 : 0; /* workers see the flag, too */
}

static void test_cancel(void **state) {
    (void)state;
    pool_set(2, true);
    struct meeting meeting = {0};
    struct tvm_context *context;
    assert_int_equal(tvm_context_new(&context), 0);
    struct tvm_context_scope scope = tvm_context_enter(context);
    assert_int_equal(pool_launch_visits(0), 2);
    assert_int_equal(TVMBackendParallelLaunch(cancel_and_launch, &meeting, 0), -1);
    assert_string_equal(tvm_error_peek()->kind.data, TVM_CANCELLED_ERROR);
    assert_int_equal(pool_launch_visits(0), -1);
    context->cancelled = false;
    assert_int_equal(pool_launch_visits(0), 2);
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
        int tasks = pool_launch_visits(0);
        caller->wrong += tasks < 1 || tasks > 8;
        if (i % 200 == 0)
            caller->wrong += TVMBackendParallelLaunch(pool_barrier, &phases, 0) || phases.wrong;
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
    pool_set(8, true);
    pool_launch_visits(0); /* all workers exist from here on */
    int before = pool_count_threads(), most = 0;
    struct caller callers[CALLERS];
    _Atomic bool stop = false;
    start_callers(callers, &stop);
    for (int i = 0; i < 50; i++) {
        int now = pool_count_threads();
        most = now > most ? now : most;
        usleep(2000);
    }
    stop = true;
    join_callers(callers);
    assert_true(most <= before + CALLERS);
    /* Nothing was lost: a single caller gets everyone again. */
    assert_int_equal(pool_launch_visits(0), 8);
    tvm_pool_always_parallel(false);
    start_callers(callers, NULL);
    join_callers(callers);
}

struct held {
    struct meeting meeting;
    atomic_bool released;
};

static int hold(int task, TVMParallelGroupEnv *env, void *closure) {
    struct held *held = closure;
    pool_meet(task, env, &held->meeting);
    while (!atomic_load(&held->released))
        sched_yield();
    return 0;
}

static void *hold_two(void *closure) {
    return TVMBackendParallelLaunch(hold, closure, 2) ? closure : NULL;
}

/* A caller that is no worker takes the place of one. */
static void test_callers_count(void **state) {
    (void)state;
    pool_set(4, true);
    struct held held = {.released = false};
    pthread_t thread;
    void *failed;
    assert_int_equal(pthread_create(&thread, NULL, hold_two, &held), 0);
    while (atomic_load(&held.meeting.begun) < 2)
        sched_yield();
    assert_int_equal(pool_launch_visits(0), 2);
    atomic_store(&held.released, true);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(pool_launch_visits(0), 4);
}

static void test_size_changes_under_load(void **state) {
    (void)state;
    pool_set(2, true);
    struct caller callers[CALLERS];
    _Atomic bool stop = false;
    start_callers(callers, &stop);
    for (int i = 0; i < 200; i++) {
        pool_set(1 + i * 5 % 8, i % 3 != 0);
        usleep(500);
    }
    stop = true;
    join_callers(callers);
    for (int size = 8; size >= 1; size--) {
        pool_set(size, true);
        assert_int_equal(pool_launch_visits(0), size);
    }
}

/* A worker that ends early serves another launch before its first one looks at it again. */
static int uneven(int task, TVMParallelGroupEnv *env, void *closure) {
    static _Thread_local unsigned random = 1;
    random = random * 1664525 + 1013904223;
    int64_t end = tvm_os_now() + (task == 0 ? random >> 8 & 0x1ffff : 0);
    while (tvm_os_now() < end)
        ;
    return pool_visit(task, env, closure);
}

static void *uneven_main(void *argument) {
    struct caller *caller = argument;
    while (!*caller->stop) {
        struct visits visits = {.num_task = 0};
        caller->wrong += TVMBackendParallelLaunch(uneven, &visits, 2) != 0;
        caller->wrong += pool_count_visits(&visits) == 0;
    }
    return NULL;
}

static void test_workers_change_launches(void **state) {
    (void)state;
    pool_set(8, true);
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

static int launch_timed(int64_t work) {
    struct timed timed = {.work = work};
    assert_int_equal(TVMBackendParallelLaunch(pool_take_time, &timed, 0), 0);
    return timed.num_task;
}

static void test_small_regions_inline(void **state) {
    (void)state;
    pool_set(2, false);
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

/* Nothing is known of a region at first, also where it takes the place of another. */
static void test_many_regions(void **state) {
    (void)state;
    for (uintptr_t lambda = 1; lambda <= 10000; lambda++) {
        struct tvm_region_plan plan = tvm_region_begin((const void *)lambda);
        assert_true(plan.parallel && plan.measured);
        tvm_region_end_inline(&plan);
    }
    pool_set(3, false); /* another size: nothing any more */
    assert_true(tvm_region_begin((const void *)10000).parallel);
}

/* Workers are looked for by the word, of 64 each. */
static void test_large_pools(void **state) {
    (void)state;
    for (int size = 64; size <= 66; size++) {
        pool_set(size, true);
        assert_int_equal(pool_launch_visits(0), size);
    }
}

static void test_init_lock(void **state) {
    (void)state;
    tvm_init_lock();
    tvm_init_lock(); /* by one thread */
    tvm_init_unlock();
    tvm_init_unlock();
}

int main(void) {
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(test_callers_count),
        cmocka_unit_test(test_size_changes_under_load),
        cmocka_unit_test(test_workers_change_launches),
        cmocka_unit_test(test_small_regions_inline),
        cmocka_unit_test(test_many_regions),
        cmocka_unit_test(test_large_pools),
        cmocka_unit_test(test_init_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
