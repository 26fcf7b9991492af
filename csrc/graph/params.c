/* Lists of parameters, as params files and factory libraries hold them. */
#include "graph/params.h"

#include "graph/plan.h"
#include "module/filetype.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAGIC UINT64_C(0xF7E58D4F05049CB7)
#define TENSOR_MAGIC UINT64_C(0xDD5E40F096B4A13F)

/* The least that a name and a tensor take in a file: a length, two words, five small numbers, a
 * size. */
enum { MIN_NAME = 8, MIN_TENSOR = 8 + 8 + 8 + 4 + 4 + 8 };

enum { FIRST_CUSTOM_DTYPE = 129 };

static void list_destroy(void *self) {
    struct tvm_graph_param_list *list = self;
    for (size_t i = 0; i < list->names.count; i++) {
        free((void *)(uintptr_t)list->names.names[i].data);
        free(list->items[i].shape);
    }
    free(list->names.names);
    free(list->names.order);
    free(list->items);
}

/* NULL with an error raised where there is no memory. */
static struct tvm_graph_param_list *list_new(size_t count) {
    struct tvm_graph_param_list *list =
        tvm_object_alloc(sizeof(*list), TVM_TYPE_OBJECT, list_destroy);
    if (!list)
        return NULL;
    list->names.names = calloc(count + 1, sizeof(*list->names.names));
    list->items = calloc(count + 1, sizeof(*list->items));
    if (list->names.names && list->items) {
        list->names.count = count;
        return list;
    }
    tvm_object_release(&list->object);
    tvm_raise_out_of_memory();
    return NULL;
}

static int read_name(struct tvm_reader *reader, size_t index, struct tvm_bytes *out) {
    struct tvm_bytes name;
    if (tvm_read_string(reader, "name of a parameter", &name))
        return -1;
    if (memchr(name.data, '\0', name.size))
        return tvm_reader_fail(reader, "the name of parameter %zu holds a NUL", index);
    char *copy = malloc(name.size + 1);
    if (!copy)
        return tvm_raise_out_of_memory();
    memcpy(copy, name.data, name.size);
    copy[name.size] = '\0';
    out->data = copy;
    out->size = name.size;
    return 0;
}

int tvm_graph_params_read_names(struct tvm_reader *reader, struct tvm_graph_param_list **out) {
    struct tvm_graph_param_list *list;
    size_t count;
    if (tvm_read_count(reader, "number of names", MIN_NAME, &count) || !(list = list_new(count)))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (read_name(reader, i, &list->names.names[i])) {
            tvm_object_release(&list->object);
            return -1;
        }
    *out = list;
    return 0;
}

/* dtype as the file has it; param->dtype becomes today's. */
static int check_dtype(struct tvm_reader *reader, struct tvm_graph_param *param) {
    if (param->dtype.lanes != 1)
        return tvm_reader_fail(reader, "%d lanes: expected 1", param->dtype.lanes);
    if (param->dtype.bits == 0)
        return tvm_reader_fail(reader, "the dtype (code %d) has no bits", param->dtype.code);
    if (param->dtype.code >= FIRST_CUSTOM_DTYPE)
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: dtype code %d: custom dtypes are not supported", reader->name,
                         param->dtype.code);
    /* Files say nothing of the TVM that wrote them: 6 was float8 there until 0.19, for which no
     * weights are known, and is bool since 0.23. */
    if (param->dtype.code != TVM_DTYPE_BOOL)
        param->dtype = tvm_dtype_from_classic(param->dtype);
    return 0;
}

/* The stored byte count against shape and dtype: by the formula that also sizes the memory. */
static int check_size(struct tvm_reader *reader, const struct tvm_graph_param *param,
                      int64_t stored) {
    char text[TVM_SHAPE_TEXT_SIZE], type[TVM_DTYPE_TEXT_SIZE];
    size_t nbytes;
    if (tvm_shape_nbytes(param->shape, param->ndim, param->dtype, &nbytes)) {
        tvm_graph_format_error();
        return tvm_raise_context("%s", reader->name);
    }
    if (stored >= 0 && (uint64_t)stored == nbytes)
        return 0;
    tvm_shape_print(param->shape, param->ndim, text, sizeof(text));
    tvm_dtype_print(param->dtype, type);
    if (stored == 0 && param->dtype.code == TVM_DTYPE_BOOL)
        return tvm_reader_fail(reader,
                               "%s %s without data: TVM 0.6 and older leave out the data of bool "
                               "parameters; save them again with a newer TVM or as int8",
                               type, text);
    return tvm_reader_fail(reader, "%s %s has %zu bytes, but %lld are stored", type, text, nbytes,
                           (long long)stored);
}

static int read_shape(struct tvm_reader *reader, int32_t ndim, struct tvm_graph_param *param) {
    if (ndim < 0 || ndim > TVM_MAX_NDIM)
        return tvm_reader_fail(reader, "%d dimensions: expected 0 to %d", ndim, TVM_MAX_NDIM);
    param->ndim = ndim;
    param->shape = malloc(((size_t)ndim + 1) * sizeof(*param->shape));
    if (!param->shape)
        return tvm_raise_out_of_memory();
    for (int i = 0; i < ndim; i++)
        if (tvm_read_i64(reader, "shape", &param->shape[i]))
            return -1;
    return 0;
}

int tvm_graph_param_read(struct tvm_reader *reader, struct tvm_graph_param *param) {
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
    if (tvm_read_u8(reader, "dtype code", &param->dtype.code) ||
        tvm_read_u8(reader, "dtype bits", &param->dtype.bits) ||
        tvm_read_u16(reader, "dtype lanes", &param->dtype.lanes) || check_dtype(reader, param) ||
        read_shape(reader, ndim, param) || tvm_read_i64(reader, "byte count", &stored) ||
        check_size(reader, param, stored))
        return -1;
    param->nbytes = (size_t)stored;
    param->offset = reader->pos;
    return tvm_read_skip(reader, "data", param->nbytes);
}

static int sort_names(const struct tvm_reader *reader, struct tvm_graph_names *names) {
    if (tvm_graph_names_sort(names))
        return -1;
    const struct tvm_bytes *twice = tvm_graph_names_duplicate(names);
    if (twice)
        return tvm_raise(TVM_FORMAT_ERROR, "%s: two parameters are called %.200s", reader->name,
                         twice->data);
    return 0;
}

int tvm_graph_params_read_tensors(struct tvm_reader *reader, struct tvm_graph_param_list *list) {
    size_t count = list->names.count;
    if (count > tvm_reader_left(reader) / MIN_TENSOR)
        return tvm_reader_fail(reader, "%zu tensors cannot fit into the %zu bytes that follow",
                               count, tvm_reader_left(reader));
    const char *name = reader->name;
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        char text[384]; /* what messages begin with */
        snprintf(text, sizeof(text), "%.128s: parameter %zu (%.200s)", name, i,
                 list->names.names[i].data);
        reader->name = text;
        status = tvm_graph_param_read(reader, &list->items[i]);
        reader->name = name;
    }
    return status ? -1 : sort_names(reader, &list->names);
}

/* Names what begins at the reader's position, and is no params file. */
static int refuse(struct tvm_reader *reader) {
    const unsigned char *data;
    size_t size = tvm_reader_left(reader);
    if (size > TVM_FILETYPE_BYTES)
        size = TVM_FILETYPE_BYTES;
    return tvm_read_bytes(reader, "first bytes", size, &data)
               ? -1
               : tvm_filetype_refuse(TVM_FORMAT_ERROR, reader->name, "a params file", data, size);
}

static int read_magic(struct tvm_reader *reader) {
    const size_t begin = reader->pos;
    uint64_t magic = 0, reserved;
    if (tvm_reader_left(reader) >= sizeof(magic) && tvm_read_u64(reader, "magic number", &magic))
        return -1;
    if (magic == LIST_MAGIC)
        return tvm_read_u64(reader, "reserved word", &reserved);
    reader->pos = begin;
    return refuse(reader);
}

int tvm_graph_params_read_head(struct tvm_reader *reader, struct tvm_graph_param_list **out) {
    struct tvm_graph_param_list *list;
    uint64_t tensors;
    if (read_magic(reader) || tvm_graph_params_read_names(reader, &list))
        return -1;
    if (tvm_read_u64(reader, "number of tensors", &tensors) == 0) {
        if (tensors == list->names.count) {
            *out = list;
            return 0;
        }
        tvm_reader_fail(reader, "%llu tensors, but %zu names", (unsigned long long)tensors,
                        list->names.count);
    }
    tvm_object_release(&list->object);
    return -1;
}

int tvm_graph_params_read_all(struct tvm_reader *reader, struct tvm_graph_param_list **out) {
    if (tvm_graph_params_read_head(reader, out))
        return -1;
    if (tvm_graph_params_read_tensors(reader, *out) == 0)
        return 0;
    tvm_object_release(&(*out)->object);
    *out = NULL;
    return -1;
}
