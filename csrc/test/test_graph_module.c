/* TVM's graph executor module: its functions by name, over C functions and over all models of the
 * zoo. */
#include "base/container.h"
#include "test/graph_fixture.h"
#include "test/module_call.h"
#include "test/zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For functions without a result, or whose result is of no interest. */
#define DO(module, name, ...)                                                                      \
    do {                                                                                           \
        struct tvm_value ignored;                                                                  \
        expect_ok(MODULE_CALL(module, name, &ignored, __VA_ARGS__));                               \
        tvm_value_clear(&ignored);                                                                 \
    } while (0)
#define EXPECT(kind, text, module, name, ...)                                                      \
    do {                                                                                           \
        struct tvm_value ignored;                                                                  \
        expect_error(MODULE_CALL(module, name, &ignored, __VA_ARGS__), kind, text);                \
    } while (0)

#define TEXT(value) tvm_raw_string(value)
#define INT(value) tvm_int(value)
#define TENSOR(value) tvm_from_object(value)
#define POINTER(value) ((struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = (value)})

static int create(struct tvm_value *args, int count, struct tvm_module **out) {
    struct tvm_value result = tvm_none();
    if (global_call("tvm.graph_executor.create", args, count, &result))
        return -1;
    assert_int_equal(result.type_index, TVM_TYPE_MODULE);
    *out = (struct tvm_module *)result.v_object;
    return 0;
}

static struct tvm_module *executor(const char *graph) {
    struct tvm_module *library = fixture_library(true), *module = NULL;
    char *json = fixture_json(graph, NULL, NULL);
    struct tvm_value args[] = {TEXT(json), tvm_from_object(library), INT(1), INT(0)};
    expect_ok(create(args, 4, &module));
    free(json);
    fixture_release(library);
    return module;
}

static void expect_values(const struct tvm_value *value, const float *expected, size_t count) {
    assert_int_equal(value->type_index, TVM_TYPE_TENSOR);
    const DLTensor *tensor = &((struct tvm_tensor *)value->v_object)->dl;
    for (size_t i = 0; i < count; i++)
        assert_float_equal(((float *)tensor->data)[i], expected[i], 0);
}

static void expect_output(struct tvm_module *module, const float *expected) {
    struct tvm_value result;
    expect_ok(MODULE_CALL(module, "get_output", &result, INT(0)));
    expect_values(&result, expected, 6);
    tvm_value_clear(&result);
}

static const int64_t two_by_three[] = {2, 3};

static void test_create(void **state) {
    (void)state;
    struct tvm_module *library = fixture_library(true), *module;
    struct tvm_function *lookup;
    char *json = fixture_json(fixture_graph, NULL, NULL);
    struct tvm_bytes bytes = {json, strlen(json)};
    struct tvm_value text = TEXT(json), lib = tvm_from_object(library);
    struct tvm_value blob = {.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &bytes};
    expect_ok(tvm_module_get_function(library, "fail", false, &lookup));
    expect_ok(create((struct tvm_value[]){blob, lib, INT(1), INT(0)}, 4, &module));
    struct tvm_function *none;
    expect_ok(tvm_module_get_function(module, "no such function", false, &none));
    assert_null(none);
    assert_string_equal(module->kind->key, "GraphExecutor");
    fixture_release(module);
    expect_ok(create((struct tvm_value[]){text, lib, INT(1), INT(0), INT(1), INT(3)}, 6, &module));
    fixture_release(module);
    expect_ok(create((struct tvm_value[]){text, lib, tvm_none(), INT(1), INT(0)}, 5, &module));
    fixture_release(module);
    /* The lookup function is asked: this one fails. */
    expect_error(create((struct tvm_value[]){text, lib, tvm_from_object(lookup), INT(1), INT(0)}, 5,
                        &module),
                 TVM_TYPE_ERROR, "tvm.graph_executor.create: graph: linked parameter x: ");
    static const struct {
        int count, bad;
        struct tvm_value value;
        const char *kind, *message;
    } faults[] = {
        {3, -1, {0}, TVM_VALUE_ERROR, "expected 4 to 35 arguments, got 3"},
        {5, -1, {0}, TVM_VALUE_ERROR, "expected pairs of device type and id"},
        {4, 0, {.type_index = TVM_TYPE_INT}, TVM_TYPE_ERROR, "argument 0 (graph JSON)"},
        {4,
         1,
         {.type_index = TVM_TYPE_NONE},
         TVM_TYPE_ERROR,
         "argument 1 (library): expected Module"},
        {4, 2, {.type_index = TVM_TYPE_FLOAT}, TVM_TYPE_ERROR, "argument 2 (device type)"},
        {4,
         2,
         {.type_index = TVM_TYPE_INT, .v_int = -1},
         TVM_VALUE_ERROR,
         "no device has type -1 and id 0"},
        {4, 2, {.type_index = TVM_TYPE_INT, .v_int = 99}, TVM_TYPE_ERROR, "device type 99"},
        {4,
         3,
         {.type_index = TVM_TYPE_INT, .v_int = INT64_MAX},
         TVM_VALUE_ERROR,
         "id 9223372036854775807"},
        {4,
         3,
         {.type_index = TVM_TYPE_INT, .v_int = -1},
         TVM_VALUE_ERROR,
         "no device has type 1 and id -1"},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct tvm_value args[] = {text, lib, INT(1), INT(0), INT(1)};
        if (faults[i].bad >= 0)
            args[faults[i].bad] = faults[i].value;
        expect_error(create(args, faults[i].count, &module), faults[i].kind, faults[i].message);
    }
    fixture_release(lookup);
    fixture_release(library);
    free(json);
}

static void test_inputs(void **state) {
    (void)state;
    struct tvm_module *module = executor(fixture_graph);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1);
    struct tvm_value result;
    DO(module, "set_input", TEXT("x"), TENSOR(x));
    DO(module, "set_input", INT(1), POINTER(&x->dl));
    module_call(module, "run", NULL, 0, &result);
    expect_output(module, (float[]){4, 8, 12, 16, 20, 24});
    expect_ok(MODULE_CALL(module, "get_input", &result, TEXT("x")));
    expect_values(&result, (float[]){1, 2, 3, 4, 5, 6}, 6);
    tvm_value_clear(&result);
    expect_ok(
        MODULE_CALL(module, "get_input", &result, INT(0), INT(7))); /* the second means nothing */
    assert_int_equal(result.type_index, TVM_TYPE_TENSOR);
    tvm_value_clear(&result);
    expect_ok(MODULE_CALL(module, "get_input", &result, TEXT("y")));
    assert_int_equal(result.type_index, TVM_TYPE_NONE);
    expect_ok(MODULE_CALL(module, "get_input_index", &result, TEXT("w")));
    assert_int_equal(result.v_int, 1);
    expect_ok(MODULE_CALL(module, "get_input_index", &result, TEXT("nothing")));
    assert_int_equal(result.v_int, -1);
    expect_ok(module_call(module, "get_num_inputs", NULL, 0, &result));
    assert_int_equal(result.v_int, 2);
    expect_ok(module_call(module, "get_num_outputs", NULL, 0, &result));
    assert_int_equal(result.v_int, 1);
    EXPECT(TVM_NOT_FOUND_ERROR, "set_input: the graph has no input called y; it has: x, w", module,
           "set_input", TEXT("y"), TENSOR(x));
    EXPECT(TVM_TYPE_ERROR, "set_input: argument 1 (value): expected Tensor, got None", module,
           "set_input", TEXT("x"), tvm_none());
    EXPECT(TVM_TYPE_ERROR, "argument 1 (value)", module, "set_input", TEXT("x"), POINTER(NULL));
    EXPECT(TVM_VALUE_ERROR, "expected 2 arguments, got 1", module, "set_input", TEXT("x"));
    EXPECT(TVM_INDEX_ERROR, "set_input: input 2 is out of range", module, "set_input", INT(2),
           TENSOR(x));
    EXPECT(TVM_INDEX_ERROR, "input -1 is out of range", module, "set_input", INT(-1), TENSOR(x));
    EXPECT(TVM_TYPE_ERROR, "argument 0 (input): expected int", module, "set_input", tvm_float(1),
           TENSOR(x));
    EXPECT(TVM_INDEX_ERROR, "get_input: input 5", module, "get_input", INT(5));
    EXPECT(TVM_INDEX_ERROR, "input -3", module, "get_input", INT(-3));
    EXPECT(TVM_TYPE_ERROR, "argument 0 (name)", module, "get_input_index", INT(0));
    EXPECT(TVM_VALUE_ERROR, "expected 0 arguments", module, "run", INT(0));
    fixture_release(x);
    fixture_release(module);
}

static void test_outputs(void **state) {
    (void)state;
    struct tvm_module *module = executor(fixture_graph);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1), *out = fixture_vector(6, 0);
    struct tvm_value result;
    DO(module, "set_input_zero_copy", TEXT("x"), TENSOR(x));
    DO(module, "set_input_zero_copy", INT(1), POINTER(&x->dl));
    DO(module, "set_output_zero_copy", TEXT("double:0"), TENSOR(out));
    expect_ok(module_call(module, "run", NULL, 0, &result));
    assert_float_equal(((float *)out->dl.data)[5], 24, 0);
    ((float *)x->dl.data)[5] = 100;
    expect_ok(module_call(module, "run", NULL, 0, &result));
    assert_float_equal(((float *)out->dl.data)[5], 400, 0);
    DO(module, "set_output_zero_copy", INT(0), POINTER(&out->dl));
    struct tvm_tensor *copy = fixture_vector(6, 0);
    DO(module, "get_output", INT(0), TENSOR(copy));
    assert_float_equal(((float *)copy->dl.data)[5], 400, 0);
    expect_ok(MODULE_CALL(module, "get_output", &result, TEXT("double")));
    expect_values(&result, (float[]){4, 8, 12, 16, 20, 400}, 6);
    tvm_value_clear(&result);
    EXPECT(TVM_NOT_FOUND_ERROR, "get_output: the graph has no output called sum; it has: double",
           module, "get_output", TEXT("sum"));
    EXPECT(TVM_INDEX_ERROR, "get_output: output 1 is out of range: the graph has 1", module,
           "get_output", INT(1));
    EXPECT(TVM_INDEX_ERROR, "output -1", module, "get_output", INT(-1));
    EXPECT(TVM_INDEX_ERROR, "output 4294967296", module, "get_output", INT(INT64_C(1) << 32));
    EXPECT(TVM_VALUE_ERROR, "get_output: output 0 (double): expected float32 [6]", module,
           "get_output", INT(0), TENSOR(x));
    EXPECT(TVM_TYPE_ERROR, "argument 1 (value)", module, "get_output", INT(0), INT(0));
    static const char *const keys[] = {
        "double", "double:",  "double:1",   "double:-1", ":0",
        "",       "double:x", "double:0x0", "sum:0",     "double:4294967296"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        EXPECT(TVM_NOT_FOUND_ERROR, "set_output_zero_copy: the graph has no output called", module,
               "set_output_zero_copy", TEXT(keys[i]), TENSOR(out));
    EXPECT(TVM_TYPE_ERROR, "argument 1 (value)", module, "set_output_zero_copy", INT(0),
           tvm_none());
    EXPECT(TVM_VALUE_ERROR, "set_output_zero_copy: output 0 (double): expected", module,
           "set_output_zero_copy", INT(0), TENSOR(x));
    EXPECT(TVM_INDEX_ERROR, "output 3", module, "set_output_zero_copy", INT(3), TENSOR(x));
    EXPECT(TVM_NOT_FOUND_ERROR, "no input called q", module, "set_input_zero_copy", TEXT("q"),
           TENSOR(x));
    fixture_release(copy);
    fixture_release(out);
    fixture_release(x);
    fixture_release(module);
}

static struct tvm_bytes blob_of(struct fixture_bytes bytes) {
    return (struct tvm_bytes){(const char *)bytes.data, bytes.size};
}

#define BYTES(bytes) ((struct tvm_value){.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &(bytes)})

static void test_params(void **state) {
    (void)state;
    static const float first[] = {10, 20, 30, 40, 50, 60}, second[] = {1, 1, 1, 1, 1, 1};
    struct fixture_bytes one = fixture_params("w", two_by_three, 2, first);
    struct fixture_bytes two = fixture_params("w", two_by_three, 2, second);
    struct fixture_bytes unknown = fixture_params("unknown", two_by_three, 2, second);
    struct fixture_bytes wrong = fixture_params("w", two_by_three, 1, second);
    struct tvm_bytes blob = blob_of(one), other = blob_of(two), skipped = blob_of(unknown);
    struct tvm_bytes misfit = blob_of(wrong), cut = {blob.data, blob.size - 1};
    struct tvm_module *module = executor(fixture_graph), *borrower = executor(fixture_graph);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1);
    struct tvm_value result;
    DO(module, "set_input", TEXT("x"), TENSOR(x));
    DO(module, "load_params", BYTES(blob));
    expect_ok(module_call(module, "run", NULL, 0, &result));
    expect_output(module, (float[]){22, 44, 66, 88, 110, 132});
    expect_ok(module_call(module, "get_input_info", NULL, 0, &result)); /* of x alone */
    struct tvm_bytes shape = {"shape", 5};
    const struct tvm_value *shapes = tvm_map_find((struct tvm_map *)result.v_object, shape);
    assert_int_equal(((struct tvm_map *)shapes->v_object)->size, 1);
    tvm_value_clear(&result);
    /* Bad ones change nothing. */
    EXPECT(TVM_FORMAT_ERROR, "load_params: parameter 0 (w): ", module, "load_params", BYTES(cut));
    EXPECT(TVM_VALUE_ERROR,
           "load_params: graph: parameter for input 1 (w): expected float32 [2, 3]", module,
           "load_params", BYTES(misfit));
    EXPECT(TVM_TYPE_ERROR, "argument 0 (params)", module, "load_params", INT(1));
    DO(module, "load_params", BYTES(skipped));
    expect_ok(module_call(module, "run", NULL, 0, &result));
    expect_output(module, (float[]){22, 44, 66, 88, 110, 132});
    DO(borrower, "set_input", TEXT("x"), TENSOR(x));
    DO(borrower, "share_params", tvm_from_object(module), BYTES(blob));
    expect_ok(module_call(borrower, "run", NULL, 0, &result));
    expect_output(borrower, (float[]){22, 44, 66, 88, 110, 132});
    /* The second load replaces the first, here only. */
    DO(module, "load_params", BYTES(other));
    expect_ok(module_call(module, "run", NULL, 0, &result));
    expect_output(module, (float[]){4, 6, 8, 10, 12, 14});
    expect_ok(module_call(borrower, "run", NULL, 0, &result));
    expect_output(borrower, (float[]){22, 44, 66, 88, 110, 132});
    struct tvm_module *library = fixture_library(true);
    EXPECT(TVM_TYPE_ERROR, "expected a graph executor, got a module of kind fixture.compiled",
           borrower, "share_params", tvm_from_object(library), BYTES(blob));
    EXPECT(TVM_TYPE_ERROR, "argument 0 (module)", borrower, "share_params", INT(0), BYTES(blob));
    EXPECT(TVM_VALUE_ERROR, "share_params: a session cannot share", module, "share_params",
           tvm_from_object(module), BYTES(blob));
    struct tvm_bytes head = {blob.data, 20};
    EXPECT(TVM_FORMAT_ERROR, "share_params: byte", borrower, "share_params",
           tvm_from_object(module), BYTES(head));
    fixture_release(library);
    fixture_release(x);
    fixture_release(module);
    fixture_release(borrower);
    free(one.data);
    free(two.data);
    free(unknown.data);
    free(wrong.data);
}

static void test_run_from_inputs(void **state) {
    (void)state;
    struct tvm_module *module = executor(fixture_graph);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1);
    struct tvm_value result;
    expect_ok(MODULE_CALL(module, "run_from_inputs", &result, INT(1), INT(0), TEXT("x"), TENSOR(x),
                          INT(1), TENSOR(x)));
    assert_int_equal(result.type_index, TVM_TYPE_ARRAY);
    /* tvm-ffi's layout: object header, items, size, capacity. */
    const struct {
        struct tvm_object object;
        const struct tvm_value *items;
        int64_t size, capacity;
    } *array = (const void *)result.v_object;
    assert_int_equal(array->size, 1);
    expect_values(&array->items[0], (float[]){4, 8, 12, 16, 20, 24}, 6);
    tvm_value_clear(&result);
    EXPECT(TVM_VALUE_ERROR, "expected device type, id and pairs", module, "run_from_inputs", INT(1),
           INT(0), TEXT("x"));
    EXPECT(TVM_NOT_FOUND_ERROR, "no input called v", module, "run_from_inputs", INT(1), INT(0),
           TEXT("v"), TENSOR(x));
    EXPECT(TVM_TYPE_ERROR, "device type 99", module, "run_from_inputs", INT(99), INT(0));
    expect_error(module_call(module, "run_from_inputs", NULL, 0, &result), TVM_VALUE_ERROR,
                 "argument 0 (device type) is missing");
    fixture_release(x);
    fixture_release(module);
}

static void test_lifetime(void **state) {
    (void)state;
    struct tvm_module *module = executor(fixture_graph);
    struct tvm_function *run;
    struct tvm_value result;
    expect_ok(tvm_module_get_function(module, "run", true, &run));
    fixture_release(module); /* the function keeps it */
    expect_ok(tvm_function_call(run, NULL, 0, &result));
    fixture_release(run);
}

/* Sessions: twice, then with everything bound. */
static void run_session(const struct zoo_case *test) {
    struct tvm_graph_params *reference = zoo_reference(test);
    struct tvm_graph_session *session = zoo_session(test, reference);
    struct tvm_graph_plan *plan = tvm_graph_session_plan(session);
    size_t outputs = tvm_graph_plan_output_count(plan);
    expect_ok(tvm_graph_session_set_inputs(session, NULL, 0));
    for (int round = 0; round < 2; round++) {
        expect_ok(tvm_graph_session_run(session));
        for (size_t k = 0; k < outputs; k++) {
            struct tvm_tensor *out;
            expect_ok(tvm_graph_session_get_output(session, k, &out));
            zoo_compare(test, reference, k, &out->dl);
            fixture_release(out);
        }
    }
    struct tvm_tensor **bound = calloc(outputs + 1, sizeof(struct tvm_tensor *));
    for (size_t i = 0; i < tvm_graph_params_count(reference); i++) {
        struct tvm_bytes name = tvm_graph_params_name(reference, i);
        size_t index;
        if (strncmp(name.data, "in:", 3) == 0 &&
            tvm_graph_plan_find_input(plan, (struct tvm_bytes){name.data + 3, name.size - 3},
                                      &index))
            expect_ok(tvm_graph_session_bind_input(
                session, index, &tvm_graph_params_tensor(reference, i)->dl, NULL));
    }
    for (size_t k = 0; k < outputs; k++) {
        struct tvm_graph_tensor_info info = tvm_graph_plan_output(plan, k);
        expect_ok(
            tvm_tensor_empty(info.shape, info.ndim, info.dtype, (DLDevice){kDLCPU, 0}, &bound[k]));
        expect_ok(tvm_graph_session_bind_output(session, k, &bound[k]->dl, NULL));
    }
    expect_ok(tvm_graph_session_run(session));
    for (size_t k = 0; k < outputs; k++) {
        zoo_compare(test, reference, k, &bound[k]->dl);
        fixture_release(bound[k]);
    }
    free(bound);
    fixture_release(session);
    fixture_release(reference);
}

/* As TVM's own clients do it. */
static void run_module(const struct zoo_case *test) {
    struct tvm_graph_params *reference = zoo_reference(test);
    struct tvm_module *library = zoo_library(test), *module;
    size_t json_size, params_size;
    char *json = zoo_read(test, "deploy.json", &json_size);
    char *params = zoo_read(test, "deploy.params", &params_size);
    struct tvm_bytes blob = {params, params_size};
    struct tvm_value args[] = {TEXT(json), tvm_from_object(library), INT(1), INT(0)}, result;
    expect_ok(create(args, 4, &module));
    fixture_release(library);
    DO(module, "load_params", BYTES(blob));
    free(json);
    free(params);
    for (size_t i = 0; i < tvm_graph_params_count(reference); i++) {
        struct tvm_bytes name = tvm_graph_params_name(reference, i);
        if (strncmp(name.data, "in:", 3) == 0)
            DO(module, "set_input", TEXT(name.data + 3),
               TENSOR(tvm_graph_params_tensor(reference, i)));
    }
    expect_ok(module_call(module, "run", NULL, 0, &result));
    for (size_t k = 0; zoo_output(reference, k); k++) {
        expect_ok(MODULE_CALL(module, "get_output", &result, INT((int64_t)k)));
        zoo_compare(test, reference, k, &((struct tvm_tensor *)result.v_object)->dl);
        tvm_value_clear(&result);
    }
    fixture_release(module);
    fixture_release(reference);
}

static void test_zoo(void **state) {
    (void)state;
    size_t count;
    struct zoo_case *cases = zoo_cases(&count);
    for (size_t i = 0; i < count; i++) {
        run_session(&cases[i]);
        run_module(&cases[i]);
    }
    print_message("%zu models\n", count);
    free(cases);
}

/* Real graphs and params, damaged: an error or a valid result. Their code is not run, for it trusts
 * its arguments. */
static void test_zoo_fuzz(void **state) {
    (void)state;
    size_t count, json_size, params_size;
    struct zoo_case *cases = zoo_cases(&count);
    uint64_t seed = 4;
    for (size_t i = 0; i < count; i++) {
        char *json = zoo_read(&cases[i], "deploy.json", &json_size);
        char *params = zoo_read(&cases[i], "deploy.params", &params_size);
        for (int round = 0; round < 60; round++) {
            struct tvm_graph_plan *plan = NULL;
            struct tvm_graph_params *loaded = NULL;
            size_t at = fixture_random(&seed) % json_size;
            char old = json[at];
            json[at] = "0123456789-[]{},\":x "[fixture_random(&seed) % 20];
            if (tvm_graph_plan_new("fuzz", json, json_size, &plan) == 0)
                fixture_release(plan);
            assert_int_equal(tvm_graph_plan_new("fuzz", json, at, &plan), -1);
            json[at] = old;
            at = fixture_random(&seed) % params_size;
            old = params[at];
            params[at] = (char)fixture_random(&seed);
            if (tvm_graph_params_new("fuzz", params, params_size, (DLDevice){kDLCPU, 0}, &loaded) ==
                0)
                fixture_release(loaded);
            params[at] = old;
        }
        free(json);
        free(params);
    }
    free(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_create), FIXTURE_TEST(test_inputs),          FIXTURE_TEST(test_outputs),
        FIXTURE_TEST(test_params), FIXTURE_TEST(test_run_from_inputs), FIXTURE_TEST(test_lifetime),
        FIXTURE_TEST(test_zoo),    FIXTURE_TEST(test_zoo_fuzz),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
