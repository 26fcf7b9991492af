/* Matrix products by a BLAS that is opened at run time. */
#include "contrib/contrib.h"

#include "base/os.h"
#include "contrib/share.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 }; /* the C interface's numbers */
enum { LEAST = 1 << 20 };                                /* multiplications worth a thread */

typedef void sgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                      const void *a, int lda, const void *b, int ldb, float beta, void *c, int ldc);
typedef void dgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, double alpha,
                      const void *a, int lda, const void *b, int ldb, double beta, void *c,
                      int ldc);

/* The process's BLAS, which stays open. */
static struct {
    pthread_mutex_t opening;
    _Atomic bool ready;
    sgemm_fn *sgemm;
    dgemm_fn *dgemm;
} blas = {.opening = PTHREAD_MUTEX_INITIALIZER};

/* Makes name the process's BLAS, or appends to reasons why it cannot be. */
static void try_blas(const char *name, char *reasons, size_t size) {
    size_t used = strlen(reasons);
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    sgemm_fn *sgemm = library ? (sgemm_fn *)dlsym(library, "cblas_sgemm") : NULL;
    dgemm_fn *dgemm = sgemm ? (dgemm_fn *)dlsym(library, "cblas_dgemm") : NULL;
    if (!dgemm) {
        snprintf(reasons + used, size - used, "%s%s", used ? "; " : "", dlerror());
        if (library)
            dlclose(library);
        return;
    }
    void (*set_threads)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
    if (set_threads)
        set_threads(1);
    blas.sgemm = sgemm;
    blas.dgemm = dgemm;
    atomic_store_explicit(&blas.ready, true, memory_order_release);
}

static int open_blas(const struct tvm_call *call) {
    static const char *const names[] = {"libopenblas.so.0", "libcblas.so.3", "libblas.so.3"};
    char reasons[1024] = "";
    if (atomic_load_explicit(&blas.ready, memory_order_acquire))
        return 0;
    if (tvm_os_is_static())
        return tvm_raise(TVM_NOT_FOUND_ERROR, "%s needs a BLAS library, but " TVM_OS_STATIC,
                         call->name);
    const char *chosen = getenv("GOTVM_BLAS");
    if (chosen && !*chosen)
        chosen = NULL; /* dlopen would take the program for it */
    size_t count = chosen ? 1 : sizeof(names) / sizeof(*names);
    pthread_mutex_lock(&blas.opening);
    for (size_t i = 0; i < count && !atomic_load(&blas.ready); i++)
        try_blas(chosen ? chosen : names[i], reasons, sizeof(reasons));
    pthread_mutex_unlock(&blas.opening);
    if (atomic_load(&blas.ready))
        return 0;
    return tvm_raise(TVM_NOT_FOUND_ERROR,
                     "%s needs a BLAS library: install libopenblas0 (the package's name in Debian "
                     "and Ubuntu) or set GOTVM_BLAS to the path of one. Tried: %s",
                     call->name, reasons);
}

/* A matrix, or several of one form; element (i, j) lies at i ld + j, or at j ld + i when
 * transposed. */
struct matrix {
    char *data;
    DLDataType type;
    int64_t count, rows, columns;
    int64_t ld;           /* the leading dimension: elements from one row to the next */
    int64_t batch_stride; /* elements from one matrix to the next */
    bool transposed;
};

struct product {
    struct matrix a, b, c;
    double alpha, beta;
    int64_t cuts;  /* lines of each c that the work can be divided at: … */
    bool cut_rows; /* … rows or columns */
};

static int multiply(int task, TVMParallelGroupEnv *env, void *job) {
    const struct product *p = job;
    const struct matrix *a = &p->a, *b = &p->b, *c = &p->c;
    size_t lines = (size_t)(c->count * p->cuts);
    int64_t begin = (int64_t)tvm_contrib_begin(task, env, lines);
    int64_t end = (int64_t)tvm_contrib_begin(task + 1, env, lines), count;
    for (; begin < end; begin += count) {
        int64_t i = begin / p->cuts, first = begin % p->cuts;
        count = p->cuts - first < end - begin ? p->cuts - first : end - begin;
        int64_t row = p->cut_rows ? first : 0, column = p->cut_rows ? 0 : first;
        int64_t bytes = c->type.bits / 8;
        const char *a_at =
            a->data + (i * a->batch_stride + row * (a->transposed ? 1 : a->ld)) * bytes;
        const char *b_at =
            b->data + (i * b->batch_stride + column * (b->transposed ? b->ld : 1)) * bytes;
        char *c_at = c->data + (i * c->batch_stride + row * c->ld + column) * bytes;
        int m = (int)(p->cut_rows ? count : c->rows), n = (int)(p->cut_rows ? c->columns : count);
        int trans_a = a->transposed ? TRANSPOSED : PLAIN;
        int trans_b = b->transposed ? TRANSPOSED : PLAIN;
        if (bytes == 4)
            blas.sgemm(ROW_MAJOR, trans_a, trans_b, m, n, (int)a->columns, (float)p->alpha, a_at,
                       (int)a->ld, b_at, (int)b->ld, (float)p->beta, c_at, (int)c->ld);
        else
            blas.dgemm(ROW_MAJOR, trans_a, trans_b, m, n, (int)a->columns, p->alpha, a_at,
                       (int)a->ld, b_at, (int)b->ld, p->beta, c_at, (int)c->ld);
    }
    return 0;
}

/* Argument index, of ndim dimensions, as matrices; transpose is the number of a flag's argument or
 * 0. */
static int read_matrix(const struct tvm_call *call, int32_t index, const char *what, int ndim,
                       int32_t transpose, struct matrix *out) {
    char text[TVM_DTYPE_TEXT_SIZE];
    const DLTensor *tensor;
    int64_t flag = 0;
    if (tvm_contrib_tensor(call, index, what, TVM_CONTRIB_STRIDED, &tensor) ||
        (transpose && tvm_call_int(call, transpose, "transpose", &flag)))
        return -1;
    if (tensor->ndim != ndim)
        return tvm_raise(TVM_VALUE_ERROR, "%s: argument %d (%s): expected %d dimensions, got %d",
                         call->name, index, what, ndim, tensor->ndim);
    if (tensor->dtype.code != kDLFloat || (tensor->dtype.bits != 32 && tensor->dtype.bits != 64))
        return tvm_raise(TVM_TYPE_ERROR,
                         "%s: argument %d (%s): expected float32 or float64, got %s", call->name,
                         index, what, tvm_dtype_print(tensor->dtype, text));
    const int64_t *shape = tensor->shape + ndim - 2;
    const int64_t *strides = tensor->strides ? tensor->strides + ndim - 2 : NULL;
    int64_t rows = shape[flag != 0], columns = shape[flag == 0];
    int64_t down = strides ? strides[flag != 0] : flag ? 1 : columns; /* to the next row … */
    int64_t right = strides ? strides[flag == 0] : flag ? rows : 1;   /* … and column */
    *out = (struct matrix){.data = tvm_contrib_data(tensor),
                           .type = tensor->dtype,
                           .count = ndim > 2 ? tensor->shape[0] : 1,
                           .rows = rows,
                           .columns = columns};
    if (out->count > 1)
        out->batch_stride = strides ? tensor->strides[0] : rows * columns;
    if ((right == 1 || columns <= 1) && (down >= columns || rows <= 1)) {
        out->ld = rows > 1 ? down : columns;
    } else if ((down == 1 || rows <= 1) && (right >= rows || columns <= 1)) {
        out->transposed = true;
        out->ld = columns > 1 ? right : rows;
    } else {
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s: argument %d (%s): strides %lld and %lld are not those of a matrix",
                         call->name, index, what, (long long)down, (long long)right);
    }
    out->ld += out->ld == 0;
    if (rows > INT_MAX || columns > INT_MAX || out->ld > INT_MAX)
        return tvm_raise(TVM_VALUE_ERROR, "%s: argument %d (%s) is too large for BLAS", call->name,
                         index, what);
    return 0;
}

static int run(const struct tvm_call *call, int ndim) {
    struct product p = {.alpha = 1, .beta = 0};
    struct matrix *a = &p.a, *b = &p.b, *c = &p.c;
    if (read_matrix(call, 0, "a", ndim, 3, a) || read_matrix(call, 1, "b", ndim, 4, b) ||
        read_matrix(call, 2, "c", ndim, 0, c) ||
        (call->count > 5 && tvm_call_float(call, 5, "alpha", &p.alpha)) ||
        (call->count > 6 && tvm_call_float(call, 6, "beta", &p.beta)))
        return -1;
    if (a->type.bits != c->type.bits || b->type.bits != c->type.bits)
        return tvm_raise(TVM_TYPE_ERROR, "%s: float%d times float%d to float%d", call->name,
                         a->type.bits, b->type.bits, c->type.bits);
    if (a->columns != b->rows || a->rows != c->rows || b->columns != c->columns ||
        (a->count != c->count && a->count != 1) || (b->count != c->count && b->count != 1))
        return tvm_raise(TVM_VALUE_ERROR,
                         "%s: %lld x %lld x %lld times %lld x %lld x %lld does not make %lld x "
                         "%lld x %lld",
                         call->name, (long long)a->count, (long long)a->rows, (long long)a->columns,
                         (long long)b->count, (long long)b->rows, (long long)b->columns,
                         (long long)c->count, (long long)c->rows, (long long)c->columns);
    if (c->transposed)
        return tvm_raise(TVM_VALUE_ERROR, "%s: argument 2 (c) is transposed", call->name);
    if (c->count == 0 || c->rows == 0 || c->columns == 0)
        return 0;
    p.cut_rows = c->rows >= c->columns;
    p.cuts = p.cut_rows ? c->rows : c->columns;
    int64_t work = (p.cut_rows ? c->columns : c->rows) * a->columns; /* for one line */
    size_t least = work ? 1 + (size_t)(LEAST / work) : SIZE_MAX;
    if (open_blas(call))
        return -1;
    return tvm_contrib_launch(multiply, &p, (size_t)(c->count * p.cuts), least);
}

int tvm_contrib_matmul(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    return run(call, 2);
}

int tvm_contrib_batch_matmul(const struct tvm_call *call, struct tvm_value *result) {
    (void)result;
    return run(call, 3);
}
