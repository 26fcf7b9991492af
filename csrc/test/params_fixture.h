/* Params files of tests: several kinds of parameters, in memory and in a file. */
#ifndef TVM_TEST_PARAMS_FIXTURE_H
#define TVM_TEST_PARAMS_FIXTURE_H

#include "test/graph_fixture.h"

/* "weight" float32 [7], "" int64 [], "scalar" float16 [], "empty" float32 [3, 0, 2] and "mask" bool
 * [3, 1], as TVM up to 0.22 writes it. */
struct fixture_bytes params_several(void);

/* A file of nobody's name to write to, the same at each call; -1 if there can be none. */
int params_scratch(void);

/* Opens weights in that file, where they begin at PARAMS_OFFSET and something follows; NULL: an
 * error is raised. */
enum { PARAMS_OFFSET = 11 };
struct tvm_graph_weights *params_open(struct fixture_bytes bytes);

/* Asserts that names, shapes, types and elements are the same. */
void params_expect_equal(const struct tvm_graph_params *a, const struct tvm_graph_params *b);

#endif
