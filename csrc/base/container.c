#include "base/container.h"

#include "base/checked.h"

#include <string.h>

/* Allocates a container of count items of item_size bytes behind its header. */
static void *allocate(size_t header, size_t count, size_t item_size, enum tvm_type_index type,
                      void (*destroy)(void *self)) {
    size_t nbytes;
    if (!tvm_size_mul(count, item_size, &nbytes) || !tvm_size_add(nbytes, header, &nbytes)) {
        tvm_raise_out_of_memory();
        return NULL;
    }
    return tvm_object_alloc(nbytes, type, destroy);
}

static void array_destroy(void *self) {
    struct tvm_array *array = self;
    for (int64_t i = 0; i < array->size; i++)
        tvm_value_clear(&array->items[i]);
}

int tvm_array_new(size_t capacity, struct tvm_array **out) {
    struct tvm_array *array =
        allocate(sizeof(*array), capacity, sizeof(struct tvm_value), TVM_TYPE_ARRAY, array_destroy);
    if (!array)
        return -1;
    array->items = array->inline_items;
    array->capacity = (int64_t)capacity;
    *out = array;
    return 0;
}

int tvm_shape_new(const int64_t *dims, size_t size, struct tvm_shape **out) {
    struct tvm_shape *shape = allocate(sizeof(*shape), size, sizeof(int64_t), TVM_TYPE_SHAPE, NULL);
    if (!shape)
        return -1;
    if (size)
        memcpy(shape->dims, dims, size * sizeof(int64_t));
    shape->data = shape->dims;
    shape->size = size;
    *out = shape;
    return 0;
}

static void map_destroy(void *self) {
    struct tvm_map *map = self;
    for (size_t i = 0; i < map->size; i++) {
        tvm_value_clear(&map->items[i].key);
        tvm_value_clear(&map->items[i].value);
    }
}

int tvm_map_new(size_t capacity, struct tvm_map **out) {
    struct tvm_map *map =
        allocate(sizeof(*map), capacity, sizeof(struct tvm_map_item), TVM_TYPE_MAP, map_destroy);
    if (!map)
        return -1;
    *out = map;
    return 0;
}

const struct tvm_value *tvm_map_find(const struct tvm_map *map, struct tvm_bytes key) {
    for (size_t i = 0; i < map->size; i++) {
        struct tvm_bytes text;
        if (tvm_value_text(&map->items[i].key, &text) && text.size == key.size &&
            memcmp(text.data, key.data, key.size) == 0)
            return &map->items[i].value;
    }
    return NULL;
}

int tvm_map_set(struct tvm_map *map, struct tvm_bytes key, struct tvm_value value) {
    struct tvm_value *old = (struct tvm_value *)(uintptr_t)tvm_map_find(map, key);
    if (old) {
        tvm_value_clear(old);
        *old = value;
        return 0;
    }
    struct tvm_map_item *item = &map->items[map->size];
    if (tvm_value_from_text(TVM_TYPE_STR, key.data, key.size, &item->key)) {
        tvm_value_clear(&value);
        return -1;
    }
    item->value = value;
    map->size++;
    return 0;
}
