/* TVM's debug executor: running node by node and measuring, over C functions and over all models of
 * the zoo. */
#include "base/context.h"
#include "base/os.h"
#include "base/profile.h"
#include "graph/executor.h"
#include "graph/plan.h"
#include "test/graph_fixture.h"
#include "test/module_call.h"
#include "test/zoo.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(kind, text, module, name, ...)                                                      \
    do {                                                                                           \
        struct tvm_value ignored;                                                                  \
        expect_error(MODULE_CALL(module, name, &ignored, __VA_ARGS__), kind, text);                \
    } while (0)
#define TEXT(value) tvm_raw_string(value)
#define INT(value) tvm_int(value)
#define TENSOR(value) tvm_from_object(value)

/* What a registered function makes of a graph, with all inputs 1, 2, 3 … */
static struct tvm_module *create(const char *function_name, const char *graph, bool is_remote) {
    struct tvm_module *library = fixture_library(true);
    struct tvm_function *function;
    struct tvm_value result;
    char *json = fixture_json(graph, NULL, NULL);
    struct tvm_value args[] = {
        TEXT(json), is_remote ? tvm_opaque(library) : tvm_from_object(library), INT(1), INT(0)};
    expect_ok(tvm_registry_get(function_name, &function));
    assert_non_null(function);
    expect_ok(tvm_function_call(function, args, 4, &result));
    assert_int_equal(result.type_index, TVM_TYPE_MODULE);
    fixture_release(function);
    fixture_release(library);
    free(json);
    return (struct tvm_module *)result.v_object;
}

static const int64_t two_by_three[] = {2, 3};

static struct tvm_module *debug_executor(const char *graph) {
    struct tvm_module *module = create("tvm.graph_executor_debug.create", graph, false);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1);
    struct tvm_value count, result;
    expect_ok(module_call(module, "get_num_inputs", NULL, 0, &count));
    for (int64_t i = 0; i < count.v_int; i++)
        expect_ok(MODULE_CALL(module, "set_input", &result, INT(i), TENSOR(x)));
    fixture_release(x);
    return module;
}

static void expect_tensor(struct tvm_value *value, const float *expected, size_t count) {
    assert_int_equal(value->type_index, TVM_TYPE_TENSOR);
    fixture_expect_values(&((struct tvm_tensor *)value->v_object)->dl, expected, count);
    tvm_value_clear(value);
}

#define SUM ((float[]){2, 4, 6, 8, 10, 12})
#define DOUBLE ((float[]){4, 8, 12, 16, 20, 24})

static void test_names(void **state) {
    (void)state;
    static const char *const debug[] = {"tvm.graph_executor_debug.create",
                                        "tvm.graph_runtime_debug.create",
                                        "tvm.graph_runtime_debug.remote_create"};
    struct tvm_function *function;
    for (size_t i = 0; i < 3; i++) {
        struct tvm_module *module = create(debug[i], fixture_graph, i == 2);
        assert_string_equal(module->kind->key, "GraphExecutor");
        expect_ok(tvm_module_get_function(module, "execute_node", false, &function));
        assert_non_null(function);
        fixture_release(function);
        expect_ok(tvm_module_get_function(module, "run", false, &function));
        assert_non_null(function);
        fixture_release(function);
        expect_ok(tvm_module_get_function(module, "nothing", false, &function));
        assert_null(function);
        fixture_release(module);
    }
    struct tvm_module *plain = create("tvm.graph_runtime.remote_create", fixture_graph, true);
    expect_ok(tvm_module_get_function(plain, "execute_node", false, &function));
    assert_null(function);

    struct tvm_value result, library = tvm_from_object(plain);
    expect_ok(tvm_registry_get("tvm.graph_runtime.remote_create", &function));
    struct tvm_value args[] = {TEXT("{}"), tvm_opaque(NULL), INT(1), INT(0)};
    expect_error(tvm_function_call(function, args, 4, &result), TVM_TYPE_ERROR,
                 "tvm.graph_runtime.remote_create: argument 1 (library): "
                 "expected Module");
    args[1] = tvm_opaque(function); /* a handle, but not of a module */
    expect_error(tvm_function_call(function, args, 4, &result), TVM_TYPE_ERROR, "expected Module");
    args[1] = library; /* the module itself will do */
    expect_error(tvm_function_call(function, args, 4, &result), TVM_FORMAT_ERROR,
                 "tvm.graph_runtime.remote_create: graph: ");
    fixture_release(function);

    expect_ok(tvm_registry_get("tvm.graph_executor.create", &function));
    args[1] = tvm_opaque(plain); /* is not even looked at */
    expect_error(tvm_function_call(function, args, 4, &result), TVM_TYPE_ERROR,
                 "expected Module, got");
    fixture_release(function);
    fixture_release(plain);
    expect_ok(tvm_registry_get("tvm.graph_executor_cuda_graph.create", &function));
    expect_error(tvm_function_call(function, args, 4, &result), TVM_UNSUPPORTED_ERROR,
                 "use tvm.graph_executor.create");
    fixture_release(function);
}

static void test_debug_get_output(void **state) {
    (void)state;
    struct tvm_module *module = debug_executor(fixture_graph);
    struct tvm_value result, kept;
    int before = fixture_calls;
    expect_ok(MODULE_CALL(module, "debug_get_output", &kept, INT(2)));
    assert_int_equal(fixture_calls - before, 1); /* nothing behind the node is run */
    expect_ok(MODULE_CALL(module, "debug_get_output", &result, TEXT("double")));
    assert_int_equal(fixture_calls - before, 3);
    expect_tensor(&result, DOUBLE, 6);
    expect_ok(MODULE_CALL(module, "debug_get_output", &result, TEXT("x")));
    expect_tensor(&result, (float[]){1, 2, 3, 4, 5, 6}, 6);
    struct tvm_tensor *out = fixture_tensor(two_by_three, 2, 0), *six = fixture_vector(6, 0);
    expect_ok(MODULE_CALL(module, "debug_get_output", &result, TEXT("sum"), TENSOR(out)));
    assert_int_equal(result.type_index, TVM_TYPE_NONE);
    fixture_expect_values(&out->dl, SUM, 6);
    expect_ok(MODULE_CALL(module, "debug_get_output", &result, INT(3), TENSOR(six)));
    fixture_expect_values(&six->dl, SUM, 6);
    EXPECT(TVM_VALUE_ERROR, "debug_get_output: node 3 (flatten): expected float32 [6]", module,
           "debug_get_output", INT(3), TENSOR(out));
    EXPECT(TVM_TYPE_ERROR, "argument 1 (value)", module, "debug_get_output", INT(3), INT(0));
    EXPECT(TVM_VALUE_ERROR, "debug_get_output: node: expected 0 to 4, got 5", module,
           "debug_get_output", INT(5));
    EXPECT(TVM_VALUE_ERROR, "got -1", module, "debug_get_output", INT(-1));
    EXPECT(TVM_NOT_FOUND_ERROR, "debug_get_output: the graph has no node called sun", module,
           "debug_get_output", TEXT("sun"));
    EXPECT(TVM_TYPE_ERROR, "argument 0 (node): expected int", module, "debug_get_output",
           tvm_float(1));
    /* What was handed out is the client's own. */
    expect_ok(MODULE_CALL(module, "set_input", &result, INT(0), TENSOR(out)));
    expect_ok(module_call(module, "run", NULL, 0, &result));
    expect_tensor(&kept, SUM, 6);
    fixture_release(six);
    fixture_release(out);
    fixture_release(module);
}

static void test_execute_node(void **state) {
    (void)state;
    struct tvm_module *module = debug_executor(fixture_graph);
    struct tvm_value result;
    EXPECT(TVM_VALUE_ERROR, "get_node_output: node 0 is not what was executed last", module,
           "get_node_output", INT(0), INT(0));
    static const int calls[] = {0, 0, 1, 0, 1}; /* two inputs, an operator, a reshape, another */
    for (int pass = 0; pass < 2; pass++)
        for (int node = 0; node < 5; node++) {
            int before = fixture_calls;
            expect_ok(MODULE_CALL(module, "execute_node", &result, INT(node)));
            assert_int_equal(fixture_calls - before, calls[node]);
            expect_ok(MODULE_CALL(module, "get_node_output", &result, INT(node), INT(0)));
            expect_tensor(&result,
                          node < 2   ? (float[]){1, 2, 3, 4, 5, 6}
                          : node < 4 ? SUM
                                     : DOUBLE,
                          6);
        }
    int before = fixture_calls;
    expect_ok(MODULE_CALL(module, "execute_node", &result, INT(4))); /* again: nothing */
    assert_int_equal(fixture_calls, before);
    expect_ok(MODULE_CALL(module, "execute_node", &result, INT(2))); /* back: from the start */
    assert_int_equal(fixture_calls, before + 1);
    EXPECT(TVM_VALUE_ERROR,
           "get_node_output: node 4 is not what was executed last: call "
           "execute_node(4)",
           module, "get_node_output", INT(4), INT(0));
    EXPECT(TVM_VALUE_ERROR, "output: expected 0 to 0, got 1", module, "get_node_output", INT(2),
           INT(1));
    EXPECT(TVM_VALUE_ERROR, "execute_node: node: expected 0 to 4", module, "execute_node", INT(5));
    /* A run in between ends the passage. */
    expect_ok(module_call(module, "run", NULL, 0, &result));
    EXPECT(TVM_VALUE_ERROR, "node 2 is not what was", module, "get_node_output", INT(2), INT(0));
    before = fixture_calls;
    expect_ok(MODULE_CALL(module, "execute_node", &result, INT(4)));
    assert_int_equal(fixture_calls, before + 2);
    /* TVM 0.5 to 0.7: whatever is there. */
    expect_ok(MODULE_CALL(module, "get_output_by_layer", &result, INT(2), INT(0)));
    expect_tensor(&result, SUM, 6);
    fixture_release(module);
}

static const char split_graph[] = "{'nodes': [" FIXTURE_INPUT("x") "," FIXTURE_OP_WITH(
    "split", "split", "1", "2", "0",
    "[[0, 0, 0]]") "," FIXTURE_OP("next", "twice",
                                  "[[1, 1, 0]]") "],"
                                                 " 'arg_nodes': [0], 'heads': [[2, 0, 0]], "
                                                 "'node_row_ptr': [0, 1, 3, 4],"
                                                 " 'attrs': {'dltype': ['list_str', ['float32', "
                                                 "'float32', 'float32', 'float32']],"
                                                 "   'storage_id': ['list_int', [0, 1, 2, 1]],"
                                                 "   'shape': ['list_shape', [[2, 3], [2, 3], [2, "
                                                 "3], [2, 3]]]}}";

static void test_two_outputs(void **state) {
    (void)state;
    struct tvm_module *module = debug_executor(split_graph);
    struct tvm_value result;
    expect_ok(MODULE_CALL(module, "debug_get_output", &result, INT(2)));
    expect_tensor(&result, (float[]){20, 40, 60, 80, 100, 120}, 6);
    expect_ok(MODULE_CALL(module, "execute_node", &result, INT(1)));
    expect_ok(MODULE_CALL(module, "get_node_output", &result, INT(1), INT(0)));
    expect_tensor(&result, (float[]){2, 3, 4, 5, 6, 7}, 6);
    expect_ok(MODULE_CALL(module, "get_node_output", &result, INT(1), INT(1)));
    expect_tensor(&result, (float[]){10, 20, 30, 40, 50, 60}, 6);
    EXPECT(TVM_VALUE_ERROR, "output: expected 0 to 1, got 2", module, "get_node_output", INT(1),
           INT(2));
    fixture_release(module);
}

/* Measuring */

static double number_at(const struct tvm_value *value, size_t index) {
    double number;
    struct tvm_bytes bytes;
    assert_true(tvm_value_text(value, &bytes));
    assert_true(bytes.size >= (index + 1) * 8);
    memcpy(&number, bytes.data + index * 8, 8);
    return number;
}

static void test_run_individual(void **state) {
    (void)state;
    struct tvm_module *module = debug_executor(fixture_slow_graph);
    struct tvm_value result;
    fixture_hook = fixture_sleep;
    int before = fixture_calls;
    expect_ok(MODULE_CALL(module, "run_individual", &result, INT(2), INT(3), INT(0), INT(100),
                          INT(0), INT(1)));
    assert_int_equal(fixture_calls - before, 2 * (1 + 1 + 2 * 3)); /* a run; warm-up; repeats */
    assert_int_equal(result.type_index, TVM_TYPE_BYTES);
    struct tvm_bytes bytes;
    tvm_value_text(&result, &bytes);
    assert_int_equal(bytes.size, 8 + 4 * 3 * 8); /* four nodes, three repeats */
    int64_t nodes;
    memcpy(&nodes, bytes.data, 8);
    assert_int_equal(nodes, 4);
    for (size_t i = 0; i < 3; i++) {
        assert_true(number_at(&result, 1 + i) == 0); /* the input */
        assert_true(number_at(&result, 4 + i) >= 0.002);
        assert_true(number_at(&result, 4 + i) < 0.2);
        assert_true(number_at(&result, 7 + i) == 0); /* the reshape */
        assert_true(number_at(&result, 10 + i) >= 0);
        assert_true(number_at(&result, 10 + i) < number_at(&result, 4 + i));
    }
    tvm_value_clear(&result);
    expect_ok(
        MODULE_CALL(module, "run_individual", &result, INT(1), INT(1), INT(0), INT(0), INT(1)));
    assert_int_equal(result.type_index, TVM_TYPE_BYTES); /* TVM 0.9 */
    tvm_value_clear(&result);
    expect_ok(MODULE_CALL(module, "get_output", &result, INT(0)));
    expect_tensor(&result, (float[]){2, 3, 4, 5, 6, 7}, 6);

    /* One node. The pause comes behind the first and the third repeat. */
    expect_ok(MODULE_CALL(module, "execute_node", &result, INT(3)));
    int64_t start = tvm_os_now();
    before = fixture_calls;
    expect_ok(MODULE_CALL(module, "run_individual_node", &result, INT(3), INT(5), INT(3), INT(0),
                          INT(9), INT(20), INT(2)));
    assert_true(tvm_os_now() - start >= 40000000);
    assert_int_equal(fixture_calls - before, 1 + 5 * 3);
    tvm_value_text(&result, &bytes);
    assert_int_equal(bytes.size, 3 * 8);
    tvm_value_clear(&result);
    EXPECT(TVM_VALUE_ERROR, "node 3 is not what was executed last", module, "get_node_output",
           INT(3), INT(0));
    /* Until it takes 30 ms. */
    start = tvm_os_now();
    before = fixture_calls;
    expect_ok(MODULE_CALL(module, "run_individual_node", &result, INT(1), INT(1), INT(1), INT(30),
                          INT(9), INT(0), INT(1)));
    assert_true(tvm_os_now() - start >= 30000000);
    assert_in_range(fixture_calls - before, 3, 60);
    tvm_value_clear(&result);
    expect_ok(MODULE_CALL(module, "run_individual_node", &result, INT(0), INT(1), INT(1), INT(30),
                          INT(9), INT(0), INT(1)));
    assert_true(number_at(&result, 0) == 0);
    tvm_value_clear(&result);
    expect_ok(MODULE_CALL(module, "debug_run", &result, INT(1)));
    assert_int_equal(result.type_index, TVM_TYPE_FLOAT);
    assert_true(result.v_float >= 0.002 && result.v_float < 0.2);
    struct tvm_graph_session *session = ((struct tvm_graph_executor *)module)->session;
    tvm_graph_session_context(session)->cancelled = true;
    EXPECT(TVM_CANCELLED_ERROR, "cancelled", module, "debug_run", INT(1));
    fixture_release(module);
}

static void expect_text(struct tvm_module *module, double least, double most) {
    struct tvm_value result;
    struct tvm_bytes text;
    double times[4];
    int end;
    expect_ok(MODULE_CALL(module, "run_individual", &result, INT(1), INT(2), INT(0)));
    assert_int_equal(result.type_index, TVM_TYPE_STR);
    tvm_value_text(&result, &text);
    assert_int_equal(
        sscanf(text.data, "%lf,%lf,%lf,%lf,%n", times, times + 1, times + 2, times + 3, &end), 4);
    assert_int_equal((size_t)end, text.size);
    assert_true(times[0] == 0 && times[2] == 0);
    assert_true(times[1] >= least && times[1] < most);
    assert_true(times[3] < times[1]);
    tvm_value_clear(&result);
}

static void test_individual_text(void **state) {
    (void)state;
    static const char *const names[] = {"tvm.graph_executor_debug.create",
                                        "tvm.graph_runtime_debug.create"};
    fixture_hook = fixture_sleep;
    for (int i = 0; i < 2; i++) {
        double unit = i ? 1e6 : 1; /* TVM 0.8 has seconds, those before microseconds */
        struct tvm_module *module = create(names[i], fixture_slow_graph, false);
        expect_text(module, 0.002 * unit, 0.2 * unit);
        fixture_release(module);
    }
}

static void test_individual_errors(void **state) {
    (void)state;
    struct tvm_module *module = debug_executor(fixture_slow_graph);
    struct tvm_value result;
    EXPECT(TVM_VALUE_ERROR, "run_individual: expected 3, 5 or 6 numbers", module, "run_individual",
           INT(1));
    EXPECT(TVM_VALUE_ERROR, "run_individual: number: expected 1 to 2147483647, got 0", module,
           "run_individual", INT(0), INT(1), INT(0));
    EXPECT(TVM_VALUE_ERROR, "repeat: expected 1", module, "run_individual", INT(1), INT(0), INT(0));
    EXPECT(TVM_VALUE_ERROR, "min_repeat_ms: expected 0 to", module, "run_individual", INT(1),
           INT(1), INT(-1));
    EXPECT(TVM_VALUE_ERROR, "cooldown_interval_ms", module, "run_individual", INT(1), INT(1),
           INT(0), INT(-1), INT(1));
    EXPECT(TVM_VALUE_ERROR, "limit_zero_time_iterations", module, "run_individual", INT(1), INT(1),
           INT(0), INT(-1), INT(0), INT(1));
    EXPECT(TVM_VALUE_ERROR, "repeats_to_cooldown: expected 1", module, "run_individual", INT(1),
           INT(1), INT(0), INT(0), INT(0), INT(0));
    EXPECT(TVM_VALUE_ERROR, "run_individual_node: node: expected 0 to 3, got 4", module,
           "run_individual_node", INT(4), INT(1), INT(1), INT(0));
    EXPECT(TVM_TYPE_ERROR, "argument 2 (repeat)", module, "run_individual_node", INT(3), INT(1),
           TEXT("1"), INT(0));
    EXPECT(TVM_VALUE_ERROR, "expected 1 argument", module, "debug_run", INT(1), INT(1));
    expect_error(module_call(module, "profile", (struct tvm_value[]){INT(1)}, 1, &result),
                 TVM_UNSUPPORTED_ERROR, "profile: there are no metric collectors");
    fixture_release(module);

    module = debug_executor("{'nodes': [" FIXTURE_INPUT("x") "," FIXTURE_OP(
        "bad", "fail", "[[0, 0, 0]]") "],"
                                      " 'arg_nodes': [0], 'heads': [[1, 0, 0]], 'node_row_ptr': "
                                      "[0, 1, 2], 'attrs': {"
                                      "   'dltype': ['list_str', ['float32', 'float32']],"
                                      "   'storage_id': ['list_int', [0, 1]],"
                                      "   'shape': ['list_shape', [[2, 3], [2, 3]]]}}");
    EXPECT(TVM_VALUE_ERROR, "run_individual_node: node 1 (bad): deliberate", module,
           "run_individual_node", INT(1), INT(1), INT(1), INT(0));
    EXPECT(TVM_VALUE_ERROR, "run_individual: graph: node 1 (bad): fail: deliberate", module,
           "run_individual", INT(1), INT(1), INT(0));
    EXPECT(TVM_VALUE_ERROR, "execute_node: graph: node 1 (bad): fail: deliberate", module,
           "execute_node", INT(1));
    EXPECT(TVM_VALUE_ERROR, "get_node_output: node 1 is not", module, "get_node_output", INT(1),
           INT(0));
    EXPECT(TVM_VALUE_ERROR, "debug_get_output: graph: node 1 (bad)", module, "debug_get_output",
           TEXT("bad"));
    EXPECT(TVM_VALUE_ERROR, "profile: graph: node 1 (bad): fail: deliberate", module, "profile",
           tvm_none());
    fixture_release(module);
}

static const cJSON *metric(const cJSON *row, const char *name, const char *kind) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(row, name);
    value = cJSON_GetObjectItemCaseSensitive(value, kind);
    assert_non_null(value);
    return value;
}

/* The form that TVM's Report.from_json reads. */
static void test_report(void **state) {
    (void)state;
    struct tvm_module *module = debug_executor(fixture_slow_graph);
    struct tvm_value result;
    struct tvm_bytes text;
    fixture_hook = fixture_sleep;
    int before = fixture_calls;
    expect_ok(MODULE_CALL(module, "profile", &result, tvm_none()));
    assert_int_equal(fixture_calls - before, 2 * (3 + 1)); /* three to warm up */
    assert_int_equal(result.type_index, TVM_TYPE_STR);
    tvm_value_text(&result, &text);
    cJSON *report = cJSON_Parse(text.data);
    assert_non_null(report);
    const cJSON *calls = cJSON_GetObjectItem(report, "calls");
    const cJSON *device =
        cJSON_GetObjectItem(cJSON_GetObjectItem(report, "device_metrics"), "cpu0");
    double total = metric(device, "Duration (us)", "microseconds")->valuedouble, sum = 0;
    assert_string_equal(metric(device, "Name", "string")->valuestring, "Total");
    assert_int_equal(cJSON_GetArraySize(calls), 2);
    static const char *const names[] = {"hook", "add1"}, *const shapes[] = {
                                                             "float32[2, 3], float32[2, 3]",
                                                             "float32[6], float32[6]"};
    for (int i = 0; i < 2; i++) {
        const cJSON *call = cJSON_GetArrayItem(calls, i);
        double time = metric(call, "Duration (us)", "microseconds")->valuedouble;
        assert_string_equal(metric(call, "Name", "string")->valuestring, names[i]);
        assert_string_equal(metric(call, "Argument Shapes", "string")->valuestring, shapes[i]);
        assert_string_equal(metric(call, "Device", "string")->valuestring, "cpu0");
        assert_int_equal(metric(call, "Count", "count")->valueint, 1);
        assert_true(time >= (i ? 0 : 2000));
        assert_true(fabs(metric(call, "Percent", "percent")->valuedouble - 100 * time / total) <
                    0.01);
        sum += time;
    }
    assert_true(sum <= total);
    const cJSON *configuration = cJSON_GetObjectItem(report, "configuration");
    assert_string_equal(metric(configuration, "Executor", "string")->valuestring, "Graph");
    assert_true(metric(configuration, "Number of threads", "count")->valueint >= 1);
    cJSON_Delete(report);
    tvm_value_clear(&result);
    expect_ok(module_call(module, "profile_rpc", NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_STR);
    tvm_value_clear(&result);
    fixture_release(module);
}

/* A library that has a function of any name that begins with a. */
static int get_any(struct tvm_module *self, const char *name, struct tvm_function **out) {
    if (strchr(name, 'a') != name)
        return 0;
    return self->imports[0]->kind->get_function(self->imports[0], "add1", out);
}

static void test_report_of_odd_name(void **state) {
    (void)state;
    static const struct tvm_module_kind kind = {.key = "any", .get_function = get_any};
    struct tvm_module *library = tvm_module_alloc(sizeof(*library), &kind), *module;
    struct tvm_module *functions = fixture_library(true);
    struct tvm_graph_plan *plan = NULL;
    struct tvm_graph_session *session;
    struct tvm_value result;
    struct tvm_bytes text;
    DLDevice cpu = {kDLCPU, 0};
    char *json = fixture_json(
        "{'nodes': [" FIXTURE_INPUT("x") "," FIXTURE_OP(
            "n", "a\\'b\\\\c\\u0001Ω",
            "[[0, 0, 0]]") "],"
                           " 'arg_nodes': [0], 'heads': [[1, 0, 0]], 'node_row_ptr': [0, 1, 2],"
                           " 'attrs': {'dltype': ['list_str', ['float32', 'float32']],"
                           "   'storage_id': ['list_int', [0, 1]],"
                           "   'shape': ['list_shape', [[], []]]}}",
        NULL, NULL);
    expect_ok(tvm_module_import(library, functions));
    expect_ok(tvm_graph_plan_new("odd", json, strlen(json), &plan));
    expect_ok(tvm_graph_session_new(plan, library, NULL, &cpu, 1, NULL, &session));
    expect_ok(tvm_graph_executor_make(session, true, false, &module));
    expect_ok(MODULE_CALL(module, "profile", &result, tvm_none()));
    tvm_value_text(&result, &text);
    cJSON *report = cJSON_Parse(text.data);
    const cJSON *call = cJSON_GetArrayItem(cJSON_GetObjectItem(report, "calls"), 0);
    assert_string_equal(metric(call, "Name", "string")->valuestring, "a\"b\\c\001Ω");
    assert_string_equal(metric(call, "Argument Shapes", "string")->valuestring,
                        "float32[], float32[]");
    cJSON_Delete(report);
    tvm_value_clear(&result);
    free(json);
    fixture_release(module);
    fixture_release(session);
    fixture_release(plan);
    fixture_release(functions);
    fixture_release(library);
}

/* Every model, node by node, gives what TVM's own runtime gave. */
static void run_nodes(const struct zoo_case *test) {
    struct tvm_graph_params *reference = zoo_reference(test);
    struct tvm_graph_session *session = zoo_session(test, reference);
    struct tvm_graph_plan *plan = tvm_graph_session_plan(session);
    struct tvm_module *module;
    struct tvm_value result;
    expect_ok(tvm_graph_executor_make(session, true, false, &module));
    size_t compared = 0;
    for (uint32_t n = 0; n < plan->node_count; n++) {
        expect_ok(MODULE_CALL(module, "execute_node", &result, INT(n)));
        for (size_t k = 0; k < plan->output_count; k++) {
            uint32_t id = plan->outputs[k];
            if (plan->entries[id].node != n)
                continue;
            expect_ok(MODULE_CALL(module, "get_node_output", &result, INT(n),
                                  INT(id - plan->nodes[n].first_entry)));
            zoo_compare(test, reference, k, &((struct tvm_tensor *)result.v_object)->dl);
            tvm_value_clear(&result);
            compared++;
        }
    }
    assert_int_equal(compared, plan->output_count);
    struct tvm_profile profile = {0};
    tvm_graph_session_context(session)->profile = &profile;
    expect_ok(tvm_graph_session_run(session));
    for (size_t k = 0; k < plan->output_count; k++) {
        struct tvm_tensor *out;
        expect_ok(tvm_graph_session_get_output(session, k, &out));
        zoo_compare(test, reference, k, &out->dl);
        fixture_release(out);
    }
    tvm_profile_clear(&profile);
    fixture_release(module);
    fixture_release(session);
    fixture_release(reference);
}

static void test_zoo(void **state) {
    (void)state;
    size_t count;
    struct zoo_case *cases = zoo_cases(&count);
    for (size_t i = 0; i < count; i++)
        run_nodes(&cases[i]);
    print_message("%zu models\n", count);
    free(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_names),
        FIXTURE_TEST(test_debug_get_output),
        FIXTURE_TEST(test_execute_node),
        FIXTURE_TEST(test_two_outputs),
        FIXTURE_TEST(test_run_individual),
        FIXTURE_TEST(test_individual_text),
        FIXTURE_TEST(test_individual_errors),
        FIXTURE_TEST(test_report),
        FIXTURE_TEST(test_report_of_odd_name),
        FIXTURE_TEST(test_zoo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
