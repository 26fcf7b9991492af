#include "base/object.h"

#include "base/checked.h"
#include "base/error.h"

#include <stdlib.h>

/* Stands in memory right before an object: room for what the ABI's own header has no field for. */
struct hidden_header {
    void (*destroy)(void *self);
    size_t padding; /* keeps the object 16-byte aligned */
};

static _Atomic int64_t live_objects;

int64_t tvm_object_live_count(void) {
    return atomic_load_explicit(&live_objects, memory_order_relaxed);
}

static void delete_allocated(void *self, int flags) {
    struct hidden_header *header = (struct hidden_header *)self - 1;
    if ((flags & TVM_DELETE_STRONG) && header->destroy)
        header->destroy(self);
    if (flags & TVM_DELETE_WEAK) {
        free(header);
        atomic_fetch_sub_explicit(&live_objects, 1, memory_order_relaxed);
    }
}

void *tvm_object_alloc(size_t nbytes, enum tvm_type_index type, void (*destroy)(void *self)) {
    size_t total;
    struct hidden_header *header =
        tvm_size_add(nbytes, sizeof(*header), &total) ? calloc(1, total) : NULL;
    if (!header) {
        tvm_raise_out_of_memory();
        return NULL;
    }
    header->destroy = destroy;
    struct tvm_object *object = (struct tvm_object *)(header + 1);
    tvm_object_init(object, type, delete_allocated);
    atomic_fetch_add_explicit(&live_objects, 1, memory_order_relaxed);
    return object;
}

void tvm_object_release(struct tvm_object *object) {
    const uint64_t weak_one = UINT64_C(1) << 32;
    if (!object)
        return;
    uint64_t before = atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel);
    if (before == TVM_REFS_ONE) {
        if (object->deleter)
            object->deleter(object, TVM_DELETE_BOTH);
    } else if ((uint32_t)before == 1) {
        if (object->deleter)
            object->deleter(object, TVM_DELETE_STRONG);
        before = atomic_fetch_sub_explicit(&object->refs, weak_one, memory_order_acq_rel);
        if (before >> 32 == 1 && object->deleter)
            object->deleter(object, TVM_DELETE_WEAK);
    }
}
