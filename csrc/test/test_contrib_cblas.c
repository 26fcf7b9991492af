/* tvm.contrib.{cblas,mkl,dnnl}.*: products of small integers, which are exact in any order of
 * additions, against the definition. They need a BLAS library: scripts/install-deps installs
 * OpenBLAS. */
#include "base/context.h"
#include "base/function.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "test/contrib_fixture.h"
#include "test/emulated.h"
#include "test/expect.h"
#include "test/library_fixture.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {kDLFloat, 32, 1}, float64 = {kDLFloat, 64, 1};

/* A stack of matrices in memory of its own, with gaps of NaN or 99 that must stay. */
struct stack {
    DLTensor dl;
    int64_t shape[3], strides[3];
    size_t items;
};

/* Layouts: compact without strides; compact with strides; gaps between rows and matrices, and an
 * offset; columns next to each other. */
enum layout { PLAIN, STRIDES, GAPS, TURNED, LAYOUTS };

static void put(const struct stack *stack, size_t i, double value) {
    char *data = (char *)stack->dl.data + stack->dl.byte_offset;
    if (stack->dl.dtype.bits == 64)
        ((double *)(void *)data)[i] = value;
    else
        ((float *)(void *)data)[i] = (float)value;
}

static double get(const struct stack *stack, size_t i) {
    char *data = (char *)stack->dl.data + stack->dl.byte_offset;
    return stack->dl.dtype.bits == 64 ? ((double *)(void *)data)[i]
                                      : (double)((float *)(void *)data)[i];
}

static size_t place(const struct stack *stack, int64_t n, int64_t row, int64_t column) {
    return (size_t)(n * stack->strides[0] + row * stack->strides[1] + column * stack->strides[2]);
}

static struct stack *stack_new(int ndim, int64_t count, int64_t rows, int64_t columns,
                               DLDataType type, enum layout layout) {
    struct stack *stack = calloc(1, sizeof(*stack));
    assert_non_null(stack);
    int64_t gap = layout == GAPS ? 3 : 0;
    memcpy(stack->shape, (int64_t[]){count, rows, columns}, sizeof(stack->shape));
    stack->strides[1] = layout == TURNED ? 1 : columns + gap;
    stack->strides[2] = layout == TURNED ? rows : 1;
    stack->strides[0] = rows * (columns + gap) + 2 * gap;
    stack->items = (size_t)(count * stack->strides[0] + gap);
    size_t bytes = type.bits / 8, offset = layout == GAPS ? 24 : 0;
    stack->dl = (DLTensor){calloc(stack->items + 24, bytes),
                           cpu,
                           ndim,
                           type,
                           stack->shape + 3 - ndim,
                           layout == PLAIN ? NULL : stack->strides + 3 - ndim,
                           offset};
    assert_non_null(stack->dl.data);
    for (size_t i = 0; i < stack->items; i++)
        put(stack, i, 99);
    return stack;
}

static void stack_free(struct stack *stack) {
    free(stack->dl.data);
    free(stack);
}

static void fill(struct stack *stack) {
    static unsigned state = 1;
    for (int64_t n = 0; n < stack->shape[0]; n++)
        for (int64_t i = 0; i < stack->shape[1]; i++)
            for (int64_t j = 0; j < stack->shape[2]; j++) {
                state = state * 1103515245 + 12345;
                put(stack, place(stack, n, i, j), (int)(state >> 16) % 15 - 7);
            }
}

static struct tvm_value borrowed(struct stack *stack) {
    return (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &stack->dl};
}

struct product {
    const char *name;
    int ndim;
    int64_t a_count, b_count, m, n, k;
    DLDataType type;
    enum layout a, b, c;
    bool turn_a, turn_b;
    int32_t scales; /* 0: neither, 1: alpha, 2: alpha and beta */
};

/* Runs a product and compares all of c's memory with the definition. */
static void check(const struct product *p) {
    int64_t count = p->a_count > p->b_count ? p->a_count : p->b_count;
    struct stack *a = stack_new(p->ndim, p->a_count, p->turn_a ? p->k : p->m,
                                p->turn_a ? p->m : p->k, p->type, p->a);
    struct stack *b = stack_new(p->ndim, p->b_count, p->turn_b ? p->n : p->k,
                                p->turn_b ? p->k : p->n, p->type, p->b);
    struct stack *c = stack_new(p->ndim, count, p->m, p->n, p->type, p->c);
    double alpha = p->scales > 0 ? 2 : 1, beta = p->scales > 1 ? -3 : 0;
    fill(a);
    fill(b);
    fill(c);
    double *expected = calloc(c->items + 1, sizeof(*expected));
    assert_non_null(expected);
    for (size_t i = 0; i < c->items; i++)
        expected[i] = get(c, i);
    for (int64_t n = 0; n < count; n++)
        for (int64_t i = 0; i < p->m; i++)
            for (int64_t j = 0; j < p->n; j++) {
                double sum = 0;
                int64_t a_n = p->a_count == 1 ? 0 : n, b_n = p->b_count == 1 ? 0 : n;
                for (int64_t l = 0; l < p->k; l++)
                    sum += get(a, p->turn_a ? place(a, a_n, l, i) : place(a, a_n, i, l)) *
                           get(b, p->turn_b ? place(b, b_n, j, l) : place(b, b_n, l, j));
                double *at = &expected[place(c, n, i, j)];
                *at = alpha * sum + beta * *at;
                if (beta == 0)
                    put(c, place(c, n, i, j), (double)NAN); /* it must not be read */
            }
    struct tvm_value args[] = {borrowed(a),        borrowed(b),  borrowed(c), tvm_int(p->turn_a),
                               tvm_int(p->turn_b), tvm_float(2), tvm_int(-3)};
    expect_ok(contrib_call(p->name, args, 5 + p->scales));
    for (size_t i = 0; i < c->items; i++)
        if (get(c, i) != expected[i])
            fail_msg("%s %lld+%lld x %lldx%lldx%lld layouts %d%d%d turns %d%d: item %zu is %g, "
                     "expected %g",
                     p->name, (long long)p->a_count, (long long)p->b_count, (long long)p->m,
                     (long long)p->n, (long long)p->k, p->a, p->b, p->c, p->turn_a, p->turn_b, i,
                     get(c, i), expected[i]);
    free(expected);
    stack_free(a);
    stack_free(b);
    stack_free(c);
}

/* All layouts of one size, or one of each five: others for the next size. */
static void check_layouts(struct product p) {
    int step = emulated() ? 5 : 1;
    for (int mix = (int)(p.m + p.n + p.a_count) % step; mix < 2 * 2 * 2 * LAYOUTS * LAYOUTS * 3;
         mix += step) {
        int rest = mix;
        p.turn_a = rest % 2, rest /= 2;
        p.turn_b = rest % 2, rest /= 2;
        p.type = rest % 2 ? float64 : float32, rest /= 2;
        p.a = (enum layout)(rest % LAYOUTS), rest /= LAYOUTS;
        p.b = (enum layout)(rest % LAYOUTS), rest /= LAYOUTS;
        p.c = (enum layout)rest;
        p.scales = mix % 3;
        check(&p);
    }
}

static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {1, 9, 4}, {9, 1, 4},   {6, 4, 1},
                                   {0, 3, 2}, {3, 0, 2}, {3, 2, 0}, {33, 18, 20}};

static void test_matmul(void **state) {
    static const char *const names[] = {"cblas.matmul", "mkl.matmul", "dnnl.matmul",
                                        "mkldnn.matmul"};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++)
        check_layouts((struct product){.name = names[i % COUNT(names)],
                                       .ndim = 2,
                                       .a_count = 1,
                                       .b_count = 1,
                                       .m = sizes[i][0],
                                       .n = sizes[i][1],
                                       .k = sizes[i][2]});
}

static void test_batch_matmul(void **state) {
    static const char *const names[] = {"cblas.batch_matmul", "cblas.batch_matmul_iterative",
                                        "mkl.batch_matmul", "mkl.batch_matmul_iterative"};
    (void)state;
    static const int64_t counts[][2] = {{1, 1}, {4, 4}, {1, 3}, {3, 1}};
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t n = 0; n < COUNT(counts); n++)
            check_layouts((struct product){.name = names[(i + n) % COUNT(names)],
                                           .ndim = 3,
                                           .a_count = counts[n][0],
                                           .b_count = counts[n][1],
                                           .m = sizes[i][0],
                                           .n = sizes[i][1],
                                           .k = sizes[i][2]});
}

static void check_large(void) {
    for (int turn = 0; turn < 4; turn++) {
        struct product p = {.name = "cblas.matmul",
                            .ndim = 2,
                            .a_count = 1,
                            .b_count = 1,
                            .m = 131,
                            .n = 260,
                            .k = 180,
                            .type = turn & 1 ? float64 : float32,
                            .c = GAPS,
                            .turn_a = turn & 1,
                            .turn_b = turn & 2};
        check(&p);
        p.m = 400, p.n = 90;
        check(&p);
        p.m = 1, p.n = 3000, p.k = 900;
        check(&p);
        p = (struct product){.name = "cblas.batch_matmul",
                             .ndim = 3,
                             .a_count = 5,
                             .b_count = 5,
                             .m = 101,
                             .n = 67,
                             .k = 210,
                             .type = float32,
                             .a = GAPS,
                             .b = TURNED,
                             .turn_a = turn & 1,
                             .turn_b = turn & 2};
        check(&p);
        p.a_count = 1, p.n = 120;
        check(&p);
    }
}

/* Divided among threads: by rows, by columns, across matrices. */
static void test_parallel(void **state) {
    (void)state;
    expect_ok(tvm_pool_set_size(4));
    tvm_pool_always_parallel(true);
    check_large();
    tvm_pool_always_parallel(false);
    expect_ok(tvm_pool_set_size(0));
}

/* Strides of a single row or column mean nothing. */
static void test_single(void **state) {
    (void)state;
    static const int64_t strides[] = {0, 1, 4, 77, -1};
    static const double expected[] = {100, 400, 30, 100};
    for (size_t i = 0; i < COUNT(strides); i++) {
        struct stack *row = stack_new(2, 1, 1, 4, float32, STRIDES);
        struct stack *column = stack_new(2, 1, 4, 1, float32, STRIDES);
        struct stack *out = stack_new(2, 1, 1, 1, float32, STRIDES);
        row->strides[1] = column->strides[2] = strides[i];
        out->strides[1] = strides[i];
        out->strides[2] = strides[COUNT(strides) - 1 - i];
        for (size_t j = 0; j < 4; j++) {
            put(row, j, (double)j + 1);
            put(column, j, 10);
        }
        for (int turns = 0; turns < 4; turns++) {
            struct tvm_value args[] = {borrowed(turns & 1 ? column : row),
                                       borrowed(turns & 2 ? row : column), borrowed(out),
                                       tvm_int(turns & 1), tvm_int(turns & 2)};
            expect_ok(contrib_call("cblas.matmul", args, 5));
            assert_true(get(out, 0) == expected[turns]);
        }
        stack_free(row);
        stack_free(column);
        stack_free(out);
    }
}

/* Counts wrong results. */
static void *call_from_thread(void *wrong) {
    struct stack *a = stack_new(2, 1, 64, 64, float32, PLAIN);
    struct stack *c = stack_new(2, 1, 64, 64, float32, PLAIN);
    struct tvm_value args[] = {borrowed(a), borrowed(a), borrowed(c), tvm_int(0), tvm_int(0)};
    for (int round = 0; round < 200; round++) {
        put(c, 99, 0);
        *(int *)wrong += contrib_call("cblas.matmul", args, 5) != 0;
        for (size_t i = 0; i < c->items; i++)
            *(int *)wrong += get(c, i) != 64 * 99 * 99;
    }
    stack_free(a);
    stack_free(c);
    return NULL;
}

/* From several threads at once. */
static void test_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    int wrong[4] = {0};
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_from_thread, &wrong[i]), 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
}

static void test_errors(void **state) {
    (void)state;
    struct stack *a = stack_new(2, 1, 3, 4, float32, STRIDES);
    struct stack *b = stack_new(2, 1, 4, 5, float32, PLAIN);
    struct stack *c = stack_new(2, 1, 3, 5, float32, STRIDES);
    struct stack *wide = stack_new(2, 1, 4, 5, float64, PLAIN);
    struct stack *cube = stack_new(3, 2, 3, 4, float32, PLAIN);
    struct stack *cubes = stack_new(3, 3, 4, 5, float32, PLAIN);
    struct stack *result = stack_new(3, 3, 3, 5, float32, PLAIN);
    struct stack *ints = stack_new(2, 1, 3, 4, (DLDataType){kDLInt, 32, 1}, PLAIN);
    const struct tvm_value zero = tvm_int(0), one = tvm_int(1), none = tvm_none();
#define MATMUL(...)                                                                                \
    contrib_call("cblas.matmul", (struct tvm_value[]){__VA_ARGS__},                                \
                 COUNT(((struct tvm_value[]){__VA_ARGS__})))
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero), TVM_VALUE_ERROR,
                 "expected 5 to 7 arguments, got 4");
    expect_error(MATMUL(none, borrowed(b), borrowed(c), zero, zero), TVM_TYPE_ERROR,
                 "tvm.contrib.cblas.matmul: argument 0 (a): expected Tensor, got None");
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), none, zero), TVM_TYPE_ERROR,
                 "argument 3 (transpose): expected int");
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, one), TVM_VALUE_ERROR,
                 "1 x 3 x 4 times 1 x 5 x 4 does not make 1 x 3 x 5");
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(a), zero, zero), TVM_VALUE_ERROR,
                 "does not make 1 x 3 x 4");
    expect_error(MATMUL(borrowed(cube), borrowed(b), borrowed(c), zero, zero), TVM_VALUE_ERROR,
                 "argument 0 (a): expected 2 dimensions, got 3");
    expect_error(MATMUL(borrowed(ints), borrowed(b), borrowed(c), zero, zero), TVM_TYPE_ERROR,
                 "argument 0 (a): expected float32 or float64, got int32");
    expect_error(MATMUL(borrowed(a), borrowed(wide), borrowed(c), zero, zero), TVM_TYPE_ERROR,
                 "float32 times float64 to float32");
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, zero, none), TVM_TYPE_ERROR,
                 "argument 5 (alpha)");
    struct tvm_value batch[] = {borrowed(cube), borrowed(cubes), borrowed(result), zero, zero};
    expect_error(
        contrib_call("cblas.batch_matmul", batch, 5), TVM_VALUE_ERROR,
        "tvm.contrib.cblas.batch_matmul: 2 x 3 x 4 times 3 x 4 x 5 does not make 3 x 3 x 5");
    result->shape[0] = 2;
    expect_error(contrib_call("cblas.batch_matmul", batch, 5), TVM_VALUE_ERROR,
                 "2 x 3 x 4 times 3 x 4 x 5 does not make 2 x 3 x 5");
    a->strides[2] = 2;
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, zero), TVM_VALUE_ERROR,
                 "argument 0 (a): strides 4 and 2 are not those of a matrix");
    a->strides[1] = 3, a->strides[2] = 1; /* rows overlap */
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, zero), TVM_VALUE_ERROR,
                 "strides 3 and 1");
    a->strides[1] = -4;
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, zero), TVM_VALUE_ERROR,
                 "strides -4 and 1");
    a->strides[1] = INT64_C(1) << 31;
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, zero), TVM_VALUE_ERROR,
                 "argument 0 (a) is too large for BLAS");
    a->dl.shape = (int64_t[]){INT64_C(1) << 31, 0}; /* no elements */
    a->strides[1] = 1;
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, zero), TVM_VALUE_ERROR,
                 "argument 0 (a) is too large for BLAS");
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), one, zero), TVM_VALUE_ERROR,
                 "argument 0 (a) is too large for BLAS");
    a->dl.shape = a->shape + 1;
    a->strides[1] = 4;
    c->strides[1] = 1, c->strides[2] = 3;
    expect_error(MATMUL(borrowed(a), borrowed(b), borrowed(c), zero, zero), TVM_VALUE_ERROR,
                 "argument 2 (c) is transposed");
    struct stack *all[] = {a, b, c, wide, cube, cubes, result, ints};
    for (size_t n = 0; n < COUNT(all); n++)
        stack_free(all[n]);
}

/* In a process of its own: 0 where a BLAS that insists on lines of at least one element, and would
 * use threads of its own, is called as it wants. */
static int use_strict_blas(void) {
    struct stack *a = stack_new(2, 1, 3, 0, float32, PLAIN),
                 *b = stack_new(2, 1, 0, 2, float32, PLAIN),
                 *c = stack_new(2, 1, 3, 2, float32, PLAIN);
    struct tvm_value args[] = {borrowed(a), borrowed(b), borrowed(c), tvm_int(0), tvm_int(0)};
    const char *path = fixture_path("strict.so");
    setenv("GOTVM_BLAS", path, 1);
    int status = contrib_call("cblas.matmul", args, 5);
    const int *good = dlsym(dlopen(path, RTLD_NOW), "good");
    return status == 0 && good && *good ? 0 : 1;
}

static void test_strict_blas(void **state) {
    (void)state;
    fixture_compile("strict.so", FIXTURE_LIBRARY,
                    "int threads = 2, good;\n"
                    "void openblas_set_num_threads(int count) { threads = count; }\n"
                    "void cblas_dgemm(void) {}\n"
                    "void cblas_sgemm(int o, int ta, int tb, int m, int n, int k, float alpha,\n"
                    "  void *a, int la, void *b, int lb, float beta, void *c, int lc)\n"
                    "{ good = threads == 1 && la >= 1 && lb >= 2 && lc >= 2; }\n");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(use_strict_blas());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Runs before the others, as an open BLAS stays. */
static void test_no_blas(void **state) {
    (void)state;
    struct stack *a = stack_new(2, 1, 3, 3, float32, PLAIN),
                 *c = stack_new(2, 1, 3, 3, float32, PLAIN);
    struct tvm_value args[] = {borrowed(a), borrowed(a), borrowed(c), tvm_int(0), tvm_int(0)};
    char *before = getenv("GOTVM_BLAS") ? strdup(getenv("GOTVM_BLAS")) : NULL;
    setenv("GOTVM_BLAS", "/no/such/libblas.so", 1);
    expect_error(contrib_call("cblas.matmul", args, 5), TVM_NOT_FOUND_ERROR,
                 "install libopenblas0");
    expect_error(contrib_call("cblas.matmul", args, 5), TVM_NOT_FOUND_ERROR, "/no/such/libblas.so");
    setenv("GOTVM_BLAS", "libc.so.6", 1);
    expect_error(contrib_call("cblas.matmul", args, 5), TVM_NOT_FOUND_ERROR,
                 "undefined symbol: cblas_sgemm");
    const char *half = fixture_compile("half.so", FIXTURE_LIBRARY, "void cblas_sgemm(void) {}");
    setenv("GOTVM_BLAS", half, 1);
    expect_error(contrib_call("cblas.matmul", args, 5), TVM_NOT_FOUND_ERROR,
                 "undefined symbol: cblas_dgemm");
    assert_null(dlopen(half, RTLD_NOW | RTLD_NOLOAD)); /* it is closed */
    setenv("GOTVM_BLAS", before ? before : "", 1);     /* empty: as if not set */
    free(before);
    expect_ok(contrib_call("cblas.matmul", args, 5));
    stack_free(a);
    stack_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strict_blas), cmocka_unit_test(test_no_blas),
        cmocka_unit_test(test_matmul),      cmocka_unit_test(test_batch_matmul),
        cmocka_unit_test(test_single),      cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_threads),     cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
