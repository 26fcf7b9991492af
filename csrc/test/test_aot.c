/* Models for the AOT executor whose metadata is made here. The compilers' own are in test_factory
 * and in the Go tests. */
#include "base/container.h"
#include "base/context.h"
#include "graph/package.h"
#include "module/library.h"
#include "test/leaks.h"
#include "test/library_fixture.h"
#include "test/module_call.h"

#include <stdio.h>
#include <stdlib.h>

static const DLDevice CPU = {kDLCPU, 0};

/* A factory without parameters over the mark of AOT models over the library. */
static void write_blob(void) {
    unsigned char data[512];
    size_t size = 16;
#define PUT(value)                                                                                 \
    do {                                                                                           \
        uint64_t number = (value);                                                                 \
        memcpy(data + size, &number, 8);                                                           \
        size += 8;                                                                                 \
    } while (0)
#define TEXT(text)                                                                                 \
    do {                                                                                           \
        PUT(strlen(text));                                                                         \
        memcpy(data + size, text, strlen(text));                                                   \
        size += strlen(text);                                                                      \
    } while (0)
    TEXT("AotExecutorFactory");
    PUT(0);
    PUT(0);
    TEXT("default");
    TEXT("metadata_module");
    TEXT("_lib");
    TEXT("_import_tree");
    const uint64_t rows[] = {4, 0, 1, 2, 2}, edges[] = {2, 1, 2};
    for (size_t i = 0; i < COUNT(rows); i++)
        PUT(rows[i]);
    for (size_t i = 0; i < COUNT(edges); i++)
        PUT(edges[i]);
    const uint64_t head[] = {size - 8, 4};
    memcpy(data, head, sizeof(head));
    fixture_write("blob.bin", data, size);
}

/* y = 2 x + constant; z = first of x. Fills its pools and, as code of TVM 0.9 does, some bytes
 * behind them, which must be nobody's. */
#define CODE                                                                                       \
    "typedef unsigned char u8; typedef long long i64;\n"                                           \
    "union v { i64 i; double d; void *p; };\n"                                                     \
    "struct type { u8 code, bits; unsigned short lanes; };\n"                                      \
    "struct t { float *data; int device, id, ndim; struct type type; i64 *shape, *strides; };\n"   \
    "struct info { const char *name; const i64 *shape; i64 ndim; struct type type; };\n"           \
    "struct constant { const char *name; i64 offset, size; const void *data; };\n"                 \
    "struct metadata { i64 version; const struct info *in; i64 in_n; const struct info *out;\n"    \
    "  i64 out_n; const struct info *pool; i64 pool_n; const struct constant *con; i64 con_n;\n"   \
    "  const char *name; };\n"                                                                     \
    "static const i64 four[] = {4}, bytes[] = {100}, huge[] = {1LL << 40, 1LL << 40};\n"           \
    "static const struct info in[] = {{\"x_9\", four, 1, {2, 32, 1}}, {\"flag\", 0, 0, {1, 1, "    \
    "1}}};\n"                                                                                      \
    "static const struct info out[] = {{\"y\", four, 1, {2, 32, 1}}, {\"z\", 0, 0, {2, 32, "       \
    "1}}};\n"                                                                                      \
    "static const struct info pool[] = {{\"p\", bytes, 1, {1, 8, 1}}, {\"q\", bytes, 1, {1, 8, "   \
    "1}}};\n"                                                                                      \
    "static const struct { i64 magic, zero; int device[2], ndim; u8 type[4]; i64 shape, size;\n"   \
    "  float data[4]; } tensor = {0xDD5E40F096B4A13F, 0, {1, 0}, 1, {2, 32, 1, 0}, 4, 16,\n"       \
    "  {100, 200, 300, 400}};\n"                                                                   \
    "static const struct constant con[] = {{\"c\", 32, sizeof(tensor), &tensor}};\n"               \
    "static const struct info many[] = {[0 ... 64] = {\"p\", bytes, 1, {1, 8, 1}}};\n"             \
    "static const struct info bad_shape[] = {{\"x\", huge, 2, {2, 32, 1}}};\n"                     \
    "static const struct info bad_pointer[] = {{\"x\", (i64 *)8, 1, {2, 32, 1}}};\n"               \
    "static const struct info bad_name[] = {{(char *)8, four, 1, {2, 32, 1}}};\n"                  \
    "static const struct info bad_ndim[] = {{\"x\", four, 65, {2, 32, 1}}};\n"                     \
    "static const struct constant bad_con[] = {{\"c\", 0, 8, &tensor}};\n"                         \
    "static const struct constant wide_con[] = {{\"c\", 0, (1LL << 32) + sizeof(tensor), "         \
    "&tensor}};\n"                                                                                 \
    "static const struct constant low_con[] = {{\"c\", -8, sizeof(tensor), &tensor}};\n"           \
    "static const struct constant far_con[] = {{\"c\", 1LL << 62, sizeof(tensor), &tensor}};\n"    \
    "static const struct metadata metadata = {METADATA};\n"                                        \
    "int get_c_metadata" PARAMETERS " { RETURN; return 0; }\n"                                     \
    "int tvmgen_m___tvm_main__" PARAMETERS "{ int k = 4; if (n != COUNT) return -1;\n"             \
    "  for (int i = 0; i < n; i++) if (c[i] != 7) return -1;\n"                                    \
    "  struct t *x = a[0].p, *flag = a[1].p, *y = a[2].p, *z = a[3].p, *con = 0;\n"                \
    "  if (flag->type.code != 1 || flag->type.bits != 1 || flag->ndim) return -1;\n"               \
    "  if (n > 4) { con = a[4].p; if (con->shape[0] != 48) return -1; }\n"                         \
    "  for (int i = 0; i < 4; i++) y->data[i] = 2 * x->data[i] + (con ? con->data[8 + i] : 0);\n"  \
    "  for (k = n - 1; k > 4; k--) { struct t *p = a[k].p; if (p->shape[0] != 100) return -1;\n"   \
    "    for (int i = 0; i < 25 + 16; i++) p->data[i] = k; }\n"                                    \
    "  for (k = 5; k < n; k++) for (int i = 0; i < 25 + 16; i++)\n"                                \
    "    if (((struct t *)a[k].p)->data[i] != k) return -1;\n"                                     \
    "  *z->data = *(u8 *)flag->data ? x->data[0] : -1; return 0; }\n"                              \
    "__asm__(\".pushsection .rodata\\n.globl __tvm_dev_mblob\\n.type __tvm_dev_mblob,%object\\n\"" \
    "  \"__tvm_dev_mblob: .incbin \\\"\" BLOB \"\\\"\\n.size __tvm_dev_mblob, . - "                \
    "__tvm_dev_mblob\\n.popsection\\n\");\n"

#define PARAMETERS "(union v *a, int *c, int n, union v *r, int *rc, void *h)"
#define GOOD "r->p = (void *)&metadata; *rc = 3"

static const char *compile(const char *metadata, const char *give, int count) {
    char flags[1024];
    write_blob();
    snprintf(flags, sizeof(flags),
             FIXTURE_LIBRARY
             " -fno-builtin -DBLOB='\"%s\"' -DMETADATA='%s' -DRETURN='%s' -DCOUNT=%d",
             fixture_path("blob.bin"), metadata, give, count);
    return fixture_compile("aot.so", flags, CODE);
}

#define TENSORS "1, in, 2, out, 2, "
#define NAME "\"tvmgen_m\""

static void set(struct tvm_graph_session *session, const char *name, DLDataType dtype, int ndim,
                const void *data, size_t size) {
    const int64_t shape = 4;
    struct tvm_tensor *tensor;
    size_t index;
    assert_true(tvm_graph_plan_find_input(tvm_graph_session_plan(session),
                                          (struct tvm_bytes){name, strlen(name)}, &index));
    expect_ok(tvm_tensor_empty(&shape, ndim, dtype, CPU, &tensor));
    memcpy(tensor->dl.data, data, size);
    expect_ok(tvm_graph_session_set_input(session, index, &tensor->dl));
    tvm_object_release(&tensor->object);
}

static void check_output(struct tvm_graph_session *session, size_t index, const char *name,
                         const float *expected, size_t count) {
    struct tvm_tensor *tensor;
    struct tvm_graph_tensor_info info =
        tvm_graph_plan_output(tvm_graph_session_plan(session), index);
    assert_string_equal(info.name.data, name);
    expect_ok(tvm_graph_session_get_output(session, index, &tensor));
    assert_memory_equal(tensor->dl.data, expected, count * sizeof(*expected));
    tvm_object_release(&tensor->object);
}

/* How many workspaces the session's runs have left behind. */
static size_t count_workspaces(struct tvm_graph_session *session) {
    struct tvm_context_scope scope = tvm_context_enter(tvm_graph_session_context(session));
    size_t count = tvm_workspace_mark();
    tvm_context_leave(scope);
    return count;
}

static void run(const char *path, float added) {
    struct tvm_graph_package package;
    struct tvm_graph_session *sessions[2];
    expect_ok(tvm_graph_package_open(path, &package));
    assert_int_equal(tvm_graph_plan_input_count(package.plan), 2);
    assert_int_equal(tvm_graph_plan_output_count(package.plan), 2);
    char name[257];
    size_t index;
    memset(name, 'x', sizeof(name));
    assert_false(
        tvm_graph_plan_find_input(package.plan, (struct tvm_bytes){name, sizeof(name)}, &index));
    for (int i = 0; i < 2; i++)
        expect_ok(tvm_graph_session_new(package.plan, package.library, NULL, &CPU, 1, NULL,
                                        &sessions[i]));
    tvm_graph_package_clear(&package);
    for (int i = 0; i < 4; i++) {
        struct tvm_graph_session *session = sessions[i % 2];
        float x[] = {(float)i, 2, 3, 4}, y[4];
        unsigned char flag = i < 2;
        for (int k = 0; k < 4; k++)
            y[k] = 2 * x[k] + added * (float)(k + 1);
        /* The name as the program's author wrote it, too. */
        set(session, i % 2 ? "x_9" : "x:9", (DLDataType){kDLFloat, 32, 1}, 1, x, sizeof(x));
        set(session, "flag", (DLDataType){TVM_DTYPE_BOOL, 8, 1}, 0, &flag, 1);
        expect_ok(tvm_graph_session_run(session));
        assert_int_equal(count_workspaces(session), 0);
        check_output(session, 0, "y", y, 4);
        check_output(session, 1, "z", flag ? x : (float[]){-1}, 1);
    }
    tvm_object_release((struct tvm_object *)sessions[0]);
    tvm_object_release((struct tvm_object *)sessions[1]);
}

static void test_without_pools(void **state) {
    (void)state;
    run(compile(TENSORS "0, 0, 0, 0, " NAME, GOOD, 4), 0);
    run(compile(TENSORS "0, 0, con, 1, " NAME, GOOD, 5), 100); /* where no result is intermediate */
}

static void test_pools(void **state) {
    (void)state;
    run(compile(TENSORS "pool, 2, con, 1, " NAME, GOOD, 7), 100);
    run(compile(TENSORS "many, 64, con, 1, " NAME, GOOD, 5 + 64),
        100); /* as many as there may be */
}

/* The constants of such a model are made once, whatever asks for its function. */
static void test_shared_constants(void **state) {
    (void)state;
    struct tvm_graph_package package;
    struct tvm_function *functions[3];
    expect_ok(tvm_graph_package_open(compile(TENSORS "pool, 2, con, 1, " NAME, GOOD, 7), &package));
    const char *names[] = {"tvmgen_m___tvm_main__", "tvmgen_m___tvm_main__", "other___tvm_main__"};
    for (size_t i = 0; i < COUNT(functions); i++)
        expect_ok(tvm_module_get_function(package.library, names[i], true, &functions[i]));
    assert_non_null(functions[0]);
    assert_ptr_equal(functions[0], functions[1]);
    assert_null(functions[2]);
    tvm_graph_package_clear(&package);
    tvm_object_release(&functions[0]->object);
    tvm_object_release(&functions[1]->object);
}

static int open_path(const char *path) {
    struct tvm_graph_package package;
    int status = tvm_graph_package_open(path, &package);
    if (status == 0)
        tvm_graph_package_clear(&package);
    return status;
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *metadata, *give, *kind, *text;
    } cases[] = {
        {"2, in, 2, out, 2, 0, 0, 0, 0, " NAME, GOOD, TVM_UNSUPPORTED_ERROR, "version 2"},
        {"1, in, -1, out, 2, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its inputs"},
        {"1, in, 2, out, 1LL << 40, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its outputs"},
        {"1, in, 2, 0, 1, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its outputs"},
        {"1, in, 50000, out, 1, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its inputs"},
        {"1, in, 1LL << 59, out, 2, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its inputs"},
        {TENSORS "many, 65, con, 1, " NAME, GOOD, TVM_FORMAT_ERROR, "its memory pools"},
        {"1, bad_shape, 1, out, 1, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "input 0"},
        {"1, bad_pointer, 1, out, 1, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its inputs"},
        {"1, bad_name, 1, out, 1, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its inputs"},
        {"1, bad_ndim, 1, out, 1, 0, 0, 0, 0, " NAME, GOOD, TVM_FORMAT_ERROR, "its inputs"},
        {TENSORS "0, 0, 0, 0, 0", GOOD, TVM_FORMAT_ERROR, "its name"},
        {TENSORS "0, 0, 0, 0, " NAME, "r->p = 0; *rc = 3", TVM_FORMAT_ERROR, "gives no data"},
        {TENSORS "0, 0, 0, 0, " NAME, "r->p = (void *)64; *rc = 3", TVM_FORMAT_ERROR,
         "gives no data"},
        {TENSORS "0, 0, 0, 0, " NAME, "r->i = 5; *rc = 0", TVM_FORMAT_ERROR,
         "expected a pointer, got int"},
        {TENSORS "0, 0, 0, 0, " NAME, "return -1", TVM_RUNTIME_ERROR, "get_c_metadata"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_error(open_path(compile(cases[i].metadata, cases[i].give, 4)), cases[i].kind,
                     cases[i].text);
}

/* What only a session finds out. */
static void test_sessions_refused(void **state) {
    (void)state;
    static const struct {
        const char *metadata, *text;
    } cases[] = {
        {TENSORS "0, 0, 0, 0, \"other\"", "other___tvm_main__"},
        {TENSORS "pool, 2, bad_con, 1, " NAME, "constant of the library"},
        {TENSORS "pool, 2, wide_con, 1, " NAME, "a constant of the library has no data"},
        {TENSORS "pool, 2, low_con, 1, " NAME, "a constant of the library has no data"},
#if SIZE_MAX == UINT32_MAX
        {TENSORS "pool, 2, far_con, 1, " NAME, "ends beyond any memory"},
#endif
        {TENSORS "bad_shape, 1, con, 1, " NAME, "1099511627776"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tvm_graph_package package;
        struct tvm_graph_session *session = NULL;
        expect_ok(tvm_graph_package_open(compile(cases[i].metadata, GOOD, 7), &package));
        int status =
            tvm_graph_session_new(package.plan, package.library, NULL, &CPU, 1, NULL, &session);
        struct tvm_error *error = tvm_error_take();
        assert_int_equal(status, -1);
        assert_non_null(error);
        assert_non_null(strstr(error->message.data, cases[i].text));
        tvm_object_release(&error->object);
        tvm_graph_package_clear(&package);
    }
}

/* Functions of the factory, and of the executor that it makes. */
static void test_module(void **state) {
    struct tvm_module *library;
    struct tvm_value result, devices[] = {tvm_device(CPU), tvm_device(CPU)};
    struct tvm_bytes name;
    (void)state;
    expect_ok(tvm_library_open(compile(TENSORS "0, 0, 0, 0, " NAME, GOOD, 4), &library));
    assert_string_equal(library->kind->key, "AotExecutorFactory");
    expect_ok(module_call(library, "list_module_names", NULL, 0, &result));
    struct tvm_array *names = (struct tvm_array *)result.v_object;
    assert_int_equal(names->size, 1);
    assert_true(tvm_value_text(&names->items[0], &name));
    assert_string_equal(name.data, "default");
    tvm_value_clear(&result);
    expect_ok(module_call(library, "remove_params", NULL, 0, &result));
    tvm_object_release(&library->object);
    library = (struct tvm_module *)result.v_object;
    expect_ok(module_call(library, "default", devices, 1, &result));
    struct tvm_module *executor = (struct tvm_module *)result.v_object;
    expect_ok(module_call(executor, "get_num_inputs", NULL, 0, &result));
    assert_int_equal(result.v_int, 2);
    struct tvm_value index = tvm_int(1);
    expect_ok(module_call(executor, "get_input_name", &index, 1, &result));
    assert_true(tvm_value_text(&result, &name));
    assert_string_equal(name.data, "flag");
    tvm_value_clear(&result);
    index = tvm_int(2);
    expect_error(module_call(executor, "get_input_name", &index, 1, &result), TVM_INDEX_ERROR,
                 "input 2");
    tvm_object_release(&executor->object);
    tvm_object_release(&library->object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_without_pools),    LEAKS_TEST(test_pools),
        LEAKS_TEST(test_shared_constants), LEAKS_TEST(test_refused),
        LEAKS_TEST(test_sessions_refused), LEAKS_TEST(test_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
