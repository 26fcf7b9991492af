/* Compiled programs as bytes, which the host program keeps where it likes, in TVM's format: u64 n,
 * then n times a name (u64 length, text) and a binary (u64 length, bytes). A binary serves all
 * kernels that it has; TVM writes one for each kernel, and looks only for the kernel of its name.
 */
#include "device/opencl/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Argument index, a device id; 0 where it is left out. */
static int read_device(const struct tvm_call *call, int32_t index, struct opencl_device **out) {
    int64_t id = 0;
    if (call->count > index && tvm_call_int(call, index, "device id", &id))
        return -1;
    if (id < 0 || id > INT32_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "%s: no device has the id %lld", call->name,
                         (long long)id);
    return tvm_opencl_open((int)id, out) ? tvm_raise_context("%s", call->name) : 0;
}

static void put_bytes(FILE *stream, struct tvm_bytes bytes) {
    uint64_t size = bytes.size;
    fwrite(&size, sizeof(size), 1, stream);
    fwrite(bytes.data, 1, bytes.size, stream);
}

static const struct opencl_program *program_of(struct opencl_module *module, size_t kernel,
                                               const struct opencl_device *device) {
    struct opencl_built *_Atomic *place = &module->kernels[kernel].built[device->number];
    return atomic_load_explicit(place, memory_order_acquire)->program;
}

/* Whether kernel is the first one of its program. */
static bool is_first(struct opencl_module *module, size_t kernel,
                     const struct opencl_device *device) {
    size_t i = 0;
    while (program_of(module, i, device) != program_of(module, kernel, device))
        i++;
    return i == kernel;
}

/* Writes all programs; their kernels are built. */
static int put_programs(struct opencl_module *module, struct opencl_device *device, FILE *stream) {
    uint64_t count = 0;
    for (size_t i = 0; i < module->kernel_count; i++)
        count += is_first(module, i, device);
    fwrite(&count, sizeof(count), 1, stream);
    (void)tvm_opencl_drain(device);
    for (size_t i = 0; i < module->kernel_count; i++) {
        const char *name = module->kernels[i].name;
        struct tvm_bytes binary;
        if (!is_first(module, i, device))
            continue;
        if (tvm_opencl_program_binary(program_of(module, i, device), &binary))
            return -1;
        put_bytes(stream, (struct tvm_bytes){name, strlen(name)});
        put_bytes(stream, binary);
        free((char *)binary.data);
    }
    return 0;
}

static int get_programs(struct tvm_module *self, const struct tvm_call *call,
                        struct tvm_value *result) {
    struct opencl_module *module = (struct opencl_module *)self;
    struct opencl_device *device;
    struct opencl_built *built;
    if (tvm_call_check_count(call, 0, 1) || read_device(call, 0, &device))
        return -1;
    for (size_t i = 0; i < module->kernel_count; i++)
        if (tvm_opencl_build(module, &module->kernels[i], device, &built))
            return tvm_raise_context("%s: OpenCL kernel %.200s", call->name,
                                     module->kernels[i].name);
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return tvm_raise_out_of_memory();
    int status = put_programs(module, device, stream);
    bool full = ferror(stream);
    if ((fclose(stream) || full) && status == 0)
        status = tvm_raise_out_of_memory();
    if (status == 0)
        status = tvm_value_from_text(TVM_TYPE_BYTES, text, size, result);
    free(text);
    return status;
}

static bool has_kernel(const struct opencl_module *module, struct tvm_bytes name) {
    for (size_t i = 0; i < module->kernel_count; i++)
        if (strlen(module->kernels[i].name) == name.size &&
            memcmp(module->kernels[i].name, name.data, name.size) == 0)
            return true;
    return false;
}

/* Reads what put_programs wrote. Without a device it only checks that. */
static int read_programs(struct tvm_bytes bytes, const struct opencl_module *module,
                         struct opencl_device *device, struct opencl_program **list) {
    struct tvm_reader reader = {
        .data = (const unsigned char *)bytes.data, .size = bytes.size, .name = "compiled programs"};
    size_t count;
    if (tvm_read_count(&reader, "programs", 16, &count))
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct tvm_bytes name, binary;
        struct opencl_program *program;
        if (tvm_read_string(&reader, "name of a kernel", &name) ||
            tvm_read_string(&reader, "compiled program", &binary))
            return -1;
        if (!has_kernel(module, name))
            return tvm_reader_fail(&reader,
                                   "a program is of the kernel \"%.*s\", which is not one "
                                   "of the module's",
                                   name.size < 200 ? (int)name.size : 200, name.data);
        if (!device)
            continue;
        if (tvm_opencl_program_from_binary(device, binary, &program))
            return tvm_raise_context("OpenCL kernel %.*s", name.size < 200 ? (int)name.size : 200,
                                     name.data);
        program->next = *list;
        *list = program;
    }
    return tvm_reader_left(&reader)
               ? tvm_reader_fail(&reader, "%zu bytes are left", tvm_reader_left(&reader))
               : 0;
}

/* Adds program to the module's; what it has beyond the module's kernels stays unused. */
static void add_program(struct opencl_module *module, struct opencl_program *program) {
    pthread_mutex_lock(&module->mutex);
    program->next = module->programs;
    module->programs = program;
    tvm_opencl_adopt(module, program);
    pthread_mutex_unlock(&module->mutex);
}

static int set_programs(struct tvm_module *self, const struct tvm_call *call,
                        struct tvm_value *result) {
    struct opencl_module *module = (struct opencl_module *)self;
    struct opencl_program *programs = NULL;
    struct opencl_device *device;
    struct tvm_bytes bytes;
    (void)result;
    if (tvm_call_check_count(call, 1, 2) || tvm_call_text(call, 0, "programs", &bytes) ||
        read_device(call, 1, &device))
        return -1;
    int status = read_programs(bytes, module, NULL, NULL);
    if (status == 0)
        status = read_programs(bytes, module, device, &programs);
    for (struct opencl_program *program = programs, *next; program; program = next) {
        next = program->next;
        if (status)
            tvm_opencl_program_free(program);
        else
            add_program(module, program);
    }
    return status ? tvm_raise_context("%s", call->name) : 0;
}

const struct tvm_module_method tvm_opencl_precompiled[] = {
    {"opencl.GetPreCompiledPrograms", get_programs},
    {"opencl.SetPreCompiledPrograms", set_programs},
    {NULL, NULL},
};
