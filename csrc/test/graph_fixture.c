#include "test/graph_fixture.h"

#include "base/classic.h"
#include "test/leaks.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

int (*fixture_hook)(void);
_Atomic int fixture_calls;

/* Elements of all arguments, or -1 where they are not what the function takes. */
static int64_t elements(DLTensor *const *args, int count, int expected, int bits) {
    size_t first = 0, next;
    if (count != expected)
        return -1;
    for (int i = 0; i < count; i++) {
        if (args[i]->byte_offset || args[i]->strides || args[i]->dtype.bits != bits ||
            args[i]->dtype.lanes != 1 || (uintptr_t)args[i]->data % 32 ||
            tvm_shape_count(args[i]->shape, args[i]->ndim, &next) || (i && next != first))
            return -1;
        first = next;
    }
    return (int64_t)first;
}

static int refuse(const char *name) {
    return tvm_raise(TVM_VALUE_ERROR, "%s: wrong arguments", name);
}

static int kernel_add(DLTensor **args, int count) {
    int64_t n = elements(args, count, 3, 32);
    if (n < 0)
        return refuse("add");
    const float *a = args[0]->data, *b = args[1]->data;
    float *out = args[2]->data;
    for (int64_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
    return 0;
}

static int map(DLTensor **args, int count, float factor, float offset) {
    int64_t n = elements(args, count, 2, 32);
    if (n < 0)
        return refuse("map");
    const float *in = args[0]->data;
    float *out = args[1]->data;
    for (int64_t i = 0; i < n; i++)
        out[i] = in[i] * factor + offset;
    return 0;
}

static int kernel_add1(DLTensor **args, int count) {
    return map(args, count, 1, 1);
}

static int kernel_twice(DLTensor **args, int count) {
    return map(args, count, 2, 0);
}

static int kernel_split(DLTensor **args, int count) {
    if (count != 3)
        return refuse("split");
    DLTensor *second[] = {args[0], args[2]};
    return map(args, 2, 1, 1) || map(second, 2, 10, 0) ? -1 : 0;
}

static int kernel_not(DLTensor **args, int count) {
    int bits = args[0]->dtype.code == TVM_DTYPE_BOOL ? 8 : 1;
    int64_t n = elements(args, count, 2, bits);
    if (n < 0)
        return refuse("not");
    const bool *in = args[0]->data;
    bool *out = args[1]->data;
    for (int64_t i = 0; i < n; i++)
        out[i] = !in[i];
    return 0;
}

static int kernel_flat(DLTensor **args, int count) {
    if (count != 2 || args[0]->ndim != 1 || args[1]->ndim != 1)
        return refuse("flat");
    return map(args, count, 1, 0);
}

static int kernel_fail(DLTensor **args, int count) {
    (void)args, (void)count;
    return tvm_raise(TVM_VALUE_ERROR, "deliberate");
}

static int kernel_hook(DLTensor **args, int count) {
    if (fixture_hook && fixture_hook())
        return -1;
    return map(args, count, 1, 0);
}

/* A kernel as compiled code, which sees classic dtypes … */
static int call_compiled(int (*kernel)(DLTensor **args, int count), TVMValue *args,
                         const int *codes, int count) {
    DLTensor *tensors[8];
    fixture_calls++;
    if (count < 1 || count > 8)
        return refuse("kernel");
    for (int i = 0; i < count; i++) {
        tensors[i] = args[i].v_handle;
        if (codes[i] != kTVMDLTensorHandle || tensors[i]->dtype.code == TVM_DTYPE_BOOL)
            return tvm_raise(TVM_TYPE_ERROR, "argument %d is no classic tensor", i);
    }
    return kernel(tensors, count);
}

/* … and as a function of the runtime, which sees today's. */
static int call_function(int (*kernel)(DLTensor **args, int count), const struct tvm_value *args,
                         int32_t count) {
    DLTensor *tensors[8];
    fixture_calls++;
    if (count < 1 || count > 8)
        return refuse("kernel");
    for (int i = 0; i < count; i++) {
        tensors[i] = args[i].v_ptr;
        if (args[i].type_index != TVM_TYPE_DLTENSOR_PTR || tensors[i]->dtype.bits == 1)
            return tvm_raise(TVM_TYPE_ERROR, "argument %d is no tensor", i);
    }
    return kernel(tensors, count);
}

#define KERNEL(name)                                                                               \
    static int compiled_##name(TVMValue *args, int *codes, int count, TVMValue *result, int *code, \
                               void *resource) {                                                   \
        (void)result, (void)code, (void)resource;                                                  \
        return call_compiled(kernel_##name, args, codes, count);                                   \
    }                                                                                              \
    static int function_##name(void *self, const struct tvm_value *args, int32_t count,            \
                               struct tvm_value *result) {                                         \
        (void)self, (void)result;                                                                  \
        return call_function(kernel_##name, args, count);                                          \
    }

KERNEL(add)
KERNEL(add1)
KERNEL(twice)
KERNEL(split)
KERNEL(not )
KERNEL(flat)
KERNEL(fail)
KERNEL(hook)

static const struct {
    const char *name;
    TVMBackendPackedCFunc compiled;
    tvm_safe_call *function;
} kernels[] = {
    {"add", compiled_add, function_add},       {"add1", compiled_add1, function_add1},
    {"twice", compiled_twice, function_twice}, {"split", compiled_split, function_split},
    {"not", compiled_not, function_not},       {"flat", compiled_flat, function_flat},
    {"fail", compiled_fail, function_fail},    {"hook", compiled_hook, function_hook},
};

static int get_kernel(struct tvm_module *self, const char *name, bool compiled,
                      struct tvm_function **out) {
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
        if (strcmp(kernels[i].name, name) == 0)
            return compiled ? tvm_classic_function_new(kernels[i].compiled, &self->object, out)
                            : tvm_function_new(kernels[i].function, NULL, NULL, out);
    return 0;
}

static int get_compiled(struct tvm_module *self, const char *name, struct tvm_function **out) {
    return get_kernel(self, name, true, out);
}

static int get_function(struct tvm_module *self, const char *name, struct tvm_function **out) {
    return get_kernel(self, name, false, out);
}

struct tvm_module *fixture_library(bool compiled) {
    static const struct tvm_module_kind compiled_kind = {.key = "fixture.compiled",
                                                         .get_function = get_compiled};
    static const struct tvm_module_kind function_kind = {.key = "fixture.function",
                                                         .get_function = get_function};
    struct tvm_module *module =
        tvm_module_alloc(sizeof(*module), compiled ? &compiled_kind : &function_kind);
    assert_non_null(module);
    return module;
}

const char fixture_graph[] =
    "{'nodes': ["
    " {'op': 'null', 'name': 'x', 'inputs': []},"
    " {'op': 'null', 'name': 'w', 'inputs': []},"
    " {'op': 'tvm_op', 'name': 'sum', 'attrs': {'func_name': 'add', 'num_inputs': '2',"
    "   'num_outputs': '1', 'flatten_data': '0', 'hash': 'abc'}, 'inputs': [[0, 0, 0], [1, 0, 0]]},"
    " {'op': 'tvm_op', 'name': 'flatten', 'attrs': {'func_name': '__nop', 'num_inputs': '1',"
    "   'num_outputs': '1', 'flatten_data': '0'}, 'inputs': [[2, 0, 0]]},"
    " {'op': 'tvm_op', 'name': 'double', 'attrs': {'func_name': 'twice', 'num_inputs': '1',"
    "   'num_outputs': '1', 'flatten_data': '0'}, 'inputs': [[3, 0, 0]]}],"
    " 'arg_nodes': [0, 1], 'heads': [[4, 0, 0]], 'node_row_ptr': [0, 1, 2, 3, 4, 5],"
    " 'attrs': {'dltype': ['list_str', ['float32', 'float32', 'float32', 'float32', 'float32']],"
    "   'device_index': ['list_int', [1, 1, 1, 1, 1]],"
    "   'storage_id': ['list_int', [0, 1, 2, 2, 3]],"
    "   'shape': ['list_shape', [[2, 3], [2, 3], [2, 3], [6], [6]]]}}";

int fixture_sleep(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return 0;
}

const char fixture_slow_graph[] =
    "{'nodes': [" FIXTURE_INPUT("x") "," FIXTURE_OP("slow", "hook", "[[0, 0, 0]]") "," FIXTURE_OP(
        "shape", "__nop",
        "[[1, 0, 0]]") "," FIXTURE_OP("fast", "add1",
                                      "[[2, 0, 0]]") "],"
                                                     " 'arg_nodes': [0], 'heads': [[3, 0, 0]], "
                                                     "'node_row_ptr': [0, 1, 2, 3, 4],"
                                                     " 'attrs': {'dltype': ['list_str', "
                                                     "['float32', 'float32', 'float32', "
                                                     "'float32']],"
                                                     "   'storage_id': ['list_int', [0, 1, 1, 2]],"
                                                     "   'shape': ['list_shape', [[2, 3], [2, 3], "
                                                     "[6], [6]]]}}";

char *fixture_json(const char *text, const char *old, const char *new) {
    const char *found = old ? strstr(text, old) : NULL;
    size_t before = found ? (size_t)(found - text) : strlen(text);
    size_t size = strlen(text) + (found ? strlen(new) : 0) + 1;
    char *json = calloc(1, size);
    assert_non_null(json);
    memcpy(json, text, before);
    if (found) {
        memcpy(json + before, new, strlen(new));
        strcpy(json + before + strlen(new), found + strlen(old));
    }
    for (char *c = json; *c; c++)
        if (*c == '\'')
            *c = '"';
    return json;
}

void fixture_release(void *object) {
    tvm_object_release(object);
}

struct tvm_graph_plan *fixture_plan(const char *text) {
    struct tvm_graph_plan *plan = NULL;
    char *json = fixture_json(text, NULL, NULL);
    expect_ok(tvm_graph_plan_new("test.json", json, strlen(json), &plan));
    free(json);
    return plan;
}

struct tvm_graph_session *fixture_session(const char *text, bool compiled,
                                          struct tvm_graph_params *params) {
    struct tvm_graph_plan *plan = fixture_plan(text);
    struct tvm_module *library = fixture_library(compiled);
    struct tvm_graph_session *session = NULL;
    DLDevice cpu = {kDLCPU, 0};
    expect_ok(tvm_graph_session_new(plan, library, params, &cpu, 1, NULL, &session));
    fixture_release(plan);
    fixture_release(library);
    return session;
}

struct tvm_tensor *fixture_tensor(const int64_t *shape, int ndim, float first) {
    struct tvm_tensor *tensor = NULL;
    size_t count;
    assert_int_equal(tvm_shape_count(shape, ndim, &count), 0);
    assert_int_equal(tvm_tensor_empty(shape, ndim, (DLDataType){kDLFloat, 32, 1},
                                      (DLDevice){kDLCPU, 0}, &tensor),
                     0);
    for (size_t i = 0; i < count; i++)
        ((float *)tensor->dl.data)[i] = first + (float)i;
    return tensor;
}

struct tvm_tensor *fixture_vector(int64_t count, float first) {
    return fixture_tensor(&count, 1, first);
}

void fixture_put(struct fixture_bytes *bytes, const void *data, size_t size) {
    bytes->data = realloc(bytes->data, bytes->size + size + 1);
    assert_non_null(bytes->data);
    if (size)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

void fixture_put_number(struct fixture_bytes *bytes, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++)
        fixture_put(bytes, &(unsigned char){(unsigned char)(value >> 8 * i)}, 1);
}

void fixture_put_string(struct fixture_bytes *bytes, const char *text) {
    fixture_put_number(bytes, strlen(text), 8);
    fixture_put(bytes, text, strlen(text));
}

void fixture_put_head(struct fixture_bytes *bytes, const char *const *names, size_t count) {
    fixture_put_number(bytes, UINT64_C(0xF7E58D4F05049CB7), 8);
    fixture_put_number(bytes, 0, 8);
    fixture_put_number(bytes, count, 8);
    for (size_t i = 0; i < count; i++)
        fixture_put_string(bytes, names[i]);
    fixture_put_number(bytes, count, 8);
}

void fixture_put_tensor(struct fixture_bytes *bytes, DLDataType dtype, const int64_t *shape,
                        int ndim, const void *data, size_t nbytes) {
    fixture_put_number(bytes, UINT64_C(0xDD5E40F096B4A13F), 8);
    fixture_put_number(bytes, 0, 8);
    fixture_put_number(bytes, 1, 4);
    fixture_put_number(bytes, 0, 4);
    fixture_put_number(bytes, (uint64_t)ndim, 4);
    fixture_put_number(bytes, dtype.code, 1);
    fixture_put_number(bytes, dtype.bits, 1);
    fixture_put_number(bytes, dtype.lanes, 2);
    for (int i = 0; i < ndim; i++)
        fixture_put_number(bytes, (uint64_t)shape[i], 8);
    fixture_put_number(bytes, nbytes, 8);
    fixture_put(bytes, data, nbytes);
}

struct fixture_bytes fixture_params(const char *name, const int64_t *shape, int ndim,
                                    const float *data) {
    struct fixture_bytes bytes = {NULL, 0};
    size_t count;
    assert_int_equal(tvm_shape_count(shape, ndim, &count), 0);
    fixture_put_head(&bytes, &name, 1);
    fixture_put_tensor(&bytes, (DLDataType){kDLFloat, 32, 1}, shape, ndim, data,
                       count * sizeof(float));
    return bytes;
}

void fixture_expect_values(const DLTensor *tensor, const float *expected, size_t count) {
    size_t have;
    assert_int_equal(tvm_shape_count(tensor->shape, tensor->ndim, &have), 0);
    assert_int_equal(have, count);
    for (size_t i = 0; i < count; i++)
        if (((float *)tensor->data)[i] != expected[i])
            fail_msg("element %zu: expected %g, got %g", i, (double)expected[i],
                     (double)((float *)tensor->data)[i]);
}

void fixture_expect_output(struct tvm_graph_session *session, size_t index, const float *expected,
                           size_t count) {
    struct tvm_tensor *out;
    assert_int_equal(tvm_graph_session_get_output(session, index, &out), 0);
    fixture_expect_values(&out->dl, expected, count);
    fixture_release(out);
}

struct tvm_graph_params *fixture_load_params(const char *name, const int64_t *shape, int ndim,
                                             const float *data) {
    struct tvm_graph_params *params;
    struct fixture_bytes bytes = fixture_params(name, shape, ndim, data);
    expect_ok(tvm_graph_params_new("test.params", bytes.data, bytes.size, (DLDevice){kDLCPU, 0},
                                   &params));
    free(bytes.data);
    return params;
}

int fixture_begin(void **state) {
    fixture_hook = NULL;
    return leaks_begin(state);
}

uint32_t fixture_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}
