/* Runs a Relax executable (TVM 0.22 and newer) from C, with the library that `make install`
 * installs.
 *
 *     cc -std=c11 -Wall -o relax relax.c $(pkg-config --cflags --libs gotvm-runtime)
 *     ./relax model.so 1,3,224,224=picture.raw
 *
 * For each parameter of main comes an argument: the shape, and a file with its float32 numbers as
 * they lie in memory. Results of float32 are printed, one number a line. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tvm_ffi_runtime.h>

enum { MAX_ARGUMENTS = 16, MAX_DIMENSIONS = 8 };

static void fail(const char *what, const char *message) {
    fprintf(stderr, "relax: %s: %s\n", what, message);
    exit(1);
}

/* Ends the program with the message of a call that failed, which says what it was doing. */
static void check(int status) {
    if (status == 0)
        return;
    TVMFFIObjectHandle error;
    TVMFFIErrorMoveFromRaised(&error);
    fprintf(stderr, "relax: %s\n", ((TVMFFIErrorCell *)((TVMFFIObject *)error + 1))->message.data);
    exit(1);
}

static TVMFFIAny text(const char *data) {
    return (TVMFFIAny){.type_index = kTVMFFIRawStr, .v_c_str = data};
}

static TVMFFIAny integer(int64_t value) {
    return (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = value};
}

/* What a function gives is the caller's: an object goes back with TVMFFIObjectDecRef. */
static TVMFFIAny call(TVMFFIObjectHandle function, TVMFFIAny *args, int count) {
    TVMFFIAny result;
    check(TVMFFIFunctionCall(function, args, count, &result));
    return result;
}

static TVMFFIAny call_global(const char *name, TVMFFIAny *args, int count) {
    TVMFFIByteArray bytes = {name, strlen(name)};
    TVMFFIObjectHandle function;
    check(TVMFFIFunctionGetGlobal(&bytes, &function));
    if (!function)
        fail(name, "the runtime has no such function");
    TVMFFIAny result = call(function, args, count);
    check(TVMFFIObjectDecRef(function));
    return result;
}

/* A function of a module. */
static TVMFFIObjectHandle member(TVMFFIAny module, const char *name) {
    TVMFFIAny args[] = {module, text(name), {.type_index = kTVMFFIBool, .v_int64 = 0}};
    TVMFFIAny function = call_global("ffi.ModuleGetFunction", args, 3);
    if (function.type_index != kTVMFFIFunction)
        fail(name, "the module has no such function; is it a Relax executable?");
    return function.v_obj;
}

/* The virtual machine of the model, for the CPU. */
static TVMFFIAny open_model(const char *path) {
    TVMFFIAny name = text(path);
    TVMFFIAny module = call_global("ffi.ModuleLoadFromFile", &name, 1);
    TVMFFIObjectHandle load = member(module, "vm_load_executable");
    TVMFFIAny machine = call(load, NULL, 0);
    TVMFFIObjectHandle init = member(machine, "vm_initialization");
    /* Type and number of the device, and how it allocates: 2 keeps memory for the next call. */
    TVMFFIAny devices[] = {integer(kDLCPU), integer(0), integer(2)};
    call(init, devices, 3);
    check(TVMFFIObjectDecRef(init));
    check(TVMFFIObjectDecRef(load));
    check(TVMFFIObjectDecRef(module.v_obj)); /* the machine keeps what it needs */
    return machine;
}

/* Reads a tensor from "shape=file"; the numbers go with the program. */
static void read_tensor(const char *argument, DLTensor *out, int64_t *shape) {
    const char *at = argument;
    size_t count = 1;
    *out = (DLTensor){.device = {kDLCPU, 0}, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    while (*at != '=') {
        char *end;
        long long dim = strtoll(at, &end, 10);
        if (end == at || dim < 1 || out->ndim == MAX_DIMENSIONS || (*end != ',' && *end != '='))
            fail(argument, "expected a shape such as 1,3,224,224, and =file");
        if ((unsigned long long)dim > SIZE_MAX / 8 / count)
            fail(argument, "the shape is larger than memory could be");
        shape[out->ndim++] = dim;
        count *= (size_t)dim;
        at = *end == ',' ? end + 1 : end;
    }
    FILE *file = fopen(at + 1, "rb");
    /* Data at multiples of 64 bytes is used in place, other data is copied. */
    out->data = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (!file || !out->data)
        fail(at + 1, "cannot read the file");
    if (fread(out->data, sizeof(float), count, file) != count || fgetc(file) != EOF)
        fail(argument, "the file has another size than the shape");
    fclose(file);
}

/* Prints a tensor, or those of a tuple. */
static void print_result(const TVMFFIAny *result) {
    if (result->type_index == kTVMFFIArray) {
        const TVMFFISeqCell *items = (const TVMFFISeqCell *)(result->v_obj + 1);
        for (int64_t i = 0; i < items->size; i++)
            print_result(&items->data[i]);
        return;
    }
    if (result->type_index != kTVMFFITensor) {
        printf("a value of type %d\n", result->type_index);
        return;
    }
    const DLTensor *tensor = (const DLTensor *)(result->v_obj + 1);
    size_t count = 1;
    printf("code %d, %d bits, shape [", tensor->dtype.code, tensor->dtype.bits);
    for (int i = 0; i < tensor->ndim; i++) {
        printf(i ? ", %lld" : "%lld", (long long)tensor->shape[i]);
        count *= (size_t)tensor->shape[i];
    }
    printf("]\n");
    const float *numbers = (const float *)((const char *)tensor->data + tensor->byte_offset);
    for (size_t i = 0; tensor->dtype.code == kDLFloat && tensor->dtype.bits == 32 && i < count; i++)
        printf("%.9g\n", (double)numbers[i]);
}

int main(int count, char **arguments) {
    if (count < 2 || count > 2 + MAX_ARGUMENTS) {
        fprintf(stderr, "usage: relax model.so shape=file …\n");
        return 2;
    }
    TVMFFIAny machine = open_model(arguments[1]), inputs[MAX_ARGUMENTS];
    DLTensor tensors[MAX_ARGUMENTS];
    int64_t shapes[MAX_ARGUMENTS][MAX_DIMENSIONS];
    for (int i = 0; i < count - 2; i++) {
        read_tensor(arguments[2 + i], &tensors[i], shapes[i]);
        inputs[i] = (TVMFFIAny){.type_index = kTVMFFIDLTensorPtr, .v_ptr = &tensors[i]};
    }
    TVMFFIObjectHandle function = member(machine, "main");
    TVMFFIAny result = call(function, inputs, count - 2);
    print_result(&result);
    if (result.type_index >= kTVMFFIObject)
        check(TVMFFIObjectDecRef(result.v_obj));
    check(TVMFFIObjectDecRef(function));
    check(TVMFFIObjectDecRef(machine.v_obj));
    for (int i = 0; i < count - 2; i++)
        free(tensors[i].data);
    return 0;
}
