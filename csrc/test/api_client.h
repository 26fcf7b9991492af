/* What the tests of the classic C API share: they are its clients. */
#ifndef TVM_TEST_API_CLIENT_H
#define TVM_TEST_API_CLIENT_H

#include "include/tvm_runtime.h"

#include "base/function.h"
#include "base/module.h"
#include "base/tensor.h"
#include "test/expect.h"

/* Checks that call failed and that the thread's message contains text. */
#define expect_failure(call, text) expect_failure_at((call), text, __FILE__, __LINE__)

static inline void expect_failure_at(int status, const char *text, const char *file, int line) {
    if (status == -1 && strstr(TVMGetLastError(), text))
        return;
    print_error("expected -1 and \"…%s…\", got %d and \"%s\"\n", text, status, TVMGetLastError());
    _fail(file, line);
}

static int finalized;

static inline void count_finalized(void *resource) {
    (void)resource;
    finalized++;
}

static inline TVMFunctionHandle function_new(TVMPackedCFunc callback, void *resource) {
    TVMFunctionHandle function;
    expect_ok(TVMFuncCreateFromCFunc(callback, resource, count_finalized, &function));
    assert_non_null(function);
    return function;
}

/* Calls function with one argument. */
static inline int call_one(TVMFunctionHandle function, TVMValue arg, int code, TVMValue *ret,
                           int *ret_code) {
    *ret_code = -1;
    return TVMFuncCall(function, &arg, &code, 1, ret, ret_code);
}

static inline TVMValue int_value(int64_t value) {
    return (TVMValue){.v_int64 = value};
}

static inline TVMValue handle_value(void *value) {
    return (TVMValue){.v_handle = value};
}

static inline TVMArrayHandle array_new(int64_t size, DLDataType dtype) {
    TVMArrayHandle array;
    expect_ok(TVMArrayAlloc(&size, 1, dtype.code, dtype.bits, dtype.lanes, kDLCPU, 0, &array));
    return array;
}

static const DLDataType float32 = {kDLFloat, 32, 1};

/* A callback that notes what it gets and returns its first argument */

struct seen {
    int count;
    TVMValue values[64];
    int codes[64];
    void *resource;
};

static struct seen seen;

static inline int echo(TVMValue *args, int *codes, int count, TVMRetValueHandle ret,
                       void *resource) {
    seen.count = count;
    seen.resource = resource;
    for (int i = 0; i < count && i < 64; i++) {
        seen.values[i] = args[i];
        seen.codes[i] = codes[i];
    }
    return count ? TVMCFuncSetReturn(ret, args, codes, 1) : 0;
}

/* Every test gives back the objects that it made */

static int64_t live_before;

/* Frees what the thread holds: the last error, and with an empty one the last string result. */
static inline void clear_thread(void) {
    TVMFunctionHandle function = function_new(echo, NULL);
    TVMValue ret;
    int code;
    expect_ok(call_one(function, (TVMValue){.v_str = ""}, kTVMStr, &ret, &code));
    TVMFuncFree(function);
    drop_error();
}

static inline int remember_live(void **state) {
    (void)state;
    TVMFunctionHandle none;
    expect_ok(TVMFuncGetGlobal("test.none", &none)); /* makes the built-in functions */
    clear_thread();
    live_before = tvm_object_live_count();
    return 0;
}

static inline int check_live(void **state) {
    (void)state;
    clear_thread();
    int64_t live = tvm_object_live_count();
    if (live == live_before)
        return 0;
    print_error("%lld objects left behind\n", (long long)(live - live_before));
    return -1;
}

#define API_TEST(function) cmocka_unit_test_setup_teardown(function, remember_live, check_live)

#endif
