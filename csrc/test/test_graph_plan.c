/* Graph JSON: what is accepted, what is refused and how, and that no bytes do harm. */
#include "graph/plan.h"
#include "test/graph_fixture.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static void test_valid(void **state) {
    (void)state;
    struct tvm_graph_plan *plan = fixture_plan(fixture_graph);
    assert_int_equal(tvm_graph_plan_input_count(plan), 2);
    assert_int_equal(tvm_graph_plan_output_count(plan), 1);
    struct tvm_graph_tensor_info x = tvm_graph_plan_input(plan, 0);
    assert_string_equal(x.name.data, "x");
    assert_int_equal(x.ndim, 2);
    assert_int_equal(x.shape[1], 3);
    assert_true(tvm_dtype_equal(x.dtype, (DLDataType){kDLFloat, 32, 1}));
    struct tvm_graph_tensor_info out = tvm_graph_plan_output(plan, 0);
    assert_string_equal(out.name.data, "double");
    assert_int_equal(out.shape[0], 6);
    size_t index;
    assert_true(tvm_graph_plan_find_input(plan, (struct tvm_bytes){"w", 1}, &index));
    assert_int_equal(index, 1);
    assert_false(tvm_graph_plan_find_input(plan, (struct tvm_bytes){"", 0}, &index));
    assert_false(tvm_graph_plan_find_input(plan, (struct tvm_bytes){"xx", 2}, &index));
    assert_true(tvm_graph_plan_find_output(plan, (struct tvm_bytes){"double", 6}, &index));
    assert_false(tvm_graph_plan_find_output(plan, (struct tvm_bytes){"sum", 3}, &index));
    assert_true(tvm_graph_plan_uses(plan, kDLCPU) && !tvm_graph_plan_uses(plan, kDLOpenCL));
    fixture_release(plan);
    char *json =
        fixture_json(fixture_graph, "   'device_index': ['list_int', [1, 1, 1, 1, 1]],", "");
    expect_ok(tvm_graph_plan_new("test.json", json, strlen(json), &plan)); /* for any device */
    assert_true(tvm_graph_plan_uses(plan, kDLCPU) && tvm_graph_plan_uses(plan, kDLOpenCL));
    fixture_release(plan);
    free(json);
}

static int parse(const char *json, size_t size) {
    struct tvm_graph_plan *plan = NULL;
    int status = tvm_graph_plan_new("test.json", json, size, &plan);
    if (status == 0)
        fixture_release(plan);
    return status;
}

struct change {
    const char *old, *new;
    const char *message; /* NULL: still valid */
};

static void check_changes(const struct change *changes, size_t count, const char *kind) {
    for (size_t i = 0; i < count; i++) {
        assert_non_null(strstr(fixture_graph, changes[i].old));
        char *json = fixture_json(fixture_graph, changes[i].old, changes[i].new);
        int status = parse(json, strlen(json));
        if (changes[i].message) {
            if (status == 0)
                fail_msg("accepted: %s → %s", changes[i].old, changes[i].new);
            expect_error(-1, kind, "test.json: ");
            parse(json, strlen(json));
            expect_error(-1, kind, changes[i].message);
        } else if (status) {
            fail_msg("%s: refused: %s", changes[i].new, tvm_error_peek()->message.data);
        }
        free(json);
    }
}

static void test_variants(void **state) {
    (void)state;
    static const struct change changes[] = {
        {"'attrs': {'func_name'", "'attr': {'func_name'", NULL},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0], [1, 0]]", NULL},
        {"'heads': [[4, 0, 0]]", "'heads': [[4, 0]]", NULL},
        {"'heads': [[4, 0, 0]]", "'heads': [[4, 0, 0], [4, 0, 0], [0, 0, 0]]", NULL},
        {"'heads': [[4, 0, 0]]", "'heads': []", NULL},
        {"'name': 'x',", "'name': 'x', 'control_deps': [7, 8],", NULL},
        {"'name': 'x',", "'name': 'a:b/c \xc3\xa9 \\u00e9\\/',", NULL},
        {"   'device_index': ['list_int', [1, 1, 1, 1, 1]],", "", NULL},
        {"'attrs': {'dltype'",
         "'attrs': {'dtype': ['list_int', [0, 0, 0, 0, 0]], 'shape_num_unknown_nodes': ['size_t', "
         "0],"
         " 'dtype_num_unknown_nodes': ['size_t', 0], 'dltype'",
         NULL},
        {"'attrs': {'dltype'",
         "'attrs': {'storage_scope': ['list_str', ['global', '', '', '', '']], 'dltype'", NULL},
        {"{'nodes'", "{'metadata': {'signature': [1.5, true, null]}, 'nodes'", NULL},
        {"{'nodes'", "  \n\t{'unknown': {}, 'nodes'", NULL},
        {"'flatten_data': '0', 'hash'", "'flatten_data': '1', 'hash'", NULL},
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]",
         "'storage_id': ['list_int', [0, 1, 2, 2, 1]]",
         NULL}, /* in place of an input that nobody reads any more */
    };
    check_changes(changes, sizeof(changes) / sizeof(changes[0]), TVM_FORMAT_ERROR);
}

static void test_faults(void **state) {
    (void)state;
#define ONES "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
    static const struct change changes[] = {
        /* JSON that cJSON would let through, or that is none */
        {"{'nodes'", "[{'nodes'", "too early"},
        {"[6], [6]]]}}", "[6], [6]]]}} x", "byte"},
        {"[6], [6]]]}}", "[6], [6]]]}}{}", "byte"},
        {"'name': 'x'", "'name': 'x\\u0000y'", "NUL"},
        {"'name': 'x'", "'name': 'x\ny'", "line break"},
        {"'name': 'x'", "'name': 'x\ry'", "line break"},
        {"'name': 'x'", "'name': 'x\\ud800'", "byte"},
        {"'name': 'x'", "'name': 'x", "byte"},
        {"{'nodes'", "{'nodes': [], 'nodes'", "\"nodes\" is there twice"},
        {"'name': 'x'", "'name': 'x', 'name': 'y'", "node 0: \"name\" is there twice"},
        /* the top level */
        {"'nodes'", "'knots'", "\"nodes\" is missing"},
        {"'arg_nodes'", "'arguments'", "\"arg_nodes\" is missing"},
        {"'heads'", "'tails'", "\"heads\" is missing"},
        {"'node_row_ptr'", "'rows'", "\"node_row_ptr\" is missing"},
        {" 'attrs': {'dltype'", " 'other': {'dltype'", "\"attrs\" is missing"},
        {" 'attrs': {'dltype'", " 'attrs': 3, 'other': {'dltype'",
         "attrs: expected an object, got 3"},
        /* node_row_ptr */
        {"[0, 1, 2, 3, 4, 5]", "[]", "node_row_ptr: expected 6 items for 5 nodes, got 0"},
        {"[0, 1, 2, 3, 4, 5]", "[0, 1, 2, 3, 4]",
         "node_row_ptr: expected 6 items for 5 nodes, got 5"},
        {"[0, 1, 2, 3, 4, 5]", "[0, 2, 1, 3, 4, 5]",
         "node_row_ptr: item 2: expected an integer from 2"},
        {"[0, 1, 2, 3, 4, 5]", "[1, 1, 2, 3, 4, 5]", "node_row_ptr: item 0"},
        {"[0, 1, 2, 3, 4, 5]", "[0, 1, 2, 3, 4, 6]", "attrs: shape: expected 6 items"},
        {"[0, 1, 2, 3, 4, 5]", "[0, 1, 2, 3, 4, 4294967295]", "node_row_ptr: item 5"},
        {"[0, 1, 2, 3, 4, 5]", "[0, 1, 2, 3, 4, 1000000000]", "expected 1000000000 items"},
        {"[0, 1, 2, 3, 4, 5]", "[0, 1, 2, 3.5, 4, 5]", "got 3.5"},
        {"[0, 1, 2, 3, 4, 5]", "[0, 1, 2, '3', 4, 5]", "got the string \"3\""},
        {"[0, 1, 2, 3, 4, 5]", "[0, 1, 1, 3, 4, 5]",
         "node 1 (w): an input: expected no inputs and 1"},
        /* nodes */
        {"{'op': 'null', 'name': 'x', 'inputs': []}", "7", "node 0: expected an object, got 7"},
        {"'op': 'null'", "'op': 'nil'", "node 0 (x): op: expected \"null\" or \"tvm_op\""},
        {"'op': 'null'", "'op': 1", "node 0 (x): op: expected a string, got 1"},
        {"'name': 'x'", "'name': 5", "node 0: name: expected a string, got 5"},
        {"'name': 'x', ", "", "node 0: \"name\" is missing"},
        {", 'inputs': []", "", "node 0: \"inputs\" is missing"},
        {"'name': 'x', 'inputs': []", "'name': 'x', 'inputs': [[0, 0, 0]]",
         "node 0 (x): inputs: [0]: entry [0, 0]: node 0 does not come before this node"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [99, 0, 0]]",
         "node 2 (sum): inputs: [1]: entry [99, 0]: node 99 is out of range (there are 5 nodes)"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [-1, 0, 0]]",
         "entry [-1, 0]: node -1 is out of range"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [2, 0, 0]]",
         "node 2 does not come before this node"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [4, 0, 0]]",
         "node 4 does not come before this node"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [1, 1, 0]]",
         "entry [1, 1]: output 1 is out of range (node 1 has 1)"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [1, -1, 0]]", "output -1 is out of range"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [1]]",
         "expected [node, output, version], got 1 items"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], 1]", "inputs: [1]: expected an array, got 1"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [1, 0, 'a']]", "version: expected a number"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [1e300, 0, 0]]", "got 1.0000000000000001e+300"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0], [1e999, 0, 0]]", "got inf"},
        {"[[0, 0, 0], [1, 0, 0]]", "[[0, 0, 0]]",
         "num_inputs: expected \"1\" (so many are listed), got \"2\""},
        {"'num_inputs': '2'", "'num_inputs': 'two'", "num_inputs: expected \"2\""},
        {"'num_inputs': '2'", "'num_inputs': 2", "attrs: num_inputs: expected a string, got 2"},
        {"'num_inputs': '2',", "", "node 2 (sum): attrs: \"num_inputs\" is missing"},
        {"'num_outputs': '1'", "'num_outputs': '7'",
         "num_outputs: expected \"1\" (by node_row_ptr), got \"7\""},
        {"'num_outputs': '1'", "'num_outputs': ''", "num_outputs: expected \"1\""},
        {"'num_outputs': '1'", "'num_outputs': '-1'", "num_outputs: expected \"1\""},
        {"'num_outputs': '1'", "'num_outputs': '4294967297'", "num_outputs: expected \"1\""},
        {"'func_name': 'add',", "", "attrs: \"func_name\" is missing"},
        {"'flatten_data': '0', 'hash'", "'flatten_data': 'no', 'hash'",
         "expected \"0\" or \"1\", got \"no\""},
        {"'attrs': {'func_name'", "'anything': {'func_name'",
         "node 2 (sum): attrs: expected an object, got nothing"},
        {"'attrs': {'func_name'", "'attr': {}, 'attrs': {'func_name'",
         "both \"attr\" and \"attrs\""},
        {"'func_name': 'add'", "'func_name': '__copy'",
         "__copy: expected 1 input and 1 output, got 2 and 1"},
        {"'func_name': 'add'", "'func_name': '__nop'",
         "__nop: expected 1 input and 1 output, got 2 and 1"},
        /* arg_nodes and heads */
        {"'arg_nodes': [0, 1]", "'arg_nodes': [0, 9]",
         "arg_nodes: [1]: expected an integer from 0 to 4, got 9"},
        {"'arg_nodes': [0, 1]", "'arg_nodes': [0, -1]", "arg_nodes: [1]"},
        {"'arg_nodes': [0, 1]", "'arg_nodes': [0, 2]",
         "arg_nodes: [1]: node 2 (sum) is an operator"},
        {"'arg_nodes': [0, 1]", "'arg_nodes': [0, 0]", "arg_nodes: [1]: node 0 (x) is there twice"},
        {"'arg_nodes': [0, 1]", "'arg_nodes': [0]",
         "node 2 (sum): inputs[1]: node 1 (w) is not in arg_nodes"},
        {"'heads': [[4, 0, 0]]", "'heads': [[5, 0, 0]]",
         "heads: [0]: entry [5, 0]: node 5 is out of range"},
        {"'heads': [[4, 0, 0]]", "'heads': [[4, 3, 0]]",
         "heads: [0]: entry [4, 3]: output 3 is out of range"},
        {"'heads': [[4, 0, 0]]", "'heads': 4", "heads: expected an array, got 4"},
        /* attributes */
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]", "'storage_id': ['list_int', [0, 1, 2, 2]]",
         "attrs: storage_id: expected 5 items, one for each node output, got 4"},
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]",
         "'storage_id': ['list_int', [0, 1, 2, 2, -1]]",
         "attrs: storage_id[4]: expected an integer from 0 to 4, got -1"},
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]",
         "'storage_id': ['list_int', [0, 1, 2, 2, 1000000000]]", "attrs: storage_id[4]"},
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]",
         "'storage_id': ['list_str', [0, 1, 2, 2, 3]]",
         "attrs: storage_id: expected the tag \"list_int\""},
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]", "'storage_id': []", "got 0 items"},
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]",
         "'storage_id': ['list_int', [0, 1, 2, 4, 3]]",
         "node 3 (flatten): __nop: its input has storage 2, its output storage 4"},
        {"'storage_id': ['list_int', [0, 1, 2, 2, 3]]",
         "'storage_id': ['list_int', [0, 0, 2, 2, 3]]", "the inputs x and w share storage 0"},
        {"['float32', 'float32', 'float32'", "['float31', 'float32', 'float32'",
         "attrs: dltype[0]: \"float31\" is not a dtype"},
        {"['float32', 'float32', 'float32'", "['', 'float32', 'float32'", "dltype[0]"},
        {"['float32', 'float32', 'float32', ", "[", "attrs: dltype: expected 5 items"},
        {"[[2, 3], [2, 3], [2, 3], [6], [6]]", "[[2, 3], [2, 3], [2, 3], [6]]",
         "attrs: shape: expected 5"},
        {"[[2, 3], [2, 3]", "[[2, -3], [2, 3]",
         "attrs: shape[0]: dimension 1: expected an integer from 0"},
        {"[[2, 3], [2, 3]", "[[2, 2.5], [2, 3]", "got 2.5"},
        {"[[2, 3], [2, 3]", "[[" ONES ONES ONES ONES ONES "2, 3], [2, 3]",
         "attrs: shape[0]: 67 dimensions, expected at most 64"},
        {"[[2, 3], [2, 3]", "[[4503599627370497, 4503599627370497], [2, 3]", "attrs: shape[0]: "},
        {"[[2, 3], [2, 3]", "[[9007199254740993], [2, 3]", "attrs: shape[0]: dimension 0"},
        {"[[2, 3], [2, 3], [2, 3], [6]", "[[2, 3], [2, 3], [2, 3], [7]",
         "its input has 24 bytes, its output 28"},
        {"[[2, 3], [2, 3], [2, 3], [6]", "[[2, 3], [2, 3], [2, 3], [5]",
         "its input has 24 bytes, its output 20"},
        {"'list_int', [1, 1, 1, 1, 1]", "'list_int', [1, 1, 1]",
         "attrs: device_index: expected 5 items"},
        {"'list_int', [1, 1, 1, 1, 1]", "'list_int', [1, 1, 1, 4, 1]",
         "attrs: device_index[3]: device type 4, but storage 2 is also used with device type 1"},
        {"'list_int', [1, 1, 1, 1, 1]", "'list_int', [0, 1, 1, 1, 1]", "attrs: device_index[0]"},
    };
    check_changes(changes, sizeof(changes) / sizeof(changes[0]), TVM_FORMAT_ERROR);
    static const struct change unsupported[] = {
        {"'attrs': {'dltype'",
         "'attrs': {'storage_scope': ['list_str', ['', '', 'global.texture', '', '']], 'dltype'",
         "attrs: storage_scope[2]: \"global.texture\""},
    };
    check_changes(unsupported, 1, TVM_UNSUPPORTED_ERROR);
}

/* A value that is overwritten before it is read. */
static void test_lifetimes(void **state) {
    (void)state;
    // clang-format off
    static const char graph[] =
        "{'nodes': [{'op': 'null', 'name': 'x', 'inputs': []},"
        FIXTURE_OP("a", "add1", "[[0, 0, 0]]") ","
        FIXTURE_OP("b", "twice", "[[0, 0, 0]]") ","
        FIXTURE_OP("c", "add1", "[[1, 0, 0]]") "],"
        "'arg_nodes': [0],"
        "'heads': [[2, 0, 0], [3, 0, 0]],"
        "'node_row_ptr': [0, 1, 2, 3, 4],"
        "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32', 'float32']],"
        "'storage_id': ['list_int', [0, 1, 2, 3]],"
        "'shape': ['list_shape', [[4], [4], [4], [4]]]}}";
    // clang-format on
    fixture_release(fixture_plan(graph));
    char *json = fixture_json(graph, "[0, 1, 2, 3]],", "[0, 1, 1, 3]],");
    expect_error(parse(json, strlen(json)), TVM_FORMAT_ERROR,
                 "node 3 (c): inputs[0]: the output of node 1 (a) is lost: "
                 "node 2 (b) has overwritten its storage 1");
    free(json);
    json = fixture_json(graph, "[0, 1, 2, 3]],", "[0, 1, 2, 2]],");
    expect_error(parse(json, strlen(json)), TVM_FORMAT_ERROR,
                 "heads: [0]: the output of node 2 (b) is lost");
    free(json);
}

/* Faults that fixture_graph has no place for. */
static void test_small(void **state) {
    (void)state;
    // clang-format off
    static const char graph[] =
        "{'nodes': [" FIXTURE_INPUT("x") "," FIXTURE_INPUT("y") ","
        FIXTURE_OP("c", "__copy", "[[0, 0, 0]]") "],"
        "'arg_nodes': [0, 1], 'heads': [[1, 0, 0], [2, 0, 0]], 'node_row_ptr': [0, 1, 2, 3],"
        "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32']],"
        "'storage_id': ['list_int', [0, 1, 2]], 'shape': ['list_shape', [[4], [4], [4]]]}}";
    // clang-format on
    static const struct change changes[] = {
        {"[0, 1], 'heads'", "[0], 'heads'", "heads: [0]: node 1 (y) is not in arg_nodes"},
        {"'float32', 'float32', 'float32'", "'float32', 'float32', 'int32'",
         "node 2 (c): __copy: input and output differ in dtype"},
    };
    fixture_release(fixture_plan(graph));
    for (size_t i = 0; i < COUNT(changes); i++) {
        char *json = fixture_json(graph, changes[i].old, changes[i].new);
        expect_error(parse(json, strlen(json)), TVM_FORMAT_ERROR, changes[i].message);
        free(json);
    }
}

static void test_bytes(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "null",
                                      "[]",
                                      "3",
                                      "\"x\"",
                                      "{",
                                      "{}",
                                      "{\"nodes\": 1}",
                                      "{\"nodes\": [1}",
                                      "{\"a\": tru}",
                                      "\xef\xbb\xbf",
                                      "[1, 2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_error(parse(bad[i], strlen(bad[i])), TVM_FORMAT_ERROR, "test.json: ");
    }
    expect_error(parse("", 0), TVM_FORMAT_ERROR, "test.json: it is empty");
    expect_error(parse("\x7f"
                       "ELF\2\1\1",
                       7),
                 TVM_FORMAT_ERROR,
                 "test.json: not a graph in JSON, but a library, program or object file (ELF)");
    expect_error(parse("\xb7\x9c\x04\x05\x4f\x8d\xe5\xf7", 8), TVM_FORMAT_ERROR,
                 "test.json: not a graph in JSON, but a TVM parameter file");
    expect_error(parse("{}\0{}", 5), TVM_FORMAT_ERROR, "byte 2: a NUL character");
    expect_error(parse("{\"\\\0\": 1}", 8), TVM_FORMAT_ERROR, "byte 3: a NUL character");
    char deep[4000];
    memset(deep, '[', sizeof(deep));
    expect_error(parse(deep, sizeof(deep)), TVM_FORMAT_ERROR,
                 "byte 64: nested deeper than 64 levels");
    struct tvm_graph_plan *empty =
        fixture_plan("{'nodes': [], 'arg_nodes': [], 'heads': [], 'node_row_ptr': [0],"
                     "'attrs': {'dltype': ['list_str', []], 'storage_id': ['list_int', []],"
                     "'shape': ['list_shape', []]}}");
    assert_int_equal(tvm_graph_plan_input_count(empty), 0);
    assert_true(tvm_graph_plan_uses(empty, kDLOpenCL));
    fixture_release(empty);
}

/* The last of equal names counts. */
static void test_duplicate_names(void **state) {
    (void)state;
    char *json = fixture_json(fixture_graph, "'name': 'w'", "'name': 'x'");
    struct tvm_graph_plan *plan;
    size_t index = 9;
    assert_int_equal(tvm_graph_plan_new("test.json", json, strlen(json), &plan), 0);
    assert_true(tvm_graph_plan_find_input(plan, (struct tvm_bytes){"x", 1}, &index));
    assert_int_equal(index, 1);
    fixture_release(plan);
    free(json);
    json = fixture_json(fixture_graph, "[[4, 0, 0]]", "[[4, 0, 0], [4, 0, 0], [0, 0, 0]]");
    expect_ok(tvm_graph_plan_new("test.json", json, strlen(json), &plan));
    assert_true(tvm_graph_plan_find_output(plan, (struct tvm_bytes){"double", 6}, &index));
    assert_int_equal(index, 1);
    fixture_release(plan);
    free(json);
}

/* Whatever plan comes out must run without harm. */
static void exercise(const char *json, size_t size) {
    static struct tvm_module *library;
    if (!library)
        library = fixture_library(true);
    struct tvm_graph_plan *plan;
    struct tvm_graph_session *session;
    DLDevice cpu = {kDLCPU, 0};
    if (tvm_graph_plan_new("fuzz", json, size, &plan)) {
        assert_non_null(tvm_error_peek());
        return;
    }
    size_t total = 0;
    for (uint32_t i = 0; i < plan->storage_count && total < 1 << 20; i++)
        total += plan->storages[i].nbytes < 1 << 20 ? plan->storages[i].nbytes : 1 << 20;
    if (total < 1 << 20 &&
        tvm_graph_session_new(plan, library, NULL, &cpu, 1, NULL, &session) == 0) {
        tvm_graph_session_run(session);
        for (size_t i = 0; i < plan->output_count; i++) {
            struct tvm_tensor *out;
            assert_int_equal(tvm_graph_session_get_output(session, i, &out), 0);
            fixture_release(out);
        }
        fixture_release(session);
    }
    fixture_release(plan);
}

static void test_fuzz_bytes(void **state) {
    (void)state;
    char *json = fixture_json(fixture_graph, NULL, NULL);
    size_t size = strlen(json);
    for (size_t cut = 0; cut < size; cut++) {
        char *part = malloc(cut + 1); /* exact size: reads beyond it show */
        memcpy(part, json, cut);
        char *exact = realloc(part, cut ? cut : 1);
        assert_int_equal(parse(exact, cut), -1);
        free(exact);
    }
    uint64_t seed = 1;
    char *copy = malloc(size);
    for (int i = 0; i < 6000; i++) {
        static const char alphabet[] = "0123456789-+.eE[]{},:\"\\ulntx \n\0\xff";
        memcpy(copy, json, size);
        for (uint32_t n = 1 + fixture_random(&seed) % 4; n > 0; n--)
            copy[fixture_random(&seed) % size] = alphabet[fixture_random(&seed) % sizeof(alphabet)];
        exercise(copy, size);
    }
    free(copy);
    free(json);
}

static size_t count_items(const cJSON *item) {
    size_t count = 1;
    for (const cJSON *child = item->child; child; child = child->next)
        count += count_items(child);
    return count;
}

/* Item number *left below item (in order), and the one that holds it. */
static cJSON *find_item(cJSON *item, size_t *left, cJSON **parent) {
    for (cJSON *child = item->child; child; child = child->next) {
        if ((*left)-- == 0) {
            *parent = item;
            return child;
        }
        cJSON *found = find_item(child, left, parent);
        if (found)
            return found;
    }
    return NULL;
}

static cJSON *replacement(uint64_t *seed, const cJSON *item) {
    static const double numbers[] = {-1,   0,    1,      2,     3,      4,
                                     5,    6,    64,     0.5,   1e9,    2e31,
                                     4e32, 1e18, 9.3e18, 1e300, -1e300, 2147483648.0};
    static const char *const texts[] = {
        "",  "null", "tvm_op", "__nop",  "__copy", "add",      "split",      "fail",    "0", "1",
        "2", "bool", "int8x4", "handle", "uint1",  "list_int", "list_shape", "float64", "x"};
    uint32_t pick = fixture_random(seed) % 8;
    if (pick == 0)
        return cJSON_CreateArray();
    if (pick == 1)
        return cJSON_CreateObject();
    if (pick == 2)
        return cJSON_CreateNull();
    if (pick < 5 ? cJSON_IsString(item) : cJSON_IsNumber(item) == 0)
        return cJSON_CreateString(texts[fixture_random(seed) % (sizeof(texts) / sizeof(texts[0]))]);
    return cJSON_CreateNumber(
        numbers[fixture_random(seed) % (sizeof(numbers) / sizeof(numbers[0]))]);
}

static void mutate(cJSON *root, uint64_t *seed) {
    cJSON *parent = NULL;
    size_t left = fixture_random(seed) % (count_items(root) - 1);
    cJSON *item = find_item(root, &left, &parent);
    switch (fixture_random(seed) % 8) {
    case 0:
        cJSON_Delete(cJSON_DetachItemViaPointer(parent, item));
        break;
    case 1:
        if (cJSON_IsArray(parent))
            cJSON_AddItemToArray(parent, cJSON_Duplicate(item, 1));
        else
            cJSON_AddItemToObject(parent, item->string, cJSON_Duplicate(item, 1));
        break;
    default: {
        cJSON *new = replacement(seed, item);
        if (cJSON_IsObject(parent)) {
            char *key = strdup(item->string);
            cJSON_Delete(cJSON_DetachItemViaPointer(parent, item));
            cJSON_AddItemToObject(parent, key, new);
            free(key);
        } else {
            cJSON_ReplaceItemViaPointer(parent, item, new);
        }
    }
    }
}

static void test_fuzz_structure(void **state) {
    (void)state;
    char *json = fixture_json(fixture_graph, NULL, NULL);
    cJSON *original = cJSON_Parse(json);
    assert_non_null(original);
    uint64_t seed = 2;
    for (int i = 0; i < 8000; i++) {
        cJSON *root = cJSON_Duplicate(original, 1);
        for (uint32_t n = 1 + fixture_random(&seed) % 3; n > 0 && count_items(root) > 1; n--)
            mutate(root, &seed);
        char *text = cJSON_PrintUnformatted(root);
        exercise(text, strlen(text));
        cJSON_free(text);
        cJSON_Delete(root);
    }
    cJSON_Delete(original);
    free(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),           cmocka_unit_test(test_variants),
        cmocka_unit_test(test_faults),          cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_small),           cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_duplicate_names), cmocka_unit_test(test_fuzz_bytes),
        cmocka_unit_test(test_fuzz_structure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
