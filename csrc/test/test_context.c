/* Execution contexts and their workspaces, and what the runtime knows of the machine's CPUs. */
#include "base/context.h"
#include "base/device.h"
#include "base/function.h"
#include "base/os.h"
#include "include/tvm_ffi_runtime.h"
#include "test/folder.h"
#include "test/leaks.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sanitizers end the process otherwise, where malloc refuses. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

static char *take(size_t nbytes) {
    void *data = NULL;
    assert_int_equal(tvm_workspace_alloc(nbytes, &data), 0);
    assert_int_equal((uintptr_t)data % TVM_ALIGNMENT, 0);
    memset(data, 0x5a, nbytes);
    return data;
}

static void give(void *data) {
    assert_int_equal(tvm_workspace_free(data), 0);
}

static void check_refused(void *data) {
    assert_int_equal(tvm_workspace_free(data), -1);
    assert_string_equal(tvm_error_peek()->kind.data, TVM_VALUE_ERROR);
}

static int enter(void **state) {
    struct tvm_context *context;
    if (tvm_context_new(&context) != 0)
        return -1;
    *state = context;
    tvm_context_enter(context);
    return 0;
}

static int leave(void **state) {
    tvm_context_leave((struct tvm_context_scope){0});
    tvm_context_destroy(*state);
    return 0;
}

static void test_stack_order(void **state) {
    (void)state;
    char *a = take(1), *b = take(200), *c = take(0), *d = take(0);
    assert_true(b >= a + 128 && c >= b + 256 && d > c);
    give(d);
    give(c);
    assert_ptr_equal(take(64), c); /* what was freed last comes next */
    give(c);
    give(b);
    give(a);
    assert_ptr_equal(take(1), a);
    give(a);
}

static void test_any_order(void **state) {
    (void)state;
    char *a = take(100), *b = take(100), *c = take(100);
    give(b);
    char *d = take(100);
    assert_true(d > c); /* b's place is not free yet */
    give(d);
    assert_ptr_equal(take(100), d);
    give(a);
    give(d);
    give(c); /* frees all three */
    assert_ptr_equal(take(100), a);
    give(a);
}

static void test_refusals(void **state) {
    (void)state;
    int local;
    check_refused(NULL);
    check_refused(&local);
    char *a = take(100), *b = take(100);
    check_refused(a + 1);
    check_refused(a + 128 + 1);
    give(a);
    check_refused(a); /* freed, but still below b */
    give(b);
    check_refused(b);
    static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 127, SIZE_MAX - 128, SIZE_MAX - 255,
                                  SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof(huge) / sizeof(*huge); i++) {
        void *data;
        assert_int_equal(tvm_workspace_alloc(huge[i], &data), -1);
        assert_string_equal(tvm_error_peek()->kind.data, TVM_MEMORY_ERROR);
    }
    give(take(100));
}

/* One run of an imagined model; returns its first workspace. */
static char *run_model(void) {
    char *a = take(50000), *b = take(300000), *c = take(10), *d = take(4000000);
    give(c);
    char *e = take(70000);
    give(e);
    give(d);
    give(b);
    char *f = take(1000000), *g = take(64);
    give(f);
    give(g);
    give(a);
    return a;
}

static void test_settles_on_one_chunk(void **state) {
    (void)state;
    enum { PEAK = 4500000 }; /* what a run has in use at a time, and a little */
    size_t begin = leaks_bytes();
    run_model(); /* learns */
    char *first = run_model();
    size_t before = leaks_bytes();
    assert_true(before < begin + PEAK);
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(run_model(), first);
    assert_int_equal(leaks_bytes(), before);
    /* All of it lies in one piece: as much as was ever in use at a time, and a header. */
    char *a = take(50000), *b = take(300000), *c = take(10), *d = take(4000000);
    assert_true(a < b && b < c && c < d && d + 4000000 <= a + 4360000);
    give(d);
    give(c);
    give(b);
    give(a);
    /* More than ever takes just that. */
    give(take(2 * PEAK));
    assert_true(leaks_bytes() < begin + 3 * PEAK);
}

/* Against a model: random sizes and orders, contents checked for overlap. */
static void test_random_use(void **state) {
    (void)state;
    enum { SLOTS = 64 };
    struct {
        unsigned char *data;
        size_t size;
        unsigned char mark;
    } slots[SLOTS] = {{0}};
    uint32_t random = 12345;
    for (int step = 0; step < 40000; step++) {
        random = random * 1664525 + 1013904223;
        size_t i = random >> 8 & (SLOTS - 1), shift = random >> 16 & 15;
        if (!slots[i].data) {
            slots[i].size = ((random >> 20) & 0xff) << (shift & 8);
            slots[i].mark = (unsigned char)(random >> 24);
            slots[i].data = (unsigned char *)take(slots[i].size);
            memset(slots[i].data, slots[i].mark, slots[i].size);
        } else {
            for (size_t j = 0; j < slots[i].size; j++) {
                if (slots[i].data[j] != slots[i].mark)
                    fail_msg("byte %zu of a workspace was overwritten", j);
            }
            give(slots[i].data);
            slots[i].data = NULL;
        }
        if (step % 1000 == 999) { /* now and then all */
            for (i = 0; i < SLOTS; i++) {
                if (slots[i].data)
                    give(slots[i].data);
                slots[i].data = NULL;
            }
        }
    }
}

static void test_drop(void **state) {
    (void)state;
    char *a = take(100);
    size_t mark = tvm_workspace_mark();
    char *b = take(100000);
    take(1000000);
    tvm_workspace_drop(mark);
    check_refused(b);
    give(a);
    tvm_workspace_drop(0);
    a = take(100);
    b = take(100);
    mark = tvm_workspace_mark();
    take(100);
    give(a);
    give(b);
    tvm_workspace_drop(mark); /* takes those below along, as they are free */
    assert_ptr_equal(take(100), a);
    give(a);
}

static void test_scopes(void **state) {
    struct tvm_context *outer = *state, *inner;
    assert_ptr_equal(tvm_context_current(), outer);
    assert_int_equal(tvm_context_new(&inner), 0);
    tvm_thread()->task = 3; /* as if inside of a region */
    char *a = take(100);
    assert_non_null(outer->arenas[3]);
    struct tvm_context_scope scope = tvm_context_enter(inner);
    assert_ptr_equal(tvm_context_current(), inner);
    assert_int_equal(tvm_thread()->task, 0);
    check_refused(a);
    char *b = take(100);
    struct tvm_context_scope again = tvm_context_enter(inner); /* nested */
    char *c = take(100);
    assert_ptr_equal(c, b + 128);
    give(c);
    tvm_context_leave(again);
    assert_ptr_equal(tvm_context_current(), inner);
    give(b);
    tvm_context_leave(scope);
    assert_ptr_equal(tvm_context_current(), outer);
    assert_int_equal(tvm_thread()->task, 3);
    give(a);
    tvm_thread()->task = 0;
    tvm_context_destroy(inner);
    tvm_context_destroy(NULL);
}

static void test_cancel(void **state) {
    struct tvm_context *context = *state;
    assert_int_equal(tvm_context_check_cancel(), 0);
    context->cancelled = true;
    assert_int_equal(tvm_context_check_cancel(), -1);
    assert_string_equal(tvm_error_peek()->kind.data, TVM_CANCELLED_ERROR);
    context->cancelled = false;
}

static int count_call(void *self, const struct tvm_value *args, int32_t count,
                      struct tvm_value *result) {
    (void)args, (void)count, (void)result;
    ++*(int *)((struct tvm_function *)self)->resource;
    return 0;
}

/* Calls that compiled code makes end a cancelled run. */
static void test_cancelled_calls(void **state) {
    struct tvm_context *context = *state;
    struct tvm_function *function;
    int calls = 0, code;
    TVMValue value;
    TVMFFIAny result = {0};
    expect_ok(tvm_function_new(count_call, &calls, NULL, &function));
    context->cancelled = true;
    expect_error(TVMFuncCall(function, NULL, NULL, 0, &value, &code), TVM_CANCELLED_ERROR,
                 "cancelled");
    expect_error(TVMFFIFunctionCall(function, NULL, 0, &result), TVM_CANCELLED_ERROR, "cancelled");
    assert_int_equal(calls, 0);
    context->cancelled = false;
    expect_ok(TVMFuncCall(function, NULL, NULL, 0, &value, &code));
    expect_ok(TVMFFIFunctionCall(function, NULL, 0, &result));
    assert_int_equal(calls, 2);
    tvm_object_release(&function->object);
}

static void *use_own_context(void *argument) {
    struct tvm_context **own = argument;
    void *data;
    *own = tvm_context_current();
    if (tvm_workspace_alloc(1000, &data) != 0 || tvm_workspace_free(data) != 0)
        return argument;
    tvm_workspace_alloc(100000, &data); /* freed with the thread */
    return *own == tvm_context_current() ? NULL : argument;
}

static void test_own_context_of_threads(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        pthread_t threads[2];
        struct tvm_context *own[2];
        for (int j = 0; j < 2; j++)
            assert_int_equal(pthread_create(&threads[j], NULL, use_own_context, &own[j]), 0);
        for (int j = 0; j < 2; j++) {
            void *result;
            pthread_join(threads[j], &result);
            assert_null(result);
            assert_non_null(own[j]);
        }
    }
}

/* CPUs. */

static char root[] = "/tmp/gotvm-test-XXXXXX";

static void write_file(const char *path, const char *text) {
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_root(void **state) {
    (void)state;
    strcpy(root + sizeof(root) - 7, "XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    return folder_remove(root);
}

static cpu_set_t affinity(void) {
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    return set;
}

/* For each CPU; NULL: it is its only sibling. */
static void write_siblings(const char *name, const char *text) {
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        cpu_set_t set = affinity();
        char path[128], own[16];
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, name);
        snprintf(own, sizeof(own), "%d\n", cpu);
        if (CPU_ISSET((size_t)cpu, &set))
            write_file(path, text ? text : own);
    }
}

static void test_cores(void **state) {
    (void)state;
    cpu_set_t set = affinity();
    int cpus = CPU_COUNT(&set);
    assert_in_range(tvm_os_cpu_count(), 1, cpus);
    assert_int_equal(tvm_os_cpu_count_below("/nonexistent"), cpus);
    static const struct {
        const char *list;
        bool one_core;
    } cases[] = {{"0-1023\n", true}, {"2000\n", false}, {"", false},       {"-", false},
                 {"x\n", false},     {"0-\n", false},   {"1,0-1023", true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        write_siblings("thread_siblings_list", cases[i].list);
        /* "0-" and the like count what was understood. */
        assert_int_equal(tvm_os_cpu_count_below(root), cases[i].one_core ? 1 : cpus);
    }
    write_siblings("thread_siblings_list", NULL);
    assert_int_equal(tvm_os_cpu_count_below(root), cpus);
    write_siblings("core_cpus_list", "0-1023\n"); /* the newer name comes first */
    write_siblings("thread_siblings_list", "2000\n");
    assert_int_equal(tvm_os_cpu_count_below(root), 1);
}

static void test_quota(void **state) {
    (void)state;
    cpu_set_t set = affinity();
    int cpus = CPU_COUNT(&set);
    static const char v2[] = "23 28 0:20 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup rw\n";
    write_file("/proc/self/mountinfo", v2);
    write_file("/proc/self/cgroup", "0::/a/b\n");
    assert_int_equal(tvm_os_cpu_count_below(root), cpus);
    write_file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_int_equal(tvm_os_cpu_count_below(root), cpus);
    write_file("/sys/fs/cgroup/a/cpu.max", "100000 100000\n"); /* a group around ours */
    assert_int_equal(tvm_os_cpu_count_below(root), 1);
    write_file("/sys/fs/cgroup/a/cpu.max", "100001 100000\n"); /* rounded up */
    assert_int_equal(tvm_os_cpu_count_below(root), cpus < 2 ? cpus : 2);
    write_file("/sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    write_file("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n"); /* the least counts */
    assert_int_equal(tvm_os_cpu_count_below(root), 1);
    write_file("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    write_file("/sys/fs/cgroup/a/b/cpu.max", "1000 100000\n");
    assert_int_equal(tvm_os_cpu_count_below(root), 1);
    static const char *const strange[] = {"",          "0 100000", "100000 0",
                                          "-5 100000", "x y",      "99999999999999999999 1"};
    for (size_t i = 0; i < sizeof(strange) / sizeof(*strange); i++) {
        write_file("/sys/fs/cgroup/a/cpu.max", "max 100000");
        write_file("/sys/fs/cgroup/a/b/cpu.max", strange[i]);
        assert_int_equal(tvm_os_cpu_count_below(root), cpus);
    }
    /* v1 in a container: the mount shows the process's own group as its top. */
    write_file("/proc/self/mountinfo", "x\n31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
                                       "32 31 0:29 /docker/id /sys/fs/cgroup/cpu,cpuacct rw "
                                       "master:9 - cgroup cgroup rw,cpu,cpuacct\n");
    write_file("/proc/self/cgroup", "9:cpuset:/\n4:cpuacct,cpu:/docker/id\n0::/a/b\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
    assert_int_equal(tvm_os_cpu_count_below(root), cpus); /* no period */
    write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(tvm_os_cpu_count_below(root), 1);
    write_file("/proc/self/cgroup", "4:cpu:/docker/identical\n"); /* not below what is mounted */
    assert_int_equal(tvm_os_cpu_count_below(root), 1);
    write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(tvm_os_cpu_count_below(root), cpus);
    write_file("/proc/self/cgroup", "nonsense\n::\n5:cpu\n");
    assert_int_equal(tvm_os_cpu_count_below(root), cpus);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stack_order, enter, leave),
        cmocka_unit_test_setup_teardown(test_any_order, enter, leave),
        cmocka_unit_test_setup_teardown(test_refusals, enter, leave),
        cmocka_unit_test_setup_teardown(test_settles_on_one_chunk, enter, leave),
        cmocka_unit_test_setup_teardown(test_random_use, enter, leave),
        cmocka_unit_test_setup_teardown(test_drop, enter, leave),
        cmocka_unit_test_setup_teardown(test_scopes, enter, leave),
        cmocka_unit_test_setup_teardown(test_cancel, enter, leave),
        cmocka_unit_test_setup_teardown(test_cancelled_calls, enter, leave),
        cmocka_unit_test(test_own_context_of_threads),
        cmocka_unit_test_setup_teardown(test_cores, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_quota, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
