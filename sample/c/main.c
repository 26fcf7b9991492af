/* Runs a compiled model from C, with the library that `make install` installs.
 *
 *     cc -std=c11 -Wall -o infer main.c $(pkg-config --cflags --libs gotvm-runtime)
 *
 * A model is one file, a factory library or an AOT model, or the three of the graph executor:
 *
 *     ./infer model.so input=picture.raw
 *     ./infer deploy.so,deploy.json,deploy.params input=picture.raw
 *
 * A file of an input holds its numbers as they lie in memory. Outputs of float32 are printed, one
 * number a line; of others only shape and type. Nothing here is special to this runtime: with
 * tvm/runtime/c_runtime_api.h in place of tvm_runtime.h this compiles against TVM's own library. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tvm_runtime.h>

/* Prints what failed, with the runtime's message, and ends the program. */
static void fail(const char *what, const char *message) {
    fprintf(stderr, "infer: %s: %s\n", what, message);
    exit(1);
}

static void check(int status, const char *what) {
    if (status != 0)
        fail(what, TVMGetLastError());
}

/* The bytes of a file, with a NUL after them. */
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    long length = -1;
    if (file && fseek(file, 0, SEEK_END) == 0)
        length = ftell(file);
    char *data = length >= 0 ? malloc((size_t)length + 1) : NULL;
    if (!data)
        fail(path, "cannot read the file");
    rewind(file);
    *size = fread(data, 1, (size_t)length, file);
    data[*size] = '\0';
    if (*size != (size_t)length)
        fail(path, "cannot read all of the file");
    fclose(file);
    return data;
}

/* Calls a packed function. What it gives back is the caller's: see TVMFuncCall. */
static TVMValue call(TVMFunctionHandle function, const char *name, int count, TVMValue *values,
                     int *codes, int *result_code) {
    TVMValue result;
    check(TVMFuncCall(function, values, codes, count, &result, result_code), name);
    return result;
}

/* Calls the function name of a module. */
static TVMValue call_member(TVMModuleHandle module, const char *name, int count, TVMValue *values,
                            int *codes, int *result_code) {
    TVMFunctionHandle function;
    check(TVMModGetFunction(module, name, 0, &function), name);
    if (!function)
        fail(name, "the model has no such function");
    TVMValue result = call(function, name, count, values, codes, result_code);
    check(TVMFuncFree(function), name);
    return result;
}

/* The executor of a library that holds all of its model. */
static TVMModuleHandle open_library(const char *path) {
    TVMModuleHandle library;
    check(TVMModLoadFromFile(path, "so", &library), path);
    TVMValue device = {.v_device = {kDLCPU, 0}};
    int code = kDLDevice, result_code;
    TVMValue executor = call_member(library, "default", 1, &device, &code, &result_code);
    check(TVMModFree(library), path); /* the executor keeps what it needs */
    return executor.v_handle;
}

/* The executor of a model in three files. */
static TVMModuleHandle open_files(const char *library_path, const char *graph_path,
                                  const char *params_path) {
    TVMModuleHandle library;
    TVMFunctionHandle create;
    size_t size;
    int result_code;
    check(TVMModLoadFromFile(library_path, "so", &library), library_path);

    char *graph = read_file(graph_path, &size);
    TVMValue values[] = {
        {.v_str = graph}, {.v_handle = library}, {.v_int64 = kDLCPU}, {.v_int64 = 0}};
    int codes[] = {kTVMStr, kTVMModuleHandle, kTVMArgInt, kTVMArgInt};
    check(TVMFuncGetGlobal("tvm.graph_executor.create", &create), graph_path);
    TVMValue executor = call(create, graph_path, 4, values, codes, &result_code);
    check(TVMFuncFree(create), graph_path);
    check(TVMModFree(library), library_path);
    free(graph);

    char *params = read_file(params_path, &size);
    TVMByteArray bytes = {params, size};
    int bytes_code = kTVMBytes;
    call_member(executor.v_handle, "load_params", 1, &(TVMValue){.v_handle = &bytes}, &bytes_code,
                &result_code);
    free(params);
    return executor.v_handle;
}

/* Fills an input from "name=file". */
static void set_input(TVMModuleHandle executor, char *argument) {
    char *equals = strchr(argument, '=');
    size_t size;
    int code = kTVMStr, array_code;
    if (!equals)
        fail(argument, "expected name=file");
    *equals = '\0';
    char *data = read_file(equals + 1, &size);
    /* The executor's own array: to fill it sets the input. */
    TVMValue array =
        call_member(executor, "get_input", 1, &(TVMValue){.v_str = argument}, &code, &array_code);
    if (array_code != kTVMNDArrayHandle)
        fail(argument, "the model has no such input");
    check(TVMArrayCopyFromBytes(array.v_handle, data, size), argument);
    check(TVMArrayFree(array.v_handle), argument);
    free(data);
}

static void print_output(TVMModuleHandle executor, int64_t index) {
    int code = kTVMArgInt, array_code;
    TVMValue array =
        call_member(executor, "get_output", 1, &(TVMValue){.v_int64 = index}, &code, &array_code);
    const DLTensor *tensor = array.v_handle;
    size_t count = 1;
    printf("output %d: code %d, %d bits, shape [", (int)index, tensor->dtype.code,
           tensor->dtype.bits);
    for (int i = 0; i < tensor->ndim; i++) {
        printf(i ? ", %lld" : "%lld", (long long)tensor->shape[i]);
        count *= (size_t)tensor->shape[i];
    }
    printf("]\n");
    if (tensor->dtype.code == kDLFloat && tensor->dtype.bits == 32) {
        float *numbers = malloc(count * sizeof(*numbers) + 1);
        if (!numbers)
            fail("output", "out of memory");
        check(TVMArrayCopyToBytes(array.v_handle, numbers, count * sizeof(*numbers)), "output");
        for (size_t i = 0; i < count; i++)
            printf("%.9g\n", (double)numbers[i]);
        free(numbers);
    }
    check(TVMArrayFree(array.v_handle), "output");
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: infer library[,graph,params] [input=file]...\n");
        return 2;
    }
    const char *library = strtok(argv[1], ","), *graph = strtok(NULL, ","),
               *params = strtok(NULL, ",");
    if (!library || (graph && !params))
        fail("model", "expected one file, or library,graph,params");
    TVMModuleHandle executor = graph ? open_files(library, graph, params) : open_library(library);
    for (int i = 2; i < argc; i++)
        set_input(executor, argv[i]);
    int code;
    call_member(executor, "run", 0, NULL, NULL, &code);
    int64_t count = call_member(executor, "get_num_outputs", 0, NULL, NULL, &code).v_int64;
    for (int64_t i = 0; i < count; i++)
        print_output(executor, i);
    check(TVMModFree(executor), library);
    return 0;
}
