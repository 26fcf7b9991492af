/* tvm.contrib.sort.*: outputs are checked against what a stable order is, with values decoded by
 * the definition of their types. */
#include "base/function.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "include/tvm_runtime.h"
#include "test/contrib_fixture.h"
#include "test/expect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const DLDataType types[] = {{TVM_DTYPE_BOOL, 8, 1},   {kDLInt, 8, 1},    {kDLInt, 16, 1},
                                   {kDLInt, 32, 1},          {kDLInt, 64, 1},   {kDLUInt, 8, 1},
                                   {kDLUInt, 16, 1},         {kDLUInt, 32, 1},  {kDLUInt, 64, 1},
                                   {kDLFloat, 16, 1},        {kDLFloat, 32, 1}, {kDLFloat, 64, 1},
                                   {TVM_DTYPE_BFLOAT, 16, 1}};
static const DLDataType index_types[] = {{kDLInt, 32, 1},   {kDLInt, 64, 1}, {kDLFloat, 32, 1},
                                         {kDLFloat, 64, 1}, {kDLInt, 16, 1}, {kDLUInt, 16, 1},
                                         {kDLUInt, 32, 1},  {kDLUInt, 64, 1}};
static const DLDataType int32 = {kDLInt, 32, 1}, float32 = {kDLFloat, 32, 1};
static const DLDevice cpu = {kDLCPU, 0};

static uint64_t random_bits(void) {
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state >> 33 | (state << 31 & UINT64_C(0xffffffff00000000));
}

static size_t below(size_t count) {
    return (size_t)(random_bits() % count);
}

static struct tvm_tensor *tensor_new(const int64_t *shape, int ndim, DLDataType type) {
    struct tvm_tensor *tensor;
    size_t nbytes;
    expect_ok(tvm_tensor_empty(shape, ndim, type, cpu, &tensor));
    expect_ok(tvm_tensor_nbytes(&tensor->dl, &nbytes));
    memset(tensor->dl.data, 0x5a, nbytes);
    return tensor;
}

static void release(struct tvm_tensor *tensor) {
    if (tensor)
        tvm_object_release(&tensor->object);
}

static size_t count_of(const struct tvm_tensor *tensor) {
    size_t count;
    expect_ok(tvm_shape_count(tensor->shape, tensor->dl.ndim, &count));
    return count;
}

/* Half of the elements have any bits, the others come from a few patterns: zeros of both signs, not
 * a number, infinity, extremes, and some that were drawn once. */
static void fill(struct tvm_tensor *tensor) {
    unsigned bytes = tensor->dl.dtype.bits / 8;
    uint64_t sign = UINT64_C(1) << (8 * bytes - 1);
    uint64_t infinity = tensor->dl.dtype.code == TVM_DTYPE_BFLOAT ? 0x7f80
                        : bytes == 2                              ? 0x7c00
                        : bytes == 4                              ? 0x7f800000
                                                                  : UINT64_C(0x7ff) << 52;
    uint64_t pool[12] = {0, sign,     UINT64_MAX,   sign - 1,      infinity,      infinity | sign,
                         1, sign | 1, infinity + 1, random_bits(), random_bits(), random_bits()};
    size_t ties = below(3); /* of them, how many in 2 */
    for (size_t i = 0; i < count_of(tensor); i++) {
        uint64_t bits = below(2) < ties ? pool[below(12)] : random_bits();
        if (tensor->dl.dtype.code == TVM_DTYPE_BOOL)
            bits &= 1;
        memcpy((char *)tensor->dl.data + i * bytes, &bits, bytes);
    }
}

static double half_value(uint16_t half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double value = exponent ? ldexp(mantissa + 1024, exponent - 25) : ldexp(mantissa, -24);
    if (exponent == 31)
        value = mantissa ? (double)NAN : (double)INFINITY;
    return half & 0x8000 ? -value : value;
}

/* The value of a float's bits. */
static double float_value(DLDataType type, uint64_t bits) {
    double value;
    float single;
    uint32_t word = (uint32_t)(type.bits == 16 ? bits << 16 : bits);
    if (type.code == kDLFloat && type.bits == 16)
        return half_value((uint16_t)bits);
    memcpy(&single, &word, sizeof(single));
    memcpy(&value, &bits, sizeof(value));
    return type.bits == 64 ? value : (double)single;
}

static uint64_t bits_at(const DLTensor *tensor, size_t i) {
    uint64_t bits = 0;
    unsigned bytes = tensor->dtype.bits / 8;
    memcpy(&bits, (const char *)tensor->data + tensor->byte_offset + i * bytes, bytes);
    return bits;
}

/* Whether a comes before b, both as bits of a type, when ascending: NaNs are last. */
static bool is_less(DLDataType type, uint64_t a, uint64_t b) {
    if (type.code == kDLFloat || type.code == TVM_DTYPE_BFLOAT) {
        double x = float_value(type, a), y = float_value(type, b);
        return isnan(y) ? !isnan(x) : x < y;
    }
    if (type.code == kDLInt) {
        unsigned unused = 64 - type.bits;
        return (int64_t)(a << unused) >> unused < (int64_t)(b << unused) >> unused;
    }
    return a < b;
}

static double number_at(const DLTensor *tensor, size_t i) {
    uint64_t bits = bits_at(tensor, i);
    return tensor->dtype.code == kDLFloat ? float_value(tensor->dtype, bits) : (double)bits;
}

static struct tvm_value tensor(struct tvm_tensor *tensor) {
    return tvm_from_object(tensor);
}

/* Checks that indices lists the first keep of size elements in order: each comes before the next,
 * and the last before all that are not listed. Equal elements come in the order of their indices.
 */
static void check_row(const DLTensor *data, size_t base, size_t step, size_t size, bool ascending,
                      const size_t *indices, size_t keep) {
    bool *listed = calloc(size + 1, 1);
    assert_non_null(listed);
    for (size_t i = 0; i < keep; i++) {
        assert_true(indices[i] < size && !listed[indices[i]]);
        listed[indices[i]] = true;
    }
    for (size_t i = 0, next = 0; keep && i < keep - 1 + size; i++) {
        size_t first = indices[i < keep - 1 ? i : keep - 1];
        size_t second = i < keep - 1 ? indices[i + 1] : next++;
        if (i >= keep - 1 && listed[second])
            continue;
        uint64_t a = bits_at(data, base + first * step), b = bits_at(data, base + second * step);
        bool less = is_less(data->dtype, a, b), more = is_less(data->dtype, b, a);
        assert_true((ascending ? less : more) || (!less && !more && first < second));
    }
    free(listed);
}

/* Checks the outputs of sorting data: keep elements of each row; with counts only so many of each
 * row were sorted. values may be NULL. */
static void check(const struct tvm_tensor *data, int axis, bool ascending, size_t keep,
                  const int32_t *counts, const struct tvm_tensor *indices,
                  const struct tvm_tensor *values) {
    size_t size = (size_t)data->shape[axis], step = 1;
    for (int i = axis + 1; i < data->dl.ndim; i++)
        step *= (size_t)data->shape[i];
    size_t *order = malloc((keep + 1) * sizeof(*order));
    assert_non_null(order);
    for (size_t r = 0; size && r < count_of(data) / size; r++) {
        size_t base = r / step * size * step + r % step, out = r / step * keep * step + r % step;
        for (size_t i = 0; i < keep; i++)
            order[i] = (size_t)number_at(&indices->dl, out + i * step);
        size_t count = counts ? counts[r] > 0 ? (size_t)counts[r] : 0 : keep;
        check_row(&data->dl, base, step, counts ? count : size, ascending, order, count);
        for (size_t i = count; i < keep; i++)
            assert_int_equal(order[i], i);
        for (size_t i = 0; values && i < keep; i++)
            assert_true(bits_at(&values->dl, out + i * step) ==
                        bits_at(&data->dl, base + order[i] * step));
    }
    free(order);
}

static void check_sorts(struct tvm_tensor *data, int axis, bool ascending, DLDataType index_type) {
    struct tvm_tensor *values = tensor_new(data->shape, data->dl.ndim, data->dl.dtype);
    struct tvm_tensor *indices = tensor_new(data->shape, data->dl.ndim, index_type);
    size_t size = (size_t)data->shape[axis];
    int negative = axis - data->dl.ndim;
    expect_ok(contrib_call(
        "sort.argsort",
        (struct tvm_value[]){tensor(data), tensor(indices), tvm_int(axis), tvm_int(ascending)}, 4));
    check(data, axis, ascending, size, NULL, indices, NULL);
    expect_ok(contrib_call(
        "sort.sort",
        (struct tvm_value[]){tensor(data), tensor(values), tvm_int(negative), tvm_int(ascending)},
        4));
    check(data, axis, ascending, size, NULL, indices, values);
    release(values);
    release(indices);
}

/* topk in its three forms; k < 1 means all. */
static void check_topk(struct tvm_tensor *data, int axis, bool ascending, DLDataType index_type,
                       int64_t k) {
    int64_t shape[8];
    memcpy(shape, data->shape, (size_t)data->dl.ndim * sizeof(*shape));
    if (k > 0)
        shape[axis] = k;
    size_t keep = (size_t)shape[axis];
    struct tvm_tensor *indices = tensor_new(shape, data->dl.ndim, index_type);
    struct tvm_tensor *values = tensor_new(shape, data->dl.ndim, data->dl.dtype);
    struct tvm_tensor *again = tensor_new(shape, data->dl.ndim, data->dl.dtype);
    const struct tvm_value k_value = tvm_int(k), axis_value = tvm_int(axis);
    const struct tvm_value order = tvm_int(ascending);
    expect_ok(contrib_call("sort.topk",
                           (struct tvm_value[]){tensor(data), tensor(values), tensor(indices),
                                                k_value, axis_value, tvm_raw_string("both"), order},
                           7));
    check(data, axis, ascending, keep, NULL, indices, values);
    expect_ok(contrib_call("sort.topk",
                           (struct tvm_value[]){tensor(data), tensor(again), k_value, axis_value,
                                                tvm_raw_string("values"), order},
                           6));
    check(data, axis, ascending, keep, NULL, indices, again);
    memset(indices->dl.data, 0x5a, count_of(indices) * index_type.bits / 8);
    expect_ok(contrib_call("sort.topk",
                           (struct tvm_value[]){tensor(data), tensor(indices), k_value, axis_value,
                                                tvm_raw_string("indices"), order},
                           6));
    check(data, axis, ascending, keep, NULL, indices, values);
    release(indices);
    release(values);
    release(again);
}

static void check_nms(struct tvm_tensor *data, int axis, bool ascending, DLDataType index_type) {
    struct tvm_tensor *indices = tensor_new(data->shape, data->dl.ndim, index_type);
    size_t size = (size_t)data->shape[axis];
    int64_t rows = 1;
    for (int i = 0; i < data->dl.ndim; i++)
        rows *= i == axis ? 1 : data->shape[i];
    struct tvm_tensor *counts = tensor_new(&rows, 1, int32);
    int32_t *numbers = counts->dl.data;
    for (int64_t i = 0; i < rows; i++)
        numbers[i] = (int32_t)below(size + 2) - 1;
    expect_ok(contrib_call("sort.argsort_nms",
                           (struct tvm_value[]){tensor(data), tensor(counts), tensor(indices),
                                                tvm_int(axis), tvm_int(ascending)},
                           5));
    check(data, axis, ascending, size, numbers, indices, NULL);
    /* TVM 0.5's argsort says what is descending. */
    memset(indices->dl.data, 0x5a, count_of(indices) * index_type.bits / 8);
    expect_ok(contrib_call("sort.argsort",
                           (struct tvm_value[]){tensor(data), tensor(counts), tensor(indices),
                                                tvm_int(axis), tvm_int(!ascending)},
                           5));
    check(data, axis, ascending, size, numbers, indices, NULL);
    release(counts);
    release(indices);
}

static void test_types_and_shapes(void **state) {
    (void)state;
    static const struct {
        int ndim;
        int64_t shape[4];
    } shapes[] = {{1, {1}},     {1, {37}},       {1, {500}},      {2, {4, 90}},
                  {2, {90, 4}}, {3, {2, 41, 3}}, {3, {1, 1, 64}}, {4, {2, 3, 5, 4}},
                  {2, {0, 5}},  {2, {5, 0}},     {3, {2, 0, 3}},  {2, {1, 45}}};
    for (size_t t = 0; t < COUNT(types); t++) {
        for (size_t s = 0; s < COUNT(shapes); s++) {
            struct tvm_tensor *data = tensor_new(shapes[s].shape, shapes[s].ndim, types[t]);
            for (int axis = 0; axis < shapes[s].ndim; axis++) {
                for (int ascending = 0; ascending < 2; ascending++) {
                    DLDataType index_type = index_types[below(COUNT(index_types))];
                    int64_t size = shapes[s].shape[axis];
                    fill(data);
                    check_sorts(data, axis, ascending, index_type);
                    check_nms(data, axis, ascending, index_type);
                    check_topk(data, axis, ascending, index_type, -1);
                    for (int64_t k = 1; k <= size; k += 1 + k / 2 + size / 5)
                        check_topk(data, axis, ascending, index_type, k);
                }
            }
            release(data);
        }
    }
}

/* Rows that take large digits, and lists that fill up several times. */
static void test_long_rows(void **state) {
    (void)state;
    static const size_t long_types[] = {1, 3, 4, 7, 8, 9, 10, 11};
    for (size_t t = 0; t < COUNT(long_types); t++) {
        struct tvm_tensor *data = tensor_new((int64_t[]){2, 6500}, 2, types[long_types[t]]);
        fill(data);
        check_sorts(data, 1, t % 2, int32);
        check_topk(data, 1, t % 2, int32, 7);
        check_topk(data, 1, t % 2, int32, 200);
        release(data);
    }
}

/* Every element replaces those before it, or none does. */
static void test_sorted_rows(void **state) {
    (void)state;
    struct tvm_tensor *data = tensor_new((int64_t[]){3000}, 1, float32);
    float *numbers = data->dl.data;
    for (int direction = -1; direction <= 1; direction++) {
        for (int i = 0; i < 3000; i++)
            numbers[i] = (float)(direction * i);
        for (int ascending = 0; ascending < 2; ascending++) {
            check_sorts(data, 0, ascending, int32);
            check_topk(data, 0, ascending, int32, 1);
            check_topk(data, 0, ascending, int32, 30);
            check_topk(data, 0, ascending, int32, 300);
        }
    }
    release(data);
}

/* The least key there is ends the search: no element after it can be better. */
static void test_extreme_keys(void **state) {
    (void)state;
    for (size_t t = 0; t < COUNT(types); t++) {
        struct tvm_tensor *data = tensor_new((int64_t[]){2000}, 1, types[t]);
        memset(data->dl.data, 0, (size_t)2000 * types[t].bits / 8);
        check_topk(data, 0, true, int32, 2);
        check_topk(data, 0, false, int32, 100);
        if (types[t].code != TVM_DTYPE_BOOL)
            memset(data->dl.data, 0xff, (size_t)2000 * types[t].bits / 8);
        check_topk(data, 0, true, int32, 100);
        check_topk(data, 0, false, int32, 2);
        release(data);
    }
}

static void test_parallel(void **state) {
    (void)state;
    struct tvm_tensor *data = tensor_new((int64_t[]){301, 60, 2}, 3, float32);
    expect_ok(tvm_pool_set_size(4));
    tvm_pool_always_parallel(true);
    for (int axis = 0; axis < 3; axis++) {
        fill(data);
        check_sorts(data, axis, axis != 1, int32);
        check_nms(data, axis, axis == 1, int32);
        check_topk(data, axis, true, int32, 2);
    }
    tvm_pool_always_parallel(false);
    expect_ok(tvm_pool_set_size(0));
    release(data);
}

/* Written out: ties keep their order, NaNs are larger than infinity, zeros are equal and keep their
 * signs. */
static void test_order(void **state) {
    (void)state;
    struct tvm_tensor *data = tensor_new((int64_t[]){8}, 1, float32);
    struct tvm_tensor *values = tensor_new((int64_t[]){8}, 1, float32);
    struct tvm_tensor *indices = tensor_new((int64_t[]){8}, 1, int32);
    const float numbers[] = {1, NAN, 0.0f, -0.0f, -INFINITY, -NAN, INFINITY, 1};
    memcpy(data->dl.data, numbers, sizeof(numbers));
    struct tvm_value args[] = {tensor(data), tensor(values),         tensor(indices), tvm_int(8),
                               tvm_int(0),   tvm_raw_string("both"), tvm_int(1)};
    expect_ok(contrib_call("sort.topk", args, 7));
    assert_memory_equal(indices->dl.data, ((int32_t[]){4, 2, 3, 0, 7, 6, 1, 5}), 32);
    const float *sorted = values->dl.data;
    assert_true(!signbit(sorted[1]) && signbit(sorted[2]));
    assert_true(isnan(sorted[6]) && isnan(sorted[7]) && signbit(sorted[7]));
    args[6] = tvm_int(0);
    expect_ok(contrib_call("sort.topk", args, 7));
    assert_memory_equal(indices->dl.data, ((int32_t[]){1, 5, 6, 0, 7, 2, 3, 4}), 32);
    release(data);
    release(values);
    release(indices);
}

/* What compiled code passes: borrowed tensors, here with an offset; bool as 1-bit uint; texts. */
static void test_classic_call(void **state) {
    (void)state;
    uint8_t bytes[] = {9, 9, 1, 0, 1, 0};
    int32_t places[5] = {-1, -1, -1, -1, -1};
    int64_t shape[] = {4};
    DLTensor data = {bytes, cpu, 1, {kDLUInt, 1, 1}, shape, NULL, 2};
    DLTensor out = {places, cpu, 1, int32, shape, NULL, 4};
    TVMFunctionHandle function;
    TVMValue args[] = {{.v_handle = &data}, {.v_handle = &out},   {.v_int64 = 0},
                       {.v_int64 = 0},      {.v_str = "indices"}, {.v_int64 = 1}};
    int codes[] = {kTVMDLTensorHandle, kTVMDLTensorHandle, kTVMArgInt, kTVMArgInt, kTVMStr,
                   kTVMArgBool};
    TVMValue result;
    int result_code;
    expect_ok(TVMFuncGetGlobal("tvm.contrib.sort.topk", &function));
    expect_ok(TVMFuncCall(function, args, codes, 6, &result, &result_code));
    assert_memory_equal(places, ((int32_t[]){-1, 1, 3, 0, 2}), sizeof(places));
    TVMFuncFree(function);
}

/* More than there are: TVM takes that, too, and leaves the rest as it was; here it is zero. */
static void test_topk_of_few(void **state) {
    (void)state;
    static const struct {
        int64_t in[2], out[2];
        int axis, k;
        float values[10];
        int32_t indices[10];
    } cases[] = {
        {{2, 3}, {2, 5}, 1, 5, {3, 2, 1, 0, 0, 6, 5, 4, 0, 0}, {1, 2, 0, 0, 0, 0, 1, 2, 0, 0}},
        {{2, 3}, {3, 3}, 0, 3, {6, 5, 4, 1, 3, 2, 0, 0, 0}, {1, 1, 1, 0, 0, 0, 0, 0, 0}},
        {{2, 0}, {2, 2}, -1, 2, {0, 0, 0, 0}, {0, 0, 0, 0}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tvm_tensor *data = tensor_new(cases[i].in, 2, float32),
                          *values = tensor_new(cases[i].out, 2, float32),
                          *indices = tensor_new(cases[i].out, 2, int32);
        size_t count = (size_t)(cases[i].out[0] * cases[i].out[1]);
        if (cases[i].in[1])
            memcpy(data->dl.data, (float[]){1, 3, 2, 6, 5, 4}, 24);
        memset(values->dl.data, 9, count * 4);
        memset(indices->dl.data, 9, count * 4);
        struct tvm_value args[] = {
            tensor(data),           tensor(values),         tensor(indices), tvm_int(cases[i].k),
            tvm_int(cases[i].axis), tvm_raw_string("both"), tvm_int(0)};
        expect_ok(contrib_call("sort.topk", args, 7));
        assert_memory_equal(values->dl.data, cases[i].values, count * 4);
        assert_memory_equal(indices->dl.data, cases[i].indices, count * 4);
        tvm_object_release(&data->object);
        tvm_object_release(&values->object);
        tvm_object_release(&indices->object);
    }
}

static void test_errors(void **state) {
    (void)state;
    struct tvm_tensor *data = tensor_new((int64_t[]){3, 300}, 2, float32);
    struct tvm_tensor *half = tensor_new((int64_t[]){3, 300}, 2, types[9]);
    struct tvm_tensor *indices = tensor_new((int64_t[]){3, 300}, 2, int32);
    struct tvm_tensor *bytes = tensor_new((int64_t[]){3, 300}, 2, types[5]);
    struct tvm_tensor *small = tensor_new((int64_t[]){3, 299}, 2, int32);
    struct tvm_tensor *flat = tensor_new((int64_t[]){900}, 1, int32);
    struct tvm_tensor *counts = tensor_new((int64_t[]){3}, 1, int32);
    struct tvm_tensor *scalar = tensor_new(NULL, 0, float32);
    struct tvm_tensor *handles =
        tensor_new((int64_t[]){3, 300}, 2, (DLDataType){kDLOpaqueHandle, 64, 1});
    struct tvm_tensor *vectors = tensor_new((int64_t[]){3, 300}, 2, (DLDataType){kDLFloat, 32, 4});
    int64_t strides[] = {301, 1};
    DLTensor gaps = data->dl, nothing = data->dl, elsewhere = data->dl, shapeless = data->dl;
    gaps.strides = strides;
    nothing.data = NULL;
    elsewhere.device.device_type = kDLOpenCL;
    shapeless.shape = NULL;
#define BORROWED(dl) ((struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &(dl)})
#define ARGSORT(...)                                                                               \
    contrib_call("sort.argsort", (struct tvm_value[]){__VA_ARGS__},                                \
                 COUNT(((struct tvm_value[]){__VA_ARGS__})))
#define TOPK(...)                                                                                  \
    contrib_call("sort.topk", (struct tvm_value[]){__VA_ARGS__},                                   \
                 COUNT(((struct tvm_value[]){__VA_ARGS__})))
    const struct tvm_value x = tensor(data), i = tensor(indices), one = tvm_int(1);
    expect_error(ARGSORT(x, i, one), TVM_VALUE_ERROR, "expected 4 to 5 arguments, got 3");
    expect_error(ARGSORT(one, i, one, one), TVM_TYPE_ERROR, "argument 0 (data): expected Tensor");
    expect_error(ARGSORT(tvm_none(), i, one, one), TVM_TYPE_ERROR, "expected Tensor, got None");
    expect_error(ARGSORT(x, x, x, one), TVM_TYPE_ERROR, "argument 2 (axis): expected int");
    expect_error(ARGSORT(x, i, tvm_int(2), one), TVM_VALUE_ERROR,
                 "tvm.contrib.sort.argsort: axis 2 of a tensor with 2 dimensions");
    expect_error(ARGSORT(x, i, tvm_int(-3), one), TVM_VALUE_ERROR, "axis -3");
    expect_error(ARGSORT(x, i, tvm_int(INT64_MIN), one), TVM_VALUE_ERROR, "axis -9");
    expect_error(ARGSORT(tensor(scalar), i, tvm_int(0), one), TVM_VALUE_ERROR, "axis 0");
    expect_error(
        ARGSORT(x, tensor(small), one, one), TVM_VALUE_ERROR,
        "argument 1 (indices): expected the data's shape, with 300 along axis 1, got [3, 299]");
    expect_error(ARGSORT(x, tensor(flat), one, one), TVM_VALUE_ERROR, "got [900]");
    expect_error(ARGSORT(x, tensor(half), one, one), TVM_TYPE_ERROR,
                 "float16 cannot hold those of 300 float32");
    expect_error(ARGSORT(x, tensor(bytes), one, one), TVM_TYPE_ERROR, "uint8 cannot hold");
    expect_ok(ARGSORT(x, tensor(bytes), tvm_int(0), one));
    expect_error(ARGSORT(tensor(handles), i, one, one), TVM_TYPE_ERROR, "handle cannot be sorted");
    DLTensor tiny = bytes->dl;
    tiny.dtype = (DLDataType){kDLFloat, 8, 1};
    expect_error(ARGSORT(BORROWED(tiny), i, one, one), TVM_TYPE_ERROR, "float8 cannot be sorted");
    expect_error(ARGSORT(tensor(vectors), i, one, one), TVM_TYPE_ERROR,
                 "expected scalars on cpu, got float32x4 on cpu(0)");
    expect_error(ARGSORT(BORROWED(gaps), i, one, one), TVM_VALUE_ERROR, "is not compact");
    expect_error(ARGSORT(x, BORROWED(gaps), one, one), TVM_VALUE_ERROR, "(indices) is not compact");
    expect_error(ARGSORT(BORROWED(nothing), i, one, one), TVM_VALUE_ERROR, "has no data");
    expect_error(ARGSORT(BORROWED(shapeless), i, one, one), TVM_VALUE_ERROR, "has no shape");
    expect_error(ARGSORT(BORROWED(elsewhere), i, one, one), TVM_TYPE_ERROR, "got float32 on ");
    expect_error(contrib_call("sort.sort", (struct tvm_value[]){x, i, one, one}, 4), TVM_TYPE_ERROR,
                 "int32 cannot hold those of 300 float32");
    expect_error(contrib_call("sort.sort", (struct tvm_value[]){x, x, one, one}, 4),
                 TVM_VALUE_ERROR, "(values) shares memory with the data");

    int32_t *numbers = counts->dl.data;
    memcpy(numbers, (int32_t[]){1, 301, 0}, 12);
    struct tvm_value nms[] = {x, tensor(counts), i, one, one};
    expect_error(contrib_call("sort.argsort_nms", nms, 5), TVM_VALUE_ERROR,
                 "count 1 is 301, of rows of 300 elements");
    expect_error(contrib_call("sort.argsort_nms", nms, 4), TVM_VALUE_ERROR, "expected 5 arguments");
    nms[1] = i;
    expect_error(contrib_call("sort.argsort_nms", nms, 5), TVM_TYPE_ERROR,
                 "argument 1 (counts): expected 3 elements of int32, got 900 of int32");

    struct tvm_value both = tvm_raw_string("both"), values = tvm_raw_string("values");
    expect_error(TOPK(x, i, tvm_int(301), one, tvm_raw_string("indices"), one), TVM_VALUE_ERROR,
                 "argument 1 (indices): expected the data's shape, with 301 along axis 1");
    expect_error(TOPK(x, i, tvm_int(5), one, both, one), TVM_VALUE_ERROR,
                 "\"both\" with 6 arguments");
    expect_error(TOPK(x, i, i, tvm_int(5), one, values, one), TVM_VALUE_ERROR, "\"values\" with 7");
    expect_error(TOPK(x, i, tvm_int(5), one, tvm_raw_string("bot"), one), TVM_VALUE_ERROR,
                 "\"bot\"");
    expect_error(TOPK(x, i, tvm_int(5), one, tvm_raw_string("indices"), one), TVM_VALUE_ERROR,
                 "with 5 along axis 1, got [3, 300]");
    expect_error(TOPK(x, i, tvm_int(5), one, one, one), TVM_TYPE_ERROR, "argument 4 (kind)");
    expect_error(TOPK(x, i, tvm_float(5), one, both, one), TVM_TYPE_ERROR, "argument 2 (k)");
    expect_error(TOPK(x, i), TVM_VALUE_ERROR, "expected 6 to 7 arguments, got 2");

    struct tvm_tensor *all[] = {data, half,   indices, bytes,   small,
                                flat, counts, scalar,  handles, vectors};
    for (size_t n = 0; n < COUNT(all); n++)
        release(all[n]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_and_shapes), cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_sorted_rows),      cmocka_unit_test(test_extreme_keys),
        cmocka_unit_test(test_parallel),         cmocka_unit_test(test_order),
        cmocka_unit_test(test_classic_call),     cmocka_unit_test(test_topk_of_few),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
