/* How OpenCL is used: what the program chose before the first use, else what the environment says.
 */
#ifndef TVM_DEVICE_OPENCL_CONFIG_H
#define TVM_DEVICE_OPENCL_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A choice of devices. */
struct opencl_choice {
    char text[128];     /* "": nobody chose */
    const char *origin; /* who did, for messages */
};

struct opencl_config {
    struct opencl_choice type;     /* as tvm_opencl_parse_type knows it */
    struct opencl_choice platform; /* a part of its name */
    char cache_folder[PATH_MAX];   /* of compiled programs; "": none are kept */
    size_t cache_limit;            /* bytes of all of them */
    char bad_limit[24];            /* what GOTVM_OPENCL_CACHE_MIB is instead of a number; else "" */
};

/* What holds from now on: the first call, which reads the environment, ends the time of changes. */
const struct opencl_config *tvm_opencl_config(void);

/* Whether text is a type of device (gpu, cpu, accelerator, all); out is a cl_device_type. */
bool tvm_opencl_parse_type(const char *text, uint64_t *out);

#endif
