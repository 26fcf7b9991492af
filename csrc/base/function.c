#include "base/function.h"

static void function_destroy(void *self) {
    struct tvm_function *function = self;
    if (function->finalize)
        function->finalize(function->resource);
}

int tvm_function_new(tvm_safe_call *call, void *resource, void (*finalize)(void *resource),
                     struct tvm_function **out) {
    struct tvm_function *function =
        tvm_object_alloc(sizeof(*function), TVM_TYPE_FUNCTION, function_destroy);
    if (!function)
        return -1;
    function->call = call;
    function->resource = resource;
    function->finalize = finalize;
    *out = function;
    return 0;
}
