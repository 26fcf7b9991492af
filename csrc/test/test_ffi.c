/* The tvm-ffi functions as a C client and compiled code use them. */
#include "include/tvm_ffi_runtime.h"
#include "test/expect.h"
#include "test/library_fixture.h"

#include <pthread.h>
#include <stdlib.h>

static TVMFFIByteArray bytes(const char *text) {
    return (TVMFFIByteArray){text, strlen(text)};
}

static TVMFFIAny any_int(int64_t value) {
    return (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = value};
}

static void *cell(TVMFFIObjectHandle object) {
    return (char *)object + sizeof(TVMFFIObject);
}

/* Takes the raised error and compares it. */
static void expect_raised(int status, const char *kind, const char *message) {
    TVMFFIObjectHandle error = NULL;
    assert_int_equal(status, -1);
    TVMFFIErrorMoveFromRaised(&error);
    assert_non_null(error);
    assert_int_equal(((TVMFFIObject *)error)->type_index, kTVMFFIError);
    const TVMFFIErrorCell *it = cell(error);
    assert_int_equal(it->kind.size, strlen(kind));
    assert_memory_equal(it->kind.data, kind, it->kind.size);
    if (!strstr(it->message.data, message))
        fail_msg("\"%s\" is not in \"%s\"", message, it->message.data);
    TVMFFIObjectDecRef(error);
}

static void test_values(void **state) {
    (void)state;
    TVMFFIByteArray little = bytes("seven77"), big = bytes("eight888");
    TVMFFIAny value, copy;
    assert_int_equal(TVMFFIStringFromByteArray(&little, &value), 0);
    assert_int_equal(value.type_index, kTVMFFISmallStr);
    assert_int_equal(value.small_str_len, 7);
    assert_memory_equal(value.v_bytes, "seven77", 7);
    assert_int_equal(TVMFFIBytesFromByteArray(&little, &value), 0);
    assert_int_equal(value.type_index, kTVMFFISmallBytes);
    assert_int_equal(TVMFFIStringFromByteArray(&big, &value), 0);
    assert_int_equal(value.type_index, kTVMFFIStr);
    const TVMFFIByteArray *text = cell(value.v_obj);
    assert_string_equal(text->data, "eight888");
    assert_int_equal(text->size, 8);
    assert_int_equal(TVMFFIAnyViewToOwnedAny(&value, &copy), 0);
    assert_ptr_equal(copy.v_obj, value.v_obj);
    assert_int_equal((uint32_t)value.v_obj->combined_ref_count, 2);
    TVMFFIObjectDecRef(copy.v_obj);
    assert_int_equal(TVMFFIObjectIncRef(value.v_obj), 0);
    TVMFFIObjectDecRef(value.v_obj);
    TVMFFIObjectDecRef(value.v_obj);
    char borrowed[] = "a text that somebody else owns";
    TVMFFIAny view = {.type_index = kTVMFFIRawStr, .v_c_str = borrowed};
    assert_int_equal(TVMFFIAnyViewToOwnedAny(&view, &copy), 0);
    borrowed[0] = 'A';
    assert_int_equal(copy.type_index, kTVMFFIStr);
    assert_string_equal(((TVMFFIByteArray *)cell(copy.v_obj))->data,
                        "a text that somebody else owns");
    TVMFFIObjectDecRef(copy.v_obj);
    expect_raised(TVMFFIObjectIncRef(NULL), "ValueError", "object is NULL");
    assert_int_equal(TVMFFIObjectDecRef(NULL), 0);
    TVMFFIByteArray empty = {NULL, 0};
    assert_int_equal(TVMFFIStringFromByteArray(&empty, &value), 0);
    assert_true(value.type_index == kTVMFFISmallStr && value.small_str_len == 0);
}

static void test_dtypes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        DLDataType dtype;
    } cases[] = {{"float32", {2, 32, 1}}, {"bool", {6, 8, 1}}, {"int8x4", {0, 8, 4}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        TVMFFIByteArray text = bytes(cases[i].text);
        DLDataType dtype;
        TVMFFIAny back;
        assert_int_equal(TVMFFIDataTypeFromString(&text, &dtype), 0);
        assert_memory_equal(&dtype, &cases[i].dtype, sizeof(dtype));
        assert_int_equal(TVMFFIDataTypeToString(&dtype, &back), 0);
        assert_int_equal(back.type_index, kTVMFFISmallStr);
        assert_int_equal(back.small_str_len, text.size);
        assert_memory_equal(back.v_bytes, text.data, text.size);
    }
    static const char *const nothing[] = {"", "void"};
    for (int i = 0; i < 2; i++) {
        TVMFFIByteArray text = bytes(nothing[i]);
        DLDataType dtype;
        TVMFFIAny back;
        assert_int_equal(TVMFFIDataTypeFromString(&text, &dtype), 0);
        assert_true(dtype.code == 3 && dtype.bits == 0 && dtype.lanes == 0);
        assert_int_equal(TVMFFIDataTypeToString(&dtype, &back), 0);
        assert_memory_equal(back.v_bytes, "void", 4);
    }
    TVMFFIByteArray text = bytes("float33");
    DLDataType dtype;
    expect_raised(TVMFFIDataTypeFromString(&text, &dtype), "ValueError", "float33");
}

/* Functions */

static int deleted;

static void count_deleted(void *self) {
    assert_ptr_equal(self, &deleted);
    deleted++;
}

static int sum(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) {
    assert_ptr_equal(self, &deleted);
    assert_int_equal(result->type_index, kTVMFFINone);
    int64_t total = 0;
    for (int32_t i = 0; i < count; i++) {
        if (args[i].type_index != kTVMFFIInt) {
            TVMFFIErrorSetRaisedFromCStr("TypeError", "not an int");
            return -2; /* any status but 0 */
        }
        total += args[i].v_int64;
    }
    *result = any_int(total);
    return 0;
}

/* Fails with a result, and without an error. */
static int fail_silently(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) {
    TVMFFIByteArray text = bytes("a text that is longer than a small one");
    (void)self, (void)args, (void)count;
    TVMFFIStringFromByteArray(&text, result);
    return -1;
}

static void test_silent_failure(void **state) {
    (void)state;
    TVMFFIObjectHandle function;
    TVMFFIAny result = {.type_index = kTVMFFINone};
    assert_int_equal(TVMFFIFunctionCreate(NULL, fail_silently, NULL, &function), 0);
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            TVMFFIErrorSetRaisedFromCStr("KeyError", "an old one");
        expect_raised(TVMFFIFunctionCall(function, NULL, 0, &result), "RuntimeError",
                      "failed (status -1) without an error message");
        assert_int_equal(result.type_index, kTVMFFINone);
    }
    TVMFFIObjectDecRef(function);
}

static void test_functions(void **state) {
    (void)state;
    TVMFFIObjectHandle function, found;
    TVMFFIByteArray name = bytes("test.ffi.sum"), nobody = bytes("test.ffi.nobody");
    TVMFFIAny args[] = {any_int(1), any_int(20), any_int(300)}, result;
    deleted = 0;
    assert_int_equal(TVMFFIFunctionCreate(&deleted, sum, count_deleted, &function), 0);
    assert_int_equal(((TVMFFIObject *)function)->type_index, kTVMFFIFunction);
    memset(&result, 0xff, sizeof(result));
    assert_int_equal(TVMFFIFunctionCall(function, args, 3, &result), 0);
    assert_true(result.type_index == kTVMFFIInt && result.v_int64 == 321);
    args[1] = (TVMFFIAny){.type_index = kTVMFFINone};
    expect_raised(TVMFFIFunctionCall(function, args, 3, &result), "TypeError", "not an int");
    assert_int_equal(TVMFFIFunctionSetGlobal(&name, function, 0), 0);
    expect_raised(TVMFFIFunctionSetGlobal(&name, function, 0), "ValueError", "already registered");
    assert_int_equal(TVMFFIFunctionSetGlobal(&name, function, 1), 0);
    assert_int_equal(TVMFFIFunctionGetGlobal(&name, &found), 0);
    assert_ptr_equal(found, function);
    TVMFFIObjectDecRef(found);
    assert_int_equal(TVMFFIFunctionGetGlobal(&nobody, &found), 0);
    assert_null(found);
    assert_int_equal(TVMFuncRemoveGlobal("test.ffi.sum"), 0);
    assert_int_equal(deleted, 0);
    TVMFFIObjectDecRef(function);
    assert_int_equal(deleted, 1);
    expect_raised(TVMFFIFunctionCall(NULL, args, 0, &result), "ValueError", "Function is NULL");
    TVMFFIAny text;
    TVMFFIStringFromByteArray(&name, &text);
    expect_raised(TVMFFIFunctionCall(text.v_obj, args, 0, &result), "TypeError",
                  "expected Function, got str");
    TVMFFIObjectDecRef(text.v_obj);
    expect_raised(TVMFFIFunctionCreate(NULL, NULL, NULL, &function), "ValueError", "NULL");
    TVMFFIByteArray hollow = {"a\0b", 3};
    expect_raised(TVMFFIFunctionGetGlobal(&hollow, &found), "ValueError", "holds a NUL");
}

/* Errors */

static void test_errors(void **state) {
    (void)state;
    TVMFFIObjectHandle error = &error, cause, again;
    TVMFFIErrorMoveFromRaised(&error);
    assert_null(error);
    const char *parts[] = {"one, ", NULL, "two, ", "three"};
    TVMFFIErrorSetRaisedFromCStrParts("IndexError", parts, 4);
    expect_raised(-1, "IndexError", "one, two, three");
    TVMFFIErrorSetRaisedFromCStr(NULL, NULL);
    expect_raised(-1, "RuntimeError", "");
    TVMFFIByteArray kind = bytes("MyError"), message = bytes("what happened"),
                    trace = bytes("File \"x\", line 3");
    assert_int_equal(TVMFFIErrorCreate(&kind, &message, NULL, &cause), 0);
    assert_int_equal(
        TVMFFIErrorCreateWithCauseAndExtraContext(&kind, &message, &trace, cause, cause, &error),
        0);
    TVMFFIObjectDecRef(cause);
    const TVMFFIErrorCell *it = cell(error);
    assert_string_equal(it->backtrace.data, "File \"x\", line 3");
    assert_ptr_equal(it->cause_chain, cause);
    assert_ptr_equal(it->extra_context, cause);
    TVMFFIErrorSetRaised(error);
    TVMFFIErrorMoveFromRaised(&again);
    assert_ptr_equal(again, error);
    TVMFFIObjectDecRef(again);
    /* what adds to a message keeps the rest */
    TVMFFIErrorSetRaised(error);
    tvm_raise_context("here");
    TVMFFIErrorMoveFromRaised(&again);
    it = cell(again);
    assert_string_equal(it->message.data, "here: what happened");
    assert_string_equal(it->backtrace.data, "File \"x\", line 3");
    assert_ptr_equal(it->extra_context, cause);
    TVMFFIObjectDecRef(again);
    TVMFFIObjectDecRef(error);
    TVMFFIErrorSetRaised(NULL);
    expect_raised(-1, "ValueError", "TVMFFIErrorSetRaised: Error is NULL");
}

/* Tensors */

static int imports_deleted;

static void delete_import(DLManagedTensor *self) {
    (void)self;
    imports_deleted++;
}

static void test_tensors(void **state) {
    (void)state;
    static float data[64] __attribute__((aligned(64)));
    int64_t shape[] = {2, 3};
    DLManagedTensor import = {.dl_tensor = {.data = data,
                                            .device = {kDLCPU, 0},
                                            .ndim = 2,
                                            .dtype = {2, 32, 1},
                                            .shape = shape},
                              .deleter = delete_import};
    DLManagedTensor *export;
    TVMFFIObjectHandle tensor;
    imports_deleted = 0;
    import.dl_tensor.byte_offset = 4;
    expect_raised(TVMFFITensorFromDLPack(&import, 64, 1, &tensor), "ValueError",
                  "not aligned to 64 bytes");
    import.dl_tensor.byte_offset = 0;
    assert_int_equal(TVMFFITensorFromDLPack(&import, 64, 1, &tensor), 0);
    assert_int_equal(((TVMFFIObject *)tensor)->type_index, kTVMFFITensor);
    const DLTensor *dl = cell(tensor);
    assert_true(dl->data == data && dl->ndim == 2 && dl->shape[1] == 3);
    assert_int_equal(TVMFFITensorToDLPack(tensor, &export), 0);
    TVMFFIObjectDecRef(tensor);
    assert_int_equal(imports_deleted, 0);
    assert_ptr_equal(export->dl_tensor.data, data);
    export->deleter(export);
    assert_int_equal(imports_deleted, 1);
    assert_int_equal(TVMFFITensorFromDLPack(&import, 0, 0, &tensor), 0); /* however aligned */
    TVMFFIObjectDecRef(tensor);
    expect_raised(TVMFFITensorToDLPack(NULL, &export), "ValueError", "Tensor is NULL");
}

/* Compiled code */

static int made_handles;
static int a_handle;

static int make_handle(void **result) {
    made_handles++;
    *result = &a_handle;
    return 0;
}

static int fail_handle(void **result) {
    (void)result;
    return tvm_raise(TVM_VALUE_ERROR, "no handle");
}

static int make_null(void **result) {
    *result = NULL;
    return 0;
}

static int drop_handle(void *handle) {
    assert_ptr_equal(handle, &a_handle);
    made_handles--;
    return 0;
}

static void *shared_handle;

static void *init_shared(void *argument) {
    for (int i = 0; i < 1000; i++)
        assert_int_equal(TVMFFIHandleInitOnce(&shared_handle, make_handle), 0);
    return argument;
}

static void test_handles(void **state) {
    (void)state;
    pthread_t threads[4];
    made_handles = 0;
    expect_raised(TVMFFIHandleInitOnce(&shared_handle, fail_handle), "ValueError", "no handle");
    expect_raised(TVMFFIHandleInitOnce(&shared_handle, make_null), "ValueError",
                  "the handle that init gave is NULL");
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, init_shared, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(made_handles, 1);
    assert_int_equal(TVMFFIHandleDeinitOnce(&shared_handle, drop_handle), 0);
    assert_int_equal(TVMFFIHandleDeinitOnce(&shared_handle, drop_handle), 0);
    assert_int_equal(made_handles, 0);
    assert_null(shared_handle);
}

static void test_any_list(void **state) {
    (void)state;
    TVMFFIByteArray text = bytes("a long string");
    TVMFFIAny list[2] = {{0}}, args[3] = {{0}};
    TVMFFIStringFromByteArray(&text, &args[1]);
    TVMFFIObject *string = args[1].v_obj;
    assert_int_equal(TVMBackendAnyListMoveFromPackedReturn(list, 1, args, 1), 0);
    assert_true(list[1].v_obj == string && args[1].type_index == kTVMFFINone);
    assert_int_equal((uint32_t)string->combined_ref_count, 1);
    assert_int_equal(TVMBackendAnyListSetPackedArg(list, 1, args, 2), 0); /* a view */
    assert_true(args[2].v_obj == string && (uint32_t)string->combined_ref_count == 1);
    TVMFFIObjectIncRef(string);
    args[0] = any_int(4);
    assert_int_equal(TVMBackendAnyListMoveFromPackedReturn(list, 1, args, 0), 0);
    assert_int_equal(list[1].v_int64, 4);
    assert_int_equal((uint32_t)string->combined_ref_count, 1);
    list[0] = (TVMFFIAny){.type_index = kTVMFFIStr, .v_obj = string};
    assert_int_equal(TVMBackendAnyListResetItem(list, 0), 0);
    assert_int_equal(list[0].type_index, kTVMFFINone);
}

/* A library as TVM 0.26 makes them: prefixed functions, slots, a context; without a blob. */
#define SOURCE                                                                                     \
    "typedef struct { int type; unsigned pad; long value; } Any;"                                  \
    "void *__tvm_ffi__library_ctx;"                                                                \
    "int (*__TVMFFIFunctionCall)(void *, Any *, int, Any *);"                                      \
    "int (*__TVMFFIEnvModLookupFromImports)(void *, const char *, void **);"                       \
    "int (*__TVMFFIHandleInitOnce)(void **, int (*)(void **));"                                    \
    "void (*__TVMFFIErrorSetRaisedFromCStr)(const char *, const char *);"                          \
    "void TVMFFIErrorSetRaisedFromCStrParts(const char *, const char **, int);"                    \
    "static void *handle;"                                                                         \
    "static int init(void **result) { return __TVMFFIEnvModLookupFromImports("                     \
    "    __tvm_ffi__library_ctx, \"test.ffi.outside\", result); }"                                 \
    "int __tvm_ffi_twice(void *self, const Any *args, int count, Any *result) {"                   \
    "    if (count != 1 || args[0].type != 1) {"                                                   \
    "        const char *parts[] = {\"twice\", \": wants\", \" an int\"};"                         \
    "        TVMFFIErrorSetRaisedFromCStrParts(\"TypeError\", parts, 3); return -1; }"             \
    "    result->type = 1; result->pad = 0; result->value = args[0].value * 2; return 0; }"        \
    "int __tvm_ffi_outside(void *self, const Any *args, int count, Any *result) {"                 \
    "    if (__TVMFFIHandleInitOnce(&handle, init)) return -1;"                                    \
    "    return __TVMFFIFunctionCall(handle, (Any *)args, count, result); }"

static TVMFFIObjectHandle get_global(const char *name) {
    TVMFFIByteArray text = bytes(name);
    TVMFFIObjectHandle function;
    assert_int_equal(TVMFFIFunctionGetGlobal(&text, &function), 0);
    assert_non_null(function);
    return function;
}

/* The function of module called name, or NULL. */
static TVMFFIObjectHandle module_function(TVMFFIAny module, const char *name) {
    TVMFFIObjectHandle get = get_global("ffi.ModuleGetFunction");
    TVMFFIAny args[] = {module,
                        {.type_index = kTVMFFIRawStr, .v_c_str = name},
                        {.type_index = kTVMFFIBool, .v_int64 = 1}},
              result;
    assert_int_equal(TVMFFIFunctionCall(get, args, 3, &result), 0);
    TVMFFIObjectDecRef(get);
    return result.type_index == kTVMFFIFunction ? result.v_obj : NULL;
}

static void test_library(void **state) {
    (void)state;
    TVMFFIObjectHandle load = get_global("ffi.ModuleLoadFromFile"), function, outside;
    TVMFFIByteArray name = bytes("test.ffi.outside");
    const char *path = fixture_compile("ffi.so", FIXTURE_LIBRARY, SOURCE);
    TVMFFIAny arg = {.type_index = kTVMFFIRawStr, .v_c_str = path}, module, result;
    assert_int_equal(TVMFFIFunctionCall(load, &arg, 1, &module), 0);
    assert_int_equal(module.type_index, kTVMFFIModule);
    assert_null(module_function(module, "__tvm_ffi_twice"));
    assert_null(module_function(module, "init"));
    function = module_function(module, "twice");
    assert_non_null(function);
    outside = module_function(module, "outside");
    TVMFFIObjectDecRef(module.v_obj); /* its functions keep it */
    arg = any_int(21);
    assert_int_equal(TVMFFIFunctionCall(function, &arg, 1, &result), 0);
    assert_int_equal(result.v_int64, 42);
    expect_raised(TVMFFIFunctionCall(function, &arg, 0, &result), "TypeError",
                  "twice: wants an int");
    expect_raised(TVMFFIFunctionCall(outside, &arg, 1, &result), "NotFoundError",
                  "calls the function test.ffi.outside");
    assert_int_equal(TVMFFIFunctionSetGlobal(&name, function, 0), 0);
    assert_int_equal(TVMFFIFunctionCall(outside, &arg, 1, &result), 0);
    assert_int_equal(result.v_int64, 42);
    assert_int_equal(TVMFuncRemoveGlobal("test.ffi.outside"), 0);
    TVMFFIObjectDecRef(function);
    TVMFFIObjectDecRef(outside);
    TVMFFIObjectDecRef(load);
}

static void test_containers(void **state) {
    (void)state;
    TVMFFIObjectHandle shape = get_global("ffi.Shape"), array = get_global("ffi.Array");
    TVMFFIAny dims[] = {any_int(3), any_int(4)}, made, list;
    assert_int_equal(TVMFFIFunctionCall(shape, dims, 2, &made), 0);
    assert_int_equal(made.type_index, kTVMFFIShape);
    const TVMFFIShapeCell *it = cell(made.v_obj);
    assert_true(it->size == 2 && it->data[1] == 4);
    assert_int_equal(TVMFFIFunctionCall(array, &made, 1, &list), 0);
    const TVMFFISeqCell *items = cell(list.v_obj);
    assert_true(items->size == 1 && items->data[0].v_obj == made.v_obj);
    TVMFFIObjectDecRef(made.v_obj);
    TVMFFIObjectDecRef(list.v_obj);
    TVMFFIObjectDecRef(shape);
    TVMFFIObjectDecRef(array);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_functions), cmocka_unit_test(test_silent_failure),
        cmocka_unit_test(test_errors),    cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_handles),   cmocka_unit_test(test_any_list),
        cmocka_unit_test(test_library),   cmocka_unit_test(test_containers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
