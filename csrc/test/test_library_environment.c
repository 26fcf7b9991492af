/* What compiled libraries ask of their environment, and how long they keep it: also of many threads
 * that open and close them. */
#include "module/library.h"
#include "test/counter_fixture.h"
#include "test/graph_fixture.h"
#include "test/leaks.h"
#include "test/library_fixture.h"
#include "test/module_call.h"

#include <pthread.h>
#include <stdio.h>

/* ask(name) calls what TVMBackendGetFuncFromEnv gives; ask_kept(name) does too, and keeps the
 * handle for the next time in a static variable, as TVM's LLVM code does. */
#define ASKER                                                                                      \
    COUNTER                                                                                        \
    "void *__tvm_module_ctx; static void *kept;\n"                                                 \
    "int (*__TVMBackendGetFuncFromEnv)(void *, const char *, void **);\n"                          \
    "int (*__TVMFuncCall)(void *, union v *, int *, int, union v *, int *);\n"                     \
    "int ask" PARAMETERS " { void *f;\n"                                                           \
    " if (__TVMBackendGetFuncFromEnv(__tvm_module_ctx, a->p, &f)) return -1;\n"                    \
    " return __TVMFuncCall(f, a, c, 0, r, rc); }\n"                                                \
    "int ask_kept" PARAMETERS " { void *f = kept;\n"                                               \
    " if (!f && __TVMBackendGetFuncFromEnv(__tvm_module_ctx, a->p, &f)) return -1;\n"              \
    " kept = f; return __TVMFuncCall(f, a, c, 0, r, rc); }\n"

static struct tvm_module *open_asker(const char *name, const char *flags) {
    char all[128];
    snprintf(all, sizeof(all), FIXTURE_LIBRARY " -DVALUE=1 %s", flags);
    return counter_open(fixture_compile(name, all, ASKER));
}

static int finalized;

static void count_finalized(void *resource) {
    finalized += *(int *)resource;
}

static int return_resource(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    (void)args, (void)count;
    *result = tvm_int(*(int *)((struct tvm_function *)self)->resource);
    return 0;
}

static int fail_kindly(void *self, const struct tvm_value *args, int32_t count,
                       struct tvm_value *result) {
    (void)self, (void)args, (void)count, (void)result;
    return tvm_raise(TVM_INDEX_ERROR, "from below");
}

static void set_global(const char *name, tvm_safe_call *call, int *resource) {
    struct tvm_function *function;
    expect_ok(tvm_function_new(call, resource, resource ? count_finalized : NULL, &function));
    expect_ok(tvm_registry_set(name, function, true));
    tvm_object_release(&function->object);
}

static void test_environment(void **state) {
    static int one = 1, two = 2;
    struct tvm_value name = tvm_raw_string("test.env"), result;
    (void)state;
    finalized = 0;
    struct tvm_module *module = open_asker("asker.so", "");
    expect_error(module_call(module, "ask", &name, 1, &result), TVM_NOT_FOUND_ERROR,
                 "asker.so: calls the function test.env, which is neither registered");
    set_global("test.env", return_resource, &one);
    expect_ok(module_call(module, "ask", &name, 1, &result));
    assert_int_equal(result.v_int, 1);
    set_global("test.env", return_resource, &two); /* what was given out stays */
    assert_int_equal(finalized, 0);
    expect_ok(module_call(module, "ask_kept", &name, 1, &result));
    assert_int_equal(result.v_int, 1);
    expect_ok(tvm_registry_remove("test.env"));
    assert_int_equal(finalized, 2);
    expect_ok(module_call(module, "ask_kept", &name, 1, &result));
    fixture_release(module); /* until the library is unmapped */
    assert_int_equal(finalized, 3);

    module = open_asker("asker.so", "");
    set_global("test.env", fail_kindly, NULL);
    expect_error(module_call(module, "ask", &name, 1, &result), TVM_INDEX_ERROR, "from below");
    expect_ok(tvm_registry_remove("test.env"));
    fixture_release(module);
}

static void test_environment_imports(void **state) {
    static int one = 1;
    struct tvm_value name = tvm_raw_string("answer"), result;
    (void)state;
    set_global("answer", return_resource, &one);
    struct tvm_module *asker = open_asker("asker.so", "-Dnext=next2");
    struct tvm_module *other = counter_open(counter_compile("imported.so", 77));
    struct tvm_module *between =
        counter_open(fixture_compile("between.so", FIXTURE_LIBRARY, "int between;"));
    expect_ok(tvm_module_import(between, other));
    expect_ok(tvm_module_import(asker, between));
    fixture_release(between);
    fixture_release(other);
    expect_ok(module_call(asker, "ask", &name, 1, &result)); /* not its own, nor the global one */
    assert_int_equal(result.v_int, 77);
    name = tvm_raw_string("ask");
    expect_error(module_call(asker, "ask", &name, 1, &result), TVM_NOT_FOUND_ERROR,
                 "the function ask,");
    fixture_release(asker);
    assert_int_equal(counter_loaded, 0);

    struct tvm_function *first, *second;
    expect_ok(tvm_library_env_function(NULL, "answer", &first));
    expect_ok(tvm_library_env_function(NULL, "answer", &second));
    assert_ptr_equal(first, second);
    expect_error(tvm_library_env_function(NULL, "test.none", &first), TVM_NOT_FOUND_ERROR,
                 "linked into the program: calls the function test.none");
    expect_ok(tvm_registry_remove("answer"));
}

/* A library that the dynamic linker does not unload keeps what it remembers, and so must we. */
static void test_not_unloaded(void **state) {
    static int one = 1;
    struct tvm_value name = tvm_raw_string("test.env"), result;
    (void)state;
    finalized = 0;
    set_global("test.env", return_resource, &one);
    struct tvm_module *module = open_asker("resident.so", "-Wl,-z,nodelete");
    char path[256];
    snprintf(path, sizeof(path), "%s", fixture_path("resident.so"));
    expect_ok(module_call(module, "ask_kept", &name, 1, &result));
    expect_ok(tvm_registry_remove("test.env"));
    int counted = (int)counter_call(module, "next");
    fixture_release(module);
    assert_int_equal(finalized, 0);
    struct tvm_module *other = counter_open(counter_compile("other.so", 5)); /* not on its number */
    assert_int_equal(counter_call(other, "answer"), 5);
    module = counter_open(path);
    assert_int_equal(counter_call(module, "next"), counted + 1);
    expect_ok(module_call(module, "ask_kept", &name, 1, &result));
    assert_int_equal(result.v_int, 1);
    fixture_release(module);
    fixture_release(other);
    assert_int_equal(counter_loaded, 1); /* for good */
    atomic_store(&counter_loaded, 0);
}

/* Threads */

enum { THREADS = 8, ROUNDS = 300 };

static char shared_paths[2][256];

/* Opens, calls and drops libraries as fast as it can: mostly the last reference goes while another
 * thread asks for a new one. */
static void *open_and_close(void *argument) {
    uintptr_t number = (uintptr_t)argument;
    for (uintptr_t i = 0; i < ROUNDS; i++) {
        struct tvm_module *module;
        struct tvm_function *function;
        struct tvm_value result, name = tvm_raw_string("test.env");
        uintptr_t which = (number + i / 3) % 2;
        if (tvm_library_open(shared_paths[which], &module) ||
            tvm_module_get_function(module, i % 2 ? "answer" : "ask_kept", false, &function))
            return "cannot open it";
        fixture_release(module);
        if (tvm_function_call(function, &name, 1, &result))
            return "the call failed";
        tvm_object_release(&function->object);
        if (result.v_int != (i % 2 ? (int64_t)which : 30))
            return "another library answered";
    }
    return NULL;
}

static void test_threads(void **state) {
    static int thirty = 30;
    pthread_t threads[THREADS];
    (void)state;
    finalized = 0;
    set_global("test.env", return_resource, &thirty);
    for (int i = 0; i < 2; i++) {
        char name[32], flags[64];
        snprintf(name, sizeof(name), "thread%d.so", i);
        snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -DVALUE=%d", i);
        snprintf(shared_paths[i], sizeof(shared_paths[i]), "%s",
                 fixture_compile(name, flags, ASKER));
    }
    int before = counter_loads;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *problem;
        assert_int_equal(pthread_join(threads[i], &problem), 0);
        if (problem)
            fail_msg("%s", (const char *)problem);
    }
    assert_int_equal(counter_loaded, 0);
    assert_true(counter_loads > before);
    expect_ok(tvm_registry_remove("test.env"));
    assert_int_equal(finalized, 30); /* no image still holds it */
}

int main(void) {
    /* Without a look at leaks: what is asked for by nobody, and what stays loaded, is kept. */
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_environment),
        cmocka_unit_test(test_environment_imports),
        LEAKS_TEST(test_threads),
        cmocka_unit_test(test_not_unloaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
