#include "graph/names.h"

#include <stdlib.h>
#include <string.h>

static int compare(struct tvm_bytes a, struct tvm_bytes b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

bool tvm_graph_name_equal(struct tvm_bytes a, struct tvm_bytes b) {
    return compare(a, b) == 0;
}

struct named {
    struct tvm_bytes name;
    size_t position;
};

static int compare_named(const void *left, const void *right) {
    const struct named *a = left, *b = right;
    int order = compare(a->name, b->name);
    return order ? order : (a->position > b->position) - (a->position < b->position);
}

int tvm_graph_names_sort(struct tvm_graph_names *names) {
    struct named *named = malloc((names->count + 1) * sizeof(*named));
    names->order = malloc((names->count + 1) * sizeof(*names->order));
    if (!named || !names->order) {
        free(named);
        return tvm_raise_out_of_memory();
    }
    for (size_t i = 0; i < names->count; i++)
        named[i] = (struct named){names->names[i], i};
    qsort(named, names->count, sizeof(*named), compare_named);
    for (size_t i = 0; i < names->count; i++)
        names->order[i] = named[i].position;
    free(named);
    return 0;
}

bool tvm_graph_names_find(const struct tvm_graph_names *names, struct tvm_bytes name, size_t *out) {
    /* The last of equal names stands right before the first one that is greater. */
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(names->names[names->order[middle]], name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    *out = names->order[low - 1];
    return compare(names->names[*out], name) == 0;
}

const struct tvm_bytes *tvm_graph_names_duplicate(const struct tvm_graph_names *names) {
    for (size_t i = 1; i < names->count; i++) {
        const struct tvm_bytes *name = &names->names[names->order[i]];
        if (compare(names->names[names->order[i - 1]], *name) == 0)
            return name;
    }
    return NULL;
}
