/* Sessions over a library of C functions: every test runs with compiled code and with functions of
 * the runtime. */
#include "base/context.h"
#include "test/graph_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const DLDevice cpu = {kDLCPU, 0};
static bool compiled;

static const int64_t two_by_three[] = {2, 3};

static void test_run(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1),
                      *w = fixture_tensor(two_by_three, 2, 10);
    fixture_expect_output(session, 0, (float[]){0, 0, 0, 0, 0, 0}, 6); /* storage begins as zeros */
    expect_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR,
                 "2 inputs were never set: x, w");
    expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
    expect_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR,
                 "1 input was never set: w");
    expect_ok(tvm_graph_session_run(session)); /* as zeros */
    fixture_expect_output(session, 0, (float[]){2, 4, 6, 8, 10, 12}, 6);
    expect_ok(tvm_graph_session_set_input(session, 1, &w->dl));
    expect_ok(tvm_graph_session_set_inputs(session, NULL, 0));
    int before = fixture_calls;
    for (int i = 0; i < 3; i++)
        expect_ok(tvm_graph_session_run(session));
    assert_int_equal(fixture_calls - before, 6); /* the reshape calls nothing */
    fixture_expect_output(session, 0, (float[]){22, 26, 30, 34, 38, 42}, 6);
    struct tvm_tensor *copy = fixture_vector(6, 0), *input;
    expect_ok(tvm_graph_session_copy_output(session, 0, &copy->dl));
    fixture_expect_values(&copy->dl, (float[]){22, 26, 30, 34, 38, 42}, 6);
    expect_ok(tvm_graph_session_get_input(session, 0, &input));
    fixture_expect_values(&input->dl, (float[]){1, 2, 3, 4, 5, 6}, 6);
    fixture_release(session);
    fixture_expect_values(&input->dl, (float[]){1, 2, 3, 4, 5, 6},
                          6); /* a view keeps its storage */
    fixture_release(input);
    fixture_release(copy);
    fixture_release(x);
    fixture_release(w);
}

/* All or none. */
static void test_set_inputs(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1),
                      *other = fixture_tensor(two_by_three, 2, 50),
                      *w = fixture_tensor(two_by_three, 2, 10), *wrong = fixture_vector(6, 0);
    bool bound;
    expect_error(tvm_graph_session_set_inputs(session, (struct tvm_graph_slot[]){{0, other}}, 1),
                 TVM_VALUE_ERROR, "1 input was never set: w");
    expect_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR,
                 "2 inputs were never set: x, w");
    expect_ok(tvm_graph_session_bind_input(session, 0, &x->dl, NULL));
    expect_error(tvm_graph_session_set_inputs(session, (struct tvm_graph_slot[]){{0, other}}, 1),
                 TVM_VALUE_ERROR, "1 input was never set: w");
    expect_error(
        tvm_graph_session_set_inputs(session, (struct tvm_graph_slot[]){{0, other}, {1, wrong}}, 2),
        TVM_VALUE_ERROR, "input 1 (w): expected float32 [2, 3]");
    expect_error(
        tvm_graph_session_set_inputs(session, (struct tvm_graph_slot[]){{0, other}, {2, w}}, 2),
        TVM_INDEX_ERROR, "input 2 is out of range: the graph has 2");
    expect_error(tvm_graph_session_set_inputs(session, (struct tvm_graph_slot[]){{0, NULL}}, 1),
                 TVM_TYPE_ERROR, "input 0 (x): expected a tensor, got None");
    expect_ok(tvm_graph_session_is_bound(session, 0, &bound));
    assert_true(bound);
    expect_ok(tvm_graph_session_set_inputs(session, (struct tvm_graph_slot[]){{1, w}}, 1));
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_output(session, 0, (float[]){22, 26, 30, 34, 38, 42}, 6); /* with x */
    expect_ok(tvm_graph_session_set_inputs(session, (struct tvm_graph_slot[]){{0, other}}, 1));
    expect_ok(tvm_graph_session_is_bound(session, 0, &bound));
    assert_false(bound);
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_output(session, 0, (float[]){120, 124, 128, 132, 136, 140}, 6);
    fixture_release(session);
    fixture_release(x);
    fixture_release(other);
    fixture_release(w);
    fixture_release(wrong);
}

/* The names of many inputs that were never set are cut. */
static void test_many_inputs(void **state) {
    char name[201] = "", graph[2048];
    (void)state;
    memset(name, 'n', 200);
#define LONG_INPUT "{'op': 'null', 'name': '%s', 'inputs': []}"
    snprintf(graph, sizeof(graph),
             "{'nodes': [" LONG_INPUT "," LONG_INPUT "," LONG_INPUT
             "], 'arg_nodes': [0, 1, 2], 'heads': [], 'node_row_ptr': [0, 1, 2, 3],"
             "'attrs': {'dltype': ['list_str', ['int8', 'int8', 'int8']],"
             "'storage_id': ['list_int', [0, 1, 2]], 'shape': ['list_shape', [[], [], []]]}}",
             name, name, name);
    struct tvm_graph_session *session = fixture_session(graph, compiled, NULL);
    expect_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR, "nnn…");
    fixture_release(session);
}

static void test_wrong_values(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1);
    DLTensor wrong = x->dl;
    wrong.dtype = (DLDataType){kDLInt, 32, 1};
    expect_error(tvm_graph_session_set_input(session, 0, &wrong), TVM_TYPE_ERROR,
                 "input 0 (x): expected float32 [2, 3] (24 bytes), got int32 "
                 "[2, 3] (24 bytes)");
    int64_t shape[] = {3, 2, 1}, strides[] = {1, 2}, negative[] = {-2, 3};
    wrong = x->dl;
    wrong.shape = shape;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_VALUE_ERROR,
                 "input 1 (w): expected float32 [2, 3] (24 bytes), got "
                 "float32 [3, 2] (24 bytes)");
    wrong.ndim = 1;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_VALUE_ERROR,
                 "got float32 [3] (12 bytes)");
    wrong.ndim = -1;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_VALUE_ERROR,
                 "shape is not valid");
    wrong = x->dl;
    wrong.shape = negative;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_VALUE_ERROR,
                 "shape is not valid");
    wrong.shape = NULL;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_VALUE_ERROR,
                 "shape is not valid");
    wrong = x->dl;
    wrong.strides = strides;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_VALUE_ERROR, "not compact");
    wrong = x->dl;
    wrong.data = NULL;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_VALUE_ERROR, "no data");
    expect_error(tvm_graph_session_set_input(session, 1, NULL), TVM_TYPE_ERROR, "got None");
    wrong = x->dl;
    wrong.device.device_type = (DLDeviceType)99;
    expect_error(tvm_graph_session_set_input(session, 1, &wrong), TVM_TYPE_ERROR,
                 "input 1 (w): device type 99");
    expect_error(tvm_graph_session_bind_input(session, 1, &wrong, NULL), TVM_TYPE_ERROR,
                 "expected a tensor on cpu(0), got one on device type 99");
    wrong = x->dl;
    wrong.data = (char *)wrong.data + 16;
    expect_error(tvm_graph_session_bind_input(session, 1, &wrong, NULL), TVM_VALUE_ERROR,
                 "which is no multiple of 64");
    expect_error(tvm_graph_session_bind_output(session, 0, &x->dl, NULL), TVM_VALUE_ERROR,
                 "output 0 (double): expected float32 [6] (24 bytes), got "
                 "float32 [2, 3]");
    expect_error(tvm_graph_session_copy_output(session, 0, &x->dl), TVM_VALUE_ERROR,
                 "output 0 (double)");
    struct tvm_tensor *out;
    expect_error(tvm_graph_session_set_input(session, 2, &x->dl), TVM_INDEX_ERROR,
                 "input 2 is out of range: the graph has 2");
    expect_error(tvm_graph_session_get_input(session, 2, &out), TVM_INDEX_ERROR, "input 2");
    expect_error(tvm_graph_session_get_output(session, 1, &out), TVM_INDEX_ERROR,
                 "output 1 is out of range");
    expect_error(tvm_graph_session_bind_input(session, SIZE_MAX, NULL, NULL), TVM_INDEX_ERROR,
                 "is out of range: the graph has 2");
    expect_error(tvm_graph_session_bind_output(session, 1, NULL, NULL), TVM_INDEX_ERROR,
                 "output 1");
    expect_error(tvm_graph_session_copy_output(session, 1, &x->dl), TVM_INDEX_ERROR, "output 1");
    fixture_release(x);
    fixture_release(session);
}

static void test_operators(void **state) {
    (void)state;
    // clang-format off
    static const char graph[] =
        "{'nodes': ["
        FIXTURE_INPUT("x") ","
        FIXTURE_OP_WITH("s", "split", "1", "2", "0", "[[0, 0, 0]]") ","
        FIXTURE_OP("c", "__copy", "[[1, 1, 0]]") ","
        FIXTURE_OP_WITH("f", "flat", "1", "1", "1", "[[2, 0, 0]]") "],"
        "'arg_nodes': [0],"
        "'heads': [[1, 0, 0], [3, 0, 0], [3, 0, 0]],"
        "'node_row_ptr': [0, 1, 3, 4, 5],"
        "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32', 'float32', 'float32']],"
        "'storage_id': ['list_int', [0, 1, 2, 3, 4]],"
        "'shape': ['list_shape', [[2, 2], [2, 2], [2, 2], [2, 2], [2, 2]]]}}";
    // clang-format on
    static const int64_t square[] = {2, 2};
    struct tvm_graph_session *session = fixture_session(graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(square, 2, 1), *out,
                      *bound = fixture_tensor(square, 2, 0);
    expect_ok(tvm_graph_session_bind_input(session, 0, &x->dl, NULL));
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_output(session, 0, (float[]){2, 3, 4, 5}, 4);
    fixture_expect_output(session, 1, (float[]){10, 20, 30, 40}, 4);
    expect_ok(tvm_graph_session_get_output(session, 1, &out));
    assert_int_equal(out->dl.ndim, 2); /* flat for the operator only */
    fixture_release(out);
    expect_ok(tvm_graph_session_bind_output(session, 2, &bound->dl, NULL));
    ((float *)x->dl.data)[0] = 7;
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_values(&bound->dl, (float[]){70, 20, 30, 40}, 4);
    fixture_expect_output(session, 1, (float[]){70, 20, 30, 40}, 4);
    fixture_release(bound);
    fixture_release(x);
    fixture_release(session);
}

static void test_bool_and_small(void **state) {
    (void)state;
    // clang-format off
    static const char graph[] =
        "{'nodes': ["
        FIXTURE_INPUT("m") ","
        FIXTURE_OP("n", "not", "[[0, 0, 0]]") ","
        FIXTURE_INPUT("e") ","
        FIXTURE_OP("e1", "add1", "[[2, 0, 0]]") ","
        FIXTURE_INPUT("z") ","
        FIXTURE_OP("z1", "add1", "[[4, 0, 0]]") "],"
        "'arg_nodes': [0, 2, 4],"
        "'heads': [[1, 0, 0], [3, 0, 0], [5, 0, 0]],"
        "'node_row_ptr': [0, 1, 2, 3, 4, 5, 6],"
        "'attrs': {'dltype': ['list_str', ['bool', 'uint1', 'float32', 'float32', 'float32', 'float32']],"
        "'storage_id': ['list_int', [0, 1, 2, 3, 4, 5]],"
        "'shape': ['list_shape', [[3], [3], [0, 4], [0, 4], [], []]]}}";
    // clang-format on
    static const int64_t three[] = {3}, none[] = {0, 4};
    struct tvm_graph_session *session = fixture_session(graph, compiled, NULL);
    struct tvm_tensor *mask, *out, *empty = fixture_tensor(none, 2, 0),
                                   *scalar = fixture_tensor(NULL, 0, 4);
    expect_ok(tvm_tensor_empty(three, 1, (DLDataType){TVM_DTYPE_BOOL, 8, 1}, cpu, &mask));
    memcpy(mask->dl.data, "\1\0\1", 3);
    expect_ok(tvm_graph_session_set_input(session, 0, &mask->dl));
    expect_error(tvm_graph_session_set_input(session, 0, &mask->classic), TVM_TYPE_ERROR,
                 "expected bool [3]"); /* the caller's code is converted earlier */
    expect_ok(tvm_graph_session_set_input(session, 1, &empty->dl));
    expect_ok(tvm_graph_session_set_input(session, 2, &scalar->dl));
    DLTensor nowhere = empty->dl;
    nowhere.data = (char *)empty->dl.data + 1; /* of no bytes, any address will do */
    expect_ok(tvm_graph_session_bind_input(session, 1, &nowhere, NULL));
    nowhere.data = NULL;
    expect_ok(tvm_graph_session_set_input(session, 1, &nowhere));
    expect_ok(tvm_graph_session_bind_input(session, 1, &nowhere, NULL));
    expect_ok(tvm_graph_session_bind_output(session, 1, &nowhere, NULL));
    expect_ok(tvm_graph_session_run(session));
    expect_ok(tvm_graph_session_get_output(session, 0, &out));
    assert_int_equal(out->dl.dtype.code, TVM_DTYPE_BOOL);
    assert_int_equal(out->classic.dtype.code, kDLUInt);
    assert_memory_equal(out->dl.data, "\0\1\0", 3);
    fixture_release(out);
    fixture_expect_output(session, 1, NULL, 0);
    fixture_expect_output(session, 2, (float[]){5}, 1);
    fixture_release(mask);
    fixture_release(empty);
    fixture_release(scalar);
    fixture_release(session);
}

static int create(const char *old, const char *new, const DLDevice *devices, size_t count) {
    char *json = fixture_json(fixture_graph, old, new);
    struct tvm_graph_plan *plan;
    struct tvm_graph_session *session;
    struct tvm_module *library = fixture_library(compiled);
    expect_ok(tvm_graph_plan_new("test.json", json, strlen(json), &plan));
    int status = tvm_graph_session_new(plan, library, NULL, devices, count, NULL, &session);
    if (status == 0)
        fixture_release(session);
    fixture_release(plan);
    fixture_release(library);
    free(json);
    return status;
}

static void test_creation_errors(void **state) {
    (void)state;
    expect_error(create("'add'", "'missing'", &cpu, 1), TVM_NOT_FOUND_ERROR,
                 "test.json: node 2 (sum): function missing is neither in "
                 "the library");
    expect_error(create(NULL, NULL, &cpu, 0), TVM_VALUE_ERROR, "no device was given");
    DLDevice odd[] = {{kDLCPU, 0}, {(DLDeviceType)99, 0}};
    expect_error(create(NULL, NULL, odd, 2), TVM_TYPE_ERROR, "device type 99");
    expect_error(create("[1, 1, 1, 1, 1]", "[1, 1, 1, 1, 77]", &cpu, 1), TVM_TYPE_ERROR,
                 "device type 77");
    DLDevice others[] = {{kDLCPU, 3}, {kDLCPU, 0}};
    expect_ok(create(NULL, NULL, others, 2));
}

// clang-format off
static const char hooked[] =
    "{'nodes': ["
    FIXTURE_INPUT("x") ","
    FIXTURE_OP("one", "add1", "[[0, 0, 0]]") ","
    FIXTURE_OP("two", "hook", "[[1, 0, 0]]") ","
    FIXTURE_OP("three", "add1", "[[2, 0, 0]]") "],"
    "'arg_nodes': [0],"
    "'heads': [[3, 0, 0]],"
    "'node_row_ptr': [0, 1, 2, 3, 4],"
    "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32', 'float32']],"
    "'storage_id': ['list_int', [0, 1, 2, 3]],"
    "'shape': ['list_shape', [[2], [2], [2], [2]]]}}";
// clang-format on

static struct tvm_graph_session *hooked_session;

static int raise_payload(void) {
    struct tvm_object *payload = tvm_object_alloc(sizeof(*payload), TVM_TYPE_OBJECT, NULL);
    return tvm_raise_with_payload(TVM_VALUE_ERROR, "deliberate", 10, payload);
}

static int check_inside(void) {
    /* Nobody else gets in while it runs, and the context is the session's. */
    struct tvm_tensor *out;
    bool is;
    assert_ptr_equal(tvm_context_current(), tvm_graph_session_context(hooked_session));
    expect_error(tvm_graph_session_run(hooked_session), TVM_BUSY_ERROR, "busy");
    expect_error(tvm_graph_session_get_output(hooked_session, 0, &out), TVM_BUSY_ERROR, "busy");
    expect_error(tvm_graph_session_bind_input(hooked_session, 0, NULL, NULL), TVM_BUSY_ERROR,
                 "busy");
    expect_error(tvm_graph_session_set_inputs(hooked_session, NULL, 0), TVM_BUSY_ERROR, "busy");
    expect_error(tvm_graph_session_is_bound(hooked_session, 0, &is), TVM_BUSY_ERROR, "busy");
    /* Another session may run inside. */
    struct tvm_graph_session *inner = fixture_session(fixture_graph, compiled, NULL);
    expect_ok(tvm_graph_session_run(inner));
    fixture_release(inner);
    assert_ptr_equal(tvm_context_current(), tvm_graph_session_context(hooked_session));
    return 0;
}

static int cancel(void) {
    tvm_graph_session_context(hooked_session)->cancelled = true;
    return 0;
}

static void test_errors_and_cancel(void **state) {
    (void)state;
    struct tvm_graph_session *session = hooked_session = fixture_session(hooked, compiled, NULL);
    struct tvm_context *outside = tvm_context_current();
    fixture_hook = raise_payload;
    assert_int_equal(tvm_graph_session_run(session), -1);
    assert_non_null(tvm_error_peek()->payload);
    expect_error(-1, TVM_VALUE_ERROR, "test.json: node 2 (two): hook: deliberate");
    fixture_hook = check_inside;
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_output(session, 0, (float[]){2, 2}, 2);
    fixture_hook = cancel;
    int before = fixture_calls;
    expect_error(tvm_graph_session_run(session), TVM_CANCELLED_ERROR, "cancelled");
    assert_int_equal(fixture_calls - before, 2); /* the third operator was not called */
    expect_error(tvm_graph_session_run(session), TVM_CANCELLED_ERROR, "cancelled");
    tvm_graph_session_context(session)->cancelled = false;
    fixture_hook = NULL;
    expect_ok(tvm_graph_session_run(session));
    assert_ptr_equal(tvm_context_current(), outside);
    fixture_release(session);
}

static const float linked_data[6] __attribute__((aligned(64))) = {1, 2, 3, 4, 5, 6};

static int lookup_tensor(void *self, const struct tvm_value *args, int32_t count,
                         struct tvm_value *result) {
    (void)self;
    assert_int_equal(count, 4);
    assert_int_equal(args[0].type_index, TVM_TYPE_MODULE);
    assert_int_equal(((DLTensor *)args[2].v_ptr)->shape[1], 3);
    assert_int_equal(args[3].v_device.device_type, kDLCPU);
    if (args[1].v_int == 1)
        *result = tvm_from_object(fixture_tensor(two_by_three, 2, 1));
    return 0;
}

static struct tvm_tensor *given;

static int lookup_given(void *self, const struct tvm_value *args, int32_t count,
                        struct tvm_value *result) {
    (void)self, (void)count;
    if (args[1].v_int != 1)
        return 0;
    tvm_object_retain(&given->object);
    *result = tvm_from_object(given);
    return 0;
}

static int lookup_pointer(void *self, const struct tvm_value *args, int32_t count,
                          struct tvm_value *result) {
    (void)self, (void)count;
    if (args[1].v_int == 1)
        *result = tvm_opaque((void *)(uintptr_t)linked_data);
    return 0;
}

static int lookup_wrong(void *self, const struct tvm_value *args, int32_t count,
                        struct tvm_value *result) {
    (void)self, (void)args, (void)count;
    *result = tvm_int(3);
    return 0;
}

static void test_linked_params(void **state) {
    (void)state;
    tvm_safe_call *const calls[] = {lookup_tensor, lookup_pointer};
    struct tvm_graph_plan *plan = fixture_plan(fixture_graph);
    struct tvm_module *library = fixture_library(compiled);
    struct tvm_graph_session *session;
    struct tvm_function *lookup;
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1);
    for (int i = 0; i < 2; i++) {
        expect_ok(tvm_function_new(calls[i], NULL, NULL, &lookup));
        expect_ok(tvm_graph_session_new(plan, library, NULL, &cpu, 1, lookup, &session));
        fixture_release(lookup);
        expect_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR,
                     "1 input was never set: x");
        expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
        expect_ok(tvm_graph_session_run(session));
        fixture_expect_output(session, 0, (float[]){4, 8, 12, 16, 20, 24}, 6);
        expect_ok(tvm_graph_session_set_input(session, 1, &x->dl)); /* not into read-only memory */
        expect_ok(tvm_graph_session_run(session));
        fixture_release(session);
    }
    /* Tensors that operators cannot work on are copied: one that was lent, one at an offset. */
    struct tvm_tensor *large = fixture_vector(22, -15);
    expect_ok(tvm_function_new(lookup_given, NULL, NULL, &lookup));
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            given = fixture_tensor(two_by_three, 2, 1);
        else
            expect_ok(
                tvm_tensor_view(large->storage, 64, two_by_three, 2, large->dl.dtype, &given));
        given->storage->lent = i == 0;
        expect_ok(tvm_graph_session_new(plan, library, NULL, &cpu, 1, lookup, &session));
        memset((char *)given->dl.data + given->dl.byte_offset, 0, 24);
        fixture_release(given);
        expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
        expect_ok(tvm_graph_session_run(session));
        fixture_expect_output(session, 0, (float[]){4, 8, 12, 16, 20, 24}, 6);
        fixture_release(session);
    }
    fixture_release(large);
    fixture_release(lookup);
    /* w's storage is where the graph puts its result. */
    char *json = fixture_json(fixture_graph, "[0, 1, 2, 2, 3]", "[0, 1, 2, 2, 1]");
    struct tvm_graph_plan *overwriting;
    expect_ok(tvm_graph_plan_new("test.json", json, strlen(json), &overwriting));
    expect_ok(tvm_function_new(lookup_pointer, NULL, NULL, &lookup));
    expect_error(tvm_graph_session_new(overwriting, library, NULL, &cpu, 1, lookup, &session),
                 TVM_FORMAT_ERROR,
                 "test.json: linked parameter w: an operator writes to its storage 1");
    fixture_release(overwriting);
    fixture_release(lookup);
    free(json);
    expect_ok(tvm_function_new(lookup_wrong, NULL, NULL, &lookup));
    expect_error(tvm_graph_session_new(plan, library, NULL, &cpu, 1, lookup, &session),
                 TVM_TYPE_ERROR, "test.json: linked parameter x: expected a pointer");
    fixture_release(lookup);
    fixture_release(x);
    fixture_release(plan);
    fixture_release(library);
}

/* Many threads, each with a session of its own, on one plan and one set of parameters. */
struct worker {
    struct tvm_graph_plan *plan;
    struct tvm_module *library;
    struct tvm_graph_params *params;
    float first;
};

static void *work(void *argument) {
    const struct worker *worker = argument;
    struct tvm_graph_session *session;
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, worker->first);
    float expected[6];
    for (int i = 0; i < 6; i++)
        expected[i] = 2 * (worker->first + (float)i + 10 * (float)(i + 1));
    for (int round = 0; round < 20; round++) {
        expect_ok(tvm_graph_session_new(worker->plan, worker->library, worker->params, &cpu, 1,
                                        NULL, &session));
        expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
        for (int i = 0; i < 20; i++) {
            expect_ok(tvm_graph_session_run(session));
            fixture_expect_output(session, 0, expected, 6);
        }
        fixture_release(session);
    }
    fixture_release(x);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    static const float weights[] = {10, 20, 30, 40, 50, 60};
    struct worker workers[4];
    pthread_t threads[4];
    struct tvm_graph_plan *plan = fixture_plan(fixture_graph);
    struct tvm_module *library = fixture_library(compiled);
    struct tvm_graph_params *params = fixture_load_params("w", two_by_three, 2, weights);
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){plan, library, params, (float)i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    fixture_release(plan);
    fixture_release(library);
    fixture_release(params);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_run),
        FIXTURE_TEST(test_set_inputs),
        FIXTURE_TEST(test_many_inputs),
        FIXTURE_TEST(test_wrong_values),
        FIXTURE_TEST(test_operators),
        FIXTURE_TEST(test_bool_and_small),
        FIXTURE_TEST(test_creation_errors),
        FIXTURE_TEST(test_errors_and_cancel),
        FIXTURE_TEST(test_linked_params),
        FIXTURE_TEST(test_threads),
    };
    int failed = cmocka_run_group_tests_name("functions of the runtime", tests, NULL, NULL);
    compiled = true;
    return failed + cmocka_run_group_tests_name("compiled code", tests, NULL, NULL);
}
