/* What the files of this folder share. */
#ifndef TVM_RELAX_VM_H
#define TVM_RELAX_VM_H

#include "base/container.h"
#include "base/profile.h"
#include "relax/relax.h"

#include <pthread.h>
#include <stdatomic.h>

/* Types of the virtual machine's own objects, among those that tvm-ffi leaves to programs. */
enum { VM_TYPE_STORAGE = 128, VM_TYPE_CLOSURE = 129 };

enum { VM_ALIGNMENT = 64 };     /* what compiled code takes for granted */
enum { VM_MAX_NESTING = 1000 }; /* of tuples and closures, whose end takes stack for each */

enum vm_kind { VM_PACKED = 0, VM_BYTECODE = 1, VM_TIR = 2 };

struct vm_function {
    char *name;
    enum vm_kind kind;
    size_t callable;     /* its place among those that are not VM_PACKED */
    uint32_t start, end; /* of bytecode: its instructions; the last one is a return or a jump */
    uint32_t register_count;
    uint32_t param_count;
    uint32_t max_args;              /* of the calls in it */
    struct tvm_relax_info *infos;   /* param_count, and one for the result; NULL for VM_PACKED */
    struct tvm_relax_info *results; /* as callers see them; NULL: unknown */
    size_t result_count;
};

enum vm_op {
    VM_NOTHING, /* belongs to no function */
    VM_CALL,
    VM_CLEAR, /* a call of vm.builtin.null_value: makes register dst None */
    VM_RETURN,
    VM_GOTO,
    VM_IF,
};

/* Checked and decoded. */
struct vm_instruction {
    enum vm_op op;
    int32_t dst; /* result of a call, value of a return, condition: a register, or -1 for none */
    uint32_t target; /* the function called; where a jump or a false condition leads */
    uint32_t arg_count;
    uint32_t args; /* where they begin in the executable's args */
};

struct tvm_relax_executable {
    struct tvm_module module;
    bool old_bool; /* made by TVM 0.22: kernels want bool as a 1-bit uint */
    struct vm_function *functions;
    uint32_t function_count;
    uint32_t *callable; /* those that are not VM_PACKED */
    size_t callable_count;
    struct vm_function **by_name; /* all, sorted; no two have one name */
    struct vm_instruction *code;
    int32_t *args; /* register, or ~index of a literal */
    /* Constants, one for each function, the virtual machine, None, then immediate values; those of
     * functions and of the machine differ by session. */
    struct tvm_value *literals; /* owned values */
    uint32_t constant_count;
    uint32_t literal_count;
    pthread_mutex_t mutex;
    struct vm_placed *placed; /* owned; the constants on other devices than the CPU */
};

/* Indices of literals. */
static inline uint32_t vm_literal_function(const struct tvm_relax_executable *executable,
                                           uint32_t function) {
    return executable->constant_count + function;
}
static inline uint32_t vm_literal_machine(const struct tvm_relax_executable *executable) {
    return executable->constant_count + executable->function_count;
}
static inline uint32_t vm_literal_none(const struct tvm_relax_executable *executable) {
    return vm_literal_machine(executable) + 1;
}

/* Names for a message, with commas between: of many a few, which say enough. Begins as zeros. */
struct vm_names {
    char text[512];
    size_t used, count;
};

void tvm_vm_names_add(struct vm_names *names, const char *name);

/* NULL where there is none of that name. */
struct vm_function *tvm_vm_find_function(const struct tvm_relax_executable *executable,
                                         struct tvm_bytes name);

/* Fills infos from the texts that the compiler put into the constants. */
int tvm_vm_infos_read(struct tvm_relax_executable *executable);

/* Fills results, after the infos. */
int tvm_vm_results_read(struct tvm_relax_executable *executable);
void tvm_vm_results_free(struct vm_function *function);

/* The constants for sessions on device (borrowed from the executable): copied there when they are
 * asked for the first time, then shared. */
int tvm_vm_constants_place(struct tvm_relax_executable *executable, DLDevice device,
                           const struct tvm_value **out);
void tvm_vm_constants_free(struct tvm_relax_executable *executable);

/* Makes *out own what value is: a copy of a borrowed DLTensor. */
int tvm_vm_own(const struct tvm_value *value, struct tvm_value *out);
/* The same for a value of holder, which is being made: not in deeper nests than a stack can
 * destroy. */
int tvm_vm_keep(const struct tvm_value *value, struct tvm_object *holder, struct tvm_value *out);

/* A tensor's or DLTensor's header, NULL for another value. */
static inline const DLTensor *tvm_vm_tensor_of(const struct tvm_value *value) {
    if (value->type_index == TVM_TYPE_TENSOR)
        return &((const struct tvm_tensor *)value->v_object)->dl;
    return value->type_index == TVM_TYPE_DLTENSOR_PTR ? value->v_ptr : NULL;
}

/* Whether compiled code can read the tensor where it is. */
static inline bool tvm_vm_is_aligned(const DLTensor *dl) {
    return dl->data && dl->byte_offset == 0 &&
           (dl->device.device_type != kDLCPU || (uintptr_t)dl->data % VM_ALIGNMENT == 0);
}

/* Raises an error of kind: "<function>: argument 0 (x): expected <type>, got <value>", as far as
 * the compiler's error context, argument index of call, says what they are. */
int tvm_vm_mismatch(const struct tvm_call *call, const char *kind, int32_t index,
                    const char *expected, const struct tvm_value *value);

/* Memory of activations */

struct vm_pool;

/* What alloc_storage gives: memory that tensors are made in. */
struct vm_storage {
    struct tvm_object object;
    const struct vm_pool *pool;  /* that made it; not to be followed: it may be gone */
    struct tvm_storage *memory;  /* owned */
    struct tvm_tensor *views[4]; /* owned: tensors on it, to be used again; NULL: none */
};

struct vm_pool {
    struct vm_storage **entries; /* owned */
    size_t count;
    size_t capacity;
    struct vm_storage **hints; /* the entry that allocation number … of a call got last; or NULL */
    size_t hint_count;
    size_t next; /* number of the next allocation */
};

/* At least nbytes, from the pool where an entry's last user is gone; a new reference. */
int tvm_vm_pool_alloc(struct vm_pool *pool, DLDevice device, size_t nbytes,
                      struct vm_storage **out);
void tvm_vm_pool_destroy(struct vm_pool *pool);

/* A tensor in storage, a new reference: ValueError when it does not fit or is misaligned. */
int tvm_vm_storage_tensor(struct vm_storage *storage, size_t offset, const struct tvm_shape *shape,
                          DLDataType dtype, struct tvm_tensor **out);

/* A tensor at byte offset of storage, which its data pointer includes where the device has
 * addresses and the place is aligned. */
int tvm_vm_view(struct tvm_storage *storage, size_t offset, const int64_t *shape, int ndim,
                DLDataType dtype, struct tvm_tensor **out);

/* The bytes between the start of a tensor's storage and its data. */
static inline size_t tvm_vm_tensor_offset(const struct tvm_tensor *tensor) {
    return (size_t)((char *)tensor->dl.data - (char *)tensor->storage->data) +
           (size_t)tensor->dl.byte_offset;
}

/* Sessions */

/* A function of an executable with its last arguments; the machine is not part of it. */
struct vm_closure {
    struct tvm_object object;
    struct tvm_relax_executable *executable; /* owned */
    uint32_t function;
    int32_t count;
    struct tvm_value values[]; /* owned */
};

int tvm_vm_closure_new(struct tvm_relax_executable *executable, uint32_t function,
                       const struct tvm_value *values, int32_t count, struct vm_closure **out);

/* A function ready to be called. */
struct vm_callee {
    tvm_safe_call *call;               /* NULL: bytecode */
    struct tvm_function *function;     /* owned; NULL: bytecode */
    const struct tvm_builtin *builtin; /* NULL: another function */
    bool kernel;                       /* of the model's library */
};

struct vm_chunk {
    struct vm_chunk *next, *previous;
    size_t size, used;
    size_t below; /* room in those before it */
    struct tvm_value values[];
};

struct tvm_relax_session {
    struct tvm_object object;
    struct tvm_relax_executable *executable; /* owned */
    DLDevice device;
    struct tvm_context *context; /* owned; its owner is the session */
    atomic_bool busy;
    struct vm_callee *callees;  /* by function */
    struct tvm_value *literals; /* views, but for the closures of its functions */
    struct vm_chunk *stack;     /* registers and arguments of the calls that are running */
    int depth;
    struct vm_pool pool;
};

/* Adds a call to the profile of the session's context, with its arguments; NULL in *out for one
 * that is not worth it. */
int tvm_vm_profile_add(const struct tvm_relax_session *session, const struct vm_function *function,
                       const struct vm_instruction *call, const struct tvm_value *registers,
                       struct tvm_profile_operator **out);

/* The session that is in a call on this thread; NULL: none. */
static inline struct tvm_relax_session *tvm_vm_session_current(void) {
    const struct tvm_context *context = tvm_thread()->context;
    return context ? context->owner : NULL;
}

/* The same, whose address argument 0 must be. */
int tvm_vm_session_of(const struct tvm_call *call, struct tvm_relax_session **out);

/* Gives a kernel of TVM 0.22 the bools among its arguments as it knows them. */
void tvm_vm_rewrite_bools(struct tvm_value *args, size_t count);

/* A call from outside of a closure or a packed function, with args that are converted. */
int tvm_vm_session_invoke(struct tvm_relax_session *session, const struct tvm_value *callee,
                          const struct tvm_value *args, int32_t count, struct tvm_value *result);

/* Calls function inside a call of the session, unless such are too deep in each other. */
int tvm_vm_call(struct tvm_relax_session *session, struct tvm_function *function,
                const struct tvm_value *args, int32_t count, struct tvm_value *result);
/* Calls a function of the session that is in a call: a closure or a packed function. name is what
 * messages call the caller. */
int tvm_vm_invoke(struct tvm_relax_session *session, const char *name,
                  const struct tvm_value *callee, const struct tvm_value *args, int32_t count,
                  struct tvm_value *result);

#endif
