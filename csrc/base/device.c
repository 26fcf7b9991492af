#include "base/device.h"

#include <stdio.h>
#include <stdlib.h>

/* Names of the kinds that TVM numbers, for messages about those that this build cannot use. */
static const char *kind_name(int type) {
    static const struct {
        int type;
        const char *name;
    } kinds[] = {
        {1, "cpu"},           {2, "cuda"},    {3, "cuda_host"}, {4, "opencl"},     {7, "vulkan"},
        {8, "metal"},         {9, "vpi"},     {10, "rocm"},     {11, "rocm_host"}, {12, "ext_dev"},
        {13, "cuda_managed"}, {14, "oneapi"}, {15, "webgpu"},   {16, "hexagon"},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].type == type)
            return kinds[i].name;
    return NULL;
}

const char *tvm_device_print(DLDevice device, char *buffer) {
    const char *name = kind_name((int)device.device_type);
    if (name)
        snprintf(buffer, TVM_DEVICE_TEXT_SIZE, "%s(%d)", name, device.device_id);
    else
        snprintf(buffer, TVM_DEVICE_TEXT_SIZE, "device type %d(%d)", (int)device.device_type,
                 device.device_id);
    return buffer;
}

int tvm_device_get(DLDevice device, const struct tvm_device_api **out) {
    char text[TVM_DEVICE_TEXT_SIZE];
    for (const struct tvm_device_api *const *api = tvm_devices; *api; api++) {
        if ((*api)->type != device.device_type)
            continue;
        *out = *api;
        return (*api)->check(device);
    }
    return tvm_raise(TVM_TYPE_ERROR, "%s: this runtime has no support for such a device",
                     tvm_device_print(device, text));
}

/* Between two devices that do not know each other: through host memory. */
static int copy_through_host(const struct tvm_device_api *from_api, struct tvm_place from,
                             const struct tvm_device_api *to_api, struct tvm_place to,
                             size_t nbytes) {
    struct tvm_place host = {.device = {kDLCPU, 0}, .data = malloc(nbytes)};
    if (!host.data)
        return tvm_raise_out_of_memory();
    int status = from_api->copy(from, host, nbytes);
    if (status == 0)
        status = to_api->copy(host, to, nbytes);
    free(host.data);
    return status;
}

int tvm_device_copy(struct tvm_place from, struct tvm_place to, size_t nbytes) {
    const struct tvm_device_api *from_api, *to_api;
    if (tvm_device_get(from.device, &from_api) || tvm_device_get(to.device, &to_api))
        return -1;
    if (nbytes == 0)
        return 0;
    if (!from.data || !to.data)
        return tvm_raise(TVM_VALUE_ERROR, "the %s of a copy of %zu bytes is NULL",
                         from.data ? "target" : "source", nbytes);
    if (tvm_device_equal(from.device, to.device) || from_api->type == kDLCPU)
        return to_api->copy(from, to, nbytes);
    if (to_api->type == kDLCPU)
        return from_api->copy(from, to, nbytes);
    return copy_through_host(from_api, from, to_api, to, nbytes);
}
