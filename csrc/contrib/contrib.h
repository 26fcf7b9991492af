/* Functions that compiled models expect of their runtime, called tvm.contrib.* there; csrc/tables.c
 * lists the names. All are packed functions that write into tensors of the caller, which lie in
 * host memory and share none with the inputs. Flags are bools or ints. Work that is large enough is
 * divided among the threads of the pool. */
#ifndef TVM_CONTRIB_CONTRIB_H
#define TVM_CONTRIB_CONTRIB_H

#include "base/function.h"

/* Sorting: csrc/contrib/sort.c.
 *
 * Element types: bool, signed and unsigned integers of 8 to 64 bits, float16, bfloat16, float32,
 * float64. Indices go to integers of 8 to 64 bits that can hold them, float32 or float64. All
 * tensors are compact; axis counts from the end when negative.
 *
 * The order is total and stable: equal elements stay in the order of their indices, whether
 * ascending or descending. -0.0 equals +0.0. All NaNs are equal, and larger than any number: last
 * when ascending, first when descending. */

/* argsort(data, indices, axis, ascending); TVM 0.5 has argsort_nms under this name, with the last
 * flag reversed: argsort(data, counts, indices, axis, descending). */
tvm_builtin_call tvm_contrib_argsort;
/* argsort_nms(data, counts, indices, axis, ascending): sorts only the first elements of each row
 * along axis, as many as counts (int32, one for each row) says; the others keep their places. */
tvm_builtin_call tvm_contrib_argsort_nms;
/* sort(data, values, axis, ascending) */
tvm_builtin_call tvm_contrib_sort;
/* topk(data, [values,] [indices,] k, axis, kind, ascending): the first k of each sorted row, or all
 * for k < 1; zeros fill the place of what a row has not. kind is "both", "values" or "indices". */
tvm_builtin_call tvm_contrib_topk;

/* Random numbers: csrc/contrib/random.c.
 *
 * One sequence for the process, from which each call takes its share in one atomic step: after
 * seed, the same calls in the same order give the same numbers, on whatever threads they run. It
 * starts at the time of the first call. Not for secrets. */

/* seed(number) */
tvm_builtin_call tvm_contrib_random_seed;
/* randint(low, high, out): integers from low to high - 1, as far as the type of out reaches. */
tvm_builtin_call tvm_contrib_random_randint;
/* uniform(low, high, out): float32 or float64, at least low and below high. */
tvm_builtin_call tvm_contrib_random_uniform;
/* normal(mean, standard deviation, out): float32 or float64. */
tvm_builtin_call tvm_contrib_random_normal;
/* random_fill(out): harmless values of any type and on any device, to measure kernels with: floats
 * from 1 to 10, integers from 1 to 9, true. Integers of 4 bits from 1 to 7, two in a byte. */
tvm_builtin_call tvm_contrib_random_fill;

/* Matrices: csrc/contrib/cblas.c. Models that were compiled for MKL or oneDNN get the same.
 *
 * They need a BLAS with the C interface, which is opened at the first call: the file that the
 * environment variable GOTVM_BLAS names, else libopenblas.so.0, libcblas.so.3 or libblas.so.3. It
 * is told to use one thread, where it is OpenBLAS, as the pool divides the work; set
 * OPENBLAS_NUM_THREADS=1 to keep it from starting threads of its own that only sleep. */

/* matmul(a, b, c, transpose a, transpose b [, alpha [, beta]]): c = alpha a b + beta c on float32
 * or float64 matrices. Strides may leave gaps between rows; those of a and b may also swap the two
 * dimensions. */
tvm_builtin_call tvm_contrib_matmul;
/* batch_matmul(…): the same on several matrices; a single a or b serves for all. */
tvm_builtin_call tvm_contrib_batch_matmul;

#endif
