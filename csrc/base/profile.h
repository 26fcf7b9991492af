/* Profiles: the operators of one run, with their tensors and times. What runs in a context that
 * has a profile (base/context.h) adds its operators to it; graphs and Relax executables do. */
#ifndef TVM_BASE_PROFILE_H
#define TVM_BASE_PROFILE_H

#include "base/device.h"
#include "base/tensor.h"

struct tvm_profile_tensor {
    struct tvm_bytes name; /* borrowed from what ran; empty: it has none */
    DLDataType dtype;
    int ndim;
    int64_t shape[TVM_MAX_NDIM];
};

struct tvm_profile_operator {
    struct tvm_profile_operator *next;
    struct tvm_bytes name, function; /* borrowed from what ran */
    DLDevice device; /* of its first tensor that is on another one than the CPU, else the CPU */
    const struct tvm_device_api *api;
    void *timer;
    int64_t start, end;  /* nanoseconds since the run began, by the host's clock; at the end, what
                            it left to the device is done */
    int64_t device_time; /* nanoseconds that its kernels took, by the device's clock; 0 where the
                            device has no other clock than the host */
    size_t nbytes;       /* of all tensors; SIZE_MAX if that overflows */
    size_t input_count, output_count;
    struct tvm_profile_tensor tensors[]; /* inputs, then outputs */
};

/* Begins as zeros. */
struct tvm_profile {
    struct tvm_profile_operator *first, *last; /* owned, in the order of their running */
    int64_t begin;                             /* of the run, by tvm_os_now; moved on by the time
                                                  that goes into adding operators */
    int64_t paused;                            /* when tvm_profile_add was last called */
    int64_t total;                             /* nanoseconds of the whole run */
};

void tvm_profile_clear(struct tvm_profile *profile);

/* For what runs. A run begins, dropping what profile held, and ends. */
void tvm_profile_begin(struct tvm_profile *profile);
void tvm_profile_end(struct tvm_profile *profile);

/* Adds an operator, to be measured next, with room for capacity tensors. */
int tvm_profile_add(struct tvm_profile *profile, struct tvm_bytes name, struct tvm_bytes function,
                    size_t capacity, struct tvm_profile_operator **out);
/* Adds an input or an output, for which there must be room; all inputs come first. */
int tvm_profile_add_tensor(struct tvm_profile_operator *self, struct tvm_bytes name,
                           const DLTensor *tensor, bool is_output);

/* Measures what this thread does from start, which waits for what the device does already, to stop,
 * which must follow when start has succeeded. status is the operator's own, and so is the result
 * where that is a failure. Outputs may be added in between. */
int tvm_profile_start(struct tvm_profile *profile, struct tvm_profile_operator *self);
int tvm_profile_stop(const struct tvm_profile *profile, struct tvm_profile_operator *self,
                     int status);

#endif
