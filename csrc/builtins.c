#include "builtins.h"

#include "base/container.h"
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
    if (read_device(&call, &device) || tvm_device_get(device, &api))
        return -1;
    return api->select ? api->select(device) : 0;
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
    struct tvm_error *before = tvm_error_take();
    int status = tvm_device_get(device, &api);
    if (status && kind != 0)
        return tvm_error_settle(before, status, NULL);
    tvm_error_drop(before);
    if (status == 0)
        return api->attribute(device, kind, result);
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

int tvm_builtin_module_get_function(void *self, const struct tvm_value *args, int32_t count,
                                    struct tvm_value *result) {
    struct tvm_call call = {"ffi.ModuleGetFunction", args, count};
    struct tvm_module *module;
    struct tvm_function *function;
    struct tvm_bytes name;
    int64_t imports;
    char text[512]; /* longer than any name that a compiler makes */
    (void)self;
    if (tvm_call_check_count(&call, 3, 3) ||
        tvm_call_object(&call, 0, "module", TVM_TYPE_MODULE, &module) ||
        tvm_call_text(&call, 1, "name", &name) || tvm_call_int(&call, 2, "imports", &imports))
        return -1;
    if (name.size >= sizeof(text) || memchr(name.data, 0, name.size))
        return tvm_raise(TVM_VALUE_ERROR, "%s: a name of %zu bytes", call.name, name.size);
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    if (tvm_module_get_function(module, text, imports != 0, &function))
        return -1;
    *result = tvm_from_object(function);
    return 0;
}

int tvm_builtin_shape(void *self, const struct tvm_value *args, int32_t count,
                      struct tvm_value *result) {
    struct tvm_call call = {"ffi.Shape", args, count};
    int64_t dims[64];
    struct tvm_shape *shape;
    (void)self;
    if (tvm_call_check_count(&call, 0, sizeof(dims) / sizeof(*dims)))
        return -1;
    for (int32_t i = 0; i < count; i++)
        if (tvm_call_int(&call, i, "dimension", &dims[i]))
            return -1;
    if (tvm_shape_new(dims, (size_t)count, &shape))
        return -1;
    *result = tvm_from_object(shape);
    return 0;
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

/* Argument 0, a container, and argument 1, an index below size. */
static int read_index(const struct tvm_call *call, int64_t size, int64_t *out) {
    if (tvm_call_int(call, 1, "index", out))
        return -1;
    if (*out < 0 || *out >= size)
        return tvm_raise(TVM_INDEX_ERROR, "%s: index %lld: there are %lld items", call->name,
                         (long long)*out, (long long)size);
    return 0;
}

int tvm_builtin_array_size(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    struct tvm_call call = {"runtime.ArraySize", args, count};
    struct tvm_array *array;
    (void)self;
    if (tvm_call_object(&call, 0, "array", TVM_TYPE_ARRAY, &array))
        return -1;
    *result = tvm_int(array->size);
    return 0;
}

int tvm_builtin_array_item(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    struct tvm_call call = {"runtime.ArrayGetItem", args, count};
    struct tvm_array *array;
    int64_t index;
    (void)self;
    if (tvm_call_object(&call, 0, "array", TVM_TYPE_ARRAY, &array) ||
        read_index(&call, array->size, &index))
        return -1;
    return tvm_value_own(&array->items[index], result);
}

int tvm_builtin_map_size(void *self, const struct tvm_value *args, int32_t count,
                         struct tvm_value *result) {
    struct tvm_call call = {"runtime.MapSize", args, count};
    struct tvm_map *map;
    (void)self;
    if (tvm_call_object(&call, 0, "map", TVM_TYPE_MAP, &map))
        return -1;
    *result = tvm_int((int64_t)map->size);
    return 0;
}

/* Arguments 0 and 1, a map and a key, as the value found there or NULL. */
static int find_in_map(const struct tvm_call *call, struct tvm_bytes *key,
                       const struct tvm_value **out) {
    struct tvm_map *map;
    if (tvm_call_object(call, 0, "map", TVM_TYPE_MAP, &map) || tvm_call_text(call, 1, "key", key))
        return -1;
    *out = tvm_map_find(map, *key);
    return 0;
}

int tvm_builtin_map_count(void *self, const struct tvm_value *args, int32_t count,
                          struct tvm_value *result) {
    struct tvm_call call = {"runtime.MapCount", args, count};
    const struct tvm_value *found;
    struct tvm_bytes key;
    (void)self;
    if (find_in_map(&call, &key, &found))
        return -1;
    *result = tvm_int(found != NULL);
    return 0;
}

int tvm_builtin_map_item(void *self, const struct tvm_value *args, int32_t count,
                         struct tvm_value *result) {
    struct tvm_call call = {"runtime.MapGetItem", args, count};
    const struct tvm_value *found;
    struct tvm_bytes key;
    (void)self;
    if (find_in_map(&call, &key, &found))
        return -1;
    if (!found)
        return tvm_raise(TVM_NOT_FOUND_ERROR, "%s: the map has no key %.*s", call.name,
                         (int)(key.size < 200 ? key.size : 200), key.data);
    return tvm_value_own(found, result);
}

int tvm_builtin_shape_size(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    struct tvm_call call = {"runtime.GetShapeTupleSize", args, count};
    struct tvm_shape *shape;
    (void)self;
    if (tvm_call_object(&call, 0, "shape", TVM_TYPE_SHAPE, &shape))
        return -1;
    *result = tvm_int((int64_t)shape->size);
    return 0;
}

int tvm_builtin_shape_item(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    struct tvm_call call = {"runtime.GetShapeTupleElem", args, count};
    struct tvm_shape *shape;
    int64_t index;
    (void)self;
    if (tvm_call_object(&call, 0, "shape", TVM_TYPE_SHAPE, &shape) ||
        read_index(&call, (int64_t)shape->size, &index))
        return -1;
    *result = tvm_int(shape->data[index]);
    return 0;
}
