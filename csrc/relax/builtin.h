/* How functions of vm.builtin.* are written. Each may be called with anything: by forged bytecode,
 * and by programs, as they are registered. */
#ifndef TVM_RELAX_BUILTIN_H
#define TVM_RELAX_BUILTIN_H

#include "relax/vm.h"

/* Defines the function called name (with NAMED: text) in messages, with min to max arguments. */
#define NAMED(name, text, min, max)                                                                \
    static int name(const struct tvm_call *call, const struct tvm_value *args, int32_t count,      \
                    struct tvm_value *result);                                                     \
    int tvm_relax_##name(void *self, const struct tvm_value *args, int32_t count,                  \
                         struct tvm_value *result) {                                               \
        const struct tvm_call call = {text, args, count};                                          \
        (void)self;                                                                                \
        return tvm_call_check_count(&call, min, max) ? -1 : name(&call, args, count, result);      \
    }                                                                                              \
    static int name(const struct tvm_call *call UNUSED, const struct tvm_value *args UNUSED,       \
                    int32_t count UNUSED, struct tvm_value *result UNUSED)
#define BUILTIN(name, min, max) NAMED(name, "vm.builtin." #name, min, max)
#define UNUSED __attribute__((unused))

static inline int tvm_vm_call_shape(const struct tvm_call *call, int32_t index,
                                    struct tvm_shape **out) {
    return tvm_call_object(call, index, "shape", TVM_TYPE_SHAPE, out);
}

#endif
