/* From exec to the first result of a model for OpenCL, in medians: with nothing compiled before,
 * with the cache of compiled programs, and by a bare host program, which makes the same calls of
 * OpenCL that the model's run made, with the same compiled programs, and does nothing else. Each
 * process begins with an empty cache of the driver's own, where that is PoCL. The ratios are those
 * of cached to bare C, in pairs: of these times, and of the processors' time of the whole process,
 * which a busy machine changes less. Arguments: factory libraries of graph executors; without any,
 * one of the tests. */
#include "base/os.h"
#include "device/opencl/runtime.h"
#include "graph/package.h"
#include "test/folder.h"
#include "test/graph_fixture.h"
#include "test/median.h"
#include "test/zoo.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 21, COLD_ROUNDS = 3 };

static void check_at(bool condition, int line) {
    if (condition)
        return;
    const struct tvm_error *error = tvm_error_peek();
    fprintf(stderr, "bench_opencl_start.c:%d failed: %s\n", line,
            error ? error->message.data : strerror(errno));
    _exit(1);
}
#define check(condition) check_at((condition), __LINE__)

/* The recorded calls: a run of steps, each with its data behind it. */
enum kind { PROGRAM, BUFFER, FILL, WRITE, COPY, KERNEL, ARGUMENT, LAUNCH, READ };

struct step {
    enum kind kind;
    unsigned object, other; /* numbers of programs, buffers and kernels, in the order of making */
    size_t index, offset, size, data_size;
    size_t range[6]; /* of a launch: global and local sizes; index is the number of dimensions */
};

/* Recording, by functions in place of the driver's */

enum { MAX_OBJECTS = 10000 };
static struct opencl_functions real;
static FILE *trace;
static void *programs[MAX_OBJECTS], *buffers[MAX_OBJECTS], *kernels[MAX_OBJECTS];
static unsigned program_count, buffer_count, kernel_count;

static void put(struct step step, const void *data) {
    fwrite(&step, sizeof(step), 1, trace);
    fwrite(data, 1, step.data_size, trace);
}

static void add(void **objects, unsigned *count, void *object) {
    check(object && *count < MAX_OBJECTS);
    objects[(*count)++] = object;
}

/* The newest object: handles are used again. */
static unsigned number_of(void **objects, unsigned count, const void *object) {
    while (count > 0 && objects[count - 1] != object)
        count--;
    return count - 1;
}

#define BUFFER_NUMBER(memory) number_of(buffers, buffer_count, memory)

static cl_program with_binary(cl_context context, cl_uint count, const cl_device_id *devices,
                              const size_t *sizes, const unsigned char **binaries, cl_int *status,
                              cl_int *code) {
    put((struct step){.kind = PROGRAM, .data_size = *sizes}, *binaries);
    cl_program program =
        real.clCreateProgramWithBinary(context, count, devices, sizes, binaries, status, code);
    add(programs, &program_count, program);
    return program;
}

static cl_kernel create_kernel(cl_program program, const char *name, cl_int *code) {
    put((struct step){.kind = KERNEL,
                      .object = number_of(programs, program_count, program),
                      .data_size = strlen(name) + 1},
        name);
    cl_kernel kernel = real.clCreateKernel(program, name, code);
    add(kernels, &kernel_count, kernel);
    return kernel;
}

static cl_mem create_buffer(cl_context context, cl_mem_flags flags, size_t size, void *data,
                            cl_int *code) {
    put((struct step){.kind = BUFFER, .size = size}, "");
    cl_mem memory = real.clCreateBuffer(context, flags, size, data, code);
    add(buffers, &buffer_count, memory);
    return memory;
}

static cl_int fill(cl_command_queue queue, cl_mem memory, const void *pattern, size_t pattern_size,
                   size_t offset, size_t size, cl_uint count, const cl_event *events,
                   cl_event *event) {
    put(
        (struct step){
            .kind = FILL, .object = BUFFER_NUMBER(memory), .offset = offset, .size = size},
        "");
    return real.clEnqueueFillBuffer(queue, memory, pattern, pattern_size, offset, size, count,
                                    events, event);
}

static cl_int write_buffer(cl_command_queue queue, cl_mem memory, cl_bool wait, size_t offset,
                           size_t size, const void *data, cl_uint count, const cl_event *events,
                           cl_event *event) {
    put(
        (struct step){
            .kind = WRITE, .object = BUFFER_NUMBER(memory), .offset = offset, .data_size = size},
        data);
    return real.clEnqueueWriteBuffer(queue, memory, wait, offset, size, data, count, events, event);
}

static cl_int copy_buffer(cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset,
                          size_t to_offset, size_t size, cl_uint count, const cl_event *events,
                          cl_event *event) {
    put((struct step){.kind = COPY,
                      .object = BUFFER_NUMBER(from),
                      .other = BUFFER_NUMBER(to),
                      .index = to_offset,
                      .offset = from_offset,
                      .size = size},
        "");
    return real.clEnqueueCopyBuffer(queue, from, to, from_offset, to_offset, size, count, events,
                                    event);
}

static cl_int set_argument(cl_kernel kernel, cl_uint index, size_t size, const void *value) {
    struct step step = {.kind = ARGUMENT,
                        .object = number_of(kernels, kernel_count, kernel),
                        .other = ~0U, /* no buffer */
                        .index = index,
                        .data_size = size};
    if (size == sizeof(void *))
        step.other = BUFFER_NUMBER(*(void *const *)value);
    put(step, value);
    return real.clSetKernelArg(kernel, index, size, value);
}

static cl_int launch(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset,
                     const size_t *global, const size_t *local, cl_uint count,
                     const cl_event *events, cl_event *event) {
    struct step step = {
        .kind = LAUNCH, .object = number_of(kernels, kernel_count, kernel), .index = dims};
    memcpy(step.range, global, dims * sizeof(*global));
    memcpy(step.range + 3, local, dims * sizeof(*local));
    put(step, "");
    return real.clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, count, events,
                                       event);
}

static cl_int read_buffer(cl_command_queue queue, cl_mem memory, cl_bool wait, size_t offset,
                          size_t size, void *data, cl_uint count, const cl_event *events,
                          cl_event *event) {
    cl_int code =
        real.clEnqueueReadBuffer(queue, memory, wait, offset, size, data, count, events, event);
    put(
        (struct step){
            .kind = READ, .object = BUFFER_NUMBER(memory), .offset = offset, .data_size = size},
        data);
    return code;
}

static void record(const char *path) {
    struct opencl_device *device;
    check(tvm_opencl_open(0, &device) == 0 && (trace = fopen(path, "wb")));
    fwrite(device->name, sizeof(device->name), 1, trace);
    real = tvm_cl;
    tvm_cl.clCreateProgramWithBinary = with_binary;
    tvm_cl.clCreateKernel = create_kernel;
    tvm_cl.clCreateBuffer = create_buffer;
    tvm_cl.clEnqueueFillBuffer = fill;
    tvm_cl.clEnqueueWriteBuffer = write_buffer;
    tvm_cl.clEnqueueCopyBuffer = copy_buffer;
    tvm_cl.clSetKernelArg = set_argument;
    tvm_cl.clEnqueueNDRangeKernel = launch;
    tvm_cl.clEnqueueReadBuffer = read_buffer;
}

/* The processes that are measured: each says on standard output that it has the result. */

static void tell(void) {
    check(write(STDOUT_FILENO, "x", 1) == 1);
}

/* Runs a model as the runtime does, with numbers as inputs. */
static void run_model(const char *path) {
    const DLDevice devices[] = {{kDLOpenCL, 0}, {kDLCPU, 0}};
    struct tvm_graph_package package;
    struct tvm_graph_params *params = NULL;
    struct tvm_graph_session *session;
    struct tvm_tensor *output, *copy;
    check(tvm_graph_package_open(path, &package) == 0 && package.plan);
    check(!package.weights || tvm_graph_weights_place_for(package.weights, NULL, package.plan,
                                                          devices, 2, &params) == 0);
    check(tvm_graph_session_new(package.plan, package.library, params, devices, 2, NULL,
                                &session) == 0);
    for (size_t i = 0; i < tvm_graph_plan_input_count(package.plan); i++) {
        struct tvm_graph_tensor_info info = tvm_graph_plan_input(package.plan, i);
        struct tvm_tensor *input;
        if (params && tvm_graph_params_find(params, info.name))
            continue;
        check(tvm_tensor_empty(info.shape, info.ndim, info.dtype, devices[1], &input) == 0);
        size_t nbytes;
        check(tvm_tensor_nbytes(&input->dl, &nbytes) == 0 && info.dtype.bits == 32);
        for (size_t k = 0; k < nbytes / sizeof(float); k++)
            ((float *)input->dl.data)[k] = (float)(k % 7) / 7;
        check(tvm_graph_session_set_input(session, i, &input->dl) == 0);
        tvm_object_release(&input->object);
    }
    check(tvm_graph_session_run(session) == 0);
    check(tvm_graph_session_get_output(session, 0, &output) == 0);
    check(tvm_tensor_empty(output->shape, output->dl.ndim, output->dl.dtype, devices[1], &copy) ==
          0);
    check(tvm_tensor_copy(&output->dl, &copy->dl) == 0);
    tell();
    tvm_object_release(&copy->object);
    tvm_object_release(&output->object);
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release((struct tvm_object *)params);
    tvm_graph_package_clear(&package); /* what was compiled is saved */
    if (trace)
        check(fclose(trace) == 0);
}

static struct opencl_functions cl;

/* The device called name. */
static cl_device_id find_device(const char *name, cl_platform_id *platform) {
    cl_platform_id platforms[32];
    cl_device_id devices[OPENCL_MAX_DEVICES];
    cl_uint platform_count = 0, count = 0;
    char text[OPENCL_NAME_SIZE];
    cl.clGetPlatformIDs(32, platforms, &platform_count);
    for (cl_uint p = 0; p < platform_count; p++) {
        if (cl.clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, OPENCL_MAX_DEVICES, devices,
                              &count))
            continue;
        for (cl_uint i = 0; i < count; i++)
            if (cl.clGetDeviceInfo(devices[i], CL_DEVICE_NAME, sizeof(text), text, NULL) == 0 &&
                strcmp(text, name) == 0) {
                *platform = platforms[p];
                return devices[i];
            }
    }
    check(false);
    return NULL;
}

struct bare {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
};

static cl_int do_step(const struct bare *bare, const struct step *step, const void *data) {
    static const char zero = 0;
    cl_int code = 0, status = 0;
    void *object, *result;
    switch (step->kind) {
    case PROGRAM:
        object = cl.clCreateProgramWithBinary(bare->context, 1, &bare->device, &step->data_size,
                                              (const unsigned char **)&data, &status, &code);
        add(programs, &program_count, object);
        return cl.clBuildProgram(object, 1, &bare->device, NULL, NULL, NULL);
    case BUFFER:
        object = cl.clCreateBuffer(bare->context, CL_MEM_READ_WRITE, step->size, NULL, &code);
        add(buffers, &buffer_count, object);
        return code;
    case FILL:
        return cl.clEnqueueFillBuffer(bare->queue, buffers[step->object], &zero, 1, step->offset,
                                      step->size, 0, NULL, NULL);
    case WRITE:
        return cl.clEnqueueWriteBuffer(bare->queue, buffers[step->object], CL_TRUE, step->offset,
                                       step->data_size, data, 0, NULL, NULL);
    case COPY:
        return cl.clEnqueueCopyBuffer(bare->queue, buffers[step->object], buffers[step->other],
                                      step->offset, step->index, step->size, 0, NULL, NULL);
    case KERNEL:
        object = cl.clCreateKernel(programs[step->object], data, &code);
        add(kernels, &kernel_count, object);
        return code;
    case ARGUMENT:
        return cl.clSetKernelArg(kernels[step->object], (cl_uint)step->index, step->data_size,
                                 step->other == ~0U ? data : &buffers[step->other]);
    case LAUNCH:
        return cl.clEnqueueNDRangeKernel(bare->queue, kernels[step->object], (cl_uint)step->index,
                                         NULL, step->range, step->range + 3, 0, NULL, NULL);
    case READ:
        result = malloc(step->data_size);
        check(result);
        code = cl.clEnqueueReadBuffer(bare->queue, buffers[step->object], CL_TRUE, step->offset,
                                      step->data_size, result, 0, NULL, NULL);
        check(memcmp(result, data, step->data_size) == 0);
        free(result);
        return code;
    }
    return -1;
}

/* The bare host program. */
static void run_bare(const char *path) {
    struct bare bare;
    struct step step;
    cl_platform_id platform;
    cl_int code;
    char name[OPENCL_NAME_SIZE];
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW);
#define LOAD(name)                                                                                 \
    *(void **)&cl.name = dlsym(library, #name);                                                    \
    check(cl.name != NULL);
    CL_FUNCTIONS(LOAD)
    FILE *file = fopen(path, "rb");
    check(file && fread(name, sizeof(name), 1, file) == 1);
    bare.device = find_device(name, &platform);
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0};
    bare.context = cl.clCreateContext(properties, 1, &bare.device, NULL, NULL, &code);
    check(bare.context);
    bare.queue = cl.clCreateCommandQueue(bare.context, bare.device, 0, &code);
    check(bare.queue);
    while (fread(&step, sizeof(step), 1, file) == 1) {
        void *data = malloc(step.data_size + 1);
        check(data && fread(data, 1, step.data_size, file) == step.data_size);
        check(do_step(&bare, &step, data) == CL_SUCCESS);
        free(data);
    }
    tell();
    fclose(file);
}

/* Measuring */

/* What a process took, in milliseconds: to its result, and of processors' time until its end. */
struct times {
    double first, busy;
};

/* Runs this program in a process. */
static struct times measure(const char *mode, const char *path, const char *trace_path) {
    char cache[] = "/tmp/bench-opencl-XXXXXX", letter;
    int ends[2], status;
    struct rusage usage;
    check(mkdtemp(cache) && pipe(ends) == 0);
    setenv("POCL_CACHE_DIR", cache, 1);
    int64_t start = tvm_os_now();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "bench_opencl_start", mode, path, trace_path, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    check(child > 0 && read(ends[0], &letter, 1) == 1);
    int64_t took = tvm_os_now() - start;
    check(wait4(child, &status, 0, &usage) == child && status == 0);
    close(ends[0]);
    folder_remove(cache);
    return (struct times){
        (double)took / 1e6,
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3,
    };
}

static void bench(const char *path) {
    char folder[] = "/tmp/bench-opencl-XXXXXX", trace_path[100];
    double cold[COLD_ROUNDS], cached[ROUNDS], bare[ROUNDS], ratios[ROUNDS], busy[ROUNDS];
    check(mkdtemp(folder) != NULL);
    setenv("GOTVM_OPENCL_CACHE", folder, 1);
    snprintf(trace_path, sizeof(trace_path), "%s/trace", folder);
    for (int i = 0; i < COLD_ROUNDS; i++) {
        folder_remove(folder);
        cold[i] = measure("model", path, trace_path).first;
    }
    measure("record", path, trace_path);
    for (int i = 0; i < ROUNDS; i++) {
        struct times ours = measure("model", path, trace_path);
        struct times theirs = measure("bare", path, trace_path);
        cached[i] = ours.first;
        bare[i] = theirs.first;
        ratios[i] = ours.first / theirs.first;
        busy[i] = ours.busy / theirs.busy;
    }
    printf("%-44s%10.1f%10.1f%10.1f%10.2f%10.2f\n", path, median(cold, COLD_ROUNDS),
           median(cached, ROUNDS), median(bare, ROUNDS), median(ratios, ROUNDS),
           median(busy, ROUNDS));
    folder_remove(folder);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "bare") == 0) {
        run_bare(argv[3]);
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "record") == 0)
        record(argv[3]);
    if (argc == 4 && (strcmp(argv[1], "model") == 0 || strcmp(argv[1], "record") == 0)) {
        run_model(argv[2]);
        return 0;
    }
    if (tvm_opencl_device.count() == 0) {
        puts("there is no OpenCL device");
        return 0;
    }
    printf("%-44s%10s%10s%10s%10s%10s\n", "exec to first result, ms", "cold", "cached", "bare C",
           "ratio", "busy");
    for (int i = 1; i < argc; i++)
        bench(argv[i]);
    if (argc == 1 && zoo_fits())
        bench(zoo_path("opencl/tvm0.19/mlp/model.so"));
    return 0;
}
