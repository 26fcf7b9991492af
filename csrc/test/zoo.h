/* What real compilers made for the tests: the models, each with inputs and the outputs of TVM
 * itself, and single libraries. In gotvm/testdata, or a folder of the same form that GOTVM_TESTDATA
 * names. */
#ifndef TVM_TEST_ZOO_H
#define TVM_TEST_ZOO_H

#include "graph/graph.h"

struct zoo_case {
    char name[64]; /* "tvm0.19/conv" */
    double rtol, atol;
    char packages[4][16]; /* files that hold the whole model, such as "factory.so" */
    size_t package_count;
};

/* The path of a file there, such as "lib/myadd.so"; valid until the call after the next three. */
const char *zoo_path(const char *name);

/* Whether this machine can run it: gotvm/testdata is for amd64. zoo_need ends the test where not:
 * it fails where GOTVM_TESTDATA is set, else it is skipped. */
bool zoo_fits(void);
void zoo_need(void);

/* The cases of manifest.json, which this machine must be able to run; free the result. */
struct zoo_case *zoo_cases(size_t *count);

/* The path of a file of the case; as of zoo_path. */
const char *zoo_case_path(const struct zoo_case *test, const char *file);

/* A file of the case, with a NUL behind it; free the result. */
char *zoo_read(const struct zoo_case *test, const char *file, size_t *size);

/* Opens deploy.so of the case. */
struct tvm_module *zoo_library(const struct zoo_case *test);

/* The case's inputs and outputs: tensors called "in:<name>" and "out:<index>". */
struct tvm_graph_params *zoo_reference(const struct zoo_case *test);
struct tvm_tensor *zoo_output(const struct tvm_graph_params *reference, size_t index);

/* Asserts that actual is reference output index within the case's tolerances. */
void zoo_compare(const struct zoo_case *test, const struct tvm_graph_params *reference,
                 size_t index, const DLTensor *actual);

/* Sets a session's inputs to the case's. */
void zoo_set_inputs(const struct zoo_case *test, struct tvm_graph_session *session,
                    const struct tvm_graph_params *reference);

/* A session of the case with its parameters; its inputs are set if reference is not NULL. */
struct tvm_graph_session *zoo_session(const struct zoo_case *test,
                                      const struct tvm_graph_params *reference);

#endif
