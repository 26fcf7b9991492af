/* Relax executables (TVM 0.22 and newer): one library with kernels, bytecode and constants.
 *
 * Executable: validated bytecode and constants, immutable, shared by all sessions; any threads at
 * once. Session: registers, memory for activations, bound functions; one thread at a time. */
#ifndef TVM_RELAX_RELAX_H
#define TVM_RELAX_RELAX_H

#include "base/context.h"
#include "base/module.h"
#include "base/tensor.h"

struct tvm_relax_executable; /* a struct tvm_module of kind "relax.VMExecutable" */
struct tvm_relax_session;    /* a struct tvm_object */

/* Reads an executable from a library's blob. FormatError for damaged data, UnsupportedError naming
 * what this build does not know, or the Python-only functions that the model calls. */
extern const struct tvm_module_kind tvm_relax_executable_kind;

/* The executable that a library's root module is, borrowed; NULL for any other module. */
struct tvm_relax_executable *tvm_relax_executable_of(struct tvm_module *module);

/* A parameter of a function, or a result: a tensor that it gives, alone or in tuples. What neither
 * the compiler wrote down nor the bytecode shows is unknown, such as the shapes of parameters that
 * hold weights. All of it is borrowed from the executable. */
struct tvm_relax_info {
    struct tvm_bytes name;       /* NUL-terminated; of a result: empty */
    struct tvm_bytes annotation; /* TVM's text for its type, "R.Tensor((n, 16), dtype=…"; not
                                    NUL-terminated, empty: unknown */
    bool is_tensor;              /* the next three are known */
    DLDataType dtype;
    int ndim;             /* -1: unknown */
    const int64_t *shape; /* ndim dimensions, -1: not fixed; NULL: none, or none is known */
};

/* Functions that callers can call, by index in the order of the file; an index must be below the
 * count. Names hold no NUL. */
size_t tvm_relax_function_count(const struct tvm_relax_executable *executable);
struct tvm_bytes tvm_relax_function_name(const struct tvm_relax_executable *executable,
                                         size_t index);
size_t tvm_relax_param_count(const struct tvm_relax_executable *executable, size_t index);
struct tvm_relax_info tvm_relax_param(const struct tvm_relax_executable *executable, size_t index,
                                      size_t param);
/* 0: it is not known what the function gives. */
size_t tvm_relax_result_count(const struct tvm_relax_executable *executable, size_t index);
struct tvm_relax_info tvm_relax_result(const struct tvm_relax_executable *executable, size_t index,
                                       size_t result);
/* False when there is no function of that name. */
bool tvm_relax_find_function(const struct tvm_relax_executable *executable, const char *name,
                             size_t *index);

/* Makes a session (a reference to executable is added). The functions that the executable calls
 * are looked up now, in its library and among the registered ones: NotFoundError names those that
 * are missing. Constants are copied to a device that is no CPU once for all its sessions. */
int tvm_relax_session_new(struct tvm_relax_executable *executable, DLDevice device,
                          struct tvm_relax_session **out);
/* The executable and the execution context of a session, borrowed; the context is for its thread
 * limit, cancel flag and profile. */
struct tvm_relax_executable *tvm_relax_session_executable(const struct tvm_relax_session *session);
struct tvm_context *tvm_relax_session_context(struct tvm_relax_session *session);

/* Calls function index with count views. Tensors must be compact and on the session's device;
 * memory that is not aligned to 64 bytes is copied. Errors name the argument, what is expected and
 * what it is. BusyError while the session is in a call, also in one of this thread.
 *
 * Where the session's context has a profile, it gets the calls of kernels, of functions of the
 * program, and of the builtins that copy elements: names, tensors and times. Of a function that is
 * compiled to machine code nothing is seen: UnsupportedError.
 *
 * *result is owned: a tensor, a shape, a number, or an array of such (a tuple). Its memory is its
 * own until its last reference goes; but it may be an argument or a constant of the model, so it
 * must not be written to. */
int tvm_relax_session_call(struct tvm_relax_session *session, size_t index,
                           const struct tvm_value *args, int32_t count, struct tvm_value *result);

/* An owned value that can be handed to calls any number of times, as they would convert it at each:
 * borrowed and misaligned memory is copied. function and what name it in messages. */
int tvm_relax_session_convert(const struct tvm_relax_session *session, const char *function,
                              const char *what, const struct tvm_value *value,
                              struct tvm_value *out);

/* The module that an executable's vm_load_executable gives: TVM's functions on a session of its
 * own, which vm_initialization makes. */
int tvm_relax_machine_new(struct tvm_relax_executable *executable, struct tvm_module **out);

/* vm.builtin.*, as compiled code finds them: those that take the virtual machine work only on the
 * session that is in a call on this thread. */
tvm_builtin_call tvm_relax_alloc_shape_heap;
tvm_builtin_call tvm_relax_alloc_storage;
tvm_builtin_call tvm_relax_alloc_tensor;
tvm_builtin_call tvm_relax_call_tir_dyn;
tvm_builtin_call tvm_relax_check_func_info;
tvm_builtin_call tvm_relax_check_prim_value_info;
tvm_builtin_call tvm_relax_check_shape_info;
tvm_builtin_call tvm_relax_check_string_info;
tvm_builtin_call tvm_relax_check_tensor_info;
tvm_builtin_call tvm_relax_check_tuple_info;
tvm_builtin_call tvm_relax_copy;
tvm_builtin_call tvm_relax_create_view;
tvm_builtin_call tvm_relax_ensure_zero_offset;
tvm_builtin_call tvm_relax_invoke_closure;
tvm_builtin_call tvm_relax_make_closure;
tvm_builtin_call tvm_relax_make_prim_value;
tvm_builtin_call tvm_relax_make_shape;
tvm_builtin_call tvm_relax_make_tuple;
tvm_builtin_call tvm_relax_match_prim_value;
tvm_builtin_call tvm_relax_match_shape;
tvm_builtin_call tvm_relax_null_value;
tvm_builtin_call tvm_relax_read_if_cond;
tvm_builtin_call tvm_relax_reshape;
tvm_builtin_call tvm_relax_shape_of;
tvm_builtin_call tvm_relax_tensor_to_shape;
tvm_builtin_call tvm_relax_to_device;
tvm_builtin_call tvm_relax_tuple_getitem;
tvm_builtin_call tvm_relax_tuple_reset_item;

#endif
