/* What the runtime asks of an OpenCL driver: how often, how much, and what becomes of a driver's
 * refusal; tensors at offsets, built-in functions and several devices. The driver's functions are
 * replaced by some that count, and that fail on demand. Everything that gets to the driver is
 * right: see scripts/test-opencl. Skipped where there is no device. */
#include "base/container.h"
#include "device/opencl/runtime.h"
#include "test/module_call.h"
#include "test/opencl_fixture.h"
#include "test/opencl_module_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static const DLDevice gpu = {kDLOpenCL, 0}, cpu = {kDLCPU, 0};
static const DLDataType float32 = {kDLFloat, 32, 1}, int64 = {kDLInt, 64, 1};

/* The driver */

static struct opencl_functions driver;

static struct {
    size_t buffers, kernels; /* alive */
    size_t made;             /* buffers, ever */
    size_t written, read;    /* bytes */
    size_t launches;
    int failures; /* of clCreateBuffer, to come */
} use;

static cl_mem make_buffer(cl_context context, cl_mem_flags flags, size_t size, void *host,
                          cl_int *code) {
    if (use.failures > 0) {
        use.failures--;
        *code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return NULL;
    }
    cl_mem memory = driver.clCreateBuffer(context, flags, size, host, code);
    use.buffers += memory != NULL;
    use.made += memory != NULL;
    return memory;
}

static cl_int release_buffer(cl_mem memory) {
    use.buffers--;
    return driver.clReleaseMemObject(memory);
}

static cl_kernel make_kernel(cl_program program, const char *name, cl_int *code) {
    cl_kernel kernel = driver.clCreateKernel(program, name, code);
    use.kernels += kernel != NULL;
    return kernel;
}

static cl_int release_kernel(cl_kernel kernel) {
    use.kernels--;
    return driver.clReleaseKernel(kernel);
}

static cl_int write_buffer(cl_command_queue queue, cl_mem memory, cl_bool waits, size_t offset,
                           size_t size, const void *data, cl_uint count, const cl_event *wait,
                           cl_event *event) {
    use.written += size;
    return driver.clEnqueueWriteBuffer(queue, memory, waits, offset, size, data, count, wait,
                                       event);
}

static cl_int read_buffer(cl_command_queue queue, cl_mem memory, cl_bool waits, size_t offset,
                          size_t size, void *data, cl_uint count, const cl_event *wait,
                          cl_event *event) {
    use.read += size;
    return driver.clEnqueueReadBuffer(queue, memory, waits, offset, size, data, count, wait, event);
}

static cl_int launch(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset,
                     const size_t *global, const size_t *local, cl_uint count, const cl_event *wait,
                     cl_event *event) {
    use.launches++;
    return driver.clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, count, wait,
                                         event);
}

static cl_int refuse_build(cl_program program, cl_uint count, const cl_device_id *devices,
                           const char *options, void (*done)(cl_program, void *), void *data) {
    (void)program, (void)count, (void)devices, (void)options, (void)done, (void)data;
    return CL_BUILD_PROGRAM_FAILURE;
}

/* A device with no extension at all. */
static cl_int hide_extensions(cl_device_id device, cl_device_info what, size_t size, void *data,
                              size_t *used) {
    if (what != CL_DEVICE_EXTENSIONS)
        return driver.clGetDeviceInfo(device, what, size, data, used);
    if (used)
        *used = 1;
    if (data)
        *(char *)data = '\0';
    return CL_SUCCESS;
}

static void watch_driver(void) {
    driver = tvm_cl;
    tvm_cl.clCreateBuffer = make_buffer;
    tvm_cl.clReleaseMemObject = release_buffer;
    tvm_cl.clCreateKernel = make_kernel;
    tvm_cl.clReleaseKernel = release_kernel;
    tvm_cl.clEnqueueWriteBuffer = write_buffer;
    tvm_cl.clEnqueueReadBuffer = read_buffer;
    tvm_cl.clEnqueueNDRangeKernel = launch;
}

/* Models */

static const struct {
    const char *name, *file;
    size_t input_size, output_size; /* bytes */
    size_t weights_size;
} models[] = {
    {"tvm0.19/mlp", "model.so", 4 * 64 * 4, 4 * 10 * 4,
     (64 * 48 + 48 + 48 * 32 + 32 + 32 * 10 + 10) * 4},
    {"tvm0.27/mlp", "model.so", 16 * 4, 5 * 4, (16 * 12 + 12 + 12 * 12 + 12 + 12 * 5 + 5) * 4},
    {"tvm0.27/mlp", "model-compiled.so", 16 * 4, 5 * 4,
     (16 * 12 + 12 + 12 * 12 + 12 + 12 * 5 + 5) * 4},
};
enum { MODELS = sizeof(models) / sizeof(*models) };

/* Weights go to the device once; a run moves nothing but kernels, and only results that somebody
 * wants come back; nothing is left behind. */
static void test_traffic(void **state) {
    (void)state;
    opencl_need_devices(1);
    zoo_need();
    for (size_t m = 0; m < MODELS; m++)
        for (size_t round = 0; round < 2; round++) {
            struct opencl_model model;
            struct opencl_session sessions[2];
            size_t buffers = use.buffers, kernels = use.kernels, written = use.written;
            opencl_model_open(models[m].name, models[m].file, &model);
            opencl_session_new(&model, gpu, &sessions[0]);
            assert_int_equal(use.written - written, models[m].weights_size + models[m].input_size);
            opencl_session_new(&model, gpu, &sessions[1]);
            assert_int_equal(use.written - written,
                             models[m].weights_size + 2 * models[m].input_size);
            for (int i = 0; i < 4; i++)
                expect_ok(opencl_session_run(&sessions[i % 2]));
            size_t made = use.made, launches = use.launches, read = use.read;
            written = use.written;
            for (int i = 0; i < 10; i++)
                expect_ok(opencl_session_run(&sessions[i % 2]));
            assert_int_equal(use.made, made);
            assert_int_equal(use.written, written);
            assert_int_equal(use.read, read);
            assert_true(use.launches >= launches + 10 && (use.launches - launches) % 10 == 0);
            opencl_session_check(&sessions[0]);
            assert_int_equal(use.read, read + models[m].output_size);
            for (int i = 0; i < 2; i++)
                opencl_session_close(&sessions[i]);
            opencl_model_close(&model);
            if (round > 0) /* the first one's workspaces stay with the device */
                assert_int_equal(use.buffers, buffers);
            assert_int_equal(use.kernels, kernels);
        }
}

/* All devices at once, each with kernels and weights of its own. (Code of tvm0.27/mixed names
 * opencl(0).) */
static void test_devices(void **state) {
    (void)state;
    enum { DEVICES = 2 };
    opencl_need_devices(DEVICES);
    zoo_need();
    static const char *const names[] = {"tvm0.19/mlp", "tvm0.19/mixed", "tvm0.19/order",
                                        "tvm0.27/mlp"};
    for (size_t m = 0; m < sizeof(names) / sizeof(*names); m++) {
        struct opencl_model model;
        struct opencl_session sessions[DEVICES];
        size_t kernels = use.kernels;
        opencl_model_open(names[m], "model.so", &model);
        for (int id = 0; id < DEVICES; id++)
            opencl_session_new(&model, (DLDevice){kDLOpenCL, id}, &sessions[id]);
        for (int i = 0; i < 6; i++) {
            expect_ok(opencl_session_run(&sessions[i % DEVICES]));
            opencl_session_check(&sessions[i % DEVICES]);
        }
        for (int id = 0; id < DEVICES; id++)
            opencl_session_close(&sessions[id]);
        opencl_model_close(&model);
        assert_int_equal(use.kernels, kernels);
    }
}

/* Offsets: kernels know none */

/* A tensor like from, on the device, 128 bytes behind the start of its memory. */
static struct tvm_tensor *copy_behind(const DLTensor *from) {
    struct tvm_storage *storage;
    struct tvm_tensor *view;
    size_t nbytes;
    expect_ok(tvm_tensor_nbytes(from, &nbytes));
    expect_ok(tvm_storage_new(gpu, nbytes + 128, &storage));
    expect_ok(tvm_tensor_view(storage, 128, from->shape, from->ndim, from->dtype, &view));
    tvm_object_release(&storage->object);
    assert_int_equal(view->dl.byte_offset, 128);
    expect_ok(tvm_tensor_copy(from, &view->dl));
    return view;
}

static void test_offsets_of_graphs(void **state) {
    (void)state;
    opencl_need_devices(1);
    zoo_need();
    struct opencl_model model;
    struct opencl_session session;
    opencl_model_open("tvm0.19/mlp", "model.so", &model);
    opencl_session_new(&model, gpu, &session);
    size_t index;
    assert_true(
        tvm_graph_plan_find_input(model.package.plan, (struct tvm_bytes){"data", 4}, &index));
    const struct tvm_tensor *input =
        tvm_graph_params_find(model.reference, (struct tvm_bytes){"in:data", 7});
    struct tvm_tensor *behind = copy_behind(&input->dl);
    expect_ok(tvm_graph_session_set_input(session.graph, index, &behind->dl));
    expect_ok(opencl_session_run(&session));
    opencl_session_check(&session);
    expect_error(tvm_graph_session_bind_input(session.graph, index, &behind->dl, NULL),
                 TVM_VALUE_ERROR,
                 "the tensor begins at byte 128 of its memory: on opencl(0) only whole buffers");
    opencl_session_close(&session);
    opencl_model_close(&model);
    fixture_release(behind);
}

static void test_offsets_of_executables(void **state) {
    (void)state;
    opencl_need_devices(1);
    zoo_need();
    for (int compiled = 0; compiled < 2; compiled++) {
        struct opencl_model model;
        struct opencl_session session;
        opencl_model_open("tvm0.27/mlp", compiled ? "model-compiled.so" : "model.so", &model);
        opencl_session_new(&model, gpu, &session);
        struct tvm_tensor *whole = (struct tvm_tensor *)session.args[0].v_object;
        session.args[0] = tvm_from_object(copy_behind(&whole->dl));
        fixture_release(whole);
        expect_ok(opencl_session_run(&session));
        opencl_session_check(&session);
        opencl_session_close(&session);
        opencl_model_close(&model);
    }
}

/* Built-in functions of Relax on tensors of the device */

static struct tvm_tensor *tensor_on(DLDevice device, DLDataType dtype, const void *data,
                                    int64_t count) {
    struct tvm_tensor *tensor;
    expect_ok(tvm_tensor_empty(&count, 1, dtype, device, &tensor));
    expect_ok(tvm_tensor_copy_from_bytes(&tensor->dl, data, (size_t)count * dtype.bits / 8));
    return tensor;
}

static const DLTensor *dl_of(const struct tvm_value *value) {
    assert_int_equal(value->type_index, TVM_TYPE_TENSOR);
    return &((struct tvm_tensor *)value->v_object)->dl;
}

#define BUILTIN(name, ...) GLOBAL_CALL("vm.builtin." name, &result, __VA_ARGS__)

static void test_builtins(void **state) {
    (void)state;
    opencl_need_devices(1);
    static const float numbers[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t dims[2] = {3, 2};
    float back[6] = {0};
    struct tvm_tensor *host = tensor_on(cpu, float32, numbers, 6);
    struct tvm_value result, away, x = tvm_from_object(host);
    expect_ok(BUILTIN("to_device", x, tvm_int(kDLOpenCL), tvm_int(0)));
    away = result;
    assert_true(tvm_device_equal(dl_of(&away)->device, gpu));
    expect_ok(BUILTIN("to_device", away, tvm_int(kDLCPU), tvm_int(0)));
    assert_true(dl_of(&result)->device.device_type == kDLCPU);
    assert_memory_equal(dl_of(&result)->data, numbers, sizeof(numbers));
    tvm_value_clear(&result);
    expect_error(BUILTIN("to_device", x, tvm_int(kDLOpenCL), tvm_int(1000)), TVM_NOT_FOUND_ERROR,
                 "opencl(1000)");
    /* A shape that the device computed; another view of the same memory. */
    struct tvm_tensor *shape = tensor_on(gpu, int64, dims, 2);
    struct tvm_value made, bent;
    expect_ok(BUILTIN("tensor_to_shape", tvm_from_object(shape)));
    made = result;
    assert_int_equal(((struct tvm_shape *)made.v_object)->size, 2);
    assert_memory_equal(((struct tvm_shape *)made.v_object)->data, dims, sizeof(dims));
    expect_ok(BUILTIN("reshape", away, made));
    bent = result;
    assert_true(dl_of(&bent)->ndim == 2 && dl_of(&bent)->data == dl_of(&away)->data);
    assert_true(tvm_device_equal(dl_of(&bent)->device, gpu));
    expect_ok(tvm_tensor_copy_to_bytes(dl_of(&bent), back, sizeof(back)));
    assert_memory_equal(back, numbers, sizeof(numbers));
    /* Conditions are read back. */
    for (int64_t i = 0; i < 2; i++) {
        struct tvm_tensor *condition = tensor_on(gpu, int64, &i, 1);
        expect_ok(BUILTIN("read_if_cond", tvm_from_object(condition)));
        assert_int_equal(result.v_int, i);
        fixture_release(condition);
    }
    /* What does not begin where its buffer does is copied there. */
    struct tvm_tensor *behind = copy_behind(&host->dl);
    expect_ok(BUILTIN("ensure_zero_offset", tvm_from_object(behind)));
    assert_true(dl_of(&result)->byte_offset == 0 && dl_of(&result)->data != behind->dl.data);
    expect_ok(tvm_tensor_copy_to_bytes(dl_of(&result), back, sizeof(back)));
    assert_memory_equal(back, numbers, sizeof(numbers));
    tvm_value_clear(&result);
    expect_ok(BUILTIN("ensure_zero_offset", away));
    assert_ptr_equal(result.v_object, away.v_object);
    tvm_value_clear(&result);
    tvm_value_clear(&bent);
    tvm_value_clear(&made);
    tvm_value_clear(&away);
    fixture_release(behind);
    fixture_release(shape);
    fixture_release(host);
}

/* Devices */

static int64_t number_of(int64_t kind) {
    struct tvm_value value;
    expect_ok(tvm_opencl_device.attribute(gpu, kind, &value));
    assert_int_equal(value.type_index, TVM_TYPE_INT);
    return value.v_int;
}

static void expect_text_of(int64_t kind, const char *expected) {
    struct tvm_value value;
    struct tvm_bytes text;
    expect_ok(tvm_opencl_device.attribute(gpu, kind, &value));
    assert_true(tvm_value_text(&value, &text));
    assert_string_equal(text.data, expected);
    tvm_value_clear(&value);
}

#define INFO(what, value) driver.clGetDeviceInfo(device->id, what, sizeof(value), &(value), NULL)

/* TVM's numbers of attributes, and what the driver says. */
static void test_attributes(void **state) {
    (void)state;
    opencl_need_devices(1);
    struct opencl_device *device;
    size_t group, items[3];
    cl_ulong local, cache;
    cl_uint clock;
    char text[200], version[20];
    expect_ok(tvm_opencl_find(0, &device));
    assert_int_equal(INFO(CL_DEVICE_MAX_WORK_GROUP_SIZE, group), 0);
    assert_int_equal(INFO(CL_DEVICE_LOCAL_MEM_SIZE, local), 0);
    assert_int_equal(INFO(CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, cache), 0);
    assert_int_equal(INFO(CL_DEVICE_MAX_CLOCK_FREQUENCY, clock), 0);
    assert_int_equal(INFO(CL_DEVICE_MAX_WORK_ITEM_SIZES, items), 0);
    assert_int_equal(number_of(1), group);
    unsetenv("TVM_OPENCL_WARP_SIZE");
    assert_int_equal(number_of(2), 1);
    setenv("TVM_OPENCL_WARP_SIZE", "32", 1);
    assert_int_equal(number_of(2), 32);
    unsetenv("TVM_OPENCL_WARP_SIZE");
    assert_int_equal(number_of(3), local);
    assert_int_equal(INFO(CL_DEVICE_VERSION, text), 0);
    assert_int_equal(sscanf(text, "OpenCL %19s", version), 1);
    expect_text_of(4, version);
    assert_int_equal(number_of(6), (int64_t)clock * 1000);
    snprintf(text, sizeof(text), "[%zu, %zu, %zu]", items[0], items[1], items[2]);
    expect_text_of(8, text);
    assert_int_equal(number_of(11), 120);
    assert_int_equal(INFO(CL_DRIVER_VERSION, text), 0);
    expect_text_of(12, text);
    assert_int_equal(number_of(13), cache);
}

/* Refusals */

/* Where memory is short, workspaces that nobody uses are given back for it. */
static void test_short_memory(void **state) {
    (void)state;
    opencl_need_devices(1);
    void *workspace, *data = NULL;
    use.failures = 1; /* gives back what models have left */
    if (tvm_opencl_device.alloc(gpu, 1000, &data) == 0)
        tvm_opencl_device.free(gpu, data);
    expect_ok(tvm_opencl_device.alloc_workspace(gpu, 100000, &workspace));
    use.failures = 1;
    expect_error(tvm_opencl_device.alloc(gpu, 1000, &data), TVM_MEMORY_ERROR,
                 "no buffer of 1000 bytes: CL_MEM_OBJECT_ALLOCATION_FAILURE (-4)");
    expect_ok(tvm_opencl_device.free_workspace(gpu, workspace));
    size_t buffers = use.buffers;
    use.failures = 1;
    expect_ok(tvm_opencl_device.alloc(gpu, 1000, &data));
    assert_true(use.buffers <= buffers); /* the new one is there, the workspace is not */
    tvm_opencl_device.free(gpu, data);
}

/* A model that computes with what the device does not have. */
static void expect_missing(const char *source, const char *text) {
    static const struct module_kernel wide = {"wide", "", "bx"};
    struct tvm_module *module = opencl_module_new(&wide, 1, source, false);
    struct tvm_function *function = module_function(module, "wide");
    struct tvm_value result, one = tvm_int(1);
    tvm_cl.clBuildProgram = refuse_build;
    tvm_cl.clGetDeviceInfo = hide_extensions;
    int status = tvm_function_call(function, &one, 1, &result);
    tvm_cl.clBuildProgram = driver.clBuildProgram;
    tvm_cl.clGetDeviceInfo = driver.clGetDeviceInfo;
    expect_error(status, TVM_RUNTIME_ERROR, text);
    fixture_release(function);
    fixture_release(module);
}

static void test_missing_types(void **state) {
    (void)state;
    opencl_need_devices(1);
    expect_missing("#ifdef cl_khr_fp64\n", "float64 (cl_khr_fp64), which the device cannot: CL_BU");
    expect_missing("#ifdef cl_khr_fp16\n", "float16 (cl_khr_fp16), which the device cannot: CL_BU");
    expect_missing("#ifdef cl_khr_other\n", "the driver does not compile it: CL_BUILD");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_traffic),           FIXTURE_TEST(test_devices),
        FIXTURE_TEST(test_offsets_of_graphs), FIXTURE_TEST(test_offsets_of_executables),
        FIXTURE_TEST(test_builtins),          FIXTURE_TEST(test_attributes),
        FIXTURE_TEST(test_short_memory),      FIXTURE_TEST(test_missing_types),
    };
    setenv("GOTVM_OPENCL_CACHE", "off", 1); /* test_opencl_programs.c tests it */
    if (tvm_opencl_device.count() > 0)
        watch_driver();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
