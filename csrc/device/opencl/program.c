/* Compiling kernels for devices, or finding them compiled. */
#include "device/opencl/cache.h"
#include "device/opencl/config.h"
#include "device/opencl/runtime.h"

#include <stdio.h>
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

/* Takes program over, also on failure. */
static int wrap_program(struct opencl_device *device, cl_program program,
                        struct opencl_program **out) {
    struct opencl_program *wrapped = calloc(1, sizeof(*wrapped));
    if (!wrapped) {
        tvm_cl.clReleaseProgram(program);
        return tvm_raise_out_of_memory();
    }
    wrapped->device = device;
    wrapped->program = program;
    *out = wrapped;
    return 0;
}

void tvm_opencl_program_free(struct opencl_program *program) {
    tvm_cl.clReleaseProgram(program->program);
    free(program);
}

static int compile(struct opencl_device *device, const char *source, size_t size,
                   struct opencl_program **out) {
    cl_int code;
    cl_program program =
        tvm_cl.clCreateProgramWithSource(device->context, 1, &source, &size, &code);
    if (!program)
        return tvm_opencl_raise(code, "opencl(%d), %s: no program", device->number, device->name);
    code = tvm_cl.clBuildProgram(program, 1, &device->id, NULL, NULL, NULL);
    if (code == CL_SUCCESS)
        return wrap_program(device, program, out);
    fail_build(device, program, code, source, size);
    tvm_cl.clReleaseProgram(program);
    return -1;
}

int tvm_opencl_program_from_binary(struct opencl_device *device, struct tvm_bytes binary,
                                   struct opencl_program **out) {
    const unsigned char *bytes = (const unsigned char *)binary.data;
    cl_int code, status = CL_SUCCESS;
    cl_program program = tvm_cl.clCreateProgramWithBinary(device->context, 1, &device->id,
                                                          &binary.size, &bytes, &status, &code);
    if (code == CL_SUCCESS && (code = status) == CL_SUCCESS)
        code = tvm_cl.clBuildProgram(program, 1, &device->id, NULL, NULL, NULL);
    if (code == CL_SUCCESS)
        return wrap_program(device, program, out);
    if (program)
        tvm_cl.clReleaseProgram(program);
    return tvm_opencl_raise(code, "opencl(%d), %s: the driver does not take a compiled program",
                            device->number, device->name);
}

/* Asks for a program's binaries, of which there is one for each device of the context, of no bytes
 * where it was not compiled: of device index only. */
static cl_int get_binary(cl_program program, cl_uint count, cl_uint index, struct tvm_bytes *out) {
    size_t sizes[OPENCL_MAX_DEVICES] = {0};
    unsigned char *binaries[OPENCL_MAX_DEVICES] = {NULL};
    cl_int code = tvm_cl.clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, count * sizeof(*sizes),
                                          sizes, NULL);
    if (code != CL_SUCCESS)
        return code;
    if (sizes[index] == 0)
        return CL_INVALID_BINARY;
    if (!(binaries[index] = malloc(sizes[index])))
        return CL_OUT_OF_HOST_MEMORY;
    code = tvm_cl.clGetProgramInfo(program, CL_PROGRAM_BINARIES, count * sizeof(*binaries),
                                   (void *)binaries, NULL);
    if (code == CL_SUCCESS)
        *out = (struct tvm_bytes){(const char *)binaries[index], sizes[index]};
    else
        free(binaries[index]);
    return code;
}

int tvm_opencl_program_binary(const struct opencl_program *program, struct tvm_bytes *out) {
    const struct opencl_device *device = program->device;
    cl_device_id devices[OPENCL_MAX_DEVICES];
    size_t size = 0;
    cl_uint index = 0;
    cl_int code = tvm_cl.clGetProgramInfo(program->program, CL_PROGRAM_DEVICES, sizeof(devices),
                                          (void *)devices, &size);
    cl_uint count = (cl_uint)(size / sizeof(*devices));
    while (code == CL_SUCCESS && index < count && devices[index] != device->id)
        index++;
    if (code == CL_SUCCESS)
        code = index < count ? get_binary(program->program, count, index, out) : CL_INVALID_VALUE;
    return code == CL_SUCCESS ? 0
                              : tvm_opencl_raise(code,
                                                 "opencl(%d), %s: the driver does not give a "
                                                 "program's binary",
                                                 device->number, device->name);
}

/* Writes text with its length before it. */
static void put_text(FILE *stream, const char *text) {
    fprintf(stream, "%zu:%s\n", strlen(text), text);
}

int tvm_opencl_program_key(const struct opencl_device *device, const char *source, size_t size,
                           struct tvm_bytes *out) {
    static const cl_platform_info of_platform[] = {CL_PLATFORM_NAME, CL_PLATFORM_VERSION};
    static const cl_device_info of_device[] = {CL_DEVICE_NAME, CL_DEVICE_VENDOR, CL_DEVICE_VERSION,
                                               CL_DRIVER_VERSION, CL_DEVICE_EXTENSIONS};
    char text[1 << 14], *key = NULL;
    size_t key_size = 0;
    FILE *stream = open_memstream(&key, &key_size);
    if (!stream)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < sizeof(of_platform) / sizeof(*of_platform); i++) {
        memset(text, 0, sizeof(text));
        tvm_cl.clGetPlatformInfo(device->platform, of_platform[i], sizeof(text) - 1, text, NULL);
        put_text(stream, text);
    }
    for (size_t i = 0; i < sizeof(of_device) / sizeof(*of_device); i++)
        put_text(stream, tvm_opencl_text(device->id, of_device[i], text, sizeof(text)));
    put_text(stream, ""); /* the options of its build */
    fwrite(source, 1, size, stream);
    bool failed = ferror(stream);
    if (fclose(stream) || failed) {
        free(key);
        return tvm_raise_out_of_memory();
    }
    *out = (struct tvm_bytes){key, key_size};
    return 0;
}

/* The program of source from the cache; NULL in *out where it has none that the driver takes. */
static int load_program(struct opencl_device *device, const char *source, size_t size,
                        struct opencl_program **out) {
    const struct opencl_config *config = tvm_opencl_config();
    struct tvm_bytes key, binary;
    unsigned char *file;
    *out = NULL;
    if (!*config->cache_folder)
        return 0;
    if (tvm_opencl_program_key(device, source, size, &key))
        return -1;
    if (tvm_opencl_cache_load(config->cache_folder, key, &file, &binary)) {
        struct tvm_error *before = tvm_error_take();
        (void)tvm_opencl_program_from_binary(device, binary, out);
        tvm_error_drop(before);
        free(file);
    }
    free((char *)key.data);
    return 0;
}

/* The module's program of source, which is made and added where it has none; only from the cache,
 * and NULL in *out where that has none, or only by compiling it. */
static int make_program(struct opencl_module *module, struct opencl_device *device,
                        const char *source, size_t size, bool cached, struct opencl_program **out) {
    for (*out = module->programs; *out; *out = (*out)->next)
        if ((*out)->device == device && (*out)->source == source && (*out)->source_size == size)
            return 0;
    if (cached ? load_program(device, source, size, out) : compile(device, source, size, out))
        return -1;
    if (!*out)
        return 0;
    struct opencl_program *program = *out;
    program->source = source;
    program->source_size = size;
    program->unsaved = !cached && *tvm_opencl_config()->cache_folder;
    program->next = module->programs;
    module->programs = program;
    return 0;
}

/* The program that kernel is to come from. One of all kernels compiles faster than one for each,
 * but some texts do not compile as a whole (their kernels may define the same helpers). */
static int find_program(struct opencl_module *module, const struct opencl_kernel *kernel,
                        struct opencl_device *device, struct opencl_program **out) {
    bool *failed = &module->failed[device->number];
    for (int cached = 1; cached >= 0; cached--) {
        *out = NULL;
        if (!*failed && !(kernel->source && module->kernel_count == 1)) {
            struct tvm_error *before = tvm_error_take();
            int status = make_program(module, device, module->text, module->text_size, cached, out);
            if (status && (cached || !kernel->source)) /* the cache has what compiles */
                return tvm_error_settle(before, status, NULL);
            *failed = status != 0;
            tvm_error_drop(before);
        }
        if (!*out && kernel->source &&
            make_program(module, device, kernel->source, kernel->source_size, cached, out))
            return -1;
        if (*out)
            return 0;
    }
    return 0;
}

static int make_kernel(const struct opencl_program *program, const char *name,
                       struct opencl_built **out) {
    cl_int code;
    struct opencl_built *built = malloc(sizeof(*built));
    if (!built)
        return tvm_raise_out_of_memory();
    built->kernel = tvm_cl.clCreateKernel(program->program, name, &code);
    if (!built->kernel) {
        free(built);
        return tvm_opencl_raise(code, "its source does not define it");
    }
    built->program = program;
    if (tvm_cl.clGetKernelWorkGroupInfo(built->kernel, program->device->id,
                                        CL_KERNEL_WORK_GROUP_SIZE, sizeof(size_t),
                                        &built->max_work_items, NULL))
        built->max_work_items = SIZE_MAX; /* the launch will tell */
    *out = built;
    return 0;
}

/* The module is locked. */
static int build(struct opencl_module *module, struct opencl_kernel *kernel,
                 struct opencl_device *device, struct opencl_built **out) {
    struct opencl_program *program;
    if (find_program(module, kernel, device, &program) || make_kernel(program, kernel->name, out))
        return -1;
    module->build_count++;
    if (program->unsaved)
        tvm_opencl_saver_start(module);
    return 0;
}

int tvm_opencl_build(struct opencl_module *module, struct opencl_kernel *kernel,
                     struct opencl_device *device, struct opencl_built **out) {
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

void tvm_opencl_adopt(struct opencl_module *module, const struct opencl_program *program) {
    for (size_t i = 0; i < module->kernel_count; i++) {
        struct opencl_kernel *kernel = &module->kernels[i];
        struct opencl_built *_Atomic *place = &kernel->built[program->device->number];
        struct opencl_built *built;
        if (atomic_load_explicit(place, memory_order_relaxed))
            continue;
        struct tvm_error *before = tvm_error_take();
        if (make_kernel(program, kernel->name, &built) == 0) /* else the program does not have it */
            atomic_store_explicit(place, built, memory_order_release);
        tvm_error_drop(before);
    }
}

void tvm_opencl_built_free(struct opencl_built *built) {
    if (!built)
        return;
    tvm_cl.clReleaseKernel(built->kernel);
    free(built);
}
