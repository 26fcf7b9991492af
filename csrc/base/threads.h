/* The process-wide pool of worker threads behind TVMBackendParallelLaunch and
 * TVMBackendParallelBarrier (include/tvm_runtime.h), which threads.c defines.
 *
 * A launch takes the workers that are idle at that moment and runs with 1 + that many tasks, task 0
 * on the calling thread; with none idle, inside another region, or where a region has proved too
 * small to pay for a wake-up, it runs inline. All tasks of a launch run at the same time, so
 * barriers are safe. No thread is started before the first launch. All tasks run in the caller's
 * execution context. When tasks fail, the error of the lowest-numbered one is raised on the calling
 * thread, as the object it was. */
#ifndef TVM_BASE_THREADS_H
#define TVM_BASE_THREADS_H

#include <pthread.h>
#include <stdbool.h>

/* Threads that a launch may use, the caller's included: TVM_NUM_THREADS, else OMP_NUM_THREADS, else
 * the physical cores within CPU affinity and cgroup quota. At most TVM_MAX_TASKS. */
int tvm_pool_size(void);

/* Changes that number (1 to TVM_MAX_TASKS; 0: the default) for launches to come. */
int tvm_pool_set_size(int size);

/* For tests and benches: launches go parallel whatever has been measured. */
void tvm_pool_always_parallel(bool on);

/* Starts a thread of the runtime's own: signals are left to the host program's threads. attributes
 * may be NULL. False when there can be no more threads. */
bool tvm_thread_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                      void *argument);

/* A mutex that the thread that holds it may lock again. */
void tvm_mutex_init_recursive(pthread_mutex_t *mutex);

/* Held while something is initialised that all threads share; the same thread may take it again. */
void tvm_init_lock(void);
void tvm_init_unlock(void);

#endif
