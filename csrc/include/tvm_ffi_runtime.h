/* C API of the gotvm runtime: the tvm-ffi functions (TVM 0.22 and newer) for clients that are
 * written against tvm/ffi/c_api.h, and those that compiled models call.
 *
 * A value is a TVMFFIAny: a view, which borrows what it points to, or owned, with a reference of
 * its own. Arguments are views, results are owned: an object in a result is given back with
 * TVMFFIObjectDecRef. Every function that returns int returns 0, or -1 with an error raised on the
 * calling thread, which TVMFFIErrorMoveFromRaised takes. All may be called from any thread.
 *
 * Libraries are opened with the global function ffi.ModuleLoadFromFile(path); functions of a module
 * come from ffi.ModuleGetFunction(module, name, query imports: bool). */
#ifndef TVM_FFI_RUNTIME_H
#define TVM_FFI_RUNTIME_H

#include "tvm_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a TVMFFIAny holds. From kTVMFFIObject on it is a pointer to a TVMFFIObject. */
typedef enum {
    kTVMFFINone = 0,
    kTVMFFIInt = 1,
    kTVMFFIBool = 2,
    kTVMFFIFloat = 3,
    kTVMFFIOpaquePtr = 4,
    kTVMFFIDataType = 5,
    kTVMFFIDevice = 6,
    kTVMFFIDLTensorPtr = 7,  /* DLTensor*, borrowed */
    kTVMFFIRawStr = 8,       /* const char*, borrowed; never in an owned value */
    kTVMFFIByteArrayPtr = 9, /* TVMFFIByteArray*, borrowed; never in an owned value */
    kTVMFFISmallStr = 11,    /* up to 7 bytes in the value itself */
    kTVMFFISmallBytes = 12,
    kTVMFFIObject = 64,
    kTVMFFIStr = 65,
    kTVMFFIBytes = 66,
    kTVMFFIError = 67,
    kTVMFFIFunction = 68,
    kTVMFFIShape = 69,
    kTVMFFITensor = 70,
    kTVMFFIArray = 71,
    kTVMFFIMap = 72,
    kTVMFFIModule = 73
} TVMFFITypeIndex;

typedef void *TVMFFIObjectHandle;

/* Begins every object; what follows by type: Str, Bytes: TVMFFIByteArray; Shape: TVMFFIShapeCell;
 * Tensor: DLTensor; Array: TVMFFISeqCell; Error: TVMFFIErrorCell. */
typedef struct {
    uint64_t combined_ref_count; /* low half: strong, high half: weak references */
    int32_t type_index;
    uint32_t padding;
    void (*deleter)(void *self, int flags);
} TVMFFIObject;

typedef struct {
    int32_t type_index;
    uint32_t small_str_len; /* 0 unless it is a small string or bytes */
    union {
        int64_t v_int64;
        double v_float64;
        void *v_ptr;
        const char *v_c_str;
        TVMFFIObject *v_obj;
        DLDataType v_dtype;
        DLDevice v_device;
        char v_bytes[8];
    };
} TVMFFIAny;

typedef struct {
    const char *data;
    size_t size;
} TVMFFIByteArray;

typedef struct {
    const int64_t *data;
    size_t size;
} TVMFFIShapeCell;

typedef struct {
    TVMFFIAny *data;
    int64_t size;
    int64_t capacity;
    void (*data_deleter)(void *data);
} TVMFFISeqCell;

typedef struct {
    TVMFFIByteArray kind; /* "ValueError" … */
    TVMFFIByteArray message;
    TVMFFIByteArray backtrace;
    void (*update_backtrace)(TVMFFIObjectHandle self, const TVMFFIByteArray *backtrace,
                             int32_t update_mode);
    TVMFFIObjectHandle cause_chain;
    TVMFFIObjectHandle extra_context; /* what a language binding carries along */
} TVMFFIErrorCell;

/* result is None on entry. */
typedef int (*TVMFFISafeCallType)(void *handle, const TVMFFIAny *args, int32_t num_args,
                                  TVMFFIAny *result);

/* References to objects; NULL is an error for the first and ignored by the second. */
TVM_DLL int TVMFFIObjectIncRef(TVMFFIObjectHandle object);
TVM_DLL int TVMFFIObjectDecRef(TVMFFIObjectHandle object);

/* Makes an owned value of a view: strings and bytes are copied, objects gain a reference. */
TVM_DLL int TVMFFIAnyViewToOwnedAny(const TVMFFIAny *view, TVMFFIAny *out);
TVM_DLL int TVMFFIStringFromByteArray(const TVMFFIByteArray *input, TVMFFIAny *out);
TVM_DLL int TVMFFIBytesFromByteArray(const TVMFFIByteArray *input, TVMFFIAny *out);
TVM_DLL int TVMFFIDataTypeFromString(const TVMFFIByteArray *text, DLDataType *out);
TVM_DLL int TVMFFIDataTypeToString(const DLDataType *dtype, TVMFFIAny *out);

/* A function that calls safe_call with self; deleter (may be NULL) runs once, with the last
 * reference. */
TVM_DLL int TVMFFIFunctionCreate(void *self, TVMFFISafeCallType safe_call,
                                 void (*deleter)(void *self), TVMFFIObjectHandle *out);
/* Sets result to None, then calls. */
TVM_DLL int TVMFFIFunctionCall(TVMFFIObjectHandle function, TVMFFIAny *args, int32_t num_args,
                               TVMFFIAny *result);
/* The registry that the classic functions use too. A name that is not there gives NULL. */
TVM_DLL int TVMFFIFunctionGetGlobal(const TVMFFIByteArray *name, TVMFFIObjectHandle *out);
TVM_DLL int TVMFFIFunctionSetGlobal(const TVMFFIByteArray *name, TVMFFIObjectHandle function,
                                    int allow_override);

/* Takes the raised error out of the thread: NULL when there is none. */
TVM_DLL void TVMFFIErrorMoveFromRaised(TVMFFIObjectHandle *result);
/* Raises error, to which a reference is added. */
TVM_DLL void TVMFFIErrorSetRaised(TVMFFIObjectHandle error);
TVM_DLL void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);
TVM_DLL void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts,
                                               int32_t num_parts);
/* Of a NULL text it makes an empty one. */
TVM_DLL int TVMFFIErrorCreate(const TVMFFIByteArray *kind, const TVMFFIByteArray *message,
                              const TVMFFIByteArray *backtrace, TVMFFIObjectHandle *out);
/* References are added to cause and extra_context, which may be NULL. */
TVM_DLL int TVMFFIErrorCreateWithCauseAndExtraContext(
    const TVMFFIByteArray *kind, const TVMFFIByteArray *message, const TVMFFIByteArray *backtrace,
    TVMFFIObjectHandle cause, TVMFFIObjectHandle extra_context, TVMFFIObjectHandle *out);

/* Takes over a compact DLPack tensor; its data must be aligned to require_alignment bytes (0: any).
 * On failure the import stays the caller's. */
TVM_DLL int TVMFFITensorFromDLPack(DLManagedTensor *from, int32_t require_alignment,
                                   int32_t require_contiguous, TVMFFIObjectHandle *out);
/* Shares the tensor's memory until the deleter of *out runs. */
TVM_DLL int TVMFFITensorToDLPack(TVMFFIObjectHandle from, DLManagedTensor **out);

/* Called by compiled code. */

/* Registers a function or variable of a model that is linked into the program; the global function
 * ffi.SystemLib(prefix) gives a module of those that begin with prefix. */
TVM_DLL int TVMFFIEnvModRegisterSystemLibSymbol(const char *name, void *symbol);

/* The function called name in the imports of the library whose context this is, else the global
 * one: borrowed, and valid until the library is unmapped. */
TVM_DLL int TVMFFIEnvModLookupFromImports(TVMFFIObjectHandle library_context, const char *name,
                                          TVMFFIObjectHandle *out);
/* Calls init, which gives a handle that is not NULL, unless *handle has one. */
TVM_DLL int TVMFFIHandleInitOnce(void **handle, int (*init)(void **result));
/* Sets *handle to NULL and calls deinit with what it held, unless that was NULL. */
TVM_DLL int TVMFFIHandleDeinitOnce(void **handle, int (*deinit)(void *handle));

/* Lists of owned values: the registers, constants and functions of compiled Relax functions. */
TVM_DLL int TVMBackendAnyListSetPackedArg(void *list, int index, TVMFFIAny *args, int arg_offset);
TVM_DLL int TVMBackendAnyListResetItem(void *list, int index);
TVM_DLL int TVMBackendAnyListMoveFromPackedReturn(void *list, int index, TVMFFIAny *args,
                                                  int ret_offset);

#ifdef __cplusplus
}
#endif

#endif
