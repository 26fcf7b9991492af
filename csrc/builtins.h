/* Functions of the runtime that clients find by name; csrc/tables.c lists the names. */
#ifndef TVM_BUILTINS_H
#define TVM_BUILTINS_H

#include "base/function.h"

/* __tvm_set_device(device type, device id): compiled code calls it before kernels of a device. */
tvm_builtin_call tvm_builtin_set_device;

/* runtime.GetDeviceAttr(device type, device id, attribute): attribute 0 is 1 where the device is
 * there and 0 where not; others as the device has them, or null. */
tvm_builtin_call tvm_builtin_device_attribute;

/* runtime.ModuleGetTypeKey(module): TVM's name for the module's kind. */
tvm_builtin_call tvm_builtin_module_type_key;

/* ffi.ModuleGetFunction(module, name, query imports): a function, or null. */
tvm_builtin_call tvm_builtin_module_get_function;

/* ffi.Shape(dimension, …), of at most so many */
enum { TVM_BUILTIN_SHAPE_DIMS = 64 };
tvm_builtin_call tvm_builtin_shape;

/* runtime.RuntimeEnabled(name of a device or target kind): 1 or 0. */
tvm_builtin_call tvm_builtin_runtime_enabled;

/* Access to containers: runtime.ArraySize(array), ArrayGetItem(array, index), MapSize(map),
 * MapCount(map, key), MapGetItem(map, key), GetShapeTupleSize(shape), GetShapeTupleElem(shape,
 * index). */
tvm_builtin_call tvm_builtin_array_size;
tvm_builtin_call tvm_builtin_array_item;
tvm_builtin_call tvm_builtin_map_size;
tvm_builtin_call tvm_builtin_map_count;
tvm_builtin_call tvm_builtin_map_item;
tvm_builtin_call tvm_builtin_shape_size;
tvm_builtin_call tvm_builtin_shape_item;

/* runtime.config_threadpool(mode, threads): TVM's modes choose cores by speed and are ignored;
 * threads is the pool's size, 0 for the default. */
tvm_builtin_call tvm_builtin_config_threadpool;

#endif
