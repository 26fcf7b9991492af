#include "base/tensor.h"

#include "base/checked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *tvm_shape_print(const int64_t *shape, int ndim, char *buffer, size_t size) {
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (int i = 0; i < ndim; i++) {
        char item[24];
        int length = snprintf(item, sizeof(item), "%s%lld", i ? ", " : "", (long long)shape[i]);
        if (used + (size_t)length + sizeof(", …]") > size) {
            snprintf(buffer + used, size - used, ", …]");
            return buffer;
        }
        memcpy(buffer + used, item, (size_t)length + 1);
        used += (size_t)length;
    }
    snprintf(buffer + used, size - used, "]");
    return buffer;
}

int tvm_shape_count(const int64_t *shape, int ndim, size_t *out) {
    char text[TVM_SHAPE_TEXT_SIZE];
    if (ndim < 0 || ndim > TVM_MAX_NDIM)
        return tvm_raise(TVM_VALUE_ERROR, "a tensor of %d dimensions: expected 0 to %d", ndim,
                         TVM_MAX_NDIM);
    size_t count = 1;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return tvm_raise(TVM_VALUE_ERROR, "shape %s has a negative dimension",
                             tvm_shape_print(shape, ndim, text, sizeof(text)));
        if (!tvm_size_mul(count, (uint64_t)shape[i], &count))
            return tvm_raise(TVM_VALUE_ERROR, "shape %s has more elements than memory could hold",
                             tvm_shape_print(shape, ndim, text, sizeof(text)));
    }
    *out = count;
    return 0;
}

int tvm_shape_nbytes(const int64_t *shape, int ndim, DLDataType dtype, size_t *out) {
    char text[TVM_SHAPE_TEXT_SIZE], type[TVM_DTYPE_TEXT_SIZE];
    size_t count;
    if (tvm_shape_count(shape, ndim, &count))
        return -1;
    size_t item = tvm_dtype_nbytes(dtype);
    if (item == 0)
        return tvm_raise(TVM_TYPE_ERROR, "%s is no element type", tvm_dtype_print(dtype, type));
    if (!tvm_size_mul(count, item, out) || *out > PTRDIFF_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "shape %s of %s is larger than memory could be",
                         tvm_shape_print(shape, ndim, text, sizeof(text)),
                         tvm_dtype_print(dtype, type));
    return 0;
}

bool tvm_tensor_is_compact(const DLTensor *tensor) {
    if (!tensor->strides)
        return true;
    int64_t expected = 1;
    for (int i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] == 0)
            return true;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->strides[i] != expected)
            return false;
        if (__builtin_mul_overflow(expected, tensor->shape[i], &expected))
            return false;
    }
    return true;
}

static void storage_destroy(void *self) {
    struct tvm_storage *storage = self;
    const struct tvm_device_api *api;
    if (storage->free)
        storage->free(storage->resource);
    else if (storage->resource && tvm_device_get(storage->device, &api) == 0)
        api->free(storage->device, storage->resource);
}

int tvm_storage_new(DLDevice device, size_t nbytes, struct tvm_storage **out) {
    const struct tvm_device_api *api;
    if (tvm_device_get(device, &api))
        return -1;
    struct tvm_storage *storage =
        tvm_object_alloc(sizeof(*storage), TVM_TYPE_OBJECT, storage_destroy);
    if (!storage)
        return -1;
    storage->device = device;
    storage->nbytes = nbytes;
    if (api->alloc(device, nbytes ? nbytes : 1, &storage->data)) {
        tvm_object_release(&storage->object);
        return -1;
    }
    storage->resource = storage->data;
    *out = storage;
    return 0;
}

int tvm_storage_wrap(DLDevice device, void *data, size_t nbytes,
                     void (*free_resource)(void *resource), void *resource,
                     struct tvm_storage **out) {
    struct tvm_storage *storage =
        tvm_object_alloc(sizeof(*storage), TVM_TYPE_OBJECT, storage_destroy);
    if (!storage)
        return -1;
    storage->device = device;
    storage->data = data;
    storage->nbytes = nbytes;
    storage->free = free_resource;
    storage->resource = free_resource ? resource : NULL;
    *out = storage;
    return 0;
}

static void tensor_destroy(void *self) {
    struct tvm_tensor *tensor = self;
    tvm_object_release(&tensor->storage->object);
}

int tvm_tensor_view(struct tvm_storage *storage, size_t byte_offset, const int64_t *shape, int ndim,
                    DLDataType dtype, struct tvm_tensor **out) {
    char text[TVM_SHAPE_TEXT_SIZE], type[TVM_DTYPE_TEXT_SIZE];
    size_t nbytes, end;
    if (tvm_shape_nbytes(shape, ndim, dtype, &nbytes))
        return -1;
    if (!tvm_size_add(byte_offset, nbytes, &end) || end > storage->nbytes)
        return tvm_raise(TVM_VALUE_ERROR,
                         "shape %s of %s at byte %zu needs %zu bytes, storage has %zu",
                         tvm_shape_print(shape, ndim, text, sizeof(text)),
                         tvm_dtype_print(dtype, type), byte_offset, nbytes, storage->nbytes);
    struct tvm_tensor *tensor = tvm_object_alloc(sizeof(*tensor) + (size_t)ndim * sizeof(int64_t),
                                                 TVM_TYPE_TENSOR, tensor_destroy);
    if (!tensor)
        return -1;
    if (ndim)
        memcpy(tensor->shape, shape, (size_t)ndim * sizeof(int64_t));
    tensor->dl = (DLTensor){.data = storage->data,
                            .device = storage->device,
                            .ndim = ndim,
                            .dtype = dtype,
                            .shape = tensor->shape,
                            .byte_offset = byte_offset};
    tensor->classic = tensor->dl;
    tensor->classic.dtype = tvm_dtype_to_classic(dtype);
    tvm_object_retain(&storage->object);
    tensor->storage = storage;
    *out = tensor;
    return 0;
}

static void release_owner(void *owner) {
    tvm_object_release(owner);
}

int tvm_tensor_over(DLDevice device, void *data, size_t nbytes, struct tvm_object *owner,
                    const int64_t *shape, int ndim, DLDataType dtype, struct tvm_tensor **out) {
    struct tvm_storage *storage;
    while (owner && owner->type_index == TVM_TYPE_TENSOR &&
           ((struct tvm_tensor *)owner)->storage->free == release_owner)
        owner = ((struct tvm_tensor *)owner)->storage->resource;
    if (tvm_storage_wrap(device, data, nbytes, owner ? release_owner : NULL, owner, &storage))
        return -1;
    if (owner)
        tvm_object_retain(owner);
    int status = tvm_tensor_view(storage, 0, shape, ndim, dtype, out);
    tvm_object_release(&storage->object);
    return status;
}

int tvm_tensor_empty(const int64_t *shape, int ndim, DLDataType dtype, DLDevice device,
                     struct tvm_tensor **out) {
    size_t nbytes;
    struct tvm_storage *storage;
    if (tvm_shape_nbytes(shape, ndim, dtype, &nbytes) || tvm_storage_new(device, nbytes, &storage))
        return -1;
    int status = tvm_tensor_view(storage, 0, shape, ndim, dtype, out);
    tvm_object_release(&storage->object);
    return status;
}

static int require_compact(const DLTensor *tensor, const char *role) {
    if (tvm_tensor_is_compact(tensor))
        return 0;
    return tvm_raise(TVM_VALUE_ERROR, "the %s tensor is not compact", role);
}

int tvm_tensor_copy(const DLTensor *from, const DLTensor *to) {
    char from_type[TVM_DTYPE_TEXT_SIZE], to_type[TVM_DTYPE_TEXT_SIZE];
    char from_shape[TVM_SHAPE_TEXT_SIZE], to_shape[TVM_SHAPE_TEXT_SIZE];
    size_t from_size, to_size;
    if (tvm_tensor_nbytes(from, &from_size) || tvm_tensor_nbytes(to, &to_size) ||
        require_compact(from, "source") || require_compact(to, "target"))
        return -1;
    if (!tvm_dtype_equal(from->dtype, to->dtype))
        return tvm_raise(TVM_TYPE_ERROR, "cannot copy %s to %s: dtypes differ",
                         tvm_dtype_print(from->dtype, from_type),
                         tvm_dtype_print(to->dtype, to_type));
    if (from_size != to_size)
        return tvm_raise(TVM_VALUE_ERROR, "cannot copy %s (%zu bytes) to %s (%zu bytes)",
                         tvm_shape_print(from->shape, from->ndim, from_shape, sizeof(from_shape)),
                         from_size,
                         tvm_shape_print(to->shape, to->ndim, to_shape, sizeof(to_shape)), to_size);
    return tvm_device_copy(tvm_tensor_place(from), tvm_tensor_place(to), from_size);
}

/* Checks that host memory of nbytes is just what a compact tensor holds. */
static int check_host_copy(const DLTensor *tensor, size_t nbytes) {
    char shape[TVM_SHAPE_TEXT_SIZE], type[TVM_DTYPE_TEXT_SIZE];
    size_t expected;
    if (tvm_tensor_nbytes(tensor, &expected) || require_compact(tensor, "copied"))
        return -1;
    if (expected == nbytes)
        return 0;
    return tvm_raise(TVM_VALUE_ERROR, "%s %s holds %zu bytes, but the copy is of %zu bytes",
                     tvm_dtype_print(tensor->dtype, type),
                     tvm_shape_print(tensor->shape, tensor->ndim, shape, sizeof(shape)), expected,
                     nbytes);
}

int tvm_tensor_copy_from_bytes(const DLTensor *to, const void *data, size_t nbytes) {
    struct tvm_place host = {.device = {kDLCPU, 0}, .data = (void *)(uintptr_t)data};
    if (check_host_copy(to, nbytes))
        return -1;
    return tvm_device_copy(host, tvm_tensor_place(to), nbytes);
}

int tvm_tensor_copy_to_bytes(const DLTensor *from, void *data, size_t nbytes) {
    struct tvm_place host = {.device = {kDLCPU, 0}, .data = data};
    if (check_host_copy(from, nbytes))
        return -1;
    return tvm_device_copy(tvm_tensor_place(from), host, nbytes);
}

static void delete_import(void *resource) {
    DLManagedTensor *import = resource;
    if (import->deleter)
        import->deleter(import);
}

int tvm_tensor_from_dlpack(DLManagedTensor *import, struct tvm_tensor **out) {
    const DLTensor *dl = &import->dl_tensor;
    DLDataType dtype = dl->dtype;
    if (dtype.code == TVM_DTYPE_UINT)
        dtype = tvm_dtype_from_classic(dtype);
    if (dl->ndim > 0 && !dl->shape)
        return tvm_raise(TVM_VALUE_ERROR, "the imported tensor has no shape");
    const struct tvm_device_api *api;
    size_t nbytes, end;
    struct tvm_storage *storage;
    if (tvm_device_get(dl->device, &api) || tvm_shape_nbytes(dl->shape, dl->ndim, dtype, &nbytes) ||
        require_compact(dl, "imported"))
        return -1;
    if (!dl->data && nbytes)
        return tvm_raise(TVM_VALUE_ERROR, "the imported tensor has no data");
    if (!tvm_size_add(nbytes, dl->byte_offset, &end))
        return tvm_raise(TVM_VALUE_ERROR, "byte offset %llu of the imported tensor is out of range",
                         (unsigned long long)dl->byte_offset);
    if (tvm_storage_wrap(dl->device, dl->data, end, NULL, NULL, &storage))
        return -1;
    int status = tvm_tensor_view(storage, (size_t)dl->byte_offset, dl->shape, dl->ndim, dtype, out);
    if (status == 0) { /* only now is the import ours */
        storage->free = delete_import;
        storage->resource = import;
    }
    tvm_object_release(&storage->object);
    return status;
}

struct export {
    DLManagedTensor managed;
    struct tvm_tensor *tensor;
};

static void delete_export(DLManagedTensor *managed) {
    struct export *export = (struct export *)managed;
    tvm_object_release(&export->tensor->object);
    free(export);
}

int tvm_tensor_to_dlpack(struct tvm_tensor *tensor, DLManagedTensor **out) {
    if (tensor->storage->lent)
        return tvm_raise(TVM_VALUE_ERROR, "the tensor's memory is lent for the time of a call: "
                                          "only a copy can be exported");
    struct export *export = malloc(sizeof(*export));
    if (!export)
        return tvm_raise_out_of_memory();
    tvm_object_retain(&tensor->object);
    export->tensor = tensor;
    export->managed =
        (DLManagedTensor){.dl_tensor = tensor->dl, .manager_ctx = export, .deleter = delete_export};
    *out = &export->managed;
    return 0;
}
