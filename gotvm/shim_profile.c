#include "shim_profile.h"

#include "base/context.h"
#include "base/profile.h"

#include <stdlib.h>

static struct tvm_profile *profile_of(uintptr_t profile) {
    return (struct tvm_profile *)profile;
}

struct gotvm_result gotvm_profile_new(void) {
    struct tvm_profile *profile = calloc(1, sizeof(*profile));
    int status = profile ? 0 : tvm_raise_out_of_memory();
    return gotvm_result_of(status, profile);
}

void gotvm_profile_free(uintptr_t profile) {
    tvm_profile_clear(profile_of(profile));
    free(profile_of(profile));
}

void gotvm_context_profile(uintptr_t context, uintptr_t profile) {
    ((struct tvm_context *)context)->profile = profile_of(profile);
}

int64_t gotvm_profile_total(uintptr_t profile) {
    return profile_of(profile)->total;
}

uintptr_t gotvm_profile_first(uintptr_t profile) {
    return (uintptr_t)profile_of(profile)->first;
}

struct gotvm_operator gotvm_profile_operator(uintptr_t op) {
    const struct tvm_profile_operator *from = (const struct tvm_profile_operator *)op;
    return (struct gotvm_operator){.name = (uintptr_t)from->name.data,
                                   .name_size = from->name.size,
                                   .function = (uintptr_t)from->function.data,
                                   .function_size = from->function.size,
                                   .input_count = from->input_count,
                                   .output_count = from->output_count,
                                   .nbytes = from->nbytes,
                                   .start = from->start,
                                   .end = from->end,
                                   .device_time = from->device_time,
                                   .next = (uintptr_t)from->next};
}

struct gotvm_port gotvm_profile_tensor(uintptr_t op, size_t index) {
    const struct tvm_profile_tensor *from =
        &((const struct tvm_profile_operator *)op)->tensors[index];
    return (struct gotvm_port){.name = (uintptr_t)from->name.data,
                               .name_size = from->name.size,
                               .shape = (uintptr_t)from->shape,
                               .ndim = from->ndim,
                               .dtype = from->dtype};
}
