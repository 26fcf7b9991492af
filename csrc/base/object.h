/* Reference-counted objects with tvm-ffi's 24-byte header (tvm/ffi/c_api.h, TVMFFIObject), so that
 * code compiled by TVM 0.22 and newer can hold them. */
#ifndef TVM_BASE_OBJECT_H
#define TVM_BASE_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a value or an object is; the numbers are tvm-ffi's. Those below TVM_TYPE_OBJECT live in the
 * value itself, the others are pointers to a struct tvm_object. */
enum tvm_type_index {
    TVM_TYPE_NONE = 0,
    TVM_TYPE_INT = 1,
    TVM_TYPE_BOOL = 2,
    TVM_TYPE_FLOAT = 3,
    TVM_TYPE_OPAQUE_PTR = 4,
    TVM_TYPE_DTYPE = 5,
    TVM_TYPE_DEVICE = 6,
    TVM_TYPE_DLTENSOR_PTR = 7, /* borrowed DLTensor* */
    TVM_TYPE_RAW_STR = 8,      /* borrowed const char*, NUL-terminated */
    TVM_TYPE_BYTES_PTR = 9,    /* borrowed struct tvm_bytes* */
    TVM_TYPE_SMALL_STR = 11,   /* up to 7 bytes inside the value */
    TVM_TYPE_SMALL_BYTES = 12,
    TVM_TYPE_OBJECT = 64,
    TVM_TYPE_STR = 65,
    TVM_TYPE_BYTES = 66,
    TVM_TYPE_ERROR_OBJECT = 67,
    TVM_TYPE_FUNCTION = 68,
    TVM_TYPE_SHAPE = 69,
    TVM_TYPE_TENSOR = 70,
    TVM_TYPE_ARRAY = 71,
    TVM_TYPE_MAP = 72,
    TVM_TYPE_MODULE = 73,
};

/* Which part of an object's life a deleter ends; strong and weak together is the common case. */
enum tvm_deleter_flag { TVM_DELETE_STRONG = 1, TVM_DELETE_WEAK = 2, TVM_DELETE_BOTH = 3 };

struct tvm_object {
    /* Low 32 bits strong references, high 32 bits weak ones; all strong ones are one weak one. */
    _Atomic uint64_t refs;
    int32_t type_index;
    uint32_t nesting; /* of tuples and closures: how deep such lie in it; tvm-ffi's padding */
    void (*deleter)(void *self, int flags); /* may be NULL: the object is never freed */
};

#define TVM_REFS_ONE ((UINT64_C(1) << 32) | 1)

static inline void tvm_object_init(struct tvm_object *object, enum tvm_type_index type,
                                   void (*deleter)(void *self, int flags)) {
    atomic_init(&object->refs, TVM_REFS_ONE);
    object->type_index = (int32_t)type;
    object->nesting = 0;
    object->deleter = deleter;
}

/* Adds one strong reference. Any thread that owns a reference may call it. */
static inline void tvm_object_retain(struct tvm_object *object) {
    atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
}

/* Adds one where there still is one; the caller knows that the memory is there. */
static inline bool tvm_object_try_retain(struct tvm_object *object) {
    uint64_t refs = atomic_load_explicit(&object->refs, memory_order_relaxed);
    while ((uint32_t)refs != 0)
        if (atomic_compare_exchange_weak_explicit(&object->refs, &refs, refs + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

/* Drops one strong reference; the last one calls the deleter on this thread. NULL is ignored. */
void tvm_object_release(struct tvm_object *object);

/* Number of strong references at this moment: exact only while no other thread holds one. */
static inline uint32_t tvm_object_use_count(const struct tvm_object *object) {
    return (uint32_t)atomic_load_explicit(&object->refs, memory_order_acquire);
}

/* Objects alive in the process, by creation through tvm_object_alloc; for leak tests. */
int64_t tvm_object_live_count(void);

/* Allocates a zeroed object of nbytes (its struct begins with struct tvm_object) whose deleter
 * calls destroy (may be NULL) with the last strong reference and frees the memory with the last
 * weak one. NULL with an error raised when out of memory. */
void *tvm_object_alloc(size_t nbytes, enum tvm_type_index type, void (*destroy)(void *self));

#endif
