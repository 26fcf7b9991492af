/* All that programs do, right and wrong, from 32 threads at once. GOTVM_SOAK says for how long, as
 * in "30s" or "2m"; `make soak` does it for minutes, under the thread sanitizer. */
#include "base/classic.h"
#include "base/os.h"
#include "include/tvm_runtime.h"
#include "module/library.h"
#include "test/expect.h"
#include "test/graph_fixture.h"
#include "test/relax_fixture.h"
#include "test/zoo.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 32, RUNS = 4, ITEMS = 16 };

static const char *const names[] = {
    "tvm0.19/conv",         "tvm0.19/dense",        "tvm0.19/parallel", "tvm0.19/workspace",
    "tvm0.19/multi_output", "tvm0.19/input_output", "tvm0.19/reshape",  "tvm0.19/lstm"};
enum { MODELS = sizeof(names) / sizeof(*names) };

static const DLDevice cpu = {kDLCPU, 0};

/* A model that all threads share. */
static struct model {
    struct zoo_case test;
    char library_path[512];
    char *json, *params_data, *library_data;
    size_t json_size, params_size, library_size;
    struct tvm_module *library;
    struct tvm_graph_plan *plan;
    struct tvm_graph_params *params, *reference;
} models[MODELS];

/* A Relax model that all threads share. */
static struct relax_model {
    struct tvm_relax_executable *executable;
    struct tvm_map *reference;
    cJSON *expected;
    struct tvm_value input;
    size_t function;
} relax_models[2];

static char callpacked_path[512];
static struct tvm_graph_session *busy; /* everybody runs it */
static _Atomic bool stop;
static _Atomic long items, made, finalized;

/* For the thread sanitizer. Libraries are mapped where others were before; what orders that, the
 * dynamic linker's lock, it does not see. */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void) {
    return "race:set_pointer\n";
}

/* What one thread works with. */
struct soaker {
    unsigned seed;
    pthread_mutex_t lock; /* of cancellable */
    struct tvm_graph_session *cancellable;
    long actions;
};
static struct soaker soakers[THREADS];

/* A thread cannot leave the test by longjmp, as cmocka does. */
#define check(condition) check_at(condition, #condition, __LINE__)

static void check_at(bool condition, const char *text, int line) {
    if (condition)
        return;
    const struct tvm_error *error = tvm_error_peek();
    fprintf(stderr, "line %d: not true: %s; last error: %s\n", line, text,
            error ? error->message.data : "none");
    abort();
}

/* Takes the raised error, which must be of this kind. */
static void check_error(int status, const char *kind) {
    check(status == -1);
    struct tvm_error *error = tvm_error_take();
    check(error && strcmp(error->kind.data, kind) == 0);
    tvm_object_release(&error->object);
}

static unsigned random_below(struct soaker *soaker, unsigned limit) {
    return (unsigned)rand_r(&soaker->seed) % limit;
}

static void release(void *object) {
    tvm_object_release(object);
}

/* The inputs of a reference, by their position in the plan. */
static void each_input(struct tvm_graph_session *session, const struct model *model,
                       int (*give)(struct tvm_graph_session *, size_t, const DLTensor *)) {
    for (size_t i = 0; i < tvm_graph_params_count(model->reference); i++) {
        struct tvm_bytes name = tvm_graph_params_name(model->reference, i);
        size_t index;
        if (strncmp(name.data, "in:", 3) != 0)
            continue;
        struct tvm_bytes input = {name.data + 3, name.size - 3};
        check(tvm_graph_plan_find_input(tvm_graph_session_plan(session), input, &index));
        check(give(session, index, &tvm_graph_params_tensor(model->reference, i)->dl) == 0);
    }
}

static void compare(struct tvm_graph_session *session, const struct model *model) {
    for (size_t i = 0; i < tvm_graph_plan_output_count(tvm_graph_session_plan(session)); i++) {
        struct tvm_tensor *output;
        check(tvm_graph_session_get_output(session, i, &output) == 0);
        zoo_compare(&model->test, model->reference, i, &output->dl);
        release(output);
    }
}

static void run_and_compare(struct tvm_graph_session *session, const struct model *model) {
    check(tvm_graph_session_run(session) == 0);
    compare(session, model);
}

static struct tvm_graph_session *new_session(const struct model *model) {
    struct tvm_graph_session *session;
    check(tvm_graph_session_new(model->plan, model->library, model->params, &cpu, 1, NULL,
                                &session) == 0);
    return session;
}

/* The actions. */

/* Opens a model anew and gives its parts back before the session runs. */
static void act_open(struct soaker *soaker, const struct model *model) {
    struct tvm_module *library;
    struct tvm_graph_plan *plan;
    struct tvm_graph_params *params;
    struct tvm_graph_session *session;
    if (random_below(soaker, 2))
        check(tvm_library_open(model->library_path, &library) == 0);
    else
        check(tvm_library_open_bytes("bytes", model->library_data, model->library_size, &library) ==
              0);
    check(tvm_graph_plan_new("graph", model->json, model->json_size, &plan) == 0);
    check(tvm_graph_params_new("params", model->params_data, model->params_size, cpu, &params) ==
          0);
    check(tvm_graph_session_new(plan, library, params, &cpu, 1, NULL, &session) == 0);
    release(plan);
    release(params);
    release(library);
    tvm_graph_session_context(session)->thread_limit = (int)random_below(soaker, 3);
    each_input(session, model, tvm_graph_session_set_input);
    run_and_compare(session, model);
    release(session);
}

static void act_session(struct soaker *soaker, const struct model *model) {
    (void)soaker;
    struct tvm_graph_session *session = new_session(model);
    each_input(session, model, tvm_graph_session_set_input);
    for (int i = 0; i < RUNS; i++)
        run_and_compare(session, model);
    release(session);
}

static int bind_without_owner(struct tvm_graph_session *session, size_t index,
                              const DLTensor *value) {
    return tvm_graph_session_bind_input(session, index, value, NULL);
}

/* Runs with bound memory, that of outputs given back to the session. */
static void act_bind(struct soaker *soaker, const struct model *model) {
    (void)soaker;
    struct tvm_graph_session *session = new_session(model);
    each_input(session, model, bind_without_owner);
    for (size_t i = 0; i < tvm_graph_plan_output_count(model->plan); i++) {
        struct tvm_graph_tensor_info info = tvm_graph_plan_output(model->plan, i);
        struct tvm_tensor *output;
        check(tvm_tensor_empty(info.shape, info.ndim, info.dtype, cpu, &output) == 0);
        check(tvm_graph_session_bind_output(session, i, &output->dl, &output->object) == 0);
        release(output);
    }
    run_and_compare(session, model);
    run_and_compare(session, model);
    release(session);
}

static void set_cancellable(struct soaker *soaker, struct tvm_graph_session *session) {
    pthread_mutex_lock(&soaker->lock);
    soaker->cancellable = session;
    pthread_mutex_unlock(&soaker->lock);
}

/* Lets cancel_main cancel runs at any moment. */
static void act_cancel(struct soaker *soaker, const struct model *model) {
    struct tvm_graph_session *session = new_session(model);
    each_input(session, model, tvm_graph_session_set_input);
    for (int i = 0; i < RUNS; i++) {
        set_cancellable(soaker, session);
        int status = tvm_graph_session_run(session);
        set_cancellable(soaker, NULL);
        if (status)
            check_error(status, TVM_CANCELLED_ERROR);
        else
            compare(session, model);
        tvm_graph_session_context(session)->cancelled = false;
        run_and_compare(session, model);
    }
    release(session);
}

static void act_busy(struct soaker *soaker, const struct model *model) {
    (void)soaker, (void)model;
    int status = tvm_graph_session_run(busy);
    if (status)
        check_error(status, TVM_BUSY_ERROR);
}

static int fail_or_add(TVMValue *args, int *codes, int count, TVMRetValueHandle result,
                       void *resource) {
    (void)codes, (void)count, (void)resource;
    if (args[0].v_int64 < 0) {
        TVMAPISetLastError("negative");
        return -1;
    }
    TVMValue sum = {.v_int64 = args[0].v_int64 + args[1].v_int64};
    return TVMCFuncSetReturn(result, &sum, &(int){kTVMArgInt}, 1);
}

static void count_final(void *resource) {
    (void)resource;
    finalized++;
}

static void call_add(TVMFunctionHandle function, struct soaker *soaker) {
    TVMValue args[] = {{.v_int64 = random_below(soaker, 1000)}, {.v_int64 = 7}}, result;
    int codes[] = {kTVMArgInt, kTVMArgInt}, code;
    check(TVMFuncCall(function, args, codes, 2, &result, &code) == 0);
    check(code == kTVMArgInt && result.v_int64 == args[0].v_int64 + 7);
    args[0].v_int64 = -1;
    check(TVMFuncCall(function, args, codes, 2, &result, &code) == -1);
    check(strstr(TVMGetLastError(), "negative") != NULL);
}

/* Callbacks, with and without a name. */
static void act_callback(struct soaker *soaker, const struct model *model) {
    (void)model;
    TVMFunctionHandle function, found;
    char name[64];
    snprintf(name, sizeof(name), "soak.%d", (int)(soaker - soakers));
    made++;
    check(TVMFuncCreateFromCFunc(fail_or_add, NULL, count_final, &function) == 0);
    check(TVMFuncRegisterGlobal(name, function, 0) == 0);
    check(TVMFuncRegisterGlobal(name, function, 0) == -1);
    check(TVMFuncFree(function) == 0);
    check(TVMFuncGetGlobal(name, &found) == 0 && found);
    check(TVMFuncRemoveGlobal(name) == 0);
    call_add(found, soaker);
    check(TVMFuncFree(found) == 0);
    check(TVMFuncGetGlobal(name, &found) == 0 && !found);
}

static int count_item(TVMValue *args, int *codes, int count, TVMRetValueHandle result,
                      void *resource) {
    (void)args, (void)codes, (void)count, (void)result, (void)resource;
    items++;
    return 0;
}

/* Compiled code that calls back from a parallel loop. */
static void act_compiled_code(struct soaker *soaker, const struct model *model) {
    (void)soaker, (void)model;
    struct tvm_module *library;
    struct tvm_function *function;
    struct tvm_tensor *x;
    struct tvm_value result;
    check(tvm_library_open(callpacked_path, &library) == 0);
    check(tvm_module_get_function(library, "call_parallel", false, &function) == 0 && function);
    release(library);
    check(tvm_tensor_empty((int64_t[]){4}, 1, (DLDataType){kDLFloat, 32, 1}, cpu, &x) == 0);
    struct tvm_value arg = tvm_from_object(x);
    long before = items;
    check(tvm_function_call(function, &arg, 1, &result) == 0);
    check(items >= before + ITEMS);
    release(x);
    release(function);
}

static void act_errors(struct soaker *soaker, const struct model *model) {
    struct tvm_graph_plan *plan;
    struct tvm_graph_params *params;
    struct tvm_module *library;
    struct tvm_tensor *wrong;
    size_t cut = random_below(soaker, (unsigned)model->json_size - 2);
    check_error(tvm_graph_plan_new("graph", model->json, cut, &plan), TVM_FORMAT_ERROR);
    cut = random_below(soaker, (unsigned)model->params_size - 1);
    check_error(tvm_graph_params_new("params", model->params_data, cut, cpu, &params),
                TVM_FORMAT_ERROR);
    check(tvm_library_open_bytes("graph", model->json, model->json_size, &library) == -1);
    struct tvm_graph_session *session = new_session(model);
    check_error(tvm_graph_session_set_inputs(session, NULL, 0), TVM_VALUE_ERROR);
    check(tvm_tensor_empty((int64_t[]){7, 7}, 2, (DLDataType){kDLInt, 8, 1}, cpu, &wrong) == 0);
    check(tvm_graph_session_set_input(session, 0, &wrong->dl) == -1);
    each_input(session, model, tvm_graph_session_set_input);
    run_and_compare(session, model);
    release(wrong);
    release(session);
}

struct stages {
    _Atomic int arrived[2];
};

static int cross_barrier(int task, TVMParallelGroupEnv *env, void *closure) {
    struct stages *stages = closure;
    for (int i = 0; i < 2; i++) {
        stages->arrived[i]++;
        if (TVMBackendParallelBarrier(task, env))
            return -1;
        check(stages->arrived[i] == env->num_task);
    }
    return 0;
}

static void act_barrier(struct soaker *soaker, const struct model *model) {
    (void)model;
    struct stages stages = {{0, 0}};
    check(TVMBackendParallelLaunch(cross_barrier, &stages, (int)random_below(soaker, 4)) == 0);
}

static void relax_run(struct tvm_relax_session *session, const struct relax_model *model) {
    struct tvm_value result;
    check(tvm_relax_session_call(session, model->function, &model->input, 1, &result) == 0);
    relax_expect("relax", &result, model->expected, model->reference, 1e-4, 1e-5);
    tvm_value_clear(&result);
}

/* Sessions of a Relax executable; a cancelled call leaves them as good as they were. */
static void act_relax(struct soaker *soaker, const struct model *unused) {
    (void)unused;
    const struct relax_model *model = &relax_models[random_below(soaker, 2)];
    struct tvm_relax_session *session;
    struct tvm_value result;
    check(tvm_relax_session_new(model->executable, cpu, &session) == 0);
    for (int i = 0; i < RUNS; i++) {
        relax_run(session, model);
        tvm_relax_session_context(session)->cancelled = true;
        check_error(tvm_relax_session_call(session, model->function, &model->input, 1, &result),
                    TVM_CANCELLED_ERROR);
        tvm_relax_session_context(session)->cancelled = false;
    }
    relax_run(session, model);
    release(session);
}

static void (*const actions[])(struct soaker *, const struct model *) = {
    act_open,     act_session,       act_bind,   act_cancel,  act_busy, act_busy,
    act_callback, act_compiled_code, act_errors, act_barrier, act_relax};
enum { ACTIONS = sizeof(actions) / sizeof(*actions) };

static void *soak_main(void *argument) {
    struct soaker *soaker = argument;
    while (!stop) {
        actions[random_below(soaker, ACTIONS)](soaker, &models[random_below(soaker, MODELS)]);
        soaker->actions++;
    }
    return NULL;
}

static void *cancel_main(void *argument) {
    unsigned *seed = argument;
    while (!stop) {
        struct soaker *soaker = &soakers[rand_r(seed) % THREADS];
        pthread_mutex_lock(&soaker->lock);
        if (soaker->cancellable)
            tvm_graph_session_context(soaker->cancellable)->cancelled = true;
        pthread_mutex_unlock(&soaker->lock);
        nanosleep(&(struct timespec){0, 10000}, NULL);
    }
    return NULL;
}

static int64_t length(void) {
    const char *text = getenv("GOTVM_SOAK");
    if (!text)
        return INT64_C(1000000000);
    char *unit;
    long number = strtol(text, &unit, 10);
    assert_true(number > 0 && (strcmp(unit, "s") == 0 || strcmp(unit, "m") == 0));
    return number * (*unit == 'm' ? 60 : 1) * INT64_C(1000000000);
}

static const struct zoo_case *find_case(const struct zoo_case *cases, size_t count,
                                        const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(cases[i].name, name) == 0)
            return &cases[i];
    fail_msg("there is no case %s", name);
    return NULL;
}

static void open_model(struct model *model, const struct zoo_case *test) {
    char library[128];
    const char *name = test->name;
    model->test = *test;
    snprintf(library, sizeof(library), "models/%.63s/deploy.so", name);
    snprintf(model->library_path, sizeof(model->library_path), "%s", zoo_path(library));
    model->json = zoo_read(&model->test, "deploy.json", &model->json_size);
    model->params_data = zoo_read(&model->test, "deploy.params", &model->params_size);
    model->library_data = zoo_read(&model->test, "deploy.so", &model->library_size);
    model->library = zoo_library(&model->test);
    model->reference = zoo_reference(&model->test);
    expect_ok(tvm_graph_plan_new(name, model->json, model->json_size, &model->plan));
    expect_ok(
        tvm_graph_params_new(name, model->params_data, model->params_size, cpu, &model->params));
}

static void close_model(struct model *model) {
    release(model->library);
    release(model->reference);
    release(model->plan);
    release(model->params);
    free(model->json);
    free(model->params_data);
    free(model->library_data);
}

static void open_relax_model(struct relax_model *model, const char *library) {
    static const char folder[] = "tvm0.27/mlp";
    cJSON *input = cJSON_Parse("{\"tensor\": \"in:0.0\"}");
    model->executable = relax_open(folder, library);
    model->reference = relax_tensors(folder, "reference.params");
    model->expected = cJSON_Parse("{\"tensor\": \"out:0\"}");
    model->input = relax_value(input, model->reference, NULL);
    model->function = relax_function(model->executable, "main");
    cJSON_Delete(input);
}

static void close_relax_model(struct relax_model *model) {
    tvm_value_clear(&model->input);
    cJSON_Delete(model->expected);
    release(model->reference);
    release(model->executable);
}

static void test_soak(void **state) {
    (void)state;
    zoo_need();
    TVMFunctionHandle item;
    pthread_t threads[THREADS], canceller;
    unsigned seed = 99;
    size_t count;
    struct zoo_case *cases = zoo_cases(&count);
    for (int i = 0; i < MODELS; i++)
        open_model(&models[i], find_case(cases, count, names[i]));
    free(cases);
    open_relax_model(&relax_models[0], "model.so");
    open_relax_model(&relax_models[1], "model-compiled.so");
    snprintf(callpacked_path, sizeof(callpacked_path), "%s", zoo_path("lib/callpacked.so"));
    assert_int_equal(TVMFuncCreateFromCFunc(count_item, NULL, NULL, &item), 0);
    assert_int_equal(TVMFuncRegisterGlobal("test.item", item, 1), 0);
    busy = new_session(&models[2]);
    each_input(busy, &models[2], tvm_graph_session_set_input);

    for (int i = 0; i < THREADS; i++) {
        soakers[i].seed = (unsigned)i + 1;
        pthread_mutex_init(&soakers[i].lock, NULL);
        pthread_create(&threads[i], NULL, soak_main, &soakers[i]);
    }
    pthread_create(&canceller, NULL, cancel_main, &seed);
    for (int64_t end = tvm_os_now() + length(); tvm_os_now() < end;)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    stop = true;
    long done = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        done += soakers[i].actions;
        assert_true(soakers[i].actions > 0);
    }
    pthread_join(canceller, NULL);
    print_message("%ld actions, %ld callbacks\n", done, (long)made);
    assert_int_equal(finalized, made);
    compare(busy, &models[2]); /* as whoever ran it last left it */

    release(busy);
    assert_int_equal(TVMFuncRemoveGlobal("test.item"), 0);
    assert_int_equal(TVMFuncFree(item), 0);
    for (int i = 0; i < MODELS; i++)
        close_model(&models[i]);
    for (int i = 0; i < 2; i++)
        close_relax_model(&relax_models[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_soak, fixture_begin, leaks_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
