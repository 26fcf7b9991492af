/* Inputs and outputs in the caller's memory, and parameters that sessions share: every test runs
 * with compiled code and with functions of the runtime. */
#include "graph/session.h"
#include "test/graph_fixture.h"

#include <stdlib.h>
#include <string.h>

static bool compiled;

static const int64_t two_by_three[] = {2, 3};

static void test_bind(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1),
                      *w = fixture_tensor(two_by_three, 2, 10);
    struct tvm_tensor *out = fixture_vector(6, 0), *seen;
    expect_ok(tvm_graph_session_bind_input(session, 0, &x->dl, NULL));
    expect_ok(tvm_graph_session_set_input(session, 1, &w->dl));
    expect_ok(tvm_graph_session_bind_output(session, 0, &out->dl, NULL));
    assert_false(session->outputs[0].is_copied); /* it is written in place */
    expect_ok(tvm_graph_session_set_inputs(session, NULL, 0));
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_values(&out->dl, (float[]){22, 26, 30, 34, 38, 42}, 6);
    ((float *)x->dl.data)[0] = 100; /* in place */
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_values(&out->dl, (float[]){220, 26, 30, 34, 38, 42}, 6);
    expect_ok(tvm_graph_session_get_output(session, 0, &seen));
    assert_ptr_equal(seen->dl.data, out->dl.data);
    fixture_release(seen);
    expect_ok(tvm_graph_session_get_input(session, 0, &seen));
    assert_ptr_equal(seen->dl.data, x->dl.data);
    fixture_release(seen);
    /* At an offset of its memory. */
    struct tvm_tensor *large = fixture_vector(32, 0);
    DLTensor part = out->dl;
    part.data = large->dl.data;
    part.byte_offset = 64;
    expect_ok(tvm_graph_session_bind_output(session, 0, &part, NULL));
    expect_ok(tvm_graph_session_run(session));
    assert_float_equal(((float *)large->dl.data)[15], 15, 0);
    assert_float_equal(((float *)large->dl.data)[16], 220, 0);
    assert_float_equal(((float *)large->dl.data)[22], 22, 0);
    /* Unbound: the session's own memory again, which was never set for x. */
    expect_ok(tvm_graph_session_bind_output(session, 0, NULL, NULL));
    expect_ok(tvm_graph_session_bind_input(session, 0, NULL, NULL));
    expect_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR,
                 "1 input was never set: x");
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_output(session, 0, (float[]){20, 22, 24, 26, 28, 30}, 6);
    assert_float_equal(((float *)large->dl.data)[16], 220, 0);
    /* set_input ends a binding. */
    expect_ok(tvm_graph_session_bind_input(session, 0, &x->dl, NULL));
    expect_ok(tvm_graph_session_set_input(session, 0, &w->dl));
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_output(session, 0, (float[]){40, 44, 48, 52, 56, 60}, 6);
    assert_float_equal(((float *)x->dl.data)[1], 2, 0);
    fixture_release(large);
    fixture_release(out);
    fixture_release(x);
    fixture_release(w);
    fixture_release(session);
}

static void expect_kept(struct tvm_tensor *owner, bool bound, struct tvm_tensor *view) {
    assert_ptr_equal(view->dl.data, owner->dl.data);
    assert_int_equal(tvm_object_use_count(&owner->object), bound ? 3 : 2);
}

/* Views of bound memory keep its owner, also when it is bound no more. */
static void test_owner(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1), *y = fixture_vector(6, 0), *views[2],
                      *own;
    expect_ok(tvm_graph_session_bind_input(session, 0, &x->dl, &x->object));
    expect_ok(tvm_graph_session_bind_output(session, 0, &y->dl, &y->object));
    expect_ok(tvm_graph_session_run(session));
    expect_ok(tvm_graph_session_get_input(session, 0, &views[0]));
    expect_ok(tvm_graph_session_get_output(session, 0, &views[1]));
    expect_kept(x, true, views[0]);
    expect_kept(y, true, views[1]);
    expect_ok(tvm_graph_session_get_input(session, 1, &own));
    assert_int_equal(tvm_object_use_count(&x->object), 3);
    fixture_release(own);
    expect_ok(tvm_graph_session_bind_input(session, 0, NULL, NULL));
    expect_ok(tvm_graph_session_bind_output(session, 0, NULL, NULL));
    expect_kept(x, false, views[0]);
    expect_kept(y, false, views[1]);
    fixture_release(session);
    fixture_release(y);
    fixture_expect_values(&views[1]->dl, (float[]){2, 4, 6, 8, 10, 12}, 6);
    fixture_release(views[0]);
    fixture_release(views[1]);
    assert_int_equal(tvm_object_use_count(&x->object), 1);
    fixture_release(x);
}

static void test_lent(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1), *y = fixture_vector(6, 0);
    x->storage->lent = y->storage->lent = true;
    expect_error(tvm_graph_session_bind_input(session, 0, &x->dl, &x->object), TVM_VALUE_ERROR,
                 "input 0 (x): the tensor's memory is lent for the time of a call");
    expect_error(tvm_graph_session_bind_output(session, 0, &y->dl, &y->object), TVM_VALUE_ERROR,
                 "output 0 (double): the tensor's memory is lent for the time of a call");
    expect_ok(tvm_graph_session_set_input(session, 0, &x->dl)); /* a copy */
    fixture_release(x);
    fixture_release(y);
    fixture_release(session);
}

/* x → nop r (an output) → add1 a (an output) → nop s (an output) → twice (an output); x is one too.
 */
// clang-format off
static const char chain[] =
    "{'nodes': ["
    FIXTURE_INPUT("x") ","
    FIXTURE_OP("r", "__nop", "[[0, 0, 0]]") ","
    FIXTURE_OP("a", "add1", "[[1, 0, 0]]") ","
    FIXTURE_OP("s", "__nop", "[[2, 0, 0]]") ","
    FIXTURE_OP("b", "twice", "[[3, 0, 0]]") "],"
    "'arg_nodes': [0],"
    "'heads': [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0]],"
    "'node_row_ptr': [0, 1, 2, 3, 4, 5],"
    "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32', 'float32', 'float32']],"
    "'storage_id': ['list_int', [0, 0, 1, 1, 2]],"
    "'shape': ['list_shape', [[4], [2, 2], [2, 2], [4, 1], [4]]]}}";
// clang-format on

static void expect_chain(struct tvm_graph_session *session, float first) {
    float x[4], a[4], b[4];
    for (int i = 0; i < 4; i++) {
        x[i] = first + (float)i;
        a[i] = x[i] + 1;
        b[i] = a[i] * 2;
    }
    const float *expected[] = {x, x, a, a, b};
    for (size_t k = 0; k < 5; k++)
        fixture_expect_output(session, k, expected[k], 4);
}

/* Views that are bound in turn do not hold each other. */
static void test_views_of_views(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(chain, compiled, NULL);
    struct tvm_tensor *x = fixture_vector(4, 1), *view;
    expect_ok(tvm_graph_session_bind_input(session, 0, &x->dl, &x->object));
    int64_t live = 0;
    for (int i = 0; i < 5; i++) {
        expect_ok(tvm_graph_session_get_input(session, 0, &view));
        expect_ok(tvm_graph_session_bind_input(session, 0, &view->dl, &view->object));
        fixture_release(view);
        if (i == 0)
            live = tvm_object_live_count();
        assert_int_equal(tvm_object_live_count(), live);
    }
    fixture_release(session);
    fixture_release(x);
}

/* An output bound with an owner has it, whatever else is bound to the memory. */
static void test_owner_of_alias(void **state) {
    (void)state;
    static const int64_t square[] = {2, 2};
    struct tvm_graph_session *session = fixture_session(chain, compiled, NULL);
    struct tvm_tensor *x = fixture_vector(4, 1), *view;
    expect_ok(tvm_graph_session_bind_input(session, 0, &x->dl, NULL));
    DLTensor again = x->dl;
    again.ndim = 2;
    again.shape = (int64_t *)(uintptr_t)square;
    expect_ok(tvm_graph_session_bind_output(session, 1, &again, &x->object));
    expect_ok(tvm_graph_session_get_output(session, 1, &view));
    assert_int_equal(tvm_object_use_count(&x->object), 3);
    fixture_release(view);
    fixture_release(session);
    fixture_release(x);
}

/* Views of outputs that are copied to bound memory, or are the same bytes as another. */
static void test_owner_of_copy(void **state) {
    (void)state;
    static const int64_t square[] = {2, 2}, column[] = {4, 1};
    struct tvm_graph_session *session = fixture_session(chain, compiled, NULL);
    struct tvm_tensor *x = fixture_vector(4, 1),
                      *outs[] = {fixture_vector(4, 0), NULL, fixture_tensor(square, 2, 0),
                                 fixture_tensor(column, 2, 0)};
    expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
    for (size_t k = 0; k < 4; k++)
        if (outs[k])
            expect_ok(tvm_graph_session_bind_output(session, k, &outs[k]->dl, &outs[k]->object));
    expect_ok(tvm_graph_session_run(session));
    for (size_t k = 0; k < 4; k++) {
        struct tvm_tensor *view;
        if (!outs[k])
            continue;
        expect_ok(tvm_graph_session_get_output(session, k, &view));
        expect_kept(outs[k], true, view);
        fixture_release(view);
        assert_int_equal(tvm_object_use_count(&outs[k]->object), 2);
    }
    expect_ok(tvm_graph_session_bind_output(session, 3, NULL, NULL));
    struct tvm_tensor *alias; /* of what output 2 is bound to */
    expect_ok(tvm_graph_session_get_output(session, 3, &alias));
    expect_kept(outs[2], true, alias);
    fixture_release(alias);
    fixture_release(session);
    for (size_t k = 0; k < 4; k++)
        fixture_release(outs[k]);
    fixture_release(x);
}

static void test_reshapes(void **state) {
    (void)state;
    static const int64_t square[] = {2, 2}, column[] = {4, 1}, four[] = {4};
    static const struct {
        const int64_t *shape;
        int ndim;
    } shapes[] = {{four, 1}, {square, 2}, {square, 2}, {column, 2}, {four, 1}};
    struct tvm_graph_session *session = fixture_session(chain, compiled, NULL);
    struct tvm_tensor *x = fixture_vector(4, 1), *y = fixture_vector(4, 5);
    struct tvm_tensor *first = fixture_vector(4, 9);
    expect_ok(tvm_graph_session_copy_output(session, 0, &first->dl)); /* an input, not set yet */
    fixture_expect_values(&first->dl, (float[]){0, 0, 0, 0}, 4);
    fixture_release(first);
    expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
    expect_ok(tvm_graph_session_run(session));
    expect_chain(session, 1);
    /* Whatever subset of the outputs is bound, all have the right values, bound or not. */
    for (unsigned set = 0; set < 32; set++) {
        struct tvm_tensor *bound[5];
        for (size_t k = 0; k < 5; k++) {
            bound[k] = fixture_tensor(shapes[k].shape, shapes[k].ndim, -9);
            expect_ok(tvm_graph_session_bind_output(session, k, set >> k & 1 ? &bound[k]->dl : NULL,
                                                    NULL));
        }
        if (set % 2)
            expect_ok(tvm_graph_session_bind_input(session, 0, &y->dl, NULL));
        else
            expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
        expect_ok(tvm_graph_session_run(session));
        float first = set % 2 ? 5 : 1;
        expect_chain(session, first);
        const float starts[] = {first, first, first + 1, first + 1, (first + 1) * 2};
        for (size_t k = 0; k < 5; k++) {
            float start = set >> k & 1 ? starts[k] : -9;
            float step = set >> k & 1 && k == 4 ? 2 : 1;
            fixture_expect_values(
                &bound[k]->dl, (float[]){start, start + step, start + 2 * step, start + 3 * step},
                4);
        }
        for (size_t k = 0; k < 5; k++) { /* of what is bound, its memory */
            struct tvm_tensor *copy = fixture_tensor(shapes[k].shape, shapes[k].ndim, 0), *seen;
            *(float *)bound[k]->dl.data = 77;
            expect_ok(tvm_graph_session_copy_output(session, k, &copy->dl));
            expect_ok(tvm_graph_session_get_output(session, k, &seen));
            assert_true(*(float *)copy->dl.data == 77 || !(set >> k & 1));
            assert_memory_equal(copy->dl.data, seen->dl.data, 4 * sizeof(float));
            fixture_release(seen);
            fixture_release(copy);
            expect_ok(tvm_graph_session_bind_output(session, k, NULL, NULL));
            fixture_release(bound[k]);
        }
    }
    fixture_release(x);
    fixture_release(y);
    fixture_release(session);
}

/* The storage of an output was used for something larger before: only the output moves. */
static void test_bound_output_of_reused_storage(void **state) {
    (void)state;
    // clang-format off
    static const char graph[] =
        "{'nodes': ["
        FIXTURE_INPUT("x") ","
        FIXTURE_INPUT("y") ","
        FIXTURE_OP("big", "add1", "[[0, 0, 0]]") ","
        FIXTURE_OP("big2", "twice", "[[2, 0, 0]]") ","
        FIXTURE_OP("small", "add1", "[[1, 0, 0]]") "],"
        "'arg_nodes': [0, 1],"
        "'heads': [[4, 0, 0], [3, 0, 0]],"
        "'node_row_ptr': [0, 1, 2, 3, 4, 5],"
        "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32', 'float32', 'float32']],"
        "'storage_id': ['list_int', [0, 1, 2, 3, 2]],"
        "'shape': ['list_shape', [[64], [2], [64], [64], [2]]]}}";
    // clang-format on
    struct tvm_graph_session *session = fixture_session(graph, compiled, NULL);
    struct tvm_tensor *x = fixture_vector(64, 0), *y = fixture_vector(2, 7),
                      *out = fixture_vector(2, 0);
    expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
    expect_ok(tvm_graph_session_set_input(session, 1, &y->dl));
    expect_ok(tvm_graph_session_bind_output(session, 0, &out->dl, NULL));
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_values(&out->dl, (float[]){8, 9}, 2);
    struct tvm_tensor *big;
    expect_ok(tvm_graph_session_get_output(session, 1, &big));
    assert_float_equal(((float *)big->dl.data)[63], 128, 0);
    fixture_release(big);
    fixture_release(out);
    fixture_release(x);
    fixture_release(y);
    fixture_release(session);
}

static void test_params(void **state) {
    (void)state;
    static const float weights[] = {10, 20, 30, 40, 50, 60};
    struct tvm_graph_params *params = fixture_load_params("w", two_by_three, 2, weights);
    struct tvm_graph_session *one = fixture_session(fixture_graph, compiled, params);
    struct tvm_graph_session *two = fixture_session(fixture_graph, compiled, params);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1), *seen;
    struct tvm_tensor *shared = tvm_graph_params_find(params, (struct tvm_bytes){"w", 1});
    expect_ok(tvm_graph_session_set_input(one, 0, &x->dl));
    expect_ok(tvm_graph_session_set_inputs(one, NULL, 0));
    expect_ok(tvm_graph_session_set_input(two, 0, &x->dl));
    expect_ok(tvm_graph_session_run(one));
    fixture_expect_output(one, 0, (float[]){22, 44, 66, 88, 110, 132}, 6);
    /* Read as the session's own copy: writing to it changes this session alone. */
    expect_ok(tvm_graph_session_get_input(one, 1, &seen));
    assert_ptr_not_equal(seen->dl.data, shared->dl.data);
    fixture_expect_values(&seen->dl, weights, 6);
    memcpy(seen->dl.data, x->dl.data, 24);
    fixture_release(seen);
    expect_ok(tvm_graph_session_run(one));
    expect_ok(tvm_graph_session_run(two));
    fixture_expect_output(one, 0, (float[]){4, 8, 12, 16, 20, 24}, 6);
    fixture_expect_output(two, 0, (float[]){22, 44, 66, 88, 110, 132}, 6);
    expect_ok(tvm_graph_session_set_params(one, params));
    /* Replaced in one session: the other keeps it. */
    expect_ok(tvm_graph_session_set_input(one, 1, &x->dl));
    expect_ok(tvm_graph_session_run(one));
    expect_ok(tvm_graph_session_run(two));
    fixture_expect_output(one, 0, (float[]){4, 8, 12, 16, 20, 24}, 6);
    fixture_expect_output(two, 0, (float[]){22, 44, 66, 88, 110, 132}, 6);
    fixture_expect_values(&shared->dl, weights, 6);
    /* Bound and unbound: the shared one is back; overridden before, the override is. */
    expect_ok(tvm_graph_session_bind_input(two, 1, &x->dl, NULL));
    expect_ok(tvm_graph_session_get_input(two, 1, &seen));
    assert_ptr_equal(seen->dl.data, x->dl.data);
    fixture_release(seen);
    expect_ok(tvm_graph_session_run(two));
    fixture_expect_output(two, 0, (float[]){4, 8, 12, 16, 20, 24}, 6);
    expect_ok(tvm_graph_session_bind_input(two, 1, NULL, NULL));
    expect_ok(tvm_graph_session_run(two));
    fixture_expect_output(two, 0, (float[]){22, 44, 66, 88, 110, 132}, 6);
    /* Set again: the parameter replaces the override, whose memory goes, and what is bound. */
    expect_ok(tvm_graph_session_bind_input(one, 1, &x->dl, &x->object));
    int64_t live = tvm_object_live_count();
    expect_ok(tvm_graph_session_set_params(one, params));
    assert_int_equal(tvm_object_live_count(), live - 1);
    assert_int_equal(tvm_object_use_count(&x->object), 1);
    fixture_release(params);
    expect_ok(tvm_graph_session_run(one));
    fixture_expect_output(one, 0, (float[]){22, 44, 66, 88, 110, 132}, 6);
    fixture_release(x);
    fixture_release(one);
    fixture_release(two);
}

static void test_wrong_params(void **state) {
    (void)state;
    static const float weights[] = {10, 20, 30, 40, 50, 60};
    static const int64_t six[] = {6};
    struct tvm_graph_session *session = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_graph_params *params = fixture_load_params("w", six, 1, weights);
    expect_error(tvm_graph_session_set_params(session, params), TVM_VALUE_ERROR,
                 "test.json: parameter for input 1 (w): expected float32 [2, 3] (24 bytes), got "
                 "float32 [6] (24 bytes)");
    struct tvm_graph_session *none;
    expect_error(tvm_graph_session_new(tvm_graph_session_plan(session), session->library, params,
                                       &session->device, 1, NULL, &none),
                 TVM_VALUE_ERROR, "parameter for input 1 (w)");
    fixture_release(params);
    params = fixture_load_params("unknown", six, 1, weights); /* skipped */
    expect_ok(tvm_graph_session_set_params(session, params));
    fixture_release(params);
    fixture_release(session);
    /* A graph that writes to w's storage. */
    // clang-format off
    static const char graph[] =
        "{'nodes': ["
        FIXTURE_INPUT("w") ","
        FIXTURE_OP("a", "add1", "[[0, 0, 0]]") ","
        FIXTURE_OP("b", "twice", "[[1, 0, 0]]") "],"
        "'arg_nodes': [0],"
        "'heads': [[2, 0, 0]],"
        "'node_row_ptr': [0, 1, 2, 3],"
        "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32']],"
        "'storage_id': ['list_int', [0, 1, 0]],"
        "'shape': ['list_shape', [[6], [6], [6]]]}}";
    // clang-format on
    session = fixture_session(graph, compiled, NULL);
    params = fixture_load_params("w", six, 1, weights);
    expect_error(tvm_graph_session_set_params(session, params), TVM_FORMAT_ERROR,
                 "an operator of the graph writes to its storage 0");
    expect_ok(tvm_graph_session_run(session));
    fixture_release(params);
    fixture_release(session);
}

/* A parameter that is an output, also as a reshape: what the caller gets is a copy. */
static void test_constant_output(void **state) {
    (void)state;
    // clang-format off
    static const char graph[] =
        "{'nodes': ["
        FIXTURE_INPUT("w") ","
        FIXTURE_OP("r", "__nop", "[[0, 0, 0]]") ","
        FIXTURE_OP("s", "__nop", "[[1, 0, 0]]") "],"
        "'arg_nodes': [0],"
        "'heads': [[0, 0, 0], [1, 0, 0], [2, 0, 0]],"
        "'node_row_ptr': [0, 1, 2, 3],"
        "'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32']],"
        "'storage_id': ['list_int', [0, 0, 0]],"
        "'shape': ['list_shape', [[6], [2, 3], [3, 2]]]}}";
    // clang-format on
    static const float weights[] = {10, 20, 30, 40, 50, 60};
    static const int64_t six[] = {6}, three_by_two[] = {3, 2};
    static const int64_t *const shapes[] = {six, two_by_three, three_by_two};
    struct tvm_graph_params *params = fixture_load_params("w", six, 1, weights);
    struct tvm_graph_session *session = fixture_session(graph, compiled, params);
    struct tvm_tensor *out, *bound = fixture_tensor(two_by_three, 2, 0);
    expect_ok(tvm_graph_session_bind_output(session, 1, &bound->dl, NULL));
    expect_ok(tvm_graph_session_run_nodes(session, 0, 2)); /* not to the end */
    fixture_expect_values(&bound->dl, (float[]){0, 1, 2, 3, 4, 5}, 6);
    expect_ok(tvm_graph_session_run(session));
    fixture_expect_values(&bound->dl, weights, 6);
    expect_ok(tvm_graph_session_bind_output(session, 1, NULL, NULL));
    for (size_t k = 0; k < 3; k++) {
        expect_ok(tvm_graph_session_get_output(session, k, &out));
        fixture_expect_values(&out->dl, weights, 6);
        memset(out->dl.data, 0, 24);
        fixture_release(out);
    }
    expect_ok(tvm_graph_session_run(session));
    for (size_t k = 0; k < 3; k++) {
        struct tvm_tensor *copy = fixture_tensor(shapes[k], k ? 2 : 1, 0);
        fixture_expect_output(session, k, weights, 6);
        expect_ok(tvm_graph_session_copy_output(session, k, &copy->dl));
        fixture_expect_values(&copy->dl, weights, 6);
        fixture_release(copy);
    }
    fixture_release(bound);
    fixture_release(params);
    fixture_release(session);
}

static struct tvm_graph_param_list *read_names(const char *const *names, size_t count) {
    struct fixture_bytes bytes = {NULL, 0};
    struct tvm_graph_param_list *list;
    fixture_put_head(&bytes, names, count);
    struct tvm_reader reader = {.data = bytes.data, .size = bytes.size, .name = "test.params"};
    expect_ok(tvm_graph_params_read_head(&reader, &list));
    free(bytes.data);
    return list;
}

static void test_share(void **state) {
    (void)state;
    static const float weights[] = {10, 20, 30, 40, 50, 60};
    struct tvm_graph_params *params = fixture_load_params("w", two_by_three, 2, weights);
    struct tvm_graph_session *from = fixture_session(fixture_graph, compiled, params);
    struct tvm_graph_session *to = fixture_session(fixture_graph, compiled, NULL);
    struct tvm_tensor *x = fixture_tensor(two_by_three, 2, 1);
    static const char *const texts[] = {"w", "x", "nowhere"};
    struct tvm_graph_param_list *names = read_names(texts, 3), *w = read_names(texts, 1),
                                *x_only = read_names(texts + 1, 1);
    fixture_release(params);
    expect_ok(tvm_graph_session_set_input(from, 0, &x->dl));
    expect_ok(tvm_graph_session_share_params(to, from, names));
    expect_ok(tvm_graph_session_set_inputs(to, NULL, 0));
    /* While the other one runs, what it shares itself. */
    expect_ok(tvm_graph_session_enter(from));
    expect_ok(tvm_graph_session_share_params(to, from, w));
    expect_error(tvm_graph_session_share_params(to, from, x_only), TVM_BUSY_ERROR, "busy");
    tvm_graph_session_leave(from);
    expect_ok(tvm_graph_session_bind_input(from, 1, &x->dl, NULL));
    expect_error(tvm_graph_session_share_params(to, from, w), TVM_VALUE_ERROR, "cannot be shared");
    expect_ok(tvm_graph_session_bind_input(from, 1, NULL, NULL));
    fixture_release(from); /* what is shared lives on */
    expect_ok(tvm_graph_session_run(to));
    fixture_expect_output(to, 0, (float[]){22, 44, 66, 88, 110, 132}, 6);
    expect_error(tvm_graph_session_share_params(to, to, names), TVM_VALUE_ERROR, "with itself");
    struct tvm_graph_session *other = fixture_session(chain, compiled, NULL);
    expect_error(tvm_graph_session_share_params(to, other, w), TVM_NOT_FOUND_ERROR,
                 "the other graph has no input w");
    expect_error(tvm_graph_session_share_params(to, other, x_only), TVM_VALUE_ERROR,
                 "parameter for input 0 (x): expected float32 [2, 3]");
    fixture_release(names);
    fixture_release(w);
    fixture_release(x_only);
    fixture_release(other);
    fixture_release(x);
    fixture_release(to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_bind),
        FIXTURE_TEST(test_owner),
        FIXTURE_TEST(test_owner_of_copy),
        FIXTURE_TEST(test_views_of_views),
        FIXTURE_TEST(test_owner_of_alias),
        FIXTURE_TEST(test_lent),
        FIXTURE_TEST(test_reshapes),
        FIXTURE_TEST(test_bound_output_of_reused_storage),
        FIXTURE_TEST(test_params),
        FIXTURE_TEST(test_wrong_params),
        FIXTURE_TEST(test_constant_output),
        FIXTURE_TEST(test_share),
    };
    int failed = cmocka_run_group_tests_name("functions of the runtime", tests, NULL, NULL);
    compiled = true;
    return failed + cmocka_run_group_tests_name("compiled code", tests, NULL, NULL);
}
