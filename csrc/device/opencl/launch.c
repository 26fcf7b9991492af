/* Launching kernels. */
#include "base/checked.h"
#include "device/opencl/runtime.h"

#include <stdlib.h>

struct launcher {
    struct opencl_module *module; /* owned */
    struct opencl_kernel *kernel;
};

/* An argument as the kernel wants it. */
union argument {
    void *buffer;
    int64_t int64;
    int32_t int32;
    double float64;
    float float32;
};

static int fail_type(const struct tvm_value *value, size_t index, const char *expected) {
    return tvm_raise(TVM_TYPE_ERROR, "argument %zu: expected %s, got %s", index, expected,
                     tvm_type_name(value->type_index));
}

static int convert_number(const struct tvm_value *value, size_t index, DLDataType type,
                          union argument *out) {
    bool is_float = value->type_index == TVM_TYPE_FLOAT;
    bool is_int = value->type_index == TVM_TYPE_INT || value->type_index == TVM_TYPE_BOOL;
    if (!is_int && !(is_float && type.code == kDLFloat))
        return fail_type(value, index, type.code == kDLFloat ? "float" : "int");
    if (type.code == kDLFloat) {
        double number = is_float ? value->v_float : (double)value->v_int;
        if (type.bits == 64)
            out->float64 = number;
        else
            out->float32 = (float)number;
    } else if (type.bits == 64) {
        out->int64 = value->v_int;
    } else {
        out->int32 = (int32_t)value->v_int; /* of a uint32 too: the lower bits */
    }
    return 0;
}

/* Sets parameter index. The device is locked. */
static int set_argument(cl_kernel kernel, size_t index, DLDataType type,
                        const struct tvm_value *value) {
    union argument argument;
    size_t size = type.bits / 8;
    if (type.code == kTVMOpaqueHandle) {
        size = sizeof(cl_mem);
        argument.buffer = NULL;
        if (value->type_index == TVM_TYPE_OPAQUE_PTR)
            argument.buffer = value->v_ptr;
        else if (value->type_index != TVM_TYPE_NONE)
            return fail_type(value, index, "a buffer");
    } else if (convert_number(value, index, type, &argument)) {
        return -1;
    }
    cl_int code = tvm_cl.clSetKernelArg(kernel, (cl_uint)index, size, &argument);
    return code ? tvm_opencl_raise(code, "argument %zu", index) : 0;
}

/* The number of work items in each direction, of all and of a group. */
struct range {
    cl_uint dims;
    size_t global[3], local[3];
};

static int set_range(const struct opencl_kernel *kernel, const struct tvm_value *args,
                     struct range *out) {
    size_t sizes[6] = {1, 1, 1, 1, 1, 1}; /* grid, block */
    *out = (struct range){.dims = 1};
    for (size_t i = 0; i < kernel->slot_count; i++) {
        unsigned slot = kernel->slots[i];
        if (args[i].type_index != TVM_TYPE_INT)
            return fail_type(&args[i], kernel->type_count + i, "int");
        int64_t size = args[i].v_int;
        if (size < 0 || !tvm_size_from(size ? (uint64_t)size : 1, &sizes[slot]))
            return tvm_raise(TVM_VALUE_ERROR, "a %s of %lld", slot < 3 ? "grid" : "work group",
                             (long long)size);
        if (slot % 3 + 1 > out->dims)
            out->dims = slot % 3 + 1;
    }
    for (size_t axis = 0; axis < 3; axis++) {
        out->local[axis] = sizes[axis + 3];
        if (!tvm_size_mul(sizes[axis], sizes[axis + 3], &out->global[axis]))
            return tvm_raise(TVM_VALUE_ERROR, "a grid of %zu work groups of %zu", sizes[axis],
                             sizes[axis + 3]);
    }
    return 0;
}

static int check_group(const struct range *range, const struct opencl_built *built,
                       const struct opencl_device *device) {
    size_t items;
    if (tvm_size_mul(range->local[0], range->local[1], &items) &&
        tvm_size_mul(items, range->local[2], &items) && items <= built->max_work_items)
        return 0;
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "it wants work groups of %zu x %zu x %zu, but opencl(%d), %s, takes at most "
                     "%zu items in one of its groups: compile the model with a smaller "
                     "-max_num_threads of target opencl",
                     range->local[0], range->local[1], range->local[2], device->number,
                     device->name, built->max_work_items);
}

/* The device is locked. */
static int enqueue(const struct opencl_kernel *kernel, const struct opencl_built *built,
                   const struct opencl_device *device, cl_command_queue queue,
                   const struct tvm_value *args, const struct range *range, cl_event *event) {
    for (size_t i = 0; i < kernel->type_count; i++)
        if (set_argument(built->kernel, i, kernel->types[i], &args[i]))
            return -1;
    cl_int code = tvm_cl.clEnqueueNDRangeKernel(queue, built->kernel, range->dims, NULL,
                                                range->global, range->local, 0, NULL, event);
    return code ? tvm_opencl_raise(code, "opencl(%d), %s: launch of %zu x %zu x %zu work items",
                                   device->number, device->name, range->global[0], range->global[1],
                                   range->global[2])
                : 0;
}

static int launch(struct launcher *launcher, const struct tvm_value *args, int32_t count) {
    struct opencl_kernel *kernel = launcher->kernel;
    size_t expected = kernel->type_count + kernel->slot_count + kernel->has_dynamic_memory;
    struct opencl_device *device;
    struct opencl_built *built;
    struct range range;
    cl_command_queue queue;
    cl_event event;
    if (count < 0 || (size_t)count != expected)
        return tvm_raise(TVM_VALUE_ERROR, "expected %zu arguments, got %d", expected, count);
    if (set_range(kernel, args + kernel->type_count, &range) ||
        tvm_opencl_open(tvm_opencl_selected(), &device) ||
        tvm_opencl_build(launcher->module, kernel, device, &built) ||
        check_group(&range, built, device) || tvm_opencl_begin_launch(device, &queue))
        return -1;
    bool timed = queue != device->queue;
    pthread_mutex_lock(&device->mutex);
    int status = enqueue(kernel, built, device, queue, args, &range, timed ? &event : NULL);
    pthread_mutex_unlock(&device->mutex);
    return status == 0 && timed ? tvm_opencl_end_launch(device, event) : status;
}

static int call(void *self, const struct tvm_value *args, int32_t count, struct tvm_value *result) {
    struct launcher *launcher = ((struct tvm_function *)self)->resource;
    (void)result;
    return launch(launcher, args, count)
               ? tvm_raise_context("OpenCL kernel %.200s", launcher->kernel->name)
               : 0;
}

static void launcher_free(void *resource) {
    struct launcher *launcher = resource;
    tvm_object_release(&launcher->module->module.object);
    free(launcher);
}

int tvm_opencl_launcher_new(struct opencl_module *module, struct opencl_kernel *kernel,
                            struct tvm_function **out) {
    struct launcher *launcher = malloc(sizeof(*launcher));
    if (!launcher)
        return tvm_raise_out_of_memory();
    *launcher = (struct launcher){module, kernel};
    tvm_object_retain(&module->module.object);
    if (tvm_function_new(call, launcher, launcher_free, out) == 0)
        return 0;
    launcher_free(launcher);
    return -1;
}
