/* The functions that the runtime supplies to models, in medians. Sorting beside qsort of libc, and
 * products beside direct calls of the same BLAS. scripts/bench_contrib.py compares with TVM. */
#include "base/function.h"
#include "base/os.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "test/median.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float *compared;

static int by_element(const void *a, const void *b) {
    float x = compared[*(const int32_t *)a], y = compared[*(const int32_t *)b];
    return (x > y) - (x < y);
}

struct call {
    const char *name;
    struct tvm_value args[8];
    int32_t count;
};

static void run_call(void *data) {
    struct call *call = data;
    struct tvm_function *function;
    struct tvm_value result;
    if (tvm_registry_get(call->name, &function) || !function ||
        tvm_function_call(function, call->args, call->count, &result)) {
        fprintf(stderr, "%s\n", tvm_error_peek() ? tvm_error_peek()->message.data : call->name);
        exit(1);
    }
    tvm_object_release(&function->object);
}

/* Microseconds that run takes. */
static double measure(void (*run)(void *data), void *data) {
    enum { MOST = 20000 };
    static double samples[MOST];
    int count = 0;
    run(data);
    for (int64_t end = tvm_os_now() + 200000000;
         count < MOST && (count < 5 || tvm_os_now() < end);) {
        int64_t start = tvm_os_now();
        run(data);
        samples[count++] = (double)(tvm_os_now() - start);
    }
    return median(samples, (size_t)count) / 1000;
}

static void measure_threads(struct call *call) {
    for (int threads = 1; threads <= 2; threads++) {
        tvm_pool_set_size(threads);
        printf("%11.1f", measure(run_call, call));
    }
}

static struct tvm_tensor *tensor_new(int64_t rows, int64_t columns, DLDataType type) {
    struct tvm_tensor *tensor;
    if (tvm_tensor_empty((int64_t[]){rows, columns}, 2, type, (DLDevice){kDLCPU, 0}, &tensor))
        exit(1);
    for (int64_t i = 0; type.code == kDLFloat && type.bits == 32 && i < rows * columns; i++)
        ((float *)tensor->dl.data)[i] = (float)(drand48() - drand48());
    return tensor;
}

static const DLDataType float32 = {kDLFloat, 32, 1}, int32 = {kDLInt, 32, 1};

struct qsort_rows {
    const struct tvm_tensor *data, *indices;
};

static void run_qsort(void *data) {
    struct qsort_rows *rows = data;
    int64_t size = rows->data->shape[1];
    for (int64_t r = 0; r < rows->data->shape[0]; r++) {
        int32_t *indices = (int32_t *)rows->indices->dl.data + r * size;
        compared = (const float *)rows->data->dl.data + r * size;
        for (int32_t i = 0; i < size; i++)
            indices[i] = i;
        qsort(indices, (size_t)size, sizeof(*indices), by_element);
    }
}

static void bench_sort(int64_t rows, int64_t columns) {
    struct tvm_tensor *data = tensor_new(rows, columns, float32);
    struct tvm_tensor *values = tensor_new(rows, columns, float32);
    struct tvm_tensor *indices = tensor_new(rows, columns, int32);
    struct call argsort = {
        "tvm.contrib.sort.argsort",
        {tvm_from_object(data), tvm_from_object(indices), tvm_int(1), tvm_int(0)},
        4};
    struct call sort = {"tvm.contrib.sort.sort",
                        {tvm_from_object(data), tvm_from_object(values), tvm_int(1), tvm_int(1)},
                        4};
    printf("argsort %lldx%-14lld", (long long)rows, (long long)columns);
    measure_threads(&argsort);
    printf("%11.1f\n", measure(run_qsort, &(struct qsort_rows){data, indices}));
    printf("sort    %lldx%-14lld", (long long)rows, (long long)columns);
    measure_threads(&sort);
    printf("\n");
    for (int64_t k = 1; k <= 100; k *= 10) {
        struct tvm_tensor *most = tensor_new(rows, k, float32), *where = tensor_new(rows, k, int32);
        struct call topk = {"tvm.contrib.sort.topk",
                            {tvm_from_object(data), tvm_from_object(most), tvm_from_object(where),
                             tvm_int(k), tvm_int(1), tvm_raw_string("both"), tvm_int(0)},
                            7};
        printf("topk %3lld of %lldx%-8lld", (long long)k, (long long)rows, (long long)columns);
        measure_threads(&topk);
        printf("\n");
        tvm_object_release(&most->object);
        tvm_object_release(&where->object);
    }
    tvm_object_release(&data->object);
    tvm_object_release(&values->object);
    tvm_object_release(&indices->object);
}

static void bench_random(const char *name, struct tvm_value first, struct tvm_value second) {
    struct tvm_tensor *out = tensor_new(1000, 1000, strstr(name, "randint") ? int32 : float32);
    struct call call = {name, {first, second, tvm_from_object(out)}, 3};
    printf("%-18s 10^6 ", strrchr(name, '.') + 1);
    measure_threads(&call);
    printf("\n");
    tvm_object_release(&out->object);
}

typedef void sgemm_fn(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                      const float *a, int a_line, const float *b, int b_line, float beta, float *c,
                      int c_line);

struct product {
    sgemm_fn *sgemm;
    const DLTensor *a, *b, *c;
};

static void run_sgemm(void *data) {
    struct product *p = data;
    int m = (int)p->c->shape[0], n = (int)p->c->shape[1], k = (int)p->a->shape[1];
    p->sgemm(101, 111, 112, m, n, k, 1, p->a->data, k, p->b->data, k, 0, p->c->data, n);
}

static void bench_matmul(sgemm_fn *sgemm, int64_t m, int64_t n, int64_t k) {
    struct tvm_tensor *a = tensor_new(m, k, float32), *b = tensor_new(n, k, float32);
    struct tvm_tensor *c = tensor_new(m, n, float32);
    struct call matmul = {
        "tvm.contrib.cblas.matmul",
        {tvm_from_object(a), tvm_from_object(b), tvm_from_object(c), tvm_int(0), tvm_int(1)},
        5};
    printf("matmul %4lldx%4lldx%4lld  ", (long long)m, (long long)n, (long long)k);
    measure_threads(&matmul);
    printf("%11.1f\n", measure(run_sgemm, &(struct product){sgemm, &a->dl, &b->dl, &c->dl}));
    tvm_object_release(&a->object);
    tvm_object_release(&b->object);
    tvm_object_release(&c->object);
}

int main(void) {
    printf("medians in microseconds\n\nthreads                          1          2      qsort\n");
    bench_sort(1, 1000);
    bench_sort(1, 100000);
    bench_sort(256, 1000);
    bench_sort(1000, 100);
    printf("\nthreads                          1          2\n");
    bench_random("tvm.contrib.random.randint", tvm_int(0), tvm_int(1000));
    bench_random("tvm.contrib.random.uniform", tvm_float(0), tvm_float(1));
    bench_random("tvm.contrib.random.normal", tvm_float(0), tvm_float(1));
    const char *name = getenv("GOTVM_BLAS");
    void *library = dlopen(name ? name : "libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    sgemm_fn *sgemm = library ? (sgemm_fn *)dlsym(library, "cblas_sgemm") : NULL;
    if (!sgemm) {
        printf("\nno BLAS: %s\n", dlerror());
        return 0;
    }
    printf("\nthreads                          1          2   direct 1\n");
    bench_matmul(sgemm, 512, 512, 512);
    bench_matmul(sgemm, 1024, 1024, 1024);
    bench_matmul(sgemm, 64, 256, 256);
    bench_matmul(sgemm, 8, 4096, 1024);
    bench_matmul(sgemm, 1, 1000, 512);
    return 0;
}
