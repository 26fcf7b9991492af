/* What goes into a session and comes out of it. */
#include "graph/params.h"
#include "graph/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOUND_ALIGNMENT = 64 }; /* what compiled code assumes of memory that it did not allocate */

static const struct tvm_graph_entry *input_entry(const struct tvm_graph_session *session,
                                                 size_t index) {
    return &session->plan->entries[session->plan->inputs[index]];
}

static int check_index(const char *role, size_t index, size_t count) {
    if (index < count)
        return 0;
    return tvm_raise(TVM_INDEX_ERROR, "%s %zu is out of range: the graph has %zu", role, index,
                     count);
}

static bool same_shape(const struct tvm_graph_entry *entry, const DLTensor *value) {
    return entry->ndim == value->ndim &&
           (entry->ndim == 0 ||
            (value->shape &&
             memcmp(entry->shape, value->shape, (size_t)entry->ndim * sizeof(int64_t)) == 0));
}

/* Whether dtype and shape are those of entry id. */
static int check_type(const struct tvm_graph_plan *plan, const char *role, size_t index,
                      uint32_t id, const DLTensor *value) {
    const struct tvm_graph_entry *entry = &plan->entries[id];
    const char *name = plan->nodes[entry->node].name.data;
    char types[2][TVM_DTYPE_TEXT_SIZE], shapes[2][TVM_SHAPE_TEXT_SIZE];
    size_t nbytes = 0;
    bool same = tvm_dtype_equal(entry->dtype, value->dtype);
    if (same && same_shape(entry, value))
        return 0;
    if ((value->ndim > 0 && !value->shape) || tvm_tensor_nbytes(value, &nbytes))
        return tvm_raise(TVM_VALUE_ERROR, "%s %zu (%.200s): the tensor's shape is not valid", role,
                         index, name);
    return tvm_raise(same ? TVM_VALUE_ERROR : TVM_TYPE_ERROR,
                     "%s %zu (%.200s): expected %s %s (%zu bytes), got %s %s (%zu bytes)", role,
                     index, name, tvm_dtype_print(entry->dtype, types[0]),
                     tvm_shape_print(entry->shape, entry->ndim, shapes[0], sizeof(shapes[0])),
                     entry->nbytes, tvm_dtype_print(value->dtype, types[1]),
                     tvm_shape_print(value->shape, value->ndim, shapes[1], sizeof(shapes[1])),
                     nbytes);
}

int tvm_graph_session_check(const struct tvm_graph_session *session, const char *role, size_t index,
                            uint32_t id, const DLTensor *value) {
    const struct tvm_graph_entry *entry = &session->plan->entries[id];
    const char *name = session->plan->nodes[entry->node].name.data;
    if (!value)
        return tvm_raise(TVM_TYPE_ERROR, "%s %zu (%.200s): expected a tensor, got None", role,
                         index, name);
    if (check_type(session->plan, role, index, id, value))
        return -1;
    if (!tvm_tensor_is_compact(value))
        return tvm_raise(TVM_VALUE_ERROR, "%s %zu (%.200s): the tensor is not compact", role, index,
                         name);
    if (!value->data && entry->nbytes)
        return tvm_raise(TVM_VALUE_ERROR, "%s %zu (%.200s): the tensor has no data", role, index,
                         name);
    return 0;
}

/* Whether owner is a tensor whose memory somebody lent for a call only. */
static bool is_lent(const struct tvm_object *owner) {
    return owner && owner->type_index == TVM_TYPE_TENSOR &&
           ((const struct tvm_tensor *)owner)->storage->lent;
}

/* As tvm_graph_session_check, for memory that operators will work on; *data is where it begins. */
static int check_bound(const struct tvm_graph_session *session, const char *role, size_t index,
                       uint32_t id, const DLTensor *value, const struct tvm_object *owner,
                       void **data) {
    const struct tvm_graph_entry *entry = &session->plan->entries[id];
    const char *name = session->plan->nodes[entry->node].name.data;
    char texts[2][TVM_DEVICE_TEXT_SIZE];
    DLDevice device = session->devices[entry->storage];
    const struct tvm_device_api *api;
    if (tvm_graph_session_check(session, role, index, id, value) || tvm_device_get(device, &api))
        return -1;
    if (!tvm_device_equal(value->device, device))
        return tvm_raise(TVM_TYPE_ERROR, "%s %zu (%.200s): expected a tensor on %s, got one on %s",
                         role, index, name, tvm_device_print(device, texts[0]),
                         tvm_device_print(value->device, texts[1]));
    if (is_lent(owner))
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s %zu (%.200s): the tensor's memory is lent for the time of a call: "
                         "expected one that lasts, such as a copy",
                         role, index, name);
    *data = value->data;
    if (!api->addressable)
        return value->byte_offset == 0
                   ? 0
                   : tvm_raise(
                         TVM_VALUE_ERROR,
                         "%s %zu (%.200s): the tensor begins at byte %llu of its memory: on %s "
                         "only whole buffers can be bound",
                         role, index, name, (unsigned long long)value->byte_offset,
                         tvm_device_print(device, texts[0]));
    if (value->data)
        *data = (char *)value->data + value->byte_offset;
    if (entry->nbytes && (uintptr_t)*data % BOUND_ALIGNMENT)
        return tvm_raise(
            TVM_VALUE_ERROR,
            "%s %zu (%.200s): the tensor's data begins at %p, which is no multiple of %d", role,
            index, name, *data, BOUND_ALIGNMENT);
    return 0;
}

/* Points the operators at what input index is now. */
static void point_input(struct tvm_graph_session *session, size_t index) {
    const struct tvm_graph_input *input = &session->inputs[index];
    const struct tvm_storage *own = session->storages[input_entry(session, index)->storage];
    void *data = input->is_bound ? input->bound
                 : input->shared ? input->shared->dl.data
                 : own           ? own->data
                                 : NULL;
    if (!input->is_bound && !input->shared && !own)
        session->all_placed = false;
    tvm_graph_session_point(session, session->plan->inputs[index], data);
}

/* Sees to it that the input has data: its own storage unless it has other. */
static int place_input(struct tvm_graph_session *session, size_t index) {
    if (session->inputs[index].is_bound || session->inputs[index].shared)
        return 0;
    if (tvm_graph_session_place(session, input_entry(session, index)->storage))
        return -1;
    point_input(session, index);
    return 0;
}

int tvm_graph_session_place_inputs(struct tvm_graph_session *session) {
    for (uint32_t i = 0; i < session->plan->input_count; i++)
        if (place_input(session, i))
            return -1;
    session->all_placed = true;
    return 0;
}

static void set_shared(struct tvm_graph_session *session, size_t index, struct tvm_tensor *tensor) {
    struct tvm_graph_input *input = &session->inputs[index];
    if (tensor)
        tvm_object_retain(&tensor->object);
    pthread_mutex_lock(&session->sharing);
    struct tvm_tensor *old = input->shared;
    input->shared = tensor;
    pthread_mutex_unlock(&session->sharing);
    if (old)
        tvm_object_release(&old->object);
}

/* Makes *holder keep owner, and nothing else, alive; owner may be NULL. */
static void hold(struct tvm_object **holder, struct tvm_object *owner) {
    struct tvm_object *old = *holder;
    if (owner)
        tvm_object_retain(owner);
    *holder = owner;
    tvm_object_release(old);
}

static void unbind_input(struct tvm_graph_input *input) {
    input->is_bound = false;
    hold(&input->owner, NULL);
}

/* Copies value into the session's own storage, which input index has from now on. */
static int copy_input(struct tvm_graph_session *session, size_t index, const DLTensor *value) {
    struct tvm_graph_input *input = &session->inputs[index];
    const struct tvm_graph_entry *entry = input_entry(session, index);
    if (tvm_graph_session_place(session, entry->storage))
        return -1;
    DLTensor own = session->headers[session->plan->inputs[index]].dl;
    own.data = session->storages[entry->storage]->data;
    if (tvm_tensor_copy(value, &own))
        return -1;
    input->is_set = true;
    unbind_input(input);
    set_shared(session, index, NULL);
    point_input(session, index);
    return 0;
}

/* Whether operators on device can work on tensor where it is, for as long as it lives. Constants of
 * a library are aligned as its code needs them. */
static bool can_attach(const struct tvm_tensor *tensor, DLDevice device) {
    return !tensor->storage->lent && tvm_device_equal(tensor->dl.device, device) &&
           tensor->dl.byte_offset == 0;
}

int tvm_graph_session_attach(struct tvm_graph_session *session, size_t index,
                             struct tvm_tensor *tensor) {
    struct tvm_graph_input *input = &session->inputs[index];
    uint32_t storage = input_entry(session, index)->storage;
    if (!can_attach(tensor, session->devices[storage]))
        return copy_input(session, index, &tensor->dl);
    set_shared(session, index, tensor);
    unbind_input(input);
    if (session->storages[storage] && !session->plan->storages[storage].written) {
        tvm_object_release(&session->storages[storage]->object);
        session->storages[storage] = NULL;
    }
    point_input(session, index);
    return 0;
}

/* Checks that tensor can be shared as input index. */
static int check_parameter(const struct tvm_graph_plan *plan, size_t index,
                           const DLTensor *tensor) {
    const struct tvm_graph_entry *entry = &plan->entries[plan->inputs[index]];
    if (check_type(plan, "parameter for input", index, plan->inputs[index], tensor))
        return -1;
    if (plan->storages[entry->storage].written)
        return tvm_raise(TVM_FORMAT_ERROR,
                         "parameter for input %zu (%.200s): an operator of the graph writes to its "
                         "storage %u",
                         index, plan->nodes[entry->node].name.data, entry->storage);
    return 0;
}

bool tvm_graph_find_param(const struct tvm_graph_plan *plan, size_t index,
                          const struct tvm_graph_param_list *list, size_t *out) {
    struct tvm_bytes name = tvm_graph_plan_input(plan, index).name;
    size_t last = index;
    return tvm_graph_names_find(&list->names, name, out) &&
           tvm_graph_plan_find_input(plan, name, &last) && last == index;
}

int tvm_graph_check_params(const struct tvm_graph_plan *plan,
                           const struct tvm_graph_param_list *list) {
    for (size_t i = 0, k; i < plan->input_count; i++) {
        if (!tvm_graph_find_param(plan, i, list, &k))
            continue;
        DLTensor header = tvm_graph_param_header(&list->items[k]);
        if (check_parameter(plan, i, &header))
            return tvm_raise_context("%s", plan->name.data);
    }
    return 0;
}

static int set_params(struct tvm_graph_session *session, const struct tvm_graph_params *params) {
    const struct tvm_graph_param_list *list = tvm_graph_params_list(params);
    if (tvm_graph_check_params(session->plan, list))
        return -1;
    for (size_t i = 0, k; i < session->plan->input_count; i++)
        if (tvm_graph_find_param(session->plan, i, list, &k) &&
            tvm_graph_session_attach(session, i, tvm_graph_params_tensor(params, k)))
            return -1;
    return 0;
}

int tvm_graph_session_set_params(struct tvm_graph_session *session,
                                 struct tvm_graph_params *params) {
    if (tvm_graph_session_enter(session))
        return -1;
    int status = set_params(session, params);
    tvm_graph_session_leave(session);
    return status;
}

/* A tensor on bound memory, which keeps that memory's owner alive; without one the caller does. */
static int view_bound(const DLTensor *bound, size_t nbytes, struct tvm_object *owner,
                      struct tvm_tensor **out) {
    return tvm_tensor_over(bound->device, bound->data, nbytes, owner, bound->shape, bound->ndim,
                           bound->dtype, out);
}

/* What keeps the memory alive that the entries of root are bound to. */
static struct tvm_object *bound_owner(const struct tvm_graph_session *session, uint32_t root) {
    const struct tvm_graph_plan *plan = session->plan;
    if (plan->entries[root].input != TVM_GRAPH_NONE)
        return session->inputs[plan->entries[root].input].owner;
    for (uint32_t k = 0; k < plan->output_count; k++)
        if (session->outputs[k].is_bound && plan->entries[plan->outputs[k]].root == root)
            return session->outputs[k].owner; /* operators write to the first: point_output */
    return NULL;
}

/* A tensor of the bytes that operators get for an entry: a view of the session's storage, of bound
 * memory, or a copy of a shared parameter. */
static int view_entry(struct tvm_graph_session *session, uint32_t id, struct tvm_tensor **out) {
    const struct tvm_graph_entry *entry = &session->plan->entries[id];
    const DLTensor *header = &session->headers[id].dl;
    uint32_t index = session->plan->entries[entry->root].input;
    if (index != TVM_GRAPH_NONE) {
        if (place_input(session, index))
            return -1;
        if (session->inputs[index].shared && !session->inputs[index].is_bound) {
            if (tvm_tensor_empty(entry->shape, entry->ndim, entry->dtype, header->device, out))
                return -1;
            if (tvm_tensor_copy(header, &(*out)->dl) == 0)
                return 0;
            tvm_object_release(&(*out)->object);
            return -1;
        }
    }
    struct tvm_storage *storage = session->storages[entry->storage];
    if (storage && storage->data == header->data)
        return tvm_tensor_view(storage, 0, entry->shape, entry->ndim, entry->dtype, out);
    return view_bound(header, entry->nbytes, bound_owner(session, entry->root), out);
}

/* What input index shares, with a new reference; NULL for nothing. */
static struct tvm_tensor *take_shared(struct tvm_graph_session *session, size_t index) {
    pthread_mutex_lock(&session->sharing);
    struct tvm_tensor *shared = session->inputs[index].shared;
    if (shared)
        tvm_object_retain(&shared->object);
    pthread_mutex_unlock(&session->sharing);
    return shared;
}

/* What other has for an input, to be shared: a new reference. What it shares itself it gives also
 * while it runs. */
static int take_input(struct tvm_graph_session *other, struct tvm_bytes name,
                      struct tvm_tensor **out) {
    size_t index;
    if (!tvm_graph_plan_find_input(other->plan, name, &index))
        return tvm_raise(TVM_NOT_FOUND_ERROR, "the other graph has no input %.200s", name.data);
    if (other->inputs[index].is_bound)
        return tvm_raise(TVM_VALUE_ERROR,
                         "input %.200s of the other graph is bound to memory of its caller: it "
                         "cannot be shared",
                         name.data);
    if ((*out = take_shared(other, index)))
        return 0;
    if (tvm_graph_session_enter(other))
        return -1;
    int status = view_entry(other, other->plan->inputs[index], out);
    tvm_graph_session_leave(other);
    return status;
}

/* Fills tensors, one for each of names that session's graph has. */
static int take_inputs(const struct tvm_graph_session *session, struct tvm_graph_session *other,
                       const struct tvm_graph_names *names, struct tvm_tensor **tensors) {
    for (size_t i = 0; i < names->count; i++) {
        size_t to;
        if (tvm_graph_plan_find_input(session->plan, names->names[i], &to) &&
            (take_input(other, names->names[i], &tensors[i]) ||
             check_parameter(session->plan, to, &tensors[i]->dl)))
            return -1;
    }
    return 0;
}

static int share_params(struct tvm_graph_session *session, struct tvm_graph_session *other,
                        const struct tvm_graph_names *names) {
    struct tvm_tensor **tensors = calloc(names->count + 1, sizeof(struct tvm_tensor *));
    if (!tensors)
        return tvm_raise_out_of_memory();
    int status = take_inputs(session, other, names, tensors);
    for (size_t i = 0, to; i < names->count; i++) {
        if (status == 0 && tensors[i] &&
            tvm_graph_plan_find_input(session->plan, names->names[i], &to))
            status = tvm_graph_session_attach(session, to, tensors[i]);
        tvm_object_release((struct tvm_object *)tensors[i]);
    }
    free(tensors);
    return status;
}

int tvm_graph_session_share_params(struct tvm_graph_session *session,
                                   struct tvm_graph_session *other,
                                   const struct tvm_graph_param_list *params) {
    if (session == other)
        return tvm_raise(TVM_VALUE_ERROR, "a session cannot share parameters with itself");
    if (tvm_graph_session_enter(session))
        return -1;
    int status = share_params(session, other, &params->names);
    tvm_graph_session_leave(session);
    return status;
}

static int check_value(const struct tvm_graph_session *session, size_t index,
                       const DLTensor *value) {
    return check_index("input", index, session->plan->input_count) ||
                   tvm_graph_session_check(session, "input", index, session->plan->inputs[index],
                                           value)
               ? -1
               : 0;
}

static int set_input(struct tvm_graph_session *session, size_t index, const DLTensor *value) {
    return copy_input(session, index, value)
               ? tvm_raise_context("input %zu (%.200s)", index,
                                   tvm_graph_plan_input(session->plan, index).name.data)
               : 0;
}

int tvm_graph_session_set_input(struct tvm_graph_session *session, size_t index,
                                const DLTensor *value) {
    if (tvm_graph_session_enter(session))
        return -1;
    int status = check_value(session, index, value) || set_input(session, index, value) ? -1 : 0;
    tvm_graph_session_leave(session);
    return status;
}

/* Checks that every input has a value, or is given one. */
static int check_all_set(const struct tvm_graph_session *session) {
    char names[512];
    size_t used = 0, count = 0;
    for (size_t i = 0; i < session->plan->input_count; i++) {
        const struct tvm_graph_input *input = &session->inputs[i];
        if (input->is_set || input->is_bound || input->shared || input->is_given)
            continue;
        if (used < sizeof(names) - 1) {
            int length = snprintf(names + used, sizeof(names) - used, "%s%.200s", count ? ", " : "",
                                  tvm_graph_plan_input(session->plan, i).name.data);
            used = length < 0 || used + (size_t)length >= sizeof(names) ? sizeof(names) - 1
                                                                        : used + (size_t)length;
        }
        count++;
    }
    if (count == 0)
        return 0;
    return tvm_raise(TVM_VALUE_ERROR, "%zu input%s %s never set: %s%s", count,
                     count == 1 ? "" : "s", count == 1 ? "was" : "were", names,
                     used == sizeof(names) - 1 ? "…" : "");
}

static int set_inputs(struct tvm_graph_session *session, const struct tvm_graph_slot *slots,
                      size_t count) {
    for (size_t i = 0; i < count; i++)
        if (check_value(session, slots[i].index, slots[i].tensor ? &slots[i].tensor->dl : NULL))
            return -1;
    for (size_t i = 0; i < count; i++)
        session->inputs[slots[i].index].is_given = true;
    int status = check_all_set(session);
    for (size_t i = 0; i < count; i++)
        session->inputs[slots[i].index].is_given = false;
    for (size_t i = 0; i < count && status == 0; i++)
        status = set_input(session, slots[i].index, &slots[i].tensor->dl);
    if (status == 0)
        atomic_store_explicit(&session->complete, true, memory_order_relaxed);
    return status;
}

int tvm_graph_session_set_inputs(struct tvm_graph_session *session,
                                 const struct tvm_graph_slot *slots, size_t count) {
    if (count == 0 && atomic_load_explicit(&session->complete, memory_order_relaxed))
        return 0;
    if (tvm_graph_session_enter(session))
        return -1;
    int status = set_inputs(session, slots, count);
    tvm_graph_session_leave(session);
    return status;
}

int tvm_graph_session_bind_input(struct tvm_graph_session *session, size_t index,
                                 const DLTensor *value, struct tvm_object *owner) {
    void *data = NULL;
    if (check_index("input", index, session->plan->input_count) || tvm_graph_session_enter(session))
        return -1;
    int status = value ? check_bound(session, "input", index, session->plan->inputs[index], value,
                                     owner, &data)
                       : 0;
    if (status == 0) {
        session->inputs[index].is_bound = value != NULL;
        if (!value)
            atomic_store_explicit(&session->complete, false, memory_order_relaxed);
        session->inputs[index].bound = data;
        hold(&session->inputs[index].owner, value ? owner : NULL);
        point_input(session, index);
    }
    tvm_graph_session_leave(session);
    return status;
}

/* Points the operators at the first memory bound to an output with the bytes of root. Those of an
 * input stay where the input is. */
static void point_output(struct tvm_graph_session *session, uint32_t root) {
    const struct tvm_graph_plan *plan = session->plan;
    void *data = session->headers[root].dl.data;
    if (plan->entries[root].input == TVM_GRAPH_NONE) {
        data = session->storages[plan->entries[root].storage]->data;
        for (uint32_t k = plan->output_count; k-- > 0;)
            if (session->outputs[k].is_bound && plan->entries[plan->outputs[k]].root == root)
                data = session->outputs[k].bound.data;
    }
    tvm_graph_session_point(session, root, data);
}

int tvm_graph_session_bind_output(struct tvm_graph_session *session, size_t index,
                                  const DLTensor *value, struct tvm_object *owner) {
    void *data = NULL;
    if (check_index("output", index, session->plan->output_count) ||
        tvm_graph_session_enter(session))
        return -1;
    uint32_t id = session->plan->outputs[index];
    int status = value ? check_bound(session, "output", index, id, value, owner, &data) : 0;
    if (status == 0) {
        struct tvm_graph_output *output = &session->outputs[index];
        output->is_bound = value != NULL;
        output->bound = session->headers[id].dl; /* the shape of the plan, not of the caller */
        output->bound.data = data;
        hold(&output->owner, value ? owner : NULL);
        point_output(session, session->plan->entries[id].root);
    }
    tvm_graph_session_leave(session);
    return status;
}

int tvm_graph_session_get_input(struct tvm_graph_session *session, size_t index,
                                struct tvm_tensor **out) {
    if (check_index("input", index, session->plan->input_count) || tvm_graph_session_enter(session))
        return -1;
    const struct tvm_graph_input *input = &session->inputs[index];
    /* Callers may write to it, as TVM's clients do to set an input. */
    int status =
        input->shared && !input->is_bound ? copy_input(session, index, &input->shared->dl) : 0;
    if (status == 0)
        status = view_entry(session, session->plan->inputs[index], out);
    tvm_graph_session_leave(session);
    return status;
}

int tvm_graph_session_get_output(struct tvm_graph_session *session, size_t index,
                                 struct tvm_tensor **out) {
    if (check_index("output", index, session->plan->output_count) ||
        tvm_graph_session_enter(session))
        return -1;
    uint32_t id = session->plan->outputs[index];
    const struct tvm_graph_output *output = &session->outputs[index];
    int status = output->is_bound ? view_bound(&output->bound, session->plan->entries[id].nbytes,
                                               output->owner, out)
                                  : view_entry(session, id, out);
    tvm_graph_session_leave(session);
    return status;
}

int tvm_graph_session_copy_output(struct tvm_graph_session *session, size_t index,
                                  const DLTensor *value) {
    if (check_index("output", index, session->plan->output_count) ||
        tvm_graph_session_enter(session))
        return -1;
    uint32_t id = session->plan->outputs[index];
    uint32_t input = session->plan->entries[session->plan->entries[id].root].input;
    const struct tvm_graph_output *output = &session->outputs[index];
    int status = tvm_graph_session_check(session, "output", index, id, value);
    if (status == 0 && input != TVM_GRAPH_NONE)
        status = place_input(session, input); /* it may have no data yet */
    const DLTensor *from = output->is_copied ? &output->bound : &session->headers[id].dl;
    if (status == 0 && (status = tvm_tensor_copy(from, value)))
        tvm_raise_context("output %zu (%.200s)", index,
                          tvm_graph_plan_output(session->plan, index).name.data);
    tvm_graph_session_leave(session);
    return status;
}

int tvm_graph_session_is_bound(struct tvm_graph_session *session, size_t index, bool *out) {
    if (tvm_graph_session_enter(session))
        return -1;
    *out = session->inputs[index].is_bound;
    tvm_graph_session_leave(session);
    return 0;
}

bool tvm_graph_session_is_shared(struct tvm_graph_session *session, size_t index) {
    pthread_mutex_lock(&session->sharing);
    bool shared = session->inputs[index].shared != NULL;
    pthread_mutex_unlock(&session->sharing);
    return shared;
}
