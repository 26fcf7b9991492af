/* The device interface on OpenCL. */
#include "base/checked.h"
#include "base/context.h"
#include "device/opencl/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory */

/* A buffer for temporary use. Compiled code gives it back when its kernels are in the queue, not
 * when they are done; the next user's come behind them, for there is but one queue (timer.c
 * waits). */
struct opencl_workspace {
    struct opencl_workspace *next;
    struct opencl_device *device;
    cl_mem memory;
    size_t nbytes;
    bool used;
};

/* Gives the workspaces of less than nbytes that nobody uses back to the driver, which frees them
 * when kernels are done with them; false when there is none. The device is locked. */
static bool release_smaller(struct opencl_device *device, size_t nbytes) {
    bool any = false;
    for (struct opencl_workspace **link = &device->workspaces; *link;) {
        struct opencl_workspace *workspace = *link;
        if (workspace->used || workspace->nbytes >= nbytes) {
            link = &workspace->next;
            continue;
        }
        *link = workspace->next;
        tvm_cl.clReleaseMemObject(workspace->memory);
        free(workspace);
        any = true;
    }
    return any;
}

/* Frees all that nobody uses. */
static bool trim(struct opencl_device *device) {
    bool any = release_smaller(device, SIZE_MAX);
    if (any) /* memory in use by kernels is not free before they are done */
        tvm_cl.clFinish(device->queue);
    return any;
}

/* The device is locked. */
static int make_buffer(struct opencl_device *device, size_t nbytes, cl_mem *out) {
    cl_int code;
    do
        *out = tvm_cl.clCreateBuffer(device->context, CL_MEM_READ_WRITE, nbytes, NULL, &code);
    while (!*out && trim(device));
    if (*out)
        return 0;
    return tvm_opencl_raise(code, "opencl(%d), %s: no buffer of %zu bytes", device->number,
                            device->name, nbytes);
}

static int opencl_alloc(DLDevice id, size_t nbytes, void **out) {
    struct opencl_device *device;
    cl_mem memory;
    if (tvm_opencl_open(id.device_id, &device))
        return -1;
    pthread_mutex_lock(&device->mutex);
    int status = make_buffer(device, nbytes, &memory);
    pthread_mutex_unlock(&device->mutex);
    if (status == 0)
        *out = memory;
    return status;
}

static void opencl_free(DLDevice id, void *data) {
    (void)id;
    tvm_cl.clReleaseMemObject(data); /* the driver waits for commands that use it */
}

static void release_workspace(void *resource) {
    struct opencl_workspace *workspace = resource;
    pthread_mutex_lock(&workspace->device->mutex);
    workspace->used = false;
    pthread_mutex_unlock(&workspace->device->mutex);
}

/* The smallest unused workspace that is large enough, or a new one. The device is locked. */
static int find_workspace(struct opencl_device *device, size_t nbytes,
                          struct opencl_workspace **out) {
    struct opencl_workspace *best = NULL;
    for (struct opencl_workspace *one = device->workspaces; one; one = one->next)
        if (!one->used && one->nbytes >= nbytes && (!best || one->nbytes < best->nbytes))
            best = one;
    if (!best) {
        cl_mem memory;
        (void)release_smaller(device, nbytes); /* the new one is for their uses, too */
        if (make_buffer(device, nbytes, &memory))
            return -1;
        if (!(best = malloc(sizeof(*best)))) {
            tvm_cl.clReleaseMemObject(memory);
            return tvm_raise_out_of_memory();
        }
        *best = (struct opencl_workspace){device->workspaces, device, memory, nbytes, false};
        device->workspaces = best;
    }
    best->used = true;
    *out = best;
    return 0;
}

static int opencl_alloc_workspace(DLDevice id, size_t nbytes, void **out) {
    enum { PAGE = 4096 }; /* sizes differ less then */
    struct opencl_device *device;
    struct opencl_workspace *workspace = NULL;
    size_t size;
    if (tvm_opencl_open(id.device_id, &device))
        return -1;
    if (!tvm_size_align(nbytes + !nbytes, PAGE, &size))
        return tvm_raise(TVM_MEMORY_ERROR, "cannot allocate a workspace of %zu bytes", nbytes);
    pthread_mutex_lock(&device->mutex);
    int status = find_workspace(device, size, &workspace);
    pthread_mutex_unlock(&device->mutex);
    if (status)
        return -1;
    if (tvm_workspace_adopt(workspace->memory, release_workspace, workspace)) {
        release_workspace(workspace);
        return -1;
    }
    *out = workspace->memory;
    return 0;
}

static int opencl_free_workspace(DLDevice id, void *data) {
    (void)id;
    return tvm_workspace_free(data);
}

/* Copies */

static int finish(const struct opencl_device *device, cl_int code, const char *what,
                  size_t nbytes) {
    return code ? tvm_opencl_raise(code, "opencl(%d), %s: %s of %zu bytes", device->number,
                                   device->name, what, nbytes)
                : 0;
}

static int opencl_copy(struct tvm_place from, struct tvm_place to, size_t nbytes) {
    bool reads = to.device.device_type == kDLCPU, writes = from.device.device_type == kDLCPU;
    struct opencl_device *device;
    cl_int code = CL_SUCCESS;
    if (tvm_opencl_open(writes ? to.device.device_id : from.device.device_id, &device))
        return -1;
    if (writes)
        code = tvm_cl.clEnqueueWriteBuffer(device->queue, to.data, CL_TRUE, to.offset, nbytes,
                                           (char *)from.data + from.offset, 0, NULL, NULL);
    else if (reads)
        code = tvm_cl.clEnqueueReadBuffer(device->queue, from.data, CL_TRUE, from.offset, nbytes,
                                          (char *)to.data + to.offset, 0, NULL, NULL);
    else if (from.data != to.data || from.offset != to.offset) /* a program may copy onto itself */
        code = tvm_cl.clEnqueueCopyBuffer(device->queue, from.data, to.data, from.offset, to.offset,
                                          nbytes, 0, NULL, NULL);
    return finish(device, code, "copying", nbytes);
}

static int opencl_zero(struct tvm_place place, size_t nbytes) {
    static const unsigned char zero = 0;
    struct opencl_device *device;
    if (tvm_opencl_open(place.device.device_id, &device))
        return -1;
    cl_int code = tvm_cl.clEnqueueFillBuffer(device->queue, place.data, &zero, 1, place.offset,
                                             nbytes, 0, NULL, NULL);
    return finish(device, code, "zeroing", nbytes);
}

cl_int tvm_opencl_drain(struct opencl_device *device) {
    pthread_mutex_lock(&device->mutex); /* a launch may be compiling */
    cl_command_queue timed = device->timed_queue;
    pthread_mutex_unlock(&device->mutex);
    cl_int code = tvm_cl.clFinish(device->queue);
    cl_int timed_code = timed ? tvm_cl.clFinish(timed) : CL_SUCCESS;
    return code ? code : timed_code;
}

static int opencl_sync(DLDevice id) {
    struct opencl_device *device;
    if (tvm_opencl_open(id.device_id, &device))
        return -1;
    cl_int code = tvm_opencl_drain(device);
    return code ? tvm_opencl_raise(code, "opencl(%d), %s: what it was asked to do", id.device_id,
                                   device->name)
                : 0;
}

/* Attributes */

static int text_attribute(const char *text, struct tvm_value *out) {
    return tvm_value_from_text(TVM_TYPE_STR, text, strlen(text), out);
}

/* TVM's numbers of attributes that are no plain numbers. */
enum { WARP_SIZE = 2, COMPUTE_VERSION = 4, MAX_WORK_ITEMS = 8, API_VERSION = 11, DRIVER = 12 };

/* Those that are. */
static int number_attribute(cl_device_id id, int64_t kind, struct tvm_value *out) {
    static const struct {
        int kind, factor;
        cl_device_info info;
    } numbers[] = {
        {1, 1, CL_DEVICE_MAX_WORK_GROUP_SIZE},
        {3, 1, CL_DEVICE_LOCAL_MEM_SIZE},
        {6, 1000, CL_DEVICE_MAX_CLOCK_FREQUENCY}, /* TVM wants kHz */
        {TVM_DEVICE_PROCESSORS, 1, CL_DEVICE_MAX_COMPUTE_UNITS},
        {13, 1, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE},
        {TVM_DEVICE_MEMORY, 1, CL_DEVICE_GLOBAL_MEM_SIZE},
    };
    uint64_t number = 0; /* what has 4 bytes is its lower half: little-endian, as everything here */
    *out = tvm_none();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (numbers[i].kind == kind && tvm_cl.clGetDeviceInfo(id, numbers[i].info, sizeof(number),
                                                              &number, NULL) == CL_SUCCESS)
            *out = tvm_int((int64_t)number * numbers[i].factor);
    return 0;
}

static int opencl_attribute(DLDevice device, int64_t kind, struct tvm_value *out) {
    struct opencl_device *self;
    size_t items[16] = {0}; /* more dimensions than any device has */
    char text[100] = "";
    if (tvm_opencl_find(device.device_id, &self))
        return -1;
    switch (kind) {
    case TVM_DEVICE_EXISTS:
        *out = tvm_int(1);
        return 0;
    case TVM_DEVICE_NAME:
        return text_attribute(self->name, out);
    case WARP_SIZE:
        *out = tvm_int(getenv("TVM_OPENCL_WARP_SIZE") ? atoi(getenv("TVM_OPENCL_WARP_SIZE")) : 1);
        return 0;
    case COMPUTE_VERSION: /* "OpenCL 1.2 …" */
        tvm_opencl_text(self->id, CL_DEVICE_VERSION, text, sizeof(text));
        text[7 + strcspn(text + 7, " ")] = '\0';
        return text_attribute(text + 7, out);
    case MAX_WORK_ITEMS:
        tvm_cl.clGetDeviceInfo(self->id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof(items), items, NULL);
        snprintf(text, sizeof(text), "[%zu, %zu, %zu]", items[0], items[1], items[2]);
        return text_attribute(text, out);
    case API_VERSION:
        *out = tvm_int(CL_TARGET_OPENCL_VERSION);
        return 0;
    case DRIVER:
        return text_attribute(tvm_opencl_text(self->id, CL_DRIVER_VERSION, text, sizeof(text)),
                              out);
    default:
        return number_attribute(self->id, kind, out);
    }
}

const struct tvm_device_api tvm_opencl_device = {
    .type = kDLOpenCL,
    .name = "opencl",
    .count = tvm_opencl_count,
    .check = tvm_opencl_check,
    .select = tvm_opencl_select,
    .alloc = opencl_alloc,
    .free = opencl_free,
    .zero = opencl_zero,
    .copy = opencl_copy,
    .sync = opencl_sync,
    .start_timer = tvm_opencl_start_timer,
    .stop_timer = tvm_opencl_stop_timer,
    .alloc_workspace = opencl_alloc_workspace,
    .free_workspace = opencl_free_workspace,
    .attribute = opencl_attribute,
};
