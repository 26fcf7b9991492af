/* How functions of vm.builtin.* are written. Each may be called with anything: by forged bytecode,
 * and by programs, as they are registered. */
#ifndef TVM_RELAX_BUILTIN_H
#define TVM_RELAX_BUILTIN_H

#include "relax/vm.h"

/* Begins the function that csrc/tables.c calls tvm_relax_##name. */
#define BUILTIN(name)                                                                              \
    int tvm_relax_##name(const struct tvm_call *call UNUSED, struct tvm_value *result UNUSED)
#define UNUSED __attribute__((unused))

static inline int tvm_vm_call_shape(const struct tvm_call *call, int32_t index,
                                    struct tvm_shape **out) {
    return tvm_call_object(call, index, "shape", TVM_TYPE_SHAPE, out);
}

#endif
