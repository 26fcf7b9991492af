/* What the tests of graphs share: a library whose functions are C functions, graphs written with
 * single quotes, and params files made in memory. */
#ifndef TVM_TEST_GRAPH_FIXTURE_H
#define TVM_TEST_GRAPH_FIXTURE_H

#include "graph/graph.h"
#include "test/leaks.h"

/* A library of element-wise functions on float32: add (a, b), add1, twice, split (to x + 1 and x *
 * 10); not (on bool); flat (copies; wants one dimension); fail (raises ValueError "deliberate");
 * hook (calls fixture_hook, copies). compiled: as classic compiled code, else as functions of the
 * runtime. */
struct tvm_module *fixture_library(bool compiled);

extern int (*fixture_hook)(void);

/* Calls of all the functions since the start. */
extern _Atomic int fixture_calls;

/* Nodes of a graph; counts are strings. */
#define FIXTURE_INPUT(name) "{'op': 'null', 'name': '" name "', 'inputs': []}"
#define FIXTURE_OP_WITH(name, function, ins, outs, flatten, inputs)                                \
    "{'op': 'tvm_op', 'name': '" name "', 'attrs': {'func_name': '" function                       \
    "', 'num_inputs': '" ins "', 'num_outputs': '" outs "', 'flatten_data': '" flatten             \
    "'}, 'inputs': " inputs "}"
#define FIXTURE_OP(name, function, inputs) FIXTURE_OP_WITH(name, function, "1", "1", "0", inputs)

/* x, w → add → reshape → twice, with storage for each. */
extern const char fixture_graph[];

/* x → hook → add1, of six numbers, with a reshape between; and a hook that takes 2 ms. */
extern const char fixture_slow_graph[];
int fixture_sleep(void);

/* A copy with ' made ", and the first old, if it is there, made new. Free it. */
char *fixture_json(const char *text, const char *old, const char *new);

/* Plan and session of a graph in single quotes, on cpu(0), which must be valid. */
struct tvm_graph_plan *fixture_plan(const char *text);
struct tvm_graph_session *fixture_session(const char *text, bool compiled,
                                          struct tvm_graph_params *params);

/* Releases an object; NULL is ignored. */
void fixture_release(void *object);

/* A float32 tensor on cpu(0) of shape [count] (or any of ndim dimensions), filled with first, first
 * + 1 … */
struct tvm_tensor *fixture_vector(int64_t count, float first);
struct tvm_tensor *fixture_tensor(const int64_t *shape, int ndim, float first);

/* Asserts that a float32 tensor, or output index of session, holds just these. */
void fixture_expect_values(const DLTensor *tensor, const float *expected, size_t count);
void fixture_expect_output(struct tvm_graph_session *session, size_t index, const float *expected,
                           size_t count);

/* Around each test: no object may be left behind. */
int fixture_begin(void **state);
#define FIXTURE_TEST(function) cmocka_unit_test_setup_teardown(function, fixture_begin, leaks_end)

/* Bytes that grow. */
struct fixture_bytes {
    unsigned char *data;
    size_t size;
};
void fixture_put(struct fixture_bytes *bytes, const void *data, size_t size);
void fixture_put_number(struct fixture_bytes *bytes, uint64_t value, size_t size);
void fixture_put_string(struct fixture_bytes *bytes, const char *text);
/* The head of a params file with count names, and a tensor for it. */
void fixture_put_head(struct fixture_bytes *bytes, const char *const *names, size_t count);
void fixture_put_tensor(struct fixture_bytes *bytes, DLDataType dtype, const int64_t *shape,
                        int ndim, const void *data, size_t nbytes);

/* Params with one float32 tensor called name. */
struct fixture_bytes fixture_params(const char *name, const int64_t *shape, int ndim,
                                    const float *data);

/* The same, read. */
struct tvm_graph_params *fixture_load_params(const char *name, const int64_t *shape, int ndim,
                                             const float *data);

/* Numbers that look random, the same on every machine. */
uint32_t fixture_random(uint64_t *state);

#endif
