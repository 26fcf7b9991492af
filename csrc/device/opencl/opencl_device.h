/* OpenCL: the devices that the ICD loader (libOpenCL.so.1) finds, and modules of kernels for them.
 * The loader is opened when the first such device is asked for. */
#ifndef TVM_DEVICE_OPENCL_OPENCL_DEVICE_H
#define TVM_DEVICE_OPENCL_OPENCL_DEVICE_H

#include "base/device.h"
#include "base/function.h"
#include "base/module.h"

/* Ids number the GPUs of OpenCL 1.2 or newer of all platforms, or, when there is none, the CPUs,
 * unless tvm_opencl_configure or the environment chooses others. Tensors' data is a cl_mem. */
extern const struct tvm_device_api tvm_opencl_device;

/* Kernels as OpenCL C source, as TVM up to 0.20 and from 0.22 on stores them. Loading needs no
 * device; kernels are compiled when they are first launched on one. */
extern const struct tvm_module_kind tvm_opencl_kind;
extern const struct tvm_module_kind tvm_opencl_ffi_kind;

/* opencl.Configure(type, platform, cache's folder, cache's size): chooses devices and where
 * compiled programs are kept. The type is gpu, cpu, accelerator or all; platform is a part of the
 * name of the only platforms to look at; the size, in bytes of all files, is negative for no cache.
 * What is "" or 0 is left to the environment: GOTVM_OPENCL_TYPE, GOTVM_OPENCL_PLATFORM,
 * GOTVM_OPENCL_CACHE (a folder, or "off"), GOTVM_OPENCL_CACHE_MIB; and that to defaults:
 * gotvm/opencl in XDG_CACHE_HOME or in ~/.cache, and 256 MiB. BusyError once OpenCL has been used.
 */
tvm_builtin_call tvm_opencl_configure;

#endif
