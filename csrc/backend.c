/* Functions that compiled models call (include/tvm_runtime.h); the parallel ones are in
 * base/threads.c and the half-float helpers in module/half.c. */
#include "include/tvm_runtime.h"

#include "base/checked.h"
#include "base/context.h"
#include "base/device.h"
#include "base/threads.h"
#include "module/library.h"
#include "module/system_library.h"

int TVMBackendGetFuncFromEnv(void *module_context, const char *name, TVMFunctionHandle *out) {
    struct tvm_function *function;
    if (tvm_library_env_function(module_context, name, &function))
        return -1;
    /* Compiled code may pass a static variable that several threads fill at once. */
    __atomic_store_n(out, function, __ATOMIC_RELEASE);
    return 0;
}

void *TVMBackendAllocWorkspace(int device_type, int device_id, uint64_t nbytes, int dtype_code_hint,
                               int dtype_bits_hint) {
    const struct tvm_device_api *api;
    DLDevice device = {(DLDeviceType)device_type, device_id};
    void *data;
    size_t size;
    (void)dtype_code_hint, (void)dtype_bits_hint;
    if (!tvm_size_from(nbytes, &size)) {
        tvm_raise_out_of_memory();
        return NULL;
    }
    if (tvm_device_get(device, &api) || api->alloc_workspace(device, size, &data))
        return NULL;
    return data;
}

int TVMBackendFreeWorkspace(int device_type, int device_id, void *data) {
    const struct tvm_device_api *api;
    DLDevice device = {(DLDeviceType)device_type, device_id};
    if (tvm_device_get(device, &api))
        return -1;
    return api->free_workspace(device, data);
}

int TVMBackendRegisterSystemLibSymbol(const char *name, void *symbol) {
    return tvm_system_register(name, symbol);
}

int TVMBackendRunOnce(void **handle, int (*function)(void *closure), void *closure, int nbytes) {
    (void)nbytes;
    if (__atomic_load_n(handle, __ATOMIC_ACQUIRE))
        return 0;
    int status = 0;
    tvm_init_lock();
    if (!*handle && (status = function(closure)) == 0)
        __atomic_store_n(handle, (void *)1, __ATOMIC_RELEASE);
    tvm_init_unlock();
    return status;
}
