#include "base/region.h"

#include "base/os.h"

#include <stdatomic.h>
#include <stddef.h>

enum {
    REGIONS = 2048, /* a power of two */
    PROBES = 8,     /* places where a lambda may be found */

    /* Nanoseconds of work. Less than TINY is never worth a second thread; BIG or more always is,
     * and is not tried inline again: on many cores that would cost more than all knowledge gains.
     */
    TINY = 2000,
    BIG = 200000,
    /* Below this, reading the clock twice at each launch would be felt: one in about SAMPLE is
     * measured. */
    CHEAP = 10000,
    SAMPLE = 4,

    /* Between TINY and BIG, what has proved slower is tried again in one slice of time of SLICES.
     * All regions try at the same time, as parallel regions are cheaper where other parallel
     * regions have kept the workers awake. */
    SLICE = 1 << 18, /* nanoseconds */
    SLICES = 256,
    SLICE_TRY_PARALLEL = 0,
    SLICE_TRY_INLINE = SLICES / 2,
    /* Nanoseconds that a try takes once the workers are awake, and at most: a woken thread waits
     * for milliseconds where the system has it share the caller's processor at first. */
    TRY = 150000,
    TRY_WAKING = 8000000,
};

/* Averages in nanoseconds; 0: unknown. */
struct region {
    _Atomic uintptr_t lambda;
    _Atomic uint32_t work;     /* of all tasks; quick to rise, slow to fall */
    _Atomic uint32_t inlined;  /* duration when run inline */
    _Atomic uint32_t parallel; /* duration when run in parallel */
    _Atomic int64_t trying;    /* until this time each launch is measured; 0: not trying */
};

static struct region regions[REGIONS];

static uint32_t get(_Atomic uint32_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void set(_Atomic uint32_t *value, int64_t to) {
    uint32_t stored = to < 1 ? 1 : to > UINT32_MAX ? UINT32_MAX : (uint32_t)to;
    atomic_store_explicit(value, stored, memory_order_relaxed);
}

static void forget(struct region *region) {
    atomic_store_explicit(&region->work, 0, memory_order_relaxed);
    atomic_store_explicit(&region->inlined, 0, memory_order_relaxed);
    atomic_store_explicit(&region->parallel, 0, memory_order_relaxed);
    atomic_store_explicit(&region->trying, 0, memory_order_relaxed);
}

void tvm_region_forget_all(void) {
    for (size_t i = 0; i < REGIONS; i++)
        forget(&regions[i]);
}

/* A table entry, taken from another lambda when all places are in use: what belongs to closed
 * models is never removed. A mix-up between threads is harmless, as the numbers are corrected in
 * time. */
static struct region *find(uintptr_t lambda) {
    size_t home = (size_t)(((uint64_t)lambda * UINT64_C(0x9E3779B97F4A7C15)) >> 40);
    for (size_t i = 0; i < PROBES; i++) {
        struct region *region = &regions[(home + i) % REGIONS];
        uintptr_t found = atomic_load_explicit(&region->lambda, memory_order_relaxed);
        if (found == lambda)
            return region;
        if (!found &&
            atomic_compare_exchange_strong_explicit(&region->lambda, &found, lambda,
                                                    memory_order_relaxed, memory_order_relaxed))
            return region;
        if (found == lambda)
            return region;
    }
    /* Not always the same one, which two lambdas of one home would take from each other. */
    static _Thread_local size_t next;
    struct region *region = &regions[(home + next++ % PROBES) % REGIONS];
    atomic_store_explicit(&region->lambda, lambda, memory_order_relaxed);
    forget(region);
    return region;
}

/* Whether to go parallel, for a region of middling size that was measured at time now. */
static bool choose(struct region *region, int64_t now) {
    uint32_t inlined = get(&region->inlined), parallel = get(&region->parallel);
    if (!inlined)
        return false;
    /* A gain below an eighth is not worth another core's time. */
    bool pays = parallel && parallel <= inlined - inlined / 8;
    int64_t slice = now / SLICE % SLICES;
    int64_t trying = atomic_load_explicit(&region->trying, memory_order_relaxed);
    if (now >= trying) {
        int64_t before = trying;
        /* Where the gain is large, trying inline would cost more than it could find. */
        if (pays)
            trying = slice == SLICE_TRY_INLINE && parallel > inlined / 2 ? now + TRY : 0;
        else
            trying = slice == SLICE_TRY_PARALLEL || !parallel ? now + TRY_WAKING : 0;
        if (trying != before)
            atomic_store_explicit(&region->trying, trying, memory_order_relaxed);
    }
    return trying ? slice != SLICE_TRY_INLINE : pays;
}

/* True for one in about SAMPLE calls, and one of any SAMPLE + 1, but not in a fixed rhythm: a model
 * launches the same regions in the same order again and again, and one of them could be chosen for
 * ever. The generator is the linear congruential one of Numerical Recipes. */
static bool sample(void) {
    static _Thread_local uint32_t state, skip;
    if (skip) {
        skip--;
        return false;
    }
    state = state * UINT32_C(1664525) + UINT32_C(1013904223);
    skip = SAMPLE - 2 + (uint32_t)((uint64_t)state * 3 >> 32);
    return true;
}

struct tvm_region_plan tvm_region_begin(const void *lambda) {
    struct tvm_region_plan plan = {.region = find((uintptr_t)lambda)};
    uint32_t work = get(&plan.region->work);
    uint32_t inlined = get(&plan.region->inlined), parallel = get(&plan.region->parallel);
    bool known = work && inlined && parallel;
    int64_t trying = atomic_load_explicit(&plan.region->trying, memory_order_relaxed);
    plan.measured = work >= CHEAP || (!known && work >= TINY) || !work || trying || sample();
    if (plan.measured)
        plan.start = tvm_os_now();
    if (!work || work >= BIG || work < TINY) {
        plan.parallel = !work || work >= BIG;
        if (trying) /* it was of middling size */
            atomic_store_explicit(&plan.region->trying, 0, memory_order_relaxed);
    } else if (plan.measured)
        plan.parallel = choose(plan.region, plan.start);
    else
        plan.parallel = parallel <= inlined - inlined / 8;
    return plan;
}

/* Work follows a rise at once, so that a region that was small inlines at most once with big data.
 */
static void update_work(struct region *region, int64_t sample) {
    int64_t work = get(&region->work);
    set(&region->work, sample > work ? sample : work - (work - sample) / 8);
}

/* Quick to fall and slow to rise: what makes a sample long is often another process's time slice,
 * nothing makes one short, and one odd sample must not turn a decision over. */
static void update_duration(_Atomic uint32_t *duration, int64_t sample) {
    int64_t average = get(duration);
    if (!average)
        average = sample;
    else if (sample < average)
        average -= (average - sample) / 4;
    else
        average += ((sample < 2 * average ? sample : 2 * average) - average) / 8;
    set(duration, average);
}

void tvm_region_end_inline(const struct tvm_region_plan *plan) {
    int64_t duration = tvm_os_now() - plan->start;
    update_work(plan->region, duration);
    update_duration(&plan->region->inlined, duration);
}

void tvm_region_end_parallel(const struct tvm_region_plan *plan, int64_t work,
                             enum tvm_workers workers) {
    struct region *region = plan->region;
    int64_t now = tvm_os_now(), duration = now - plan->start;
    bool first = !get(&region->work); /* with cold caches */
    update_work(region, work);
    /* Tasks together take no less time than the same work inline. */
    if (get(&region->inlined) > get(&region->work))
        set(&region->inlined, get(&region->work));
    if (workers == TVM_WORKERS_COMING || first)
        return;
    update_duration(&region->parallel, duration);
    if (workers == TVM_WORKERS_READY &&
        atomic_load_explicit(&region->trying, memory_order_relaxed) > now + TRY)
        atomic_store_explicit(&region->trying, now + TRY, memory_order_relaxed);
}
