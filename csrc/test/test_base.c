/* Checked arithmetic, objects, errors. */
#include "base/checked.h"
#include "test/expect.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* tvm-ffi's layouts (tvm/ffi/c_api.h), which compiled code relies on. */
_Static_assert(sizeof(struct tvm_object) == 24, "TVMFFIObject");
_Static_assert(offsetof(struct tvm_object, type_index) == 8, "TVMFFIObject");
_Static_assert(offsetof(struct tvm_object, deleter) == 16, "TVMFFIObject");
_Static_assert(offsetof(struct tvm_error, kind) == 24, "TVMFFIErrorCell");
_Static_assert(sizeof(struct tvm_error) == (24 + 9 * sizeof(void *) + 7) / 8 * 8,
               "TVMFFIErrorCell");

/* Checked arithmetic */

static void test_checked(void **state) {
    (void)state;
    size_t out;
    assert_true(tvm_size_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_false(tvm_size_add(SIZE_MAX, 1, &out));
    assert_true(tvm_size_mul(SIZE_MAX / 2, 2, &out) && out == SIZE_MAX - 1);
    assert_false(tvm_size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(tvm_size_mul(0, SIZE_MAX, &out) && out == 0);
    assert_true(tvm_size_align(0, 128, &out) && out == 0);
    assert_true(tvm_size_align(1, 128, &out) && out == 128);
    assert_true(tvm_size_align(128, 128, &out) && out == 128);
    assert_true(tvm_size_align(SIZE_MAX - 127, 128, &out) && out == SIZE_MAX - 127);
    assert_false(tvm_size_align(SIZE_MAX - 126, 128, &out));
}

/* Objects */

struct counted {
    struct tvm_object object;
    int *destroyed;
    int64_t zero;
};

static void counted_destroy(void *self) {
    ++*((struct counted *)self)->destroyed;
}

static struct counted *counted_new(int *destroyed) {
    struct counted *counted = tvm_object_alloc(sizeof(*counted), TVM_TYPE_OBJECT, counted_destroy);
    assert_non_null(counted);
    counted->destroyed = destroyed;
    return counted;
}

static void test_object_life(void **state) {
    (void)state;
    int destroyed = 0;
    int64_t live = tvm_object_live_count();
    struct counted *counted = counted_new(&destroyed);
    assert_int_equal((uintptr_t)counted % _Alignof(max_align_t), 0);
    assert_int_equal(counted->zero, 0);
    assert_int_equal(counted->object.type_index, TVM_TYPE_OBJECT);
    assert_int_equal(tvm_object_use_count(&counted->object), 1);
    assert_int_equal(tvm_object_live_count(), live + 1);
    tvm_object_retain(&counted->object);
    assert_int_equal(tvm_object_use_count(&counted->object), 2);
    tvm_object_release(&counted->object);
    assert_int_equal(destroyed, 0);
    tvm_object_release(&counted->object);
    assert_int_equal(destroyed, 1);
    assert_int_equal(tvm_object_live_count(), live);
    tvm_object_release(NULL);
}

static void test_object_without_destroy(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_object *object = tvm_object_alloc(sizeof(*object), TVM_TYPE_OBJECT, NULL);
    assert_non_null(object);
    tvm_object_release(object);
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_object_too_large(void **state) {
    (void)state;
    assert_null(tvm_object_alloc(SIZE_MAX, TVM_TYPE_OBJECT, NULL));
    expect_error(-1, TVM_MEMORY_ERROR, "out of memory");
    assert_null(tvm_object_alloc(SIZE_MAX - 15, TVM_TYPE_OBJECT, NULL));
    expect_error(-1, TVM_MEMORY_ERROR, "out of memory");
}

static const uint64_t weak_one = UINT64_C(1) << 32;

/* What tvm-ffi's code does to drop a weak reference. */
static void weak_release(struct tvm_object *object) {
    if (atomic_fetch_sub(&object->refs, weak_one) == weak_one)
        object->deleter(object, TVM_DELETE_WEAK);
}

static void test_object_weak_outlives_strong(void **state) {
    (void)state;
    int destroyed = 0;
    int64_t live = tvm_object_live_count();
    struct counted *counted = counted_new(&destroyed);
    atomic_fetch_add(&counted->object.refs, 2 * weak_one);
    tvm_object_release(&counted->object);
    assert_int_equal(destroyed, 1);
    assert_int_equal(atomic_load(&counted->object.refs),
                     2 * weak_one); /* the memory is still there */
    assert_int_equal(tvm_object_live_count(), live + 1);
    assert_false(tvm_object_try_retain(&counted->object));
    weak_release(&counted->object);
    assert_int_equal(tvm_object_live_count(), live + 1);
    weak_release(&counted->object);
    assert_int_equal(tvm_object_live_count(), live);
    assert_int_equal(destroyed, 1);
}

static void test_object_weak_goes_first(void **state) {
    (void)state;
    int destroyed = 0;
    int64_t live = tvm_object_live_count();
    struct counted *counted = counted_new(&destroyed);
    atomic_fetch_add(&counted->object.refs, weak_one);
    weak_release(&counted->object);
    assert_int_equal(destroyed, 0);
    tvm_object_release(&counted->object);
    assert_int_equal(destroyed, 1);
    assert_int_equal(tvm_object_live_count(), live);
}

static int deleter_flags[4], deleter_calls;

static void record_deleter(void *self, int flags) {
    (void)self;
    deleter_flags[deleter_calls++] = flags;
}

/* Objects that others made: only their deleter knows what to do. */
static void test_object_foreign_deleter(void **state) {
    (void)state;
    struct tvm_object object;
    tvm_object_init(&object, TVM_TYPE_OBJECT, record_deleter);
    deleter_calls = 0;
    tvm_object_release(&object);
    assert_int_equal(deleter_calls, 1);
    assert_int_equal(deleter_flags[0], TVM_DELETE_BOTH);

    tvm_object_init(&object, TVM_TYPE_OBJECT, record_deleter);
    atomic_fetch_add(&object.refs, weak_one);
    deleter_calls = 0;
    tvm_object_release(&object);
    assert_int_equal(deleter_calls, 1);
    assert_int_equal(deleter_flags[0], TVM_DELETE_STRONG);
    weak_release(&object);
    assert_int_equal(deleter_calls, 2);
    assert_int_equal(deleter_flags[1], TVM_DELETE_WEAK);

    tvm_object_init(&object, TVM_TYPE_OBJECT, NULL);
    atomic_fetch_add(&object.refs, weak_one);
    tvm_object_release(&object);
    assert_int_equal(atomic_load(&object.refs), weak_one);
}

enum { THREADS = 8, ROUNDS = 20000 };

/* Runs body on THREADS threads, each with its own number. */
static void on_threads(void *(*body)(void *number)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result); /* else what went wrong, as text */
    }
}

static struct counted *shared;

static void *retain_and_release(void *number) {
    (void)number;
    for (int i = 0; i < ROUNDS; i++) {
        tvm_object_retain(&shared->object);
        atomic_fetch_add(&shared->object.refs, weak_one);
        tvm_object_release(&shared->object);
        weak_release(&shared->object);
    }
    tvm_object_release(&shared->object);
    return NULL;
}

static void test_object_threads(void **state) {
    (void)state;
    int destroyed = 0;
    int64_t live = tvm_object_live_count();
    shared = counted_new(&destroyed);
    for (int i = 1; i < THREADS; i++)
        tvm_object_retain(&shared->object);
    on_threads(retain_and_release);
    assert_int_equal(destroyed, 1);
    assert_int_equal(tvm_object_live_count(), live);
}

/* Errors */

static void test_raise(void **state) {
    (void)state;
    assert_int_equal(tvm_raise(TVM_VALUE_ERROR, "%s is %d", "answer", 42), -1);
    const struct tvm_error *raised = tvm_error_peek();
    assert_non_null(raised);
    assert_int_equal(raised->object.type_index, TVM_TYPE_ERROR_OBJECT);
    assert_string_equal(raised->kind.data, "ValueError");
    assert_int_equal(raised->kind.size, strlen("ValueError"));
    assert_string_equal(raised->message.data, "answer is 42");
    assert_int_equal(raised->message.size, strlen("answer is 42"));
    assert_int_equal(raised->backtrace.size, 0);
    assert_non_null(raised->backtrace.data);
    assert_null(raised->cause);
    assert_null(raised->payload);
    struct tvm_error *taken = tvm_error_take();
    assert_ptr_equal(taken, raised);
    taken->update_backtrace(taken, &taken->message, 0);
    assert_null(tvm_error_peek());
    assert_null(tvm_error_take());
    tvm_object_release(&taken->object);
}

static void test_raise_replaces(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    tvm_raise(TVM_VALUE_ERROR, "first");
    tvm_raise(TVM_TYPE_ERROR, "%s, second", tvm_error_peek()->message.data);
    assert_int_equal(tvm_object_live_count(), live + 1);
    expect_error(-1, TVM_TYPE_ERROR, "first, second");
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_raise_long(void **state) {
    (void)state;
    enum { SIZE = 100000 };
    char *text = malloc(SIZE + 1);
    assert_non_null(text);
    memset(text, 'x', SIZE);
    text[SIZE] = 0;
    tvm_raise(TVM_VALUE_ERROR, "%s!", text);
    assert_int_equal(tvm_error_peek()->message.size, SIZE + 1);
    expect_error(-1, TVM_VALUE_ERROR, text);
    free(text);
}

static void test_raise_out_of_memory(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tvm_raise_out_of_memory(), -1);
        assert_int_equal(tvm_raise_out_of_memory(), -1);
        assert_int_equal(tvm_object_live_count(), live);
        tvm_raise_context("model.so");
        expect_error(-1, TVM_MEMORY_ERROR, "out of memory");
    }
    tvm_raise_out_of_memory();
    struct tvm_error *error = tvm_error_take();
    assert_int_equal(tvm_object_use_count(&error->object), 2); /* the process's and ours */
    error->update_backtrace(error, &error->message, 0);
    tvm_object_release(&error->object);
}

static void test_raise_with_payload(void **state) {
    (void)state;
    int destroyed = 0;
    struct counted *payload = counted_new(&destroyed);
    const char message[] = "a\0b";
    assert_int_equal(tvm_raise_with_payload("GoError", message, 3, &payload->object), -1);
    struct tvm_error *error = tvm_error_take();
    assert_string_equal(error->kind.data, "GoError");
    assert_int_equal(error->message.size, 3);
    assert_memory_equal(error->message.data, message, 4);
    assert_ptr_equal(error->payload, payload);
    assert_int_equal(tvm_error_restore(error), -1);
    assert_int_equal(destroyed, 0);
    tvm_raise(TVM_VALUE_ERROR, "next");
    assert_int_equal(destroyed, 1);
    expect_error(tvm_raise_with_payload("GoError", NULL, 0, NULL), "GoError", "");
}

static void test_raise_context(void **state) {
    (void)state;
    int destroyed = 0, caused = 0;
    int64_t live = tvm_object_live_count();
    struct counted *payload = counted_new(&destroyed), *cause = counted_new(&caused);
    tvm_raise_with_payload("GoError", "inner", 5, &payload->object);
    struct tvm_error *inner = tvm_error_take();
    inner->cause = &cause->object;
    tvm_error_restore(inner);
    assert_int_equal(tvm_raise_context("node %d of %s", 3, tvm_error_peek()->message.data), -1);
    assert_int_equal(tvm_raise_context("%s", ""), -1);
    assert_ptr_equal(tvm_error_peek()->payload, payload);
    assert_ptr_equal(tvm_error_peek()->cause, cause);
    assert_true(destroyed == 0 && caused == 0);
    expect_error(-1, "GoError", ": node 3 of inner: inner");
    assert_true(destroyed == 1 && caused == 1);
    assert_int_equal(tvm_object_live_count(), live);
    expect_error(tvm_raise_context("lost"), TVM_RUNTIME_ERROR, "without an error message");
}

/* An error that somebody else holds as well stays as it was. */
static void test_raise_context_on_shared(void **state) {
    (void)state;
    int destroyed = 0;
    struct counted *payload = counted_new(&destroyed);
    tvm_raise_with_payload("GoError", "inner", 5, &payload->object);
    struct tvm_error *error = tvm_error_take();
    tvm_object_retain(&error->object);
    tvm_error_restore(error);
    tvm_raise_context("outer");
    expect_error(-1, "GoError", "outer: inner");
    assert_int_equal(destroyed, 0);
    assert_string_equal(error->message.data, "inner");
    assert_ptr_equal(error->payload, payload);
    tvm_object_release(&error->object);
    assert_int_equal(destroyed, 1);
}

static struct tvm_error *error_from_before(void) {
    tvm_raise(TVM_VALUE_ERROR, "before");
    return tvm_error_take();
}

static void test_settle(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    expect_ok(tvm_error_settle(NULL, 0, NULL));
    assert_null(tvm_error_peek());
    expect_ok(tvm_error_settle(error_from_before(), 0, NULL));
    expect_error(-1, TVM_VALUE_ERROR, "before");
    struct tvm_error *before = error_from_before();
    tvm_raise(TVM_TYPE_ERROR, "left by a success");
    expect_ok(tvm_error_settle(before, 0, NULL));
    expect_error(-1, TVM_TYPE_ERROR, "left by a success");
    before = error_from_before();
    tvm_raise(TVM_TYPE_ERROR, "failed");
    expect_error(tvm_error_settle(before, 3, NULL), TVM_TYPE_ERROR, "failed");
    expect_error(tvm_error_settle(error_from_before(), 3, NULL), TVM_RUNTIME_ERROR, "(status 3)");
    assert_int_equal(tvm_object_live_count(), live);
}

static void *raise_on_thread(void *number) {
    (void)number;
    if (tvm_error_peek())
        return "a new thread begins with an error";
    for (int i = 0; i < 1000; i++) {
        tvm_raise(TVM_VALUE_ERROR, "%p", (void *)&number);
        char expected[32];
        snprintf(expected, sizeof(expected), "%p", (void *)&number);
        if (strcmp(tvm_error_peek()->message.data, expected) != 0)
            return "another thread's error";
        if (i % 2)
            tvm_raise_out_of_memory();
    }
    return NULL; /* with an error left in the slot: it goes with the thread */
}

static void test_errors_belong_to_threads(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    tvm_raise(TVM_VALUE_ERROR, "here");
    on_threads(raise_on_thread);
    expect_error(-1, TVM_VALUE_ERROR, "here");
    assert_int_equal(tvm_object_live_count(), live);
}

static void *take_error(void *unused) {
    (void)unused;
    tvm_raise(TVM_INDEX_ERROR, "made elsewhere");
    return tvm_error_take();
}

static void test_error_moves_between_threads(void **state) {
    (void)state;
    pthread_t thread;
    void *error;
    assert_int_equal(pthread_create(&thread, NULL, take_error, NULL), 0);
    assert_int_equal(pthread_join(thread, &error), 0);
    expect_error(tvm_error_restore(error), TVM_INDEX_ERROR, "made elsewhere");
}

static void raise_in_destroy(void *self) {
    ++*((struct counted *)self)->destroyed;
    tvm_raise(TVM_VALUE_ERROR, "raised while the thread ends");
}

static void *leave_error_whose_payload_raises(void *destroyed) {
    struct counted *payload = tvm_object_alloc(sizeof(*payload), TVM_TYPE_OBJECT, raise_in_destroy);
    payload->destroyed = destroyed;
    tvm_raise_with_payload("GoError", "", 0, &payload->object);
    return NULL;
}

static void test_thread_ends_with_finalizers_that_raise(void **state) {
    (void)state;
    int destroyed = 0;
    int64_t live = tvm_object_live_count();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, leave_error_whose_payload_raises, &destroyed),
                     0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(destroyed, 1);
    assert_int_equal(tvm_object_live_count(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checked),
        cmocka_unit_test(test_object_life),
        cmocka_unit_test(test_object_without_destroy),
        cmocka_unit_test(test_object_too_large),
        cmocka_unit_test(test_object_weak_outlives_strong),
        cmocka_unit_test(test_object_weak_goes_first),
        cmocka_unit_test(test_object_foreign_deleter),
        cmocka_unit_test(test_object_threads),
        cmocka_unit_test(test_raise),
        cmocka_unit_test(test_raise_replaces),
        cmocka_unit_test(test_raise_long),
        cmocka_unit_test(test_raise_out_of_memory),
        cmocka_unit_test(test_raise_with_payload),
        cmocka_unit_test(test_raise_context),
        cmocka_unit_test(test_raise_context_on_shared),
        cmocka_unit_test(test_settle),
        cmocka_unit_test(test_errors_belong_to_threads),
        cmocka_unit_test(test_error_moves_between_threads),
        cmocka_unit_test(test_thread_ends_with_finalizers_that_raise),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
