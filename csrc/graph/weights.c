/* Parameters where they lie, and on the devices where sessions use them. */
#include "base/checked.h"
#include "base/container.h"
#include "graph/params.h"
#include "graph/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct placed_param {
    DLDevice device;
    struct tvm_tensor *tensor; /* owned */
};

struct tvm_graph_params {
    struct tvm_object object;
    struct tvm_graph_param_list *list; /* owned */
    struct tvm_graph_params *next;     /* of the same weights; the weights' own */
    struct placed_param items[];       /* in the list's order */
};

struct tvm_graph_weights {
    struct tvm_object object;
    char *name;
    struct tvm_graph_param_list *list; /* owned */
    int fd;                            /* owned; -1: in memory */
    uint64_t offset;
    struct stat state; /* of the file, when it was opened */
    pthread_mutex_t mutex;
    struct tvm_graph_params *placed; /* owned; one for each choice of devices */
};

static void params_destroy(void *self) {
    struct tvm_graph_params *params = self;
    for (size_t i = 0; i < params->list->names.count; i++)
        if (params->items[i].tensor)
            tvm_object_release(&params->items[i].tensor->object);
    tvm_object_release(&params->list->object);
}

static void weights_destroy(void *self) {
    struct tvm_graph_weights *weights = self;
    for (struct tvm_graph_params *params = weights->placed, *next; params; params = next) {
        next = params->next;
        tvm_object_release(&params->object);
    }
    if (weights->list)
        tvm_object_release(&weights->list->object);
    if (weights->fd >= 0)
        close(weights->fd);
    pthread_mutex_destroy(&weights->mutex);
    free(weights->name);
}

/* Weights without a list. */
static int weights_alloc(const char *name, int fd, uint64_t offset,
                         struct tvm_graph_weights **out) {
    struct tvm_graph_weights *weights =
        tvm_object_alloc(sizeof(*weights), TVM_TYPE_OBJECT, weights_destroy);
    if (!weights)
        return -1;
    pthread_mutex_init(&weights->mutex, NULL);
    weights->offset = offset;
    weights->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    weights->name = strdup(name);
    int status = 0;
    if (!weights->name)
        status = tvm_raise_out_of_memory();
    else if (fd >= 0 && (weights->fd < 0 || fstat(weights->fd, &weights->state)))
        status = tvm_raise(TVM_OS_ERROR, "%s: cannot be used: %s", name, strerror(errno));
    if (status)
        tvm_object_release(&weights->object);
    else
        *out = weights;
    return status;
}

int tvm_graph_weights_new(const char *name, struct tvm_graph_param_list *list, int fd,
                          uint64_t offset, struct tvm_graph_weights **out) {
    if (weights_alloc(name, fd, offset, out))
        return -1;
    tvm_object_retain(&list->object);
    (*out)->list = list;
    return 0;
}

/* Reads the list out of the file. */
static int read_list(struct tvm_graph_weights *weights, size_t size) {
    uint64_t end;
    if (!S_ISREG(weights->state.st_mode))
        return tvm_raise(TVM_OS_ERROR, "%s: cannot be used: it is no regular file", weights->name);
    if (__builtin_add_overflow(weights->offset, size, &end) ||
        end > (uint64_t)weights->state.st_size)
        return tvm_raise(TVM_FORMAT_ERROR, "%s: %zu bytes at byte %llu are not all in the file",
                         weights->name, size, (unsigned long long)weights->offset);
    struct tvm_reader_file file = {.fd = weights->fd, .offset = weights->offset};
    struct tvm_reader reader = {.size = size, .name = weights->name, .file = &file};
    return tvm_graph_params_read_all(&reader, &weights->list);
}

int tvm_graph_weights_read(struct tvm_reader *reader, bool count_first,
                           struct tvm_graph_weights **out) {
    const struct tvm_reader_origin *origin = reader->origin;
    struct tvm_graph_param_list *list;
    uint64_t count, again;
    if ((count_first && tvm_read_u64(reader, "number of parameters", &count)) ||
        tvm_graph_params_read_names(reader, &list))
        return -1;
    again = list->names.count;
    int status = count_first ? 0 : tvm_read_u64(reader, "number of parameters", &count);
    if (status == 0 && count != again)
        status = tvm_reader_fail(reader, "%llu parameters, but %llu names",
                                 (unsigned long long)count, (unsigned long long)again);
    if (status == 0)
        status = tvm_graph_params_read_tensors(reader, list);
    *out = NULL;
    if (status == 0 && count)
        status =
            tvm_graph_weights_new(reader->name, list, origin->fd,
                                  origin->fd < 0 ? (uintptr_t)reader->data : origin->offset, out);
    tvm_object_release(&list->object);
    return status;
}

int tvm_graph_weights_open(const char *name, int fd, uint64_t offset, size_t size,
                           struct tvm_graph_weights **out) {
    struct tvm_graph_weights *weights;
    if (weights_alloc(name, fd, offset, &weights))
        return -1;
    if (read_list(weights, size)) {
        tvm_object_release(&weights->object);
        return -1;
    }
    *out = weights;
    return 0;
}

int tvm_graph_weights_from_bytes(const char *name, const void *data, size_t size,
                                 struct tvm_graph_weights **out) {
    struct tvm_reader reader = {.data = data, .size = size, .name = name};
    struct tvm_graph_param_list *list;
    if (tvm_graph_params_read_all(&reader, &list))
        return -1;
    int status = tvm_graph_weights_new(name, list, -1, 0, out);
    tvm_object_release(&list->object);
    return status;
}

bool tvm_graph_weights_has(const struct tvm_graph_weights *weights, struct tvm_bytes name) {
    size_t index;
    return tvm_graph_names_find(&weights->list->names, name, &index);
}

int tvm_graph_weights_check(const struct tvm_graph_weights *weights,
                            const struct tvm_graph_plan *plan) {
    return tvm_graph_check_params(plan, weights->list) ? tvm_raise_context("%s", weights->name) : 0;
}

/* Placing */

/* Copies a part of the file to memory that the host cannot address. */
static int copy_in_pieces(const struct tvm_graph_weights *weights, const char *name,
                          uint64_t offset, const struct tvm_device_api *api, struct tvm_place to,
                          size_t nbytes) {
    size_t piece = nbytes < 1 << 20 ? nbytes : 1 << 20;
    struct tvm_place host = {.device = {kDLCPU, 0}, .data = malloc(piece)};
    if (!host.data)
        return tvm_raise_out_of_memory();
    int status = 0;
    while (nbytes && status == 0) {
        if (piece > nbytes)
            piece = nbytes;
        status = tvm_read_file(name, weights->fd, offset, host.data, piece);
        if (status == 0)
            status = api->copy(host, to, piece);
        offset += piece;
        to.offset += piece;
        nbytes -= piece;
    }
    free(host.data);
    return status;
}

/* Copies the data of parameter index from where it lies. */
static int copy_data(const struct tvm_graph_weights *weights, const char *memory, size_t index,
                     const struct tvm_device_api *api, struct tvm_place to) {
    const struct tvm_graph_param *param = &weights->list->items[index];
    const char *name = weights->list->names.names[index].data;
    if (param->nbytes == 0)
        return 0;
    if (weights->fd < 0) {
        if (!memory)
            memory = (const char *)(uintptr_t)weights->offset;
        struct tvm_place from = {{kDLCPU, 0}, (char *)(uintptr_t)memory, param->offset};
        return api->copy(from, to, param->nbytes);
    }
    uint64_t offset = weights->offset + param->offset;
    if (!api->addressable)
        return copy_in_pieces(weights, name, offset, api, to, param->nbytes);
    return tvm_read_file(name, weights->fd, offset, (char *)to.data + to.offset, param->nbytes);
}

/* Makes tensor index, at offset of storage. */
static int make_tensor(struct tvm_graph_params *params, size_t index, struct tvm_storage *storage,
                       size_t offset) {
    const struct tvm_graph_param *param = &params->list->items[index];
    struct tvm_tensor *tensor;
    if (tvm_tensor_view(storage, offset, param->shape, param->ndim, param->dtype, &tensor))
        return -1;
    params->items[index].tensor = tensor;
    if (offset) { /* compiled code wants no byte offset */
        tensor->dl.data = (char *)tensor->dl.data + offset;
        tensor->dl.byte_offset = 0;
        tensor->classic.data = tensor->dl.data;
        tensor->classic.byte_offset = 0;
    }
    return 0;
}

/* All tensors of a device in one piece of memory. */
static int make_together(struct tvm_graph_params *params, DLDevice device) {
    const struct tvm_graph_param_list *list = params->list;
    size_t total = 0, offset = 0;
    for (size_t i = 0; i < list->names.count; i++)
        if (tvm_device_equal(params->items[i].device, device) &&
            (!tvm_size_align(total, TVM_ALIGNMENT, &total) ||
             !tvm_size_add(total, list->items[i].nbytes, &total)))
            return tvm_raise(TVM_FORMAT_ERROR, "the parameters are larger than memory could be");
    struct tvm_storage *storage;
    if (tvm_storage_new(device, total, &storage))
        return -1;
    int status = 0;
    for (size_t i = 0; i < list->names.count && status == 0; i++) {
        if (!tvm_device_equal(params->items[i].device, device))
            continue;
        tvm_size_align(offset, TVM_ALIGNMENT, &offset);
        status = make_tensor(params, i, storage, offset);
        offset += list->items[i].nbytes;
    }
    tvm_object_release(&storage->object);
    return status;
}

/* A tensor in memory of its own: other devices' memory has handles without arithmetic. */
static int make_apart(struct tvm_graph_params *params, size_t index) {
    struct tvm_storage *storage;
    if (tvm_storage_new(params->items[index].device, params->list->items[index].nbytes, &storage))
        return -1;
    int status = make_tensor(params, index, storage, 0);
    tvm_object_release(&storage->object);
    return status;
}

/* Fails when the file is not the one any more that was opened. */
static int check_unchanged(const struct tvm_graph_weights *weights) {
    struct stat now;
    const struct stat *then = &weights->state;
    if (weights->fd < 0)
        return 0;
    if (fstat(weights->fd, &now))
        return tvm_raise(TVM_OS_ERROR, "cannot be used: %s", strerror(errno));
    if (now.st_size == then->st_size && now.st_mtim.tv_sec == then->st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == then->st_mtim.tv_nsec)
        return 0;
    return tvm_raise(TVM_FORMAT_ERROR,
                     "the file was changed after it was opened: rename a new one to its place");
}

/* Makes tensor index, unless it is there, and fills it. */
static int place_item(const struct tvm_graph_weights *weights, const void *memory, size_t index,
                      struct tvm_graph_params *params) {
    const struct placed_param *item = &params->items[index];
    const struct tvm_device_api *api;
    if (tvm_device_get(item->device, &api))
        return -1;
    if (!item->tensor &&
        (api->addressable ? make_together(params, item->device) : make_apart(params, index)))
        return -1;
    return copy_data(weights, memory, index, api, tvm_tensor_place(&item->tensor->dl));
}

static int place(const struct tvm_graph_weights *weights, const void *memory,
                 const DLDevice *devices, struct tvm_graph_params **out) {
    size_t count = weights->list->names.count;
    if (check_unchanged(weights))
        return -1;
    struct tvm_graph_params *params = tvm_object_alloc(
        sizeof(*params) + count * sizeof(struct placed_param), TVM_TYPE_OBJECT, params_destroy);
    if (!params)
        return -1;
    tvm_object_retain(&weights->list->object);
    params->list = weights->list;
    for (size_t i = 0; i < count; i++)
        params->items[i].device = devices[i];
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = place_item(weights, memory, i, params);
    if (status == 0)
        status = check_unchanged(weights); /* while it was read */
    if (status)
        tvm_object_release(&params->object);
    else
        *out = params;
    return status;
}

static bool is_placed(const struct tvm_graph_params *params, const DLDevice *devices) {
    for (size_t i = 0; i < params->list->names.count; i++)
        if (!tvm_device_equal(params->items[i].device, devices[i]))
            return false;
    return true;
}

/* Finds or makes the parameters on devices, one for each. */
static int find_or_place(struct tvm_graph_weights *weights, const void *memory,
                         const DLDevice *devices, struct tvm_graph_params **out) {
    int status = 0;
    pthread_mutex_lock(&weights->mutex);
    struct tvm_graph_params *params = weights->placed;
    while (params && !is_placed(params, devices))
        params = params->next;
    if (!params && (status = place(weights, memory, devices, &params)) == 0) {
        params->next = weights->placed;
        weights->placed = params;
    }
    if (status == 0) {
        tvm_object_retain(&params->object);
        *out = params;
    }
    pthread_mutex_unlock(&weights->mutex);
    return status ? tvm_raise_context("%s", weights->name) : 0;
}

/* Devices for all parameters; to be freed. */
static int devices_new(const struct tvm_graph_weights *weights, DLDevice device, DLDevice **out) {
    const struct tvm_device_api *api;
    size_t count = weights->list->names.count;
    if (tvm_device_get(device, &api))
        return tvm_raise_context("%s", weights->name);
    *out = calloc(count + 1, sizeof(DLDevice));
    if (!*out)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < count; i++)
        (*out)[i] = device;
    return 0;
}

int tvm_graph_weights_place(struct tvm_graph_weights *weights, const void *memory, DLDevice device,
                            struct tvm_graph_params **out) {
    DLDevice *devices;
    if (devices_new(weights, device, &devices))
        return -1;
    int status = find_or_place(weights, memory, devices, out);
    free(devices);
    return status;
}

int tvm_graph_weights_place_for(struct tvm_graph_weights *weights, const void *memory,
                                const struct tvm_graph_plan *plan, const DLDevice *devices,
                                size_t device_count, struct tvm_graph_params **out) {
    DLDevice *chosen;
    int status = 0;
    size_t other = 1;
    while (other < device_count && tvm_device_equal(devices[other], devices[0]))
        other++;
    if (other == device_count) /* there is no choice */
        return tvm_graph_weights_place(weights, memory, devices[0], out);
    if (devices_new(weights, devices[0], &chosen))
        return -1;
    for (size_t i = 0, k; i < plan->input_count && status == 0; i++)
        if (tvm_graph_find_param(plan, i, weights->list, &k) &&
            tvm_graph_choose_device(plan, plan->entries[plan->inputs[i]].storage, devices,
                                    device_count, &chosen[k]))
            status = tvm_raise_context("%s", plan->name.data);
    if (status == 0)
        status = find_or_place(weights, memory, chosen, out);
    free(chosen);
    return status;
}

int tvm_graph_params_new(const char *name, const void *data, size_t size, DLDevice device,
                         struct tvm_graph_params **out) {
    struct tvm_graph_weights *weights;
    if (tvm_graph_weights_from_bytes(name, data, size, &weights))
        return -1;
    int status = tvm_graph_weights_place(weights, data, device, out);
    tvm_object_release(&weights->object);
    return status;
}

/* Reading what was placed */

const struct tvm_graph_param_list *tvm_graph_params_list(const struct tvm_graph_params *params) {
    return params->list;
}

size_t tvm_graph_params_count(const struct tvm_graph_params *params) {
    return params->list->names.count;
}

struct tvm_bytes tvm_graph_params_name(const struct tvm_graph_params *params, size_t index) {
    return params->list->names.names[index];
}

struct tvm_tensor *tvm_graph_params_tensor(const struct tvm_graph_params *params, size_t index) {
    return params->items[index].tensor;
}

struct tvm_tensor *tvm_graph_params_find(const struct tvm_graph_params *params,
                                         struct tvm_bytes name) {
    size_t index;
    return tvm_graph_names_find(&params->list->names, name, &index) ? params->items[index].tensor
                                                                    : NULL;
}

static int copy_params(const struct tvm_graph_params *params, struct tvm_map *map) {
    for (size_t i = 0; i < tvm_graph_params_count(params); i++) {
        const DLTensor *from = &tvm_graph_params_tensor(params, i)->dl;
        struct tvm_value copy;
        if (tvm_value_from_tensor(from, from->device, &copy) ||
            tvm_map_set(map, tvm_graph_params_name(params, i), copy))
            return -1;
    }
    return 0;
}

int tvm_graph_weights_map(struct tvm_graph_weights *weights, struct tvm_value *result) {
    struct tvm_graph_params *params = NULL;
    struct tvm_map *map;
    if (weights && tvm_graph_weights_place(weights, NULL, (DLDevice){kDLCPU, 0}, &params))
        return -1;
    int status = tvm_map_new(params ? tvm_graph_params_count(params) : 0, &map);
    if (status == 0)
        *result = tvm_from_object(map);
    if (status == 0 && params && (status = copy_params(params, map)) != 0)
        tvm_value_clear(result);
    tvm_object_release((struct tvm_object *)params);
    return status;
}
