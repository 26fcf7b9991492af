/* Models that the pinned compilers made, against references of numpy and onnxruntime. */
#include "test/expect.h"
#include "test/relax_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static double number(const cJSON *entry, const char *name) {
    return cJSON_GetObjectItem(entry, name)->valuedouble;
}

static void run_call(const char *where, const cJSON *entry, const cJSON *call,
                     struct tvm_relax_session *session, struct tvm_map *reference,
                     struct tvm_map *params) {
    struct tvm_relax_executable *executable = tvm_relax_session_executable(session);
    const cJSON *args = cJSON_GetObjectItem(call, "args");
    struct tvm_value values[16], result;
    int count = 0;
    const cJSON *arg;
    for (arg = relax_first(args); arg; arg = arg->next)
        values[count++] = relax_value(arg, reference, params);
    size_t function =
        relax_function(executable, cJSON_GetObjectItem(call, "function")->valuestring);
    if (tvm_relax_session_call(session, function, values, count, &result))
        fail_msg("%s: %s: %s", where, cJSON_GetObjectItem(call, "function")->valuestring,
                 tvm_error_peek()->message.data);
    relax_expect(where, &result, cJSON_GetObjectItem(call, "result"), reference,
                 number(entry, "rtol"), number(entry, "atol"));
    tvm_value_clear(&result);
    for (int i = 0; i < count; i++)
        tvm_value_clear(&values[i]);
}

static void run_library(const cJSON *entry, const char *file) {
    const char *folder = cJSON_GetObjectItem(entry, "dir")->valuestring;
    const cJSON *params_file = cJSON_GetObjectItem(entry, "params");
    char where[256];
    struct tvm_map *params =
        cJSON_IsString(params_file) ? relax_tensors(folder, params_file->valuestring) : NULL;
    struct tvm_map *reference = relax_tensors(folder, "reference.params");
    struct tvm_relax_executable *executable = relax_open(folder, file);
    struct tvm_relax_session *session = relax_session(executable);
    snprintf(where, sizeof(where), "%s/%s", folder, file);
    for (int round = 0; round < 2; round++) { /* the second time memory is used again */
        const cJSON *call;
        for (call = relax_first(cJSON_GetObjectItem(entry, "calls")); call; call = call->next)
            run_call(where, entry, call, session, reference, params);
    }
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release((struct tvm_object *)executable);
    tvm_object_release(&reference->object);
    if (params)
        tvm_object_release(&params->object);
}

static void run_mode(const char *mode) {
    cJSON *manifest = relax_manifest();
    int done = 0;
    const cJSON *entry;
    int64_t before = tvm_object_live_count();
    for (entry = relax_first(manifest); entry; entry = entry->next) {
        const cJSON *library = cJSON_GetObjectItem(cJSON_GetObjectItem(entry, "libs"), mode);
        if (!library || !relax_runs_here(entry))
            continue;
        if (getenv("RELAX_TEST_VERBOSE"))
            printf("%s %s\n", cJSON_GetObjectItem(entry, "dir")->valuestring, mode);
        run_library(entry, library->valuestring);
        done++;
    }
    assert_true(done >= 20);
    assert_int_equal(tvm_object_live_count(), before);
    cJSON_Delete(manifest);
}

static void test_bytecode(void **state) {
    (void)state;
    run_mode("bytecode");
}

static void test_compiled(void **state) {
    (void)state;
    run_mode("compiled");
}

/* Names, and the dtypes and shapes that the manifest knows from the compiler. */
static void test_infos(void **state) {
    (void)state;
    cJSON *manifest = relax_manifest();
    const cJSON *entry, *function, *param, *library;
    int known = 0, all = 0;
    for (entry = relax_first(manifest); entry; entry = entry->next) {
        for (library = relax_first(cJSON_GetObjectItem(entry, "libs")); library;
             library = library->next) {
            if (!relax_runs_here(entry))
                continue;
            struct tvm_relax_executable *executable =
                relax_open(cJSON_GetObjectItem(entry, "dir")->valuestring, library->valuestring);
            for (function = relax_first(cJSON_GetObjectItem(entry, "functions")); function;
                 function = function->next) {
                size_t index =
                    relax_function(executable, cJSON_GetObjectItem(function, "name")->valuestring);
                size_t i = 0;
                for (param = relax_first(cJSON_GetObjectItem(function, "params")); param;
                     param = param->next) {
                    struct tvm_relax_info info = tvm_relax_param(executable, index, i++);
                    char dtype[TVM_DTYPE_TEXT_SIZE];
                    assert_string_equal(info.name.data,
                                        cJSON_GetObjectItem(param, "name")->valuestring);
                    all++;
                    if (!info.is_tensor)
                        continue;
                    known++;
                    assert_string_equal(tvm_dtype_print(info.dtype, dtype),
                                        cJSON_GetObjectItem(param, "dtype")->valuestring);
                    const cJSON *shape = cJSON_GetObjectItem(param, "shape");
                    if (!cJSON_IsArray(shape)) {
                        assert_null(info.shape);
                        continue;
                    }
                    assert_int_equal(info.ndim, cJSON_GetArraySize(shape));
                    for (int d = 0; d < info.ndim; d++)
                        assert_int_equal(info.shape[d],
                                         (int64_t)cJSON_GetArrayItem(shape, d)->valuedouble);
                }
                assert_int_equal(tvm_relax_param_count(executable, index), i);
            }
            tvm_object_release((struct tvm_object *)executable);
        }
    }
    print_message("%d of %d parameters are known\n", known, all);
    assert_true(known * 10 > all * 6);
    cJSON_Delete(manifest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytecode),
        cmocka_unit_test(test_compiled),
        cmocka_unit_test(test_infos),
    };
    relax_register_callbacks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
