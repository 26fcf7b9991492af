/* An executable's constants on the devices where sessions use them. */
#include "relax/vm.h"

#include <stdlib.h>

struct vm_placed {
    struct vm_placed *next;
    DLDevice device;
    struct tvm_value values[]; /* owned; as many as the executable has constants */
};

static void placed_free(struct vm_placed *placed, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        tvm_value_clear(&placed->values[i]);
    free(placed);
}

int tvm_vm_own(const struct tvm_value *value, struct tvm_value *out) {
    if (value->type_index == TVM_TYPE_DLTENSOR_PTR && value->v_ptr)
        return tvm_value_from_tensor(tvm_vm_tensor_of(value), tvm_vm_tensor_of(value)->device, out);
    return tvm_value_own(value, out);
}

int tvm_vm_keep(const struct tvm_value *value, struct tvm_object *holder, struct tvm_value *out) {
    if (value->type_index == TVM_TYPE_ARRAY || value->type_index == VM_TYPE_CLOSURE) {
        uint32_t nesting = value->v_object->nesting + 1;
        if (nesting > VM_MAX_NESTING)
            return tvm_raise(TVM_VALUE_ERROR, "tuples and closures in each other: more than %d",
                             VM_MAX_NESTING);
        if (nesting > holder->nesting)
            holder->nesting = nesting;
    }
    return tvm_vm_own(value, out);
}

static int place(const struct tvm_relax_executable *executable, DLDevice device,
                 struct vm_placed **out) {
    uint32_t count = executable->constant_count;
    size_t nbytes = sizeof(struct vm_placed) + count * sizeof(struct tvm_value);
    struct vm_placed *placed = calloc(1, nbytes);
    if (!placed)
        return tvm_raise_out_of_memory();
    placed->device = device;
    for (uint32_t i = 0; i < count; i++) {
        const struct tvm_value *value = &executable->literals[i];
        if (value->type_index == TVM_TYPE_TENSOR
                ? tvm_value_from_tensor(tvm_vm_tensor_of(value), device, &placed->values[i])
                : tvm_value_own(value, &placed->values[i])) {
            placed_free(placed, count);
            return tvm_raise_context("constant %u", i);
        }
    }
    *out = placed;
    return 0;
}

int tvm_vm_constants_place(struct tvm_relax_executable *executable, DLDevice device,
                           const struct tvm_value **out) {
    int status = 0;
    *out = executable->literals;
    if (device.device_type == kDLCPU && device.device_id == 0) /* where they were read */
        return 0;
    pthread_mutex_lock(&executable->mutex);
    struct vm_placed *placed = executable->placed;
    while (placed && !tvm_device_equal(placed->device, device))
        placed = placed->next;
    if (!placed && (status = place(executable, device, &placed)) == 0) {
        placed->next = executable->placed;
        executable->placed = placed;
    }
    pthread_mutex_unlock(&executable->mutex);
    if (status == 0)
        *out = placed->values;
    return status;
}

void tvm_vm_constants_free(struct tvm_relax_executable *executable) {
    for (struct vm_placed *placed = executable->placed, *next; placed; placed = next) {
        next = placed->next;
        placed_free(placed, executable->constant_count);
    }
}
