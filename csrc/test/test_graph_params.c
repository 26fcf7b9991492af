/* Params files, in memory and on disk: values, alignment, and every kind of damage. */
#include "base/os.h"
#include "test/graph_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
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

/* A file of nobody's name, for the tests to write to; the data begins at OFFSET. */
enum { OFFSET = 11 };
static int scratch;

static struct tvm_graph_weights *open_scratch(struct fixture_bytes bytes) {
    struct tvm_graph_weights *weights = NULL;
    assert_int_equal(ftruncate(scratch, 0), 0);
    assert_int_equal(pwrite(scratch, "0123456789a", OFFSET, 0), OFFSET);
    assert_int_equal(pwrite(scratch, bytes.data, bytes.size, OFFSET), bytes.size);
    assert_int_equal(pwrite(scratch, "behind", 6, (off_t)(OFFSET + bytes.size)), 6);
    if (tvm_graph_weights_open("test.params", scratch, OFFSET, bytes.size, &weights))
        return NULL;
    return weights;
}

static void expect_equal(const struct tvm_graph_params *a, const struct tvm_graph_params *b) {
    assert_int_equal(tvm_graph_params_count(a), tvm_graph_params_count(b));
    for (size_t i = 0; i < tvm_graph_params_count(a); i++) {
        const DLTensor *x = &tvm_graph_params_tensor(a, i)->dl;
        const DLTensor *y = &tvm_graph_params_tensor(b, i)->dl;
        size_t nbytes;
        assert_string_equal(tvm_graph_params_name(a, i).data, tvm_graph_params_name(b, i).data);
        assert_true(tvm_dtype_equal(x->dtype, y->dtype));
        assert_int_equal(x->ndim, y->ndim);
        if (x->ndim)
            assert_memory_equal(x->shape, y->shape, (size_t)x->ndim * 8);
        expect_ok(tvm_tensor_nbytes(x, &nbytes));
        assert_memory_equal(x->data, y->data, nbytes);
    }
}

/* The same bytes in a file: they give the same params, or the same error. */
static void parse_file(struct fixture_bytes bytes, const struct tvm_graph_params *expected) {
    struct tvm_error *error = expected ? NULL : tvm_error_take();
    struct tvm_graph_weights *weights = open_scratch(bytes);
    if (error) {
        assert_null(weights);
        expect_error(-1, error->kind.data, error->message.data);
        (void)tvm_error_restore(error); /* the caller's */
    } else {
        struct tvm_graph_params *params;
        assert_non_null(weights);
        expect_ok(tvm_graph_weights_place(weights, NULL, cpu, &params));
        expect_equal(params, expected);
        fixture_release(params);
        fixture_release(weights);
    }
}

static int parse(struct fixture_bytes bytes) {
    struct tvm_graph_params *params = NULL;
    /* In memory of just that size: reads beyond it show. */
    unsigned char *exact = malloc(bytes.size ? bytes.size : 1);
    if (bytes.size)
        memcpy(exact, bytes.data, bytes.size);
    int status = tvm_graph_params_new("test.params", exact, bytes.size, cpu, &params);
    free(exact);
    parse_file(bytes, params);
    if (status == 0)
        fixture_release(params);
    return status;
}

static void expect_damage(struct fixture_bytes bytes, const char *message) {
    expect_error(parse(bytes), TVM_FORMAT_ERROR, "test.params: ");
    expect_error(parse(bytes), TVM_FORMAT_ERROR, message);
    free(bytes.data);
}

static struct fixture_bytes several(void) {
    static const char *const names[] = {"weight", "", "scalar", "empty", "mask"};
    static const float weight[] = {1, 2, 3, 4, 5, 6, 7};
    static const int64_t seven[] = {7}, none[] = {3, 0, 2}, mask_shape[] = {3, 1};
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, names, 5);
    fixture_put_tensor(&bytes, float32, seven, 1, weight, sizeof(weight));
    fixture_put_tensor(&bytes, (DLDataType){kDLInt, 64, 1}, seven, 0, "\1\2\0\0\0\0\0\0", 8);
    fixture_put_tensor(&bytes, (DLDataType){kDLFloat, 16, 1}, seven, 0, "ab", 2);
    fixture_put_tensor(&bytes, float32, none, 3, NULL, 0);
    fixture_put_tensor(&bytes, (DLDataType){kDLUInt, 1, 1}, mask_shape, 2, "\1\0\1", 3);
    return bytes;
}

static void test_values(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
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

static void test_head_damage(void **state) {
    (void)state;
    static const char *const twice[] = {"a", "b", "a"};
    struct fixture_bytes bytes = {NULL, 0};
    expect_damage(bytes, "magic number");
    fixture_put(&bytes, "not a params file at all", 24);
    expect_damage(bytes, "not a params file");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_number(&bytes, UINT64_C(0xF7E58D4F05049CB7), 8);
    fixture_put_number(&bytes, 0, 8);
    fixture_put_number(&bytes, UINT64_C(1) << 40, 8);
    fixture_put_number(&bytes, 0, 8);
    expect_damage(bytes, "number of names");
    for (int i = 0; i < 3; i++) {
        static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, 9};
        bytes = (struct fixture_bytes){NULL, 0};
        fixture_put_number(&bytes, UINT64_C(0xF7E58D4F05049CB7), 8);
        fixture_put_number(&bytes, 0, 8);
        fixture_put_number(&bytes, 1, 8);
        fixture_put_number(&bytes, lengths[i], 8);
        fixture_put_number(&bytes, 0, 8);
        expect_damage(bytes, "name of a parameter");
    }
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 2);
    bytes.data[bytes.size - 8] = 3;
    expect_damage(bytes, "3 tensors, but 2 names");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 2);
    bytes.data[bytes.size - 4] = 1;
    expect_damage(bytes, "4294967298 tensors, but 2 names");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 1);
    bytes.data[32] = '\0';
    expect_damage(bytes, "the name of parameter 0 holds a NUL");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 3);
    expect_damage(bytes, "3 tensors cannot fit");
    bytes = (struct fixture_bytes){NULL, 0};
    fixture_put_head(&bytes, twice, 3);
    for (int i = 0; i < 3; i++)
        fixture_put_tensor(&bytes, float32, NULL, 0, "1234", 4);
    expect_damage(bytes, "two parameters are called a");
}

/* Offsets in a file with one tensor called "p" of 2 dimensions. */
enum {
    TENSOR = 41,
    DEVICE = 57,
    NDIM = 65,
    CODE = 69,
    BITS = 70,
    LANES = 71,
    SHAPE = 73,
    SIZE = 89
};

static struct fixture_bytes one(void) {
    static const float data[] = {1, 2, 3, 4, 5, 6};
    static const int64_t shape[] = {2, 3};
    return fixture_params("p", shape, 2, data);
}

static void test_tensor_damage(void **state) {
    (void)state;
    static const struct {
        size_t offset, size;
        uint64_t value;
        const char *message;
    } damages[] = {
        {TENSOR, 8, 5, "test.params: parameter 0 (p): byte 49: no tensor begins here"},
        {DEVICE, 4, 2, "device type 2: only cpu"},
        {NDIM, 4, 0xffffffff, "-1 dimensions"},
        {NDIM, 4, 1 << 30, "1073741824 dimensions"},
        {NDIM, 4, 65, "65 dimensions: expected 0 to 64"},
        {NDIM, 4, 64, "shape: expected 8 bytes, 0 are left"},
        {NDIM, 4, 1, "bytes, but 3 are stored"},
        {BITS, 1, 0, "has no bits"},
        {BITS, 1, 64, "float64 [2, 3] has 48 bytes, but 24 are stored"},
        {BITS, 1, 8, "has 6 bytes, but 24 are stored"},
        {LANES, 2, 0, "0 lanes: expected 1"},
        {LANES, 2, 4, "4 lanes: expected 1"},
        {SHAPE, 8, 3, "float32 [3, 3] has 36 bytes, but 24 are stored"},
        {SHAPE, 8, UINT64_MAX, "negative dimension"},
        {SHAPE, 8, INT64_MAX, "more elements"},
        {SHAPE, 8, SIZE_MAX / 8 + 1, "larger than memory"},
        {SIZE, 8, (UINT64_C(1) << 32) + 24, "has 24 bytes, but 4294967320 are stored"},
        {SIZE, 8, 25, "has 24 bytes, but 25 are stored"},
        {SIZE, 8, UINT64_MAX, "has 24 bytes, but -1 are stored"},
    };
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct fixture_bytes bytes = one();
        for (size_t k = 0; k < damages[i].size; k++)
            bytes.data[damages[i].offset + k] = (unsigned char)(damages[i].value >> 8 * k);
        expect_damage(bytes, damages[i].message);
    }
    struct fixture_bytes custom = one();
    custom.data[CODE] = 131;
    expect_error(parse(custom), TVM_UNSUPPORTED_ERROR, "parameter 0 (p): dtype code 131");
    free(custom.data);
    /* TVM 0.6 wrote bool parameters without their data. */
    static const char *const name = "mask";
    static const int64_t shape[] = {4};
    struct fixture_bytes bytes = {NULL, 0};
    fixture_put_head(&bytes, &name, 1);
    fixture_put_tensor(&bytes, (DLDataType){kDLUInt, 1, 1}, shape, 1, NULL, 0);
    expect_damage(bytes, "bool [4] without data: TVM 0.6");
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
    struct fixture_bytes bytes = one();
    struct tvm_graph_params *params;
    expect_error(tvm_graph_params_new("test.params", bytes.data, bytes.size,
                                      (DLDevice){(DLDeviceType)99, 0}, &params),
                 TVM_TYPE_ERROR, "no support for such a device");
    free(bytes.data);
}

static void test_truncated(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
    for (size_t size = 0; size < bytes.size; size++) {
        expect_error(parse((struct fixture_bytes){bytes.data, size}), TVM_FORMAT_ERROR,
                     "test.params: ");
    }
    assert_int_equal(parse(bytes), 0);
    free(bytes.data);
}

static void test_mutated(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
    unsigned char *original = malloc(bytes.size);
    memcpy(original, bytes.data, bytes.size);
    uint64_t seed = 3;
    for (int i = 0; i < 20000; i++) {
        static const unsigned char values[] = {0, 1, 2, 0x7f, 0x80, 0xff, 64, 32};
        memcpy(bytes.data, original, bytes.size);
        for (uint32_t n = 1 + fixture_random(&seed) % 4; n > 0; n--)
            bytes.data[fixture_random(&seed) % bytes.size] =
                values[fixture_random(&seed) % sizeof(values)];
        parse(bytes);
    }
    free(original);
    free(bytes.data);
}

/* Changes of a file between opening and placing: as if it had been opened then, or an error. */
static void test_file_changed(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
    struct tvm_graph_params *params;
    struct tvm_graph_weights *weights;
    for (size_t size = 0; size < OFFSET + bytes.size; size++) {
        weights = open_scratch(bytes);
        assert_int_equal(ftruncate(scratch, (off_t)size), 0);
        expect_error(tvm_graph_weights_place(weights, NULL, cpu, &params), TVM_FORMAT_ERROR,
                     "test.params: the file was changed after");
        fixture_release(weights);
    }
    /* Written over: seen by the time of the change. */
    weights = open_scratch(bytes);
    struct timespec times[] = {{1000000000, 5}, {1000000000, 5}};
    assert_int_equal(pwrite(scratch, bytes.data, 8, OFFSET), 8);
    assert_int_equal(futimens(scratch, times), 0);
    expect_error(tvm_graph_weights_place(weights, NULL, cpu, &params), TVM_FORMAT_ERROR,
                 "test.params: the file was changed after");
    fixture_release(weights);
    free(bytes.data);
}

static void test_file_refused(void **state) {
    (void)state;
    struct fixture_bytes bytes = several();
    struct tvm_graph_weights *weights = open_scratch(bytes);
    fixture_release(weights);
    size_t size = OFFSET + bytes.size + 6;
    uint64_t offsets[] = {1, size + 1, UINT64_MAX, UINT64_MAX - size + 1};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
        expect_error(tvm_graph_weights_open("odd", scratch, offsets[i], size, &weights),
                     TVM_FORMAT_ERROR, "odd: ");
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
        struct tvm_graph_weights *weights = open_scratch(bytes);
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
    struct fixture_bytes bytes = several();
    int files = count_files();
    struct tvm_graph_weights *weights = open_scratch(bytes);
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
    assert_int_equal(ftruncate(scratch, 0), 0);
    expect_equal(first, other);
    struct tvm_graph_params *expected;
    expect_ok(tvm_graph_params_new("test.params", bytes.data, bytes.size, cpu, &expected));
    expect_equal(first, expected);
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
    struct fixture_bytes bytes = several();
    for (int round = 0; round < 50; round++) {
        struct tvm_graph_weights *weights = open_scratch(bytes);
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
    struct tvm_graph_weights *sources[] = {NULL, open_scratch(bytes)};
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
    free(bytes.data);
    free(data);
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
    if (pwrite(scratch, head.data, head.size, 0) != (ssize_t)head.size ||
        ftruncate(scratch, (off_t)(head.size + size)))
        return 5;
    long before = peak();
    if (tvm_graph_weights_open("large", scratch, 0, head.size + size, &weights))
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
    assert_int_equal(ftruncate(scratch, 0), 0);
    free(head.data);
}

static void test_no_leaks(void **state) {
    (void)state;
    drop_error();
    int64_t before = tvm_object_live_count();
    test_values(state);
    test_tensor_damage(state);
    test_truncated(state);
    assert_int_equal(tvm_object_live_count(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_head_damage),   cmocka_unit_test(test_tensor_damage),
        cmocka_unit_test(test_bool_of_today), cmocka_unit_test(test_unknown_device),
        cmocka_unit_test(test_truncated),     cmocka_unit_test(test_mutated),
        FIXTURE_TEST(test_file_changed),      FIXTURE_TEST(test_file_refused),
        FIXTURE_TEST(test_long_names),        FIXTURE_TEST(test_placed_once),
        FIXTURE_TEST(test_threads),           FIXTURE_TEST(test_check),
        FIXTURE_TEST(test_remote_device),     FIXTURE_TEST(test_memory),
        cmocka_unit_test(test_no_leaks),
    };
    FILE *file = tmpfile();
    if (!file)
        return 1;
    scratch = fileno(file);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fclose(file);
    return failed;
}
