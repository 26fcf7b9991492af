/* What a profile tells of the calls of bytecode. */
#include "relax/vm.h"

#include <string.h>

static const char *callee_name(const struct tvm_relax_executable *executable,
                               const struct vm_instruction *call) {
    return executable->functions[call->target].name;
}

/* The function that is a call's argument; NULL for another argument. */
static const struct vm_function *function_argument(const struct tvm_relax_executable *executable,
                                                   const struct vm_instruction *call,
                                                   uint32_t index) {
    int32_t argument = index < call->arg_count ? executable->args[call->args + index] : 0;
    uint32_t literal = (uint32_t)~argument, first = vm_literal_function(executable, 0);
    return argument < 0 && literal >= first && literal < vm_literal_machine(executable)
               ? &executable->functions[literal - first]
               : NULL;
}

/* What a profile calls a call; NULL for one that it leaves out: functions of bytecode, whose own
 * calls it tells, and builtins that only handle values, checks and memory. */
static const char *shown_name(const struct tvm_relax_executable *executable,
                              const struct vm_instruction *call) {
    static const char *const copying[] = {"ensure_zero_offset", "read_if_cond", "tensor_to_shape",
                                          "to_device"};
    static const char prefix[] = "vm.builtin.";
    const char *name = callee_name(executable, call);
    if (executable->functions[call->target].kind != VM_PACKED)
        return NULL;
    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return strcmp(name, "runtime.TVMTensorCreateView") == 0 ? NULL : name;
    const char *builtin = name + sizeof(prefix) - 1;
    const struct vm_function *kernel = function_argument(executable, call, 0);
    if (strcmp(builtin, "call_tir_dyn") == 0)
        return kernel ? kernel->name : name;
    for (size_t i = 0; i < sizeof(copying) / sizeof(*copying); i++)
        if (strcmp(builtin, copying[i]) == 0)
            return name;
    return NULL;
}

static bool uses(const struct tvm_relax_executable *executable, const struct vm_instruction *call,
                 int32_t reg) {
    for (uint32_t i = 0; i < call->arg_count; i++)
        if (executable->args[call->args + i] == reg)
            return true;
    return false;
}

/* Kernels write to arguments, and nothing says to which. But it is where an argument was made by
 * alloc_tensor before, and is not used in between. */
static bool is_output(const struct tvm_relax_executable *executable,
                      const struct vm_function *function, const struct vm_instruction *call,
                      int32_t reg) {
    const struct vm_instruction *first = &executable->code[function->start];
    for (const struct vm_instruction *it = call; reg >= 0 && it-- > first;) {
        if (it->op != VM_CALL && it->op != VM_CLEAR)
            continue;
        if (it->dst == reg)
            return it->op == VM_CALL &&
                   strcmp(callee_name(executable, it), "vm.builtin.alloc_tensor") == 0;
        if (it->op == VM_CALL && uses(executable, it, reg))
            return false;
    }
    return false;
}

int tvm_vm_profile_add(const struct tvm_relax_session *session, const struct vm_function *function,
                       const struct vm_instruction *call, const struct tvm_value *registers,
                       struct tvm_profile_operator **out) {
    const struct tvm_relax_executable *executable = session->executable;
    const int32_t *args = executable->args + call->args;
    const char *name = shown_name(executable, call);
    *out = NULL;
    if (!name)
        return 0;
    struct tvm_bytes text = {name, strlen(name)};
    if (tvm_profile_add(session->context->profile, text, text, (size_t)call->arg_count + 1, out))
        return -1;
    for (int outputs = 0; outputs < 2; outputs++)
        for (uint32_t i = 0; i < call->arg_count; i++) {
            const DLTensor *tensor =
                tvm_vm_tensor_of(args[i] >= 0 ? &registers[args[i]] : &session->literals[~args[i]]);
            if (tensor && is_output(executable, function, call, args[i]) == outputs &&
                tvm_profile_add_tensor(*out, (struct tvm_bytes){"", 0}, tensor, outputs))
                return -1;
        }
    return 0;
}
