/* Random numbers: splitmix64, where number i is a hash of the start plus i steps. So a call takes
 * its share by moving the start of the next one, and threads can compute any part of it. */
#include "contrib/contrib.h"

#include "base/os.h"
#include "contrib/share.h"

#include <math.h>
#include <string.h>

#define STEP UINT64_C(0x9E3779B97F4A7C15)

enum { LEAST = 16384 }; /* elements that are worth a thread */

static _Atomic uint64_t next_start; /* of the process; 0: not seeded yet */

struct fill {
    char *data;
    DLDataType type;
    size_t count, bytes; /* bytes of one element */
    uint64_t start;
    enum { INTEGERS, UNIFORM, NORMAL } kind;
    uint64_t base, range; /* of integers */
    double low, high;     /* of uniform numbers, or mean and standard deviation of normal ones */
};

static uint64_t hash(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* At least 0 and below range, each as likely as the others. */
static uint64_t below(uint64_t range, uint64_t x) {
    while (x < -range % range)
        x = hash(x + STEP);
    return x % range;
}

/* At least 0 and below 1. */
static double fraction(uint64_t x) {
    return (double)(x >> 11) * 0x1p-53;
}

static void put_float(const struct fill *fill, size_t i, double value) {
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof(bits));
    uint16_t half = fill->type.code == kDLFloat ? __gnu_f2h_ieee(single) : (uint16_t)(bits >> 16);
    const void *number = fill->bytes == 8   ? (void *)&value
                         : fill->bytes == 4 ? (void *)&single
                                            : (void *)&half;
    memcpy(fill->data + i * fill->bytes, number, fill->bytes);
}

static int fill_part(int task, TVMParallelGroupEnv *env, void *job) {
    const struct fill *fill = job;
    size_t end = tvm_contrib_begin(task + 1, env, fill->count);
    for (size_t i = tvm_contrib_begin(task, env, fill->count); i < end; i++) {
        uint64_t x = hash(fill->start + i * STEP);
        if (fill->kind == INTEGERS) {
            uint64_t value = fill->base + below(fill->range, x);
            memcpy(fill->data + i * fill->bytes, &value,
                   fill->bytes); /* the low bytes come first */
        } else if (fill->kind == UNIFORM) {
            double value = fill->low + fraction(x) * (fill->high - fill->low);
            bool is_high = (fill->bytes == 8 ? value : (double)(float)value) >= fill->high;
            put_float(fill, i, is_high ? fill->low : value); /* it was rounded up */
        } else { /* Box and Muller's way: every two numbers give two */
            uint64_t y = hash(fill->start + (i ^ 1) * STEP);
            double angle = 2 * M_PI * fraction(i & 1 ? x : y);
            double radius = sqrt(-2 * log(1 - fraction(i & 1 ? y : x)));
            put_float(fill, i, fill->low + fill->high * radius * (i & 1 ? sin(angle) : cos(angle)));
        }
    }
    return 0;
}

/* Fills out, in host memory. */
static int run(struct fill *fill, const DLTensor *out) {
    size_t nbytes;
    uint64_t unseeded = 0;
    if (tvm_tensor_nbytes(out, &nbytes))
        return -1;
    fill->data = tvm_contrib_data(out);
    fill->type = out->dtype;
    fill->bytes = out->dtype.bits < 8 ? 1 : out->dtype.bits / 8;
    fill->count = nbytes / fill->bytes;
    if (atomic_load(&next_start) == 0)
        atomic_compare_exchange_strong(&next_start, &unseeded, hash((uint64_t)tvm_os_now()));
    fill->start = atomic_fetch_add(&next_start, (fill->count + 1) * STEP);
    return tvm_contrib_launch(fill_part, fill, fill->count, LEAST);
}

int tvm_contrib_random_seed(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    int64_t number;
    if (tvm_call_int(call, 0, "seed", &number))
        return -1;
    atomic_store(&next_start, hash((uint64_t)number + STEP));
    return 0;
}

int tvm_contrib_random_randint(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    char text[TVM_DTYPE_TEXT_SIZE];
    const DLTensor *out;
    int64_t low, high;
    if (tvm_call_int(call, 0, "low", &low) || tvm_call_int(call, 1, "high", &high) ||
        tvm_contrib_tensor(call, 2, "out", TVM_CONTRIB_PLAIN, &out))
        return -1;
    bool is_int = out->dtype.code == kDLInt;
    int bits = out->dtype.bits;
    if ((!is_int && out->dtype.code != kDLUInt) || bits % 8 || bits > 64)
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument 2 (out): expected integers, got %s",
                         call->name, tvm_dtype_print(out->dtype, text));
    int64_t most = bits == 64 ? INT64_MAX : (INT64_C(1) << (bits - is_int)) - 1;
    int64_t least = is_int ? -most - 1 : 0;
    if (low >= high || low > most || high <= least)
        return tvm_raise(TVM_VALUE_ERROR, "%s: no %s is at least %lld and below %lld", call->name,
                         tvm_dtype_print(out->dtype, text), (long long)low, (long long)high);
    struct fill fill = {.kind = INTEGERS, .base = (uint64_t)(low > least ? low : least)};
    fill.range = (uint64_t)(high <= most ? high : most + 1) - fill.base;
    return run(&fill, out);
}

/* uniform or normal, whose arguments are called first and second. */
static int floats(const struct tvm_call *call, struct fill fill, const char *first,
                  const char *second) {
    char text[TVM_DTYPE_TEXT_SIZE];
    const DLTensor *out;
    if (tvm_call_float(call, 0, first, &fill.low) || tvm_call_float(call, 1, second, &fill.high) ||
        tvm_contrib_tensor(call, 2, "out", TVM_CONTRIB_PLAIN, &out))
        return -1;
    if (out->dtype.code != kDLFloat || (out->dtype.bits != 32 && out->dtype.bits != 64))
        return tvm_raise(TVM_TYPE_ERROR,
                         "%s: argument 2 (out): expected float32 or float64, got %s", call->name,
                         tvm_dtype_print(out->dtype, text));
    if (out->dtype.bits == 32) {
        fill.low = (double)(float)fill.low;
        fill.high = (double)(float)fill.high;
    }
    if (!isfinite(fill.low) || !isfinite(fill.high - fill.low) ||
        fill.high <= (fill.kind == UNIFORM ? fill.low : 0))
        return tvm_raise(TVM_VALUE_ERROR, "%s: there is no %s with %s %g and %s %g", call->name,
                         tvm_dtype_print(out->dtype, text), first, fill.low, second, fill.high);
    return run(&fill, out);
}

int tvm_contrib_random_uniform(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    return floats(call, (struct fill){.kind = UNIFORM}, "low", "high");
}

int tvm_contrib_random_normal(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    return floats(call, (struct fill){.kind = NORMAL}, "mean", "standard deviation");
}

int tvm_contrib_random_fill(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    char text[TVM_DTYPE_TEXT_SIZE];
    const DLTensor *out;
    struct tvm_tensor *host;
    if (tvm_contrib_tensor(call, 0, "out", TVM_CONTRIB_FOREIGN, &out))
        return -1;
    int bits = out->dtype.bits;
    struct fill fill = {.kind = INTEGERS, .base = 1, .range = 9, .low = 1, .high = 10};
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 32 && bits != 64)
        return tvm_raise(TVM_TYPE_ERROR, "%s: argument 0 (out): no values are known for %s",
                         call->name, tvm_dtype_print(out->dtype, text));
    if (bits == 1 || out->dtype.code == TVM_DTYPE_BOOL)
        fill.range = 1;
    else if (bits == 4)
        fill.base = 0x11, fill.range = 7;
    else if (bits >= 16 && (out->dtype.code == kDLFloat || out->dtype.code == TVM_DTYPE_BFLOAT))
        fill.kind = UNIFORM;
    if (tvm_tensor_empty(out->shape, out->ndim, out->dtype, (DLDevice){kDLCPU, 0}, &host))
        return -1;
    int status = run(&fill, &host->dl) || tvm_tensor_copy(&host->dl, out) ? -1 : 0;
    tvm_object_release(&host->object);
    return status;
}
