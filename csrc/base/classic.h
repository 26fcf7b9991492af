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

/* An owned value of one whose reference, where it carries one, is the caller's to give. */
int tvm_classic_take(TVMValue value, int code, struct tvm_value *out);

/* A classic view of a value, for compiled code: tensors are passed as code 7. text must outlive the
 * view: byte strings and small strings are pointed to through it. */
int tvm_classic_from_view(const struct tvm_value *value, DLTensor *scratch, struct tvm_bytes *text,
                          TVMValue *out, int *code);

/* A packed function of a compiled library; owner (a reference is added) keeps its code mapped. */
int tvm_classic_function_new(TVMBackendPackedCFunc code, struct tvm_object *owner,
                             struct tvm_function **out);

/* The compiled code behind a function made by tvm_classic_function_new, NULL for any other: for
 * callers that bind their arguments once. Call it through tvm_classic_invoke. */
TVMBackendPackedCFunc tvm_classic_function_code(const struct tvm_function *function);

/* Calls compiled code with arguments that are classic already: -1 with an error raised when it
 * failed. A result that it returns is dropped. */
int tvm_classic_invoke(TVMBackendPackedCFunc code, TVMValue *args, int *codes, int count);

/* Makes a packed function of a host program's callback. */
int tvm_classic_callback_new(TVMPackedCFunc callback, void *resource,
                             TVMPackedCFuncFinalizer finalizer, struct tvm_function **out);

#endif
