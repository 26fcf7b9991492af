/* Values, arguments, functions, modules. */
#include "base/container.h"
#include "base/module.h"
#include "base/tensor.h"
#include "test/expect.h"

/* tvm-ffi's layouts (tvm/ffi/c_api.h), which compiled code relies on. */
_Static_assert(sizeof(struct tvm_value) == 16, "TVMFFIAny");
_Static_assert(offsetof(struct tvm_value, small_size) == 4, "TVMFFIAny");
_Static_assert(offsetof(struct tvm_value, v_int) == 8, "TVMFFIAny");
_Static_assert(offsetof(struct tvm_string, bytes) == 24, "String");
_Static_assert(offsetof(struct tvm_function, call) == 24, "TVMFFIFunctionCell");
_Static_assert(offsetof(struct tvm_function, cpp_call) == 24 + sizeof(void *),
               "TVMFFIFunctionCell");
_Static_assert(offsetof(struct tvm_tensor, dl) == 24, "TensorObj");

/* Values */

static void test_value_text_sizes(void **state) {
    (void)state;
    static const char text[] = "0123\0006789abcdef";
    for (size_t size = 0; size < sizeof(text); size++) {
        for (int bytes = 0; bytes < 2; bytes++) {
            struct tvm_value value;
            struct tvm_bytes out;
            int64_t live = tvm_object_live_count();
            expect_ok(
                tvm_value_from_text(bytes ? TVM_TYPE_BYTES : TVM_TYPE_STR, text, size, &value));
            bool small = size <= 7;
            int expected = bytes ? (small ? TVM_TYPE_SMALL_BYTES : TVM_TYPE_BYTES)
                                 : (small ? TVM_TYPE_SMALL_STR : TVM_TYPE_STR);
            assert_int_equal(value.type_index, expected);
            assert_int_equal(value.small_size, small ? size : 0);
            assert_int_equal(tvm_object_live_count(), live + !small);
            assert_true(tvm_value_text(&value, &out));
            assert_int_equal(out.size, size);
            assert_memory_equal(out.data, text, size);
            assert_int_equal(out.data[size], 0);
            tvm_value_clear(&value);
            assert_int_equal(value.type_index, TVM_TYPE_NONE);
            assert_int_equal(tvm_object_live_count(), live);
        }
    }
    struct tvm_value empty;
    expect_ok(tvm_value_from_text(TVM_TYPE_STR, NULL, 0, &empty));
    assert_int_equal(empty.v_int, 0);
    expect_error(tvm_value_from_text(TVM_TYPE_STR, text, SIZE_MAX, &empty), TVM_MEMORY_ERROR, "");
}

static void test_value_own(void **state) {
    (void)state;
    char text[] = "a borrowed string";
    struct tvm_bytes bytes = {text, sizeof(text)}, out;
    struct tvm_value owned;
    struct tvm_value view = tvm_raw_string(text);
    expect_ok(tvm_value_own(&view, &owned));
    assert_int_equal(owned.type_index, TVM_TYPE_STR);
    text[0] = 'A';
    assert_true(tvm_value_text(&owned, &out));
    assert_string_equal(out.data, "a borrowed string");
    tvm_value_clear(&owned);

    view = (struct tvm_value){.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &bytes};
    assert_true(tvm_value_text(&view, &out) && out.data == text);
    expect_ok(tvm_value_own(&view, &owned));
    assert_int_equal(owned.type_index, TVM_TYPE_BYTES);
    assert_true(tvm_value_text(&owned, &out));
    assert_int_equal(out.size, sizeof(text));
    assert_memory_equal(out.data, text, sizeof(text));
    assert_ptr_not_equal(out.data, text);

    struct tvm_value second;
    expect_ok(tvm_value_own(&owned, &second));
    assert_ptr_equal(second.v_object, owned.v_object);
    assert_int_equal(tvm_object_use_count(owned.v_object), 2);
    tvm_value_clear(&second);
    tvm_value_clear(&owned);

    DLTensor tensor = {.ndim = 0};
    const struct tvm_value plain[] = {
        tvm_none(),
        tvm_int(INT64_MIN),
        tvm_float(-0.0),
        tvm_opaque(text),
        tvm_device((DLDevice){kDLOpenCL, 7}),
        {.type_index = TVM_TYPE_BOOL, .v_int = 1},
        {.type_index = TVM_TYPE_DTYPE, .v_dtype = {2, 32, 4}},
        {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &tensor},
        {.type_index = TVM_TYPE_SMALL_STR, .small_size = 3, .v_small = "abc"},
    };
    int64_t live = tvm_object_live_count();
    for (size_t i = 0; i < COUNT(plain); i++) {
        expect_ok(tvm_value_own(&plain[i], &owned));
        assert_memory_equal(&owned, &plain[i], sizeof(owned));
        assert_int_equal(tvm_object_live_count(), live);
        tvm_value_clear(&owned);
    }
}

static void test_value_of_no_object(void **state) {
    (void)state;
    struct tvm_value value = tvm_from_object(NULL);
    assert_int_equal(value.type_index, TVM_TYPE_NONE);
    tvm_value_clear(&value);
}

static void test_type_names(void **state) {
    (void)state;
    static const struct {
        int32_t type;
        const char *name;
    } names[] = {
        {TVM_TYPE_NONE, "None"},
        {TVM_TYPE_INT, "int"},
        {TVM_TYPE_BOOL, "bool"},
        {TVM_TYPE_FLOAT, "float"},
        {TVM_TYPE_OPAQUE_PTR, "pointer"},
        {TVM_TYPE_DTYPE, "dtype"},
        {TVM_TYPE_DEVICE, "Device"},
        {TVM_TYPE_DLTENSOR_PTR, "DLTensor*"},
        {TVM_TYPE_RAW_STR, "str"},
        {TVM_TYPE_SMALL_STR, "str"},
        {TVM_TYPE_STR, "str"},
        {TVM_TYPE_BYTES_PTR, "bytes"},
        {TVM_TYPE_SMALL_BYTES, "bytes"},
        {TVM_TYPE_BYTES, "bytes"},
        {TVM_TYPE_ERROR_OBJECT, "Error"},
        {TVM_TYPE_FUNCTION, "Function"},
        {TVM_TYPE_SHAPE, "Shape"},
        {TVM_TYPE_TENSOR, "Tensor"},
        {TVM_TYPE_ARRAY, "Array"},
        {TVM_TYPE_MAP, "Map"},
        {TVM_TYPE_MODULE, "Module"},
        {TVM_TYPE_OBJECT, "object"},
        {128, "object"},
        {-1, "object"},
    };
    for (size_t i = 0; i < COUNT(names); i++)
        assert_string_equal(tvm_type_name(names[i].type), names[i].name);
}

static void test_call_arguments(void **state) {
    (void)state;
    DLTensor borrowed = {.ndim = 0};
    struct tvm_tensor *tensor;
    expect_ok(tvm_tensor_empty(NULL, 0, (DLDataType){2, 32, 1}, (DLDevice){kDLCPU, 0}, &tensor));
    const struct tvm_value args[] = {
        tvm_int(-5),
        {.type_index = TVM_TYPE_BOOL, .v_int = 1},
        tvm_float(2.5),
        tvm_raw_string("text"),
        tvm_from_object(tensor),
        {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &borrowed},
        {.type_index = TVM_TYPE_DLTENSOR_PTR},
        tvm_none(),
    };
    enum { INT, BOOL, FLOAT, TEXT, TENSOR, BORROWED, NO_TENSOR, NONE, MISSING };
    const struct tvm_call call = {"f", args, COUNT(args)};
    int64_t integer;
    double number;
    struct tvm_bytes text;
    const DLTensor *found;
    struct tvm_tensor *object;

    expect_ok(tvm_call_int(&call, INT, "n", &integer));
    assert_int_equal(integer, -5);
    expect_ok(tvm_call_int(&call, BOOL, "n", &integer));
    assert_int_equal(integer, 1);
    expect_error(tvm_call_int(&call, FLOAT, "n", &integer), TVM_TYPE_ERROR,
                 "f: argument 2 (n): expected int, got float");
    expect_error(tvm_call_int(&call, MISSING, "n", &integer), TVM_VALUE_ERROR,
                 "f: argument 8 (n) is missing: got 8");

    expect_ok(tvm_call_float(&call, FLOAT, "x", &number));
    assert_true(number == 2.5);
    expect_ok(tvm_call_float(&call, INT, "x", &number));
    assert_true(number == -5);
    expect_ok(tvm_call_float(&call, BOOL, "x", &number));
    assert_true(number == 1);
    expect_error(tvm_call_float(&call, TEXT, "x", &number), TVM_TYPE_ERROR,
                 "expected float, got str");
    expect_error(tvm_call_float(&call, MISSING, "x", &number), TVM_VALUE_ERROR, "missing");

    expect_ok(tvm_call_text(&call, TEXT, "name", &text));
    assert_string_equal(text.data, "text");
    expect_error(tvm_call_text(&call, NONE, "name", &text), TVM_TYPE_ERROR,
                 "expected str or bytes, got None");
    expect_error(tvm_call_text(&call, MISSING, "name", &text), TVM_VALUE_ERROR, "missing");

    expect_ok(tvm_call_tensor(&call, TENSOR, "x", &found));
    assert_ptr_equal(found, &tensor->dl);
    expect_ok(tvm_call_tensor(&call, BORROWED, "x", &found));
    assert_ptr_equal(found, &borrowed);
    expect_error(tvm_call_tensor(&call, NO_TENSOR, "x", &found), TVM_TYPE_ERROR, "expected Tensor");
    expect_error(tvm_call_tensor(&call, INT, "x", &found), TVM_TYPE_ERROR,
                 "expected Tensor, got int");
    expect_error(tvm_call_tensor(&call, MISSING, "x", &found), TVM_VALUE_ERROR, "missing");

    expect_ok(tvm_call_object(&call, TENSOR, "x", TVM_TYPE_TENSOR, &object));
    assert_ptr_equal(object, tensor);
    expect_error(tvm_call_object(&call, TENSOR, "x", TVM_TYPE_MODULE, &object), TVM_TYPE_ERROR,
                 "expected Module, got Tensor");
    expect_error(tvm_call_object(&call, MISSING, "x", TVM_TYPE_MODULE, &object), TVM_VALUE_ERROR,
                 "missing");

    expect_ok(tvm_call_check_count(&call, 8, 8));
    expect_ok(tvm_call_check_count(&call, 0, 9));
    expect_error(tvm_call_check_count(&call, 1, 1), TVM_VALUE_ERROR,
                 "f: expected 1 argument, got 8");
    expect_error(tvm_call_check_count(&call, 9, 9), TVM_VALUE_ERROR,
                 "f: expected 9 arguments, got 8");
    expect_error(tvm_call_check_count(&call, 1, 2), TVM_VALUE_ERROR,
                 "f: expected 1 to 2 arguments, got 8");
    tvm_object_release(&tensor->object);
}

/* Containers */

static void test_containers(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_array *array;
    struct tvm_map *map;
    const size_t most = SIZE_MAX / sizeof(struct tvm_value);
    expect_error(tvm_array_new(most, &array), TVM_MEMORY_ERROR, "");
    expect_error(tvm_array_new(most + 2, &array), TVM_MEMORY_ERROR, "");
    expect_ok(tvm_map_new(2, &map));
    expect_ok(tvm_map_set(map, (struct tvm_bytes){"ab", 2}, tvm_int(1)));
    assert_null(tvm_map_find(map, (struct tvm_bytes){"a", 1}));
    for (int i = 0; i < 2; i++) { /* the second value in place of the first */
        expect_ok(tvm_array_new(0, &array));
        expect_ok(tvm_map_set(map, (struct tvm_bytes){"a", 1}, tvm_from_object(array)));
    }
    assert_int_equal(map->size, 2);
    assert_ptr_equal(tvm_map_find(map, (struct tvm_bytes){"a", 1})->v_object, array);
    assert_int_equal(tvm_object_live_count(), live + 2);
    tvm_object_release(&map->object);
    assert_int_equal(tvm_object_live_count(), live);
}

/* Functions */

static int add_all(void *self, const struct tvm_value *args, int32_t count,
                   struct tvm_value *result) {
    int64_t sum = *(int64_t *)((struct tvm_function *)self)->resource;
    struct tvm_call call = {"add_all", args, count};
    for (int32_t i = 0; i < count; i++) {
        int64_t value;
        if (tvm_call_int(&call, i, "number", &value))
            return -1;
        sum += value;
    }
    if (count)
        *result = tvm_int(sum);
    return 0;
}

static _Atomic int finalized;

static void count_finalized(void *resource) {
    (void)resource;
    finalized++;
}

static void test_function(void **state) {
    (void)state;
    int64_t base = 100;
    struct tvm_function *function;
    finalized = 0;
    expect_ok(tvm_function_new(add_all, &base, count_finalized, &function));
    assert_int_equal(function->object.type_index, TVM_TYPE_FUNCTION);
    assert_null(function->cpp_call);
    const struct tvm_value args[] = {tvm_int(1), tvm_int(2), tvm_float(3)};
    struct tvm_value result = tvm_float(1); /* what was there is not looked at */
    expect_ok(tvm_function_call(function, args, 2, &result));
    assert_int_equal(result.type_index, TVM_TYPE_INT);
    assert_int_equal(result.v_int, 103);
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_NONE);
    expect_error(tvm_function_call(function, args, 3, &result), TVM_TYPE_ERROR, "argument 2");
    assert_int_equal(result.type_index, TVM_TYPE_NONE);
    tvm_object_retain(&function->object);
    tvm_object_release(&function->object);
    assert_int_equal(finalized, 0);
    tvm_object_release(&function->object);
    assert_int_equal(finalized, 1);
}

/* Modules */

static int module_destroyed[3];

struct numbered {
    struct tvm_module module;
    int number;
};

static int numbered_number(struct tvm_module *self, const struct tvm_call *call,
                           struct tvm_value *result) {
    if (tvm_call_check_count(call, 0, 0))
        return -1;
    *result = tvm_int(((struct numbered *)self)->number);
    return 0;
}

static int numbered_fail(struct tvm_module *self, const struct tvm_call *call,
                         struct tvm_value *result) {
    (void)self, (void)result;
    return tvm_raise(TVM_RUNTIME_ERROR, "%s failed", call->name);
}

static const struct tvm_module_method numbered_methods[] = {
    {"number", numbered_number}, {"fail", numbered_fail}, {NULL, NULL}};

static int numbered_get(struct tvm_module *self, const char *name, struct tvm_function **out) {
    int number = ((struct numbered *)self)->number;
    if (strcmp(name, "broken") == 0 && number == 2)
        return tvm_raise(TVM_RUNTIME_ERROR, "module 2 is broken");
    if (strcmp(name, "number") == 0 && number == 0)
        return 0; /* *out is NULL already */
    return tvm_module_get_method(self, numbered_methods, name, out);
}

static void numbered_destroy(struct tvm_module *self) {
    module_destroyed[((struct numbered *)self)->number]++;
}

static const struct tvm_module_kind numbered_kind = {
    .key = "numbered", .get_function = numbered_get, .destroy = numbered_destroy};

static struct tvm_module *numbered_new(int number) {
    struct numbered *numbered = tvm_module_alloc(sizeof(*numbered), &numbered_kind);
    assert_non_null(numbered);
    numbered->number = number;
    return &numbered->module;
}

static void test_module_functions(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    memset(module_destroyed, 0, sizeof(module_destroyed));
    struct tvm_module *modules[3];
    for (int i = 0; i < 3; i++)
        modules[i] = numbered_new(i);
    expect_ok(tvm_module_import(modules[0], modules[1]));
    expect_ok(tvm_module_import(modules[0], modules[2]));
    tvm_object_release(&modules[1]->object);
    tvm_object_release(&modules[2]->object);

    struct tvm_function *function;
    struct tvm_value result;
    expect_ok(tvm_module_get_function(modules[0], "number", false, &function));
    assert_null(function);
    expect_ok(tvm_module_get_function(modules[0], "absent", true, &function));
    assert_null(function);
    expect_error(tvm_module_get_function(modules[0], "broken", true, &function), TVM_RUNTIME_ERROR,
                 "module 2 is broken");
    expect_ok(tvm_module_get_function(modules[0], "fail", false, &function));
    expect_error(tvm_function_call(function, NULL, 0, &result), TVM_RUNTIME_ERROR, "fail failed");
    tvm_object_release(&function->object);
    expect_ok(tvm_module_get_function(modules[0], "number", true, &function));
    tvm_object_release(&modules[0]->object);
    assert_int_equal(module_destroyed[0], 1);
    assert_int_equal(module_destroyed[1], 0); /* kept by its function */
    assert_int_equal(module_destroyed[2], 1);
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    assert_int_equal(result.v_int, 1);
    tvm_object_release(&function->object);
    assert_int_equal(module_destroyed[1], 1);
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_module_cycles(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_module *modules[3];
    for (int i = 0; i < 3; i++)
        modules[i] = numbered_new(i);
    expect_error(tvm_module_import(modules[0], modules[0]), TVM_VALUE_ERROR, "import itself");
    expect_ok(tvm_module_import(modules[0], modules[1]));
    expect_ok(tvm_module_import(modules[1], modules[2]));
    expect_ok(tvm_module_import(modules[0], modules[2])); /* a diamond is none */
    expect_error(tvm_module_import(modules[2], modules[0]), TVM_VALUE_ERROR, "import itself");
    for (int i = 0; i < 3; i++)
        tvm_object_release(&modules[i]->object);
    assert_int_equal(tvm_object_live_count(), live);
}

/* A ladder of 200 steps has 2^200 ways down; each module is asked once. */
static void test_module_branches(void **state) {
    enum { STEPS = 200, MOST = 1024 };
    struct tvm_module *top = numbered_new(0), *bottom = top;
    struct tvm_function *function;
    (void)state;
    int64_t live = tvm_object_live_count() - 1;
    for (int i = 0; i < STEPS; i++) {
        struct tvm_module *sides[2] = {numbered_new(0), numbered_new(0)}, *next = numbered_new(0);
        for (int k = 0; k < 2; k++) {
            expect_ok(tvm_module_import(bottom, sides[k]));
            expect_ok(tvm_module_import(sides[k], next));
            tvm_object_release(&sides[k]->object);
        }
        tvm_object_release(&next->object); /* its sides keep it */
        bottom = next;
    }
    expect_ok(tvm_module_get_function(top, "absent", true, &function));
    assert_null(function);
    expect_error(tvm_module_import(bottom, top), TVM_VALUE_ERROR, "import itself");
    tvm_object_release(&top->object);
    assert_int_equal(tvm_object_live_count(), live);

    top = bottom = numbered_new(0);
    for (int i = 1; i <= MOST; i++) { /* one more than can be asked */
        struct tvm_module *next = numbered_new(0);
        expect_ok(tvm_module_get_function(top, "absent", true, &function));
        expect_ok(tvm_module_import(bottom, next));
        tvm_object_release(&next->object);
        bottom = next;
    }
    expect_error(tvm_module_get_function(top, "absent", true, &function), TVM_VALUE_ERROR,
                 "those it imports are more than 1024");
    tvm_object_release(&top->object);
    assert_int_equal(tvm_object_live_count(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_text_sizes),   cmocka_unit_test(test_value_own),
        cmocka_unit_test(test_value_of_no_object), cmocka_unit_test(test_type_names),
        cmocka_unit_test(test_call_arguments),     cmocka_unit_test(test_containers),
        cmocka_unit_test(test_function),           cmocka_unit_test(test_module_functions),
        cmocka_unit_test(test_module_cycles),      cmocka_unit_test(test_module_branches),
    };
    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}
