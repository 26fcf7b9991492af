/* What is known about each parallel region of compiled code: whether running it in parallel pays.
 *
 * A region is known by its lambda. It gets faster with more threads only if its work is worth more
 * than waking and joining them, which depends on the machine, on its load and on the data, so it is
 * measured: in a sample of the launches, both ways where the answer is not clear. All calls are
 * safe from any thread and never wait; threads that collide lose a measurement at worst. */
#ifndef TVM_BASE_REGION_H
#define TVM_BASE_REGION_H

#include <stdbool.h>
#include <stdint.h>

struct region;

struct tvm_region_plan {
    struct region *region;
    bool parallel; /* run with several tasks, if there are idle workers */
    bool measured; /* report how it went */
    int64_t start; /* when the launch began, if it is measured */
};

/* How to run a region that could have more than one task. */
struct tvm_region_plan tvm_region_begin(const void *lambda);

/* How a parallel launch found the workers that it took. */
enum tvm_workers {
    TVM_WORKERS_READY,  /* awake: each began its task at once */
    TVM_WORKERS_WOKEN,  /* asleep: waking them is part of the launch's duration */
    TVM_WORKERS_COMING, /* just started, or on their way since another launch: it did without them
                         */
};

/* For measured launches: it ended now, having run in one task … */
void tvm_region_end_inline(const struct tvm_region_plan *plan);
/* … or in several, which together took work nanoseconds of computing. */
void tvm_region_end_parallel(const struct tvm_region_plan *plan, int64_t work,
                             enum tvm_workers workers);

/* Forgets all measurements. */
void tvm_region_forget_all(void);

#endif
