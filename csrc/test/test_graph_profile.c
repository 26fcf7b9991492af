/* Sessions that are measured: their profiles, and what runs that fail leave behind. */
#include "base/context.h"
#include "base/os.h"
#include "base/profile.h"
#include "test/graph_fixture.h"

static struct tvm_graph_session *hooked;

static int cancel(void) {
    tvm_graph_session_context(hooked)->cancelled = true;
    return 0;
}

static int run_again(void) {
    assert_int_equal(tvm_graph_session_run(hooked), -1);
    return -1;
}

static void test_profile(void **state) {
    (void)state;
    for (int compiled = 0; compiled < 2; compiled++) {
        struct tvm_graph_session *session = fixture_session(fixture_slow_graph, compiled, NULL);
        struct tvm_context *context = tvm_graph_session_context(session);
        struct tvm_tensor *x = fixture_tensor((const int64_t[]){2, 3}, 2, 1);
        struct tvm_profile profile = {0};
        hooked = session;
        fixture_hook = fixture_sleep;
        expect_ok(tvm_graph_session_set_input(session, 0, &x->dl));
        context->profile = &profile;
        int before = fixture_calls;
        int64_t start = tvm_os_now();
        expect_ok(tvm_graph_session_run(session));
        int64_t wall = tvm_os_now() - start;
        assert_int_equal(fixture_calls - before, 2);
        fixture_expect_output(session, 0, (float[]){2, 3, 4, 5, 6, 7}, 6);

        const struct tvm_profile_operator *slow = profile.first, *fast = slow->next;
        assert_non_null(fast);
        assert_null(fast->next);
        assert_ptr_equal(profile.last, fast);
        assert_true(0 <= slow->start && slow->start + 2000000 <= slow->end);
        assert_true(slow->end <= fast->start && fast->start <= fast->end);
        assert_true(fast->end <= profile.total && profile.total <= wall);
        assert_int_equal(slow->device_time, 0);
        assert_string_equal(slow->name.data, "slow");
        assert_string_equal(slow->function.data, "hook");
        assert_int_equal(slow->input_count, 1);
        assert_int_equal(slow->output_count, 1);
        assert_int_equal(slow->nbytes, 2 * 6 * 4);
        assert_int_equal(slow->device.device_type, kDLCPU);
        assert_string_equal(slow->tensors[0].name.data, "x");
        assert_int_equal(slow->tensors[0].ndim, 2);
        assert_int_equal(slow->tensors[0].shape[1], 3);
        assert_string_equal(fast->tensors[0].name.data, "shape");
        assert_string_equal(fast->tensors[1].name.data, "fast");
        assert_int_equal(fast->tensors[1].ndim, 1);
        assert_int_equal(fast->tensors[1].dtype.bits, 32);

        /* Errors leave the session usable, and the next run is measured from its start. */
        fixture_hook = cancel;
        expect_error(tvm_graph_session_run(session), TVM_CANCELLED_ERROR, "cancelled");
        context->cancelled = false;
        fixture_hook = run_again;
        expect_error(tvm_graph_session_run(session), TVM_BUSY_ERROR,
                     "test.json: node 1 (slow): hook: the session is busy");
        fixture_hook = NULL;
        expect_ok(tvm_graph_session_run(session));
        assert_ptr_equal(profile.first->next, profile.last);
        assert_string_equal(profile.last->name.data, "fast");

        /* Without a profile nobody is told. */
        context->profile = NULL;
        tvm_profile_clear(&profile);
        expect_ok(tvm_graph_session_run(session));
        assert_null(profile.first);
        fixture_release(x);
        fixture_release(session);
    }
}

/* An operator that fails leaves its workspaces: nothing of them is there afterwards. */

static int leave_workspaces(void) {
    void *data;
    expect_ok(tvm_workspace_alloc(100, &data));
    expect_ok(tvm_workspace_alloc(1000000, &data));
    return tvm_raise(TVM_VALUE_ERROR, "left");
}

static int run_nested(void) {
    void *data;
    expect_ok(tvm_workspace_alloc(64, &data));
    fixture_hook = leave_workspaces;
    struct tvm_graph_session *inner = fixture_session(fixture_slow_graph, true, NULL);
    assert_int_equal(tvm_graph_session_run(inner), -1);
    expect_ok(tvm_workspace_free(data)); /* still there */
    fixture_release(inner);
    expect_ok(tvm_workspace_alloc(64, &data));
    return -1;
}

static void test_no_workspace_left(void **state) {
    (void)state;
    struct tvm_graph_session *session = fixture_session(fixture_slow_graph, true, NULL);
    struct tvm_profile profile = {0};
    static int (*const hooks[])(void) = {leave_workspaces, run_nested};
    for (size_t i = 0; i < 4; i++) {
        fixture_hook = hooks[i % 2];
        tvm_graph_session_context(session)->profile = i < 2 ? NULL : &profile;
        expect_error(tvm_graph_session_run(session), TVM_VALUE_ERROR, "node 1 (slow): hook: ");
        struct tvm_context_scope scope = tvm_context_enter(tvm_graph_session_context(session));
        assert_int_equal(tvm_workspace_mark(), 0);
        tvm_context_leave(scope);
    }
    tvm_profile_clear(&profile);
    fixture_release(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_profile),
        FIXTURE_TEST(test_no_workspace_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
