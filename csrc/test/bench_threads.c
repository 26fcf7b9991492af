/* What a parallel region costs, in medians. With the path of a TVM runtime library as an argument,
 * the same is done with that one, to compare. With --serve before, it measures dispatch alone, of
 * that library or else of this project, once for each line on standard input, and answers with a
 * line of JSON: for scripts/bench. */
#include "base/os.h"
#include "base/threads.h"
#include "include/tvm_runtime.h"
#include "test/median.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int launch_fn(FTVMParallelLambda lambda, void *closure, int num_task);

static void spin_for(int64_t ns) {
    for (int64_t end = tvm_os_now() + ns; tvm_os_now() < end;)
        ;
}

static int empty(int task, TVMParallelGroupEnv *env, void *closure) {
    (void)task, (void)env, (void)closure;
    return 0;
}

/* No task ends before all have begun: else the caller would do all of them before a worker can. */
static int meet(int task, TVMParallelGroupEnv *env, void *closure) {
    _Atomic int *begun = closure;
    (void)task;
    atomic_fetch_add(begun, 1);
    while (atomic_load(begun) < env->num_task)
        ;
    return 0;
}

static double dispatch(launch_fn *launch, FTVMParallelLambda lambda, int64_t idle, int rounds) {
    double *samples = malloc((size_t)rounds * sizeof(*samples));
    for (int i = 0; i < rounds; i++) {
        spin_for(idle);
        _Atomic int begun = 0;
        int64_t start = tvm_os_now();
        launch(lambda, &begun, 2);
        samples[i] = (double)(tvm_os_now() - start);
    }
    double us = median(samples, (size_t)rounds) / 1000;
    free(samples);
    return us;
}

static const int64_t idles[] = {0, 10000, 1000000};

static void bench_dispatch(const char *name, launch_fn *launch) {
    printf("%-22s", name);
    for (int i = 0; i < 3; i++)
        printf("%9.2f", dispatch(launch, empty, idles[i], idles[i] > 100000 ? 1000 : 20000));
    for (int i = 0; i < 3; i++)
        printf("%9.2f", dispatch(launch, meet, idles[i], idles[i] > 100000 ? 1000 : 20000));
    printf("\n");
}

static void answer(const char *key, launch_fn *launch, FTVMParallelLambda lambda) {
    printf("\"%s\":[", key);
    for (int i = 0; i < 3; i++)
        printf("%s%.3f", i ? "," : "",
               dispatch(launch, lambda, idles[i], idles[i] > 100000 ? 150 : 3000));
    printf("]");
}

static void serve(launch_fn *other) {
    char request[64];
    puts("\"ready\"");
    fflush(stdout);
    while (fgets(request, sizeof(request), stdin)) {
        launch_fn *launch = other ? other : TVMBackendParallelLaunch;
        printf("{");
        if (!other) {
            tvm_pool_always_parallel(false);
            answer("decided", launch, empty);
            printf(",");
        }
        tvm_pool_always_parallel(true);
        answer("empty", launch, empty);
        printf(",");
        answer("meet", launch, meet);
        printf("}\n");
        fflush(stdout);
    }
}

/* Work of a known amount, divided among the tasks. */
struct work {
    long steps;
    _Atomic int size;
    double result[2][16]; /* on cache lines of their own */
};

static int compute(int task, TVMParallelGroupEnv *env, void *closure) {
    struct work *work = closure;
    long begin = work->steps * task / env->num_task;
    long end = work->steps * (task + 1) / env->num_task;
    double x = (double)begin;
    for (long i = begin; i < end; i++)
        x = x * 0.999 + 0.001;
    work->result[task & 1][0] = x;
    return 0;
}

/* One copy for each size, as regions are known by their lambda. */
#define SIZES(X) X(1) X(2) X(5) X(10) X(20) X(50) X(100) X(200) X(1000)
#define LAMBDA(us)                                                                                 \
    static int compute_##us(int task, TVMParallelGroupEnv *env, void *closure) {                   \
        ((struct work *)closure)->size = us;                                                       \
        return compute(task, env, closure);                                                        \
    }
SIZES(LAMBDA)
static const struct {
    int us;
    FTVMParallelLambda lambda;
} sizes[] = {
#define ENTRY(us) {us, compute_##us},
    SIZES(ENTRY)};
enum { SIZE_COUNT = sizeof(sizes) / sizeof(*sizes) };

static double steps_per_us;
static volatile double checksum; /* keeps the work from being optimised away */

static double region(launch_fn *launch, size_t size, int64_t idle) {
    struct work work = {.steps = (long)(steps_per_us * sizes[size].us)};
    int rounds = idle ? 500 : 100000 / (sizes[size].us + 10) + 500;
    double *samples = malloc((size_t)rounds * sizeof(*samples));
    for (int i = -rounds; i < rounds; i++) { /* the first half lets the pool learn */
        spin_for(idle);
        int64_t start = tvm_os_now();
        launch(sizes[size].lambda, &work, 0);
        samples[i < 0 ? 0 : i] = (double)(tvm_os_now() - start);
    }
    double us = median(samples, (size_t)rounds) / 1000;
    free(samples);
    return us;
}

static void bench_regions(const char *name, launch_fn *launch, int64_t idle) {
    printf("%-22s", name);
    for (size_t i = 0; i < SIZE_COUNT; i++)
        printf("%9.2f", region(launch, i, idle));
    printf("\n");
}

static struct {
    launch_fn *launch;
    size_t size;
    int64_t end;
} load;

static void *load_main(void *count) {
    struct work work = {.steps = (long)(steps_per_us * sizes[load.size].us)};
    while (tvm_os_now() < load.end) {
        load.launch(sizes[load.size].lambda, &work, 0);
        ++*(long *)count;
    }
    return NULL;
}

/* Regions per second of several callers. */
static void bench_callers(const char *name, launch_fn *launch, size_t size) {
    printf("%-17s%5d", name, sizes[size].us);
    for (int callers = 1; callers <= 8; callers *= 2) {
        pthread_t threads[8];
        long counts[8] = {0}, sum = 0;
        load.launch = launch;
        load.size = size;
        load.end = tvm_os_now() + 500000000;
        for (int i = 0; i < callers; i++)
            pthread_create(&threads[i], NULL, load_main, &counts[i]);
        for (int i = 0; i < callers; i++) {
            pthread_join(threads[i], NULL);
            sum += counts[i];
        }
        printf("%9ld", 2 * sum);
    }
    printf("\n");
}

static launch_fn *open_other(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    launch_fn *launch =
        library ? (launch_fn *)(uintptr_t)dlsym(library, "TVMBackendParallelLaunch") : NULL;
    if (!launch) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return launch;
}

int main(int argc, char **argv) {
    bool serving = argc > 1 && strcmp(argv[1], "--serve") == 0;
    launch_fn *other = argc > 1 + serving ? open_other(argv[1 + serving]) : NULL;
    setenv("TVM_NUM_THREADS", "2", 1);
    if (serving) {
        serve(other);
        return 0;
    }
    struct work work = {.steps = 20000000};
    TVMParallelGroupEnv one = {.num_task = 1};
    int64_t start = tvm_os_now();
    sizes[0].lambda(0, &one, &work);
    checksum += work.result[0][0];
    steps_per_us = (double)work.steps * 1000 / (double)(tvm_os_now() - start);

    printf("two threads, medians in microseconds\n\n"
           "a launch whose tasks do  nothing                     wait for each other\n"
           "after idling (us)            0       10     1000        0       10     1000\n");
    tvm_pool_always_parallel(true);
    bench_dispatch("gotvm", TVMBackendParallelLaunch);
    if (other)
        bench_dispatch("other", other);
    for (int64_t idle = 0; idle <= 1000000; idle += 1000000) {
        printf("\nregions, %s\nwork (us)             ", idle ? "after 1 ms" : "back to back");
        for (size_t i = 0; i < SIZE_COUNT; i++)
            printf("%9d", sizes[i].us);
        printf("\n");
        tvm_pool_always_parallel(false);
        tvm_pool_set_size(1);
        bench_regions("gotvm, one thread", TVMBackendParallelLaunch, idle);
        tvm_pool_set_size(2);
        bench_regions("gotvm", TVMBackendParallelLaunch, idle);
        tvm_pool_always_parallel(true);
        bench_regions("gotvm, always parallel", TVMBackendParallelLaunch, idle);
        if (other)
            bench_regions("other", other, idle);
    }
    tvm_pool_always_parallel(false);
    printf(
        "\nregions per second of several callers\nwork (us), callers           1        2        "
        "4        8\n");
    for (size_t size = 1; size < SIZE_COUNT; size += 3) {
        tvm_pool_set_size(1);
        bench_callers("one thread", TVMBackendParallelLaunch, size);
        tvm_pool_set_size(2);
        bench_callers("gotvm", TVMBackendParallelLaunch, size);
        if (other)
            bench_callers("other", other, size);
    }
    return 0;
}
