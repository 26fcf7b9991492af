#include "builtins.h"

#include "base/container.h"
#include "base/device.h"
#include "base/module.h"
#include "base/threads.h"

#include <stdlib.h>
#include <string.h>

int tvm_builtin_set_device(const struct tvm_call *call, struct tvm_value *result) {
    const struct tvm_device_api *api;
    DLDevice device;
    (void)result;
    if (tvm_call_device(call, 0, &device) || tvm_device_get(device, &api))
        return -1;
    return api->select ? api->select(device) : 0;
}

int tvm_builtin_device_attribute(const struct tvm_call *call, struct tvm_value *result) {
    const struct tvm_device_api *api;
    DLDevice device;
    int64_t kind;
    if (tvm_call_device(call, 0, &device) || tvm_call_int(call, 2, "attribute", &kind))
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

int tvm_builtin_module_type_key(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_module *module;
    if (tvm_call_object(call, 0, "module", TVM_TYPE_MODULE, &module))
        return -1;
    return tvm_value_from_text(TVM_TYPE_STR, module->kind->key, strlen(module->kind->key), result);
}

int tvm_builtin_module_get_function(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_module *module;
    struct tvm_function *function;
    int64_t imports;
    char *name;
    if (tvm_call_object(call, 0, "module", TVM_TYPE_MODULE, &module) ||
        tvm_call_int(call, 2, "imports", &imports) || tvm_call_string(call, 1, "name", &name))
        return -1;
    int status = tvm_module_get_function(module, name, imports != 0, &function);
    free(name);
    if (status == 0)
        *result = tvm_from_object(function);
    return status;
}

int tvm_builtin_shape(const struct tvm_call *call, struct tvm_value *result) {
    int64_t dims[TVM_BUILTIN_SHAPE_DIMS];
    struct tvm_shape *shape;
    for (int32_t i = 0; i < call->count; i++)
        if (tvm_call_int(call, i, "dimension", &dims[i]))
            return -1;
    if (tvm_shape_new(dims, (size_t)call->count, &shape))
        return -1;
    *result = tvm_from_object(shape);
    return 0;
}

int tvm_builtin_runtime_enabled(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_bytes name;
    if (tvm_call_text(call, 0, "name", &name))
        return -1;
    bool enabled = tvm_bytes_is(name, "llvm") || tvm_bytes_is(name, "c");
    for (const struct tvm_device_api *const *api = tvm_devices; *api; api++)
        enabled |= tvm_bytes_is(name, (*api)->name);
    *result = tvm_int(enabled);
    return 0;
}

int tvm_builtin_config_threadpool(const struct tvm_call *call, struct tvm_value *result) {
    int64_t mode, threads;
    (void)result;
    if (tvm_call_int(call, 0, "mode", &mode) || tvm_call_int(call, 1, "threads", &threads))
        return -1;
    if (threads < 0 || threads > INT32_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "%s: threads: expected 0 or more, got %lld", call->name,
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

int tvm_builtin_array_size(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_array *array;
    if (tvm_call_object(call, 0, "array", TVM_TYPE_ARRAY, &array))
        return -1;
    *result = tvm_int(array->size);
    return 0;
}

int tvm_builtin_array_item(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_array *array;
    int64_t index;
    if (tvm_call_object(call, 0, "array", TVM_TYPE_ARRAY, &array) ||
        read_index(call, array->size, &index))
        return -1;
    return tvm_value_own(&array->items[index], result);
}

int tvm_builtin_map_size(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_map *map;
    if (tvm_call_object(call, 0, "map", TVM_TYPE_MAP, &map))
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

int tvm_builtin_map_count(const struct tvm_call *call, struct tvm_value *result) {
    const struct tvm_value *found;
    struct tvm_bytes key;
    if (find_in_map(call, &key, &found))
        return -1;
    *result = tvm_int(found != NULL);
    return 0;
}

int tvm_builtin_map_item(const struct tvm_call *call, struct tvm_value *result) {
    const struct tvm_value *found;
    struct tvm_bytes key;
    if (find_in_map(call, &key, &found))
        return -1;
    if (!found)
        return tvm_raise(TVM_NOT_FOUND_ERROR, "%s: the map has no key %.*s", call->name,
                         (int)(key.size < 200 ? key.size : 200), key.data);
    return tvm_value_own(found, result);
}

int tvm_builtin_shape_size(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_shape *shape;
    if (tvm_call_object(call, 0, "shape", TVM_TYPE_SHAPE, &shape))
        return -1;
    *result = tvm_int((int64_t)shape->size);
    return 0;
}

int tvm_builtin_shape_item(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_shape *shape;
    int64_t index;
    if (tvm_call_object(call, 0, "shape", TVM_TYPE_SHAPE, &shape) ||
        read_index(call, (int64_t)shape->size, &index))
        return -1;
    *result = tvm_int(shape->data[index]);
    return 0;
}
