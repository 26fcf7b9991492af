/* Calls by name: of modules' own functions, those of imported modules left out, and of global ones.
 */
#ifndef TVM_TEST_MODULE_CALL_H
#define TVM_TEST_MODULE_CALL_H

#include "base/module.h"

/* A function that must be there; a new reference. */
struct tvm_function *module_function(struct tvm_module *module, const char *name);

/* What calling it gives. */
int module_call(struct tvm_module *module, const char *name, const struct tvm_value *args,
                int32_t count, struct tvm_value *result);

/* The same, with the arguments behind result. */
#define MODULE_CALL(module, name, result, ...)                                                     \
    module_call(                                                                                   \
        module, name, (const struct tvm_value[]){__VA_ARGS__},                                     \
        (int32_t)(sizeof((const struct tvm_value[]){__VA_ARGS__}) / sizeof(struct tvm_value)),     \
        result)

/* What calling the global function called name gives, which must be there. */
int global_call(const char *name, const struct tvm_value *args, int32_t count,
                struct tvm_value *result);

#define GLOBAL_CALL(name, result, ...)                                                             \
    global_call(                                                                                   \
        name, (const struct tvm_value[]){__VA_ARGS__},                                             \
        (int32_t)(sizeof((const struct tvm_value[]){__VA_ARGS__}) / sizeof(struct tvm_value)),     \
        result)

#endif
