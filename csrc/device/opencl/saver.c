/* Saving a module's compiled programs in the cache, by a thread of the module: a driver may need
 * seconds to give a program's binary, and some drivers compile what a launch uses when it is
 * launched, which is worth having in it. So the thread waits until the first run seems to be over.
 * When the module goes, it saves without delay. */
#include "base/threads.h"
#include "device/opencl/cache.h"
#include "device/opencl/config.h"
#include "device/opencl/runtime.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { QUIET_SECONDS = 1 };

/* When the process ends, drivers end too, and a thread must not be inside of one then. */
static pthread_once_t arrange_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t driver_mutex; /* held while one works for us, also when it calls exit */
static bool exiting;

static void at_exit(void) {
    pthread_mutex_lock(&driver_mutex);
    exiting = true;
    pthread_mutex_unlock(&driver_mutex);
}

/* A process that is forked has no such threads, but maybe the mutex, locked. */
static void after_fork(void) {
    tvm_mutex_init_recursive(&driver_mutex);
}

static void arrange_exit(void) {
    tvm_mutex_init_recursive(&driver_mutex);
    exiting = atexit(at_exit) != 0 || pthread_atfork(NULL, NULL, after_fork) != 0;
}

/* Again, when the driver has compiled and run something: what it had libc call at the exit for that
 * comes after ours then. */
static void arrange_exit_again(void) {
    if (atexit(at_exit))
        at_exit();
}

/* Makes the driver ours until driver_leave; false when the process ends. */
static bool driver_enter(void) {
    pthread_mutex_lock(&driver_mutex);
    bool ours = !exiting;
    if (!ours)
        pthread_mutex_unlock(&driver_mutex);
    return ours;
}

static void driver_leave(void) {
    pthread_mutex_unlock(&driver_mutex);
}

/* The next program to save; NULL for none. The module is locked. */
static struct opencl_program *next_unsaved(const struct opencl_module *module) {
    struct opencl_program *program = module->programs;
    while (program && !program->unsaved)
        program = program->next;
    return program;
}

/* Waits until the first run seems to be over: for some time after the device had done what it was
 * asked to do, no kernel is built. The module is locked, but not all of the time. */
static void wait_until_quiet(struct opencl_module *module, struct opencl_device *device) {
    struct opencl_saver *saver = &module->saver;
    size_t seen;
    do {
        struct timespec until;
        seen = module->build_count;
        pthread_mutex_unlock(&module->mutex);
        if (driver_enter()) {
            (void)tvm_opencl_drain(device);
            driver_leave();
        }
        pthread_mutex_lock(&module->mutex);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += QUIET_SECONDS;
        while (!saver->closing && pthread_cond_timedwait(&saver->wake, &module->mutex, &until) == 0)
            ;
    } while (!saver->closing && seen != module->build_count);
}

static void save(const struct opencl_program *program) {
    const struct opencl_config *config = tvm_opencl_config();
    struct tvm_bytes key = {NULL, 0}, binary = {NULL, 0};
    if (!tvm_opencl_cache_prepare(config->cache_folder) || !driver_enter())
        return;
    (void)tvm_opencl_drain(program->device);
    bool got =
        tvm_opencl_program_binary(program, &binary) == 0 &&
        tvm_opencl_program_key(program->device, program->source, program->source_size, &key) == 0;
    driver_leave();
    if (got)
        tvm_opencl_cache_store(config->cache_folder, config->cache_limit, key, binary);
    free((char *)key.data);
    free((char *)binary.data);
}

static void *saver_main(void *argument) {
    static pthread_once_t again = PTHREAD_ONCE_INIT;
    struct opencl_module *module = argument;
    struct opencl_program *program;
    pthread_mutex_lock(&module->mutex);
    if ((program = next_unsaved(module)))
        wait_until_quiet(module, program->device);
    pthread_once(&again, arrange_exit_again);
    while ((program = next_unsaved(module))) {
        pthread_mutex_unlock(&module->mutex);
        save(program);
        pthread_mutex_lock(&module->mutex);
        program->unsaved = false; /* also where that failed: it would fail again */
    }
    module->saver.running = false;
    pthread_mutex_unlock(&module->mutex);
    return NULL;
}

void tvm_opencl_saver_init(struct opencl_saver *saver) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&saver->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

void tvm_opencl_saver_start(struct opencl_module *module) {
    struct opencl_saver *saver = &module->saver;
    if (saver->running)
        return;
    pthread_once(&arrange_once, arrange_exit);
    if (saver->started && saver->process == getpid())
        pthread_join(saver->thread, NULL); /* at its end, where it locks nothing */
    saver->process = getpid();
    saver->started = saver->running = tvm_thread_start(&saver->thread, NULL, saver_main, module);
}

void tvm_opencl_saver_finish(struct opencl_module *module) {
    struct opencl_saver *saver = &module->saver;
    if (saver->started && saver->process != getpid())
        return;
    pthread_mutex_lock(&module->mutex);
    saver->closing = true;
    pthread_cond_signal(&saver->wake);
    pthread_mutex_unlock(&module->mutex);
    if (saver->started)
        pthread_join(saver->thread, NULL);
    pthread_cond_destroy(&saver->wake);
}
