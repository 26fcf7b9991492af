/* Params files, in memory and on disk: values, alignment, and where weights are placed;
 * test_graph_params_damage.c has files that are damaged. */
#include "base/os.h"
#include "test/params_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {kDLFloat, 32, 1};

static struct tvm_bytes text(const char *name) {
    return (struct tvm_bytes){name, strlen(name)};
}

static void test_values(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    fixture_put(&bytes, "trailing bytes", 14); /* ignored, as TVM does */
    struct tvm_graph_params *params;
    assert_int_equal(tvm_graph_params_new("test.params", bytes.data, bytes.size, cpu, &params), 0);
    memset(bytes.data, 0xff, bytes.size); /* everything was copied */
    free(bytes.data);
    assert_int_equal(tvm_graph_params_count(params), 5);
    assert_string_equal(tvm_graph_params_name(params, 2).data, "scalar");
    struct tvm_tensor *weight = tvm_graph_params_find(params, text("weight"));
    assert_ptr_equal(weight, tvm_graph_params_tensor(params, 0));
    assert_int_equal(weight->dl.shape[0], 7);
    assert_float_equal(((float *)weight->dl.data)[6], 7, 0);
    struct tvm_tensor *unnamed = tvm_graph_params_find(params, text(""));
    assert_int_equal(unnamed->dl.ndim, 0);
    assert_int_equal(*(int64_t *)unnamed->dl.data, 0x201);
    struct tvm_tensor *mask = tvm_graph_params_find(params, text("mask"));
    assert_int_equal(mask->dl.dtype.code, TVM_DTYPE_BOOL);
    assert_int_equal(mask->dl.dtype.bits, 8);
    assert_int_equal(mask->classic.dtype.code, kDLUInt);
    assert_int_equal(mask->classic.dtype.bits, 1);
    assert_memory_equal(mask->dl.data, "\1\0\1", 3);
    for (size_t i = 0; i < 5; i++) {
        const struct tvm_tensor *tensor = tvm_graph_params_tensor(params, i);
        assert_int_equal((uintptr_t)tensor->dl.data % TVM_ALIGNMENT, 0);
        assert_int_equal(tensor->dl.byte_offset, 0);
        assert_int_equal(tensor->classic.byte_offset, 0);
        assert_ptr_equal(tensor->dl.data, tensor->classic.data);
        assert_ptr_equal(tensor->storage, weight->storage); /* one piece of memory */
    }
    assert_null(tvm_graph_params_find(params, text("weigh")));
    assert_null(tvm_graph_params_find(params, text("weightt")));
    /* A tensor outlives its params. */
    tvm_object_retain(&weight->object);
    fixture_release(params);
    assert_float_equal(((float *)weight->dl.data)[0], 1, 0);
    fixture_release(weight);
}

static void test_empty(void **state) {
    (void)state;
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, NULL, 0);
    assert_int_equal(bytes.size, 32);
    struct tvm_graph_params *params;
    assert_int_equal(tvm_graph_params_new("test.params", bytes.data, bytes.size, cpu, &params), 0);
    assert_int_equal(tvm_graph_params_count(params), 0);
    assert_null(tvm_graph_params_find(params, text("")));
    fixture_release(params);
    free(bytes.data);
}

/* A bool parameter as TVM 0.23 and newer write it (DLPack's kDLBool). */
static void test_bool_of_today(void **state) {
    static const char *const name = "mask";
    static const int64_t shape[] = {3};
    struct fixture_bytes bytes = {NULL, 0};
    struct tvm_graph_params *params;
    (void)state;
    fixture_put_head(&bytes, &name, 1);
    fixture_put_tensor(&bytes, (DLDataType){6, 8, 1}, shape, 1, "\1\0\1", 3);
    expect_ok(tvm_graph_params_new("test.params", bytes.data, bytes.size, cpu, &params));
    const DLTensor *mask = &tvm_graph_params_tensor(params, 0)->dl;
    assert_true(tvm_dtype_equal(mask->dtype, (DLDataType){TVM_DTYPE_BOOL, 8, 1}));
    assert_memory_equal(mask->data, "\1\0\1", 3);
    fixture_release(params);
    free(bytes.data);
}

static void test_unknown_device(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    struct tvm_graph_params *params;
    expect_error(tvm_graph_params_new("test.params", bytes.data, bytes.size,
                                      (DLDevice){(DLDeviceType)99, 0}, &params),
                 TVM_TYPE_ERROR, "no support for such a device");
    free(bytes.data);
}

/* When the file was changed, as it is to say. */
static void set_time(time_t seconds, long nanos) {
    const struct timespec time = {seconds, nanos};
    assert_int_equal(futimens(params_scratch(), (const struct timespec[]){time, time}), 0);
}

/* Changes of a file between opening and placing: as if it had been opened then, or an error. */
static void test_file_changed(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    struct tvm_graph_params *params;
    struct tvm_graph_weights *weights;
    for (size_t size = 0; size < PARAMS_OFFSET + bytes.size; size++) {
        weights = params_open(bytes);
        assert_int_equal(ftruncate(params_scratch(), (off_t)size), 0);
        expect_error(tvm_graph_weights_place(weights, NULL, cpu, &params), TVM_FORMAT_ERROR,
                     "test.params: the file was changed after");
        fixture_release(weights);
    }
    /* Written over: seen by the time of the change, to the nanosecond, or the size. */
    for (int i = 0; i < 3; i++) {
        fixture_release(params_open(bytes));
        set_time(1000000000, 5);
        expect_ok(tvm_graph_weights_open("test.params", params_scratch(), PARAMS_OFFSET, bytes.size,
                                         &weights));
        if (i == 2)
            assert_int_equal(pwrite(params_scratch(), "more", 4, 1000), 4);
        set_time(1000000000 + (i == 0), 5 + (i == 1));
        expect_error(tvm_graph_weights_place(weights, NULL, cpu, &params), TVM_FORMAT_ERROR,
                     "test.params: the file was changed after");
        fixture_release(weights);
    }
    free(bytes.data);
}

static void test_file_refused(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    struct tvm_graph_weights *weights = params_open(bytes);
    fixture_release(weights);
    size_t size = PARAMS_OFFSET + bytes.size + 6;
    uint64_t offsets[] = {1, size + 1, UINT64_MAX, UINT64_MAX - size + 1};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
        expect_error(tvm_graph_weights_open("odd", params_scratch(), offsets[i], size, &weights),
                     TVM_FORMAT_ERROR, "are not all in the file");
    }
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    expect_error(tvm_graph_weights_open("a pipe", ends[0], 0, 0, &weights), TVM_OS_ERROR,
                 "a pipe: cannot be used: it is no regular file");
    close(ends[0]);
    close(ends[1]);
    expect_error(tvm_graph_weights_open("closed", ends[0], 0, 0, &weights), TVM_OS_ERROR,
                 "closed: cannot be used: Bad file descriptor");
    free(bytes.data);
}

/* A name that does not fit into the window of a file's reader. */
static void test_long_names(void **state) {
    (void)state;
    static char name[TVM_READER_WINDOW + 2];
    const char *names[] = {name};
    for (size_t size = TVM_READER_WINDOW - 1; size <= TVM_READER_WINDOW + 1; size++) {
        struct fixture_bytes bytes = {NULL, 0};
        memset(name, 'n', size);
        fixture_put_head(&bytes, names, 1);
        fixture_put_tensor(&bytes, float32, NULL, 0, "1234", 4);
        struct tvm_graph_weights *weights = params_open(bytes);
        if (size <= TVM_READER_WINDOW) {
            assert_true(tvm_graph_weights_has(weights, (struct tvm_bytes){name, size}));
            assert_false(tvm_graph_weights_has(weights, (struct tvm_bytes){name, size - 1}));
            fixture_release(weights);
        } else {
            expect_error(-1, TVM_FORMAT_ERROR, "name of a parameter: 8193 bytes are too many");
        }
        free(bytes.data);
    }
}

static int count_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* One copy for each device, as long as weights or its users live; the file only as long as weights
 * do. */
static void test_placed_once(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    int files = count_files();
    struct tvm_graph_weights *weights = params_open(bytes);
    struct tvm_graph_params *first, *second, *other;
    assert_int_equal(count_files(), files + 1);
    int64_t objects = tvm_object_live_count();
    expect_ok(tvm_graph_weights_place(weights, NULL, cpu, &first));
    int64_t more = tvm_object_live_count() - objects;
    expect_ok(tvm_graph_weights_place(weights, NULL, cpu, &second));
    assert_ptr_equal(first, second);
    fixture_release(first);
    fixture_release(second);
    expect_ok(tvm_graph_weights_place(weights, NULL, cpu, &first)); /* kept meanwhile */
    assert_ptr_equal(first, second);
    assert_int_equal(tvm_object_live_count(), objects + more);
    expect_ok(tvm_graph_weights_place(weights, NULL, (DLDevice){kDLCPU, 1}, &other));
    assert_ptr_not_equal(first, other);
    assert_int_equal(tvm_graph_params_tensor(other, 0)->dl.device.device_id, 1);
    fixture_release(weights);
    assert_int_equal(count_files(), files);
    assert_int_equal(ftruncate(params_scratch(), 0), 0);
    params_expect_equal(first, other);
    struct tvm_graph_params *expected;
    expect_ok(tvm_graph_params_new("test.params", bytes.data, bytes.size, cpu, &expected));
    params_expect_equal(first, expected);
    fixture_release(expected);
    fixture_release(first);
    fixture_release(other);
    free(bytes.data);
}

static void *place_on_thread(void *weights) {
    struct tvm_graph_params *params = NULL;
    return tvm_graph_weights_place(weights, NULL, cpu, &params) ? NULL : params;
}

static void test_threads(void **state) {
    (void)state;
    struct fixture_bytes bytes = params_several();
    for (int round = 0; round < 50; round++) {
        struct tvm_graph_weights *weights = params_open(bytes);
        pthread_t threads[4];
        void *placed[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, place_on_thread, weights), 0);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_join(threads[i], &placed[i]), 0);
        for (int i = 0; i < 4; i++) {
            assert_non_null(placed[i]);
            assert_ptr_equal(placed[i], placed[0]);
            fixture_release(placed[i]);
        }
        fixture_release(weights);
    }
    free(bytes.data);
}

/* Weights are refused for a graph that they do not fit. */
static void test_check(void **state) {
    (void)state;
    static const int64_t right[] = {2, 3}, wrong[] = {3, 2};
    static const float data[6] = {0};
    struct tvm_graph_plan *plan = fixture_plan(fixture_graph);
    static const struct {
        const char *name;
        const int64_t *shape;
        bool fits;
    } cases[] = {{"w", right, true}, {"w", wrong, false}, {"nowhere", wrong, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct fixture_bytes bytes = fixture_params(cases[i].name, cases[i].shape, 2, data);
        struct tvm_graph_weights *weights;
        expect_ok(tvm_graph_weights_from_bytes("test.params", bytes.data, bytes.size, &weights));
        int status = tvm_graph_weights_check(weights, plan);
        assert_int_equal(status, cases[i].fits ? 0 : -1);
        if (!cases[i].fits)
            expect_error(-1, TVM_VALUE_ERROR,
                         "test.params: test.json: parameter for input 1 (w): expected "
                         "float32 [2, 3] "
                         "(24 bytes), got float32 [3, 2] (24 bytes)");
        fixture_release(weights);
        free(bytes.data);
    }
    fixture_release(plan);
}

/* A device whose memory the host cannot address: what tensors on it hold are no addresses. The
 * linker leads other sources' calls of tvm_device_get here (--wrap, see Makefile). */
static const DLDevice remote = {kDLExtDev, 0};
static int copies_left;
static bool is_changing; /* the params file, meanwhile */

static struct remote_memory {
    size_t nbytes;
    unsigned char *data;
} memories[8];

static int remote_check(DLDevice device) {
    (void)device;
    return 0;
}

static int remote_alloc(DLDevice device, size_t nbytes, void **out) {
    (void)device;
    struct remote_memory *memory = memories;
    while (memory->data)
        memory++;
    *memory = (struct remote_memory){nbytes, malloc(nbytes)};
    *out = (void *)(memory - memories + 1);
    return 0;
}

static void remote_free(DLDevice device, void *data) {
    (void)device;
    free(memories[(uintptr_t)data - 1].data);
    memories[(uintptr_t)data - 1].data = NULL;
}

static int remote_copy(struct tvm_place from, struct tvm_place to, size_t nbytes) {
    const struct remote_memory *memory = &memories[(uintptr_t)to.data - 1];
    assert_int_equal(from.device.device_type, kDLCPU);
    assert_true(to.offset + nbytes <= memory->nbytes);
    if (is_changing)
        set_time(1000000000, 5);
    if (copies_left-- == 0)
        return tvm_raise(TVM_RUNTIME_ERROR, "the device is gone");
    memcpy(memory->data + to.offset, (char *)from.data + from.offset, nbytes);
    return 0;
}

int __real_tvm_device_get(DLDevice device, const struct tvm_device_api **out);
int __wrap_tvm_device_get(DLDevice device, const struct tvm_device_api **out);

int __wrap_tvm_device_get(DLDevice device, const struct tvm_device_api **out) {
    static const struct tvm_device_api api = {.type = kDLExtDev,
                                              .name = "remote",
                                              .check = remote_check,
                                              .alloc = remote_alloc,
                                              .free = remote_free,
                                              .copy = remote_copy};
    if (device.device_type != kDLExtDev)
        return __real_tvm_device_get(device, out);
    *out = &api;
    return 0;
}

/* Each parameter in memory of its own; large ones of a file come in pieces. */
static void test_remote_device(void **state) {
    (void)state;
    static const char *const names[] = {"small", "none", "large"};
    static const int64_t shapes[] = {5, 0, (5 << 20) / 2 + 3};
    unsigned char *data = malloc((size_t)shapes[2]);
    struct fixture_bytes bytes = {NULL, 0};
    for (int64_t i = 0; i < shapes[2]; i++)
        data[i] = (unsigned char)(i * 31 + i / 509);
    fixture_put_head(&bytes, names, 3);
    for (int i = 0; i < 3; i++)
        fixture_put_tensor(&bytes, (DLDataType){kDLUInt, 8, 1}, &shapes[i], 1, data,
                           (size_t)shapes[i]);
    struct tvm_graph_weights *sources[] = {NULL, params_open(bytes)};
    expect_ok(tvm_graph_weights_from_bytes("test.params", bytes.data, bytes.size, &sources[0]));
    for (int s = 0; s < 2; s++) {
        struct tvm_graph_params *params = NULL;
        int calls = s ? 4 : 2; /* 1 + 3 pieces; nothing for "none" */
        for (copies_left = 0; copies_left < calls;) {
            int refused = copies_left;
            expect_error(
                tvm_graph_weights_place(sources[s], s ? NULL : bytes.data, remote, &params),
                TVM_RUNTIME_ERROR, "test.params: the device is gone");
            for (size_t i = 0; i < 8; i++)
                assert_null(memories[i].data);
            copies_left = refused + 1;
        }
        copies_left = calls;
        expect_ok(tvm_graph_weights_place(sources[s], s ? NULL : bytes.data, remote, &params));
        assert_int_equal(copies_left, 0);
        for (size_t i = 0; i < 3; i++) {
            const DLTensor *tensor = &tvm_graph_params_tensor(params, i)->dl;
            assert_int_equal(tensor->byte_offset, 0);
            assert_memory_equal(memories[(uintptr_t)tensor->data - 1].data, data,
                                (size_t)shapes[i]);
        }
        fixture_release(params);
        fixture_release(sources[s]);
    }
    struct tvm_graph_weights *weights = params_open(bytes);
    struct tvm_graph_params *params;
    is_changing = true;
    copies_left = -1;
    expect_error(tvm_graph_weights_place(weights, NULL, remote, &params), TVM_FORMAT_ERROR,
                 "test.params: the file was changed after");
    is_changing = false;
    fixture_release(weights);
    free(bytes.data);
    free(data);
}

/* Each parameter on the device where the graph has it. */
static void test_two_devices(void **state) {
    (void)state;
    static const char *const names[] = {"w", "other", "x"};
    static const int64_t shape[] = {2, 3};
    const float data[] = {1, 2, 3, 4, 5, 6};
    struct fixture_bytes bytes = {NULL, 0};
    struct tvm_graph_plan *plan;
    char *json = fixture_json(fixture_graph, "[1, 1, 1, 1, 1]", "[1, 12, 12, 12, 12]");
    fixture_put_head(&bytes, names, 3);
    for (int i = 0; i < 3; i++)
        fixture_put_tensor(&bytes, (DLDataType){kDLFloat, 32, 1}, shape, 2, data, sizeof(data));
    struct tvm_graph_weights *weights = params_open(bytes);
    struct tvm_graph_params *params, *again, *together;
    const DLDevice devices[] = {remote, cpu};
    expect_ok(tvm_graph_plan_new("two", json, strlen(json), &plan));
    copies_left = -1;
    expect_ok(tvm_graph_weights_place_for(weights, NULL, plan, devices, 2, &params));
    for (size_t i = 0; i < 3; i++) {
        const DLTensor *tensor = &tvm_graph_params_tensor(params, i)->dl;
        DLDevice device = strcmp(tvm_graph_params_name(params, i).data, "x") ? remote : cpu;
        assert_true(tvm_device_equal(tensor->device, device));
        assert_memory_equal(device.device_type == kDLCPU
                                ? tensor->data
                                : memories[(uintptr_t)tensor->data - 1].data,
                            data, sizeof(data));
    }
    expect_ok(tvm_graph_weights_place_for(weights, NULL, plan, devices, 2, &again));
    assert_ptr_equal(again, params);
    expect_ok(tvm_graph_weights_place(weights, NULL, remote, &together));
    assert_ptr_not_equal(together, params);
    fixture_release(again);
    expect_ok(tvm_graph_weights_place_for(weights, NULL, plan, devices, 1, &again));
    assert_ptr_equal(again, together); /* the session will say what is missing */
    fixture_release(again);
    const DLDevice remotes[] = {remote, {kDLExtDev, 1}};
    expect_error(tvm_graph_weights_place_for(weights, NULL, plan, remotes, 2, &again),
                 TVM_TYPE_ERROR, "two: storage 0 is for a device such as cpu(0)");
    fixture_release(together);
    fixture_release(params);
    fixture_release(weights);
    fixture_release(plan);
    free(json);
    free(bytes.data);
}

/* Kilobytes that the process had at most. */
static long peak(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* In a process of its own, whose peak is not that of the other tests. */
static int place_large(struct fixture_bytes head, size_t size) {
    struct tvm_graph_weights *weights;
    struct tvm_graph_params *params;
    if (pwrite(params_scratch(), head.data, head.size, 0) != (ssize_t)head.size ||
        ftruncate(params_scratch(), (off_t)(head.size + size)))
        return 5;
    long before = peak();
    if (tvm_graph_weights_open("large", params_scratch(), 0, head.size + size, &weights))
        return 1;
    long opened = peak();
    if (tvm_graph_weights_place(weights, NULL, cpu, &params))
        return 2;
    long placed = peak();
    print_message("opened: %ld KiB, placed: %ld KiB more\n", opened - before, placed - opened);
    fixture_release(params);
    fixture_release(weights);
    return opened - before > 1024 ? 3 : placed - before > (long)(size >> 10) + 8 * 1024 ? 4 : 0;
}

/* Weights are in memory once. */
static void test_memory(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* their own memory counts */
#endif
    static const char *const name = "w";
    static const size_t size = 64 << 20;
    int64_t shape = (int64_t)size;
    struct fixture_bytes head = {NULL, 0};
    fixture_put_head(&head, &name, 1);
    fixture_put_tensor(&head, (DLDataType){kDLInt, 8, 1}, &shape, 1, NULL, 0);
    for (int i = 0; i < 8; i++)
        head.data[head.size - 8 + (size_t)i] = (unsigned char)(size >> 8 * i);
    pid_t child = fork();
    if (child == 0)
        _exit(place_large(head, size));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(ftruncate(params_scratch(), 0), 0);
    free(head.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_values),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_bool_of_today),
        cmocka_unit_test(test_unknown_device),
        FIXTURE_TEST(test_file_changed),
        FIXTURE_TEST(test_file_refused),
        FIXTURE_TEST(test_long_names),
        FIXTURE_TEST(test_placed_once),
        FIXTURE_TEST(test_threads),
        FIXTURE_TEST(test_check),
        FIXTURE_TEST(test_remote_device),
        FIXTURE_TEST(test_two_devices),
        FIXTURE_TEST(test_memory),
    };
    if (params_scratch() < 0) /* it is open before open files are counted */
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
