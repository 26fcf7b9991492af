/* What the device says that kernels took. Where there is no device, all is skipped. */
#include "device/cpu.h"
#include "test/module_call.h"
#include "test/opencl_module_fixture.h"

#include <pthread.h>
#include <stdlib.h>

static const DLDevice gpu = {kDLOpenCL, 0}, cpu = {kDLCPU, 0};

/* spin: as many dependent steps as count says, then adds 1 to each element. */
#define SPIN                                                                                       \
    "__kernel void spin(__global int *out, int count) {\n"                                         \
    "  uint x = out[get_global_id(0)];\n"                                                          \
    "  for (int i = 0; i < count; i++) x = x * 1664525u + 1013904223u + (x >> 16);\n"              \
    "  out[get_global_id(0)] += x == 12345u ? 2 : 1;\n}\n"

enum { SHORT = 1, LONG = 3000000, ITEMS = 4 };

static struct tvm_module *module;
static struct tvm_function *function;
static void *data;

static int setup(void **state) {
    (void)state;
    static const struct module_kernel spin = {"spin", "pi", "bx"};
    if (tvm_opencl_device.count() == 0)
        return 0;
    module = opencl_module_new(&spin, 1, SPIN, false);
    function = module_function(module, "spin");
    expect_ok(tvm_opencl_device.alloc(gpu, ITEMS * sizeof(int), &data));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (!module)
        return 0;
    tvm_opencl_device.free(gpu, data);
    fixture_release(function);
    fixture_release(module);
    return 0;
}

static int launch(int count) {
    struct tvm_value result;
    const struct tvm_value args[] = {tvm_opaque(data), tvm_int(count), tvm_int(ITEMS)};
    return tvm_function_call(function, args, 3, &result);
}

static void *start(void) {
    void *timer = NULL;
    expect_ok(tvm_opencl_device.start_timer(gpu, &timer));
    return timer;
}

static int64_t stop(void *timer) {
    int64_t nanos = -1;
    expect_ok(tvm_opencl_device.stop_timer(timer, &nanos));
    return nanos;
}

/* Zeroes the data, on the device's usual queue and without waiting. */
static void zero(void) {
    expect_ok(tvm_opencl_device.zero((struct tvm_place){gpu, data, 0}, ITEMS * sizeof(int)));
}

static void expect_data(int expected) {
    int values[ITEMS];
    expect_ok(tvm_opencl_device.copy((struct tvm_place){gpu, data, 0},
                                     (struct tvm_place){cpu, values, 0}, sizeof(values)));
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(values[i], expected);
}

static void test_times(void **state) {
    (void)state;
    opencl_need_devices(1);
    bool longer = false; /* unless all is paused just then */
    for (int i = 0; i < 5 && !longer; i++) {
        void *timer = start();
        expect_ok(launch(SHORT));
        int64_t little = stop(timer);
        timer = start();
        expect_ok(launch(LONG));
        int64_t much = stop(timer);
        assert_true(little > 0 && much > 0);
        longer = much > 10 * little;
    }
    assert_true(longer);
    assert_int_equal(stop(start()), 0);
}

/* Kernels with a timer and those without, copies and zeroing come in the order of the program. */
static void test_order(void **state) {
    (void)state;
    opencl_need_devices(1);
    for (int i = 0; i < 20; i++) {
        zero();
        expect_ok(launch(LONG / 20));
        void *timer = start();
        expect_ok(launch(SHORT));
        expect_ok(launch(LONG / 20));
        assert_true(stop(timer) > 0);
        expect_ok(launch(SHORT));
        expect_data(4);
        timer = start();
        zero();
        expect_ok(launch(SHORT));
        expect_data(1);
        stop(timer);
    }
}

static void test_nested(void **state) {
    (void)state;
    opencl_need_devices(1);
    void *outer = start();
    expect_ok(launch(SHORT));
    void *inner = start();
    expect_ok(launch(LONG));
    int64_t part = stop(inner);
    assert_true(part > 0);
    assert_true(stop(outer) > part);
}

static void *launch_elsewhere(void *unused) {
    expect_ok(launch(SHORT));
    return unused;
}

/* Only this thread's kernels count. */
static void test_threads(void **state) {
    (void)state;
    opencl_need_devices(1);
    pthread_t thread;
    zero();
    void *timer = start();
    assert_int_equal(pthread_create(&thread, NULL, launch_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(stop(timer), 0);
    expect_data(1);
}

static void test_failed_launch(void **state) {
    (void)state;
    opencl_need_devices(1);
    struct tvm_value result;
    void *timer = start();
    expect_error(tvm_function_call(function, NULL, 0, &result), TVM_VALUE_ERROR,
                 "expected 3 arguments, got 0");
    expect_ok(launch(SHORT));
    const struct tvm_value wrong[] = {tvm_int(1), tvm_int(1), tvm_int(1)};
    expect_error(tvm_function_call(function, wrong, 3, &result), TVM_TYPE_ERROR,
                 "argument 0: expected a buffer");
    assert_true(stop(timer) > 0); /* of the one that did not fail */
}

static void test_no_device(void **state) {
    (void)state;
    void *timer;
    assert_null(tvm_cpu_device.start_timer);
    assert_null(tvm_cpu_device.stop_timer);
    expect_error(tvm_opencl_device.start_timer((DLDevice){kDLOpenCL, 77}, &timer),
                 TVM_NOT_FOUND_ERROR, "opencl(77)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),         cmocka_unit_test(test_order),
        cmocka_unit_test(test_nested),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_failed_launch), cmocka_unit_test(test_no_device),
    };
    setenv("GOTVM_OPENCL_CACHE", "off", 1); /* test_opencl_programs.c tests it */
    return cmocka_run_group_tests(tests, setup, teardown);
}
