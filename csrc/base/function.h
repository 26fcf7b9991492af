/* Packed functions: one calling convention for everything that the runtime, a model or a host
 * program provides, and the process-wide registry of those with a name. */
#ifndef TVM_BASE_FUNCTION_H
#define TVM_BASE_FUNCTION_H

#include "base/value.h"

/* tvm-ffi's safe call: 0 with *result owned by the caller (None unless set), or -1 with an error
 * raised. args are views for the time of the call. self is the struct tvm_function called. */
typedef int tvm_safe_call(void *self, const struct tvm_value *args, int32_t count,
                          struct tvm_value *result);

struct tvm_function {
    struct tvm_object object;
    tvm_safe_call *call;
    void *cpp_call; /* tvm-ffi's C++ shortcut: always NULL */
    void *resource; /* what call works on, by the maker's choice */
    void (*finalize)(void *resource);
};

/* Makes a function; finalize (may be NULL) runs once, on the thread that drops the last reference.
 * When creation fails, resource stays the caller's. The function may be called from any thread. */
int tvm_function_new(tvm_safe_call *call, void *resource, void (*finalize)(void *resource),
                     struct tvm_function **out);

/* Calls function; sets *result to None first. */
static inline int tvm_function_call(struct tvm_function *function, const struct tvm_value *args,
                                    int32_t count, struct tvm_value *result) {
    *result = tvm_none();
    return function->call(function, args, count, result);
}

/* Whether a call may be made inside depth others: RuntimeError from most on, and where little is
 * left of the thread's stack, which cannot grow. */
int tvm_check_depth(int depth, int most);

/* 0 with *result owned by the caller (None unless set), or -1 with an error raised. */
typedef int tvm_builtin_call(const struct tvm_call *call, struct tvm_value *result);

/* A function that is there from the start; see the table in csrc/tables.c. It is called with min to
 * max arguments, TVM_ANY_COUNT for no end; any other count is a ValueError. */
struct tvm_builtin {
    const char *name;
    tvm_builtin_call *call;
    int32_t min, max;
};

/* Ends with a NULL name. */
extern const struct tvm_builtin tvm_builtins[];

static inline int tvm_builtin_invoke(const struct tvm_builtin *builtin,
                                     const struct tvm_value *args, int32_t count,
                                     struct tvm_value *result) {
    const struct tvm_call call = {builtin->name, args, count};
    if (tvm_call_check_count(&call, builtin->min, builtin->max))
        return -1;
    return builtin->call(&call, result);
}

/* What a registered built-in function calls, for those who call it often; NULL for others. */
const struct tvm_builtin *tvm_function_builtin(const struct tvm_function *function);

/* The registry. All calls are safe from any thread; names hold any bytes but NUL. */

/* Registers function (a reference is added) under name. A name in use is a ValueError unless
 * override is set. */
int tvm_registry_set(const char *name, struct tvm_function *function, bool override);

/* The function called name with a new reference, or NULL (which is no error). */
int tvm_registry_get(const char *name, struct tvm_function **out);

/* NotFoundError when there is no such name. */
int tvm_registry_remove(const char *name);

/* All names, sorted: one malloc'ed block that holds the array and the texts. */
int tvm_registry_list(const char ***out, size_t *count);

#endif
