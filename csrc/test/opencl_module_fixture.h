/* Modules of OpenCL kernels that tests write: the bytes that a compiled library's blob has of them.
 */
#ifndef TVM_TEST_OPENCL_MODULE_FIXTURE_H
#define TVM_TEST_OPENCL_MODULE_FIXTURE_H

#include "device/opencl/opencl_device.h"
#include "test/graph_fixture.h"

/* A kernel's parameters: "p" a buffer, "i" int32, "l" int64, "u" uint32, "f" float32, "d" float64,
 * "h" float16; and its launch tags, such as "bx tx", "dyn" for dynamic memory. */
struct module_kernel {
    const char *name, *types, *tags;
};

/* The number of kernels, and each. ffi: as tvm_opencl_ffi_kind reads it, else tvm_opencl_kind. */
void opencl_put_kernels(struct fixture_bytes *bytes, const struct module_kernel *kernels,
                        size_t count, bool ffi);

/* A whole module; in the format "cl" its source is OpenCL C. */
struct fixture_bytes opencl_module_bytes(const char *format, const struct module_kernel *kernels,
                                         size_t count, const char *source, bool ffi);

/* Reads a module of just these bytes, in memory of just that size, as "test.so". */
int opencl_module_read(struct fixture_bytes bytes, bool ffi, struct tvm_module **out);

/* A module in the format "cl", which must be valid. */
struct tvm_module *opencl_module_new(const struct module_kernel *kernels, size_t count,
                                     const char *source, bool ffi);

/* Skips the test where there are fewer devices. */
void opencl_need_devices(int count);

#endif
