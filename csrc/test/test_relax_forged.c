/* Executables that are forged: what they hold, and what is said where that is wrong. */
#include "module/library.h"
#include "test/expect.h"
#include "test/library_fixture.h"
#include "test/relax_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct writer {
    unsigned char data[1 << 18];
    size_t size;
};

static void put(struct writer *writer, const void *data, size_t size) {
    assert_true(writer->size + size <= sizeof(writer->data));
    memcpy(writer->data + writer->size, data, size);
    writer->size += size;
}

static void put_u64(struct writer *writer, uint64_t value) {
    put(writer, &value, 8);
}

static void put_i32(struct writer *writer, int32_t value) {
    put(writer, &value, 4);
}

static void put_text(struct writer *writer, const char *text) {
    put_u64(writer, strlen(text));
    put(writer, text, strlen(text));
}

static void put_header(struct writer *writer, const char *version, uint64_t functions) {
    writer->size = 0;
    put_u64(writer, 0xD225DE2F4214151Eu);
    put_text(writer, version);
    put_u64(writer, functions);
}

static void put_function(struct writer *writer, int32_t kind, const char *name, int64_t start,
                         int64_t end, int64_t params, int64_t registers) {
    put_i32(writer, kind);
    put_text(writer, name);
    put_u64(writer, (uint64_t)start);
    put_u64(writer, (uint64_t)end);
    put_u64(writer, (uint64_t)params);
    put_u64(writer, (uint64_t)registers);
    put_u64(writer, params > 0 ? (uint64_t)params : 0);
    for (int64_t i = 0; i < params; i++)
        put_text(writer, "x");
}

/* A function f(x) with four registers that calls g, the functions of name builtin and f, and whose
 * code these words are; places says where each instruction begins. */
static void forge_with(struct writer *writer, const char *builtin, const int64_t *places,
                       size_t place_count, const int64_t *words, size_t count) {
    put_header(writer, "0.14", 3);
    put_function(writer, 1, "f", 0, (int64_t)place_count, 1, 4);
    put_function(writer, 0, "g", 0, 0, -2, 0);
    put_function(writer, 0, builtin, 0, 0, -2, 0);
    put_u64(writer, 0); /* memory scopes */
    put_u64(writer, 1); /* constants */
    put_i32(writer, 1);
    put_u64(writer, 5);
    put_u64(writer, place_count);
    for (size_t i = 0; i < place_count; i++)
        put_u64(writer, (uint64_t)places[i]);
    put_u64(writer, count);
    for (size_t i = 0; i < count; i++)
        put_u64(writer, (uint64_t)words[i]);
}

#define REGISTER(n) (n)
#define IMMEDIATE(n) ((INT64_C(1) << 56) | ((int64_t)(n) & ((INT64_C(1) << 56) - 1)))
#define CONSTANT(n) ((INT64_C(2) << 56) | (n))
#define FUNCTION(n) ((INT64_C(3) << 56) | (n))
#define VOID_REGISTER (INT64_C(1) << 54)
/* One instruction and a return. */
static int load_code(const char *builtin, const int64_t *words, size_t count) {
    struct writer writer;
    int64_t all[32] = {0}, places[2] = {0, (int64_t)count};
    struct tvm_module *module;
    memcpy(all, words, count * sizeof(*words));
    all[count] = 2; /* return register 0 */
    forge_with(&writer, builtin, places, 2, all, count + 2);
    if (relax_load(writer.data, writer.size, &module))
        return -1;
    tvm_object_release(&module->object);
    return 0;
}

#define CODE(...)                                                                                  \
    load_code("vm.builtin.copy", (const int64_t[]){__VA_ARGS__},                                   \
              COUNT(((const int64_t[]){__VA_ARGS__})))

static void test_instructions(void **state) {
    (void)state;
    const char *format = TVM_FORMAT_ERROR;
    expect_ok(CODE(1, REGISTER(1), 1, 2, REGISTER(0), IMMEDIATE(-5)));
    expect_ok(CODE(1, VOID_REGISTER, 0, 1, REGISTER(3))); /* f calls itself */
    expect_ok(
        CODE(1, VOID_REGISTER, 1, 4, VOID_REGISTER, VOID_REGISTER + 1, CONSTANT(0), FUNCTION(0)));
    expect_error(CODE(1, REGISTER(4), 1, 0), format, "function f: instruction 0: register 4 of 4");
    expect_error(CODE(1, -1, 1, 0), format, "register -1 of 4");
    expect_error(CODE(1, 0, 3, 0), format, "function 3 of 3");
    expect_error(CODE(1, 0, -1, 0), format, "function -1 of 3");
    expect_error(CODE(1, 0, 1, 1), format, "a call without all of its arguments");
    expect_error(CODE(1, 0, 1, INT64_MAX), format, "a call without all of its arguments");
    expect_error(CODE(1, 0, 1, -1), format, "a call without all of its arguments");
    expect_error(CODE(1, 0, 1, 1, REGISTER(4)), format, "register 4 of 4");
    expect_error(CODE(1, 0, 1, 1, VOID_REGISTER + 2), format, "register");
    expect_error(CODE(1, 0, 1, 1, CONSTANT(1)), format, "constant 1 of 1");
    expect_error(CODE(1, 0, 1, 1, FUNCTION(3)), format, "function 3 of 3");
    expect_error(CODE(1, 0, 1, 1, INT64_C(4) << 56), TVM_UNSUPPORTED_ERROR, "argument of kind 4");
    expect_error(CODE(1, 0, 0, 0), format, "0 arguments for f, which takes 1");
    expect_error(CODE(1, 0, 0, 2, REGISTER(0), REGISTER(0)), format,
                 "2 arguments for f, which takes 1");
    expect_ok(CODE(3, 1));
    expect_error(CODE(3, 2), format, "a jump by 2 leads out of it");
    expect_error(CODE(3, -1), format, "a jump by -1 leads out of it");
    expect_error(CODE(3, INT64_MAX), format, "leads out of it");
    expect_ok(CODE(4, REGISTER(0), 1));
    expect_error(CODE(4, REGISTER(4), 1), format, "register 4 of 4");
    expect_error(CODE(4, VOID_REGISTER, 1), format, "register");
    expect_error(CODE(4, REGISTER(0), 2), format, "a jump by 2 leads out of it");
    expect_error(CODE(2), format, "0 words are too few for operation 2");
    expect_error(CODE(5, 0), TVM_UNSUPPORTED_ERROR, "operation 5, which this build does not know");
    expect_error(CODE(0, 0), TVM_UNSUPPORTED_ERROR, "operation 0, which this build does not know");
}

static int load_heap(const char *builtin, int64_t heap_size, const int64_t *words, size_t count) {
    struct writer writer;
    struct tvm_module *module;
    const int64_t places[] = {0, 6, 6 + (int64_t)count};
    int64_t all[48] = {1, REGISTER(1), 1, 2, VOID_REGISTER + 1, IMMEDIATE(heap_size)};
    memcpy(all + 6, words, count * sizeof(*words));
    all[6 + count] = 2;
    put_header(&writer, "0.14", 3);
    put_function(&writer, 1, "f", 0, 3, 1, 4);
    put_function(&writer, 0, "vm.builtin.alloc_shape_heap", 0, 0, -2, 0);
    put_function(&writer, 0, builtin, 0, 0, -2, 0);
    put_u64(&writer, 0);
    put_u64(&writer, 0);
    put_u64(&writer, 3);
    for (size_t i = 0; i < 3; i++)
        put_u64(&writer, (uint64_t)places[i]);
    put_u64(&writer, 6 + count + 2);
    for (size_t i = 0; i < 6 + count + 2; i++)
        put_u64(&writer, (uint64_t)all[i]);
    if (relax_load(writer.data, writer.size, &module))
        return -1;
    tvm_object_release(&module->object);
    return 0;
}

#define HEAP(builtin, size, ...)                                                                   \
    load_heap(builtin, size, (const int64_t[]){1, VOID_REGISTER, 2, __VA_ARGS__},                  \
              3 + COUNT(((const int64_t[]){__VA_ARGS__})))

static void test_heap_slots(void **state) {
    (void)state;
    const char *match = "vm.builtin.match_shape", *make = "vm.builtin.make_shape";
    const char *format = TVM_FORMAT_ERROR;
    expect_ok(
        HEAP(match, 2, 5, REGISTER(0), REGISTER(1), IMMEDIATE(1), IMMEDIATE(1), IMMEDIATE(1)));
    expect_error(
        HEAP(match, 2, 5, REGISTER(0), REGISTER(1), IMMEDIATE(1), IMMEDIATE(1), IMMEDIATE(2)),
        format, "slot 2 of a shape heap with 2");
    expect_error(
        HEAP(match, 2, 5, REGISTER(0), REGISTER(1), IMMEDIATE(1), IMMEDIATE(3), IMMEDIATE(-1)),
        format, "slot -1 of a shape heap with 2");
    expect_error(
        HEAP(match, 2, 5, REGISTER(0), REGISTER(1), IMMEDIATE(1), IMMEDIATE(4), IMMEDIATE(0)),
        format, "dimension 0 has no code that is known");
    expect_error(
        HEAP(match, 2, 5, REGISTER(0), REGISTER(1), IMMEDIATE(2), IMMEDIATE(1), IMMEDIATE(0)),
        format, "2 dimensions in a call with 5 arguments");
    expect_error(HEAP(match, 2, 3, REGISTER(0), REGISTER(1), REGISTER(0)), format,
                 "match_shape without a number of dimensions");
    expect_ok(HEAP(make, 2, 4, REGISTER(1), IMMEDIATE(1), IMMEDIATE(1), IMMEDIATE(1)));
    expect_error(HEAP(make, 2, 4, REGISTER(1), IMMEDIATE(1), IMMEDIATE(1), IMMEDIATE(2)), format,
                 "slot 2 of a shape heap with 2");
    expect_error(HEAP("vm.builtin.make_prim_value", 1, 3, REGISTER(1), IMMEDIATE(1), IMMEDIATE(1)),
                 format, "slot 1 of a shape heap with 1");
    expect_error(HEAP("vm.builtin.match_prim_value", 1, 4, REGISTER(0), REGISTER(1), IMMEDIATE(3),
                      IMMEDIATE(1)),
                 format, "slot 1 of a shape heap with 1");
    expect_error(HEAP(make, -1, 2, REGISTER(1), IMMEDIATE(0)), format,
                 "a shape heap without a size");
}

/* One callable function, and what the file says of it. */
static int load_function(int32_t kind, const char *name, int64_t start, int64_t end, int64_t params,
                         int64_t registers) {
    struct writer writer;
    struct tvm_module *module;
    put_header(&writer, "0.14", 1);
    put_function(&writer, kind, name, start, end, params, registers);
    put_u64(&writer, 0);
    put_u64(&writer, 0);
    put_u64(&writer, 1);
    put_u64(&writer, 0);
    put_u64(&writer, 2);
    put_u64(&writer, 2);
    put_u64(&writer, VOID_REGISTER);
    if (relax_load(writer.data, writer.size, &module))
        return -1;
    tvm_object_release(&module->object);
    return 0;
}

static void test_functions(void **state) {
    (void)state;
    const char *format = TVM_FORMAT_ERROR;
    expect_ok(load_function(1, "f", 0, 1, 0, 0));
    expect_ok(load_function(2, "f", 0, 0, 1, 2));
    expect_error(load_function(3, "f", 0, 1, 0, 0), TVM_UNSUPPORTED_ERROR, "a function of kind 3");
    expect_error(load_function(1, "f", 0, 2, 0, 0), format, "its code ends at 2 of 1");
    expect_error(load_function(1, "f", -1, 1, 0, 0), format, "its code ends at 1 of 1");
    expect_error(load_function(1, "f", 1, 1, 0, 0), format, "its code ends at 1 of 1");
    expect_error(load_function(1, "f", 0, 1, 1, 0), format, "1 parameters and 0 registers");
    expect_error(load_function(2, "f", 0, 0, 1, 1), format, "1 parameters and 1 registers");
    expect_error(load_function(1, "f", 0, 1, -1, 0), format, "-1 parameters and 0 registers");
    expect_error(load_function(1, "f", 0, 1, 0, INT64_MAX), format, "registers");
    const int64_t words[] = {2, REGISTER(0)};
    expect_error(load_code("g", words, COUNT(words)), format, "two functions are called g");
    expect_error(load_function(0, "__vmtir__f", 0, 0, -2, 0), format, "__vmtir__f is no function");
    expect_error(load_function(0, "relax.run.debug_print", 0, 0, -2, 0), TVM_UNSUPPORTED_ERROR,
                 "calls relax.run.debug_print, which exists only in Python");
}

static void test_headers(void **state) {
    (void)state;
    struct writer writer;
    struct tvm_module *module;
    put_header(&writer, "0.15", 0);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_UNSUPPORTED_ERROR,
                 "a Relax executable of version \"0.15\"");
    writer.size = 0;
    put_u64(&writer, 0xD225DE2F4214151Fu);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_UNSUPPORTED_ERROR,
                 "a Relax executable of format d225de2f4214151f");
    put_header(&writer, "0.14", UINT64_MAX);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_FORMAT_ERROR, "functions");
    put_header(&writer, "0.14", (UINT64_C(1) << 32) + 1);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_FORMAT_ERROR, "functions");
    put_header(&writer, "0.14", 0);
    put_u64(&writer, 1); /* a memory scope */
    put_u64(&writer, 0);
    put_text(&writer, "global.texture");
    expect_error(relax_load(writer.data, writer.size, &module), TVM_UNSUPPORTED_ERROR,
                 "memory of scope \"global.texture\"");
    put_header(&writer, "0.14", 0);
    put_u64(&writer, 0);
    put_u64(&writer, 1); /* a constant */
    put_i32(&writer, 71);
    put_u64(&writer, 0);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_UNSUPPORTED_ERROR,
                 "a constant of type 71");
}

/* Two functions that share an instruction, and instructions that overlap. */
static void test_shared_code(void **state) {
    (void)state;
    struct writer writer;
    struct tvm_module *module;
    put_header(&writer, "0.14", 2);
    put_function(&writer, 1, "f", 0, 1, 0, 1);
    put_function(&writer, 1, "g", 0, 1, 0, 1);
    put_u64(&writer, 0);
    put_u64(&writer, 0);
    put_u64(&writer, 1);
    put_u64(&writer, 0);
    put_u64(&writer, 2);
    put_u64(&writer, 2);
    put_u64(&writer, 0);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_FORMAT_ERROR,
                 "function g: instruction 0: it belongs to another function too");
    const int64_t words[] = {2, 0, 2, 0};
    forge_with(&writer, "h", (const int64_t[]){2, 0}, 2, words, 4);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_FORMAT_ERROR,
                 "instruction 0: its words are 2 to 0 of 4");
    forge_with(&writer, "h", (const int64_t[]){0, 5}, 2, words, 4);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_FORMAT_ERROR,
                 "instruction 0: its words are 0 to 5 of 4");
    const int64_t falls[] = {2, 0, 4, 0, 0};
    forge_with(&writer, "h", (const int64_t[]){0, 2}, 2, falls, 5);
    expect_error(relax_load(writer.data, writer.size, &module), TVM_FORMAT_ERROR,
                 "function f: instruction 1: it runs out of its code");
}

/* Calls f of an executable, which is to fail with an error of kind and text; NULL: to succeed. */
static void expect_call(const struct writer *writer, const char *kind, const char *text) {
    struct tvm_module *module;
    struct tvm_value x = tvm_int(1), result;
    expect_ok(relax_load(writer->data, writer->size, &module));
    struct tvm_relax_session *session = relax_session(tvm_relax_executable_of(module));
    int status = tvm_relax_session_call(session, 0, &x, 1, &result);
    if (kind)
        expect_error(status, kind, text);
    else
        expect_ok(status);
    tvm_value_clear(&result);
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release(&module->object);
}

/* Code without calls is cancelled where it jumps back: to its return, and to itself for ever. */
static void test_cancelled_jumps(void **state) {
    (void)state;
    static const int64_t words[][6] = {{3, 2, 2, 0, 3, -1}, {3, 0}};
    static const uint64_t counts[] = {3, 1};
    for (size_t i = 0; i < COUNT(words); i++) {
        struct writer writer;
        struct tvm_module *module;
        struct tvm_value x = tvm_int(1), result;
        put_header(&writer, "0.14", 1);
        put_function(&writer, 1, "f", 0, (int64_t)counts[i], 1, 1);
        put_u64(&writer, 0);
        put_u64(&writer, 0);
        put_u64(&writer, counts[i]);
        for (uint64_t k = 0; k < counts[i]; k++)
            put_u64(&writer, k * 2);
        put_u64(&writer, counts[i] * 2);
        put(&writer, words[i], (size_t)counts[i] * 16);
        expect_ok(relax_load(writer.data, writer.size, &module));
        struct tvm_relax_session *session = relax_session(tvm_relax_executable_of(module));
        atomic_store(&tvm_relax_session_context(session)->cancelled, true);
        expect_error(tvm_relax_session_call(session, 0, &x, 1, &result), TVM_CANCELLED_ERROR,
                     "cancelled");
        tvm_object_release((struct tvm_object *)session);
        tvm_object_release(&module->object);
    }
}

/* f(x) makes a tuple of x, one of that, and so on. */
static void test_nesting(void **state) {
    (void)state;
    static const int depths[] = {1001, 1002};
    static struct writer writer;
    for (size_t d = 0; d < COUNT(depths); d++) {
        put_header(&writer, "0.14", 2);
        put_function(&writer, 1, "f", 0, depths[d] + 1, 1, 4);
        put_function(&writer, 0, "vm.builtin.make_tuple", 0, 0, -2, 0);
        put_u64(&writer, 0);
        put_u64(&writer, 0);
        put_u64(&writer, (uint64_t)depths[d] + 1);
        for (int i = 0; i <= depths[d]; i++)
            put_u64(&writer, (uint64_t)i * 5);
        put_u64(&writer, (uint64_t)depths[d] * 5 + 2);
        for (int i = 0; i < depths[d]; i++)
            for (int k = 0; k < 5; k++)
                put_u64(&writer, k == 4 && i == 0 ? 0 : 1);
        put_u64(&writer, 2);
        put_u64(&writer, 1);
        expect_call(&writer, d == 0 ? NULL : TVM_VALUE_ERROR,
                    "tuples and closures in each other: more than 1000");
    }
}

/* f(x) calls builtin with 20,000 arguments: itself, again and again. */
static void test_deep_calls(void **state) {
    (void)state;
    static struct writer writer;
    static int64_t words[20010];
    static const char *const builtins[] = {"vm.builtin.invoke_closure", "vm.builtin.call_tir_dyn"};
    const int64_t count = 20000;
    for (size_t b = 0; b < COUNT(builtins); b++) {
        put_header(&writer, "0.14", 2);
        put_function(&writer, 1, "f", 0, 2, 1, 4);
        put_function(&writer, 0, builtins[b], 0, 0, -2, 0);
        put_u64(&writer, 0);
        put_u64(&writer, 1);
        put_i32(&writer, 69); /* an empty shape */
        put_u64(&writer, 0);
        put_u64(&writer, 2);
        put_u64(&writer, 0);
        put_u64(&writer, (uint64_t)count + 4);
        const int64_t head[] = {1, 1, 1, count};
        memcpy(words, head, sizeof(head));
        for (int64_t i = 0; i < count; i++)
            words[4 + i] = b == 0           ? i % 2 ? FUNCTION(1) : VOID_REGISTER + 1
                           : i <= count / 2 ? FUNCTION(1)
                                            : CONSTANT(0);
        words[4 + count] = 2;
        words[5 + count] = 1;
        put_u64(&writer, (uint64_t)count + 6);
        for (int64_t i = 0; i < count + 6; i++)
            put_u64(&writer, (uint64_t)words[i]);
        expect_call(&writer, TVM_RUNTIME_ERROR, "calls are nested");
    }
}

/* What the compiler is said to have written about f's parameter. */
static void test_infos(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int ndim;
        int64_t first;
    } cases[] = {
        {"R.Tensor((7, n), dtype=\"float32\")", 2, 7},
        {"R.Tensor((7, n), dtype=\"float32\", ndim=60)", 2, 7},
        {"R.Tensor(dtype=\"float32\", ndim=3)", 3, 0},
        {"R.Tensor((99999999999999999999999999,), dtype=\"float32\")", 1, -1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct writer writer;
        struct tvm_module *module;
        char text[200];
        snprintf(text, sizeof(text), "ErrorContext(fn=f, loc=param[0], param=x, annotation=%s) ",
                 cases[i].text);
        put_header(&writer, "0.14", 1);
        put_function(&writer, 1, "f", 0, 1, 1, 4);
        put_u64(&writer, 0);
        put_u64(&writer, 2);
        put_i32(&writer, 65);
        put_text(&writer, text);
        put_i32(&writer, 65); /* the first text counts */
        put_text(&writer, "ErrorContext(fn=f, loc=param[0], param=x, "
                          "annotation=R.Tensor((5, 6, 7, 8, 9), dtype=\"int8\")) ");
        put_u64(&writer, 1);
        put_u64(&writer, 0);
        put_u64(&writer, 2);
        put_u64(&writer, 2);
        put_u64(&writer, 0);
        expect_ok(relax_load(writer.data, writer.size, &module));
        struct tvm_relax_info info = tvm_relax_param(tvm_relax_executable_of(module), 0, 0);
        assert_int_equal(info.ndim, cases[i].ndim);
        assert_int_equal(info.dtype.bits, 32);
        if (cases[i].first)
            assert_int_equal(info.shape[0], cases[i].first);
        else
            assert_null(info.shape);
        tvm_object_release(&module->object);
    }
}

static void put_shape(struct writer *writer, uint64_t dimension) {
    put_i32(writer, 69);
    put_u64(writer, 1);
    put_u64(writer, dimension);
}

static void put_float32(struct writer *writer) {
    put_i32(writer, 5);
    put(writer, &(DLDataType){kDLFloat, 32, 1}, sizeof(DLDataType));
}

static void put_shape_and_dtype(struct writer *writer) {
    put_u64(writer, 2);
    put_shape(writer, 7);
    put_float32(writer);
}

/* f() makes a tensor, and a tuple of it twice, of that twice, and so on; or of itself. */
static int load_tuples(struct writer *writer, int tuples, bool of_itself,
                       struct tvm_module **module) {
    put_header(writer, "0.14", 3);
    put_function(writer, 1, "f", 0, tuples + 2, 0, tuples + 1);
    put_function(writer, 0, "vm.builtin.alloc_tensor", 0, 0, -2, 0);
    put_function(writer, 0, "vm.builtin.make_tuple", 0, 0, -2, 0);
    put_u64(writer, 0);
    put_shape_and_dtype(writer);
    put_u64(writer, (uint64_t)tuples + 2);
    put_u64(writer, 0);
    for (int i = 0; i <= tuples; i++)
        put_u64(writer, 8 + (uint64_t)i * 6);
    const int64_t alloc[] = {1, 0, 1, 4, IMMEDIATE(0), IMMEDIATE(0), CONSTANT(0), CONSTANT(1)};
    put_u64(writer, (uint64_t)tuples * 6 + 8 + 2);
    put(writer, alloc, sizeof(alloc));
    for (int i = 1; i <= tuples; i++) {
        int64_t item = of_itself && i == 1 ? tuples : i - 1;
        const int64_t make[] = {1, i, 2, 2, REGISTER(item), REGISTER(item)};
        put(writer, make, sizeof(make));
    }
    put_u64(writer, 2);
    put_u64(writer, (uint64_t)tuples);
    return relax_load(writer->data, writer->size, module);
}

/* h gives a tuple of 1500 times what f gives, which is 4096 tensors. */
static void test_many_results(void **state) {
    (void)state;
    enum { TUPLES = 12, TIMES = 1500 };
    static struct writer writer;
    const int64_t alloc[] = {1, 0, 2, 4, IMMEDIATE(0), IMMEDIATE(0), CONSTANT(0), CONSTANT(1)};
    const int64_t call[] = {1, 0, 0, 0}, make[] = {1, 1, 3, TIMES};
    const uint64_t h = COUNT(alloc) + TUPLES * 6 + 2; /* where its words begin */
    struct tvm_module *module;
    put_header(&writer, "0.14", 4);
    put_function(&writer, 1, "f", 0, TUPLES + 2, 0, TUPLES + 1);
    put_function(&writer, 1, "h", TUPLES + 2, TUPLES + 5, 0, 2);
    put_function(&writer, 0, "vm.builtin.alloc_tensor", 0, 0, -2, 0);
    put_function(&writer, 0, "vm.builtin.make_tuple", 0, 0, -2, 0);
    put_u64(&writer, 0);
    put_shape_and_dtype(&writer);
    put_u64(&writer, TUPLES + 5);
    put_u64(&writer, 0);
    for (uint64_t i = 0; i <= TUPLES; i++)
        put_u64(&writer, COUNT(alloc) + i * 6);
    put_u64(&writer, h);
    put_u64(&writer, h + COUNT(call));
    put_u64(&writer, h + COUNT(call) + COUNT(make) + TIMES);
    put_u64(&writer, h + COUNT(call) + COUNT(make) + TIMES + 2);
    put(&writer, alloc, sizeof(alloc));
    for (int i = 1; i <= TUPLES; i++)
        put(&writer, (int64_t[]){1, i, 3, 2, REGISTER(i - 1), REGISTER(i - 1)}, 6 * 8);
    put(&writer, (int64_t[]){2, TUPLES}, 2 * 8);
    put(&writer, call, sizeof(call));
    put(&writer, make, sizeof(make));
    for (int i = 0; i < TIMES; i++)
        put_u64(&writer, REGISTER(0));
    put(&writer, (int64_t[]){2, 1}, 2 * 8);
    expect_ok(relax_load(writer.data, writer.size, &module));
    assert_int_equal(tvm_relax_result_count(tvm_relax_executable_of(module), 0), 4096);
    assert_int_equal(tvm_relax_result_count(tvm_relax_executable_of(module), 1), 0);
    tvm_object_release(&module->object);
}

static void test_results(void **state) {
    (void)state;
    static const struct {
        int tuples;
        bool of_itself;
        size_t results; /* 0: unknown, as 2^13 and more are too many */
    } cases[] = {{0, false, 1},  {3, false, 8},   {12, false, 4096}, {13, false, 0},
                 {60, false, 0}, {100, false, 0}, {1, true, 0},      {3, true, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct writer writer;
        struct tvm_module *module;
        expect_ok(load_tuples(&writer, cases[i].tuples, cases[i].of_itself, &module));
        struct tvm_relax_executable *executable = tvm_relax_executable_of(module);
        assert_int_equal(tvm_relax_result_count(executable, 0), cases[i].results);
        for (size_t k = 0; k < cases[i].results; k++) {
            struct tvm_relax_info info = tvm_relax_result(executable, 0, k);
            assert_true(info.is_tensor);
            assert_int_equal(info.dtype.bits, 32);
            assert_int_equal(info.ndim, 1);
            assert_int_equal(info.shape[0], 7);
        }
        tvm_object_release(&module->object);
    }
}

/* What f gives is unknown where it depends on the way taken: another register, or one that two
 * calls write. */
static void test_two_results(void **state) {
    (void)state;
    static const struct {
        int64_t dst, returned; /* of the second call and return */
        size_t results;
    } cases[] = {{1, 0, 1}, {1, 1, 0}, {0, 0, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct writer writer;
        struct tvm_module *module;
#define ALLOC(dst, shape) 1, dst, 1, 4, IMMEDIATE(0), IMMEDIATE(0), CONSTANT(shape), CONSTANT(1)
        const int64_t words[] = {ALLOC(0, 0), ALLOC(cases[i].dst, 2), 4, 2, 2, 2, 0,
                                 2,           cases[i].returned}; /* if, two returns */
        static const uint64_t places[] = {0, 8, 16, 19, 21};
        put_header(&writer, "0.14", 2);
        put_function(&writer, 1, "f", 0, COUNT(places), 0, 3);
        put_function(&writer, 0, "vm.builtin.alloc_tensor", 0, 0, -2, 0);
        put_u64(&writer, 0);
        put_u64(&writer, 3);
        put_shape(&writer, 7);
        put_float32(&writer);
        put_shape(&writer, 8);
        put_u64(&writer, COUNT(places));
        put(&writer, places, sizeof(places));
        put_u64(&writer, COUNT(words));
        put(&writer, words, sizeof(words));
        expect_ok(relax_load(writer.data, writer.size, &module));
        struct tvm_relax_executable *executable = tvm_relax_executable_of(module);
        assert_int_equal(tvm_relax_result_count(executable, 0), cases[i].results);
        if (cases[i].results)
            assert_int_equal(tvm_relax_result(executable, 0, 0).shape[0], 7);
        tvm_object_release(&module->object);
    }
}

/* Forged sizes may be beyond what the sanitizer's allocator takes. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* The data of a large constant comes from the file, not from the mapped bytes. */
static void test_large_constant(void **state) {
    (void)state;
    enum { ELEMENTS = 1 << 15 };
    struct writer head = {.size = 0}, tail = {.size = 0};
    put_header(&head, "0.14", 2);
    put_function(&head, 1, "f", 0, 2, 0, 1); /* returns a copy of the constant */
    put_function(&head, 0, "vm.builtin.copy", 0, 0, -2, 0);
    put_u64(&head, 0);
    put_u64(&head, 1);
    put_i32(&head, 70);
    put_u64(&head, 0xDD5E40F096B4A13Fu);
    put_u64(&head, 0);
    put_i32(&head, kDLCPU);
    put_i32(&head, 0);
    put_i32(&head, 1);
    put(&head, (const unsigned char[]){0, 8, 1, 0}, 4);
    put_u64(&head, ELEMENTS);
    put_u64(&head, ELEMENTS);
    const int64_t words[] = {2, 0, 5, 7, 1, 0, 1, 1, CONSTANT(0), 2, 0};
    for (size_t i = 0; i < COUNT(words); i++)
        put_u64(&tail, (uint64_t)words[i]);
    size_t size = head.size + ELEMENTS + tail.size, before = 100;
    unsigned char *file = calloc(1, before + size);
    assert_non_null(file);
    memcpy(file + before, head.data, head.size);
    for (size_t i = 0; i < ELEMENTS; i++)
        file[before + head.size + i] = (unsigned char)(i * 7);
    memcpy(file + before + head.size + ELEMENTS, tail.data, tail.size);
    int fd = open(fixture_write("large", file, before + size), O_RDONLY);
    assert_true(fd >= 0);
    memset(file + before + head.size, 0, ELEMENTS);
    const struct tvm_reader_origin origin = {fd, before};
    struct tvm_reader reader = {
        .data = file + before, .size = size, .name = "m.so", .origin = &origin};
    struct tvm_module *module;
    struct tvm_relax_session *session;
    struct tvm_value result;
    expect_ok(tvm_relax_executable_kind.load(&reader, &module));
    expect_ok(
        tvm_relax_session_new(tvm_relax_executable_of(module), (DLDevice){kDLCPU, 0}, &session));
    expect_ok(tvm_relax_session_call(session, 0, NULL, 0, &result));
    const unsigned char *data = ((struct tvm_tensor *)result.v_object)->dl.data;
    for (size_t i = 0; i < ELEMENTS; i++)
        assert_int_equal(data[i], (unsigned char)(i * 7));
    tvm_value_clear(&result);
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release(&module->object);
    /* a file that was cut since */
    assert_int_equal(truncate(fixture_path("large"), (off_t)(before + head.size + 5)), 0);
    reader.pos = 0;
    expect_error(tvm_relax_executable_kind.load(&reader, &module), TVM_FORMAT_ERROR,
                 "the file ends at byte");
    close(fd);
    free(file);
}

/* TVM 0.22, whose executables have no memory scopes, writes bool as a 1-bit uint: in constants, and
 * in what its kernels want. */
static void test_old_bool(void **state) {
    (void)state;
    const char *path = fixture_compile(
        "bools.so", FIXTURE_LIBRARY,
        "typedef struct { int type; unsigned pad; union { char *value; long long number; }; } Any;"
        "int __tvm_ffi_g(void *self, Any *args, int count, Any *result) {"
        "    char *tensor = args[0].type == 7 ? args[0].value : args[0].value + 24;"
        "    result->type = 1;"
        "    unsigned char *dtype = (unsigned char *)tensor + sizeof(void *) + 12;"
        "    result->number = dtype[0] * 100 + dtype[1];"
        "    return 0; }");
    static const uint64_t magics[] = {0xD225DE2F4214151Du, 0xD225DE2F4214151Eu};
    static const int64_t expected[] = {101, 608};
    struct tvm_module *library, *module;
    struct tvm_relax_session *session;
    struct tvm_tensor *tensor;
    struct tvm_value result;
    expect_ok(tvm_library_open(path, &library));
    expect_ok(tvm_tensor_empty(NULL, 0, (DLDataType){TVM_DTYPE_BOOL, 8, 1}, (DLDevice){kDLCPU, 0},
                               &tensor));
    struct tvm_value x = tvm_from_object(tensor);
    for (int i = 0; i < 2; i++) {
        struct writer writer;
        const int64_t words[] = {
            1, 1, 2, 1, REGISTER(0), 2,           1,                /* return g(x) */
            1, 1, 3, 1, CONSTANT(0), 2,           1,                /* return copy(constant) */
            1, 1, 5, 3, FUNCTION(2), REGISTER(0), CONSTANT(1), 2, 1 /* call_tir_dyn(g, x, []) */
        };
        static const uint64_t places[] = {0, 5, 7, 12, 14, 21};
        put_header(&writer, "0.14", 6);
        memcpy(writer.data, &magics[i], 8);
        put_function(&writer, 1, "f", 0, 2, 1, 2);
        put_function(&writer, 1, "constant", 2, 4, 1, 2);
        put_function(&writer, 0, "g", 0, 0, -2, 0);
        put_function(&writer, 0, "vm.builtin.copy", 0, 0, -2, 0);
        put_function(&writer, 1, "dynamic", 4, 6, 1, 2);
        put_function(&writer, 0, "vm.builtin.call_tir_dyn", 0, 0, -2, 0);
        if (i == 1)
            put_u64(&writer, 0); /* memory scopes */
        put_u64(&writer, 2);     /* constants: a dtype of code 1, 1 bit, and an empty shape */
        put_i32(&writer, 5);
        put(&writer, (const unsigned char[]){1, 1, 1, 0}, 4);
        put_i32(&writer, 69);
        put_u64(&writer, 0);
        put_u64(&writer, COUNT(places));
        for (size_t j = 0; j < COUNT(places); j++)
            put_u64(&writer, places[j]);
        put_u64(&writer, COUNT(words));
        for (size_t j = 0; j < COUNT(words); j++)
            put_u64(&writer, (uint64_t)words[j]);
        expect_ok(relax_load(writer.data, writer.size, &module));
        expect_ok(tvm_module_import(module, library));
        expect_ok(tvm_relax_session_new(tvm_relax_executable_of(module), (DLDevice){kDLCPU, 0},
                                        &session));
        expect_ok(tvm_relax_session_call(session, 0, &x, 1, &result));
        assert_int_equal(result.v_int, expected[i]);
        expect_ok(tvm_relax_session_call(session, 2, &x, 1, &result));
        assert_int_equal(result.v_int, expected[i]);
        expect_ok(tvm_relax_session_call(session, 1, &x, 1, &result));
        assert_int_equal(result.type_index, TVM_TYPE_DTYPE);
        assert_int_equal(result.v_dtype.code, i == 0 ? TVM_DTYPE_BOOL : TVM_DTYPE_UINT);
        assert_int_equal(result.v_dtype.bits, i == 0 ? 8 : 1);
        tvm_object_release((struct tvm_object *)session);
        tvm_object_release(&module->object);
    }
    tvm_object_release(&tensor->object);
    tvm_object_release(&library->object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_bool),     cmocka_unit_test(test_large_constant),
        cmocka_unit_test(test_headers),      cmocka_unit_test(test_functions),
        cmocka_unit_test(test_instructions), cmocka_unit_test(test_heap_slots),
        cmocka_unit_test(test_shared_code),  cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_deep_calls),   cmocka_unit_test(test_infos),
        cmocka_unit_test(test_results),      cmocka_unit_test(test_many_results),
        cmocka_unit_test(test_two_results),  cmocka_unit_test(test_cancelled_jumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
