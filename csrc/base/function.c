#include "base/function.h"

#include "base/os.h"

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

int tvm_check_depth(int depth, int most) {
    enum { SHALLOW = 16, LEAST = 64 << 10 }; /* a kernel and a message have room in that */
    if (depth < SHALLOW)
        return 0;
    if (depth >= most)
        return tvm_raise(TVM_RUNTIME_ERROR, "calls are nested %d deep", depth);
    size_t left = tvm_os_stack_left();
    if (left < LEAST)
        return tvm_raise(TVM_RUNTIME_ERROR,
                         "calls are nested %d deep, and the thread's stack has %zu bytes left",
                         depth, left);
    return 0;
}
