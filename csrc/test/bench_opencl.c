/* What running a model on OpenCL costs beside a bare C loop that sets the same kernels' arguments
 * and launches them, in the same order through the same driver: medians of pairs, which are
 * measured one right after the other. The loop's calls are those that the model's own first runs
 * were seen to make. Without a device nothing is measured.
 *
 * bench_opencl [MODEL FILE] measures models of the test data, or that one. With --serve before, it
 * measures once for each line on standard input and answers with a line of JSON: for scripts/bench.
 */
#include "base/os.h"
#include "device/opencl/runtime.h"
#include "test/expect.h"
#include "test/median.h"
#include "test/opencl_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_CALLS = 20000, MAX_PAIRS = 4000, WARM_UP = 20 };

/* A call of the driver: an argument that is set, or a launch. */
struct driver_call {
    cl_kernel kernel;
    cl_uint index; /* of the argument; the launch's dimensions */
    size_t size;   /* of the argument; 0: a launch */
    unsigned char argument[8];
    size_t global[3], local[3];
};

static struct {
    struct driver_call calls[MAX_CALLS];
    size_t count, launches;
    cl_command_queue queue;
} seen;

static struct opencl_functions driver;

static struct driver_call *next_call(cl_kernel kernel, cl_uint index, size_t size) {
    assert_true(seen.count < MAX_CALLS);
    seen.calls[seen.count] = (struct driver_call){.kernel = kernel, .index = index, .size = size};
    return &seen.calls[seen.count++];
}

static cl_int see_argument(cl_kernel kernel, cl_uint index, size_t size, const void *argument) {
    assert_true(size > 0 && size <= 8);
    memcpy(next_call(kernel, index, size)->argument, argument, size);
    return driver.clSetKernelArg(kernel, index, size, argument);
}

static cl_int see_launch(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                         const size_t *offset, const size_t *global, const size_t *local,
                         cl_uint wait_count, const cl_event *wait, cl_event *event) {
    struct driver_call *call = next_call(kernel, dims, 0);
    memcpy(call->global, global, dims * sizeof(*global));
    memcpy(call->local, local, dims * sizeof(*local));
    seen.launches++;
    seen.queue = queue;
    return driver.clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, wait_count,
                                         wait, event);
}

static void see_run(struct opencl_session *session) {
    seen.count = seen.launches = 0;
    driver = tvm_cl;
    tvm_cl.clSetKernelArg = see_argument;
    tvm_cl.clEnqueueNDRangeKernel = see_launch;
    expect_ok(opencl_session_run(session));
    tvm_cl = driver;
    assert_true(seen.launches > 0);
}

static void run_loop(struct opencl_session *session) {
    cl_int code = CL_SUCCESS;
    (void)session;
    for (size_t i = 0; i < seen.count && code == CL_SUCCESS; i++) {
        const struct driver_call *call = &seen.calls[i];
        code = call->size
                   ? driver.clSetKernelArg(call->kernel, call->index, call->size, call->argument)
                   : driver.clEnqueueNDRangeKernel(seen.queue, call->kernel, call->index, NULL,
                                                   call->global, call->local, 0, NULL, NULL);
    }
    assert_int_equal(code, CL_SUCCESS);
}

static void run_session(struct opencl_session *session) {
    expect_ok(opencl_session_run(session));
}

/* Of one run, in nanoseconds: until all is in the queue, and until it is done. */
struct times {
    double queued, done;
};

static struct times measure(void (*run)(struct opencl_session *), struct opencl_session *session) {
    int64_t start = tvm_os_now();
    run(session);
    int64_t queued = tvm_os_now();
    assert_int_equal(driver.clFinish(seen.queue), CL_SUCCESS);
    return (struct times){(double)(queued - start), (double)(tvm_os_now() - start)};
}

/* Medians, in nanoseconds: of a launch and of a whole run, of the driver alone and of ours; and of
 * the pairs' differences and ratios. */
struct result {
    double driver_launch, launch, more, driver_run, run, ratio;
};

static struct result measure_pairs(struct opencl_session *session, size_t pairs) {
    static double values[6][MAX_PAIRS];
    double launches = (double)seen.launches;
    for (size_t i = 0; i < pairs; i++) {
        struct times bare, ours;
        if (i % 2)
            bare = measure(run_loop, session), ours = measure(run_session, session);
        else
            ours = measure(run_session, session), bare = measure(run_loop, session);
        values[0][i] = bare.queued / launches;
        values[1][i] = ours.queued / launches;
        values[2][i] = (ours.queued - bare.queued) / launches;
        values[3][i] = bare.done;
        values[4][i] = ours.done;
        values[5][i] = ours.done / bare.done;
    }
    return (struct result){median(values[0], pairs), median(values[1], pairs),
                           median(values[2], pairs), median(values[3], pairs),
                           median(values[4], pairs), median(values[5], pairs)};
}

static void open_model(const char *name, const char *file, struct opencl_model *model,
                       struct opencl_session *session) {
    opencl_model_open(name, file, model);
    opencl_session_new(model, (DLDevice){kDLOpenCL, 0}, session);
    for (int i = 0; i < WARM_UP; i++)
        run_session(session);
    see_run(session);
}

static void print_row(const char *name, const char *file, size_t pairs) {
    struct opencl_model model;
    struct opencl_session session;
    char title[100];
    open_model(name, file, &model, &session);
    struct result result = measure_pairs(&session, pairs);
    snprintf(title, sizeof(title), "%s/%s", name, file);
    printf("%-32s%8zu%12.0f%8.0f%8.0f%12.1f%8.1f%8.2f\n", title, seen.launches,
           result.driver_launch, result.launch, result.more, result.driver_run / 1000,
           result.run / 1000, result.ratio);
    opencl_session_close(&session);
    opencl_model_close(&model);
}

static void serve(const char *name, const char *file) {
    struct opencl_model model;
    struct opencl_session session;
    char request[64];
    open_model(name, file, &model, &session);
    puts("\"ready\"");
    fflush(stdout);
    while (fgets(request, sizeof(request), stdin)) {
        struct result result = measure_pairs(&session, MAX_PAIRS / 4);
        printf("{\"launches\":%zu,\"driver_launch_ns\":%.0f,\"launch_ns\":%.0f,\"more_ns\":%.0f,"
               "\"driver_run_ns\":%.0f,\"run_ns\":%.0f,\"ratio\":%.4f}\n",
               seen.launches, result.driver_launch, result.launch, result.more, result.driver_run,
               result.run, result.ratio);
        fflush(stdout);
    }
    opencl_session_close(&session);
    opencl_model_close(&model);
}

int main(int argc, char **argv) {
    static const char *const models[][2] = {{"tvm0.19/mlp", "model.so"},
                                            {"tvm0.19/conv", "model.so"},
                                            {"tvm0.27/mlp", "model.so"},
                                            {"tvm0.27/mlp", "model-compiled.so"}};
    setenv("GOTVM_OPENCL_CACHE", "off", 1); /* nothing is saved beside what is measured */
    bool here = zoo_fits();
    if (!here || tvm_opencl_check((DLDevice){kDLOpenCL, 0})) {
        fprintf(stderr, "not measured: %s\n",
                here ? tvm_error_peek()->message.data : "the models are for another machine");
        return argc > 1;
    }
    if (argc == 4 && strcmp(argv[1], "--serve") == 0) {
        serve(argv[2], argv[3]);
        return 0;
    }
    printf("%-32s%8s%28s%28s\n", "", "kernels", "ns for each launch", "us until all is done");
    printf("%-32s%8s%12s%8s%8s%12s%8s%8s\n", "", "", "driver", "ours", "more", "driver", "ours",
           "times");
    if (argc == 3)
        print_row(argv[1], argv[2], MAX_PAIRS / 40);
    for (size_t i = 0; argc == 1 && i < sizeof(models) / sizeof(*models); i++)
        print_row(models[i][0], models[i][1], MAX_PAIRS);
    return 0;
}
