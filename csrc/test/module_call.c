#include "test/module_call.h"

#include "test/expect.h"

struct tvm_function *module_function(struct tvm_module *module, const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_module_get_function(module, name, false, &function));
    if (!function)
        fail_msg("there is no function %s", name);
    return function;
}

int module_call(struct tvm_module *module, const char *name, const struct tvm_value *args,
                int32_t count, struct tvm_value *result) {
    struct tvm_function *function = module_function(module, name);
    int status = tvm_function_call(function, args, count, result);
    tvm_object_release(&function->object);
    return status;
}
