/* TVM's own way to a Relax model: a module with vm_initialization, set_input, invoke_stateful … */
#include "relax/vm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What set_input, invoke_stateful and save_function keep under a name. */
struct record {
    struct record *next;
    char *name;
    size_t function;
    bool returns;            /* a saved function that gives its result */
    struct tvm_array *input; /* owned; NULL: not set */
    struct tvm_value output; /* owned; None before the first call */
    bool called;
};

struct machine {
    struct tvm_module module;                /* imports what the executable imports */
    struct tvm_relax_executable *executable; /* owned */
    struct tvm_relax_session *session;       /* owned; NULL before vm_initialization */
    atomic_bool busy;                        /* in one of the methods below, or in the model */
    struct record *functions;                /* inputs and outputs, by the function's name */
    struct record *saved;                    /* made by save_function; under mutex */
    pthread_mutex_t mutex;
};

static int enter(struct machine *machine, const char *name) {
    if (!atomic_exchange_explicit(&machine->busy, true, memory_order_acquire))
        return 0;
    return tvm_raise(TVM_BUSY_ERROR, "%s: the virtual machine is in a call already", name);
}

static void leave(struct machine *machine) {
    atomic_store_explicit(&machine->busy, false, memory_order_release);
}

static void records_free(struct record *record) {
    struct record *next;
    for (; record; record = next) {
        next = record->next;
        if (record->input)
            tvm_object_release(&record->input->object);
        tvm_value_clear(&record->output);
        free(record->name);
        free(record);
    }
}

static void machine_destroy(struct tvm_module *self) {
    struct machine *machine = (struct machine *)self;
    records_free(machine->functions);
    records_free(machine->saved);
    pthread_mutex_destroy(&machine->mutex);
    if (machine->session)
        tvm_object_release(&machine->session->object);
    tvm_object_release(&machine->executable->module.object);
}

static struct record *find_record(struct record *list, struct tvm_bytes name) {
    for (; list; list = list->next)
        if (strlen(list->name) == name.size && memcmp(list->name, name.data, name.size) == 0)
            return list;
    return NULL;
}

static int get_record(struct record **list, struct tvm_bytes name, size_t function,
                      struct record **out) {
    if ((*out = find_record(*list, name)))
        return 0;
    struct record *record = calloc(1, sizeof(*record));
    char *copy = strndup(name.size ? name.data : "", name.size);
    if (!record || !copy) {
        free(record);
        free(copy);
        return tvm_raise_out_of_memory();
    }
    record->name = copy;
    record->function = function;
    record->next = *list;
    *out = *list = record;
    return 0;
}

/* The session, when there is one. */
static int ready(const struct machine *machine, const struct tvm_call *call) {
    if (machine->session)
        return 0;
    return tvm_raise(TVM_RUNTIME_ERROR, "%s: call vm_initialization first", call->name);
}

/* Argument 0, the name of one of the model's functions. */
static int call_function(const struct machine *machine, const struct tvm_call *call,
                         struct tvm_bytes *name, size_t *index) {
    const struct tvm_relax_executable *executable = machine->executable;
    if (tvm_call_text(call, 0, "function", name))
        return -1;
    for (*index = tvm_relax_function_count(executable); (*index)-- > 0;) {
        struct tvm_bytes known = tvm_relax_function_name(executable, *index);
        if (known.size == name->size && memcmp(known.data, name->data, known.size) == 0)
            return 0;
    }
    return tvm_raise(TVM_NOT_FOUND_ERROR, "%s: the model has no function %.*s", call->name,
                     (int)(name->size < 200 ? name->size : 200), name->data);
}

/* (device type, device id, kind of allocator) for each device, the host last */
static int vm_initialization(struct tvm_module *self, const struct tvm_call *call,
                             struct tvm_value *result) {
    struct machine *machine = (struct machine *)self;
    struct tvm_relax_session *session;
    int64_t type, id, allocator;
    DLDevice device = {kDLCPU, 0};
    (void)result;
    if (call->count == 0 || call->count % 3)
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s: expected device type, device id and kind of allocator for each "
                         "device, got %d arguments",
                         call->name, call->count);
    for (int32_t i = 0; i < call->count; i += 3) {
        if (tvm_call_int(call, i, "device type", &type) ||
            tvm_call_int(call, i + 1, "device id", &id) ||
            tvm_call_int(call, i + 2, "kind of allocator", &allocator))
            return -1;
        if (type < 0 || type > INT32_MAX || id < 0 || id > INT32_MAX)
            return tvm_raise(TVM_VALUE_ERROR, "%s: no device has type %lld and id %lld", call->name,
                             (long long)type, (long long)id);
        if (i == 0)
            device = (DLDevice){(DLDeviceType)type, (int)id};
    }
    if (tvm_relax_session_new(machine->executable, device, &session))
        return -1;
    if (machine->session)
        tvm_object_release(&machine->session->object);
    machine->session = session;
    return 0;
}

/* Arguments from first on, converted, as an array. */
static int keep_args(const struct machine *machine, const struct tvm_call *call, size_t function,
                     int32_t first, struct tvm_array **out) {
    const struct tvm_relax_executable *executable = machine->executable;
    const char *name = tvm_relax_function_name(executable, function).data;
    size_t expected = tvm_relax_param_count(executable, function), given = 0;
    if (call->count > first)
        given = (size_t)(call->count - first);
    if (given > expected || (first == 1 && given < expected))
        return tvm_raise(TVM_VALUE_ERROR, "%s: %s takes %zu arguments, got %zu", call->name, name,
                         expected, given);
    if (tvm_array_new(given, out))
        return -1;
    for (int32_t i = first; i < call->count; i++) {
        /* set_input gives all arguments, save_function the last ones */
        size_t param = expected - given + (size_t)(i - first);
        const char *what = tvm_relax_param(executable, function, param).name.data;
        if (tvm_relax_session_convert(machine->session, name, what, &call->args[i],
                                      &(*out)->items[i - first])) {
            tvm_object_release(&(*out)->object);
            return -1;
        }
        (*out)->size++;
    }
    return 0;
}

/* (function, arguments…) */
static int set_input(struct tvm_module *self, const struct tvm_call *call,
                     struct tvm_value *result) {
    struct machine *machine = (struct machine *)self;
    struct record *record;
    struct tvm_array *input;
    struct tvm_bytes name;
    size_t index;
    (void)result;
    if (ready(machine, call) || call_function(machine, call, &name, &index))
        return -1;
    if (get_record(&machine->functions, name, index, &record) ||
        keep_args(machine, call, index, 1, &input))
        return -1;
    if (record->input)
        tvm_object_release(&record->input->object);
    record->input = input;
    return 0;
}

/* (function) */
static int invoke_stateful(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    struct machine *machine = (struct machine *)self;
    struct tvm_bytes name;
    struct tvm_value output;
    size_t index;
    (void)result;
    if (ready(machine, call) || tvm_call_check_count(call, 1, 1) ||
        call_function(machine, call, &name, &index))
        return -1;
    struct record *record = find_record(machine->functions, name);
    if (!record || !record->input)
        return tvm_raise(TVM_VALUE_ERROR, "%s: %.*s has no inputs: call set_input first",
                         call->name, (int)name.size, name.data);
    tvm_value_clear(&record->output); /* its memory may be used again */
    record->called = false;
    if (tvm_relax_session_call(machine->session, index, record->input->items,
                               (int32_t)record->input->size, &output))
        return -1;
    record->output = output;
    record->called = true;
    return 0;
}

/* (function, indices into nested tuples…) */
static int find_output(const struct machine *machine, const struct tvm_call *call,
                       const struct tvm_value **out) {
    struct tvm_bytes name;
    size_t index;
    if (ready(machine, call) || call_function(machine, call, &name, &index))
        return -1;
    const struct record *record = find_record(machine->functions, name);
    if (!record || !record->called)
        return tvm_raise(TVM_VALUE_ERROR, "%s: %.*s has no output: call invoke_stateful first",
                         call->name, (int)name.size, name.data);
    *out = &record->output;
    for (int32_t i = 1; i < call->count; i++) {
        int64_t item;
        if (tvm_call_int(call, i, "index", &item))
            return -1;
        if ((*out)->type_index != TVM_TYPE_ARRAY)
            return tvm_raise(TVM_VALUE_ERROR, "%s: argument %d is an index into a %s", call->name,
                             i, tvm_type_name((*out)->type_index));
        const struct tvm_array *array = (const struct tvm_array *)(*out)->v_object;
        if (item < 0 || item >= array->size)
            return tvm_raise(TVM_INDEX_ERROR, "%s: item %lld of %lld", call->name, (long long)item,
                             (long long)array->size);
        *out = &array->items[item];
    }
    return 0;
}

static int get_output_arity(struct tvm_module *self, const struct tvm_call *call,
                            struct tvm_value *result) {
    const struct tvm_value *output;
    if (find_output((struct machine *)self, call, &output))
        return -1;
    *result = tvm_int(output->type_index == TVM_TYPE_ARRAY
                          ? ((const struct tvm_array *)output->v_object)->size
                          : -1);
    return 0;
}

static int get_output(struct tvm_module *self, const struct tvm_call *call,
                      struct tvm_value *result) {
    const struct tvm_value *output;
    if (find_output((struct machine *)self, call, &output))
        return -1;
    if (output->type_index == TVM_TYPE_ARRAY)
        return tvm_raise(TVM_VALUE_ERROR, "%s: the output is a tuple: say which item", call->name);
    return tvm_value_own(output, result);
}

static int get_function_arity(struct tvm_module *self, const struct tvm_call *call,
                              struct tvm_value *result) {
    const struct machine *machine = (struct machine *)self;
    struct tvm_bytes name;
    size_t index;
    if (tvm_call_check_count(call, 1, 1) || call_function(machine, call, &name, &index))
        return -1;
    *result = tvm_int((int64_t)tvm_relax_param_count(machine->executable, index));
    return 0;
}

/* (function, index) */
static int get_function_param_name(struct tvm_module *self, const struct tvm_call *call,
                                   struct tvm_value *result) {
    const struct machine *machine = (struct machine *)self;
    struct tvm_bytes name;
    size_t index;
    int64_t param;
    if (tvm_call_check_count(call, 2, 2) || call_function(machine, call, &name, &index) ||
        tvm_call_int(call, 1, "index", &param))
        return -1;
    size_t count = tvm_relax_param_count(machine->executable, index);
    if (param < 0 || (uint64_t)param >= count)
        return tvm_raise(TVM_INDEX_ERROR, "%s: parameter %lld of %zu", call->name, (long long)param,
                         count);
    struct tvm_bytes text = tvm_relax_param(machine->executable, index, (size_t)param).name;
    return tvm_value_from_text(TVM_TYPE_STR, text.data, text.size, result);
}

/* (function, name to save it as, whether it gives its result, arguments…) */
static int save_function(struct tvm_module *self, const struct tvm_call *call,
                         struct tvm_value *result) {
    struct machine *machine = (struct machine *)self;
    struct tvm_bytes name, saved;
    struct tvm_array *input;
    struct record *record;
    int64_t returns;
    size_t index;
    (void)result;
    if (ready(machine, call) || call_function(machine, call, &name, &index) ||
        tvm_call_text(call, 1, "name", &saved) || tvm_call_int(call, 2, "include_return", &returns))
        return -1;
    if (keep_args(machine, call, index, 3, &input))
        return -1;
    pthread_mutex_lock(&machine->mutex);
    int status = get_record(&machine->saved, saved, index, &record);
    if (status == 0) {
        struct tvm_array *old = record->input;
        record->function = index;
        record->input = input;
        record->returns = returns != 0;
        input = old;
    }
    pthread_mutex_unlock(&machine->mutex);
    if (input)
        tvm_object_release(&input->object);
    return status;
}

/* (closure, arguments…) */
static int invoke_closure(struct tvm_module *self, const struct tvm_call *call,
                          struct tvm_value *result) {
    const struct machine *machine = (struct machine *)self;
    struct tvm_array *args;
    if (ready(machine, call) || tvm_call_check_count(call, 1, INT32_MAX) ||
        tvm_array_new((size_t)call->count - 1, &args))
        return -1;
    int status = 0;
    for (int32_t i = 1; status == 0 && i < call->count; i++) {
        status = tvm_relax_session_convert(machine->session, call->name, "of the closure",
                                           &call->args[i], &args->items[i - 1]);
        args->size += status == 0;
    }
    if (status == 0)
        status = tvm_vm_session_invoke(machine->session, &call->args[0], args->items,
                                       (int32_t)args->size, result);
    tvm_object_release(&args->object);
    return status;
}

/* The model's functions by name */

struct bound {
    struct machine *machine; /* owned */
    size_t function;
    struct tvm_array *last; /* owned: arguments behind the caller's; NULL: none */
    bool returns;
};

static void bound_free(void *resource) {
    struct bound *bound = resource;
    if (bound->last)
        tvm_object_release(&bound->last->object);
    tvm_object_release(&bound->machine->module.object);
    free(bound);
}

static int call_saved(const struct bound *bound, const struct tvm_value *args, int32_t count,
                      struct tvm_value *result) {
    size_t total = (size_t)count + (size_t)bound->last->size;
    struct tvm_value *all = malloc((total + 1) * sizeof(*all));
    if (!all)
        return tvm_raise_out_of_memory();
    if (count)
        memcpy(all, args, (size_t)count * sizeof(*all));
    memcpy(all + count, bound->last->items, (size_t)bound->last->size * sizeof(*all));
    int status = tvm_relax_session_call(bound->machine->session, bound->function, all,
                                        (int32_t)total, result);
    free(all);
    if (status == 0 && !bound->returns)
        tvm_value_clear(result);
    return status;
}

static int bound_call(void *self, const struct tvm_value *args, int32_t count,
                      struct tvm_value *result) {
    const struct bound *bound = ((struct tvm_function *)self)->resource;
    struct machine *machine = bound->machine;
    struct tvm_call call = {tvm_relax_function_name(machine->executable, bound->function).data,
                            args, count};
    if (enter(machine, call.name))
        return -1;
    int status = ready(machine, &call);
    if (status == 0)
        status = bound->last ? call_saved(bound, args, count, result)
                             : tvm_relax_session_call(machine->session, bound->function, args,
                                                      count, result);
    leave(machine);
    return status;
}

/* Function index, or the saved one of record; a new reference. */
static int bind_function(struct machine *machine, size_t index, const struct record *record,
                         struct tvm_function **out) {
    struct bound *bound = malloc(sizeof(*bound));
    if (!bound)
        return tvm_raise_out_of_memory();
    *bound = (struct bound){machine, index, NULL, true};
    if (record) {
        *bound = (struct bound){machine, record->function, record->input, record->returns};
        tvm_object_retain(&record->input->object);
    }
    tvm_object_retain(&machine->module.object);
    if (tvm_function_new(bound_call, bound, bound_free, out) == 0)
        return 0;
    bound_free(bound);
    return -1;
}

#define METHODS(X)                                                                                 \
    X(vm_initialization)                                                                           \
    X(set_input)                                                                                   \
    X(invoke_stateful)                                                                             \
    X(get_output)                                                                                  \
    X(get_output_arity)                                                                            \
    X(get_function_arity) X(get_function_param_name) X(save_function) X(invoke_closure)

#define BODY(name) {#name, name},
static const struct tvm_module_method bodies[] = {METHODS(BODY){NULL, NULL}};

/* Any of the methods, by one thread at a time. */
static int call_method(struct tvm_module *self, const struct tvm_call *call,
                       struct tvm_value *result) {
    struct machine *machine = (struct machine *)self;
    const struct tvm_module_method *body = bodies;
    while (strcmp(body->name, call->name) != 0)
        body++;
    if (enter(machine, call->name))
        return -1;
    int status = body->call(self, call, result);
    leave(machine);
    return status;
}

#define GUARDED(name) {#name, call_method},
static const struct tvm_module_method methods[] = {METHODS(GUARDED){NULL, NULL}};

static int machine_get_function(struct tvm_module *self, const char *name,
                                struct tvm_function **out) {
    struct machine *machine = (struct machine *)self;
    size_t index;
    if (tvm_module_get_method(self, methods, name, out))
        return -1;
    if (*out)
        return 0;
    pthread_mutex_lock(&machine->mutex);
    const struct record *saved =
        find_record(machine->saved, (struct tvm_bytes){name, strlen(name)});
    int status = saved ? bind_function(machine, 0, saved, out) : 0;
    pthread_mutex_unlock(&machine->mutex);
    if (!saved && tvm_relax_find_function(machine->executable, name, &index))
        return bind_function(machine, index, NULL, out);
    return status;
}

static const struct tvm_module_kind machine_kind = {.key = "relax.VirtualMachine",
                                                    .get_function = machine_get_function,
                                                    .destroy = machine_destroy};

int tvm_relax_machine_new(struct tvm_relax_executable *executable, struct tvm_module **out) {
    struct machine *machine = tvm_module_alloc(sizeof(*machine), &machine_kind);
    if (!machine)
        return -1;
    tvm_object_retain(&executable->module.object);
    machine->executable = executable;
    pthread_mutex_init(&machine->mutex, NULL);
    struct tvm_module *import;
    for (size_t i = 0; (import = tvm_module_import_at(&executable->module, i)); i++)
        if (tvm_module_import(&machine->module, import)) {
            tvm_object_release(&machine->module.object);
            return -1;
        }
    *out = &machine->module;
    return 0;
}
