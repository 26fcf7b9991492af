/* What the sources of this folder share. */
#ifndef TVM_DEVICE_OPENCL_RUNTIME_H
#define TVM_DEVICE_OPENCL_RUNTIME_H

#include "device/opencl/opencl_device.h"

#define CL_TARGET_OPENCL_VERSION 120
#if defined(__has_include)
#if !__has_include(<CL/cl.h>)
#error "CL/cl.h is missing: install opencl-c-headers, or leave OpenCL out with the tag noopencl"
#endif
#endif
#include <CL/cl.h>
#include <pthread.h>

#define CL_FUNCTIONS(USE)                                                                          \
    USE(clGetPlatformIDs)                                                                          \
    USE(clGetPlatformInfo)                                                                         \
    USE(clGetDeviceIDs)                                                                            \
    USE(clGetDeviceInfo)                                                                           \
    USE(clCreateContext)                                                                           \
    USE(clCreateCommandQueue)                                                                      \
    USE(clCreateBuffer)                                                                            \
    USE(clReleaseMemObject)                                                                        \
    USE(clEnqueueReadBuffer)                                                                       \
    USE(clEnqueueWriteBuffer)                                                                      \
    USE(clEnqueueCopyBuffer)                                                                       \
    USE(clEnqueueFillBuffer)                                                                       \
    USE(clEnqueueNDRangeKernel)                                                                    \
    USE(clFinish)                                                                                  \
    USE(clWaitForEvents)                                                                           \
    USE(clGetEventProfilingInfo)                                                                   \
    USE(clReleaseEvent)                                                                            \
    USE(clCreateProgramWithSource)                                                                 \
    USE(clCreateProgramWithBinary)                                                                 \
    USE(clBuildProgram)                                                                            \
    USE(clGetProgramBuildInfo)                                                                     \
    USE(clGetProgramInfo)                                                                          \
    USE(clReleaseProgram)                                                                          \
    USE(clCreateKernel)                                                                            \
    USE(clGetKernelWorkGroupInfo)                                                                  \
    USE(clSetKernelArg)                                                                            \
    USE(clReleaseKernel)

/* The loader's functions. Whoever has a device may call them. */
#define CL_FUNCTION_MEMBER(name) __typeof__(&name) name;
struct opencl_functions {
    CL_FUNCTIONS(CL_FUNCTION_MEMBER)
};
extern struct opencl_functions tvm_cl;

enum { OPENCL_MAX_DEVICES = 32, OPENCL_NAME_SIZE = 128 };

struct opencl_workspace;

struct opencl_device {
    int number;
    cl_platform_id platform;
    cl_device_id id;
    char name[OPENCL_NAME_SIZE];
    _Atomic bool ready;                  /* what follows is there */
    cl_context context;                  /* shared by the platform's devices */
    cl_command_queue queue;              /* in order; the only one but for timed_queue */
    pthread_mutex_t mutex;               /* of what follows, and of setting kernels' arguments */
    cl_command_queue timed_queue;        /* see timer.c; NULL: not made */
    struct opencl_workspace *workspaces; /* all that were made */
};

/* Functions of the device interface that need no device to be open. */
int tvm_opencl_count(void);
int tvm_opencl_check(DLDevice device);
int tvm_opencl_select(DLDevice device);

int tvm_opencl_start_timer(DLDevice device, void **timer);
int tvm_opencl_stop_timer(void *timer, int64_t *nanos);

/* The queue for a kernel that this thread is about to launch. Where that is not device->queue, end
 * the launch with the kernel's event, which is then gone. */
int tvm_opencl_begin_launch(const struct opencl_device *device, cl_command_queue *out);
int tvm_opencl_end_launch(const struct opencl_device *device, cl_event event);

/* The device with this id: to ask it for its properties; and ready for use. */
int tvm_opencl_find(int id, struct opencl_device **out);
int tvm_opencl_open(int id, struct opencl_device **out);
/* The id that compiled code selected on this thread. */
int tvm_opencl_selected(void);

/* Raises an error for a function's error code, with its name: "<what>: CL_OUT_OF_RESOURCES (-5)".
 * Returns -1. */
int tvm_opencl_raise(cl_int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text that the device tells of itself, cut to fit. */
const char *tvm_opencl_text(cl_device_id device, cl_device_info what, char *buffer, size_t size);

/* A kernel as its module describes it. */
struct opencl_kernel {
    char *name;
    DLDataType *types; /* of its parameters */
    size_t type_count;
    unsigned char *slots; /* what each launch argument is: 0 to 2 the grid's x, y, z, 3 to 5 the
                             block's */
    size_t slot_count;
    bool has_dynamic_memory; /* one more argument, for other devices */
    const char *source;      /* its part of the module's text, NULL: the whole text */
    size_t source_size;
    struct opencl_built *_Atomic built[OPENCL_MAX_DEVICES]; /* owned; NULL until it is needed */
};

/* A program compiled for a device, of all kernels of a module or of some. */
struct opencl_program {
    struct opencl_program *next;
    struct opencl_device *device;
    cl_program program;
    const char *source; /* the module's text or a part of it; NULL: somebody gave the binary */
    size_t source_size;
    bool unsaved; /* it is to go to the cache */
};

/* A kernel compiled for a device. */
struct opencl_built {
    cl_kernel kernel;
    const struct opencl_program *program;
    size_t max_work_items; /* of a work group */
};

/* Saves a module's programs; see saver.c. */
struct opencl_saver {
    pthread_cond_t wake;
    pthread_t thread;
    pid_t process; /* that has the thread: not one forked from it */
    bool started;  /* thread is to be joined */
    bool running;  /* it will look for programs again */
    bool closing;  /* nothing more will be built */
};

struct opencl_module {
    struct tvm_module module;
    struct opencl_kernel *kernels;
    size_t kernel_count;
    char *text;
    size_t text_size;
    pthread_mutex_t mutex;           /* of what follows, and of compiling */
    struct opencl_program *programs; /* all that were made */
    bool failed[OPENCL_MAX_DEVICES]; /* it does not compile as a whole */
    size_t build_count;              /* kernels that were built */
    struct opencl_saver saver;
};

/* The kernel for device, compiled now unless it was before. */
int tvm_opencl_build(struct opencl_module *module, struct opencl_kernel *kernel,
                     struct opencl_device *device, struct opencl_built **out);
void tvm_opencl_built_free(struct opencl_built *built);

/* A program from what a driver gave for it before; the driver may trust its bytes blindly. It is
 * not in the module's list. */
int tvm_opencl_program_from_binary(struct opencl_device *device, struct tvm_bytes binary,
                                   struct opencl_program **out);
/* What tvm_opencl_program_from_binary takes; to be freed. */
int tvm_opencl_program_binary(const struct opencl_program *program, struct tvm_bytes *out);
void tvm_opencl_program_free(struct opencl_program *program);

/* What program's file in the cache is found by: all that its binary depends on; to be freed. */
int tvm_opencl_program_key(const struct opencl_device *device, const char *source, size_t size,
                           struct tvm_bytes *out);

/* Makes those of the module's kernels that program has and that were not built for its device. The
 * module is locked. */
void tvm_opencl_adopt(struct opencl_module *module, const struct opencl_program *program);

/* Waits until the device has done what it was asked to do; the driver's error code. */
cl_int tvm_opencl_drain(struct opencl_device *device);

void tvm_opencl_saver_init(struct opencl_saver *saver);
/* Sees to it that the module's unsaved programs are saved. The module is locked. */
void tvm_opencl_saver_start(struct opencl_module *module);
/* Ends that, when all is saved. The module is not locked, and builds nothing any more. */
void tvm_opencl_saver_finish(struct opencl_module *module);

/* Methods of modules: opencl.GetPreCompiledPrograms and opencl.SetPreCompiledPrograms. */
extern const struct tvm_module_method tvm_opencl_precompiled[];

/* A function that launches kernel (of module, which it keeps alive) on the selected device. */
int tvm_opencl_launcher_new(struct opencl_module *module, struct opencl_kernel *kernel,
                            struct tvm_function **out);

#endif
