#include "test/module_call.h"

#include "test/expect.h"

struct tvm_function *module_function(struct tvm_module *module, const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_module_get_function(module, name, false, &function));
    if (!function)
        fail_msg("there is no function %s", name);
    return function;
}

static int call(struct tvm_function *function, const struct tvm_value *args, int32_t count,
                struct tvm_value *result) {
    int status = tvm_function_call(function, args, count, result);
    tvm_object_release(&function->object);
    return status;
}

int module_call(struct tvm_module *module, const char *name, const struct tvm_value *args,
                int32_t count, struct tvm_value *result) {
    return call(module_function(module, name), args, count, result);
}

int global_call(const char *name, const struct tvm_value *args, int32_t count,
                struct tvm_value *result) {
    struct tvm_function *function;
    expect_ok(tvm_registry_get(name, &function));
    if (!function)
        fail_msg("there is no global function %s", name);
    return call(function, args, count, result);
}
