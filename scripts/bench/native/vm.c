/* A Relax model through the tvm-ffi C API of a TVM runtime, this project's or TVM's own:
 *
 *     vm LIBRARIES MODE PREFIX INPUT SHAPE
 *
 * LIBRARIES are paths with colons between them. MODE run serves requests: each call of the function
 * "main" takes the same input and makes a new result. MODE first prints the first result. */
#include "include/tvm_ffi_runtime.h"
#include "protocol.h"

#include <dlfcn.h>
#include <string.h>

static void fail(const char *what) {
    fprintf(stderr, "vm: %s\n", what);
    exit(1);
}

static void *symbol(const char *name) {
    void *found = dlsym(RTLD_DEFAULT, name);
    if (!found)
        fail(dlerror());
    return found;
}

#define API(name) __typeof__(&name) name##_ = (__typeof__(&name))symbol(#name)

static void check(int status) {
    if (status == 0)
        return;
    API(TVMFFIErrorMoveFromRaised);
    TVMFFIObject *error;
    TVMFFIErrorMoveFromRaised_((TVMFFIObjectHandle *)&error);
    fail(((TVMFFIErrorCell *)(error + 1))->message.data);
}

static void open_libraries(char *paths) {
    for (char *path = strtok(paths, ":"); path; path = strtok(NULL, ":"))
        if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL))
            fail(dlerror());
}

static TVMFFIAny text(const char *value) {
    return (TVMFFIAny){.type_index = kTVMFFIRawStr, .v_c_str = value};
}

static TVMFFIAny call(TVMFFIAny function, TVMFFIAny *args, int count) {
    API(TVMFFIFunctionCall);
    TVMFFIAny result = {.type_index = kTVMFFINone};
    check(TVMFFIFunctionCall_(function.v_obj, args, count, &result));
    return result;
}

static TVMFFIAny global(const char *name) {
    API(TVMFFIFunctionGetGlobal);
    TVMFFIByteArray bytes = {name, strlen(name)};
    TVMFFIAny function = {.type_index = kTVMFFIFunction};
    check(TVMFFIFunctionGetGlobal_(&bytes, (TVMFFIObjectHandle *)&function.v_obj));
    if (!function.v_obj)
        fail(name);
    return function;
}

static TVMFFIAny member(TVMFFIAny module, const char *name) {
    TVMFFIAny imports = {.type_index = kTVMFFIBool, .v_int64 = 1};
    TVMFFIAny args[] = {module, text(name), imports};
    return call(global("ffi.ModuleGetFunction"), args, 3);
}

static TVMFFIAny integer(int64_t value) {
    return (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = value};
}

/* The function "main" of the model. */
static TVMFFIAny open_model(const char *prefix) {
    char path[4096];
    enum { POOLED = 2 }; /* TVM's allocator that keeps memory for the next call */
    snprintf(path, sizeof(path), "%s.so", prefix);
    TVMFFIAny name = text(path);
    TVMFFIAny library = call(global("ffi.ModuleLoadFromFile"), &name, 1);
    TVMFFIAny machine = call(member(library, "vm_load_executable"), NULL, 0);
    TVMFFIAny device[] = {integer(kDLCPU), integer(0), integer(POOLED)};
    call(member(machine, "vm_initialization"), device, 3);
    return member(machine, "main");
}

static void keep(DLManagedTensor *tensor) {
    (void)tensor;
}

/* A tensor in the memory of PREFIX.in. */
static TVMFFIAny read_input(const char *prefix, char *shape) {
    static int64_t dims[8];
    static DLManagedTensor tensor = {
        .dl_tensor = {.device = {kDLCPU, 0}, .dtype = {kDLFloat, 32, 1}, .shape = dims},
        .deleter = keep};
    API(TVMFFITensorFromDLPack);
    size_t size;
    TVMFFIAny input = {.type_index = kTVMFFITensor};
    for (char *dim = strtok(shape, ","); dim && tensor.dl_tensor.ndim < 8; dim = strtok(NULL, ","))
        dims[tensor.dl_tensor.ndim++] = atoll(dim);
    tensor.dl_tensor.data = read_file(prefix, ".in", &size);
    check(TVMFFITensorFromDLPack_(&tensor, 64, 1, (TVMFFIObjectHandle *)&input.v_obj));
    return input;
}

static TVMFFIAny input, function;
static __typeof__(&TVMFFIFunctionCall) call_function;
static __typeof__(&TVMFFIObjectDecRef) release;

static void run(void) {
    TVMFFIAny result = {.type_index = kTVMFFINone};
    check(call_function(function.v_obj, &input, 1, &result));
    release(result.v_obj);
}

/* The result's elements; it must be a tensor of float32. */
static const float *first_result(int64_t *count) {
    TVMFFIAny result = call(function, &input, 1);
    if (result.type_index != kTVMFFITensor)
        fail("the result is no tensor");
    const DLTensor *tensor = (const DLTensor *)(result.v_obj + 1);
    *count = 1;
    for (int i = 0; i < tensor->ndim; i++)
        *count *= tensor->shape[i];
    return (const float *)((const char *)tensor->data + tensor->byte_offset);
}

static void check_result(const float *got, int64_t count, const char *prefix) {
    size_t size;
    const float *want = read_file(prefix, ".out", &size);
    if ((size_t)count * sizeof(float) != size)
        fail("the result has another size");
    for (int64_t i = 0; i < count; i++)
        if (!(got[i] - want[i] < 1e-4F && want[i] - got[i] < 1e-4F))
            fail("the result is wrong");
}

static void print(const float *values, int64_t count) {
    for (int64_t i = 0; i < count && i < 10; i++)
        printf("%g ", (double)values[i]);
    puts("");
}

int main(int argc, char **argv) {
    int64_t count;
    if (argc != 6)
        fail("expected LIBRARIES MODE PREFIX INPUT SHAPE");
    open_libraries(argv[1]);
    function = open_model(argv[3]);
    input = read_input(argv[3], argv[5]);
    const float *result = first_result(&count);
    if (strcmp(argv[2], "first") == 0) {
        print(result, count);
        return 0;
    }
    check_result(result, count, argv[3]);
    call_function = (__typeof__(call_function))symbol("TVMFFIFunctionCall");
    release = (__typeof__(release))symbol("TVMFFIObjectDecRef");
    serve(run);
    return 0;
}
