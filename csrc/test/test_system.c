/* The table of what is linked into the program, filled by hand and by a constructor. Real models
 * are in gotvm/linked_test.go. */
#include "base/os.h"
#include "include/tvm_ffi_runtime.h"
#include "module/symbols.h"
#include "module/system_library.h"
#include "test/blob_fixture.h"
#include "test/expect.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Functions as compilers make them. */

static int plus(TVMValue *args, int *codes, int count, TVMValue *result, int *result_code,
                void *resource) {
    (void)codes, (void)count, (void)resource;
    result->v_int64 = args[0].v_int64 + args[1].v_int64;
    *result_code = kTVMArgInt;
    return 0;
}

static int minus(TVMValue *args, int *codes, int count, TVMValue *result, int *result_code,
                 void *resource) {
    (void)codes, (void)count, (void)resource;
    result->v_int64 = args[0].v_int64 - args[1].v_int64;
    *result_code = kTVMArgInt;
    return 0;
}

static int times(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) {
    (void)self, (void)count;
    *result = (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = args[0].v_int64 * args[1].v_int64};
    return 0;
}

/* Registers prefix and name together. */
static int put(const char *prefix, const char *name, void *address) {
    char text[128];
    snprintf(text, sizeof(text), "%s%s", prefix, name);
    return TVMBackendRegisterSystemLibSymbol(text, address);
}

/* No modules. */
static const uint64_t empty_blob[] = {8, 0};

static int early_status = -1;

__attribute__((constructor)) static void register_early(void) {
    early_status = put("early_", "plus", (void *)plus) |
                   put("early_", TVM_SYMBOL_BLOB, (void *)(uintptr_t)empty_blob);
}

static struct tvm_module *open_prefix(const char *prefix) {
    struct tvm_module *module = NULL;
    expect_ok(tvm_system_library(prefix, &module));
    return module;
}

static struct tvm_function *get(struct tvm_module *module, const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_module_get_function(module, name, true, &function));
    return function;
}

/* What a function of the module makes of 7 and 5. */
static int64_t compute(struct tvm_module *module, const char *name) {
    struct tvm_function *function = get(module, name);
    struct tvm_value args[] = {tvm_int(7), tvm_int(5)}, result = tvm_none();
    assert_non_null(function);
    expect_ok(tvm_function_call(function, args, 2, &result));
    tvm_object_release(&function->object);
    assert_int_equal(result.type_index, TVM_TYPE_INT);
    return result.v_int;
}

static void test_constructor(void **state) {
    (void)state;
    assert_int_equal(early_status, 0);
    struct tvm_module *module = open_prefix("early_");
    assert_int_equal(compute(module, "plus"), 12);
    tvm_object_release(&module->object);
}

static void test_functions(void **state) {
    (void)state;
    expect_ok(put("f_", "plus", (void *)plus));
    expect_ok(put("", "test_minus", (void *)minus));
    expect_ok(TVMFFIEnvModRegisterSystemLibSymbol("__tvm_ffi_f_times", (void *)times));
    struct tvm_module *module = open_prefix("f_");
    assert_string_equal(module->kind->key, "library");
    assert_int_equal(compute(module, "plus"), 12);
    assert_int_equal(compute(module, "f_plus"), 12);
    assert_int_equal(compute(module, "times"), 35);
    assert_int_equal(compute(module, "f_times"), 35);
    assert_int_equal(compute(module, "test_minus"), 2); /* as TVM finds it, too */
    assert_null(get(module, "plu"));
    assert_null(get(module, "plus_"));
    assert_null(get(module, ""));
    expect_ok(put("f_", "minus", (void *)minus)); /* later */
    assert_int_equal(compute(module, "minus"), 2);
    tvm_object_release(&module->object);
}

static void test_one_module(void **state) {
    (void)state;
    struct tvm_module *first = open_prefix("early_"), *second = open_prefix("early_");
    struct tvm_function *function = get(first, "plus");
    assert_ptr_equal(first, second);
    tvm_object_release(&first->object);
    tvm_object_release(&second->object);
    tvm_object_release(&function->object);
    second = open_prefix("early_"); /* it lives on */
    assert_ptr_equal(first, second);
    tvm_object_release(&second->object);
}

/* Variables, and where a function's context leads. */
static void test_context(void **state) {
    static void *call_slot, *ffi_slot, *context, *ffi_context, *other_context;
    (void)state;
    expect_ok(put("c_", "__TVMFuncCall", &call_slot));
    expect_ok(put("c_", "__TVMFFIFunctionCall", &ffi_slot));
    expect_ok(put("c_", TVM_SYMBOL_CONTEXT, &context));
    expect_ok(put("c_", TVM_SYMBOL_FFI_CONTEXT, &ffi_context));
    expect_ok(put("c_", "plus", (void *)plus));
    struct tvm_module *module = open_prefix("c_");
    assert_ptr_equal(call_slot, TVMFuncCall);
    assert_ptr_equal(ffi_slot, TVMFFIFunctionCall);
    assert_non_null(context);
    assert_ptr_equal(context, ffi_context);
    expect_ok(put("", TVM_SYMBOL_FFI_CONTEXT, &other_context)); /* of one without a prefix */
    static const char *const data[] = {"__TVMFuncCall", TVM_SYMBOL_CONTEXT, TVM_SYMBOL_FFI_CONTEXT,
                                       "_library_ctx", ("c_" TVM_SYMBOL_CONTEXT)};
    for (size_t i = 0; i < sizeof(data) / sizeof(*data); i++)
        assert_null(get(module, data[i]));

    TVMFunctionHandle function;
    assert_int_equal(TVMBackendGetFuncFromEnv(context, "runtime.SystemLib", &function), 0);
    expect_error(TVMBackendGetFuncFromEnv(context, "plus", &function), TVM_NOT_FOUND_ERROR,
                 "c_: calls the function plus"); /* not its own */
    tvm_object_release(&module->object);
}

/* A module without content, which imports the library. */
static void test_blob(void **state) {
    static const uint64_t rows[] = {0, 1, 1}, edge = 1;
    (void)state;
    blob_begin(3);
    blob_put_text("metadata_module");
    blob_put_text("_lib");
    blob_put_tree(rows, 3, &edge, 1);
    blob_end(0);
    expect_ok(put("b_", TVM_SYMBOL_BLOB, blob));
    expect_ok(put("b_", "plus", (void *)plus));
    expect_ok(tvm_system_check_model("b_"));
    struct tvm_module *module = open_prefix("b_");
    assert_string_equal(module->kind->key, "metadata_module");
    assert_int_equal(module->import_count, 1);
    assert_string_equal(module->imports[0]->kind->key, "library");
    assert_int_equal(compute(module, "plus"), 12);
    tvm_object_release(&module->object);
}

static void test_damaged_blobs(void **state) {
    static const uint64_t huge[] = {UINT64_MAX, 0}, long_one[] = {1 << 30, 0}, short_one[] = {4, 0};
    static const uint64_t wide[] = {(UINT64_C(1) << 32) + 8, 0}; /* 8 in 32 bits */
    static const uint64_t unknown[] = {8 + 8 + 8, 1, 8, 0x3132333435363738};
    uint64_t *heap = calloc(2, sizeof(*heap));
    struct tvm_module *module;
    (void)state;
    assert_non_null(heap);
    heap[0] = 8;
    const struct {
        const char *prefix, *kind, *text;
        const uint64_t *blob;
    } cases[] = {
        {"huge_", TVM_FORMAT_ERROR, "which the program does not hold", huge},
        {"wide_", TVM_FORMAT_ERROR, "which the program does not hold", wide},
        {"long_", TVM_FORMAT_ERROR, "which the program does not hold", long_one},
        {"heap_", TVM_FORMAT_ERROR, "which the program does not hold", heap},
        {"short_", TVM_FORMAT_ERROR, TVM_SYMBOL_BLOB, short_one},
        {"unknown_", TVM_UNSUPPORTED_ERROR, "\"87654321\"", unknown},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        expect_ok(put(cases[i].prefix, TVM_SYMBOL_BLOB, (void *)(uintptr_t)cases[i].blob));
        for (int k = 0; k < 2; k++)
            expect_error(tvm_system_library(cases[i].prefix, &module), cases[i].kind,
                         cases[i].text);
    }
    free(heap);
}

static void test_twice(void **state) {
    struct tvm_module *module;
    struct tvm_function *function;
    (void)state;
    expect_ok(put("t_", "plus", (void *)plus));
    expect_ok(put("t_", "plus", (void *)plus)); /* no clash */
    expect_ok(put("t_", TVM_SYMBOL_BLOB, (void *)(uintptr_t)empty_blob));
    module = open_prefix("t_");
    expect_error(put("t_", "plus", (void *)minus), TVM_VALUE_ERROR, "t_plus is registered twice");
    expect_error(tvm_module_get_function(module, "plus", true, &function), TVM_VALUE_ERROR,
                 "two models that are linked into the program have the same prefix");
    tvm_object_release(&module->object);

    static void *contexts[2];
    expect_ok(put("u_", TVM_SYMBOL_CONTEXT, &contexts[0]));
    expect_error(put("u_", TVM_SYMBOL_CONTEXT, &contexts[1]), TVM_VALUE_ERROR, "registered twice");
    expect_error(tvm_system_library("u_", &module), TVM_VALUE_ERROR, "registered twice");
    expect_error(tvm_system_check_model("u_"), TVM_VALUE_ERROR, "registered twice");
    assert_null(contexts[0]);
}

static void test_not_found(void **state) {
    struct tvm_module *module;
    (void)state;
    expect_error(tvm_system_library("nobody_", &module), TVM_NOT_FOUND_ERROR,
                 "no model with the prefix \"nobody_\" is linked into this program");
    expect_error(tvm_system_library("nobody_", &module), TVM_NOT_FOUND_ERROR, "\"early_\"");
    assert_int_equal(tvm_system_library("nobody_", &module), -1);
    struct tvm_error *error = tvm_error_take();
    const char *first = strstr(error->message.data, "\"c_\""); /* which has two contexts */
    assert_non_null(first);
    assert_null(strstr(first + 1, "\"c_\""));
    tvm_object_release(&error->object);
    expect_ok(put("only_", "plus", (void *)plus)); /* a function is no model */
    module = open_prefix("only_");
    tvm_object_release(&module->object);
    expect_error(tvm_system_check_model("only_"), TVM_NOT_FOUND_ERROR, "\"early_\"");
    expect_error(TVMBackendRegisterSystemLibSymbol(NULL, &module), TVM_VALUE_ERROR, "a name");
    expect_error(TVMFFIEnvModRegisterSystemLibSymbol("x", NULL), TVM_VALUE_ERROR,
                 "x without an address");
}

static void test_global_functions(void **state) {
    static const char *const names[] = {"runtime.SystemLib", "module._GetSystemLib",
                                        "ffi.SystemLib"};
    struct tvm_module *expected = open_prefix("early_");
    struct tvm_bytes longer = {"early_\0x", 8};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct tvm_function *function;
        struct tvm_value prefix = tvm_raw_string("early_"), number = tvm_int(3);
        struct tvm_value two[] = {prefix, prefix}, result = tvm_none();
        expect_ok(tvm_registry_get(names[i], &function));
        expect_ok(tvm_function_call(function, &prefix, 1, &result));
        assert_ptr_equal(result.v_object, expected);
        tvm_value_clear(&result);
        expect_ok(tvm_function_call(function, NULL, 0, &result));
        assert_int_equal(compute((struct tvm_module *)result.v_object, "early_plus"), 12);
        tvm_value_clear(&result);
        expect_error(tvm_function_call(function, &number, 1, &result), TVM_TYPE_ERROR, "prefix");
        expect_error(tvm_function_call(function, two, 2, &result), TVM_VALUE_ERROR, "got 2");
        prefix = (struct tvm_value){.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &longer};
        expect_error(tvm_function_call(function, &prefix, 1, &result), TVM_VALUE_ERROR,
                     "argument 0 (prefix) holds a NUL byte");
        tvm_object_release(&function->object);
    }
    tvm_object_release(&expected->object);
}

/* More prefixes than a message has room for. */
static void test_many_prefixes(void **state) {
    struct tvm_module *module;
    char prefix[101] = "";
    (void)state;
    memset(prefix, 'p', 100);
    for (char first = 'a'; first < 'g'; first++) {
        prefix[0] = first;
        expect_ok(put(prefix, TVM_SYMBOL_BLOB, (void *)(uintptr_t)empty_blob));
    }
    assert_int_equal(tvm_system_library("nobody_", &module), -1);
    struct tvm_error *error = tvm_error_take();
    const char *list = strstr(error->message.data, "models with the prefix ");
    assert_non_null(list);
    assert_int_equal(strlen(list + strlen("models with the prefix ")), 511);
    tvm_object_release(&error->object);
}

/* Threads that register, open and look up at the same time. */
enum { THREADS = 4, ROUNDS = 200 };
static struct tvm_module *opened[THREADS];

static void *work(void *argument) {
    size_t self = (size_t)(uintptr_t)argument;
    char name[64];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof(name), "threads_%zu_%d", self, i);
        if (put("", name, (void *)plus) || tvm_system_library("threads_", &opened[self]))
            return "failed";
        struct tvm_function *function = NULL;
        if (tvm_module_get_function(opened[self], name, true, &function) || !function)
            return "failed";
        tvm_object_release(&function->object);
        tvm_object_release(&opened[self]->object);
    }
    return NULL;
}

static void test_threads(void **state) {
    pthread_t threads[THREADS];
    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
        assert_ptr_equal(opened[i], opened[0]);
    }
}

/* What of it lies in one segment of a file that the process has mapped. */
static void test_image_data(void **state) {
    (void)state;
    static char zeros[1 << 20]; /* not much is behind it */
    char local = 0, *allocated = malloc(1);
    assert_true(tvm_os_is_image_data(zeros, sizeof(zeros)));
    assert_false(tvm_os_is_image_data(zeros + sizeof(zeros) - 1, sizeof(zeros)));
    assert_false(tvm_os_is_image_data(zeros, SIZE_MAX));
    assert_false(tvm_os_is_image_data(&local, 1));
    assert_false(tvm_os_is_image_data(allocated, 1));
    free(allocated);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constructor),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_one_module),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_blob),
        cmocka_unit_test(test_damaged_blobs),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_global_functions),
        cmocka_unit_test(test_many_prefixes),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_image_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
