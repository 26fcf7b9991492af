/* What tests and benchmarks of OpenCL share: the models in the folder opencl of the test data
 * (zoo.h), and sessions of them. */
#ifndef TVM_TEST_OPENCL_FIXTURE_H
#define TVM_TEST_OPENCL_FIXTURE_H

#include "graph/package.h"
#include "relax/relax.h"
#include "test/zoo.h"

struct opencl_model {
    struct zoo_case test;
    struct tvm_graph_params *reference; /* inputs and outputs */
    struct tvm_graph_package package;
};

/* A graph with "model.so", or an executable with "model.so" or "model-compiled.so". */
void opencl_model_open(const char *name, const char *file, struct opencl_model *out);
void opencl_model_close(struct opencl_model *model);

struct opencl_session {
    const struct opencl_model *model;
    struct tvm_graph_session *graph; /* or: */
    struct tvm_relax_session *relax;
    size_t function;
    struct tvm_value args[4]; /* on the device */
    int arg_count;
    struct tvm_value result;
};

/* A session on device, where need be with the CPU beside it, whose inputs are the reference's. */
void opencl_session_new(const struct opencl_model *model, DLDevice device,
                        struct opencl_session *out);

/* Runs once; results stay on the device. */
int opencl_session_run(struct opencl_session *session);

/* Asserts that the last run's results are the reference's. */
void opencl_session_check(struct opencl_session *session);
void opencl_session_close(struct opencl_session *session);

#endif
