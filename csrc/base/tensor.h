/* Tensors (DLPack) on any device, and the storage that they share. */
#ifndef TVM_BASE_TENSOR_H
#define TVM_BASE_TENSOR_H

#include "base/device.h"
#include "base/dtype.h"
#include "base/object.h"

enum { TVM_MAX_NDIM = 64 };

/* A piece of device memory; freed with the last tensor on it. */
struct tvm_storage {
    struct tvm_object object;
    DLDevice device;
    void *data;
    size_t nbytes;
    void (*free)(void *resource); /* for memory of others; NULL: the device's own */
    void *resource;
    bool lent; /* for the time of a call: nobody may remember its address */
};

/* tvm-ffi's tensor (header, DLTensor) and, behind it, the same DLTensor in the classic dtype codes:
 * &tensor->classic is the classic API's array handle. */
struct tvm_tensor {
    struct tvm_object object;
    DLTensor dl;
    DLTensor classic;
    struct tvm_storage *storage; /* owned */
    int64_t shape[];             /* where both shape pointers point */
};

/* Number of elements; ValueError when a dimension is negative, ndim is beyond TVM_MAX_NDIM or the
 * product overflows. */
int tvm_shape_count(const int64_t *shape, int ndim, size_t *out);

/* Bytes of a compact tensor: elements × tvm_dtype_nbytes; the same errors, and TypeError for a
 * dtype without a size. */
int tvm_shape_nbytes(const int64_t *shape, int ndim, DLDataType dtype, size_t *out);

static inline int tvm_tensor_nbytes(const DLTensor *tensor, size_t *out) {
    return tvm_shape_nbytes(tensor->shape, tensor->ndim, tensor->dtype, out);
}

/* True when elements lie in row-major order without gaps (strides NULL or equal to that). */
bool tvm_tensor_is_compact(const DLTensor *tensor);

/* Where a tensor's first element lies. */
static inline struct tvm_place tvm_tensor_place(const DLTensor *tensor) {
    return (struct tvm_place){tensor->device, tensor->data, (size_t)tensor->byte_offset};
}

/* Storage of nbytes (at least one byte is allocated) on device, contents undefined. */
int tvm_storage_new(DLDevice device, size_t nbytes, struct tvm_storage **out);

/* Storage on memory of others: free_resource (may be NULL) runs once, on the thread that drops the
 * last reference. On failure resource stays the caller's. */
int tvm_storage_wrap(DLDevice device, void *data, size_t nbytes,
                     void (*free_resource)(void *resource), void *resource,
                     struct tvm_storage **out);

/* A compact tensor at byte_offset of storage (a reference is added). ValueError when it would reach
 * beyond the storage. */
int tvm_tensor_view(struct tvm_storage *storage, size_t byte_offset, const int64_t *shape, int ndim,
                    DLDataType dtype, struct tvm_tensor **out);

/* A compact tensor on nbytes of memory that owner keeps (a reference is added), or with owner NULL
 * the caller. Where owner is itself such a tensor, its owner is kept in its place, so that tensors
 * on tensors do not hold each other, ever longer. */
int tvm_tensor_over(DLDevice device, void *data, size_t nbytes, struct tvm_object *owner,
                    const int64_t *shape, int ndim, DLDataType dtype, struct tvm_tensor **out);

/* A new compact tensor, contents undefined, data at a multiple of TVM_ALIGNMENT. */
int tvm_tensor_empty(const int64_t *shape, int ndim, DLDataType dtype, DLDevice device,
                     struct tvm_tensor **out);

/* Copies between tensors of equal dtype and byte size, on any devices, both compact. TypeError or
 * ValueError, with both sides named, otherwise. */
int tvm_tensor_copy(const DLTensor *from, const DLTensor *to);

/* Copies a whole compact tensor from or to host memory; nbytes must be the tensor's size. */
int tvm_tensor_copy_from_bytes(const DLTensor *to, const void *data, size_t nbytes);
int tvm_tensor_copy_to_bytes(const DLTensor *from, void *data, size_t nbytes);

/* The tensor whose classic handle this is. */
static inline struct tvm_tensor *tvm_tensor_from_classic(DLTensor *handle) {
    return (struct tvm_tensor *)((char *)handle - offsetof(struct tvm_tensor, classic));
}

/* Takes over a DLPack tensor: its deleter runs when the last reference to *out goes. bool may come
 * as DLPack has it or as classic TVM wrote it, a 1-bit uint; codes 6 and 7 are DLPack's, not
 * classic TVM's float8. On failure, as for a tensor that is not compact, the import stays the
 * caller's. */
int tvm_tensor_from_dlpack(DLManagedTensor *import, struct tvm_tensor **out);

/* A DLPack tensor that shares tensor's memory and holds a reference until its deleter is called.
 * ValueError for lent memory. */
int tvm_tensor_to_dlpack(struct tvm_tensor *tensor, DLManagedTensor **out);

/* "[1, 3, 224, 224]", cut with "…" where it does not fit, into buffer of size bytes. */
const char *tvm_shape_print(const int64_t *shape, int ndim, char *buffer, size_t size);
enum { TVM_SHAPE_TEXT_SIZE = 128 };

#endif
