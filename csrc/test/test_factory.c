/* Models in one file: the compilers' own, and libraries that are made here around a blob. */
#include "base/classic.h"
#include "base/container.h"
#include "graph/package.h"
#include "module/blob.h"
#include "module/elf_file.h"
#include "module/library.h"
#include "test/blob_fixture.h"
#include "test/graph_fixture.h"
#include "test/leaks.h"
#include "test/library_fixture.h"
#include "test/zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const DLDevice CPU = {kDLCPU, 0};

/* The compilers' own */

static struct tvm_graph_session *package_session(const struct tvm_graph_package *package,
                                                 const void *memory) {
    struct tvm_graph_session *session = NULL;
    struct tvm_graph_params *params = NULL;
    assert_non_null(package->plan);
    if (package->weights)
        expect_ok(tvm_graph_weights_place(package->weights, memory, CPU, &params));
    expect_ok(
        tvm_graph_session_new(package->plan, package->library, params, &CPU, 1, NULL, &session));
    fixture_release(params);
    return session;
}

static void check_outputs(const struct zoo_case *test, struct tvm_graph_session *session,
                          const struct tvm_graph_params *reference) {
    expect_ok(tvm_graph_session_run(session));
    size_t count = tvm_graph_plan_output_count(tvm_graph_session_plan(session));
    assert_true(count > 0);
    assert_null(zoo_output(reference, count));
    for (size_t i = 0; i < count; i++) {
        struct tvm_tensor *output;
        expect_ok(tvm_graph_session_get_output(session, i, &output));
        zoo_compare(test, reference, i, &output->dl);
        fixture_release(output);
    }
}

/* Lets the session read its inputs where they are. */
static void bind_inputs(struct tvm_graph_session *session,
                        const struct tvm_graph_params *reference) {
    for (size_t i = 0; i < tvm_graph_params_count(reference); i++) {
        struct tvm_bytes name = tvm_graph_params_name(reference, i);
        struct tvm_tensor *value = tvm_graph_params_tensor(reference, i);
        size_t index;
        if (strncmp(name.data, "in:", 3) != 0)
            continue;
        assert_true(tvm_graph_plan_find_input(tvm_graph_session_plan(session),
                                              (struct tvm_bytes){name.data + 3, name.size - 3},
                                              &index));
        expect_ok(tvm_graph_session_bind_input(session, index, &value->dl, &value->object));
    }
}

static void check_package(const struct zoo_case *test, const char *file) {
    struct tvm_graph_params *reference = zoo_reference(test);
    struct tvm_graph_package from_file, from_bytes;
    size_t size;
    char *data = zoo_read(test, file, &size);
    expect_ok(tvm_graph_package_open(zoo_case_path(test, file), &from_file));
    expect_ok(tvm_graph_package_from_bytes("model", data, size, &from_bytes));
    assert_int_equal(from_bytes.in_bytes, strcmp(file, "package.tar") == 0);
    struct tvm_graph_session *sessions[] = {package_session(&from_file, NULL),
                                            package_session(&from_bytes, data)};
    free(data);
    tvm_graph_package_clear(&from_file);
    tvm_graph_package_clear(&from_bytes);
    for (size_t i = 0; i < COUNT(sessions); i++) {
        zoo_set_inputs(test, sessions[i], reference);
        check_outputs(test, sessions[i], reference);
        bind_inputs(sessions[i], reference);
        check_outputs(test, sessions[i], reference);
        fixture_release(sessions[i]);
    }
    fixture_release(reference);
}

static void test_zoo(void **state) {
    size_t count, packages = 0;
    struct zoo_case *cases = zoo_cases(&count);
    (void)state;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < cases[i].package_count; k++, packages++)
            check_package(&cases[i], cases[i].packages[k]);
    assert_true(packages >= 30);
    free(cases);
}

/* Libraries around a blob */

/* float32 tensor of count elements, each of this value; only the head where count is large. */
static void put_tensor(uint64_t count, float value) {
    const uint32_t rest[] = {kDLCPU, 0, 1, 2 | 32 << 8 | 1 << 16};
    blob_put(UINT64_C(0xDD5E40F096B4A13F));
    blob_put(0);
    blob_put_bytes(rest, sizeof(rest));
    blob_put(count);
    blob_put(count * sizeof(float));
    for (uint64_t i = 0; i < count && count < 100; i++)
        blob_put_bytes(&value, sizeof(value));
}

/* out = add(x, w), all float32[4]. */
#define GRAPH                                                                                      \
    "{\"nodes\": [{\"op\": \"null\", \"name\": \"x\", \"inputs\": []}, {\"op\": \"null\", "        \
    "\"name\": \"w\", \"inputs\": []}, {\"op\": \"tvm_op\", \"name\": \"sum\", \"attrs\": "        \
    "{\"func_name\": \"add\", \"num_inputs\": \"2\", \"num_outputs\": \"1\", \"flatten_data\": "   \
    "\"0\"}, \"inputs\": [[0, 0, 0], [1, 0, 0]]}], \"arg_nodes\": [0, 1], \"heads\": "             \
    "[[2, 0, 0]], \"node_row_ptr\": [0, 1, 2, 3], \"attrs\": {\"dltype\": [\"list_str\", "         \
    "[\"float32\", \"float32\", \"float32\"]], \"shape\": [\"list_shape\", [[4], [4], [4]]], "     \
    "\"storage_id\": [\"list_int\", [0, 1, 2]]}}"

static void put_factory(const char *key, const char *graph, const char *name) {
    blob_put_text(key);
    blob_put_text(graph);
    blob_put(1);
    blob_put(1);
    blob_put_text("w");
    put_tensor(4, 10);
    blob_put_text(name);
}

#define LIST(...) ((const uint64_t[]){__VA_ARGS__})
#define TREE(rows, edges) blob_put_tree(rows, COUNT(rows), edges, COUNT(edges))

static void put_whole_factory(const char *key) {
    blob_begin(3);
    put_factory(key, GRAPH, "sums");
    blob_put_text("_lib");
    TREE(LIST(0, 1, 1), LIST(1));
    blob_end(0);
}

#define PARAMETERS "(union v *a, int *c, int n, union v *r, int *rc, void *h)"
#define CODE                                                                                       \
    "union v { long long i; double d; void *p; }; struct t { float *data; };\n"                    \
    "static float bias[4]; static int inits;\n"                                                    \
    "int TVMFuncGetGlobal(const char *, void **), TVMFuncFree(void *), TVMArrayFree(void *);\n"    \
    "int TVMFuncCall(void *, union v *, int *, int, union v *, int *);\n"                          \
    "int add" PARAMETERS " { struct t *x = a[0].p, *w = a[1].p, *o = a[2].p;\n"                    \
    "  for (int i = 0; i < 4; i++) o->data[i] = x->data[i] + w->data[i] + bias[i]; return 0; }\n"  \
    "int init_count" PARAMETERS " { r->i = inits; *rc = 0; return 0; }\n"                          \
    "#ifdef INIT\n"                                                                                \
    "int __init_add" PARAMETERS " { void *f; union v args[2] = {a[0], {INIT}}, out;\n"             \
    "  int codes[2] = {c[0], 0}, code = 4; inits++;\n"                                             \
    "  if (TVMFuncGetGlobal(\"runtime.ArrayGetItem\", &f)) return -1;\n"                           \
    "  int status = TVMFuncCall(f, args, codes, 2, &out, &code); TVMFuncFree(f);\n"                \
    "  if (status || code != 13) return -1;\n"                                                     \
    "  for (int i = 0; i < 4; i++) bias[i] = ((struct t *)out.p)->data[i];\n"                      \
    "  TVMArrayFree(out.p); r->i = RESULT; *rc = 0; return 0; }\n"                                 \
    "#endif\n"                                                                                     \
    "#ifdef LINKED\n"                                                                              \
    "int _lookup_linked_param" PARAMETERS " { static float w[4] = {20, 20, 20, 20};\n"             \
    "  r->p = a[0].i == 1 ? w : 0; *rc = 3; return 0; }\n"                                         \
    "#endif\n"                                                                                     \
    "__asm__(\".pushsection .rodata\\n.globl __tvm_dev_mblob\\n.type __tvm_dev_mblob,%object\\n\"" \
    "  \"__tvm_dev_mblob: .incbin \\\"\" BLOB \"\\\"\\n.size __tvm_dev_mblob, . - "                \
    "__tvm_dev_mblob\\n.popsection\\n\");\n"

/* A library with the blob. */
static const char *compile(const char *name, const char *flags) {
    char all[512];
    const char *file = fixture_write("blob.bin", blob, blob_size);
    snprintf(all, sizeof(all), FIXTURE_LIBRARY " %s -DBLOB='\"%s\"'", flags, file);
    return fixture_compile(name, all, CODE);
}

static struct tvm_module *open_library(const char *path) {
    struct tvm_module *module = NULL;
    expect_ok(tvm_library_open(path, &module));
    return module;
}

static struct tvm_function *find(struct tvm_module *module, const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_module_get_function(module, name, true, &function));
    return function;
}

static int call(struct tvm_module *module, const char *name, const struct tvm_value *args,
                int32_t count, struct tvm_value *result) {
    struct tvm_function *function = find(module, name);
    assert_non_null(function);
    int status = tvm_function_call(function, args, count, result);
    fixture_release(function);
    return status;
}

/* Runs an executor on x = {1, 2, 3, 4}, and compares the sums. */
static void check_sums(struct tvm_module *executor, float added) {
    const int64_t shape = 4;
    struct tvm_tensor *x;
    struct tvm_value result;
    expect_ok(tvm_tensor_empty(&shape, 1, (DLDataType){kDLFloat, 32, 1}, CPU, &x));
    for (int i = 0; i < 4; i++)
        ((float *)x->dl.data)[i] = (float)(i + 1);
    const struct tvm_value args[] = {tvm_raw_string("x"), tvm_from_object(x)};
    expect_ok(call(executor, "set_input", args, 2, &result));
    expect_ok(call(executor, "run", NULL, 0, &result));
    const struct tvm_value zero = tvm_int(0);
    expect_ok(call(executor, "get_output", &zero, 1, &result));
    const struct tvm_tensor *sums = (struct tvm_tensor *)result.v_object;
    for (int i = 0; i < 4; i++)
        assert_true(((float *)sums->dl.data)[i] == (float)(i + 1) + added);
    tvm_value_clear(&result);
    fixture_release(x);
}

static struct tvm_module *make_executor(struct tvm_module *library, const char *name) {
    struct tvm_value device = tvm_device(CPU), result;
    expect_ok(call(library, name, &device, 1, &result));
    assert_int_equal(result.type_index, TVM_TYPE_MODULE);
    return (struct tvm_module *)result.v_object;
}

/* TVM 0.7 called them otherwise; any name of a model is its function. */
static void test_both_keys(void **state) {
    static const char *const keys[] = {"GraphExecutorFactory", "GraphRuntimeFactory"};
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        put_whole_factory(keys[i]);
        struct tvm_module *library = open_library(compile("keys.so", ""));
        assert_string_equal(library->kind->key, keys[i]);
        assert_null(find(library, "default"));
        struct tvm_module *executor = make_executor(library, "sums");
        struct tvm_value args[] = {tvm_raw_string("sums"), tvm_device(CPU)}, result;
        check_sums(executor, 10);
        fixture_release(executor);
        expect_ok(call(library, "debug_create", args, 2, &result));
        check_sums((struct tvm_module *)result.v_object, 10);
        tvm_value_clear(&result);
        args[0] = tvm_raw_string("other");
        expect_error(call(library, "debug_create", args, 2, &result), TVM_NOT_FOUND_ERROR,
                     "no model \"other\": the library has \"sums\"");
        expect_error(call(library, "sums", NULL, 0, &result), TVM_VALUE_ERROR, "default");
        /* A function keeps the library, and not the factory on top: the next one is another. */
        struct tvm_function *add = find(library, "add");
        fixture_release(library);
        library = open_library(fixture_path("keys.so"));
        struct tvm_function *again = find(library, "add");
        assert_ptr_equal(tvm_classic_function_code(again), tvm_classic_function_code(add));
        fixture_release(add);
        fixture_release(again);
        fixture_release(library);
    }
}

/* The same of TVM 0.7 and 0.8, and of newer ones: it is asked before the library is. */
static void test_const_loader(void **state) {
    static const char *const keys[] = {"const_loader", "metadata"};
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        blob_begin(4);
        put_factory("GraphExecutorFactory", GRAPH, "default");
        blob_put_text(keys[i]);
        blob_put(2); /* names, tensors */
        blob_put_text("unused");
        blob_put_text("bias");
        blob_put(2);
        put_tensor(4, 1);
        put_tensor(4, 500);
        blob_put(1); /* symbols, their constants */
        blob_put_text("add");
        blob_put(1);
        blob_put(2);
        blob_put_text("unused");
        blob_put_text("bias");
        blob_put_text("_lib");
        TREE(LIST(0, 1, 2, 2), LIST(1, 2));
        blob_end(0);
        struct tvm_module *library = open_library(compile("constants.so", "-DINIT=1 -DRESULT=0"));
        struct tvm_module *executors[] = {make_executor(library, "default"),
                                          make_executor(library, "default")};
        struct tvm_value result;
        check_sums(executors[0], 510);
        check_sums(executors[1], 510);
        expect_ok(call(library, "init_count", NULL, 0, &result));
        assert_int_equal(result.v_int, 1);
        expect_ok(call(library, "get_const_var_ndarray", NULL, 0, &result));
        assert_int_equal(((struct tvm_map *)result.v_object)->size, 2);
        tvm_value_clear(&result);
        fixture_release(executors[0]);
        fixture_release(executors[1]);
        fixture_release(library);

        struct tvm_value device = tvm_device(CPU);
        library = open_library(compile("constants_fail.so", "-DINIT=1 -DRESULT=3"));
        expect_error(call(library, "default", &device, 1, &result), TVM_RUNTIME_ERROR,
                     "__init_add: it returned 3");
        fixture_release(library);
        library = open_library(compile("constants_bad.so", "-DINIT=7 -DRESULT=0"));
        expect_error(call(library, "default", &device, 1, &result), TVM_INDEX_ERROR, "__init_add");
        expect_error(call(library, "default", &device, 1, &result), TVM_INDEX_ERROR, "__init_add");
        fixture_release(library);
    }
}

static void put_without_params(const char *graph) {
    blob_begin(3);
    blob_put_text("GraphExecutorFactory");
    blob_put_text(graph);
    blob_put(0);
    blob_put(0);
    blob_put_text("default");
    blob_put_text("_lib");
    TREE(LIST(0, 1, 1), LIST(1));
    blob_end(0);
}

/* TVM 0.8 can put parameters into the library. */
static void test_linked_params(void **state) {
    struct tvm_graph_package package;
    struct tvm_graph_session *session;
    (void)state;
    put_without_params(GRAPH);
    const char *path = compile("linked.so", "-DLINKED");
    struct tvm_module *library = open_library(path);
    struct tvm_module *executor = make_executor(library, "default");
    check_sums(executor, 20);
    fixture_release(executor);
    fixture_release(library);
    expect_ok(tvm_graph_package_open(path, &package));
    assert_null(package.weights);
    session = package_session(&package, NULL);
    tvm_graph_package_clear(&package);
    assert_true(tvm_graph_session_is_shared(session, 1));
    expect_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR, "x");
    fixture_release(session);

    char *graph = fixture_json(GRAPH, "[4], [4], [4]", "[4], [1000000], [4]");
    struct tvm_value device = tvm_device(CPU), result;
    put_without_params(graph);
    free(graph);
    library = open_library(compile("short.so", "-DLINKED"));
    expect_error(call(library, "default", &device, 1, &result), TVM_FORMAT_ERROR,
                 "linked parameter w: the graph wants 4000000 bytes, and the library has fewer");
    fixture_release(library);
}

static void test_refused(void **state) {
    struct tvm_graph_package package;
    struct tvm_value device = tvm_device(CPU), result;
    (void)state;
    blob_begin(3); /* the library is on top: nobody reaches the factory's functions through it */
    blob_put_text("_lib");
    put_factory("GraphExecutorFactory", GRAPH, "default");
    TREE(LIST(0, 1, 1), LIST(1));
    blob_end(0);
    const char *path = compile("upside_down.so", "");
    struct tvm_module *library = open_library(path);
    expect_error(call(library, "default", &device, 1, &result), TVM_FORMAT_ERROR,
                 "imports no library");
    fixture_release(library);
    expect_ok(tvm_graph_package_open(path, &package));
    assert_null(package.plan);
    tvm_graph_package_clear(&package);

    blob_begin(2);
    put_factory("GraphExecutorFactory", "{}", "default");
    blob_put_text("_lib");
    blob_end(0);
    expect_error(fixture_try_open(compile("no_graph.so", "")), TVM_FORMAT_ERROR, "__tvm_dev_mblob");
    blob_begin(1);
    blob_put_text("GraphExecutorFactory");
    blob_put_text(GRAPH);
    blob_put(2); /* one name */
    blob_put(1);
    blob_put_text("w");
    put_tensor(4, 1);
    blob_put_text("default");
    blob_end(0);
    expect_error(fixture_try_open(compile("count.so", "")), TVM_FORMAT_ERROR,
                 "2 parameters, but 1 names");
    blob_begin(1);
    blob_put_text("GraphExecutorFactory");
    blob_put_text(GRAPH);
    blob_put(1);
    blob_put(1);
    blob_put_text("w");
    put_tensor(5, 1);
    blob_put_text("default");
    blob_end(0);
    expect_error(fixture_try_open(compile("shape.so", "")), TVM_VALUE_ERROR, "w");
    blob_begin(1);
    blob_put_text("GraphExecutorFactory");
    blob_put_text(GRAPH);
    blob_put(0);
    blob_put(0);
    blob_put(3);
    blob_put_bytes("a\0b", 3);
    blob_end(0);
    expect_error(fixture_try_open(compile("name.so", "")), TVM_FORMAT_ERROR,
                 "the name of the model holds a NUL");
    blob_begin(2); /* constants for a function that are not there */
    blob_put_text("const_loader");
    blob_put(0);
    blob_put(0);
    blob_put(1);
    blob_put_text("add");
    blob_put(1);
    blob_put(1);
    blob_put_text("bias");
    blob_put_text("_lib");
    blob_end(0);
    expect_error(fixture_try_open(compile("missing.so", "")), TVM_FORMAT_ERROR,
                 "function add wants a constant bias");
    static const struct {
        const char *key, *text;
    } kinds[] = {
        {"VMExecutable", "compile it for the graph executor"},
        {"relay.Executable", "compile it for the graph executor"},
        {"relax.Executable", "compile it with TVM 0.22 or newer"},
        {"relax.VMExecutable", "compile it with TVM 0.22 or newer"},
        {"cuda", "CUDA kernels; compile the model for a CPU"},
        {"tensorrt", "kind \"tensorrt\""},
    };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        blob_begin(2);
        blob_put_text("_lib");
        blob_put_text(kinds[i].key);
        blob_end(0);
        expect_error(fixture_try_open(compile("kind.so", "")), TVM_UNSUPPORTED_ERROR,
                     kinds[i].text);
    }
}

/* Damage */

/* Reads a copy of just size bytes, for AddressSanitizer, and uses what comes out; whether there was
 * an error. */
static bool survives(const unsigned char *data, size_t size) {
    struct tvm_reader_origin origin = {.fd = -1};
    struct tvm_blob out;
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    bool refused = tvm_blob_read("m.so", copy, size, &origin, &out) != 0;
    struct tvm_error *error = refused ? tvm_error_take() : NULL;
    assert_int_equal(refused, error != NULL);
    for (size_t i = 0; !refused && i < out.count; i++) {
        struct tvm_function *function = NULL;
        struct tvm_value result;
        if (out.modules[i] &&
            tvm_module_get_function(out.modules[i], "get_graph_params", false, &function) == 0 &&
            function && tvm_function_call(function, NULL, 0, &result) == 0)
            tvm_value_clear(&result);
        fixture_release(function);
    }
    if (!refused)
        tvm_blob_free(&out);
    fixture_release(error);
    free(copy);
    return !refused;
}

static void damage(const unsigned char *data, size_t size) {
    unsigned char *copy = malloc(size);
    uint32_t random = 12345;
    size_t refused = 0;
    assert_non_null(copy);
    assert_true(survives(data, size));
    for (size_t cut = 0; cut < size; cut++) /* the symbol is too small */
        assert_false(survives(data, cut));
    memcpy(copy, data, size);
    for (uint64_t cut = 8; cut < size - 8; cut++) { /* … and the blob says so */
        uint64_t nbytes = cut - 8;
        memcpy(copy, &nbytes, 8);
        assert_false(survives(copy, (size_t)cut));
    }
    for (int i = 0; i < 5000; i++) {
        static const uint64_t nasty[] = {
            0, 1, UINT32_MAX, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 40, UINT64_MAX};
        memcpy(copy, data, size);
        random = random * 1664525 + 1013904223;
        size_t at = (random >> 4) % (size - 8);
        if (i % 2)
            copy[at] ^= (unsigned char)(1 << (random >> 29));
        else
            memcpy(copy + at, &nasty[(random >> 20) % COUNT(nasty)], 8);
        refused += !survives(copy, size);
    }
    assert_true(refused > 1000);
    free(copy);
}

/* The blob of a compiler's own library. */
static void damage_real(const char *file) {
    struct tvm_elf elf;
    const unsigned char *content;
    size_t size, content_size;
    unsigned char *data = fixture_read(zoo_path(file), &size);
    expect_ok(tvm_elf_read(file, data, size, &elf));
    const struct tvm_elf_symbol *symbol = tvm_elf_find(&elf, "__tvm_dev_mblob");
    assert_non_null(symbol);
    expect_ok(tvm_elf_content(&elf, symbol, &content, &content_size));
    damage(content, content_size);
    tvm_elf_free(&elf);
    free(data);
}

static void test_damage(void **state) {
    (void)state;
    put_whole_factory("GraphExecutorFactory");
    damage(blob, blob_size);
}

static void test_real_damage(void **state) {
    (void)state;
    zoo_need();
    damage_real("models/tvm0.19/linked_params/factory.so");
    damage_real("models/tvm0.9/dense/factory.so");
    damage_real("models/tvm0.9/dense/aot.so");
}

/* Whether a package opens; what opens can be used. */
static bool opens(const char *data, size_t size) {
    struct tvm_graph_package package;
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct tvm_graph_session *session = NULL;
    struct tvm_graph_params *params = NULL;
    bool opened = tvm_graph_package_from_bytes("p.tar", copy, size, &package) == 0;
    bool works =
        opened && tvm_graph_weights_place(package.weights, copy, CPU, &params) == 0 &&
        tvm_graph_session_new(package.plan, package.library, params, &CPU, 1, NULL, &session) == 0;
    struct tvm_error *error = works ? NULL : tvm_error_take();
    assert_int_equal(works, error == NULL);
    fixture_release(error);
    fixture_release(session);
    fixture_release(params);
    if (opened)
        tvm_graph_package_clear(&package);
    free(copy);
    return opened;
}

/* A package of tvmc cut anywhere, and with its graph, parameters and headers changed. */
static void test_damaged_package(void **state) {
    const struct zoo_case test = {.name = "tvm0.9/linked_params"};
    size_t size, library_size, opened = 0;
    uint32_t random = 4711;
    (void)state;
    zoo_need();
    free(zoo_read(&test, "deploy.so", &library_size));
    char *data = zoo_read(&test, "package.tar", &size);
    size_t end = size;
    while (data[end - 1] == '\0')
        end--;
    end = (end + 511) / 512 * 512;
    assert_true(opens(data, size) && opens(data, end + 512));
    for (size_t cut = 0; cut < end + 512; cut++)
        assert_false(opens(data, cut));
    for (int i = 0; i < 3000; i++) {
        random = random * 1664525 + 1013904223;
        size_t at = 512 + library_size + (random >> 8) % (end - library_size - 520);
        if (i % 8 == 0)
            at = random >> 23; /* in the first header */
        char saved = data[at];
        data[at] = (char)(random >> 16);
        opened += opens(data, size);
        data[at] = saved;
    }
    assert_in_range(opened, 1, 2000);
    free(data);
}

/* Memory */

/* The most that this process had, in KiB. */
static long peak(void) {
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file) && sscanf(line, "VmHWM: %ld", &value) != 1)
        continue;
    if (file)
        fclose(file);
    return value;
}

/* In a process of its own; 0: all is well. */
static int measure(const char *path, long weights) {
    long before = peak();
    struct tvm_module *library = open_library(path);
    long opened = peak();
    struct tvm_module *executors[] = {make_executor(library, "sums"),
                                      make_executor(library, "sums")};
    check_sums(executors[0], 0);
    check_sums(executors[1], 0);
    long after = peak();
    print_message("before: %ld KiB; opened: %ld KiB more; run: %ld KiB more\n", before,
                  opened - before, after - opened);
    return before < 0 || (opened - before < 5 << 10 && after - before < weights + (20 << 10)) ? 0
                                                                                              : 1;
}

/* A factory's weights are in memory once, and not before they are needed. */
static void test_memory(void **state) {
    const uint64_t size = 64 << 20;
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    blob_begin(3);
    blob_put_text("GraphExecutorFactory");
    blob_put_text(GRAPH);
    blob_put(2);
    blob_put(2);
    blob_put_text("w");
    blob_put_text("large");
    put_tensor(4, 0);
    put_tensor(size / sizeof(float), 0);
    size_t head = blob_size; /* zeros follow in the file */
    blob_put_text("sums");
    blob_put_text("_lib");
    TREE(LIST(0, 1, 1), LIST(1));
    blob_end(size);
    const char *file = fixture_write("blob.bin", blob, head);
    FILE *stream = fopen(file, "r+b");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, (long)(head + size), SEEK_SET), 0);
    assert_int_equal(fwrite(blob + head, 1, blob_size - head, stream), blob_size - head);
    fclose(stream);
    char flags[512];
    snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -DBLOB='\"%s\"'", file);
    const char *path = fixture_compile("large.so", flags, CODE);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(measure(path, (long)(size >> 10)));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_zoo),          LEAKS_TEST(test_both_keys),
        LEAKS_TEST(test_const_loader), LEAKS_TEST(test_linked_params),
        LEAKS_TEST(test_refused),      LEAKS_TEST(test_damage),
        LEAKS_TEST(test_real_damage),  LEAKS_TEST(test_damaged_package),
        LEAKS_TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
