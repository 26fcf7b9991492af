/* Making sessions, and running them. */
#include "graph/session.h"

#include "base/os.h"

#include <stdlib.h>
#include <string.h>

int tvm_graph_session_enter(struct tvm_graph_session *session) {
    if (atomic_exchange_explicit(&session->busy, true, memory_order_acquire))
        return tvm_raise(TVM_BUSY_ERROR, "the session is busy: one call at a time may use it");
    return 0;
}

void tvm_graph_session_leave(struct tvm_graph_session *session) {
    atomic_store_explicit(&session->busy, false, memory_order_release);
}

static void session_destroy(void *self) {
    struct tvm_graph_session *session = self;
    const struct tvm_graph_plan *plan = session->plan;
    for (size_t i = 0; i < session->step_count; i++)
        if (session->steps[i].function)
            tvm_object_release(&session->steps[i].function->object);
    for (uint32_t i = 0; session->inputs && i < plan->input_count; i++) {
        tvm_object_release(session->inputs[i].owner);
        if (session->inputs[i].shared)
            tvm_object_release(&session->inputs[i].shared->object);
    }
    for (uint32_t i = 0; session->outputs && i < plan->output_count; i++)
        tvm_object_release(session->outputs[i].owner);
    for (uint32_t i = 0; session->storages && i < plan->storage_count; i++)
        if (session->storages[i])
            tvm_object_release(&session->storages[i]->object);
    free(session->devices);
    free(session->storages);
    free(session->headers);
    free(session->flats);
    free(session->steps);
    free(session->arguments);
    free(session->inputs);
    free(session->outputs);
    tvm_context_destroy(session->context);
    if (session->library)
        tvm_object_release(&session->library->object);
    tvm_object_release(&session->plan->object);
    pthread_mutex_destroy(&session->sharing);
}

static void set_header(struct tvm_graph_header *header, const struct tvm_graph_session *session,
                       uint32_t id) {
    const struct tvm_graph_entry *entry = &session->plan->entries[id];
    header->dl = (DLTensor){.device = session->devices[entry->storage],
                            .ndim = entry->ndim,
                            .dtype = entry->dtype,
                            .shape = (int64_t *)(uintptr_t)entry->shape};
    header->classic = header->dl;
    header->classic.dtype = tvm_dtype_to_classic(entry->dtype);
}

/* Counts the operators, their arguments, and those that are flattened. */
static void count_steps(const struct tvm_graph_plan *plan, size_t *steps, size_t *arguments,
                        size_t *flats) {
    *steps = *arguments = *flats = 0;
    for (uint32_t n = 0; n < plan->node_count; n++) {
        const struct tvm_graph_node *node = &plan->nodes[n];
        if (node->op != TVM_GRAPH_CALL && node->op != TVM_GRAPH_COPY)
            continue;
        size_t count = (size_t)node->input_count + node->output_count;
        ++*steps;
        *arguments += count;
        *flats += node->flatten ? count : 0;
    }
}

static int allocate(struct tvm_graph_session *session) {
    const struct tvm_graph_plan *plan = session->plan;
    size_t steps, arguments, flats;
    count_steps(plan, &steps, &arguments, &flats);
    session->devices = calloc((size_t)plan->storage_count + 1, sizeof(DLDevice));
    session->storages = calloc((size_t)plan->storage_count + 1, sizeof(struct tvm_storage *));
    session->headers = calloc((size_t)plan->entry_count + 1, sizeof(struct tvm_graph_header));
    session->flats = calloc(flats + 1, sizeof(struct tvm_graph_flat));
    session->steps = calloc(steps + 1, sizeof(struct tvm_graph_step));
    session->arguments = calloc(arguments + 1, sizeof(struct tvm_value));
    session->inputs = calloc((size_t)plan->input_count + 1, sizeof(struct tvm_graph_input));
    session->outputs = calloc((size_t)plan->output_count + 1, sizeof(struct tvm_graph_output));
    if (!session->devices || !session->storages || !session->headers || !session->flats ||
        !session->steps || !session->arguments || !session->inputs || !session->outputs)
        return tvm_raise_out_of_memory();
    return tvm_context_new(&session->context);
}

int tvm_graph_choose_device(const struct tvm_graph_plan *plan, uint32_t storage,
                            const DLDevice *devices, size_t count, DLDevice *out) {
    const struct tvm_device_api *api;
    char text[TVM_DEVICE_TEXT_SIZE];
    int type = plan->storages[storage].device_type;
    for (size_t i = 0; i < count; i++)
        if (!type || (int)devices[i].device_type == type) {
            *out = devices[i];
            return 0;
        }
    DLDevice missing = {(DLDeviceType)type, 0};
    return tvm_device_get(missing, &api)
               ? tvm_raise_context("storage %u", storage)
               : tvm_raise(TVM_TYPE_ERROR,
                           "storage %u is for a device such as %s, and none was given", storage,
                           tvm_device_print(missing, text));
}

static int choose_devices(struct tvm_graph_session *session, const DLDevice *devices,
                          size_t count) {
    const struct tvm_device_api *api;
    for (size_t i = 0; i < count; i++)
        if (tvm_device_get(devices[i], &api))
            return -1;
    session->device = devices[0];
    for (uint32_t s = 0; s < session->plan->storage_count; s++)
        if (tvm_graph_choose_device(session->plan, s, devices, count, &session->devices[s]))
            return -1;
    return 0;
}

int tvm_graph_session_place(struct tvm_graph_session *session, uint32_t storage) {
    const struct tvm_device_api *api;
    struct tvm_storage *made;
    if (session->storages[storage])
        return 0;
    DLDevice device = session->devices[storage];
    size_t nbytes = session->plan->storages[storage].nbytes;
    if (tvm_device_get(device, &api) || tvm_storage_new(device, nbytes, &made))
        return tvm_raise_context("storage %u", storage);
    if (nbytes && api->zero((struct tvm_place){device, made->data, 0}, nbytes)) {
        tvm_object_release(&made->object);
        return -1;
    }
    session->storages[storage] = made;
    return 0;
}

void tvm_graph_session_point(struct tvm_graph_session *session, uint32_t root, void *data) {
    const struct tvm_graph_plan *plan = session->plan;
    for (uint32_t id = root; id != TVM_GRAPH_NONE; id = plan->entries[id].next) {
        session->headers[id].dl.data = data;
        session->headers[id].classic.data = data;
    }
    for (size_t i = 0; i < session->flat_count; i++)
        if (plan->entries[session->flats[i].entry].root == root) {
            session->flats[i].header.dl.data = data;
            session->flats[i].header.classic.data = data;
        }
    for (uint32_t k = 0; k < plan->output_count; k++)
        if (plan->entries[plan->outputs[k]].root == root)
            session->outputs[k].is_copied =
                session->outputs[k].is_bound && session->outputs[k].bound.data != data;
}

/* Makes headers and all storage but that of inputs. */
static int place_entries(struct tvm_graph_session *session) {
    const struct tvm_graph_plan *plan = session->plan;
    for (uint32_t s = 0; s < plan->storage_count; s++)
        if (plan->storages[s].written && tvm_graph_session_place(session, s))
            return -1;
    for (uint32_t id = 0; id < plan->entry_count; id++) {
        const struct tvm_storage *storage = session->storages[plan->entries[id].storage];
        set_header(&session->headers[id], session, id);
        session->headers[id].dl.data = storage ? storage->data : NULL;
        session->headers[id].classic.data = session->headers[id].dl.data;
    }
    return 0;
}

/* The header that a node's argument is passed with. */
static const struct tvm_graph_header *argument(struct tvm_graph_session *session,
                                               const struct tvm_graph_node *node, uint32_t index) {
    uint32_t id = tvm_graph_node_argument(node, index);
    if (!node->flatten)
        return &session->headers[id];
    struct tvm_graph_flat *flat = &session->flats[session->flat_count++];
    size_t count = 0;
    tvm_shape_count(session->plan->entries[id].shape, session->plan->entries[id].ndim, &count);
    flat->entry = id;
    flat->count = (int64_t)count;
    flat->header = session->headers[id];
    flat->header.dl.ndim = flat->header.classic.ndim = 1;
    flat->header.dl.shape = flat->header.classic.shape = &flat->count;
    return &flat->header;
}

/* Looks up the function of a step. */
static int find_function(const struct tvm_graph_session *session, const struct tvm_graph_node *node,
                         struct tvm_graph_step *step) {
    if (tvm_module_get_function(session->library, node->function.data, true, &step->function))
        return -1;
    if (!step->function)
        return tvm_raise(TVM_NOT_FOUND_ERROR,
                         "function %s is neither in the library (a module of kind %s) nor in its "
                         "imports; are graph and library of the same model?",
                         node->function.data, session->library->kind->key);
    step->code = tvm_classic_function_code(step->function);
    return 0;
}

/* Binds node's arguments; *arguments moves behind what they take. */
static int bind_step(struct tvm_graph_session *session, uint32_t index,
                     struct tvm_value **arguments) {
    const struct tvm_graph_node *node = &session->plan->nodes[index];
    struct tvm_graph_step *step = &session->steps[session->step_count++];
    uint32_t count = node->input_count + node->output_count;
    step->node = index;
    step->count = (int32_t)count;
    if (node->op == TVM_GRAPH_COPY) {
        step->from = argument(session, node, 0);
        step->to = argument(session, node, 1);
        return 0;
    }
    if (find_function(session, node, step))
        return -1;
    /* A value is as large as a classic value and two type codes. */
    step->args = *arguments;
    step->classic_args = (TVMValue *)(void *)step->args;
    step->classic_codes = (int *)(void *)(step->classic_args + count);
    *arguments += count;
    for (uint32_t i = 0; i < count; i++) {
        const struct tvm_graph_header *header = argument(session, node, i);
        if (step->code) {
            step->classic_args[i].v_handle = (void *)(uintptr_t)&header->classic;
            step->classic_codes[i] = kTVMDLTensorHandle;
        } else {
            step->args[i] = (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR,
                                               .v_ptr = (void *)(uintptr_t)&header->dl};
        }
    }
    return 0;
}

static int bind_steps(struct tvm_graph_session *session) {
    struct tvm_value *arguments = session->arguments;
    for (uint32_t n = 0; n < session->plan->node_count; n++) {
        const struct tvm_graph_node *node = &session->plan->nodes[n];
        if (node->op != TVM_GRAPH_CALL && node->op != TVM_GRAPH_COPY)
            continue;
        if (bind_step(session, n, &arguments))
            return tvm_raise_context("node %u (%.200s)", n, node->name.data);
    }
    return 0;
}

/* Makes a tensor of what a lookup returned for an input. */
static int linked_tensor(const struct tvm_graph_session *session, uint32_t id, bool in_library,
                         const struct tvm_value *found, struct tvm_tensor **out) {
    const struct tvm_graph_entry *entry = &session->plan->entries[id];
    if (found->type_index == TVM_TYPE_TENSOR) {
        *out = (struct tvm_tensor *)found->v_object;
        tvm_object_retain(found->v_object);
        return 0;
    }
    if (found->type_index != TVM_TYPE_OPAQUE_PTR)
        return tvm_raise(TVM_TYPE_ERROR, "expected a pointer, a Tensor or None, got %s",
                         tvm_type_name(found->type_index));
    if (in_library && !tvm_os_is_image_data(found->v_ptr, entry->nbytes))
        return tvm_raise(TVM_FORMAT_ERROR, "the graph wants %zu bytes, and the library has fewer",
                         entry->nbytes);
    return tvm_tensor_over((DLDevice){kDLCPU, 0}, found->v_ptr, entry->nbytes,
                           &session->library->object, entry->shape, entry->ndim, entry->dtype, out);
}

/* Asks lookup for input index; with all_arguments as TVM's graph executor asks, else as its default
 * asks the library. */
static int link_input(struct tvm_graph_session *session, uint32_t index,
                      struct tvm_function *lookup, bool all_arguments) {
    uint32_t id = session->plan->inputs[index];
    uint32_t storage = session->plan->entries[id].storage;
    struct tvm_graph_header template = session->headers[id];
    template.dl.data = NULL;
    template.dl.device = (DLDevice){kDLCPU, 0};
    struct tvm_value args[] = {
        tvm_from_object(session->library),
        tvm_int(storage),
        {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &template.dl},
        tvm_device(session->device),
    };
    struct tvm_value found;
    struct tvm_tensor *tensor;
    if (all_arguments ? tvm_function_call(lookup, args, 4, &found)
                      : tvm_function_call(lookup, args + 1, 1, &found))
        return -1;
    if (found.type_index == TVM_TYPE_NONE ||
        (found.type_index == TVM_TYPE_OPAQUE_PTR && !found.v_ptr))
        return 0;
    int status = linked_tensor(session, id, !all_arguments, &found, &tensor);
    tvm_value_clear(&found);
    if (status)
        return -1;
    if (session->plan->storages[storage].written)
        status = tvm_raise(TVM_FORMAT_ERROR, "an operator writes to its storage %u", storage);
    else if (tvm_graph_session_check(session, "input", index, id, &tensor->dl) == 0)
        status = tvm_graph_session_attach(session, index, tensor);
    else
        status = -1;
    tvm_object_release(&tensor->object);
    return status;
}

/* Parameters inside the library (TVM 0.8). */
static int link_inputs(struct tvm_graph_session *session, struct tvm_function *lookup) {
    struct tvm_function *own = NULL;
    if (!lookup && tvm_module_get_function(session->library, "_lookup_linked_param", true, &own))
        return -1;
    int status = 0;
    for (uint32_t i = 0; (lookup || own) && i < session->plan->input_count && status == 0; i++)
        if ((status = link_input(session, i, lookup ? lookup : own, lookup != NULL)))
            tvm_raise_context(
                "linked parameter %.200s",
                tvm_graph_entry_node(session->plan, session->plan->inputs[i])->name.data);
    if (own)
        tvm_object_release(&own->object);
    return status;
}

int tvm_graph_session_new(struct tvm_graph_plan *plan, struct tvm_module *library,
                          struct tvm_graph_params *params, const DLDevice *devices,
                          size_t device_count, struct tvm_function *lookup,
                          struct tvm_graph_session **out) {
    if (device_count == 0)
        return tvm_raise(TVM_VALUE_ERROR, "%s: no device was given", plan->name.data);
    struct tvm_graph_session *session =
        tvm_object_alloc(sizeof(*session), TVM_TYPE_OBJECT, session_destroy);
    if (!session)
        return -1;
    pthread_mutex_init(&session->sharing, NULL);
    tvm_object_retain(&plan->object);
    session->plan = plan;
    tvm_object_retain(&library->object);
    session->library = library;
    if (allocate(session) || choose_devices(session, devices, device_count) ||
        place_entries(session) || bind_steps(session) || link_inputs(session, lookup)) {
        tvm_raise_context("%s", plan->name.data);
        tvm_object_release(&session->object);
        return -1;
    }
    if (params && tvm_graph_session_set_params(session, params)) {
        tvm_object_release(&session->object);
        return -1;
    }
    *out = session;
    return 0;
}

struct tvm_graph_plan *tvm_graph_session_plan(const struct tvm_graph_session *session) {
    return session->plan;
}

DLDevice tvm_graph_session_device(const struct tvm_graph_session *session) {
    return session->device;
}

struct tvm_context *tvm_graph_session_context(struct tvm_graph_session *session) {
    return session->context;
}

int tvm_graph_step_run(const struct tvm_graph_step *step) {
    if (step->code)
        return tvm_classic_invoke(step->code, step->classic_args, step->classic_codes, step->count);
    if (!step->function)
        return tvm_tensor_copy(&step->from->dl, &step->to->dl);
    struct tvm_value result;
    if (tvm_function_call(step->function, step->args, step->count, &result))
        return -1;
    tvm_value_clear(&result);
    return 0;
}

int tvm_graph_step_sync(const struct tvm_graph_session *session,
                        const struct tvm_graph_step *step) {
    const struct tvm_graph_node *node = &session->plan->nodes[step->node];
    const struct tvm_device_api *api;
    DLDevice done = {(DLDeviceType)0, 0};
    for (uint32_t k = 0; k < node->input_count + node->output_count; k++) {
        uint32_t id = tvm_graph_node_argument(node, k);
        DLDevice device = session->devices[session->plan->entries[id].storage];
        if (tvm_device_equal(device, done))
            continue;
        if (tvm_device_get(device, &api) || api->sync(device))
            return -1;
        done = device;
    }
    return 0;
}

static int run_steps(const struct tvm_graph_session *session, uint32_t first, uint32_t end_node) {
    const struct tvm_graph_plan *plan = session->plan;
    const struct tvm_graph_step *step = session->steps, *end = step + session->step_count;
    struct tvm_profile *profile = session->context->profile;
    while (step < end && step->node < first)
        step++;
    for (; step < end && step->node < end_node; step++) {
        if (tvm_context_check_cancel())
            return -1;
        if (profile ? tvm_graph_step_profile(session, step, profile) : tvm_graph_step_run(step)) {
            const struct tvm_graph_node *node = &plan->nodes[step->node];
            return tvm_raise_context("%s: node %u (%.200s): %.200s", plan->name.data, step->node,
                                     node->name.data, node->function.data);
        }
    }
    return 0;
}

static int copy_bound_outputs(const struct tvm_graph_session *session) {
    const struct tvm_graph_plan *plan = session->plan;
    for (uint32_t k = 0; k < plan->output_count; k++) {
        const struct tvm_graph_output *output = &session->outputs[k];
        if (output->is_copied &&
            tvm_tensor_copy(&session->headers[plan->outputs[k]].dl, &output->bound))
            return tvm_raise_context("%s: output %u", plan->name.data, k);
    }
    return 0;
}

int tvm_graph_session_run_nodes(struct tvm_graph_session *session, uint32_t first, uint32_t end) {
    session->stepped = 0;
    if (!session->all_placed && tvm_graph_session_place_inputs(session))
        return -1;
    struct tvm_context_scope scope = tvm_context_enter(session->context);
    if (session->context->profile)
        tvm_profile_begin(session->context->profile);
    int status = run_steps(session, first, end);
    if (status == 0 && end == session->plan->node_count)
        status = copy_bound_outputs(session);
    if (session->context->profile)
        tvm_profile_end(session->context->profile);
    tvm_context_leave(scope);
    return status;
}

int tvm_graph_session_run(struct tvm_graph_session *session) {
    if (tvm_graph_session_enter(session))
        return -1;
    int status = tvm_graph_session_run_nodes(session, 0, session->plan->node_count);
    tvm_graph_session_leave(session);
    return status;
}
