/* The registry of global functions. */
#include "base/function.h"
#include "test/leaks.h"
#include "test/module_call.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int return_resource(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    (void)args, (void)count;
    *result = tvm_int((int64_t)(intptr_t)((struct tvm_function *)self)->resource);
    return 0;
}

static _Atomic int finalized;

static void count_finalized(void *resource) {
    (void)resource;
    finalized++;
}

static struct tvm_function *function_new(intptr_t number) {
    struct tvm_function *function;
    expect_ok(tvm_function_new(return_resource, (void *)number, count_finalized, &function));
    return function;
}

/* Registers a new function under name, leaving the registry as its only owner. */
static int set_new(const char *name, intptr_t number, bool override) {
    struct tvm_function *function = function_new(number);
    int status = tvm_registry_set(name, function, override);
    tvm_object_release(&function->object);
    return status;
}

/* What the function called name returns; -1 when there is none. */
static int64_t call_by_name(const char *name) {
    struct tvm_function *function;
    struct tvm_value result;
    expect_ok(tvm_registry_get(name, &function));
    if (!function)
        return -1;
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    tvm_object_release(&function->object);
    return result.v_int;
}

static void test_builtins_are_there(void **state) {
    (void)state;
    for (const struct tvm_builtin *builtin = tvm_builtins; builtin->name; builtin++) {
        struct tvm_function *function;
        expect_ok(tvm_registry_get(builtin->name, &function));
        assert_non_null(function);
        assert_ptr_equal(function->resource, builtin);
        tvm_object_release(&function->object);
    }
}

/* Each counts its arguments and says its own name, not that of another that does the same. */
static void test_builtins_count(void **state) {
    (void)state;
    struct tvm_value args[128] = {{0}}, result;
    char expected[128];
    for (const struct tvm_builtin *builtin = tvm_builtins; builtin->name; builtin++) {
        assert_true(builtin->min <= builtin->max);
        snprintf(expected, sizeof(expected), "%s: expected ", builtin->name);
        if (builtin->min > 0)
            expect_error(global_call(builtin->name, args, builtin->min - 1, &result),
                         TVM_VALUE_ERROR, expected);
        if (builtin->max < (int32_t)COUNT(args))
            expect_error(global_call(builtin->name, args, builtin->max + 1, &result),
                         TVM_VALUE_ERROR, expected);
    }
    expect_error(global_call("vm.builtin.make_closure", args, 0, &result), TVM_VALUE_ERROR,
                 "expected 1 argument or more, got 0");
}

static void test_set_get_remove(void **state) {
    (void)state;
    finalized = 0;
    assert_int_equal(call_by_name("test.f"), -1);
    expect_ok(set_new("test.f", 1, false));
    assert_int_equal(call_by_name("test.f"), 1);
    expect_error(set_new("test.f", 2, false), TVM_VALUE_ERROR,
                 "global function test.f is already registered");
    assert_int_equal(finalized, 1);
    assert_int_equal(call_by_name("test.f"), 1);
    expect_ok(set_new("test.f", 3, true));
    assert_int_equal(finalized, 2);
    assert_int_equal(call_by_name("test.f"), 3);

    struct tvm_function *kept;
    expect_ok(tvm_registry_get("test.f", &kept));
    expect_ok(tvm_registry_remove("test.f"));
    assert_int_equal(finalized, 2);
    tvm_object_release(&kept->object);
    assert_int_equal(finalized, 3);
    assert_int_equal(call_by_name("test.f"), -1);
    expect_error(tvm_registry_remove("test.f"), TVM_NOT_FOUND_ERROR,
                 "no global function is called test.f");
}

static void test_set_over_itself(void **state) {
    (void)state;
    finalized = 0;
    struct tvm_function *function = function_new(1);
    expect_ok(tvm_registry_set("test.self", function, false));
    expect_ok(tvm_registry_set("test.self", function, true));
    assert_int_equal(tvm_object_use_count(&function->object), 2);
    tvm_object_release(&function->object);
    expect_ok(tvm_registry_remove("test.self"));
    assert_int_equal(finalized, 1);
}

static void test_odd_names(void **state) {
    (void)state;
    static const char *const names[] = {"", " ", "a\nb", "\xff\xfe", "ünïcode", "%s%n"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        expect_ok(set_new(names[i], (intptr_t)i, false));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        assert_int_equal(call_by_name(names[i]), i);
        expect_error(set_new(names[i], 0, false), TVM_VALUE_ERROR, names[i]);
        expect_ok(tvm_registry_remove(names[i]));
        expect_error(tvm_registry_remove(names[i]), TVM_NOT_FOUND_ERROR, names[i]);
    }
}

enum { MANY = 5000 };

static const char *many_name(int i, char *buffer) {
    snprintf(buffer, 32, "test.many.%d", i);
    return buffer;
}

/* Enough names for several sizes of the table and for runs of collisions. */
static void test_many_names(void **state) {
    (void)state;
    char name[32];
    finalized = 0;
    for (int i = 0; i < MANY; i++)
        expect_ok(set_new(many_name(i, name), i, false));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(call_by_name(many_name(i, name)), i);
    for (int i = 0; i < MANY; i += 2)
        expect_ok(tvm_registry_remove(many_name(i, name)));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(call_by_name(many_name(i, name)), i % 2 ? i : -1);
    for (int i = 1; i < MANY; i += 2)
        expect_ok(tvm_registry_remove(many_name(i, name)));
    assert_int_equal(finalized, MANY);
    size_t before = leaks_bytes();
    for (int i = 0; i < MANY; i++) {
        expect_ok(set_new("test.many", i, false));
        expect_ok(tvm_registry_remove("test.many"));
    }
    assert_true(leaks_bytes() <= before); /* the table is no larger than needed at a time */
}

static void test_list(void **state) {
    (void)state;
    const char **before, **after;
    size_t count_before, count_after;
    expect_ok(tvm_registry_list(&before, &count_before));
    assert_true(count_before > 0);
    expect_ok(set_new("test.list", 0, false));
    expect_ok(tvm_registry_list(&after, &count_after));
    expect_ok(tvm_registry_remove("test.list"));
    assert_int_equal(count_after, count_before + 1);
    bool found = false;
    for (size_t i = 0; i < count_after; i++) {
        found |= strcmp(after[i], "test.list") == 0; /* the block outlives the entry */
        assert_true(i == 0 || strcmp(after[i - 1], after[i]) < 0);
    }
    assert_true(found);
    free(before);
    free(after);
}

static void test_success_keeps_the_error(void **state) {
    (void)state;
    struct tvm_function *function;
    tvm_raise(TVM_VALUE_ERROR, "from before");
    const struct tvm_error *raised = tvm_error_peek();
    expect_ok(tvm_registry_get("test.absent", &function));
    assert_ptr_equal(tvm_error_peek(), raised);
    expect_ok(set_new("test.f", 1, false));
    expect_ok(tvm_registry_remove("test.f"));
    expect_error(-1, TVM_VALUE_ERROR, "from before");
}

/* Finalizers may call the registry, wherever the last reference goes. */

static void use_registry(void *resource) {
    struct tvm_function *function;
    expect_ok(tvm_registry_get("test.none", &function));
    assert_null(function);
    count_finalized(resource);
}

static void set_with_registry_finalizer(const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_function_new(return_resource, NULL, use_registry, &function));
    expect_ok(tvm_registry_set(name, function, true));
    tvm_object_release(&function->object);
}

static void test_finalizers_use_the_registry(void **state) {
    (void)state;
    finalized = 0;
    set_with_registry_finalizer("test.finalizer");
    set_with_registry_finalizer("test.finalizer");
    assert_int_equal(finalized, 1);
    expect_ok(tvm_registry_remove("test.finalizer"));
    assert_int_equal(finalized, 2);
}

static void raise_with_registry_finalizer(void) {
    struct tvm_function *payload;
    expect_ok(tvm_function_new(return_resource, NULL, use_registry, &payload));
    tvm_raise_with_payload("GoError", "before", 6, &payload->object);
}

static void test_error_payloads_use_the_registry(void **state) {
    (void)state;
    finalized = 0;
    raise_with_registry_finalizer();
    expect_error(tvm_registry_remove("test.none"), TVM_NOT_FOUND_ERROR, "test.none");
    assert_int_equal(finalized, 1);
    expect_ok(set_new("test.f", 1, false));
    struct tvm_function *function = function_new(2);
    raise_with_registry_finalizer();
    expect_error(tvm_registry_set("test.f", function, false), TVM_VALUE_ERROR,
                 "already registered");
    assert_int_equal(finalized, 2);
    tvm_object_release(&function->object);
    expect_ok(tvm_registry_remove("test.f"));
}

/* All threads change, use and list the same few names. */

enum { THREADS = 8, ROUNDS = 2000 };

static void *use_names(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number;
    for (int i = 0; i < ROUNDS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "test.threads.%d", rand_r(&seed) % 5);
        struct tvm_function *function;
        struct tvm_value result;
        const char **names;
        size_t count;
        switch (rand_r(&seed) % 8) {
        case 0:
            if (tvm_function_new(return_resource, (void *)7, count_finalized, &function))
                return "tvm_function_new";
            if (tvm_registry_set(name, function, i % 2))
                drop_error();
            tvm_object_release(&function->object);
            break;
        case 1:
            if (tvm_registry_remove(name))
                drop_error();
            break;
        case 2:
            if (tvm_registry_list(&names, &count))
                return "tvm_registry_list";
            free(names);
            break;
        default:
            if (tvm_registry_get(name, &function))
                return "tvm_registry_get";
            if (!function)
                break;
            if (tvm_function_call(function, NULL, 0, &result) || result.v_int != 7)
                return "tvm_function_call";
            tvm_object_release(&function->object);
        }
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    int64_t live = tvm_object_live_count();
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_names, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *problem;
        assert_int_equal(pthread_join(threads[i], &problem), 0);
        assert_null(problem);
    }
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof(name), "test.threads.%d", i);
        if (tvm_registry_remove(name))
            drop_error();
    }
    assert_int_equal(tvm_object_live_count(), live);
}

static void *list_names(void *stop) {
    while (!atomic_load((atomic_bool *)stop)) {
        const char **names;
        size_t count;
        if (tvm_registry_list(&names, &count) == 0)
            free(names);
    }
    return NULL;
}

/* A process that is forked can use the registry, whatever another thread was doing in it. */
static void test_fork(void **state) {
    (void)state;
    pthread_t thread;
    atomic_bool stop = false;
    assert_int_equal(pthread_create(&thread, NULL, list_names, &stop), 0);
    for (int i = 0; i < 50; i++) {
        struct tvm_function *function;
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(tvm_registry_get("test.absent", &function) ? 1 : 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtins_are_there),
        cmocka_unit_test(test_builtins_count),
        cmocka_unit_test(test_set_get_remove),
        cmocka_unit_test(test_set_over_itself),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_success_keeps_the_error),
        cmocka_unit_test(test_finalizers_use_the_registry),
        cmocka_unit_test(test_error_payloads_use_the_registry),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
