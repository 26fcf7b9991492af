/* What this build consists of: devices, module kinds and built-in functions, each in one list.
 * Written out, because constructors that register themselves would be dropped by a static link. */
#include "base/device.h"
#include "base/function.h"
#include "base/module.h"
#include "builtins.h"
#include "device/cpu.h"
#include "graph/graph.h"
#include "module/library.h"

const struct tvm_device_api *const tvm_devices[] = {&tvm_cpu_device, NULL};

const struct tvm_module_kind *const tvm_module_kinds[] = {NULL};

const struct tvm_builtin tvm_builtins[] = {
    {"tvm.graph_executor.create", tvm_graph_executor_create},
    {"tvm.graph_runtime.create", tvm_graph_executor_create},
    {"runtime.ModuleLoadFromFile", tvm_library_load_from_file},
    {"module._LoadFromFile", tvm_library_load_from_file},
    {"__tvm_set_device", tvm_builtin_set_device},
    {"_GetDeviceAttr", tvm_builtin_device_attribute},
    {"runtime.GetDeviceAttr", tvm_builtin_device_attribute},
    {"runtime.ModuleGetTypeKey", tvm_builtin_module_type_key},
    {"module._GetTypeKey", tvm_builtin_module_type_key},
    {"runtime.RuntimeEnabled", tvm_builtin_runtime_enabled},
    {"module._Enabled", tvm_builtin_runtime_enabled},
    {"runtime.config_threadpool", tvm_builtin_config_threadpool},
    {"runtime.ArraySize", tvm_builtin_array_size},
    {"runtime.ArrayGetItem", tvm_builtin_array_item},
    {"runtime.MapSize", tvm_builtin_map_size},
    {"runtime.MapCount", tvm_builtin_map_count},
    {"runtime.MapGetItem", tvm_builtin_map_item},
    {"runtime.GetShapeTupleSize", tvm_builtin_shape_size},
    {"runtime.GetShapeTupleElem", tvm_builtin_shape_item},
    {NULL, NULL},
};
