#include "test/zoo.h"

#include "module/library.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *zoo_path(const char *name) {
    static char paths[4][PATH_MAX];
    static unsigned next;
    const char *folder = getenv("GOTVM_TESTDATA");
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", folder && *folder ? folder : "gotvm/testdata", name);
    return path;
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s: run the tests in the repository's root", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    data[*size] = '\0';
    fclose(file);
    return data;
}

/* An ELF file's class and machine. */
static unsigned machine(const char *path) {
    unsigned char head[20];
    FILE *file = fopen(path, "rb");
    if (!file || fread(head, 1, sizeof(head), file) != sizeof(head))
        fail_msg("cannot read %s: run the tests in the repository's root", path);
    fclose(file);
    return (unsigned)head[4] << 16 | (unsigned)head[19] << 8 | head[18];
}

bool zoo_fits(void) {
    return machine(zoo_path("lib/myadd.so")) == machine("/proc/self/exe");
}

void zoo_need(void) {
    if (zoo_fits())
        return;
    if (getenv("GOTVM_TESTDATA"))
        fail_msg("%s is for another machine", zoo_path(""));
    skip();
}

struct zoo_case *zoo_cases(size_t *count) {
    zoo_need();
    *count = 0;
    size_t size;
    char *text = read_file(zoo_path("models/manifest.json"), &size);
    cJSON *manifest = cJSON_Parse(text), *item;
    assert_true(cJSON_IsArray(manifest));
    struct zoo_case *cases = calloc((size_t)cJSON_GetArraySize(manifest) + 1, sizeof(*cases));
    assert_non_null(cases);
    cJSON_ArrayForEach(item, manifest) {
        struct zoo_case *test = &cases[(*count)++];
        snprintf(test->name, sizeof(test->name), "%s",
                 cJSON_GetObjectItem(item, "dir")->valuestring);
        test->rtol = cJSON_GetObjectItem(item, "rtol")->valuedouble;
        test->atol = cJSON_GetObjectItem(item, "atol")->valuedouble;
        const cJSON *package;
        cJSON_ArrayForEach(package, cJSON_GetObjectItem(item, "packages")) {
            assert_true(test->package_count < 4);
            snprintf(test->packages[test->package_count++], sizeof(*test->packages), "%s",
                     package->valuestring);
        }
    }
    cJSON_Delete(manifest);
    free(text);
    return cases;
}

const char *zoo_case_path(const struct zoo_case *test, const char *file) {
    char name[128];
    snprintf(name, sizeof(name), "models/%s/%s", test->name, file);
    return zoo_path(name);
}

char *zoo_read(const struct zoo_case *test, const char *file, size_t *size) {
    return read_file(zoo_case_path(test, file), size);
}

static void ok(const struct zoo_case *test, int status) {
    if (status)
        fail_msg("%s: %s", test->name, tvm_error_peek()->message.data);
}

struct tvm_module *zoo_library(const struct zoo_case *test) {
    struct tvm_module *library = NULL;
    ok(test, tvm_library_open(zoo_case_path(test, "deploy.so"), &library));
    return library;
}

static struct tvm_graph_params *read_params(const struct zoo_case *test, const char *file) {
    struct tvm_graph_params *params = NULL;
    size_t size;
    char *data = zoo_read(test, file, &size);
    ok(test, tvm_graph_params_new(file, data, size, (DLDevice){kDLCPU, 0}, &params));
    free(data);
    return params;
}

struct tvm_graph_params *zoo_reference(const struct zoo_case *test) {
    return read_params(test, "reference.params");
}

struct tvm_tensor *zoo_output(const struct tvm_graph_params *reference, size_t index) {
    char name[32];
    int size = snprintf(name, sizeof(name), "out:%zu", index);
    return tvm_graph_params_find(reference, (struct tvm_bytes){name, (size_t)size});
}

/* Element i as a number. */
static double element(const DLTensor *tensor, size_t i) {
    const unsigned char *at = (const unsigned char *)tensor->data + tensor->byte_offset +
                              i * tvm_dtype_nbytes(tensor->dtype);
    uint64_t bits = 0;
    memcpy(&bits, at, tvm_dtype_nbytes(tensor->dtype));
    int width = tensor->dtype.bits;
    if (tensor->dtype.code == kDLFloat && width == 16) {
        int exponent = (int)(bits >> 10 & 31), mantissa = (int)(bits & 1023);
        double value = exponent == 0    ? ldexp(mantissa, -24)
                       : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                        : ldexp(mantissa + 1024, exponent - 25);
        return bits >> 15 ? -value : value;
    }
    if (tensor->dtype.code == kDLFloat && width == 64) {
        double value;
        memcpy(&value, at, 8);
        return value;
    }
    if (tensor->dtype.code == kDLFloat || tensor->dtype.code == TVM_DTYPE_BFLOAT) {
        uint32_t word = (uint32_t)(tensor->dtype.code == kDLFloat ? bits : bits << 16);
        float value;
        memcpy(&value, &word, 4);
        return (double)value;
    }
    if (tensor->dtype.code == kDLInt)
        return (double)((int64_t)(bits << (64 - width)) >> (64 - width));
    return (double)bits;
}

void zoo_compare(const struct zoo_case *test, const struct tvm_graph_params *reference,
                 size_t index, const DLTensor *actual) {
    const struct tvm_tensor *expected = zoo_output(reference, index);
    size_t count;
    if (!expected)
        fail_msg("%s: there is no reference for output %zu", test->name, index);
    assert_true(tvm_dtype_equal(expected->dl.dtype, actual->dtype));
    assert_int_equal(expected->dl.ndim, actual->ndim);
    for (int i = 0; i < actual->ndim; i++)
        assert_int_equal(expected->dl.shape[i], actual->shape[i]);
    assert_int_equal(tvm_shape_count(actual->shape, actual->ndim, &count), 0);
    for (size_t i = 0; i < count; i++) {
        double want = element(&expected->dl, i), have = element(actual, i);
        bool equal = want == have || (isnan(want) && isnan(have)) ||
                     fabs(want - have) <= test->atol + test->rtol * fabs(want);
        if (!equal)
            fail_msg("%s: output %zu, element %zu: expected %.9g, got %.9g", test->name, index, i,
                     want, have);
    }
}

void zoo_set_inputs(const struct zoo_case *test, struct tvm_graph_session *session,
                    const struct tvm_graph_params *reference) {
    const struct tvm_graph_plan *plan = tvm_graph_session_plan(session);
    for (size_t i = 0; i < tvm_graph_params_count(reference); i++) {
        struct tvm_bytes name = tvm_graph_params_name(reference, i);
        size_t index;
        if (strncmp(name.data, "in:", 3) != 0)
            continue;
        assert_true(tvm_graph_plan_find_input(
            plan, (struct tvm_bytes){name.data + 3, name.size - 3}, &index));
        ok(test,
           tvm_graph_session_set_input(session, index, &tvm_graph_params_tensor(reference, i)->dl));
    }
}

struct tvm_graph_session *zoo_session(const struct zoo_case *test,
                                      const struct tvm_graph_params *reference) {
    DLDevice cpu = {kDLCPU, 0};
    struct tvm_graph_plan *plan = NULL;
    struct tvm_graph_session *session = NULL;
    struct tvm_module *library = zoo_library(test);
    struct tvm_graph_params *params = read_params(test, "deploy.params");
    size_t size;
    char *json = zoo_read(test, "deploy.json", &size);
    ok(test, tvm_graph_plan_new("deploy.json", json, size, &plan));
    ok(test, tvm_graph_session_new(plan, library, params, &cpu, 1, NULL, &session));
    free(json);
    if (reference)
        zoo_set_inputs(test, session, reference);
    tvm_object_release((struct tvm_object *)plan);
    tvm_object_release((struct tvm_object *)params);
    tvm_object_release(&library->object);
    return session;
}
