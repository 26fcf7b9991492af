#include "builtins.h"

#include "base/device.h"
#include "base/module.h"
#include "base/threads.h"

#include <string.h>

/* A device from arguments 0 and 1. */
static int read_device(const struct tvm_call *call, DLDevice *out) {
    int64_t type, id;
    if (tvm_call_int(call, 0, "device type", &type) || tvm_call_int(call, 1, "device id", &id))
        return -1;
    if (type < 0 || type > INT32_MAX || id < 0 || id > INT32_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "%s: no device has type %lld and id %lld", call->name,
                         (long long)type, (long long)id);
    *out = (DLDevice){(DLDeviceType)type, (int)id};
    return 0;
}

int tvm_builtin_set_device(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    struct tvm_call call = {"__tvm_set_device", args, count};
    const struct tvm_device_api *api;
    DLDevice device;
    (void)self, (void)result;
    if (read_device(&call, &device))
        return -1;
    return tvm_device_get(device, &api);
}

int tvm_builtin_device_attribute(void *self, const struct tvm_value *args, int32_t count,
                                 struct tvm_value *result) {
    struct tvm_call call = {"runtime.GetDeviceAttr", args, count};
    const struct tvm_device_api *api;
    DLDevice device;
    int64_t kind;
    (void)self;
    if (tvm_call_check_count(&call, 3, 3) || read_device(&call, &device) ||
        tvm_call_int(&call, 2, "attribute", &kind))
        return -1;
    if (tvm_device_get(device, &api) == 0)
        return api->attribute(device, kind, result);
    if (kind != 0)
        return -1;
    struct tvm_error *absent = tvm_error_take();
    tvm_object_release(&absent->object);
    *result = tvm_int(0);
    return 0;
}

int tvm_builtin_module_type_key(void *self, const struct tvm_value *args, int32_t count,
                                struct tvm_value *result) {
    struct tvm_call call = {"runtime.ModuleGetTypeKey", args, count};
    struct tvm_module *module;
    (void)self;
    if (tvm_call_check_count(&call, 1, 1) ||
        tvm_call_object(&call, 0, "module", TVM_TYPE_MODULE, &module))
        return -1;
    return tvm_value_from_text(TVM_TYPE_STR, module->kind->key, strlen(module->kind->key), result);
}

static bool text_is(struct tvm_bytes text, const char *expected) {
    return text.size == strlen(expected) && memcmp(text.data, expected, text.size) == 0;
}

int tvm_builtin_runtime_enabled(void *self, const struct tvm_value *args, int32_t count,
                                struct tvm_value *result) {
    struct tvm_call call = {"runtime.RuntimeEnabled", args, count};
    struct tvm_bytes name;
    (void)self;
    if (tvm_call_check_count(&call, 1, 1) || tvm_call_text(&call, 0, "name", &name))
        return -1;
    bool enabled = text_is(name, "llvm") || text_is(name, "c");
    for (const struct tvm_device_api *const *api = tvm_devices; *api; api++)
        enabled |= text_is(name, (*api)->name);
    *result = tvm_int(enabled);
    return 0;
}

int tvm_builtin_config_threadpool(void *self, const struct tvm_value *args, int32_t count,
                                  struct tvm_value *result) {
    struct tvm_call call = {"runtime.config_threadpool", args, count};
    int64_t mode, threads;
    (void)self, (void)result;
    if (tvm_call_int(&call, 0, "mode", &mode) || tvm_call_int(&call, 1, "threads", &threads))
        return -1;
    if (threads < 0 || threads > INT32_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "%s: threads: expected 0 or more, got %lld", call.name,
                         (long long)threads);
    return tvm_pool_set_size((int)threads);
}
