/* Params files. */
#include "base/checked.h"
#include "graph/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAGIC UINT64_C(0xF7E58D4F05049CB7)
#define TENSOR_MAGIC UINT64_C(0xDD5E40F096B4A13F)

/* The least that a name and a tensor take in a file: a length, two words, five small numbers, a
 * size. */
enum { MIN_NAME = 8, MIN_TENSOR = 8 + 8 + 8 + 4 + 4 + 8 };

enum { FIRST_CUSTOM_DTYPE = 129 };

struct tvm_graph_params {
    struct tvm_object object;
    size_t count;
    struct tvm_graph_names names; /* NUL-terminated; in the file's order, as the tensors */
    struct tvm_tensor **tensors;
    char *texts;
};

static void params_destroy(void *self) {
    struct tvm_graph_params *params = self;
    for (size_t i = 0; params->tensors && i < params->count; i++)
        if (params->tensors[i])
            tvm_object_release(&params->tensors[i]->object);
    free(params->tensors);
    free(params->names.names);
    free(params->names.order);
    free(params->texts);
}

int tvm_graph_params_read_names(struct tvm_reader *reader, struct tvm_graph_param_view **views,
                                size_t *count) {
    if (tvm_read_count(reader, "number of names", MIN_NAME, count))
        return -1;
    struct tvm_graph_param_view *list = calloc(*count + 1, sizeof(*list));
    if (!list)
        return tvm_raise_out_of_memory(*count * sizeof(*list));
    for (size_t i = 0; i < *count; i++) {
        int status = tvm_read_string(reader, "name of a parameter", &list[i].name);
        if (status == 0 && memchr(list[i].name.data, '\0', list[i].name.size))
            status = tvm_reader_fail(reader, "the name of parameter %zu holds a NUL", i);
        if (status) {
            free(list);
            return -1;
        }
    }
    *views = list;
    return 0;
}

static int64_t dimension(const struct tvm_graph_param_view *view, int index) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | view->dims[index * 8 + i];
    return (int64_t)value;
}

static void copy_shape(const struct tvm_graph_param_view *view, int64_t *shape) {
    for (int i = 0; i < view->ndim; i++)
        shape[i] = dimension(view, i);
}

/* dtype as the file has it; view->dtype becomes today's. */
static int check_dtype(struct tvm_reader *reader, struct tvm_graph_param_view *view) {
    if (view->dtype.lanes != 1)
        return tvm_reader_fail(reader, "%d lanes: expected 1", view->dtype.lanes);
    if (view->dtype.bits == 0)
        return tvm_reader_fail(reader, "the dtype (code %d) has no bits", view->dtype.code);
    if (view->dtype.code >= FIRST_CUSTOM_DTYPE)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: dtype code %d: custom dtypes are not supported", reader->name,
                         view->dtype.code);
    view->dtype = tvm_dtype_from_classic(view->dtype);
    return 0;
}

/* The stored byte count against shape and dtype: by the formula that also sizes the memory. */
static int check_size(struct tvm_reader *reader, const struct tvm_graph_param_view *view,
                      int64_t stored) {
    int64_t shape[TVM_MAX_NDIM];
    char text[TVM_SHAPE_TEXT_SIZE], type[TVM_DTYPE_TEXT_SIZE];
    size_t nbytes;
    copy_shape(view, shape);
    if (tvm_shape_nbytes(shape, view->ndim, view->dtype, &nbytes)) {
        tvm_graph_format_error();
        return tvm_raise_context("%s", reader->name);
    }
    if (stored >= 0 && (uint64_t)stored == nbytes)
        return 0;
    tvm_shape_print(shape, view->ndim, text, sizeof(text));
    tvm_dtype_print(view->dtype, type);
    if (stored == 0 && view->dtype.code == TVM_DTYPE_BOOL)
        return tvm_reader_fail(reader,
                               "%s %s without data: TVM 0.6 and older leave out the data of bool "
                               "parameters; save them again with a newer TVM or as int8",
                               type, text);
    return tvm_reader_fail(reader, "%s %s has %zu bytes, but %lld are stored", type, text, nbytes,
                           (long long)stored);
}

static int read_tensor(struct tvm_reader *reader, struct tvm_graph_param_view *view) {
    uint64_t magic, reserved;
    int32_t device_type, device_id, ndim;
    int64_t stored;
    if (tvm_read_u64(reader, "magic number of a tensor", &magic))
        return -1;
    if (magic != TENSOR_MAGIC)
        return tvm_reader_fail(reader, "no tensor begins here: magic number %016llx",
                               (unsigned long long)magic);
    if (tvm_read_u64(reader, "reserved word", &reserved) ||
        tvm_read_i32(reader, "device type", &device_type) ||
        tvm_read_i32(reader, "device id", &device_id) || tvm_read_i32(reader, "ndim", &ndim))
        return -1;
    if (device_type != kDLCPU)
        return tvm_reader_fail(reader, "device type %d: only cpu (1) is stored in files",
                               device_type);
    if (ndim < 0 || ndim > TVM_MAX_NDIM)
        return tvm_reader_fail(reader, "%d dimensions: expected 0 to %d", ndim, TVM_MAX_NDIM);
    view->ndim = ndim;
    if (tvm_read_u8(reader, "dtype code", &view->dtype.code) ||
        tvm_read_u8(reader, "dtype bits", &view->dtype.bits) ||
        tvm_read_u16(reader, "dtype lanes", &view->dtype.lanes) || check_dtype(reader, view) ||
        tvm_read_bytes(reader, "shape", (size_t)ndim * 8, &view->dims) ||
        tvm_read_i64(reader, "byte count", &stored) || check_size(reader, view, stored))
        return -1;
    view->nbytes = (size_t)stored;
    return tvm_read_bytes(reader, "data", view->nbytes, &view->data);
}

int tvm_graph_params_read_tensors(struct tvm_reader *reader, struct tvm_graph_param_view *views,
                                  size_t count) {
    if (count > tvm_reader_left(reader) / MIN_TENSOR)
        return tvm_reader_fail(reader, "%zu tensors cannot fit into the %zu bytes that follow",
                               count, tvm_reader_left(reader));
    const char *name = reader->name;
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        char text[384]; /* what messages begin with */
        int shown = (int)(views[i].name.size < 200 ? views[i].name.size : 200);
        snprintf(text, sizeof(text), "%.128s: parameter %zu (%.*s)", name, i, shown,
                 views[i].name.data);
        reader->name = text;
        status = read_tensor(reader, &views[i]);
        reader->name = name;
    }
    return status;
}

/* Copies the names and sorts them. */
static int index_names(struct tvm_graph_params *params, const struct tvm_graph_param_view *views) {
    size_t size = 1;
    for (size_t i = 0; i < params->count; i++)
        size += views[i].name.size + 1; /* they come from memory: no overflow */
    char *text = params->texts = malloc(size);
    if (!text)
        return tvm_raise_out_of_memory(size);
    for (size_t i = 0; i < params->count; i++) {
        params->names.names[i] = (struct tvm_bytes){text, views[i].name.size};
        memcpy(text, views[i].name.data, views[i].name.size);
        text[views[i].name.size] = '\0';
        text += views[i].name.size + 1;
    }
    params->names.count = params->count;
    if (tvm_graph_names_sort(&params->names))
        return -1;
    const struct tvm_bytes *twice = tvm_graph_names_duplicate(&params->names);
    if (twice)
        return tvm_raise(TVM_FORMAT_ERROR, "two parameters are called %.200s", twice->data);
    return 0;
}

/* Makes tensor index, at offset of storage, and copies its data there. */
static int place_tensor(struct tvm_graph_params *params, size_t index,
                        const struct tvm_graph_param_view *view, struct tvm_storage *storage,
                        size_t offset) {
    int64_t shape[TVM_MAX_NDIM];
    copy_shape(view, shape);
    struct tvm_tensor *tensor;
    if (tvm_tensor_view(storage, offset, shape, view->ndim, view->dtype, &tensor))
        return -1;
    params->tensors[index] = tensor;
    if (offset) { /* compiled code wants no byte offset */
        tensor->dl.data = (char *)tensor->dl.data + offset;
        tensor->dl.byte_offset = 0;
        tensor->classic.data = tensor->dl.data;
        tensor->classic.byte_offset = 0;
    }
    return tvm_tensor_copy_from_bytes(&tensor->dl, view->data, view->nbytes);
}

/* All tensors in one piece of host memory. */
static int place_together(struct tvm_graph_params *params, const struct tvm_graph_param_view *views,
                          DLDevice device) {
    size_t total = 0, offset = 0;
    for (size_t i = 0; i < params->count; i++)
        if (!tvm_size_align(total, TVM_ALIGNMENT, &total) ||
            !tvm_size_add(total, views[i].nbytes, &total))
            return tvm_raise(TVM_FORMAT_ERROR, "the parameters are larger than memory could be");
    struct tvm_storage *storage;
    if (tvm_storage_new(device, total, &storage))
        return -1;
    int status = 0;
    for (size_t i = 0; i < params->count && status == 0; i++) {
        tvm_size_align(offset, TVM_ALIGNMENT, &offset);
        status = place_tensor(params, i, &views[i], storage, offset);
        offset += views[i].nbytes;
    }
    tvm_object_release(&storage->object);
    return status;
}

/* Each tensor in memory of its own: other devices' memory has handles without arithmetic. */
static int place_apart(struct tvm_graph_params *params, const struct tvm_graph_param_view *views,
                       DLDevice device) {
    for (size_t i = 0; i < params->count; i++) {
        struct tvm_storage *storage;
        if (tvm_storage_new(device, views[i].nbytes, &storage))
            return -1;
        int status = place_tensor(params, i, &views[i], storage, 0);
        tvm_object_release(&storage->object);
        if (status)
            return -1;
    }
    return 0;
}

int tvm_graph_params_place(const char *name, const struct tvm_graph_param_view *views, size_t count,
                           DLDevice device, struct tvm_graph_params **out) {
    struct tvm_graph_params *params =
        tvm_object_alloc(sizeof(*params), TVM_TYPE_OBJECT, params_destroy);
    if (!params)
        return -1;
    params->count = count;
    params->names.names = calloc(count + 1, sizeof(struct tvm_bytes));
    params->tensors = calloc(count + 1, sizeof(struct tvm_tensor *));
    int status;
    if (!params->names.names || !params->tensors)
        status = tvm_raise_out_of_memory(count * sizeof(struct tvm_bytes));
    else if (index_names(params, views) ||
             (device.device_type == kDLCPU ? place_together(params, views, device)
                                           : place_apart(params, views, device)))
        status = tvm_raise_context("%s", name);
    else
        status = 0;
    if (status)
        tvm_object_release(&params->object);
    else
        *out = params;
    return status;
}

static int read_header(struct tvm_reader *reader) {
    uint64_t magic, reserved;
    if (tvm_read_u64(reader, "magic number", &magic))
        return -1;
    if (magic != LIST_MAGIC)
        return tvm_raise(TVM_FORMAT_ERROR, "%s: not a params file: it begins with %016llx",
                         reader->name, (unsigned long long)magic);
    return tvm_read_u64(reader, "reserved word", &reserved);
}

int tvm_graph_params_read_list(struct tvm_reader *reader, struct tvm_graph_param_view **views,
                               size_t *count) {
    struct tvm_graph_param_view *list;
    uint64_t tensors;
    if (read_header(reader) || tvm_graph_params_read_names(reader, &list, count))
        return -1;
    if (tvm_read_u64(reader, "number of tensors", &tensors) == 0) {
        if (tensors == *count) {
            *views = list;
            return 0;
        }
        tvm_reader_fail(reader, "%llu tensors, but %zu names", (unsigned long long)tensors, *count);
    }
    free(list);
    return -1;
}

int tvm_graph_params_new(const char *name, const void *data, size_t size, DLDevice device,
                         struct tvm_graph_params **out) {
    struct tvm_reader reader = {.data = data, .size = size, .name = name};
    struct tvm_graph_param_view *views;
    size_t count;
    if (tvm_graph_params_read_list(&reader, &views, &count))
        return -1;
    int status = tvm_graph_params_read_tensors(&reader, views, count);
    if (status == 0)
        status = tvm_graph_params_place(name, views, count, device, out);
    free(views);
    return status;
}

size_t tvm_graph_params_count(const struct tvm_graph_params *params) {
    return params->count;
}

struct tvm_bytes tvm_graph_params_name(const struct tvm_graph_params *params, size_t index) {
    return params->names.names[index];
}

struct tvm_tensor *tvm_graph_params_tensor(const struct tvm_graph_params *params, size_t index) {
    return params->tensors[index];
}

struct tvm_tensor *tvm_graph_params_find(const struct tvm_graph_params *params,
                                         struct tvm_bytes name) {
    size_t index;
    return tvm_graph_names_find(&params->names, name, &index) ? params->tensors[index] : NULL;
}
