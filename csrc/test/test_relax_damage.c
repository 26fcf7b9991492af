/* Executables that are damaged anywhere: an error each, or a model that runs into one. */
#include "module/blob.h"
#include "test/emulated.h"
#include "test/expect.h"
#include "test/relax_fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

/* Damaged sizes may be beyond what the sanitizer's allocator takes. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* What is damaged. Kernels with dynamic shapes divide by numbers that a forged executable gives
 * them, so those models are only loaded: it takes a library's own compiler to keep them apart. */
static const struct model {
    const char *folder;
    bool runs;
} models[] = {
    {"tvm0.27/dynamic", false}, {"tvm0.27/nested", true},    {"tvm0.27/recursion", true},
    {"tvm0.27/closure", true},  {"tvm0.27/functions", true}, {"tvm0.27/consumed", true},
};

struct payload {
    unsigned char *data;
    size_t size;
};

static struct payload copy_of(const unsigned char *data, size_t size) {
    struct payload copy = {malloc(size ? size : 1), size};
    assert_non_null(copy.data);
    memcpy(copy.data, data, size);
    return copy;
}

static struct payload read_payload(const char *folder) {
    struct payload payload;
    payload.data = relax_payload(folder, &payload.size);
    return payload;
}

static struct tvm_context *volatile running;

static void on_alarm(int number) {
    (void)number;
    struct tvm_context *context = running;
    if (context)
        atomic_store(&context->cancelled, true);
}

/* Runs all functions of a module that was loaded, with zeros; anything but a crash will do. */
static void run_all(struct tvm_module *module, struct tvm_module *library) {
    struct tvm_relax_executable *executable = tvm_relax_executable_of(module);
    struct tvm_relax_session *session;
    expect_ok(tvm_module_import(module, library));
    if (tvm_relax_session_new(executable, (DLDevice){kDLCPU, 0}, &session))
        return;
    for (size_t i = 0; i < tvm_relax_function_count(executable); i++) {
        struct tvm_value args[8], result;
        size_t count = tvm_relax_param_count(executable, i);
        if (count > 8)
            continue;
        for (size_t j = 0; j < count; j++) {
            struct tvm_relax_info info = tvm_relax_param(executable, i, j);
            struct tvm_tensor *tensor;
            int64_t shape[4] = {3, 4, 2, 2};
            int ndim = info.is_tensor && info.ndim >= 0 && info.ndim <= 4 ? info.ndim : 2;
            for (int d = 0; d < ndim && info.is_tensor && info.shape; d++)
                if (info.shape[d] >= 0 && info.shape[d] < 16)
                    shape[d] = info.shape[d];
            DLDataType dtype = {TVM_DTYPE_FLOAT, 32, 1};
            if (info.is_tensor && tvm_dtype_nbytes(info.dtype) <= 8)
                dtype = info.dtype;
            expect_ok(tvm_tensor_empty(shape, ndim, dtype, (DLDevice){kDLCPU, 0}, &tensor));
            size_t nbytes;
            expect_ok(tvm_tensor_nbytes(&tensor->dl, &nbytes));
            memset(tensor->dl.data, 0, nbytes);
            args[j] = tvm_from_object(tensor);
        }
        running = tvm_relax_session_context(session);
        atomic_store(&running->cancelled, false);
        struct itimerval timer = {.it_value = {.tv_usec = 200000}, .it_interval = {.tv_sec = 1}};
        setitimer(ITIMER_REAL, &timer, NULL);
        if (tvm_relax_session_call(session, i, args, (int32_t)count, &result) == 0)
            tvm_value_clear(&result);
        setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
        running = NULL;
        for (size_t j = 0; j < count; j++)
            tvm_value_clear(&args[j]);
    }
    tvm_object_release((struct tvm_object *)session);
}

/* One variant: loads it and, with a library, runs what it loads as. Whether it loaded. */
static bool try_variant(const struct payload *payload, struct tvm_module *library) {
    struct tvm_module *module;
    bool loaded = relax_load(payload->data, payload->size, &module) == 0;
    if (loaded) {
        if (library)
            run_all(module, library);
        tvm_object_release(&module->object);
    } else {
        const char *kind = tvm_error_peek()->kind.data;
        if (strcmp(kind, TVM_FORMAT_ERROR) != 0 && strcmp(kind, TVM_UNSUPPORTED_ERROR) != 0 &&
            strcmp(kind, TVM_VALUE_ERROR) != 0 && strcmp(kind, TVM_TYPE_ERROR) != 0)
            fail_msg("%s: %s", kind, tvm_error_peek()->message.data);
    }
    drop_error();
    return loaded;
}

static struct tvm_module *library_of(const char *folder, struct tvm_relax_executable **executable) {
    *executable = relax_open(folder, "model.so");
    return ((struct tvm_module *)*executable)->imports[0];
}

/* Every byte, or one of each seven, becomes some others. */
static void damage_bytes(const struct payload *payload, struct tvm_module *library) {
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x10};
    size_t loaded = 0, refused = 0;
    for (size_t i = 0; i < payload->size; i += emulated() ? 7 : 1)
        for (size_t j = 0; j < sizeof(changes); j++) {
            payload->data[i] ^= changes[j];
            if (try_variant(payload, library))
                loaded++;
            else
                refused++;
            payload->data[i] ^= changes[j];
        }
    print_message("%zu bytes: %zu variants loaded, %zu were refused\n", payload->size, loaded,
                  refused);
    assert_true(refused > loaded / 4);
}

static void damage_end(const struct payload *payload, struct tvm_module *library) {
    struct tvm_module *module;
    (void)library;
    for (size_t size = 0; size < payload->size; size++) {
        if (relax_load(payload->data, size, &module) == 0)
            fail_msg("%zu of %zu bytes load", size, payload->size);
        drop_error();
    }
}

/* Several bytes at once, and words of the kind that files hold, at random places. */
static void damage_randomly(const struct payload *payload, struct tvm_module *library) {
    static const uint64_t words[] = {0,          1,
                                     2,          3,
                                     4,          UINT64_MAX,
                                     1ull << 54, (1ull << 54) + 1,
                                     1ull << 56, 2ull << 56,
                                     3ull << 56, 1ull << 62,
                                     1ull << 32, (1ull << 32) + 1};
    const char *rounds = getenv("RELAX_TEST_ROUNDS");
    srand(getenv("RELAX_TEST_SEED") ? (unsigned)atoi(getenv("RELAX_TEST_SEED")) : 7);
    for (int round = rounds ? atoi(rounds) : emulated() ? 100 : 1000; round > 0; round--) {
        struct payload variant = copy_of(payload->data, payload->size);
        for (int changes = 1 + rand() % 4; changes > 0; changes--) {
            size_t at = (size_t)rand() % (payload->size - 8);
            if (rand() % 2) /* instructions are at the end, in whole words */
                at = payload->size - 8 * (1 + (size_t)rand() % (payload->size / 16));
            if (rand() % 3)
                memcpy(variant.data + at, &words[(size_t)rand() % COUNT(words)], 8);
            else
                variant.data[at] = (unsigned char)rand();
        }
        try_variant(&variant, library);
        free(variant.data);
    }
}

static void damage_all(void (*damage)(const struct payload *payload, struct tvm_module *library)) {
    for (size_t i = 0; i < COUNT(models); i++) {
        struct tvm_relax_executable *executable;
        struct payload payload = read_payload(models[i].folder);
        struct tvm_module *library = library_of(models[i].folder, &executable);
        int64_t before = tvm_object_live_count();
        damage(&payload, models[i].runs ? library : NULL);
        assert_int_equal(tvm_object_live_count(), before);
        free(payload.data);
        tvm_object_release((struct tvm_object *)executable);
    }
}

static int read_blob(const unsigned char *data, size_t size) {
    struct payload copy = copy_of(data, size);
    struct tvm_blob blob;
    int status = tvm_blob_read_ffi("m.so", copy.data, size, NULL, &blob);
    if (status == 0)
        tvm_blob_free(&blob);
    free(copy.data);
    return status;
}

/* What is around the executable: the import tree, the kinds of modules and their sizes. */
static void test_blob(void **state) {
    (void)state;
    size_t size;
    unsigned char *blob = relax_blob(models[0].folder, &size);
    int64_t before = tvm_object_live_count();
    expect_ok(read_blob(blob, size));
    for (size_t length = 0; length < size; length++) {
        assert_int_equal(read_blob(blob, length), -1);
        drop_error();
    }
    for (size_t i = 0; i < size; i = i == 128 ? size - 16 : i + 1)
        for (int bit = 0; bit < 8; bit++) {
            blob[i] ^= (unsigned char)(1 << bit);
            if (read_blob(blob, size))
                drop_error();
            blob[i] ^= (unsigned char)(1 << bit);
        }
    char *kind = memmem(blob, size, "relax.VMExecutable", 18);
    assert_non_null(kind);
    memcpy(kind, "relax.VMExecutabl2", 18);
    expect_error(read_blob(blob, size), TVM_UNSUPPORTED_ERROR,
                 "holds a module of kind \"relax.VMExecutabl2\"");
    free(blob);
    assert_int_equal(tvm_object_live_count(), before);
}

static void test_every_byte(void **state) {
    (void)state;
    damage_all(damage_bytes);
}

static void test_truncated(void **state) {
    (void)state;
    damage_all(damage_end);
}

static void test_random(void **state) {
    (void)state;
    damage_all(damage_randomly);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blob),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_random),
    };
    struct tvm_function *none;
    expect_ok(tvm_registry_get("none", &none)); /* makes the built-in functions, once */
    signal(SIGALRM, on_alarm);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
