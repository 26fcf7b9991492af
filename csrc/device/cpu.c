#include "device/cpu.h"

#include "base/checked.h"
#include "base/context.h"
#include "base/os.h"
#include "base/threads.h"

#include <stdlib.h>
#include <string.h>

static int cpu_count(void) {
    return 1;
}

static int cpu_check(DLDevice device) {
    if (device.device_id >= 0)
        return 0;
    return tvm_raise(TVM_VALUE_ERROR, "cpu(%d): device ids begin at 0", device.device_id);
}

static int cpu_alloc(DLDevice device, size_t nbytes, void **out) {
    (void)device;
    size_t size;
    if (!tvm_size_align(nbytes, TVM_ALIGNMENT, &size) ||
        !(*out = aligned_alloc(TVM_ALIGNMENT, size)))
        return tvm_raise(TVM_MEMORY_ERROR, "cannot allocate %zu bytes", nbytes);
    return 0;
}

static void cpu_free(DLDevice device, void *data) {
    (void)device;
    free(data);
}

static int cpu_zero(struct tvm_place place, size_t nbytes) {
    memset((char *)place.data + place.offset, 0, nbytes);
    return 0;
}

static int cpu_copy(struct tvm_place from, struct tvm_place to, size_t nbytes) {
    /* memmove: a program may copy an array onto itself. */
    memmove((char *)to.data + to.offset, (const char *)from.data + from.offset, nbytes);
    return 0;
}

static int cpu_sync(DLDevice device) {
    (void)device;
    return 0;
}

static int cpu_alloc_workspace(DLDevice device, size_t nbytes, void **out) {
    (void)device;
    return tvm_workspace_alloc(nbytes, out);
}

static int cpu_free_workspace(DLDevice device, void *data) {
    (void)device;
    return tvm_workspace_free(data);
}

static int cpu_attribute(DLDevice device, int64_t kind, struct tvm_value *out) {
    char name[TVM_OS_CPU_NAME_SIZE];
    (void)device;
    switch (kind) {
    case TVM_DEVICE_EXISTS:
        *out = tvm_int(1);
        return 0;
    case TVM_DEVICE_NAME:
        tvm_os_cpu_name(name);
        return tvm_value_from_text(TVM_TYPE_STR, name, strlen(name), out);
    case TVM_DEVICE_PROCESSORS:
        *out = tvm_int(tvm_pool_size());
        return 0;
    case TVM_DEVICE_MEMORY:
        *out = tvm_int(tvm_os_memory_size());
        return 0;
    default:
        *out = tvm_none();
        return 0;
    }
}

const struct tvm_device_api tvm_cpu_device = {
    .type = kDLCPU,
    .name = "cpu",
    .addressable = true,
    .count = cpu_count,
    .check = cpu_check,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .zero = cpu_zero,
    .copy = cpu_copy,
    .sync = cpu_sync,
    .alloc_workspace = cpu_alloc_workspace,
    .free_workspace = cpu_free_workspace,
    .attribute = cpu_attribute,
};
