#include "base/profile.h"

#include "base/checked.h"
#include "base/os.h"

#include <stdlib.h>
#include <string.h>

void tvm_profile_clear(struct tvm_profile *profile) {
    struct tvm_profile_operator *next;
    for (struct tvm_profile_operator *it = profile->first; it; it = next) {
        next = it->next;
        free(it);
    }
    *profile = (struct tvm_profile){0};
}

void tvm_profile_begin(struct tvm_profile *profile) {
    tvm_profile_clear(profile);
    profile->begin = tvm_os_now();
}

void tvm_profile_end(struct tvm_profile *profile) {
    profile->total = tvm_os_now() - profile->begin;
}

int tvm_profile_add(struct tvm_profile *profile, struct tvm_bytes name, struct tvm_bytes function,
                    size_t capacity, struct tvm_profile_operator **out) {
    struct tvm_profile_operator *made = NULL;
    size_t nbytes = SIZE_MAX;
    profile->paused = tvm_os_now();
    if (!tvm_size_mul(capacity, sizeof(struct tvm_profile_tensor), &nbytes) ||
        !tvm_size_add(nbytes, sizeof(*made), &nbytes) || !(made = malloc(nbytes)))
        return tvm_raise_out_of_memory();
    *made =
        (struct tvm_profile_operator){.name = name, .function = function, .device = {kDLCPU, 0}};
    if (profile->last)
        profile->last->next = made;
    else
        profile->first = made;
    *out = profile->last = made;
    return 0;
}

int tvm_profile_add_tensor(struct tvm_profile_operator *self, struct tvm_bytes name,
                           const DLTensor *tensor, bool is_output) {
    struct tvm_profile_tensor *to = &self->tensors[self->input_count + self->output_count];
    size_t nbytes;
    if (tvm_tensor_nbytes(tensor, &nbytes))
        return -1;
    *to = (struct tvm_profile_tensor){.name = name, .dtype = tensor->dtype, .ndim = tensor->ndim};
    if (tensor->ndim)
        memcpy(to->shape, tensor->shape, (size_t)tensor->ndim * sizeof(int64_t));
    if (is_output)
        self->output_count++;
    else
        self->input_count++;
    if (!tvm_size_add(self->nbytes, nbytes, &self->nbytes))
        self->nbytes = SIZE_MAX;
    if (!self->api && self->device.device_type == kDLCPU)
        self->device = tensor->device;
    return 0;
}

int tvm_profile_start(struct tvm_profile *profile, struct tvm_profile_operator *self) {
    if (tvm_device_get(self->device, &self->api) || self->api->sync(self->device) ||
        (self->api->start_timer && self->api->start_timer(self->device, &self->timer)))
        return -1;
    int64_t now = tvm_os_now();
    profile->begin += now - profile->paused;
    self->start = now - profile->begin;
    return 0;
}

int tvm_profile_stop(const struct tvm_profile *profile, struct tvm_profile_operator *self,
                     int status) {
    if (status == 0)
        status = self->api->sync(self->device);
    self->end = tvm_os_now() - profile->begin;
    if (self->api->stop_timer && self->api->stop_timer(self->timer, &self->device_time))
        status = -1;
    return status;
}
