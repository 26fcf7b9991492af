/* What every device must do, of every kind that this build has and this machine offers: see
 * base/device.h. A new kind of device passes this unchanged. */
#include "base/context.h"
#include "base/tensor.h"
#include "test/emulated.h"
#include "test/leaks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Sanitizers end the process otherwise, where malloc refuses. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

static const DLDevice cpu = {kDLCPU, 0};

/* The kind that the tests are about. */
static const struct tvm_device_api *api;

static DLDevice device_at(int id) {
    return (DLDevice){api->type, id};
}

static struct tvm_place place(DLDevice device, void *data, size_t offset) {
    return (struct tvm_place){device, data, offset};
}

static struct tvm_place host(void *data) {
    return place(cpu, data, 0);
}

static void *take(DLDevice device, size_t nbytes) {
    void *data = NULL;
    expect_ok(api->alloc(device, nbytes, &data));
    assert_non_null(data);
    return data;
}

/* Bytes that differ from their neighbours, and between seeds. */
static void fill(unsigned char *data, size_t nbytes, unsigned seed) {
    for (size_t i = 0; i < nbytes; i++)
        data[i] = (unsigned char)(i * 7 + seed * 31 + (i >> 8));
}

static void expect_bytes(struct tvm_place at, const void *expected, size_t nbytes) {
    unsigned char *have = malloc(nbytes);
    assert_non_null(have);
    memset(have, 0xee, nbytes);
    expect_ok(tvm_device_copy(at, host(have), nbytes));
    assert_memory_equal(have, expected, nbytes);
    free(have);
}

static void test_existence(void **state) {
    (void)state;
    const struct tvm_device_api *found;
    char text[TVM_DEVICE_TEXT_SIZE];
    for (int id = 0; id < api->count(); id++) {
        expect_ok(tvm_device_get(device_at(id), &found));
        assert_ptr_equal(found, api);
    }
    assert_int_equal(tvm_device_get(device_at(-1), &found), -1);
    assert_non_null(strstr(tvm_error_peek()->message.data, tvm_device_print(device_at(-1), text)));
    if (api->type != kDLCPU) { /* whose ids are mere labels */
        expect_error(tvm_device_get(device_at(api->count()), &found), TVM_NOT_FOUND_ERROR,
                     tvm_device_print(device_at(api->count()), text));
        expect_error(tvm_device_get(device_at(INT32_MAX), &found), TVM_NOT_FOUND_ERROR, "");
    }
}

static void test_attributes(void **state) {
    (void)state;
    struct tvm_value value;
    struct tvm_bytes name;
    for (int id = 0; id < api->count(); id++) {
        expect_ok(api->attribute(device_at(id), TVM_DEVICE_EXISTS, &value));
        assert_true(value.type_index == TVM_TYPE_INT && value.v_int == 1);
        expect_ok(api->attribute(device_at(id), TVM_DEVICE_PROCESSORS, &value));
        assert_true(value.type_index == TVM_TYPE_INT && value.v_int > 0);
        expect_ok(api->attribute(device_at(id), TVM_DEVICE_MEMORY, &value));
        assert_true(value.type_index == TVM_TYPE_INT && value.v_int > 1 << 20);
        expect_ok(api->attribute(device_at(id), TVM_DEVICE_NAME, &value));
        assert_true(tvm_value_text(&value, &name) && name.size > 0);
        tvm_value_clear(&value);
        for (int64_t kind = -1; kind < 40; kind++) {
            expect_ok(api->attribute(device_at(id), kind, &value));
            tvm_value_clear(&value);
        }
        expect_ok(api->attribute(device_at(id), INT64_MAX, &value));
        assert_int_equal(value.type_index, TVM_TYPE_NONE);
    }
}

static void test_alloc(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 127, 128, 129, 4096, 100001, 1 << 22};
    enum { COUNT = sizeof(sizes) / sizeof(*sizes) };
    unsigned char *data = malloc(1 << 22);
    void *memory[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        memory[i] = take(device_at(0), sizes[i]);
        if (api->addressable)
            assert_int_equal((uintptr_t)memory[i] % TVM_ALIGNMENT, 0);
        for (unsigned j = 0; j < i; j++)
            assert_ptr_not_equal(memory[i], memory[j]);
        fill(data, sizes[i], i);
        expect_ok(api->copy(host(data), place(device_at(0), memory[i], 0), sizes[i]));
    }
    for (unsigned i = 0; i < COUNT; i++) { /* none is part of another */
        fill(data, sizes[i], i);
        expect_bytes(place(device_at(0), memory[i], 0), data, sizes[i]);
        api->free(device_at(0), memory[i]);
    }
    free(data);
}

/* In all directions, from and to all offsets. */
static void test_copies(void **state) {
    (void)state;
    static const size_t offsets[] = {0, 1, 3, 4, 100, 128, 1000};
    enum { COUNT = sizeof(offsets) / sizeof(*offsets), SIZE = 3000, PART = 777 };
    unsigned char first[SIZE], second[SIZE];
    fill(first, SIZE, 1);
    DLDevice device = device_at(0);
    void *a = take(device, SIZE), *b = take(device, SIZE);
    for (unsigned i = 0; i < COUNT; i++)
        for (unsigned j = 0; j < COUNT; j++) {
            size_t from = offsets[i], to = offsets[j];
            fill(second, SIZE, 2);
            expect_ok(tvm_device_copy(host(first), place(device, a, 0), SIZE));
            expect_ok(tvm_device_copy(host(second), place(device, b, 0), SIZE));
            expect_ok(tvm_device_copy(place(device, a, from), place(device, b, to), PART));
            memcpy(second + to, first + from, PART);
            expect_bytes(place(device, b, 0), second, SIZE);
            expect_ok(tvm_device_copy(place(cpu, first, from), place(device, b, to), PART));
            expect_bytes(place(device, b, 0), second, SIZE); /* the same once more */
            memset(second, 0, SIZE);
            expect_ok(tvm_device_copy(place(device, a, from), place(cpu, second, to), PART));
            assert_memory_equal(second + to, first + from, PART);
            assert_true(second[to + PART] == 0 && (to == 0 || second[to - 1] == 0));
        }
    /* Within one piece of memory. */
    expect_ok(tvm_device_copy(host(first), place(device, a, 0), SIZE));
    expect_ok(tvm_device_copy(place(device, a, 10), place(device, a, 1500), PART));
    memcpy(second, first, SIZE);
    memcpy(second + 1500, first + 10, PART);
    expect_bytes(place(device, a, 0), second, SIZE);
    expect_ok(tvm_device_copy(place(device, a, 0), place(device, a, 0), SIZE)); /* onto itself */
    expect_bytes(place(device, a, 0), second, SIZE);
    api->free(device, a);
    api->free(device, b);
}

/* Between every two devices of the machine. */
static void test_across(void **state) {
    (void)state;
    enum { SIZE = 5000 };
    unsigned char data[SIZE], zeros[SIZE] = {0};
    for (int id = 0; id < api->count(); id++)
        for (const struct tvm_device_api *const *other = tvm_devices; *other; other++)
            for (int there = 0; there < (*other)->count(); there++) {
                DLDevice device = device_at(id), remote = {(*other)->type, there};
                void *a = take(device, SIZE), *b = NULL;
                expect_ok((*other)->alloc(remote, SIZE, &b));
                fill(data, SIZE, (unsigned)there + 5);
                expect_ok(tvm_device_copy(host(data), place(device, a, 0), SIZE));
                expect_ok((*other)->zero(place(remote, b, 0), SIZE));
                expect_ok(tvm_device_copy(place(device, a, 7), place(remote, b, 7), SIZE - 7));
                expect_ok(api->zero(place(device, a, 0), SIZE));
                expect_bytes(place(device, a, 0), zeros, SIZE);
                expect_ok(tvm_device_copy(place(remote, b, 7), place(device, a, 7), SIZE - 7));
                memset(data, 0, 7);
                expect_bytes(place(device, a, 0), data, SIZE);
                api->free(device, a);
                (*other)->free(remote, b);
            }
}

static void test_zero(void **state) {
    (void)state;
    enum { SIZE = 1000 };
    unsigned char data[SIZE];
    fill(data, SIZE, 3);
    DLDevice device = device_at(0);
    void *memory = take(device, SIZE);
    expect_ok(api->copy(host(data), place(device, memory, 0), SIZE));
    expect_ok(api->zero(place(device, memory, 13), 501));
    memset(data + 13, 0, 501);
    expect_bytes(place(device, memory, 0), data, SIZE);
    api->free(device, memory);
}

/* What was asked first happens first, without waiting; host memory can be reused at once; memory
 * may be freed that is still being worked on. */
static void test_order(void **state) {
    (void)state;
    enum { SIZE = 1 << 20, ROUNDS = 20 };
    unsigned char *data = malloc(SIZE), *expected = malloc(SIZE);
    DLDevice device = device_at(0);
    void *end = take(device, SIZE);
    for (unsigned round = 0; round < ROUNDS; round++) {
        void *a = take(device, SIZE), *b = take(device, SIZE);
        fill(data, SIZE, round);
        fill(expected, SIZE, round);
        expect_ok(api->zero(place(device, a, 0), SIZE));
        expect_ok(api->copy(host(data), place(device, a, 0), SIZE));
        memset(data, 0xff, SIZE);
        expect_ok(api->copy(place(device, a, 0), place(device, b, 0), SIZE));
        expect_ok(api->zero(place(device, a, 0), SIZE));
        expect_ok(api->copy(place(device, b, 0), place(device, end, 0), SIZE));
        api->free(device, a);
        api->free(device, b);
        expect_bytes(place(device, end, 0), expected, SIZE);
    }
    expect_ok(api->sync(device));
    api->free(device, end);
    free(data);
    free(expected);
}

static void test_errors(void **state) {
    (void)state;
    enum { SIZE = 1000 };
    unsigned char data[2 * SIZE], expected[SIZE];
    DLDevice device = device_at(0);
    void *memory = take(device, SIZE);
    fill(expected, SIZE, 1);
    fill(data, 2 * SIZE, 1);
    expect_error(tvm_device_copy(place(device, NULL, 0), host(data), 4), TVM_VALUE_ERROR,
                 "the source of a copy of 4 bytes is NULL");
    expect_error(tvm_device_copy(host(data), place(device, NULL, 0), 4), TVM_VALUE_ERROR,
                 "the target of a copy of 4 bytes is NULL");
    expect_ok(tvm_device_copy(host(data), place(device, memory, 0), SIZE));
    expect_ok(tvm_device_copy(place(device, NULL, 0), place(device, NULL, 0), 0));
    if (!api->addressable) { /* a driver knows where its memory ends */
        assert_int_equal(tvm_device_copy(host(data), place(device, memory, 1), SIZE), -1);
        assert_int_equal(tvm_device_copy(place(device, memory, SIZE), host(data), 1), -1);
        assert_int_equal(tvm_device_copy(place(device, memory, SIZE_MAX), host(data), 1), -1);
        assert_int_equal(api->zero(place(device, memory, 2), SIZE), -1);
        assert_non_null(strstr(tvm_error_peek()->message.data, api->name));
    }
    expect_bytes(place(device, memory, 0), expected, SIZE);
    api->free(device, memory);
}

/* More memory than there is: an error of that kind, and nothing is lost. */
static void test_exhaustion(void **state) {
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 200, SIZE_MAX / 2,
                                   SIZE_MAX > UINT32_MAX ? SIZE_MAX >> 14 : SIZE_MAX};
    DLDevice device = device_at(0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        for (int round = 0; round < 3; round++) {
            void *data = NULL;
            expect_error(api->alloc(device, sizes[i], &data), TVM_MEMORY_ERROR, "");
            expect_error(api->alloc_workspace(device, sizes[i], &data), TVM_MEMORY_ERROR, "");
        }
    test_copies(NULL);
}

static void take_workspaces(DLDevice device, void **out, size_t count, size_t nbytes) {
    for (size_t i = 0; i < count; i++) {
        expect_ok(api->alloc_workspace(device, nbytes, &out[i]));
        assert_non_null(out[i]);
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(out[i], out[j]);
    }
}

static void test_workspaces(void **state) {
    (void)state;
    enum { COUNT = 5, SIZE = 70000 };
    unsigned char data[SIZE];
    void *spaces[COUNT];
    DLDevice device = device_at(0);
    struct tvm_context *context;
    expect_ok(tvm_context_new(&context));
    struct tvm_context_scope scope = tvm_context_enter(context);
    take_workspaces(device, spaces, COUNT, SIZE);
    for (unsigned i = 0; i < COUNT; i++) {
        fill(data, SIZE, i);
        expect_ok(api->copy(host(data), place(device, spaces[i], 0), SIZE));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        fill(data, SIZE, i);
        expect_bytes(place(device, spaces[i], 0), data, SIZE);
    }
    static const int order[] = {2, 0, 4, 3, 1};
    for (unsigned i = 0; i < COUNT; i++)
        expect_ok(api->free_workspace(device, spaces[order[i]]));
    expect_error(api->free_workspace(device, spaces[0]), TVM_VALUE_ERROR, "");
    expect_error(api->free_workspace(device, NULL), TVM_VALUE_ERROR, "");
    expect_ok(api->alloc_workspace(device, 0, &spaces[0])); /* is one, too */
    expect_ok(api->free_workspace(device, spaces[0]));
    /* Code that fails leaves some behind. */
    size_t mark = tvm_workspace_mark();
    take_workspaces(device, spaces, COUNT, SIZE);
    tvm_workspace_drop(mark);
    expect_error(api->free_workspace(device, spaces[1]), TVM_VALUE_ERROR, "");
    take_workspaces(device, spaces, 2, 1 << 20); /* go with the context */
    tvm_context_leave(scope);
    tvm_context_destroy(context);
}

/* Memory of a device that is used over and over does not grow: a terabyte in all. */
static void test_reuse(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    enum { SIZE = 1 << 20, ROUNDS = 100 }; /* they note every byte */
#else
    enum { SIZE = 1 << 28, ROUNDS = 4096 };
#endif
    DLDevice device = device_at(0);
    for (int i = 0; i < (emulated() ? ROUNDS / 16 : ROUNDS); i++) {
        void *a, *b;
        expect_ok(api->alloc_workspace(device, SIZE - (size_t)i, &a));
        expect_ok(api->alloc_workspace(device, 1000, &b));
        expect_ok(api->free_workspace(device, b));
        expect_ok(api->free_workspace(device, a));
        api->free(device, take(device, SIZE));
    }
}

/* One after the other on the same memory, together with memory of the host. */
static void test_mixed_workspaces(void **state) {
    (void)state;
    DLDevice device = device_at(0);
    void *a, *b, *c, *d;
    expect_ok(api->alloc_workspace(device, 1000, &a));
    expect_ok(tvm_workspace_alloc(1 << 18, &b));
    expect_ok(api->alloc_workspace(device, 1000, &c));
    expect_ok(tvm_workspace_alloc(1 << 19, &d));
    memset(b, 1, 1 << 18);
    memset(d, 1, 1 << 19);
    expect_ok(tvm_workspace_free(b));
    expect_ok(api->free_workspace(device, c));
    expect_ok(tvm_workspace_free(d));
    expect_ok(api->free_workspace(device, a));
}

static void test_tensors(void **state) {
    (void)state;
    static const int64_t shape[] = {3, 5}, none[] = {0, 4};
    static const DLDataType float32 = {kDLFloat, 32, 1};
    float data[15], back[15] = {0};
    for (int i = 0; i < 15; i++)
        data[i] = (float)i / 4;
    struct tvm_tensor *a, *b, *empty;
    expect_ok(tvm_tensor_empty(shape, 2, float32, device_at(0), &a));
    expect_ok(tvm_tensor_empty(shape, 2, float32, cpu, &b));
    expect_ok(tvm_tensor_empty(none, 2, float32, device_at(0), &empty));
    expect_ok(tvm_tensor_copy_from_bytes(&a->dl, data, sizeof(data)));
    expect_ok(tvm_tensor_copy(&a->dl, &b->dl));
    assert_memory_equal(b->dl.data, data, sizeof(data));
    expect_ok(tvm_tensor_copy(&b->dl, &a->dl));
    expect_ok(tvm_tensor_copy_to_bytes(&a->dl, back, sizeof(back)));
    assert_memory_equal(back, data, sizeof(data));
    expect_ok(tvm_tensor_copy(&empty->dl, &empty->dl));
    struct tvm_tensor *view; /* the second row */
    expect_ok(tvm_tensor_view(a->storage, 20, shape + 1, 1, float32, &view));
    tvm_object_release(&a->object);
    expect_ok(tvm_tensor_copy_to_bytes(&view->dl, back, 20));
    assert_memory_equal(back, data + 5, 20);
    tvm_object_release(&view->object);
    tvm_object_release(&b->object);
    tvm_object_release(&empty->object);
}

/* Threads */

enum { THREADS = 4 };

static bool use_memory(DLDevice device, unsigned seed) {
    enum { SIZE = 20000 };
    unsigned char *data = malloc(SIZE), *back = malloc(SIZE);
    void *a = NULL, *b = NULL;
    fill(data, SIZE, seed);
    bool good = data && back && api->alloc(device, SIZE, &a) == 0 &&
                api->alloc_workspace(device, SIZE, &b) == 0 &&
                api->copy(host(data), place(device, a, 0), SIZE) == 0 &&
                api->copy(place(device, a, 0), place(device, b, 0), SIZE) == 0 &&
                api->zero(place(device, a, 100), SIZE - 100) == 0 &&
                api->copy(place(device, b, 0), host(back), SIZE) == 0 &&
                memcmp(data, back, SIZE) == 0 && api->free_workspace(device, b) == 0 &&
                api->sync(device) == 0;
    if (a)
        api->free(device, a);
    free(data);
    free(back);
    return good;
}

static void *run_thread(void *argument) {
    unsigned *number = argument;
    bool good = true;
    for (unsigned i = 0; i < 200 && good; i++)
        good = use_memory(device_at((int)(i % (unsigned)api->count())), *number * 1000 + i);
    return good ? NULL : argument;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_existence),  LEAKS_TEST(test_attributes), LEAKS_TEST(test_alloc),
        LEAKS_TEST(test_copies),     LEAKS_TEST(test_across),     LEAKS_TEST(test_zero),
        LEAKS_TEST(test_order),      LEAKS_TEST(test_errors),     LEAKS_TEST(test_exhaustion),
        LEAKS_TEST(test_workspaces), LEAKS_TEST(test_reuse),      LEAKS_TEST(test_mixed_workspaces),
        LEAKS_TEST(test_tensors),    LEAKS_TEST(test_threads),
    };
    int failed = 0;
    for (const struct tvm_device_api *const *each = tvm_devices; *each; each++) {
        api = *each;
        if (api->count() > 0) {
            failed += cmocka_run_group_tests_name(api->name, tests, NULL, NULL);
            continue;
        }
        if (api->check(device_at(0)) == 0)
            return 1; /* it cannot be there */
        print_message("%s: not tested: %s\n", api->name, tvm_error_peek()->message.data);
    }
    return failed;
}
