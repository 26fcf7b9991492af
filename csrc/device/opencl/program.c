/* Compiling kernels for devices. */
#include "device/opencl/runtime.h"

#include <stdlib.h>
#include <string.h>

enum { LOG_SIZE = 4000 }; /* of a compiler's messages, as much as is shown */

/* What to say when source uses numbers that the device does not have. */
static const char *missing_extension(const struct opencl_device *device, const char *source,
                                     size_t size) {
    static const struct {
        const char *name, *advice;
    } known[] = {
        {"cl_khr_fp16", ": it computes with float16 (cl_khr_fp16), which the device cannot"},
        {"cl_khr_fp64", ": it computes with float64 (cl_khr_fp64), which the device cannot"},
    };
    char extensions[1 << 14];
    const char *found = "";
    tvm_opencl_text(device->id, CL_DEVICE_EXTENSIONS, extensions, sizeof(extensions));
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (memmem(source, size, known[i].name, strlen(known[i].name)) &&
            !strstr(extensions, known[i].name))
            found = known[i].advice;
    return found;
}

/* Raises the error of a program that did not compile, with the compiler's messages. */
static int fail_build(const struct opencl_device *device, cl_program program, cl_int code,
                      const char *source, size_t size) {
    size_t length = 0;
    char *log = NULL;
    if (tvm_cl.clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &length) ==
            CL_SUCCESS &&
        (log = calloc(length + 1, 1)))
        tvm_cl.clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, length, log, NULL);
    tvm_opencl_raise(code, "opencl(%d), %s: the driver does not compile it%s", device->number,
                     device->name, missing_extension(device, source, size));
    if (log && *log) {
        struct tvm_error *error = tvm_error_take();
        tvm_raise(error->kind.data, "%s\n%.*s", error->message.data, LOG_SIZE, log);
        tvm_object_release(&error->object);
    }
    free(log);
    return -1;
}

static int compile(const struct opencl_device *device, const char *source, size_t size,
                   cl_program *out) {
    cl_int code;
    cl_program program =
        tvm_cl.clCreateProgramWithSource(device->context, 1, &source, &size, &code);
    if (!program)
        return tvm_opencl_raise(code, "opencl(%d), %s: no program", device->number, device->name);
    code = tvm_cl.clBuildProgram(program, 1, &device->id, NULL, NULL, NULL);
    if (code == CL_SUCCESS) {
        *out = program;
        return 0;
    }
    fail_build(device, program, code, source, size);
    tvm_cl.clReleaseProgram(program);
    return -1;
}

/* The program of all kernels, which compiles faster than one for each; NULL in *out where it does
 * not compile and kernels have a text each (they may define the same helpers). */
static int whole_program(struct opencl_module *module, const struct opencl_kernel *kernel,
                         const struct opencl_device *device, cl_program *out) {
    int d = device->number;
    *out = module->programs[d];
    if (*out || module->failed[d] || (kernel->source && module->kernel_count == 1))
        return 0;
    if (compile(device, module->text, module->text_size, &module->programs[d])) {
        if (!kernel->source)
            return -1;
        tvm_object_release((struct tvm_object *)tvm_error_take());
        module->failed[d] = true;
    }
    *out = module->programs[d];
    return 0;
}

static int make_kernel(const struct opencl_kernel *kernel, const struct opencl_device *device,
                       cl_program program, struct opencl_built **out) {
    cl_int code;
    struct opencl_built *built = malloc(sizeof(*built));
    if (!built)
        return tvm_raise_out_of_memory(sizeof(*built));
    built->kernel = tvm_cl.clCreateKernel(program, kernel->name, &code);
    if (!built->kernel) {
        free(built);
        return tvm_opencl_raise(code, "its source does not define it");
    }
    if (tvm_cl.clGetKernelWorkGroupInfo(built->kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE,
                                        sizeof(size_t), &built->max_work_items, NULL))
        built->max_work_items = SIZE_MAX; /* the launch will tell */
    *out = built;
    return 0;
}

/* The module is locked. */
static int build(struct opencl_module *module, struct opencl_kernel *kernel,
                 const struct opencl_device *device, struct opencl_built **out) {
    cl_program whole, own = NULL;
    if (whole_program(module, kernel, device, &whole) ||
        (!whole && compile(device, kernel->source, kernel->source_size, &own)))
        return -1;
    int status = make_kernel(kernel, device, whole ? whole : own, out);
    if (own)
        tvm_cl.clReleaseProgram(own); /* the kernel holds it */
    return status;
}

int tvm_opencl_build(struct opencl_module *module, struct opencl_kernel *kernel,
                     const struct opencl_device *device, struct opencl_built **out) {
    struct opencl_built *_Atomic *place = &kernel->built[device->number];
    *out = atomic_load_explicit(place, memory_order_acquire);
    if (*out)
        return 0;
    int status = 0;
    pthread_mutex_lock(&module->mutex);
    *out = atomic_load_explicit(place, memory_order_relaxed);
    if (!*out && (status = build(module, kernel, device, out)) == 0)
        atomic_store_explicit(place, *out, memory_order_release);
    pthread_mutex_unlock(&module->mutex);
    return status;
}

void tvm_opencl_built_free(struct opencl_built *built) {
    if (!built)
        return;
    tvm_cl.clReleaseKernel(built->kernel);
    free(built);
}
