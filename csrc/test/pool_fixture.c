#include "test/pool_fixture.h"

#include "base/os.h"

#include <dirent.h>
#include <sched.h>
#include <unistd.h>

int pool_count_threads(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

void pool_set(int size, bool always_parallel) {
    assert_int_equal(tvm_pool_set_size(size), 0);
    tvm_pool_always_parallel(always_parallel);
}

int pool_visit(int task, TVMParallelGroupEnv *env, void *closure) {
    struct visits *visits = closure;
    atomic_store(&visits->num_task, env->num_task);
    atomic_fetch_add(&visits->by_task[task], 1);
    return 0;
}

int pool_count_visits(const struct visits *visits) {
    for (int i = 0; i < TVM_MAX_TASKS; i++) {
        if (visits->by_task[i] != (i < visits->num_task))
            return 0;
    }
    return visits->num_task;
}

int pool_launch_visits(int num_task) {
    struct visits visits = {.num_task = 0};
    if (TVMBackendParallelLaunch(pool_visit, &visits, num_task) != 0)
        return -1;
    return pool_count_visits(&visits);
}

int pool_meet(int task, TVMParallelGroupEnv *env, void *closure) {
    struct meeting *meeting = closure;
    atomic_fetch_add(&meeting->begun, 1);
    (void)task;
    while (atomic_load(&meeting->begun) < env->num_task)
        sched_yield();
    return 0;
}

int pool_barrier(int task, TVMParallelGroupEnv *env, void *closure) {
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

int pool_take_time(int task, TVMParallelGroupEnv *env, void *closure) {
    struct timed *timed = closure;
    int64_t end = tvm_os_now() + timed->work / env->num_task;
    (void)task;
    timed->num_task = env->num_task;
    while (timed->work && tvm_os_now() < end)
        ;
    return 0;
}
