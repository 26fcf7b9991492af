/* A model's run alone, through the C API of a TVM runtime library, this project's or TVM's own:
 *
 *     runtime LIBRARY PREFIX INPUT SHAPE
 *
 * Where the library has TVM's time_evaluator, that measures. */
#include "include/tvm_runtime.h"
#include "protocol.h"

#include <dlfcn.h>
#include <string.h>

static void *library;

static void *symbol(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

#define API(name) __typeof__(&name) name##_ = (__typeof__(&name))symbol(#name)

static void check(int status) {
    if (status) {
        API(TVMGetLastError);
        fprintf(stderr, "%s\n", TVMGetLastError_());
        exit(1);
    }
}

static TVMFunctionHandle global(const char *name) {
    API(TVMFuncGetGlobal);
    TVMFunctionHandle function = NULL;
    check(TVMFuncGetGlobal_(name, &function));
    return function;
}

static TVMFunctionHandle member(TVMModuleHandle module, const char *name) {
    API(TVMModGetFunction);
    TVMFunctionHandle function = NULL;
    check(TVMModGetFunction_(module, name, 0, &function));
    return function;
}

static TVMValue call(TVMFunctionHandle function, TVMValue *args, int *codes, int count) {
    API(TVMFuncCall);
    TVMValue result;
    int code;
    check(TVMFuncCall_(function, args, codes, count, &result, &code));
    return result;
}

static TVMModuleHandle make_executor(const char *prefix) {
    API(TVMModLoadFromFile);
    TVMModuleHandle compiled;
    char path[4096];
    size_t size;
    snprintf(path, sizeof(path), "%s.so", prefix);
    check(TVMModLoadFromFile_(path, "so", &compiled));
    TVMValue args[] = {{.v_str = read_file(prefix, ".json", &size)},
                       {.v_handle = compiled},
                       {.v_int64 = kDLCPU},
                       {.v_int64 = 0}};
    int codes[] = {kTVMStr, kTVMModuleHandle, kTVMArgInt, kTVMArgInt};
    return call(global("tvm.graph_executor.create"), args, codes, 4).v_handle;
}

static void load_params(TVMModuleHandle executor, const char *prefix) {
    TVMByteArray bytes;
    bytes.data = read_file(prefix, ".params", &bytes.size);
    call(member(executor, "load_params"), &(TVMValue){.v_handle = &bytes}, &(int){kTVMBytes}, 1);
    free((void *)(uintptr_t)bytes.data);
}

static void set_input(TVMModuleHandle executor, const char *prefix, char *name, char *shape) {
    API(TVMArrayAlloc);
    API(TVMArrayCopyFromBytes);
    tvm_index_t dims[8];
    int ndim = 0;
    for (char *dim = strtok(shape, ","); dim && ndim < 8; dim = strtok(NULL, ","))
        dims[ndim++] = atoll(dim);
    size_t size;
    void *data = read_file(prefix, ".in", &size);
    TVMArrayHandle array;
    check(TVMArrayAlloc_(dims, ndim, kDLFloat, 32, 1, kDLCPU, 0, &array));
    check(TVMArrayCopyFromBytes_(array, data, size));
    TVMValue args[] = {{.v_str = name}, {.v_handle = array}};
    int codes[] = {kTVMStr, kTVMNDArrayHandle};
    call(member(executor, "set_input"), args, codes, 2);
    free(data);
}

/* TVM's time_evaluator of run. */
static TVMFunctionHandle time_evaluator(TVMModuleHandle executor, int repeat, int number) {
    enum { COUNT = 11 };
    TVMValue args[COUNT] = {{.v_handle = executor}, {.v_str = "run"},    {.v_int64 = kDLCPU},
                            {.v_int64 = 0},         {.v_int64 = number}, {.v_int64 = repeat},
                            {.v_int64 = 0},         {.v_int64 = 100},    {.v_int64 = 0},
                            {.v_int64 = 1},         {.v_int64 = 0}};
    int codes[COUNT + 1] = {kTVMModuleHandle, kTVMStr};
    TVMValue all[COUNT + 1];
    memcpy(all, args, sizeof(args));
    all[COUNT].v_str = ""; /* no function before each */
    codes[COUNT] = kTVMStr;
    return call(global("runtime.RPCTimeEvaluator"), all, codes, COUNT + 1).v_handle;
}

static void evaluate(TVMModuleHandle executor, int repeat, int number, double *times) {
    API(TVMFuncFree);
    TVMFunctionHandle evaluator = time_evaluator(executor, repeat, number);
    const TVMByteArray *seconds = call(evaluator, NULL, NULL, 0).v_handle;
    if (seconds->size != (size_t)repeat * sizeof(double))
        exit(1);
    for (int i = 0; i < repeat; i++) {
        double value;
        memcpy(&value, seconds->data + (size_t)i * sizeof(value), sizeof(value));
        times[i] = value * 1e9;
    }
    check(TVMFuncFree_(evaluator));
}

static void serve_evaluator(TVMModuleHandle executor) {
    int repeat, number;
    puts("\"ready\"");
    fflush(stdout);
    while (next_request(&repeat, &number)) {
        double *times = malloc((size_t)repeat * sizeof(*times));
        evaluate(executor, 1, number > 2 ? number : 2, times); /* warms up */
        evaluate(executor, repeat, number, times);
        answer(times, repeat);
        free(times);
    }
}

static TVMFunctionHandle run_function;
static __typeof__(&TVMFuncCall) run_call;

static void run(void) {
    TVMValue result;
    int code;
    check(run_call(run_function, NULL, NULL, 0, &result, &code));
}

int main(int argc, char **argv) {
    if (argc != 5 || !(library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL))) {
        fprintf(stderr, "%s\n", argc == 5 ? dlerror() : "runtime LIBRARY PREFIX INPUT SHAPE");
        return 1;
    }
    TVMModuleHandle executor = make_executor(argv[2]);
    load_params(executor, argv[2]);
    set_input(executor, argv[2], argv[3], argv[4]);
    if (global("runtime.RPCTimeEvaluator")) {
        serve_evaluator(executor);
        return 0;
    }
    run_function = member(executor, "run");
    run_call = (__typeof__(run_call))symbol("TVMFuncCall");
    serve(run);
    return 0;
}
