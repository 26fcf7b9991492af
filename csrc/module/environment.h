/* What compiled code finds by name when it runs: functions of the modules that its library imports,
 * then the registered ones. The library's context (__tvm_module_ctx, __tvm_ffi__library_ctx) points
 * to its environment; csrc/module/library.h has the look-up, tvm_library_env_function. */
#ifndef TVM_MODULE_ENVIRONMENT_H
#define TVM_MODULE_ENVIRONMENT_H

#include "base/module.h"

#include <pthread.h>

struct tvm_environment {
    const char *name; /* what messages call the library; not owned */
    pthread_mutex_t mutex;
    struct env_function *first;    /* found so far */
    struct tvm_module **libraries; /* that live, the newest last; not owned */
    size_t library_count;
};

void tvm_environment_init(struct tvm_environment *environment, const char *name);

/* Once the library's code is gone. */
void tvm_environment_clear(struct tvm_environment *environment);

/* Makes library the module whose imports are searched, until it goes or a newer one comes; fails
 * for want of memory … */
int tvm_environment_attach(struct tvm_environment *environment, struct tvm_module *library);
/* … and ends that; to be called before library's memory goes. */
void tvm_environment_detach(struct tvm_environment *environment, const struct tvm_module *library);

#endif
