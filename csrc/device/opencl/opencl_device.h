/* OpenCL: the devices that the ICD loader (libOpenCL.so.1) finds, and modules of kernels for them.
 * The loader is opened when the first such device is asked for. */
#ifndef TVM_DEVICE_OPENCL_OPENCL_DEVICE_H
#define TVM_DEVICE_OPENCL_OPENCL_DEVICE_H

#include "base/device.h"
#include "base/module.h"

/* Ids number the GPUs of OpenCL 1.2 or newer of all platforms, or, when there is none, the CPUs. By
 * environment: GOTVM_OPENCL_TYPE is gpu, cpu, accelerator or all; GOTVM_OPENCL_PLATFORM is a part
 * of the name of the only platforms to look at. Tensors' data is a cl_mem. */
extern const struct tvm_device_api tvm_opencl_device;

/* Kernels as OpenCL C source, as TVM up to 0.20 and from 0.22 on stores them. Loading needs no
 * device; kernels are compiled when they are first launched on one. */
extern const struct tvm_module_kind tvm_opencl_kind;
extern const struct tvm_module_kind tvm_opencl_ffi_kind;

#endif
