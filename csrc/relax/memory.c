/* Memory of activations: what a session's calls have given back is used again. */
#include "relax/vm.h"

#include <stdlib.h>

enum { VIEW_COUNT = sizeof((struct vm_storage){0}.views) / sizeof(struct tvm_tensor *) };

/* Entries up to this size serve any request that fits. */
enum { SMALL = 1 << 16 };

/* Beyond these, allocations of one call look for memory the slow way. */
enum { MAX_HINTS = 1 << 12 };

static void storage_destroy(void *self) {
    struct vm_storage *storage = self;
    for (int i = 0; i < VIEW_COUNT; i++)
        if (storage->views[i])
            tvm_object_release(&storage->views[i]->object);
    tvm_object_release(&storage->memory->object);
}

static int storage_new(const struct vm_pool *pool, DLDevice device, size_t nbytes,
                       struct vm_storage **out) {
    struct tvm_storage *memory;
    if (tvm_storage_new(device, nbytes, &memory))
        return -1;
    struct vm_storage *storage =
        tvm_object_alloc(sizeof(*storage), (enum tvm_type_index)VM_TYPE_STORAGE, storage_destroy);
    if (!storage) {
        tvm_object_release(&memory->object);
        return -1;
    }
    storage->pool = pool;
    storage->memory = memory;
    *out = storage;
    return 0;
}

static bool is_idle(const struct tvm_tensor *view) {
    return tvm_object_use_count(&view->object) == 1;
}

/* Whether nobody but the pool uses the memory. */
static bool is_free(const struct vm_storage *storage) {
    uint32_t users = 1;
    if (tvm_object_use_count(&storage->object) != 1)
        return false;
    for (int i = 0; i < VIEW_COUNT && storage->views[i]; i++, users++)
        if (!is_idle(storage->views[i]))
            return false;
    return tvm_object_use_count(&storage->memory->object) == users;
}

static bool is_fit(const struct vm_storage *storage, DLDevice device, size_t nbytes) {
    size_t size = storage->memory->nbytes;
    return tvm_device_equal(storage->memory->device, device) && size >= nbytes &&
           (size <= SMALL || size / 4 <= nbytes) && is_free(storage);
}

/* The smallest entry that fits, NULL for none. *largest is the largest of the free ones that are
 * too small. */
static struct vm_storage *search(const struct vm_pool *pool, DLDevice device, size_t nbytes,
                                 size_t *largest) {
    struct vm_storage *best = NULL;
    *largest = SIZE_MAX;
    for (size_t i = 0; i < pool->count; i++) {
        struct vm_storage *entry = pool->entries[i];
        size_t size = entry->memory->nbytes;
        if (size < nbytes && tvm_device_equal(entry->memory->device, device)
                ? (*largest == SIZE_MAX || size > pool->entries[*largest]->memory->nbytes) &&
                      is_free(entry)
                : 0)
            *largest = i;
        if ((!best || size < best->memory->nbytes) && is_fit(entry, device, nbytes))
            best = entry;
    }
    return best;
}

static void drop_entry(struct vm_pool *pool, size_t index) {
    for (size_t i = 0; i < pool->hint_count; i++)
        if (pool->hints[i] == pool->entries[index])
            pool->hints[i] = NULL;
    tvm_object_release(&pool->entries[index]->object);
    pool->entries[index] = pool->entries[--pool->count];
}

/* Callers that keep results keep their memory; the pool forgets it when there is much of it. */
static void forget_kept(struct vm_pool *pool) {
    for (size_t i = pool->count; i-- > 0;)
        if (!is_free(pool->entries[i]))
            drop_entry(pool, i);
}

static int add_entry(struct vm_pool *pool, struct vm_storage *storage) {
    if (pool->count == pool->capacity) {
        size_t capacity = pool->capacity ? pool->capacity * 2 : 16;
        struct vm_storage **entries =
            realloc(pool->entries, capacity * sizeof(struct vm_storage *));
        if (!entries)
            return tvm_raise_out_of_memory();
        pool->entries = entries;
        pool->capacity = capacity;
    }
    pool->entries[pool->count++] = storage;
    return 0;
}

static int set_hint(struct vm_pool *pool, size_t number, struct vm_storage *storage) {
    if (number >= MAX_HINTS)
        return 0;
    if (number >= pool->hint_count) {
        size_t count = number * 2 + 16;
        struct vm_storage **hints = realloc(pool->hints, count * sizeof(struct vm_storage *));
        if (!hints)
            return tvm_raise_out_of_memory();
        for (size_t i = pool->hint_count; i < count; i++)
            hints[i] = NULL;
        pool->hints = hints;
        pool->hint_count = count;
    }
    pool->hints[number] = storage;
    return 0;
}

/* The slow way: an entry that is free, or a new one in the place of one that is too small. */
static int find_or_make(struct vm_pool *pool, DLDevice device, size_t nbytes,
                        struct vm_storage **out) {
    size_t largest;
    if ((*out = search(pool, device, nbytes, &largest)))
        return 0;
    if (largest != SIZE_MAX)
        drop_entry(pool, largest);
    if (pool->count >= pool->hint_count * 2 + 64)
        forget_kept(pool);
    if (storage_new(pool, device, nbytes, out))
        return -1;
    if (add_entry(pool, *out) == 0)
        return 0;
    tvm_object_release(&(*out)->object);
    return -1;
}

int tvm_vm_pool_alloc(struct vm_pool *pool, DLDevice device, size_t nbytes,
                      struct vm_storage **out) {
    size_t number = pool->next++;
    struct vm_storage *storage = number < pool->hint_count ? pool->hints[number] : NULL;
    if (!storage || !is_fit(storage, device, nbytes))
        if (find_or_make(pool, device, nbytes, &storage) || set_hint(pool, number, storage))
            return -1;
    tvm_object_retain(&storage->object);
    *out = storage;
    return 0;
}

void tvm_vm_pool_destroy(struct vm_pool *pool) {
    for (size_t i = 0; i < pool->count; i++)
        tvm_object_release(&pool->entries[i]->object);
    free(pool->entries);
    free(pool->hints);
    *pool = (struct vm_pool){0};
}

int tvm_vm_view(struct tvm_storage *storage, size_t offset, const int64_t *shape, int ndim,
                DLDataType dtype, struct tvm_tensor **out) {
    const struct tvm_device_api *api;
    if (tvm_device_get(storage->device, &api) ||
        tvm_tensor_view(storage, offset, shape, ndim, dtype, out))
        return -1;
    char *data = (char *)storage->data + offset;
    if (!api->addressable || (uintptr_t)data % VM_ALIGNMENT)
        return 0;
    (*out)->dl.data = (*out)->classic.data = data;
    (*out)->dl.byte_offset = (*out)->classic.byte_offset = 0;
    return 0;
}

static bool is_same(const struct tvm_tensor *view, const void *data, const struct tvm_shape *shape,
                    DLDataType dtype) {
    const DLTensor *dl = &view->dl;
    if (dl->data != data || dl->byte_offset || (size_t)dl->ndim != shape->size ||
        !tvm_dtype_equal(dl->dtype, dtype))
        return false;
    for (size_t i = 0; i < shape->size; i++)
        if (dl->shape[i] != shape->data[i])
            return false;
    return true;
}

int tvm_vm_storage_tensor(struct vm_storage *storage, size_t offset, const struct tvm_shape *shape,
                          DLDataType dtype, struct tvm_tensor **out) {
    if (offset % VM_ALIGNMENT || shape->size > TVM_MAX_NDIM)
        return tvm_raise(TVM_VALUE_ERROR,
                         "a tensor of %zu dimensions at byte %zu: expected at most %d, and a "
                         "multiple of %d",
                         shape->size, offset, TVM_MAX_NDIM, VM_ALIGNMENT);
    void *data = (char *)storage->memory->data + offset;
    struct tvm_tensor **room = NULL;
    for (int i = 0; i < VIEW_COUNT; i++) {
        struct tvm_tensor *view = storage->views[i];
        if (view && !is_idle(view))
            continue;
        if (view && is_same(view, data, shape, dtype)) {
            tvm_object_retain(&view->object);
            *out = view;
            return 0;
        }
        room = &storage->views[i];
        if (!view)
            break; /* the list ends here */
    }
    if (tvm_vm_view(storage->memory, offset, shape->data, (int)shape->size, dtype, out))
        return -1;
    if (room) {
        if (*room)
            tvm_object_release(&(*room)->object);
        tvm_object_retain(&(*out)->object);
        *room = *out;
    }
    return 0;
}
