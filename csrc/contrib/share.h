/* What the functions of this folder share: checked tensors, and work divided among threads. */
#ifndef TVM_CONTRIB_SHARE_H
#define TVM_CONTRIB_SHARE_H

#include "base/function.h"
#include "base/tensor.h"

/* Argument index, called what in messages, as a tensor with a shape and data: compact, unless
 * STRIDED is allowed, and scalars in host memory, unless FOREIGN is. */
enum tvm_contrib_allow { TVM_CONTRIB_PLAIN = 0, TVM_CONTRIB_STRIDED = 1, TVM_CONTRIB_FOREIGN = 2 };
int tvm_contrib_tensor(const struct tvm_call *call, int32_t index, const char *what,
                       enum tvm_contrib_allow allow, const DLTensor **out);

/* Where its first element lies. */
static inline char *tvm_contrib_data(const DLTensor *tensor) {
    return tensor->data ? (char *)tensor->data + tensor->byte_offset : NULL;
}

/* The first of count items that are task's part of the work; the next task's is where it ends. */
static inline size_t tvm_contrib_begin(int task, const TVMParallelGroupEnv *env, size_t count) {
    size_t tasks = (size_t)env->num_task, at = (size_t)task, more = count % tasks;
    return at * (count / tasks) + (at < more ? at : more);
}

/* Runs work on job's count items, in parallel where each task gets least of them or more. */
int tvm_contrib_launch(FTVMParallelLambda work, void *job, size_t count, size_t least);

#endif
