#include "base/thread.h"

#include "base/context.h"
#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

_Thread_local struct tvm_thread tvm_thread_state;
static _Thread_local bool cleanup_arranged;

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key; /* without one, the states of ended threads leak and nothing else is lost */

static void thread_end(void *value) {
    struct tvm_thread *thread = value;
    cleanup_arranged = false;
    struct tvm_context *own = thread->own_context;
    struct tvm_error *error = thread->error;
    struct tvm_value returned = thread->returned;
    free(thread->returned_names);
    *thread = (struct tvm_thread){0};
    tvm_context_destroy(own);
    tvm_value_clear(&returned);
    if (error)
        tvm_object_release(&error->object);
}

static void make_key(void) {
    have_key = pthread_key_create(&key, thread_end) == 0;
}

struct tvm_thread *tvm_thread_with_cleanup(void) {
    if (!cleanup_arranged) {
        pthread_once(&key_once, make_key);
        cleanup_arranged = have_key && pthread_setspecific(key, &tvm_thread_state) == 0;
    }
    return &tvm_thread_state;
}
