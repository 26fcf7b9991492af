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
    {"tvm.graph_executor.create", tvm_graph_executor_create},
    {"tvm.graph_runtime.create", tvm_graph_executor_create},
    {"tvm.graph_runtime.remote_create", tvm_graph_runtime_remote_create},
    {"tvm.graph_executor_debug.create", tvm_graph_executor_debug_create},
    {"tvm.graph_runtime_debug.create", tvm_graph_runtime_debug_create},
    {"tvm.graph_runtime_debug.remote_create", tvm_graph_runtime_debug_remote_create},
    {"tvm.graph_executor_cuda_graph.create", tvm_graph_executor_cuda_graph_create},
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
#ifndef TVM_NO_OPENCL
    {"opencl.Configure", tvm_opencl_configure},
#endif
    {"tvm.contrib.sort.argsort", tvm_contrib_argsort},
    {"tvm.contrib.sort.argsort_nms", tvm_contrib_argsort_nms},
    {"tvm.contrib.sort.sort", tvm_contrib_sort},
    {"tvm.contrib.sort.topk", tvm_contrib_topk},
    {"tvm.contrib.random.seed", tvm_contrib_random_seed},
    {"tvm.contrib.random.randint", tvm_contrib_random_randint},
    {"tvm.contrib.random.uniform", tvm_contrib_random_uniform},
    {"tvm.contrib.random.normal", tvm_contrib_random_normal},
    {"tvm.contrib.random.random_fill", tvm_contrib_random_fill},
    {"tvm.contrib.random.random_fill_for_measure", tvm_contrib_random_fill},
    {"tvm.contrib.cblas.matmul", tvm_contrib_matmul},
    {"tvm.contrib.cblas.batch_matmul", tvm_contrib_batch_matmul},
    {"tvm.contrib.cblas.batch_matmul_iterative", tvm_contrib_batch_matmul},
    {"tvm.contrib.mkl.matmul", tvm_contrib_matmul},
    {"tvm.contrib.mkl.batch_matmul", tvm_contrib_batch_matmul},
    {"tvm.contrib.mkl.batch_matmul_iterative", tvm_contrib_batch_matmul},
    {"tvm.contrib.dnnl.matmul", tvm_contrib_matmul},
    {"tvm.contrib.mkldnn.matmul", tvm_contrib_matmul},
    {"vm.builtin.alloc_shape_heap", tvm_relax_alloc_shape_heap},
    {"vm.builtin.alloc_storage", tvm_relax_alloc_storage},
    {"vm.builtin.alloc_tensor", tvm_relax_alloc_tensor},
    {"vm.builtin.call_tir_dyn", tvm_relax_call_tir_dyn},
    {"vm.builtin.check_func_info", tvm_relax_check_func_info},
    {"vm.builtin.check_prim_value_info", tvm_relax_check_prim_value_info},
    {"vm.builtin.check_shape_info", tvm_relax_check_shape_info},
    {"vm.builtin.check_string_info", tvm_relax_check_string_info},
    {"vm.builtin.check_tensor_info", tvm_relax_check_tensor_info},
    {"vm.builtin.check_tuple_info", tvm_relax_check_tuple_info},
    {"vm.builtin.copy", tvm_relax_copy},
    {"vm.builtin.ensure_zero_offset", tvm_relax_ensure_zero_offset},
    {"vm.builtin.invoke_closure", tvm_relax_invoke_closure},
    {"vm.builtin.make_closure", tvm_relax_make_closure},
    {"vm.builtin.make_prim_value", tvm_relax_make_prim_value},
    {"vm.builtin.make_shape", tvm_relax_make_shape},
    {"vm.builtin.make_tuple", tvm_relax_make_tuple},
    {"vm.builtin.match_prim_value", tvm_relax_match_prim_value},
    {"vm.builtin.match_shape", tvm_relax_match_shape},
    {"vm.builtin.null_value", tvm_relax_null_value},
    {"vm.builtin.read_if_cond", tvm_relax_read_if_cond},
    {"vm.builtin.reshape", tvm_relax_reshape},
    {"vm.builtin.shape_of", tvm_relax_shape_of},
    {"vm.builtin.tensor_to_shape", tvm_relax_tensor_to_shape},
    {"vm.builtin.to_device", tvm_relax_to_device},
    {"vm.builtin.tuple_getitem", tvm_relax_tuple_getitem},
    {"vm.builtin.tuple_reset_item", tvm_relax_tuple_reset_item},
    {"runtime.TVMTensorCreateView", tvm_relax_create_view},
    {"runtime.TVMArrayCreateView", tvm_relax_create_view},
    {"ffi.ModuleLoadFromFile", tvm_library_load_from_file},
    {"ffi.SystemLib", tvm_system_library_get},
    {"runtime.SystemLib", tvm_system_library_get},
    {"module._GetSystemLib", tvm_system_library_get},
    {"ffi.ModuleGetFunction", tvm_builtin_module_get_function},
    {"ffi.Array", tvm_relax_make_tuple},
    {"ffi.ArraySize", tvm_builtin_array_size},
    {"ffi.ArrayGetItem", tvm_builtin_array_item},
    {"ffi.Shape", tvm_builtin_shape},
    {NULL, NULL},
};
