/* What this build consists of: devices, module kinds and built-in functions, each in one list.
 * Written out, because constructors that register themselves would be dropped by a static link. */
#include "base/device.h"
#include "base/function.h"
#include "base/module.h"
#include "builtins.h"
#include "contrib/contrib.h"
#include "device/cpu.h"
#ifndef TVM_NO_OPENCL
#include "device/opencl/opencl_device.h"
#endif
#include "graph/graph.h"
#include "module/library.h"
#include "module/system_library.h"
#include "relax/relax.h"

const struct tvm_device_api *const tvm_devices[] = {
    &tvm_cpu_device,
#ifndef TVM_NO_OPENCL
    &tvm_opencl_device,
#endif
    NULL,
};

const struct tvm_module_kind *const tvm_module_kinds[] = {
    &tvm_graph_executor_factory_kind,
    &tvm_graph_runtime_factory_kind,
    &tvm_aot_executor_factory_kind,
    &tvm_const_loader_kind,
    &tvm_const_loader_old_kind,
    &tvm_metadata_module_kind,
    &tvm_relax_executable_kind,
#ifndef TVM_NO_OPENCL
    &tvm_opencl_kind,
    &tvm_opencl_ffi_kind,
#endif
    NULL,
};

const struct tvm_builtin tvm_builtins[] = {
    {"tvm.graph_executor.create", tvm_graph_executor_create, 4, 3 + 2 * TVM_GRAPH_MAX_DEVICES},
    {"tvm.graph_runtime.create", tvm_graph_executor_create, 4, 3 + 2 * TVM_GRAPH_MAX_DEVICES},
    {"tvm.graph_runtime.remote_create", tvm_graph_runtime_remote_create, 4,
     3 + 2 * TVM_GRAPH_MAX_DEVICES},
    {"tvm.graph_executor_debug.create", tvm_graph_executor_debug_create, 4,
     3 + 2 * TVM_GRAPH_MAX_DEVICES},
    {"tvm.graph_runtime_debug.create", tvm_graph_runtime_debug_create, 4,
     3 + 2 * TVM_GRAPH_MAX_DEVICES},
    {"tvm.graph_runtime_debug.remote_create", tvm_graph_runtime_debug_remote_create, 4,
     3 + 2 * TVM_GRAPH_MAX_DEVICES},
    {"tvm.graph_executor_cuda_graph.create", tvm_graph_executor_cuda_graph_create, 0,
     TVM_ANY_COUNT},
    {"runtime.ModuleLoadFromFile", tvm_library_load_from_file, 1, 2},
    {"module._LoadFromFile", tvm_library_load_from_file, 1, 2},
    {"__tvm_set_device", tvm_builtin_set_device, 2, 2},
    {"_GetDeviceAttr", tvm_builtin_device_attribute, 3, 3},
    {"runtime.GetDeviceAttr", tvm_builtin_device_attribute, 3, 3},
    {"runtime.ModuleGetTypeKey", tvm_builtin_module_type_key, 1, 1},
    {"module._GetTypeKey", tvm_builtin_module_type_key, 1, 1},
    {"runtime.RuntimeEnabled", tvm_builtin_runtime_enabled, 1, 1},
    {"module._Enabled", tvm_builtin_runtime_enabled, 1, 1},
    {"runtime.config_threadpool", tvm_builtin_config_threadpool, 2, 3},
    {"runtime.ArraySize", tvm_builtin_array_size, 1, 1},
    {"runtime.ArrayGetItem", tvm_builtin_array_item, 2, 2},
    {"runtime.MapSize", tvm_builtin_map_size, 1, 1},
    {"runtime.MapCount", tvm_builtin_map_count, 2, 2},
    {"runtime.MapGetItem", tvm_builtin_map_item, 2, 2},
    {"runtime.GetShapeTupleSize", tvm_builtin_shape_size, 1, 1},
    {"runtime.GetShapeTupleElem", tvm_builtin_shape_item, 2, 2},
#ifndef TVM_NO_OPENCL
    {"opencl.Configure", tvm_opencl_configure, 4, 4},
#endif
    {"tvm.contrib.sort.argsort", tvm_contrib_argsort, 4, 5},
    {"tvm.contrib.sort.argsort_nms", tvm_contrib_argsort_nms, 5, 5},
    {"tvm.contrib.sort.sort", tvm_contrib_sort, 4, 4},
    {"tvm.contrib.sort.topk", tvm_contrib_topk, 6, 7},
    {"tvm.contrib.random.seed", tvm_contrib_random_seed, 1, 1},
    {"tvm.contrib.random.randint", tvm_contrib_random_randint, 3, 3},
    {"tvm.contrib.random.uniform", tvm_contrib_random_uniform, 3, 3},
    {"tvm.contrib.random.normal", tvm_contrib_random_normal, 3, 3},
    {"tvm.contrib.random.random_fill", tvm_contrib_random_fill, 1, 1},
    {"tvm.contrib.random.random_fill_for_measure", tvm_contrib_random_fill, 1, 1},
    {"tvm.contrib.cblas.matmul", tvm_contrib_matmul, 5, 7},
    {"tvm.contrib.cblas.batch_matmul", tvm_contrib_batch_matmul, 5, 7},
    {"tvm.contrib.cblas.batch_matmul_iterative", tvm_contrib_batch_matmul, 5, 7},
    {"tvm.contrib.mkl.matmul", tvm_contrib_matmul, 5, 7},
    {"tvm.contrib.mkl.batch_matmul", tvm_contrib_batch_matmul, 5, 7},
    {"tvm.contrib.mkl.batch_matmul_iterative", tvm_contrib_batch_matmul, 5, 7},
    {"tvm.contrib.dnnl.matmul", tvm_contrib_matmul, 5, 7},
    {"tvm.contrib.mkldnn.matmul", tvm_contrib_matmul, 5, 7},
    {"vm.builtin.alloc_shape_heap", tvm_relax_alloc_shape_heap, 2, 2},
    {"vm.builtin.alloc_storage", tvm_relax_alloc_storage, 4, 5},
    {"vm.builtin.alloc_tensor", tvm_relax_alloc_tensor, 4, 5},
    {"vm.builtin.call_tir_dyn", tvm_relax_call_tir_dyn, 2, TVM_ANY_COUNT},
    {"vm.builtin.check_func_info", tvm_relax_check_func_info, 1, 2},
    {"vm.builtin.check_prim_value_info", tvm_relax_check_prim_value_info, 2, 3},
    {"vm.builtin.check_shape_info", tvm_relax_check_shape_info, 2, 3},
    {"vm.builtin.check_string_info", tvm_relax_check_string_info, 1, 2},
    {"vm.builtin.check_tensor_info", tvm_relax_check_tensor_info, 3, 4},
    {"vm.builtin.check_tuple_info", tvm_relax_check_tuple_info, 2, 3},
    {"vm.builtin.copy", tvm_relax_copy, 1, 1},
    {"vm.builtin.ensure_zero_offset", tvm_relax_ensure_zero_offset, 1, 1},
    {"vm.builtin.invoke_closure", tvm_relax_invoke_closure, 2, TVM_ANY_COUNT},
    {"vm.builtin.make_closure", tvm_relax_make_closure, 1, TVM_ANY_COUNT},
    {"vm.builtin.make_prim_value", tvm_relax_make_prim_value, 3, 3},
    {"vm.builtin.make_shape", tvm_relax_make_shape, 2, TVM_ANY_COUNT},
    {"vm.builtin.make_tuple", tvm_relax_make_tuple, 0, TVM_ANY_COUNT},
    {"vm.builtin.match_prim_value", tvm_relax_match_prim_value, 4, 5},
    {"vm.builtin.match_shape", tvm_relax_match_shape, 3, TVM_ANY_COUNT},
    {"vm.builtin.null_value", tvm_relax_null_value, 0, TVM_ANY_COUNT},
    {"vm.builtin.read_if_cond", tvm_relax_read_if_cond, 1, 1},
    {"vm.builtin.reshape", tvm_relax_reshape, 2, 2},
    {"vm.builtin.shape_of", tvm_relax_shape_of, 1, 1},
    {"vm.builtin.tensor_to_shape", tvm_relax_tensor_to_shape, 1, 1},
    {"vm.builtin.to_device", tvm_relax_to_device, 3, 4},
    {"vm.builtin.tuple_getitem", tvm_relax_tuple_getitem, 2, 2},
    {"vm.builtin.tuple_reset_item", tvm_relax_tuple_reset_item, 2, 2},
    {"runtime.TVMTensorCreateView", tvm_relax_create_view, 4, 4},
    {"runtime.TVMArrayCreateView", tvm_relax_create_view, 4, 4},
    {"ffi.ModuleLoadFromFile", tvm_library_load_from_file, 1, 2},
    {"ffi.SystemLib", tvm_system_library_get, 0, 1},
    {"runtime.SystemLib", tvm_system_library_get, 0, 1},
    {"module._GetSystemLib", tvm_system_library_get, 0, 1},
    {"ffi.ModuleGetFunction", tvm_builtin_module_get_function, 3, 3},
    {"ffi.Array", tvm_relax_make_tuple, 0, TVM_ANY_COUNT},
    {"ffi.ArraySize", tvm_builtin_array_size, 1, 1},
    {"ffi.ArrayGetItem", tvm_builtin_array_item, 2, 2},
    {"ffi.Shape", tvm_builtin_shape, 0, TVM_BUILTIN_SHAPE_DIMS},
    {NULL, NULL, 0, 0},
};
