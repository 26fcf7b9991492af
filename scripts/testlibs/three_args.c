/* A library as TVM v0.5 made them: functions take (values, type codes, count) and nothing else.
 *
 * Built by make_testdata.py. The runtime fills the weak slot below when it loads the library; functions return 0, or
 * -1 after a message to the last-error slot.
 */
#include <stdint.h>
#include <stdlib.h>

#define CODE_INT 0
#define CODE_TENSOR 7
#define CODE_ARRAY 13
#define TYPE_FLOAT 2

union value {
	int64_t integer;
	double real;
	void *pointer;
};

struct tensor {
	void *data;
	int32_t device_type, device_id;
	int32_t ndim;
	uint8_t type_code, type_bits;
	uint16_t type_lanes;
	int64_t *shape, *strides;
	uint64_t byte_offset;
};

__attribute__((weak)) void (*__TVMAPISetLastError)(const char *);
__attribute__((weak)) void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
__attribute__((weak)) int (*__TVMBackendFreeWorkspace)(int, int, void *);
__attribute__((weak)) void *__tvm_module_ctx;
const char __tvm_main__[] = "add";

static int fail(const char *message)
{
	__TVMAPISetLastError(message);
	return -1;
}

/* The tensor in an argument, or NULL unless it is a float32 vector. */
static struct tensor *vector(const union value *values, const int *codes, int i)
{
	struct tensor *t = values[i].pointer;

	if (codes[i] != CODE_TENSOR && codes[i] != CODE_ARRAY)
		return NULL;
	if (t->ndim != 1)
		return NULL;
	if (t->type_code != TYPE_FLOAT || t->type_bits != 32 || t->type_lanes != 1)
		return NULL;
	return t;
}

static float *elements(const struct tensor *t)
{
	return (float *)((char *)t->data + t->byte_offset);
}

/* add(a, b, out): out = a + b. */
int add(void *values, int *codes, int count)
{
	struct tensor *a, *b, *out;

	if (count != 3)
		return fail("add: num_args should be 3");
	a = vector(values, codes, 0);
	b = vector(values, codes, 1);
	out = vector(values, codes, 2);
	if (!a || !b || !out)
		return fail("add: arguments should be float32 vectors");
	if (a->shape[0] != out->shape[0] || b->shape[0] != out->shape[0])
		return fail("add: the vectors should have one length");
	for (int64_t i = 0; i < out->shape[0]; i++)
		elements(out)[i] = elements(a)[i] + elements(b)[i];
	return 0;
}

/* reverse(a, out): out = a backwards, by way of a workspace. */
int reverse(void *values, int *codes, int count)
{
	struct tensor *a, *out;
	int64_t n;
	float *copy;

	if (count != 2)
		return fail("reverse: num_args should be 2");
	a = vector(values, codes, 0);
	out = vector(values, codes, 1);
	if (!a || !out || a->shape[0] != out->shape[0])
		return fail("reverse: arguments should be float32 vectors of one length");
	n = a->shape[0];
	copy = __TVMBackendAllocWorkspace(1, 0, (uint64_t)n * sizeof(float), TYPE_FLOAT, 32);
	if (!copy)
		return -1;
	for (int64_t i = 0; i < n; i++)
		copy[i] = elements(a)[n - 1 - i];
	for (int64_t i = 0; i < n; i++)
		elements(out)[i] = copy[i];
	return __TVMBackendFreeWorkspace(1, 0, copy);
}

/* check_int(i): fails unless the argument is the integer 42. */
int check_int(void *values, int *codes, int count)
{
	const union value *v = values;

	if (count != 1 || codes[0] != CODE_INT || v[0].integer != 42)
		return fail("check_int: expected the integer 42");
	return 0;
}
