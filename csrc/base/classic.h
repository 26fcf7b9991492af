/* The classic calling convention (TVM 0.5 to 0.19) on top of the runtime's own: arrays of 8-byte
 * values and of type codes. */
#ifndef TVM_BASE_CLASSIC_H
#define TVM_BASE_CLASSIC_H

#include "base/function.h"
#include "include/tvm_runtime.h"

/* Arguments of one call beyond this need memory from the heap. */
enum { TVM_CLASSIC_INLINE_ARGS = 16 };

/* A view of a classic value. Array handles (code 13) become tensors; a borrowed DLTensor (7) of a
 * type that both sides number differently is rewritten into *scratch, which must outlive the view.
 * TypeError for codes that the runtime does not know. */
int tvm_classic_to_view(TVMValue value, int code, DLTensor *scratch, struct tvm_value *out);

/* An owned value of one whose reference, where it carries one, is the caller's to give. Strings
 * and bytes are copied; a borrowed DLTensor stays one, and is a TypeError where it would need
 * scratch. */
int tvm_classic_take(TVMValue value, int code, struct tvm_value *out);

/* A classic view of a value, for compiled code: tensors are passed as code 7, bools as ints. value
 * and text must outlive the view, which points into them. ValueError for a string that holds a
 * NUL. */
int tvm_classic_from_view(const struct tvm_value *value, DLTensor *scratch, struct tvm_bytes *text,
                          TVMValue *out, int *code);

/* A packed function of a compiled library; owner (a reference is added) keeps its code mapped. */
int tvm_classic_function_new(TVMBackendPackedCFunc code, struct tvm_object *owner,
                             struct tvm_function **out);

/* The compiled code behind a function made by tvm_classic_function_new, NULL for any other: for
 * callers that bind their arguments once. Call it through tvm_classic_invoke. */
TVMBackendPackedCFunc tvm_classic_function_code(const struct tvm_function *function);

/* Calls compiled code with arguments that are classic already. When it fails (any status but 0),
 * the error is what the call left on this thread, and a RuntimeError where it left none. A result
 * that it returns is dropped. */
int tvm_classic_invoke(TVMBackendPackedCFunc code, TVMValue *args, int *codes, int count);

/* Makes a packed function of a host program's callback. Tensor objects reach it as array handles
 * (code 13). Its TVMRetValueHandle is the struct tvm_value * of the call's result, None on entry:
 * TVMCFuncSetReturn puts an owned value there. When creation fails, resource stays the caller's. */
int tvm_classic_callback_new(TVMPackedCFunc callback, void *resource,
                             TVMPackedCFuncFinalizer finalizer, struct tvm_function **out);

#endif
