/* The compiled models in gotvm/testdata/models, each with inputs and the outputs of TVM itself. */
#ifndef TVM_TEST_ZOO_H
#define TVM_TEST_ZOO_H

#include "graph/graph.h"

struct zoo_case {
    char name[64]; /* "tvm0.19/conv" */
    double rtol, atol;
};

/* The cases of manifest.json that compiled code for this machine can run; free the result. */
struct zoo_case *zoo_cases(size_t *count);

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

/* A session of the case with its parameters; its inputs are set if reference is not NULL. */
struct tvm_graph_session *zoo_session(const struct zoo_case *test,
                                      const struct tvm_graph_params *reference);

#endif
