/* Sorting rows of tensors along an axis. Elements become keys, unsigned integers in the same order,
 * and rows become lists of items, keys with the indices of their elements. So one code serves all
 * types: insertion for few items, and radix sort for more. */
#include "contrib/contrib.h"

#include "base/checked.h"
#include "base/context.h"
#include "contrib/share.h"

#include <string.h>

#define SPECIALISED static inline __attribute__((always_inline))

enum {
    FEW = 40,     /* items that are sorted by insertion */
    MANY = 6000,  /* items that are worth larger digits */
    SMALL = 8,    /* bits of a small digit … */
    LARGE = 11,   /* … and of a larger one */
    SPARE = 256,  /* how many more than it must keep a list has room for */
    LEAST = 4096, /* elements that are worth a thread */
};

struct sort {
    const DLTensor *tensor; /* the input */
    int64_t axis;
    size_t rows, size, keep; /* keep of size elements of each row go to the outputs … */
    size_t width;            /* … whose rows have place for so many */
    size_t step;             /* elements from one of a row to the next */
    size_t capacity;         /* of a list, in items */

    const char *data;
    char *values, *indices; /* NULL: not wanted */
    const char *counts;     /* int32; NULL: whole rows are sorted */

    unsigned bytes; /* of an element and of its key */
    bool is_float;
    uint64_t infinity; /* as a key without its sign */
    uint64_t flip;     /* bits of a key that are reversed */

    unsigned index_bytes;
    bool index_is_float;
};

struct item {
    uint64_t key, index;
};

SPECIALISED uint64_t load(const char *at, unsigned bytes) {
    uint64_t bits = 0;
    memcpy(&bits, at, bytes); /* the low ones come first */
    return bits;
}

/* Moves the last item of a list down to its place; the others are sorted. */
static void insert(struct item *items, size_t count) {
    struct item item = items[--count];
    for (; count > 0 && items[count - 1].key > item.key; count--)
        items[count] = items[count - 1];
    items[count] = item;
}

/* Sorts by one digit of the keys after the other; the result is in items or in spare. */
static struct item *sort_list(struct item *items, struct item *spare, size_t count, unsigned bits) {
    const unsigned digit = count < MANY ? SMALL : LARGE;
    const uint64_t mask = (UINT64_C(1) << digit) - 1;
    size_t places[1 << LARGE];
    for (unsigned shift = 0; shift < bits; shift += digit) {
        memset(places, 0, sizeof(*places) << digit);
        for (size_t i = 0; i < count; i++)
            places[items[i].key >> shift & mask]++;
        if (places[items[0].key >> shift & mask] == count)
            continue; /* all have the same */
        for (size_t i = 0, place = 0; i <= mask; i++) {
            size_t next = place + places[i];
            places[i] = place;
            place = next;
        }
        for (size_t i = 0; i < count; i++)
            spare[places[items[i].key >> shift & mask]++] = items[i];
        struct item *sorted = spare;
        spare = items;
        items = sorted;
    }
    return items;
}

/* Adds the elements of row from begin to end - 1 whose keys are at most bound to the list. One of
 * FEW items at most stays sorted, and drops what is beyond keep. */
SPECIALISED size_t collect(const struct sort *sort, const char *row, size_t begin, size_t end,
                           uint64_t bound, struct item *items, size_t count, size_t keep,
                           unsigned bytes, bool is_float) {
    const uint64_t all = UINT64_MAX >> (64 - 8 * bytes), sign = all / 2 + 1;
    const uint64_t infinity = sort->infinity, flip = sort->flip;
    const size_t step = sort->step * bytes;
    for (size_t i = begin; i < end; i++) {
        uint64_t key = load(row + i * step, bytes);
        if (is_float) { /* sign + size or sign - size, without a branch */
            uint64_t size = key & (sign - 1), negative = -(key >> (8 * bytes - 1));
            key = size > infinity ? all : sign + ((size ^ negative) - negative);
        }
        key ^= flip;
        if (key > bound)
            continue;
        items[count++] = (struct item){key, i};
        if (keep > FEW)
            continue;
        insert(items, count);
        if (count < keep)
            continue;
        count = keep;
        if (items[keep - 1].key == 0)
            break;
        bound = items[keep - 1].key - 1; /* what is equal comes later */
    }
    return count;
}

/* Writes, at places begin to end - 1 of an output row, elements of row or (NULL) indices: those of
 * sorted, or (NULL) those of the places themselves. */
SPECIALISED void put(const struct sort *sort, const struct item *sorted, size_t begin, size_t end,
                     const char *row, char *out, unsigned bytes) {
    const size_t step = sort->step * bytes;
    for (size_t i = begin; i < end; i++) {
        uint64_t bits = sorted ? sorted[i].index : i;
        if (row) {
            bits = load(row + bits * step, bytes);
        } else if (sort->index_is_float) {
            float single = (float)bits;
            double number = (double)bits;
            bits = bytes == 4 ? load((char *)&single, 4) : load((char *)&number, 8);
        }
        memcpy(out + i * step, &bits, bytes);
    }
}

static size_t collect_any(const struct sort *sort, const char *row, size_t begin, size_t end,
                          uint64_t bound, struct item *items, size_t count, size_t keep) {
#define COLLECT(bytes, is_float)                                                                   \
    case 2 * bytes + is_float:                                                                     \
        return collect(sort, row, begin, end, bound, items, count, keep, bytes, is_float)
    switch (2 * sort->bytes + sort->is_float) {
        COLLECT(1, false);
        COLLECT(2, false);
        COLLECT(2, true);
        COLLECT(4, false);
        COLLECT(4, true);
        COLLECT(8, false);
        COLLECT(8, true);
    }
    return 0;
}

static void put_any(const struct sort *sort, const struct item *sorted, size_t begin, size_t end,
                    const char *row, char *out, unsigned bytes) {
    if (bytes == 1)
        put(sort, sorted, begin, end, row, out, 1);
    else if (bytes == 2)
        put(sort, sorted, begin, end, row, out, 2);
    else if (bytes == 4)
        put(sort, sorted, begin, end, row, out, 4);
    else
        put(sort, sorted, begin, end, row, out, 8);
}

/* Lists the first keep of a row's size elements in order, in one of two lists, which is returned.
 * What is beyond the first keep elements so far is dropped when the list gets full. */
static struct item *sort_row(const struct sort *sort, const char *row, size_t size, size_t keep,
                             struct item *items, struct item *spare) {
    uint64_t bound = UINT64_MAX;
    size_t count = 0;
    for (size_t begin = 0; begin < size && keep > 0;) {
        size_t room = keep > FEW ? sort->capacity - count : size;
        size_t end = size - begin < room ? size : begin + room;
        count = collect_any(sort, row, begin, end, bound, items, count, keep);
        begin = end;
        if (keep <= FEW || (begin < size && sort->capacity - count > SPARE / 2))
            continue;
        struct item *sorted = sort_list(items, spare, count, 8 * sort->bytes);
        if (sorted == spare) {
            spare = items;
            items = sorted;
        }
        if (count < keep)
            continue;
        count = keep;
        if (items[keep - 1].key == 0)
            break;
        bound = items[keep - 1].key - 1;
    }
    return items;
}

static int sort_rows(int task, TVMParallelGroupEnv *env, void *job) {
    const struct sort *sort = job;
    void *lists;
    if (tvm_workspace_alloc(2 * sort->capacity * sizeof(struct item), &lists))
        return -1;
    size_t end = tvm_contrib_begin(task + 1, env, sort->rows);
    for (size_t r = tvm_contrib_begin(task, env, sort->rows); r < end; r++) {
        size_t block = r / sort->step, column = r % sort->step;
        const char *row = sort->data + (block * sort->size * sort->step + column) * sort->bytes;
        size_t out = block * sort->width * sort->step + column;
        size_t size = sort->size, keep = sort->keep;
        if (sort->counts) {
            int32_t count = (int32_t)load(sort->counts + 4 * r, 4);
            size = keep = count > 0 ? (size_t)count : 0;
        }
        const struct item *sorted =
            sort_row(sort, row, size, keep, lists, (struct item *)lists + sort->capacity);
        if (sort->values)
            put_any(sort, sorted, 0, keep, row, sort->values + out * sort->bytes, sort->bytes);
        if (sort->indices) {
            char *indices = sort->indices + out * sort->index_bytes;
            put_any(sort, sorted, 0, keep, NULL, indices, sort->index_bytes);
            put_any(sort, NULL, keep, sort->keep, NULL, indices, sort->index_bytes);
        }
    }
    return tvm_workspace_free(lists);
}

/* How elements of this type become keys; false for a type that cannot be sorted. */
static bool set_key(struct sort *sort, DLDataType type, bool ascending) {
    bool is_bfloat = type.code == TVM_DTYPE_BFLOAT && type.bits == 16;
    sort->bytes = type.bits / 8;
    if (type.bits != 8 && type.bits != 16 && type.bits != 32 && type.bits != 64)
        return false;
    uint64_t all = UINT64_MAX >> (64 - type.bits);
    sort->is_float = is_bfloat || (type.code == kDLFloat && type.bits > 8);
    uint64_t infinity = is_bfloat || type.bits == 32 ? 0x7f80 : type.bits == 16 ? 0x7c00 : 0x7ff0;
    sort->infinity = infinity << 48 >> (64 - type.bits);
    sort->flip = (type.code == kDLInt ? all / 2 + 1 : 0) ^ (ascending ? 0 : all);
    return sort->is_float || type.code == kDLInt || type.code == kDLUInt ||
           type.code == TVM_DTYPE_BOOL;
}

static int read_data(const struct tvm_call *call, int32_t axis_at, int32_t order_at, bool reversed,
                     struct sort *sort) {
    char text[TVM_DTYPE_TEXT_SIZE];
    int64_t ascending;
    if (tvm_contrib_tensor(call, 0, "data", TVM_CONTRIB_PLAIN, &sort->tensor) ||
        tvm_call_int(call, axis_at, "axis", &sort->axis) ||
        tvm_call_int(call, order_at, "order", &ascending))
        return -1;
    const DLTensor *data = sort->tensor;
    if (sort->axis < -data->ndim || sort->axis >= data->ndim)
        return tvm_raise(TVM_VALUE_ERROR, "%s: axis %lld of a tensor with %d dimensions",
                         call->name, (long long)sort->axis, data->ndim);
    if (!set_key(sort, data->dtype, (ascending != 0) != reversed))
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument 0 (data): %s cannot be sorted", call->name,
                         tvm_dtype_print(data->dtype, text));
    sort->axis += sort->axis < 0 ? data->ndim : 0;
    sort->data = tvm_contrib_data(data);
    sort->size = sort->keep = sort->width = (size_t)data->shape[sort->axis];
    sort->rows = sort->step = 1;
    for (int i = 0; i < data->ndim; i++) {
        sort->rows *= i == sort->axis ? 1 : (size_t)data->shape[i];
        sort->step *= i <= sort->axis ? 1 : (size_t)data->shape[i];
    }
    return 0;
}

/* Whether indices of this type can be written. */
static bool set_index(struct sort *sort, DLDataType type) {
    int digits = type.bits - (type.code == kDLInt); /* without the sign */
    sort->index_bytes = type.bits / 8;
    sort->index_is_float = type.code == kDLFloat;
    if (type.code == kDLInt || type.code == kDLUInt)
        return (type.bits == 8 || type.bits == 16 || type.bits == 32 || type.bits == 64) &&
               (sort->size == 0 || ((uint64_t)sort->size - 1) >> (digits - 1) <= 1);
    return type.code == kDLFloat && (type.bits == 32 || type.bits == 64);
}

/* An output: as the data, but with width elements along the axis. */
static int read_output(const struct tvm_call *call, int32_t at, bool values, struct sort *sort) {
    const char *what = values ? "values" : "indices";
    char want[TVM_DTYPE_TEXT_SIZE], have[TVM_DTYPE_TEXT_SIZE], shape[TVM_SHAPE_TEXT_SIZE];
    const DLTensor *data = sort->tensor, *out;
    if (tvm_contrib_tensor(call, at, what, TVM_CONTRIB_PLAIN, &out))
        return -1;
    bool fits = out->ndim == data->ndim;
    for (int i = 0; i < data->ndim && fits; i++)
        fits = out->shape[i] == (i == sort->axis ? (int64_t)sort->width : data->shape[i]);
    if (!fits)
        return tvm_raise(
            TVM_VALUE_ERROR,
            "%s: argument %d (%s): expected the data's shape, with %zu along axis %d, got %s",
            call->name, at, what, sort->width, (int)sort->axis,
            tvm_shape_print(out->shape, out->ndim, shape, sizeof(shape)));
    if (values ? !tvm_dtype_equal(out->dtype, data->dtype) : !set_index(sort, out->dtype))
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument %d (%s): %s cannot hold those of %zu %s",
                         call->name, at, what, tvm_dtype_print(out->dtype, have), sort->size,
                         tvm_dtype_print(data->dtype, want));
    char *at_data = tvm_contrib_data(out);
    *(values ? &sort->values : &sort->indices) = at_data;
    if (values && at_data && at_data < sort->data + sort->rows * sort->size * sort->bytes &&
        sort->data < at_data + sort->rows * sort->width * sort->bytes)
        return tvm_raise(TVM_VALUE_ERROR, "%s: argument %d (%s) shares memory with the data",
                         call->name, at, what);
    return 0;
}

/* How many elements of each row are to be sorted. */
static int read_counts(const struct tvm_call *call, int32_t at, struct sort *sort) {
    char text[TVM_DTYPE_TEXT_SIZE];
    const DLTensor *counts;
    size_t count;
    if (tvm_contrib_tensor(call, at, "counts", TVM_CONTRIB_PLAIN, &counts) ||
        tvm_shape_count(counts->shape, counts->ndim, &count))
        return -1;
    if (counts->dtype.code != kDLInt || counts->dtype.bits != 32 || count != sort->rows)
        return tvm_raise(TVM_TYPE_ERROR,
                         "%s: argument %d (counts): expected %zu elements of int32, got %zu of %s",
                         call->name, at, sort->rows, count, tvm_dtype_print(counts->dtype, text));
    sort->counts = tvm_contrib_data(counts);
    for (size_t i = 0; i < count; i++) {
        int32_t number = (int32_t)load(sort->counts + 4 * i, 4);
        if (number > 0 && (size_t)number > sort->size)
            return tvm_raise(TVM_VALUE_ERROR, "%s: count %zu is %d, of rows of %zu elements",
                             call->name, i, number, sort->size);
    }
    return 0;
}

static int run(struct sort *sort) {
    if (sort->rows == 0 || sort->size == 0)
        return 0;
    sort->capacity = sort->size;
    if (sort->size > SPARE && sort->keep < (sort->size - SPARE) / 2)
        sort->capacity = 2 * sort->keep + SPARE;
    if (sort->capacity > SIZE_MAX / (2 * sizeof(struct item)))
        return tvm_raise_out_of_memory();
    return tvm_contrib_launch(sort_rows, sort, sort->rows, 1 + LEAST / sort->size);
}

static int argsort_counted(const struct tvm_call *call, bool reversed) {
    struct sort sort = {0};
    if (read_data(call, 3, 4, reversed, &sort) || read_counts(call, 1, &sort) ||
        read_output(call, 2, false, &sort))
        return -1;
    return run(&sort);
}

int tvm_contrib_argsort(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    struct sort sort = {0};
    if (call->count == 5)
        return argsort_counted(call, true);
    if (read_data(call, 2, 3, false, &sort) || read_output(call, 1, false, &sort))
        return -1;
    return run(&sort);
}

int tvm_contrib_argsort_nms(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    return argsort_counted(call, false);
}

int tvm_contrib_sort(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    struct sort sort = {0};
    if (read_data(call, 2, 3, false, &sort) || read_output(call, 1, true, &sort))
        return -1;
    return run(&sort);
}

/* The size of an output was computed before, with the tensor's. */
static void fill_zero(char *output, const struct sort *sort, unsigned bytes) {
    if (output)
        memset(output, 0, sort->rows * sort->width * bytes);
}

int tvm_contrib_topk(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    static const char *const kinds[] = {"values", "indices", "both"};
    struct tvm_bytes kind;
    struct sort sort = {0};
    int64_t k;
    int wanted = 0; /* bit 0: values, bit 1: indices */
    if (tvm_call_int(call, call->count - 4, "k", &k) ||
        tvm_call_text(call, call->count - 2, "kind", &kind) ||
        read_data(call, call->count - 3, call->count - 1, false, &sort))
        return -1;
    for (int i = 0; i < 3; i++)
        if (tvm_bytes_is(kind, kinds[i]))
            wanted = i + 1;
    if (!wanted || call->count != (wanted == 3 ? 7 : 6))
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s: \"%.*s\" with %d arguments: expected \"both\" with 7, \"values\" or "
                         "\"indices\" with 6",
                         call->name, (int)(kind.size < 20 ? kind.size : 20), kind.data,
                         call->count);
    if (k > 0 && !tvm_size_from((uint64_t)k, &sort.width))
        return tvm_raise(TVM_VALUE_ERROR, "%s: k is %lld", call->name, (long long)k);
    if (sort.width < sort.size)
        sort.keep = sort.width;
    if ((wanted & 1 && read_output(call, 1, true, &sort)) ||
        (wanted & 2 && read_output(call, wanted == 3 ? 2 : 1, false, &sort)))
        return -1;
    if (sort.width > sort.size) { /* TVM leaves what is beyond the row's end as it was */
        fill_zero(sort.values, &sort, sort.bytes);
        fill_zero(sort.indices, &sort, sort.index_bytes);
    }
    return run(&sort);
}
