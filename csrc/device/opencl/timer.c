/* Times that kernels take. The kernels that a thread launches while it has a timer go to a queue of
 * their own, which notes times, and are waited for one by one: so the other queue, that of all
 * other kernels and copies, need not note any, and each queue finds the memory as if there was
 * only one. */
#include "device/opencl/runtime.h"

#include <stdlib.h>

struct timer {
    struct timer *outer;
    struct opencl_device *device;
    int64_t nanos;
};

/* The one that this thread started last. */
static _Thread_local struct timer *innermost;

static int make_queue(struct opencl_device *device) {
    cl_int code = CL_SUCCESS;
    pthread_mutex_lock(&device->mutex);
    if (!device->timed_queue)
        device->timed_queue = tvm_cl.clCreateCommandQueue(device->context, device->id,
                                                          CL_QUEUE_PROFILING_ENABLE, &code);
    pthread_mutex_unlock(&device->mutex);
    return code ? tvm_opencl_raise(code, "opencl(%d), %s: no queue that notes times",
                                   device->number, device->name)
                : 0;
}

int tvm_opencl_start_timer(DLDevice id, void **out) {
    struct opencl_device *device;
    if (tvm_opencl_open(id.device_id, &device) || make_queue(device))
        return -1;
    struct timer *timer = malloc(sizeof(*timer));
    if (!timer)
        return tvm_raise_out_of_memory();
    *timer = (struct timer){.outer = innermost, .device = device};
    *out = innermost = timer;
    return 0;
}

int tvm_opencl_stop_timer(void *self, int64_t *nanos) {
    struct timer *timer = self;
    *nanos = timer->nanos;
    innermost = timer->outer;
    free(timer);
    return 0;
}

int tvm_opencl_begin_launch(const struct opencl_device *device, cl_command_queue *out) {
    const struct timer *timer = innermost;
    while (timer && timer->device != device)
        timer = timer->outer;
    *out = device->queue;
    if (!timer)
        return 0;
    *out = device->timed_queue;
    cl_int code = tvm_cl.clFinish(device->queue); /* whose results the kernel may want */
    return code ? tvm_opencl_raise(code, "opencl(%d), %s: what it was asked to do", device->number,
                                   device->name)
                : 0;
}

int tvm_opencl_end_launch(const struct opencl_device *device, cl_event event) {
    cl_ulong start = 0, end = 0;
    cl_int code = tvm_cl.clWaitForEvents(1, &event);
    if (code == CL_SUCCESS)
        code = tvm_cl.clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof(start),
                                              &start, NULL);
    if (code == CL_SUCCESS)
        code = tvm_cl.clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof(end), &end,
                                              NULL);
    tvm_cl.clReleaseEvent(event);
    if (code)
        return tvm_opencl_raise(code, "opencl(%d), %s: the time of a kernel", device->number,
                                device->name);
    for (struct timer *it = innermost; it; it = it->outer)
        if (it->device == device && end > start)
            it->nanos += (int64_t)(end - start);
    return 0;
}
