#include "contrib/share.h"

#include "base/context.h"

int tvm_contrib_tensor(const struct tvm_call *call, int32_t index, const char *what,
                       enum tvm_contrib_allow allow, const DLTensor **out) {
    char type[TVM_DTYPE_TEXT_SIZE], device[TVM_DEVICE_TEXT_SIZE];
    const DLTensor *tensor;
    size_t nbytes;
    if (tvm_call_tensor(call, index, what, &tensor))
        return -1;
    const char *wrong = NULL;
    if (tensor->ndim > 0 && !tensor->shape)
        wrong = "has no shape";
    else if (tvm_tensor_nbytes(tensor, &nbytes))
        return tvm_raise_context("%s: argument %d (%s)", call->name, index, what);
    else if (!tensor->data && nbytes)
        wrong = "has no data";
    else if (allow != TVM_CONTRIB_STRIDED && !tvm_tensor_is_compact(tensor))
        wrong = "is not compact";
    if (wrong)
        return tvm_raise(TVM_VALUE_ERROR, "%s: argument %d (%s) %s", call->name, index, what,
                         wrong);
    if (allow != TVM_CONTRIB_FOREIGN &&
        (tensor->device.device_type != kDLCPU || tensor->dtype.lanes != 1))
        return tvm_raise(TVM_TYPE_ERROR,
                         "%s: argument %d (%s): expected scalars on cpu, got %s on %s", call->name,
                         index, what, tvm_dtype_print(tensor->dtype, type),
                         tvm_device_print(tensor->device, device));
    *out = tensor;
    return 0;
}

int tvm_contrib_launch(FTVMParallelLambda work, void *job, size_t count, size_t least) {
    size_t tasks = count / (least ? least : 1);
    if (tasks > 1)
        return TVMBackendParallelLaunch(work, job,
                                        tasks < TVM_MAX_TASKS ? (int)tasks : TVM_MAX_TASKS);
    TVMParallelGroupEnv alone = {.num_task = 1};
    return work(0, &alone, job);
}
