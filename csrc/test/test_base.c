/* Checked arithmetic, objects, errors, values, functions, modules. */
#include "base/checked.h"
#include "base/module.h"
#include "base/tensor.h"
#include "test/expect.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* tvm-ffi's layouts (tvm/ffi/c_api.h), which compiled code relies on. */
_Static_assert(sizeof(struct tvm_object) == 24, "TVMFFIObject");
_Static_assert(offsetof(struct tvm_object, type_index) == 8, "TVMFFIObject");
_Static_assert(offsetof(struct tvm_object, deleter) == 16, "TVMFFIObject");
_Static_assert(sizeof(struct tvm_value) == 16, "TVMFFIAny");
_Static_assert(offsetof(struct tvm_value, small_size) == 4, "TVMFFIAny");
_Static_assert(offsetof(struct tvm_value, v_int) == 8, "TVMFFIAny");
_Static_assert(offsetof(struct tvm_string, bytes) == 24, "String");
_Static_assert(offsetof(struct tvm_error, kind) == 24, "TVMFFIErrorCell");
_Static_assert(sizeof(struct tvm_error) == (24 + 9 * sizeof(void *) + 7) / 8 * 8,
               "TVMFFIErrorCell");
_Static_assert(offsetof(struct tvm_function, call) == 24, "TVMFFIFunctionCell");
_Static_assert(offsetof(struct tvm_function, cpp_call) == 24 + sizeof(void *),
               "TVMFFIFunctionCell");
_Static_assert(offsetof(struct tvm_tensor, dl) == 24, "TensorObj");

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
        assert_int_equal(tvm_raise_out_of_memory(100), -1);
        assert_int_equal(tvm_raise_out_of_memory(100), -1);
        assert_int_equal(tvm_object_live_count(), live);
        tvm_raise_context("model.so");
        expect_error(-1, TVM_MEMORY_ERROR, "out of memory");
    }
    tvm_raise_out_of_memory(0);
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
    int destroyed = 0;
    int64_t live = tvm_object_live_count();
    struct counted *payload = counted_new(&destroyed);
    tvm_raise_with_payload("GoError", "inner", 5, &payload->object);
    assert_int_equal(tvm_raise_context("node %d of %s", 3, tvm_error_peek()->message.data), -1);
    assert_int_equal(tvm_raise_context("%s", ""), -1);
    assert_ptr_equal(tvm_error_peek()->payload, payload);
    assert_int_equal(destroyed, 0);
    expect_error(-1, "GoError", ": node 3 of inner: inner");
    assert_int_equal(destroyed, 1);
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
            tvm_raise_out_of_memory(1);
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
    enum { STEPS = 200, TOO_MANY = 1100 };
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
    for (int i = 0; i < TOO_MANY; i++) {
        struct tvm_module *next = numbered_new(0);
        expect_ok(tvm_module_import(bottom, next));
        tvm_object_release(&next->object);
        bottom = next;
    }
    expect_error(tvm_module_get_function(top, "absent", true, &function), TVM_VALUE_ERROR,
                 "imports more than");
    tvm_object_release(&top->object);
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
        cmocka_unit_test(test_errors_belong_to_threads),
        cmocka_unit_test(test_error_moves_between_threads),
        cmocka_unit_test(test_thread_ends_with_finalizers_that_raise),
        cmocka_unit_test(test_value_text_sizes),
        cmocka_unit_test(test_value_own),
        cmocka_unit_test(test_value_of_no_object),
        cmocka_unit_test(test_type_names),
        cmocka_unit_test(test_call_arguments),
        cmocka_unit_test(test_function),
        cmocka_unit_test(test_module_functions),
        cmocka_unit_test(test_module_cycles),
        cmocka_unit_test(test_module_branches),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
