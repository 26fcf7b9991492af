/* OpenCL modules: their bytes, launches, and models that real compilers made. Tests that need a
 * device are skipped where there is none; the device itself is tested by test_device.c. */
#include "base/context.h"
#include "device/opencl/runtime.h"
#include "test/emulated.h"
#include "test/module_call.h"
#include "test/opencl_fixture.h"
#include "test/opencl_module_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const DLDevice gpu = {kDLOpenCL, 0}, cpu = {kDLCPU, 0};

/* Modules */

static int call(struct tvm_function *function, const struct tvm_value *args, int count) {
    struct tvm_value result;
    int status = tvm_function_call(function, args, count, &result);
    if (status == 0)
        assert_int_equal(result.type_index, TVM_TYPE_NONE);
    return status;
}

#define CALL(function, ...)                                                                        \
    call(function, (const struct tvm_value[]){__VA_ARGS__},                                        \
         sizeof((const struct tvm_value[]){__VA_ARGS__}) / sizeof(struct tvm_value))

static void *take(size_t nbytes) {
    void *data = NULL;
    expect_ok(tvm_opencl_device.alloc(gpu, nbytes, &data));
    expect_ok(tvm_opencl_device.zero((struct tvm_place){gpu, data, 0}, nbytes));
    return data;
}

static void get(void *data, void *to, size_t nbytes) {
    expect_ok(tvm_opencl_device.copy((struct tvm_place){gpu, data, 0},
                                     (struct tvm_place){cpu, to, 0}, nbytes));
}

#define FILL                                                                                       \
    "__kernel void fill(__global int *out, int value) {\n"                                         \
    "  out[get_global_id(0)] = value + (int)get_global_id(0);\n}\n"
#define TWICE "__kernel void twice(__global int *out) {\n  out[get_global_id(0)] *= 2;\n}\n"
static const struct module_kernel two_kernels[] = {{"fill", "pi", "bx tx"},
                                                   {"twice", "p", "tx bx"}};

static void run_two(struct tvm_module *module) {
    struct tvm_function *fill = module_function(module, "fill"),
                        *twice = module_function(module, "twice");
    struct tvm_function *none;
    int values[12];
    void *data = take(sizeof(values));
    expect_ok(tvm_module_get_function(module, "fil", false, &none));
    assert_null(none);
    for (int round = 0; round < 3; round++) {
        expect_ok(CALL(fill, tvm_opaque(data), tvm_int(round * 100), tvm_int(3), tvm_int(4)));
        expect_ok(CALL(twice, tvm_opaque(data), tvm_int(4), tvm_int(3)));
        get(data, values, sizeof(values));
        for (int i = 0; i < 12; i++)
            assert_int_equal(values[i], 2 * (round * 100 + i));
    }
    tvm_opencl_device.free(gpu, data);
    fixture_release(fill);
    fixture_release(twice);
    fixture_release(module);
}

/* Source in parts for each kernel (TVM 0.8), in one piece (0.7), and as modern libraries have it.
 */
static void test_forms(void **state) {
    (void)state;
    opencl_need_devices(1);
    run_two(opencl_module_new(two_kernels, 2, FILL TWICE, false));
    run_two(opencl_module_new(two_kernels, 2,
                              "// Function: fill\n" FILL "// Function: twice\n" TWICE, false));
    run_two(opencl_module_new(two_kernels, 2,
                              "// Function: twice\r\n" TWICE "// Function: fill\r\n" FILL, true));
}

/* Parts that define the same helper compile one by one only. */
static void test_same_helpers(void **state) {
    (void)state;
    opencl_need_devices(1);
#define HELPER "int helper(int x) { return x; }\n"
    run_two(opencl_module_new(
        two_kernels, 2,
        "int broken(\n// Function: fill\n" HELPER FILL "// Function: twice\n" HELPER TWICE, false));
}

/* A kernel that does not compile is an error with the driver's messages, when it is launched; its
 * neighbours run. */
static void test_build_errors(void **state) {
    (void)state;
    opencl_need_devices(1);
    static const struct module_kernel three[] = {
        {"fill", "pi", "bx tx"}, {"twice", "p", "tx bx"}, {"wrong", "p", "bx"}};
    struct tvm_module *module = opencl_module_new(
        three, 3,
        "// Function: fill\n" FILL "// Function: twice\n" TWICE "// Function: wrong\n"
        "__kernel void wrong(__global int *x) { x = why; }\n",
        false);
    struct tvm_function *wrong = module_function(module, "wrong");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(CALL(wrong, tvm_none(), tvm_int(1)), -1);
        const char *message = tvm_error_peek()->message.data;
        assert_non_null(strstr(message, "OpenCL kernel wrong: opencl(0), "));
        assert_non_null(strstr(message, "CL_BUILD_PROGRAM_FAILURE (-11)"));
        assert_non_null(strstr(message, "why")); /* what the driver's compiler says */
    }
    fixture_release(wrong);
    run_two(module);
    /* In one piece, all stand and fall together. */
    module = opencl_module_new(two_kernels, 2, FILL "oops", false);
    struct tvm_function *fill = module_function(module, "fill");
    expect_error(CALL(fill, tvm_none(), tvm_int(1), tvm_int(1), tvm_int(1)), TVM_RUNTIME_ERROR,
                 "the driver does not compile it");
    fixture_release(fill);
    fixture_release(module);
    module = opencl_module_new(two_kernels, 2, TWICE, false);
    fill = module_function(module, "fill");
    expect_error(CALL(fill, tvm_none(), tvm_int(1), tvm_int(1), tvm_int(1)), TVM_RUNTIME_ERROR,
                 "OpenCL kernel fill: its source does not define it");
    fixture_release(fill);
    fixture_release(module);
    /* A part that lacks its kernel is compiled once. */
    module = opencl_module_new(two_kernels, 1, "// Function: fill\n" TWICE, false);
    fill = module_function(module, "fill");
    for (int i = 0; i < 2; i++)
        expect_error(CALL(fill, tvm_none(), tvm_int(1), tvm_int(1), tvm_int(1)), TVM_RUNTIME_ERROR,
                     "OpenCL kernel fill: its source does not define it");
    assert_null(((struct opencl_module *)module)->programs->next);
    fixture_release(fill);
    fixture_release(module);
}

/* What TVM writes before kernels of float16. */
static void test_half(void **state) {
    (void)state;
    opencl_need_devices(1);
    static const struct module_kernel half[] = {{"fill", "pi", "bx tx"}};
    struct tvm_module *module =
        opencl_module_new(half, 1,
                          "// Function: fill\n"
                          "#ifdef cl_khr_fp16\n"
                          "#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n"
                          "#else\n#error \"no half precision\"\n#endif\n" FILL,
                          false);
    struct tvm_function *fill = module_function(module, "fill");
    void *data = take(4);
    if (CALL(fill, tvm_opaque(data), tvm_int(1), tvm_int(1), tvm_int(1)))
        expect_error(-1, TVM_RUNTIME_ERROR, "it computes with float16 (cl_khr_fp16), which the");
    tvm_opencl_device.free(gpu, data);
    fixture_release(fill);
    fixture_release(module);
}

/* Scalars of all types, with tags that repeat and stand in any order, and an argument that OpenCL
 * does not use. */
static void test_arguments(void **state) {
    (void)state;
    opencl_need_devices(1);
    static const struct module_kernel kernels[] = {
        {"numbers", "pliufdp", "tz ty tx bz tz ty tx dyn"},
    };
    struct tvm_module *module = opencl_module_new(
        kernels, 1,
        "__kernel void numbers(__global double *out, long l, int i, uint u, float f, double d,\n"
        "                      __global int *none) {\n"
        "  if (get_global_id(0) + get_global_id(1) + get_global_id(2)) return;\n"
        "  out[0] = l; out[1] = i; out[2] = u; out[3] = f; out[4] = d; out[5] = none == 0;\n"
        "  for (int k = 0; k < 3; k++) {\n"
        "    out[6 + k] = get_local_size(k); out[9 + k] = get_num_groups(k); }\n"
        "  out[12] = get_work_dim();\n}\n",
        false);
    struct tvm_function *numbers = module_function(module, "numbers");
    double values[13];
    static const double expected[13] = {-5e15, -7, 4294967295.0, 0.25, 0.1, 1, 2, 3, 4, 1, 1, 5, 3};
    void *data = take(sizeof(values));
    expect_ok(CALL(numbers, tvm_opaque(data), tvm_int(-5000000000000000), tvm_int(-7),
                   tvm_int(0xffffffff), tvm_float(0.25), tvm_float(0.1), tvm_none(), tvm_int(9),
                   tvm_int(9), tvm_int(9), tvm_int(5), tvm_int(4), tvm_int(3), tvm_int(2),
                   tvm_int(777)));
    get(data, values, sizeof(values));
    for (int i = 0; i < 13; i++)
        assert_true(values[i] == expected[i]);
    expect_error(CALL(numbers, tvm_opaque(data)), TVM_VALUE_ERROR,
                 "OpenCL kernel numbers: expected 15 arguments, got 1");
    fixture_release(numbers);
    fixture_release(module);
    module = opencl_module_new(two_kernels, 2, FILL TWICE, false);
    struct tvm_function *fill = module_function(module, "fill");
    struct tvm_value one = tvm_int(1), buffer = tvm_opaque(data), real = tvm_float(1);
    expect_error(CALL(fill, one, one, one, one), TVM_TYPE_ERROR,
                 "OpenCL kernel fill: argument 0: expected a buffer, got int");
    expect_error(CALL(fill, buffer, real, one, one), TVM_TYPE_ERROR,
                 "argument 1: expected int, got float");
    expect_error(CALL(fill, buffer, one, real, one), TVM_TYPE_ERROR,
                 "argument 2: expected int, got float");
    expect_error(CALL(fill, buffer, one, tvm_int(-1), one), TVM_VALUE_ERROR, "a grid of -1");
    expect_error(CALL(fill, buffer, one, tvm_int(INT64_MAX), tvm_int(4)), TVM_VALUE_ERROR,
                 "work groups of 4");
    expect_error(CALL(fill, buffer, one, one, tvm_int(1 << 24)), TVM_UNSUPPORTED_ERROR,
                 "it wants work groups of 16777216 x 1 x 1, but opencl(0), ");
    expect_ok(CALL(fill, buffer, one, tvm_int(0), tvm_int(0))); /* of 0, TVM makes 1 */
    fixture_release(fill);
    fixture_release(module);
    tvm_opencl_device.free(gpu, data);
}

static void expect_refused(const struct module_kernel *kernels, size_t count, const char *format,
                           const char *source, const char *kind, const char *text) {
    struct fixture_bytes bytes = opencl_module_bytes(format, kernels, count, source, false);
    struct tvm_module *module;
    expect_error(opencl_module_read(bytes, false, &module), kind, "test.so");
    expect_error(opencl_module_read(bytes, false, &module), kind, text);
    free(bytes.data);
}

/* What target "opencl -device=spirv" gives: no format, and words of 32 bits in the source's place.
 */
static void test_spirv(void **state) {
    (void)state;
    struct fixture_bytes bytes = {NULL, 0};
    struct tvm_module *module;
    opencl_put_kernels(&bytes, two_kernels, 1, false);
    fixture_put_number(&bytes, 1, 8); /* programs */
    fixture_put_string(&bytes, "fill");
    fixture_put_number(&bytes, 0, 4);          /* flag */
    fixture_put_number(&bytes, 1, 8);          /* words */
    fixture_put_number(&bytes, 0x07230203, 4); /* SPIR-V's first */
    expect_error(opencl_module_read(bytes, false, &module), TVM_UNSUPPORTED_ERROR,
                 "SPIR-V, as target");
    free(bytes.data);
}

static void test_refused(void **state) {
    (void)state;
    static const char *const formats[] = {"xclbin", "awsxclbin", "aocx", "clbin", "spv"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
        expect_refused(two_kernels, 2, formats[i], FILL, TVM_UNSUPPORTED_ERROR, formats[i]);
    expect_refused(two_kernels, 2, "", FILL, TVM_UNSUPPORTED_ERROR, "no OpenCL C source");
    expect_refused(two_kernels, 2, "cl", "// Function: fill\n" FILL, TVM_FORMAT_ERROR,
                   "OpenCL kernel twice has no source");
    static const struct module_kernel half[] = {{"k", "ph", "bx"}},
                                      image[] = {{"k", "p", "bx image"}},
                                      axis[] = {{"k", "p", "bw"}}, unnamed[] = {{"", "p", "bx"}};
    expect_refused(half, 1, "cl", "", TVM_UNSUPPORTED_ERROR,
                   "OpenCL kernel k: parameter 1 is of type float16");
    expect_refused(image, 1, "cl", "", TVM_UNSUPPORTED_ERROR, "launch parameter \"image\"");
    expect_refused(axis, 1, "cl", "", TVM_UNSUPPORTED_ERROR, "launch parameter \"blockIdx.w\"");
    expect_refused(unnamed, 1, "cl", "", TVM_FORMAT_ERROR, "a kernel has no valid name");
}

/* Cut short or changed anywhere: an error or another module, nothing worse. */
static void test_damage(void **state) {
    (void)state;
    for (int ffi = 0; ffi < 2; ffi++) {
        struct fixture_bytes bytes = opencl_module_bytes(
            "cl", two_kernels, 2, "// Function: fill\n" FILL "// Function: twice\n" TWICE, ffi);
        struct tvm_module *module;
        for (size_t size = 0; size < bytes.size; size++)
            expect_error(opencl_module_read((struct fixture_bytes){bytes.data, size}, ffi, &module),
                         TVM_FORMAT_ERROR, "test.so: byte ");
        uint64_t random = 9;
        for (int round = 0; round < 20000; round++) {
            uint32_t number = fixture_random(&random);
            unsigned char *at = &bytes.data[number % bytes.size], before = *at;
            *at = (unsigned char)(number >> 24);
            if (opencl_module_read(bytes, ffi, &module) == 0)
                fixture_release(module);
            *at = before;
        }
        free(bytes.data);
    }
}

/* One kernel in many threads, each with arguments of its own. */

struct worker {
    struct tvm_function *fill;
    void *data;
    int number;
    bool good;
};

static void *launch_often(void *argument) {
    struct worker *worker = argument;
    int values[64] = {0};
    for (int i = 0; i < 300 && worker->good; i++) {
        int value = worker->number * 100000 + i;
        worker->good =
            CALL(worker->fill, tvm_opaque(worker->data), tvm_int(value), tvm_int(16), tvm_int(4)) ==
                0 &&
            tvm_opencl_device.copy((struct tvm_place){gpu, worker->data, 0},
                                   (struct tvm_place){cpu, values, 0}, sizeof(values)) == 0;
        for (int k = 0; k < 64; k++)
            worker->good &= values[k] == value + k;
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    opencl_need_devices(1);
    enum { THREADS = 6 };
    struct tvm_module *module = opencl_module_new(two_kernels, 2, FILL TWICE, false);
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){module_function(module, "fill"), take(256), i, true};
        assert_int_equal(pthread_create(&threads[i], NULL, launch_often, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(workers[i].good);
        fixture_release(workers[i].fill);
        tvm_opencl_device.free(gpu, workers[i].data);
    }
    fixture_release(module);
}

/* Models */

/* Two sessions that share what is constant, in turn. */
static void run_model(const char *name, const char *file) {
    struct opencl_model model;
    struct opencl_session sessions[2];
    opencl_model_open(name, file, &model);
    for (int i = 0; i < 2; i++)
        opencl_session_new(&model, gpu, &sessions[i]);
    for (int i = 0; i < 6; i++) {
        expect_ok(opencl_session_run(&sessions[i % 2]));
        opencl_session_check(&sessions[i % 2]);
    }
    for (int i = 0; i < 2; i++)
        opencl_session_close(&sessions[i]);
    opencl_model_close(&model);
}

static void test_graphs(void **state) {
    (void)state;
    opencl_need_devices(1);
    zoo_need();
    static const char *const names[] = {"tvm0.19/mlp",   "tvm0.19/conv",    "tvm0.19/mixed",
                                        "tvm0.19/order", "tvm0.19/scalars", "tvm0.9/mlp"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        run_model(names[i], "model.so");
}

static void test_executables(void **state) {
    (void)state;
    opencl_need_devices(1);
    zoo_need();
    static const char *const names[] = {"tvm0.27/mlp", "tvm0.27/mlp_dynamic", "tvm0.27/mixed"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        run_model(names[i], "model.so");
        run_model(names[i], "model-compiled.so");
    }
}

/* An executable called directly wants its arguments on the device, and leaves its results there. */
static void test_places(void **state) {
    (void)state;
    opencl_need_devices(1);
    zoo_need();
    struct opencl_model model;
    struct opencl_session session;
    struct tvm_value result;
    opencl_model_open("tvm0.27/mlp", "model.so", &model);
    opencl_session_new(&model, gpu, &session);
    expect_ok(opencl_session_run(&session));
    assert_true(tvm_device_equal(((struct tvm_tensor *)session.result.v_object)->dl.device, gpu));
    struct tvm_tensor *input =
        tvm_graph_params_find(model.reference, (struct tvm_bytes){"in:0", 4});
    struct tvm_value wrong = tvm_from_object(input);
    expect_error(tvm_relax_session_call(session.relax, session.function, &wrong, 1, &result),
                 TVM_TYPE_ERROR, "expected a tensor on opencl(0), got one on cpu(0)");
    opencl_session_close(&session);
    opencl_model_close(&model);
}

/* Environment. Devices are looked for once in a process, so each case gets one of its own. */

/* What a process says of opencl(0); it is run as this program's only purpose. */
static int tell(void) {
    const struct tvm_device_api *api;
    struct tvm_value name;
    struct tvm_bytes text;
    if (tvm_device_get(gpu, &api)) {
        puts(tvm_error_peek()->message.data);
        return 0;
    }
    if (api->attribute(gpu, TVM_DEVICE_NAME, &name) || !tvm_value_text(&name, &text))
        return 1;
    printf("it is there: %.*s\n", (int)text.size, text.data);
    tvm_value_clear(&name);
    return 0;
}

static void expect_told(const char *environment, const char *text) {
    char command[400], told[1000] = "";
    snprintf(command, sizeof(command), "env %s timeout 60 /proc/%d/exe tell", environment,
             (int)getpid());
    FILE *out = popen(command, "r");
    assert_non_null(out);
    size_t size = fread(told, 1, sizeof(told) - 1, out);
    told[size] = '\0';
    assert_int_equal(pclose(out), 0);
    if (!strstr(told, text))
        fail_msg("%s: expected \"…%s…\", got \"%s\"", environment, text, told);
}

static void test_environment(void **state) {
    (void)state;
    opencl_need_devices(1);
    if (emulated())
        skip();
    expect_told("A=B", "it is there");
    expect_told("GOTVM_OPENCL_TYPE=all", "it is there");
    expect_told("GOTVM_OPENCL_PLATFORM=Nobody", "GOTVM_OPENCL_PLATFORM=Nobody: install the driver");
    expect_told("GOTVM_OPENCL_CACHE_MIB=1GB",
                "opencl(0): GOTVM_OPENCL_CACHE_MIB is \"1GB\": expected a number");
    expect_told("GOTVM_OPENCL_TYPE=fpga",
                "opencl(0): GOTVM_OPENCL_TYPE is \"fpga\": expected gpu, cpu, accelerator or all");
    expect_told("OCL_ICD_VENDORS=/nonexistent", "no such device among 0 OpenCL platforms: install");
}

/* What a checking driver must have a remark on: a kernel whose work items write to the same place,
 * and a read beyond the end of a buffer. */
static int be_faulty(void) {
    char byte;
    static const struct module_kernel racing[] = {{"racing", "p", "bx tx"}};
    struct tvm_module *module = opencl_module_new(
        racing, 1, "__kernel void racing(__global int *out) { *out = get_global_id(0); }\n", false);
    struct tvm_function *function = module_function(module, "racing");
    void *data = take(4);
    int status = CALL(function, tvm_opaque(data), tvm_int(2), tvm_int(2));
    status |= tvm_opencl_device.sync(gpu);
    if (tvm_opencl_device.copy((struct tvm_place){gpu, data, 4}, (struct tvm_place){cpu, &byte, 0},
                               1) == 0)
        status = -1;
    tvm_opencl_device.free(gpu, data);
    fixture_release(function);
    fixture_release(module);
    return -status;
}

/* "tell" and "faulty" are test programs of their own. "faultless" runs the tests that ask the
 * driver for nothing wrong, from one thread: those that a checking driver must have no remark on.
 */
int main(int argc, char **argv) {
    const char *mode = argc == 2 ? argv[1] : "";
    if (strcmp(mode, "tell") == 0)
        return tell();
    setenv("GOTVM_OPENCL_CACHE", "off", 1); /* test_opencl_programs.c tests it */
    if (strcmp(mode, "faulty") == 0)
        return be_faulty();
    const struct CMUnitTest faultless[] = {
        FIXTURE_TEST(test_forms),       FIXTURE_TEST(test_arguments), FIXTURE_TEST(test_graphs),
        FIXTURE_TEST(test_executables), FIXTURE_TEST(test_places),
    };
    const struct CMUnitTest others[] = {
        FIXTURE_TEST(test_same_helpers), FIXTURE_TEST(test_build_errors), FIXTURE_TEST(test_half),
        FIXTURE_TEST(test_refused),      FIXTURE_TEST(test_spirv),        FIXTURE_TEST(test_damage),
        FIXTURE_TEST(test_threads),      FIXTURE_TEST(test_environment),
    };
    int failed = cmocka_run_group_tests(faultless, NULL, NULL);
    if (strcmp(mode, "faultless") != 0)
        failed += cmocka_run_group_tests(others, NULL, NULL);
    return failed;
}
