/* Containers that functions of TVM return: arrays, shapes, and maps with text keys. They do not
 * change once they are handed out; what compiled Relax code alone has of an array, it may clear. */
#ifndef TVM_BASE_CONTAINER_H
#define TVM_BASE_CONTAINER_H

#include "base/value.h"

/* tvm-ffi's Array (its SeqCell). */
struct tvm_array {
    struct tvm_object object;
    struct tvm_value *items; /* owned values */
    int64_t size;
    int64_t capacity;
    void (*items_deleter)(void *items); /* NULL: they are part of this object */
    struct tvm_value inline_items[];
};

/* An empty array with room for capacity values, which are put into items, each with size increased.
 */
int tvm_array_new(size_t capacity, struct tvm_array **out);

/* tvm-ffi's Shape. */
struct tvm_shape {
    struct tvm_object object;
    const int64_t *data;
    size_t size;
    int64_t dims[];
};

int tvm_shape_new(const int64_t *dims, size_t size, struct tvm_shape **out);

/* A map in the order of its making; of this runtime's own layout. */
struct tvm_map_item {
    struct tvm_value key, value; /* owned */
};

struct tvm_map {
    struct tvm_object object;
    size_t size;
    struct tvm_map_item items[];
};

/* An empty map with room for capacity items. */
int tvm_map_new(size_t capacity, struct tvm_map **out);
/* Sets key, which is copied, to value, whose reference is taken, also on failure. The capacity must
 * not be exceeded. */
int tvm_map_set(struct tvm_map *map, struct tvm_bytes key, struct tvm_value value);
/* The value of key, borrowed; NULL when there is none. */
const struct tvm_value *tvm_map_find(const struct tvm_map *map, struct tvm_bytes key);

#endif
