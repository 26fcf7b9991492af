/* Sessions: registers, calls and the interpreter's loop. */
#include "relax/vm.h"

#include "base/checked.h"
#include "module/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls inside each other, and values of registers and arguments that they may have in all. */
enum { MAX_DEPTH = 4096, MAX_STACK = 1 << 24, CHUNK = 1 << 11 };

/* Closures */

static void closure_destroy(void *self) {
    struct vm_closure *closure = self;
    for (int32_t i = 0; i < closure->count; i++)
        tvm_value_clear(&closure->values[i]);
    tvm_object_release(&closure->executable->module.object);
}

int tvm_vm_closure_new(struct tvm_relax_executable *executable, uint32_t function,
                       const struct tvm_value *values, int32_t count, struct vm_closure **out) {
    size_t nbytes = sizeof(struct vm_closure) + (size_t)count * sizeof(struct tvm_value);
    struct vm_closure *closure =
        tvm_object_alloc(nbytes, (enum tvm_type_index)VM_TYPE_CLOSURE, closure_destroy);
    if (!closure)
        return -1;
    tvm_object_retain(&executable->module.object);
    closure->executable = executable;
    closure->function = function;
    for (; closure->count < count; closure->count++)
        if (tvm_vm_keep(&values[closure->count], &closure->object,
                        &closure->values[closure->count])) {
            tvm_object_release(&closure->object);
            return -1;
        }
    *out = closure;
    return 0;
}

/* The stack */

static struct vm_chunk *chunk_new(size_t count, struct vm_chunk *previous) {
    size_t size = count > CHUNK ? count : CHUNK;
    struct vm_chunk *chunk = malloc(sizeof(*chunk) + size * sizeof(struct tvm_value));
    if (!chunk) {
        tvm_raise_out_of_memory();
        return NULL;
    }
    chunk->next = NULL;
    chunk->previous = previous;
    chunk->size = size;
    chunk->used = 0;
    chunk->below = previous ? previous->below + previous->size : 0;
    return chunk;
}

/* A chunk behind the current one with room for count values. */
static int next_chunk(struct tvm_relax_session *session, size_t count) {
    struct vm_chunk *chunk = session->stack, *next = chunk->next;
    if (chunk->below + chunk->size + count > MAX_STACK)
        return tvm_raise(TVM_RUNTIME_ERROR, "the calls inside each other need too many registers");
    if (next && next->size < count) { /* the last one there is, or none behind it is used */
        for (struct vm_chunk *it = next; it; it = next) {
            next = it->next;
            free(it);
        }
        chunk->next = NULL;
    }
    if (!next && !(next = chunk->next = chunk_new(count, chunk)))
        return -1;
    session->stack = next;
    return 0;
}

static struct tvm_value *push(struct tvm_relax_session *session, size_t count) {
    if (session->stack->size - session->stack->used < count && next_chunk(session, count))
        return NULL;
    struct vm_chunk *chunk = session->stack;
    struct tvm_value *values = chunk->values + chunk->used;
    chunk->used += count;
    return values;
}

static void pop(struct tvm_relax_session *session, size_t count) {
    session->stack->used -= count;
    if (session->stack->used == 0 && session->stack->previous)
        session->stack = session->stack->previous;
}

/* Running */

static int run(struct tvm_relax_session *session, const struct vm_function *function,
               const struct tvm_value *args, struct tvm_value *result);

static void set_register(struct tvm_value *target, struct tvm_value value) {
    struct tvm_object *old = tvm_value_is_object(target) ? target->v_object : NULL;
    *target = value;
    if (old)
        tvm_object_release(old);
}

/* By its old type code, which tensors carry beside today's. */
void tvm_vm_rewrite_bools(struct tvm_value *args, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct tvm_tensor *tensor = (struct tvm_tensor *)args[i].v_object;
        if (args[i].type_index == TVM_TYPE_TENSOR && tensor->dl.dtype.code == TVM_DTYPE_BOOL)
            args[i] =
                (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &tensor->classic};
    }
}

static int call_failed(const struct tvm_relax_session *session, const struct vm_function *function,
                       uint32_t callee) {
    const char *name = session->executable->functions[callee].name;
    const struct tvm_error *error = tvm_error_peek();
    if (&session->executable->functions[callee] == function)
        return -1; /* its name is there already */
    if (strncmp(name, "vm.builtin.", 11) == 0)
        return -1; /* their messages say enough */
    if (error && error->message.size > 1000)
        return -1; /* and so do those from deep inside */
    if (error && strncmp(error->message.data, name, strlen(name)) == 0 &&
        error->message.data[strlen(name)] == ':')
        return tvm_raise_context("%s", function->name);
    return tvm_raise_context("%s: %s", function->name, name);
}

/* Inline, since it is most of what the loop does. */
static inline __attribute__((always_inline)) int run_call(struct tvm_relax_session *session,
                                                          const struct vm_function *function,
                                                          const struct vm_instruction *call,
                                                          struct tvm_value *registers) {
    const struct tvm_relax_executable *executable = session->executable;
    const struct vm_callee *callee = &session->callees[call->target];
    const int32_t *from = executable->args + call->args;
    struct tvm_value *args = registers + function->register_count;
    struct tvm_value result = tvm_none();
    for (uint32_t i = 0; i < call->arg_count; i++)
        args[i] = from[i] >= 0 ? registers[from[i]] : session->literals[~from[i]];
    if (tvm_context_check_cancel())
        return -1;
    if (executable->old_bool && callee->kernel)
        tvm_vm_rewrite_bools(args, call->arg_count);
    int32_t count = (int32_t)call->arg_count;
    int status = callee->builtin ? tvm_builtin_invoke(callee->builtin, args, count, &result)
                 : callee->call  ? callee->call(callee->function, args, count, &result)
                                : run(session, &executable->functions[call->target], args, &result);
    if (status)
        return call_failed(session, function, call->target);
    if (call->dst >= 0)
        set_register(&registers[call->dst], result);
    else
        tvm_value_clear(&result);
    return 0;
}

/* The same as run_call, measured. */
static __attribute__((noinline)) int profile_call(struct tvm_relax_session *session,
                                                  const struct vm_function *function,
                                                  const struct vm_instruction *call,
                                                  struct tvm_value *registers) {
    struct tvm_profile *profile = session->context->profile;
    struct tvm_profile_operator *op;
    if (tvm_vm_profile_add(session, function, call, registers, &op))
        return -1;
    if (!op)
        return run_call(session, function, call, registers);
    if (tvm_profile_start(profile, op) ||
        tvm_profile_stop(profile, op, run_call(session, function, call, registers)))
        return -1;
    const DLTensor *result = call->dst >= 0 ? tvm_vm_tensor_of(&registers[call->dst]) : NULL;
    return result ? tvm_profile_add_tensor(op, (struct tvm_bytes){"", 0}, result, true) : 0;
}

/* Inline for each value of measured, so that runs that are not do not even ask. */
static inline __attribute__((always_inline)) int run_code(struct tvm_relax_session *session,
                                                          const struct vm_function *function,
                                                          struct tvm_value *registers,
                                                          struct tvm_value *result, bool measured) {
    const struct vm_instruction *code = session->executable->code;
    for (uint32_t at = function->start;; at++) {
        const struct vm_instruction *it = &code[at];
        switch (it->op) {
        case VM_CALL:
            if (measured ? profile_call(session, function, it, registers)
                         : run_call(session, function, it, registers))
                return -1;
            break;
        case VM_CLEAR:
            if (it->dst >= 0)
                set_register(&registers[it->dst], tvm_none());
            break;
        case VM_RETURN:
            if (it->dst >= 0) {
                *result = registers[it->dst];
                registers[it->dst] = tvm_none();
            }
            return 0;
        case VM_IF:
            if (registers[it->dst].type_index != TVM_TYPE_INT &&
                registers[it->dst].type_index != TVM_TYPE_BOOL)
                return tvm_raise(TVM_TYPE_ERROR, "%s: a condition is a %s: expected a bool",
                                 function->name, tvm_type_name(registers[it->dst].type_index));
            if (registers[it->dst].v_int)
                break;
            /* fall through */
        case VM_GOTO:
            if (it->target <= at && tvm_context_check_cancel())
                return -1;
            at = it->target - 1; /* wraps around for 0, and at++ brings it back */
            break;
        case VM_NOTHING:
            return tvm_raise(TVM_RUNTIME_ERROR, "%s: no instruction", function->name);
        }
    }
}

/* Compiled functions work on the registers and leave the result behind the parameters. */
static int run_compiled(struct tvm_relax_session *session, const struct vm_function *function,
                        struct tvm_value *registers, struct tvm_value *result) {
    const struct tvm_relax_executable *executable = session->executable;
    const struct vm_callee *callee = &session->callees[function - executable->functions];
    struct tvm_value *literals = session->literals;
    const struct tvm_value args[4] = {tvm_opaque(session), tvm_opaque(registers),
                                      tvm_opaque(literals),
                                      tvm_opaque(literals + vm_literal_function(executable, 0))};
    struct tvm_value ignored = tvm_none();
    if (session->context->profile)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: it is compiled to machine code, where no calls can be measured: "
                         "compile the model with exec_mode=\"bytecode\" to see them",
                         function->name);
    if (callee->call(callee->function, args, 4, &ignored))
        return -1;
    tvm_value_clear(&ignored);
    *result = registers[function->param_count];
    registers[function->param_count] = tvm_none();
    return 0;
}

/* Calls with as many args as the function has parameters. */
static int run(struct tvm_relax_session *session, const struct vm_function *function,
               const struct tvm_value *args, struct tvm_value *result) {
    size_t count = (size_t)function->register_count + function->max_args;
    if (tvm_check_depth(session->depth, MAX_DEPTH))
        return tvm_raise_context("%s", function->name);
    struct tvm_value *registers = push(session, count);
    if (!registers)
        return -1;
    session->depth++;
    memset(registers, 0, function->register_count * sizeof(*registers));
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < function->param_count; i++)
        status = tvm_value_own(&args[i], &registers[i]);
    if (status == 0 && function->kind == VM_TIR)
        status = run_compiled(session, function, registers, result);
    else if (status == 0 && session->context->profile)
        status = run_code(session, function, registers, result, true);
    else if (status == 0)
        status = run_code(session, function, registers, result, false);
    for (uint32_t i = 0; i < function->register_count; i++)
        if (tvm_value_is_object(&registers[i]))
            tvm_object_release(registers[i].v_object);
    session->depth--;
    pop(session, count);
    return status;
}

/* A function by its index, with closed more arguments behind args. */
static int invoke_function(struct tvm_relax_session *session, uint32_t index,
                           const struct tvm_value *args, int32_t count,
                           const struct tvm_value *closed, int32_t closed_count,
                           struct tvm_value *result) {
    const struct vm_function *function = &session->executable->functions[index];
    if ((uint32_t)count + (uint32_t)closed_count != function->param_count)
        return tvm_raise(TVM_VALUE_ERROR, "%s: expected %u argument%s, got %d", function->name,
                         function->param_count - (uint32_t)closed_count,
                         function->param_count - (uint32_t)closed_count == 1 ? "" : "s", count);
    if (closed_count == 0)
        return run(session, function, args, result);
    struct tvm_value *all = push(session, function->param_count);
    if (!all)
        return -1;
    if (count)
        memcpy(all, args, (size_t)count * sizeof(*all));
    memcpy(all + count, closed, (size_t)closed_count * sizeof(*all));
    int status = run(session, function, all, result);
    pop(session, function->param_count);
    return status;
}

int tvm_vm_call(struct tvm_relax_session *session, struct tvm_function *function,
                const struct tvm_value *args, int32_t count, struct tvm_value *result) {
    if (tvm_check_depth(session->depth, MAX_DEPTH))
        return -1;
    session->depth++;
    int status = tvm_function_call(function, args, count, result);
    session->depth--;
    return status;
}

int tvm_vm_invoke(struct tvm_relax_session *session, const char *name,
                  const struct tvm_value *callee, const struct tvm_value *args, int32_t count,
                  struct tvm_value *result) {
    if (callee->type_index == TVM_TYPE_FUNCTION)
        return tvm_vm_call(session, (struct tvm_function *)callee->v_object, args, count, result);
    if (callee->type_index != VM_TYPE_CLOSURE)
        return tvm_raise(TVM_TYPE_ERROR, "%s: expected a function or a closure, got %s", name,
                         tvm_type_name(callee->type_index));
    const struct vm_closure *closure = (struct vm_closure *)callee->v_object;
    if (closure->executable != session->executable)
        return tvm_raise(TVM_VALUE_ERROR, "%s: the closure belongs to another model", name);
    return invoke_function(session, closure->function, args, count, closure->values, closure->count,
                           result);
}

/* Making sessions */

static void session_destroy(void *self) {
    struct tvm_relax_session *session = self;
    struct tvm_relax_executable *executable = session->executable;
    struct vm_chunk *chunk = session->stack, *next;
    while (chunk && chunk->previous)
        chunk = chunk->previous;
    for (; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    for (uint32_t i = 0; i < executable->function_count; i++) {
        if (session->callees && session->callees[i].function)
            tvm_object_release(&session->callees[i].function->object);
        if (session->literals && executable->functions[i].kind != VM_PACKED)
            tvm_value_clear(&session->literals[vm_literal_function(executable, i)]);
    }
    free(session->callees);
    free(session->literals);
    tvm_vm_pool_destroy(&session->pool);
    tvm_context_destroy(session->context);
    tvm_object_release(&executable->module.object);
}

/* In what the executable imports, then among the registered ones; NULL in *out for none. */
static int look_up(const struct tvm_relax_executable *executable, const char *name, bool global,
                   struct tvm_function **out) {
    if (tvm_module_get_imported(&executable->module, name, true, out))
        return -1;
    return *out || !global ? 0 : tvm_registry_get(name, out);
}

/* Function index of the executable; leaves out the callee of one that nobody has. */
static int bind_function(struct tvm_relax_session *session, uint32_t index) {
    struct tvm_relax_executable *executable = session->executable;
    const struct vm_function *function = &executable->functions[index];
    struct vm_callee *callee = &session->callees[index];
    struct tvm_value *literal = &session->literals[vm_literal_function(executable, index)];
    struct vm_closure *closure;
    int status = 0;
    if (function->kind == VM_PACKED) {
        status = look_up(executable, function->name, true, &callee->function);
        *literal = tvm_from_object(callee->function);
    } else if ((status = tvm_vm_closure_new(executable, index, NULL, 0, &closure)) == 0) {
        *literal = tvm_from_object(closure);
    }
    if (status == 0 && function->kind == VM_TIR) {
        char *name = malloc(strlen(function->name) + sizeof("__vmtir__"));
        if (!name)
            return tvm_raise_out_of_memory();
        strcat(strcpy(name, "__vmtir__"), function->name);
        status = look_up(executable, name, false, &callee->function);
        free(name);
    }
    if (status || !callee->function)
        return status;
    callee->call = tvm_library_function_code(callee->function);
    callee->kernel = callee->call != NULL;
    callee->builtin = tvm_function_builtin(callee->function);
    if (!callee->kernel)
        callee->call = callee->function->call;
    return 0;
}

/* Says which functions are missing. */
static int refuse_missing(const struct tvm_relax_session *session) {
    struct vm_names missing = {0};
    for (uint32_t i = 0; i < session->executable->function_count; i++) {
        const struct vm_function *function = &session->executable->functions[i];
        if (!session->callees[i].call && function->kind != VM_BYTECODE)
            tvm_vm_names_add(&missing, function->name);
    }
    if (missing.count == 0)
        return 0;
    return tvm_raise(TVM_NOT_FOUND_ERROR,
                     "the model calls %zu function%s that neither its library nor this program "
                     "has: %s: register %s before",
                     missing.count, missing.count == 1 ? "" : "s", missing.text,
                     missing.count == 1 ? "it" : "them");
}

static int session_init(struct tvm_relax_session *session) {
    const struct tvm_relax_executable *executable = session->executable;
    const struct tvm_value *constants;
    size_t count = executable->literal_count;
    session->callees = calloc((size_t)executable->function_count + 1, sizeof(*session->callees));
    session->literals = calloc(count, sizeof(*session->literals));
    if (!session->callees || !session->literals)
        return tvm_raise_out_of_memory();
    memcpy(session->literals, executable->literals, count * sizeof(*session->literals));
    if (tvm_vm_constants_place(session->executable, session->device, &constants))
        return -1;
    memcpy(session->literals, constants, executable->constant_count * sizeof(*constants));
    session->literals[vm_literal_machine(executable)] = tvm_opaque(session);
    if (tvm_context_new(&session->context) || !(session->stack = chunk_new(0, NULL)))
        return -1;
    session->context->owner = session;
    for (uint32_t i = 0; i < executable->function_count; i++)
        if (bind_function(session, i))
            return -1;
    return refuse_missing(session);
}

int tvm_relax_session_new(struct tvm_relax_executable *executable, DLDevice device,
                          struct tvm_relax_session **out) {
    const struct tvm_device_api *api;
    if (tvm_device_get(device, &api))
        return -1;
    struct tvm_relax_session *session =
        tvm_object_alloc(sizeof(*session), TVM_TYPE_OBJECT, session_destroy);
    if (!session)
        return -1;
    tvm_object_retain(&executable->module.object);
    session->executable = executable;
    session->device = device;
    if (session_init(session)) {
        tvm_object_release(&session->object);
        return -1;
    }
    *out = session;
    return 0;
}

struct tvm_relax_executable *tvm_relax_session_executable(const struct tvm_relax_session *session) {
    return session->executable;
}

struct tvm_context *tvm_relax_session_context(struct tvm_relax_session *session) {
    return session->context;
}

int tvm_vm_session_of(const struct tvm_call *call, struct tvm_relax_session **out) {
    *out = tvm_vm_session_current();
    if (*out && call->count > 0 && call->args[0].type_index == TVM_TYPE_OPAQUE_PTR &&
        call->args[0].v_ptr == *out)
        return 0;
    return tvm_raise(TVM_VALUE_ERROR,
                     "%s: argument 0 (vm): expected the virtual machine that runs on this thread",
                     call->name);
}

/* Calls from outside */

/* The message's name of a parameter: "0 (x)". */
static const char *param_name(const struct vm_function *function, uint32_t index, char *buffer,
                              size_t size) {
    const char *name = function->infos[index].name.data;
    snprintf(buffer, size, name && *name ? "%u (%s)" : "%u", index, name);
    return buffer;
}

/* A value that can be taken as it is: no conversion, no new reference. */
static bool is_plain(const struct tvm_relax_session *session, const struct tvm_value *value) {
    if (value->type_index == TVM_TYPE_TENSOR) {
        const DLTensor *dl = &((struct tvm_tensor *)value->v_object)->dl;
        return tvm_vm_is_aligned(dl) && !dl->strides &&
               tvm_device_equal(dl->device, session->device);
    }
    return value->type_index < TVM_TYPE_DLTENSOR_PTR || value->type_index == TVM_TYPE_SHAPE;
}

/* Converts the arguments that need it, into owned (count values, None before). */
static int convert_args(const struct tvm_relax_session *session, const struct vm_function *function,
                        const struct tvm_value *args, struct tvm_value *owned) {
    for (uint32_t i = 0; i < function->param_count; i++) {
        char text[96];
        if (is_plain(session, &args[i]))
            continue;
        param_name(function, i, text, sizeof(text));
        if (tvm_relax_session_convert(session, function->name, text, &args[i], &owned[i]))
            return -1;
    }
    return 0;
}

static int call_converted(struct tvm_relax_session *session, const struct vm_function *function,
                          const struct tvm_value *args, struct tvm_value *result) {
    uint32_t count = function->param_count;
    struct tvm_value *views = push(session, (size_t)count * 2);
    if (!views)
        return -1;
    struct tvm_value *owned = views + count;
    memset(owned, 0, count * sizeof(*owned));
    int status = convert_args(session, function, args, owned);
    for (uint32_t i = 0; i < count; i++)
        views[i] = owned[i].type_index != TVM_TYPE_NONE ? owned[i] : args[i];
    if (status == 0)
        status = run(session, function, views, result);
    for (uint32_t i = 0; i < count; i++)
        tvm_value_clear(&owned[i]);
    pop(session, (size_t)count * 2);
    return status;
}

/* A call from outside, from start to end. */
struct outer_call {
    struct tvm_context_scope scope;
    size_t mark;
};

static int enter(struct tvm_relax_session *session, const char *name, struct outer_call *out) {
    if (atomic_exchange_explicit(&session->busy, true, memory_order_acquire)) {
        tvm_raise(TVM_BUSY_ERROR, "%s: the session is in a call already", name);
        return -1; /* a constant, so that the compiler sees *out set where the result is 0 */
    }
    out->scope = tvm_context_enter(session->context);
    out->mark = tvm_workspace_mark();
    session->pool.next = 0;
    if (session->context->profile)
        tvm_profile_begin(session->context->profile);
    return 0;
}

static int leave(struct tvm_relax_session *session, const struct outer_call *call, int status) {
    if (session->context->profile)
        tvm_profile_end(session->context->profile);
    if (status)
        tvm_workspace_drop(call->mark);
    tvm_context_leave(call->scope);
    atomic_store_explicit(&session->busy, false, memory_order_release);
    return status;
}

int tvm_relax_session_call(struct tvm_relax_session *session, size_t index,
                           const struct tvm_value *args, int32_t count, struct tvm_value *result) {
    const struct tvm_relax_executable *executable = session->executable;
    const struct vm_function *function = &executable->functions[executable->callable[index]];
    struct outer_call call;
    *result = tvm_none();
    if (count < 0 || (uint32_t)count != function->param_count)
        return tvm_raise(TVM_VALUE_ERROR, "%s: expected %u argument%s, got %d", function->name,
                         function->param_count, function->param_count == 1 ? "" : "s", count);
    if (enter(session, function->name, &call))
        return -1;
    bool plain = true;
    for (int32_t i = 0; i < count; i++)
        plain = plain && is_plain(session, &args[i]);
    return leave(session, &call,
                 plain ? run(session, function, args, result)
                       : call_converted(session, function, args, result));
}

int tvm_vm_session_invoke(struct tvm_relax_session *session, const struct tvm_value *callee,
                          const struct tvm_value *args, int32_t count, struct tvm_value *result) {
    struct outer_call call;
    *result = tvm_none();
    if (enter(session, "invoke_closure", &call))
        return -1;
    return leave(session, &call,
                 tvm_vm_invoke(session, "invoke_closure", callee, args, count, result));
}
