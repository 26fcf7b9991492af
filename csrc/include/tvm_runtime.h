/* C API of the gotvm runtime: the classic TVM functions (TVM 0.5 to 0.19), for clients written
 * against tvm/runtime/c_runtime_api.h, and the back-end functions that compiled models call.
 *
 * Every function that returns int returns 0, or -1 with a message for TVMGetLastError. The message
 * belongs to the calling thread and stays until the next error on it. All functions may be called
 * from any thread, unless they say more. Handles carry one reference each and are freed by the
 * function named with them. The free functions accept NULL handles, the others refuse them. */
#ifndef TVM_RUNTIME_H
#define TVM_RUNTIME_H

#if defined(__has_include)
#if !__has_include(<dlpack/dlpack.h>)
#error "dlpack/dlpack.h is missing: install libdlpack-dev"
#endif
#endif
#include <dlpack/dlpack.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TVM_DLL
#define TVM_DLL __attribute__((visibility("default")))
#endif

/* The TVM release whose classic C API this is. */
#define TVM_VERSION "0.19.0"

/* How a TVMValue is to be read; integers and floats share DLPack's codes 0 and 2. */
typedef enum {
    kTVMArgInt = 0,
    kTVMArgFloat = 2,
    kTVMOpaqueHandle = 3,
    kTVMNullptr = 4,
    kTVMDataType = 5,
    kDLDevice = 6,
    kTVMDLTensorHandle = 7, /* DLTensor*, borrowed */
    kTVMObjectHandle = 8,
    kTVMModuleHandle = 9,
    kTVMPackedFuncHandle = 10,
    kTVMStr = 11,   /* const char*, NUL-terminated */
    kTVMBytes = 12, /* TVMByteArray* */
    kTVMNDArrayHandle = 13,
    kTVMObjectRValueRefArg = 14,
    kTVMArgBool = 15 /* from TVM 0.18; before, the first extension code */
} TVMArgTypeCode;

typedef union {
    int64_t v_int64;
    double v_float64;
    void *v_handle;
    const char *v_str;
    DLDataType v_type;
    DLDevice v_device;
} TVMValue;

typedef struct {
    const char *data;
    size_t size;
} TVMByteArray;

typedef int64_t tvm_index_t;
/* Clients may read the DLTensor; dtype codes are the classic ones. */
typedef DLTensor *TVMArrayHandle;
typedef void *TVMModuleHandle;
typedef void *TVMFunctionHandle;
typedef void *TVMObjectHandle;
typedef void *TVMRetValueHandle;
typedef void *TVMStreamHandle;

/* Errors */

/* The message of this thread's last error, "" when there was none; valid until the next one. */
TVM_DLL const char *TVMGetLastError(void);
/* Sets it (the text is copied): for callbacks and compiled code that then return -1. */
TVM_DLL void TVMAPISetLastError(const char *message);

/* Modules */

/* Opens a compiled library. format is "so", "dll", "dylib", "dso" or "" (by the name's ending). A
 * file that is open already gives the same module again, with what it imports. */
TVM_DLL int TVMModLoadFromFile(const char *file_name, const char *format, TVMModuleHandle *out);
TVM_DLL int TVMModFree(TVMModuleHandle module);
/* Adds dep to module's imports, unless it is one; both handles stay the caller's. */
TVM_DLL int TVMModImport(TVMModuleHandle module, TVMModuleHandle dep);
/* *out is NULL, and the result 0, when there is no such function; else free it with TVMFuncFree.
 * The function keeps its module alive. */
TVM_DLL int TVMModGetFunction(TVMModuleHandle module, const char *name, int query_imports,
                              TVMFunctionHandle *out);

/* Packed functions */

/* A function of the host program. Arguments are borrowed; the result is set with TVMCFuncSetReturn,
 * and nothing set means null. Returns 0, or -1 after TVMAPISetLastError. */
typedef int (*TVMPackedCFunc)(TVMValue *args, int *type_codes, int num_args, TVMRetValueHandle ret,
                              void *resource_handle);
typedef void (*TVMPackedCFuncFinalizer)(void *resource_handle);

TVM_DLL int TVMFuncFree(TVMFunctionHandle function);
/* Results: strings, bytes and dtypes point into memory of this thread, valid until the next call;
 * objects, modules, functions and arrays carry a reference for the caller. */
TVM_DLL int TVMFuncCall(TVMFunctionHandle function, TVMValue *arg_values, int *type_codes,
                        int num_args, TVMValue *ret_value, int *ret_type_code);
/* Sets a callback's result: num_ret must be 1. Strings are copied, handles gain a reference. */
TVM_DLL int TVMCFuncSetReturn(TVMRetValueHandle ret, TVMValue *value, int *type_code, int num_ret);
/* Lets a callback keep an argument: adds a reference where it is a handle. Not for strings. */
TVM_DLL int TVMCbArgToReturn(TVMValue *value, int *type_code);
/* finalizer (may be NULL) runs once, on the thread that drops the last reference. */
TVM_DLL int TVMFuncCreateFromCFunc(TVMPackedCFunc function, void *resource_handle,
                                   TVMPackedCFuncFinalizer finalizer, TVMFunctionHandle *out);
/* Registers under name, which must be free unless override is set. The handle stays the caller's
 * own. */
TVM_DLL int TVMFuncRegisterGlobal(const char *name, TVMFunctionHandle function, int override);
/* *out is NULL, and the result 0, when there is none. */
TVM_DLL int TVMFuncGetGlobal(const char *name, TVMFunctionHandle *out);
/* Frees the name, which must be in use; the function lives as long as somebody has it. */
TVM_DLL int TVMFuncRemoveGlobal(const char *name);
/* The array belongs to the thread and holds until its next call of this function. */
TVM_DLL int TVMFuncListGlobalNames(int *out_size, const char ***out_array);

/* Objects */

/* Adds a reference to an object, module or function, and gives one back. Not for arrays. */
TVM_DLL int TVMObjectRetain(TVMObjectHandle object);
TVM_DLL int TVMObjectFree(TVMObjectHandle object);
/* Nothing to do: byte arrays that calls return belong to the thread. */
TVM_DLL int TVMByteArrayFree(TVMByteArray *array);

/* Arrays */

/* A compact array, contents undefined, data at a multiple of 128 bytes. Free with TVMArrayFree. */
TVM_DLL int TVMArrayAlloc(const tvm_index_t *shape, int ndim, int dtype_code, int dtype_bits,
                          int dtype_lanes, int device_type, int device_id, TVMArrayHandle *out);
TVM_DLL int TVMArrayFree(TVMArrayHandle array);
/* nbytes must be the array's size. */
TVM_DLL int TVMArrayCopyFromBytes(TVMArrayHandle array, void *data, size_t nbytes);
TVM_DLL int TVMArrayCopyToBytes(TVMArrayHandle array, void *data, size_t nbytes);
/* Between any devices; sizes in bytes must be equal. stream must be NULL. */
TVM_DLL int TVMArrayCopyFromTo(TVMArrayHandle from, TVMArrayHandle to, TVMStreamHandle stream);
/* Takes over a compact DLPack tensor, or leaves it to the caller on failure. */
TVM_DLL int TVMArrayFromDLPack(DLManagedTensor *from, TVMArrayHandle *out);
/* Exports one that keeps the array alive until its deleter runs. dtype codes of both are DLPack's,
 * but bool is exported, and may be imported, as classic TVM's 1-bit uint. */
TVM_DLL int TVMArrayToDLPack(TVMArrayHandle from, DLManagedTensor **out);
TVM_DLL void TVMDLManagedTensorCallDeleter(DLManagedTensor *tensor);
/* Waits for the device. stream must be NULL: each device has one queue. */
TVM_DLL int TVMSynchronize(int device_type, int device_id, TVMStreamHandle stream);
/* For clients that set one: stream must be NULL, and the device must be there. */
TVM_DLL int TVMSetStream(int device_type, int device_id, TVMStreamHandle stream);

/* Back-end functions, called by compiled models */

/* What compiled libraries export. out_type_code is 4 (null) on entry; resource_handle is NULL. */
typedef int (*TVMBackendPackedCFunc)(TVMValue *args, int *type_codes, int num_args,
                                     TVMValue *out_ret_value, int *out_ret_type_code,
                                     void *resource_handle);

typedef struct {
    void *sync_handle;
    int32_t num_task;
} TVMParallelGroupEnv;
typedef int (*FTVMParallelLambda)(int task_id, TVMParallelGroupEnv *env, void *closure);

/* A function from the imports of the module whose context this is, else the global one: borrowed,
 * valid as long as the module's library is mapped. */
TVM_DLL int TVMBackendGetFuncFromEnv(void *module_context, const char *name,
                                     TVMFunctionHandle *out);
/* Temporary memory on a device, aligned to 128 bytes; NULL on failure. It is given back on the same
 * thread before the function that asked for it returns, best in reverse order. The hints do
 * nothing. */
TVM_DLL void *TVMBackendAllocWorkspace(int device_type, int device_id, uint64_t nbytes,
                                       int dtype_code_hint, int dtype_bits_hint);
TVM_DLL int TVMBackendFreeWorkspace(int device_type, int device_id, void *data);
/* Runs lambda in tasks 0 to env->num_task - 1, all at once, and returns when all have; num_task is
 * the most there may be, 0: as many as there are threads. Fails when one of them does, with its
 * error. */
TVM_DLL int TVMBackendParallelLaunch(FTVMParallelLambda lambda, void *closure, int num_task);
/* For all tasks of a launch: waits until each has come here. */
TVM_DLL int TVMBackendParallelBarrier(int task_id, TVMParallelGroupEnv *env);
/* Registers a function or variable of a model that is linked into the program; the global function
 * runtime.SystemLib(prefix) gives a module of those that begin with prefix. */
TVM_DLL int TVMBackendRegisterSystemLibSymbol(const char *name, void *symbol);
/* Runs function once for each handle variable, which begins as NULL: later calls, and such at the
 * same time, wait until that is done, and do nothing. Where function fails, its result is returned,
 * and the next call tries again. */
TVM_DLL int TVMBackendRunOnce(void **handle, int (*function)(void *closure), void *closure,
                              int nbytes);

/* Half-float helpers that libraries of TVM 0.9 and older import from the process. */
TVM_DLL uint16_t __gnu_f2h_ieee(float value);
TVM_DLL float __gnu_h2f_ieee(uint16_t value);

#ifdef __cplusplus
}
#endif
#endif
