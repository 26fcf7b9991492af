/* Sessions of Relax models, and TVM's module around them. */
#include "module/library.h"
#include "test/expect.h"
#include "test/module_call.h"
#include "test/relax_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const DLDevice cpu = {kDLCPU, 0};
static const DLDataType float32 = {TVM_DTYPE_FLOAT, 32, 1};

#define MODELS "tvm0.27/"

struct model {
    struct tvm_relax_executable *executable;
    struct tvm_relax_session *session;
    size_t function;
};

static struct model open_model(const char *folder, const char *file, const char *function) {
    struct model model = {.executable = relax_open(folder, file)};
    model.session = relax_session(model.executable);
    model.function = relax_function(model.executable, function);
    return model;
}

static void close_model(struct model *model) {
    tvm_object_release((struct tvm_object *)model->session);
    tvm_object_release((struct tvm_object *)model->executable);
}

static int call(const struct model *model, const struct tvm_value *args, int32_t count,
                struct tvm_value *result) {
    return tvm_relax_session_call(model->session, model->function, args, count, result);
}

/* Results stay what they are while they are held, and their memory is used again afterwards. */
static void test_results_held(void **state) {
    (void)state;
    static const char *const files[] = {"model.so", "model-compiled.so"};
    for (int i = 0; i < 2; i++) {
        struct model model = open_model(MODELS "mlp", files[i], "main");
        struct tvm_value x = relax_filled(1, 16, 0.5f), y = relax_filled(1, 16, -1.0f), first,
                         second, third;
        float kept[5];
        expect_ok(call(&model, &x, 1, &first));
        memcpy(kept, relax_floats(&first), sizeof(kept));
        expect_ok(call(&model, &y, 1, &second));
        assert_memory_equal(relax_floats(&first), kept, sizeof(kept));
        assert_memory_not_equal(relax_floats(&second), kept, sizeof(kept));
        assert_ptr_not_equal(relax_floats(&first), relax_floats(&second));
        const float *place = relax_floats(&first);
        tvm_value_clear(&first);
        expect_ok(call(&model, &x, 1, &third));
        assert_ptr_equal(relax_floats(&third), place);
        assert_memory_equal(relax_floats(&third), kept, sizeof(kept));
        close_model(&model); /* results outlive their session */
        assert_memory_equal(relax_floats(&third), kept, sizeof(kept));
        tvm_value_clear(&second);
        tvm_value_clear(&third);
        tvm_value_clear(&x);
        tvm_value_clear(&y);
    }
}

/* Nothing is left behind by calls, also where shapes change. */
static void test_no_growth(void **state) {
    (void)state;
    struct model model = open_model(MODELS "mlp_dynamic", "model.so", "main");
    struct tvm_value result;
    int64_t before = 0;
    for (int round = 0; round < 40; round++) {
        for (int64_t rows = 1; rows < 40; rows += 3) {
            struct tvm_value x = relax_filled(rows, 16, 1);
            expect_ok(call(&model, &x, 1, &result));
            assert_int_equal(relax_tensor_of(&result)->dl.shape[0], rows);
            tvm_value_clear(&result);
            tvm_value_clear(&x);
        }
        if (round == 4)
            before = tvm_object_live_count();
    }
    assert_int_equal(tvm_object_live_count(), before);
    close_model(&model);
}

/* A caller that keeps many results: the session does not keep them too. */
static void test_many_kept(void **state) {
    (void)state;
    enum { COUNT = 500 };
    struct model model = open_model(MODELS "mlp", "model.so", "main");
    struct tvm_value *results = calloc(COUNT, sizeof(*results)), x = relax_filled(1, 16, 1);
    assert_non_null(results);
    int64_t live = tvm_object_live_count();
    for (int i = 0; i < COUNT; i++) {
        ((float *)relax_tensor_of(&x)->dl.data)[0] = (float)i;
        expect_ok(call(&model, &x, 1, &results[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        struct tvm_value again;
        ((float *)relax_tensor_of(&x)->dl.data)[0] = (float)i;
        expect_ok(call(&model, &x, 1, &again));
        assert_memory_equal(relax_floats(&again), relax_floats(&results[i]), 5 * sizeof(float));
        tvm_value_clear(&again);
        tvm_value_clear(&results[i]);
    }
    assert_true(tvm_object_live_count() < live + COUNT);
    free(results);
    tvm_value_clear(&x);
    close_model(&model);
}

static void test_wrong_arguments(void **state) {
    (void)state;
    static const char *const files[] = {"model.so", "model-compiled.so"};
    for (int i = 0; i < 2; i++) {
        struct model model = open_model(MODELS "mlp", files[i], "main");
        struct tvm_value result, x = relax_filled(1, 16, 1), tall = relax_filled(2, 16, 1),
                                 number = tvm_int(3);
        struct tvm_tensor *other;
        const char *expected = "main: argument 0 (x): expected R.Tensor((1, 16), "
                               "dtype=\"float32\"), got ";
        char text[256];
        expect_error(call(&model, &x, 0, &result), TVM_VALUE_ERROR,
                     "main: expected 1 argument, got 0");
        snprintf(text, sizeof(text), "%sfloat32 [2, 16]", expected);
        expect_error(call(&model, &tall, 1, &result), TVM_VALUE_ERROR, text);
        expect_ok(tvm_tensor_empty((int64_t[]){16}, 1, float32, cpu, &other));
        struct tvm_value flat = tvm_from_object(other);
        snprintf(text, sizeof(text), "%sfloat32 [16]", expected);
        expect_error(call(&model, &flat, 1, &result), TVM_VALUE_ERROR, text);
        tvm_value_clear(&flat);
        expect_ok(tvm_tensor_empty((int64_t[]){1, 16}, 2, (DLDataType){TVM_DTYPE_FLOAT, 64, 1}, cpu,
                                   &other));
        struct tvm_value wide = tvm_from_object(other);
        snprintf(text, sizeof(text), "%sfloat64 [1, 16]", expected);
        expect_error(call(&model, &wide, 1, &result), TVM_TYPE_ERROR, text);
        tvm_value_clear(&wide);
        snprintf(text, sizeof(text), "%sint", expected);
        expect_error(call(&model, &number, 1, &result), TVM_TYPE_ERROR, text);
        DLTensor away = relax_tensor_of(&x)->dl;
        away.device.device_type = kDLOpenCL;
        struct tvm_value borrowed = {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &away};
        expect_error(call(&model, &borrowed, 1, &result), TVM_TYPE_ERROR,
                     "main: argument 0 (x): expected a tensor on cpu(0), got one on opencl(0)");
        struct tvm_value nested = tvm_none(); /* arrays are tuples, 65 in each other at most */
        for (int depth = 1; depth <= 66; depth++) {
            struct tvm_array *around;
            expect_ok(tvm_array_new(1, &around));
            around->items[around->size++] = nested;
            nested = tvm_from_object(around);
            if (depth <= 65)
                expect_error(call(&model, &nested, 1, &result), TVM_TYPE_ERROR, "a tuple of 1");
            else
                expect_error(call(&model, &nested, 1, &result), TVM_VALUE_ERROR,
                             "main: argument 0 (x): arrays that are nested too deep");
        }
        tvm_value_clear(&nested);
        expect_ok(call(&model, &x, 1, &result)); /* the session is as good as before */
        tvm_value_clear(&result);
        tvm_value_clear(&x);
        tvm_value_clear(&tall);
        close_model(&model);
    }
}

/* Memory that compiled code must not see: off by some bytes, or of a DLTensor that is borrowed. */
static void test_misaligned(void **state) {
    (void)state;
    struct model model = open_model(MODELS "cnn", "model.so", "main");
    struct tvm_value aligned, result, expected;
    struct tvm_tensor *tensor, *shifted;
    int64_t shape[] = {1, 3, 12, 12};
    size_t count = 3 * 12 * 12;
    expect_ok(tvm_tensor_empty(shape, 4, float32, cpu, &tensor));
    for (size_t i = 0; i < count; i++)
        ((float *)tensor->dl.data)[i] = (float)(i % 7) - 3;
    aligned = tvm_from_object(tensor);
    expect_ok(call(&model, &aligned, 1, &expected));
    for (size_t off = 4; off <= 64; off += 4) {
        struct tvm_storage *storage;
        expect_ok(tvm_storage_new(cpu, count * 4 + 64, &storage));
        expect_ok(tvm_tensor_view(storage, off, shape, 4, float32, &shifted));
        expect_ok(tvm_tensor_copy(&tensor->dl, &shifted->dl));
        struct tvm_value value = tvm_from_object(shifted);
        expect_ok(call(&model, &value, 1, &result));
        assert_memory_equal(relax_floats(&result), relax_floats(&expected), 5 * sizeof(float));
        tvm_value_clear(&result);
        struct tvm_array *pair;
        expect_ok(tvm_array_new(2, &pair));
        expect_ok(tvm_value_own(&aligned, &pair->items[pair->size++]));
        expect_ok(tvm_value_own(&value, &pair->items[pair->size++]));
        struct tvm_value items = tvm_from_object(pair);
        expect_ok(tvm_relax_session_convert(model.session, "main", "x", &items, &result));
        const struct tvm_value *converted = ((struct tvm_array *)result.v_object)->items;
        assert_ptr_equal(converted[0].v_object, aligned.v_object);
        assert_ptr_not_equal(converted[1].v_object, value.v_object);
        tvm_value_clear(&result);
        tvm_value_clear(&items);
        DLTensor plain = shifted->dl;
        plain.data = (char *)plain.data + off;
        plain.byte_offset = 0;
        value = (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &plain};
        expect_ok(call(&model, &value, 1, &result));
        assert_memory_equal(relax_floats(&result), relax_floats(&expected), 5 * sizeof(float));
        tvm_value_clear(&result);
        tvm_object_release(&shifted->object);
        tvm_object_release(&storage->object);
    }
    tvm_value_clear(&expected);
    tvm_value_clear(&aligned);
    close_model(&model);
}

static void test_callback_error(void **state) {
    (void)state;
    static const char *const files[] = {"model.so", "model-compiled.so"};
    for (int i = 0; i < 2; i++) {
        struct model model = open_model(MODELS "callback", files[i], "fails");
        struct tvm_value x = relax_filled(2, 3, 1), result;
        struct tvm_function *function;
        expect_ok(tvm_registry_get("gotvm.test.fail", &function));
        assert_int_equal(call(&model, &x, 1, &result), -1);
        const struct tvm_error *error = tvm_error_peek();
        assert_string_equal(error->kind.data, "TestError");
        assert_non_null(strstr(error->message.data, "deliberate"));
        assert_ptr_equal(error->payload, function); /* the caller's own error comes back */
        tvm_object_release(&tvm_error_take()->object);
        tvm_object_release(&function->object);
        tvm_value_clear(&x);
        close_model(&model);
    }
}

static void test_missing_functions(void **state) {
    (void)state;
    struct tvm_relax_executable *executable = relax_open(MODELS "callback", "model.so");
    struct tvm_relax_session *session;
    expect_ok(tvm_registry_remove("gotvm.test.fail"));
    expect_ok(tvm_registry_remove("gotvm.test.describe"));
    expect_error(tvm_relax_session_new(executable, cpu, &session), TVM_NOT_FOUND_ERROR,
                 "calls 2 functions that neither its library nor this program has: "
                 "gotvm.test.fail, gotvm.test.describe: register them before");
    expect_error(tvm_relax_session_new(executable, (DLDevice){kDLCUDA, 0}, &session),
                 TVM_TYPE_ERROR, "");
    relax_register_callbacks();
    tvm_object_release((struct tvm_object *)executable);
}

static void test_python_only(void **state) {
    (void)state;
    struct tvm_module *module;
    expect_error(tvm_library_open(relax_path(MODELS "python_only", "model.so"), &module),
                 TVM_UNSUPPORTED_ERROR,
                 "the model calls relax.run.unique, relax.run.nonzero, which exist only "
                 "in Python: compile it without those functions");
}

static struct model *nested_model;

/* A function of the model's host that calls the model again. */
static int call_again(void *self, const struct tvm_value *args, int32_t count,
                      struct tvm_value *result) {
    (void)self;
    struct tvm_value ignored;
    expect_error(call(nested_model, args, count, &ignored), TVM_BUSY_ERROR,
                 "main: the session is in a call already");
    struct model other = *nested_model;
    static int depth;
    if (depth == 0) { /* another session of the model may be called */
        depth++;
        other.session = relax_session(other.executable);
        expect_ok(call(&other, args, count, &ignored));
        tvm_value_clear(&ignored);
        tvm_object_release((struct tvm_object *)other.session);
        depth--;
    }
    return tvm_value_own(&args[0], result);
}

static void test_busy(void **state) {
    (void)state;
    struct tvm_function *function;
    expect_ok(tvm_function_new(call_again, NULL, NULL, &function));
    expect_ok(tvm_registry_set("gotvm.test.add_one", function, true));
    tvm_object_release(&function->object);
    struct model model = open_model(MODELS "callback", "model.so", "main");
    struct tvm_value x = relax_filled(2, 3, 1), result;
    nested_model = &model;
    expect_ok(call(&model, &x, 1, &result));
    assert_true(relax_floats(&result)[0] == 2); /* x + x */
    tvm_value_clear(&result);
    tvm_value_clear(&x);
    close_model(&model);
    relax_register_callbacks();
}

static void test_cancel(void **state) {
    (void)state;
    struct model model = open_model(MODELS "mlp", "model.so", "main");
    struct tvm_value x = relax_filled(1, 16, 1), result;
    atomic_store(&tvm_relax_session_context(model.session)->cancelled, true);
    expect_error(call(&model, &x, 1, &result), TVM_CANCELLED_ERROR, "cancelled");
    atomic_store(&tvm_relax_session_context(model.session)->cancelled, false);
    expect_ok(call(&model, &x, 1, &result));
    tvm_value_clear(&result);
    tvm_value_clear(&x);
    close_model(&model);
}

/* even(n) calls odd(n - 1), which calls even(n - 2) … */
static void test_recursion(void **state) {
    (void)state;
    static const char *const files[] = {"model.so", "model-compiled.so"};
    for (int i = 0; i < 2; i++) {
        struct model model = open_model(MODELS "recursion", files[i], "even");
        struct tvm_tensor *tensor;
        struct tvm_value n, result;
        expect_ok(tvm_tensor_empty(NULL, 0, (DLDataType){TVM_DTYPE_INT, 64, 1}, cpu, &tensor));
        n = tvm_from_object(tensor);
        for (int64_t number = 0; number < 1200; number += 399) {
            *(int64_t *)tensor->dl.data = number;
            expect_ok(call(&model, &n, 1, &result));
            assert_int_equal(*(char *)relax_tensor_of(&result)->dl.data, number % 2 == 0);
            tvm_value_clear(&result);
        }
        int64_t before = tvm_object_live_count();
        *(int64_t *)tensor->dl.data = 1000000;
        expect_error(call(&model, &n, 1, &result), TVM_RUNTIME_ERROR, "calls are nested 4096 deep");
        *(int64_t *)tensor->dl.data = 7;
        expect_ok(call(&model, &n, 1, &result));
        assert_int_equal(*(char *)relax_tensor_of(&result)->dl.data, 0);
        tvm_value_clear(&result);
        assert_true(tvm_object_live_count() < before + 20000);
        tvm_value_clear(&n);
        close_model(&model);
    }
}

/* Calls the model with a number that no stack is large enough for; NULL when the error says so. */
static void *recurse(void *argument) {
    const struct model *model = argument;
    struct tvm_tensor *tensor;
    struct tvm_value n, result;
    if (tvm_tensor_empty(NULL, 0, (DLDataType){TVM_DTYPE_INT, 64, 1}, cpu, &tensor))
        return "no tensor";
    *(int64_t *)tensor->dl.data = 1000000;
    n = tvm_from_object(tensor);
    int status = call(model, &n, 1, &result);
    tvm_value_clear(&n);
    if (status == 0)
        return "it ended well";
    struct tvm_error *error = tvm_error_take();
    bool told = strstr(error->message.data, "deep, and the thread's stack has ") &&
                error->message.size < 2000; /* it does not name all calls */
    tvm_object_release(&error->object);
    return told ? NULL : "another error";
}

static void test_small_stack(void **state) {
    (void)state;
    struct model model = open_model(MODELS "recursion", "model-compiled.so", "even");
    pthread_attr_t attributes;
    pthread_t thread;
    void *fault;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
    assert_int_equal(pthread_create(&thread, &attributes, recurse, &model), 0);
    pthread_join(thread, &fault);
    pthread_attr_destroy(&attributes);
    if (fault)
        fail_msg("%s", (const char *)fault);
    close_model(&model);
}

static void *run_thread(void *argument) {
    const struct model *shared = argument;
    struct model model = *shared;
    model.session = relax_session(model.executable);
    struct tvm_value x = relax_filled(1, 16, 0.25f), y = relax_filled(1, 16, -2), first, second,
                     again;
    expect_ok(call(&model, &x, 1, &first));
    expect_ok(call(&model, &y, 1, &second));
    for (int i = 0; i < 300; i++) {
        expect_ok(call(&model, i % 2 ? &y : &x, 1, &again));
        assert_memory_equal(relax_floats(&again), relax_floats(i % 2 ? &second : &first),
                            5 * sizeof(float));
        tvm_value_clear(&again);
    }
    tvm_value_clear(&first);
    tvm_value_clear(&second);
    tvm_value_clear(&x);
    tvm_value_clear(&y);
    tvm_object_release((struct tvm_object *)model.session);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    static const char *const files[] = {"model.so", "model-compiled.so"};
    for (int i = 0; i < 2; i++) {
        struct model model = open_model(MODELS "mlp", files[i], "main");
        pthread_t threads[6];
        for (int t = 0; t < 6; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, run_thread, &model), 0);
        for (int t = 0; t < 6; t++)
            pthread_join(threads[t], NULL);
        close_model(&model);
    }
}

/* TVM's own way */

static struct tvm_module *make_machine(struct tvm_relax_executable *executable) {
    struct tvm_value result;
    expect_ok(module_call((struct tvm_module *)executable, "vm_load_executable", NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_MODULE);
    return (struct tvm_module *)result.v_object;
}

static void test_machine(void **state) {
    (void)state;
    int64_t live = tvm_object_live_count();
    struct tvm_relax_executable *executable = relax_open(MODELS "nested", "model.so");
    struct tvm_module *machine = make_machine(executable);
    struct tvm_value result, x = relax_filled(2, 3, 2), other;
    struct tvm_function *function;
    struct tvm_tensor *four;
    expect_ok(tvm_tensor_empty((int64_t[]){4}, 1, (DLDataType){TVM_DTYPE_INT, 32, 1}, cpu, &four));
    memset(four->dl.data, 0, 16);
    other = tvm_from_object(four);
    expect_error(MODULE_CALL(machine, "main", &result, x, other), TVM_RUNTIME_ERROR,
                 "main: call vm_initialization first");
    expect_error(MODULE_CALL(machine, "vm_initialization", &result, tvm_int(1)), TVM_VALUE_ERROR,
                 "expected device type, device id and kind of allocator");
    expect_ok(MODULE_CALL(machine, "vm_initialization", &result, tvm_int(1), tvm_int(0), tvm_int(2),
                          tvm_int(1), tvm_int(0), tvm_int(2)));
    expect_error(MODULE_CALL(machine, "invoke_stateful", &result, tvm_raw_string("main")),
                 TVM_VALUE_ERROR, "main has no inputs: call set_input first");
    expect_error(MODULE_CALL(machine, "get_output", &result, tvm_raw_string("main")),
                 TVM_VALUE_ERROR, "main has no output: call invoke_stateful first");
    expect_error(MODULE_CALL(machine, "set_input", &result, tvm_raw_string("nobody"), x),
                 TVM_NOT_FOUND_ERROR, "the model has no function nobody");
    expect_error(MODULE_CALL(machine, "set_input", &result, tvm_raw_string("main"), x),
                 TVM_VALUE_ERROR, "main takes 2 arguments, got 1");
    for (int i = 0; i < 2; i++) /* the second in place of the first */
        expect_ok(MODULE_CALL(machine, "set_input", &result, tvm_raw_string("main"), x, other));
    for (int i = 0; i < 2; i++) /* likewise what it gives */
        expect_ok(MODULE_CALL(machine, "invoke_stateful", &result, tvm_raw_string("main")));
    expect_ok(MODULE_CALL(machine, "get_output_arity", &result, tvm_raw_string("main")));
    assert_int_equal(result.v_int, 4);
    expect_ok(
        MODULE_CALL(machine, "get_output_arity", &result, tvm_raw_string("main"), tvm_int(1)));
    assert_int_equal(result.v_int, 3);
    expect_ok(
        MODULE_CALL(machine, "get_output_arity", &result, tvm_raw_string("main"), tvm_int(0)));
    assert_int_equal(result.v_int, -1);
    expect_ok(MODULE_CALL(machine, "get_output", &result, tvm_raw_string("main"), tvm_int(1),
                          tvm_int(1), tvm_int(0)));
    assert_int_equal(relax_tensor_of(&result)->dl.shape[0], 4);
    tvm_value_clear(&result);
    expect_error(MODULE_CALL(machine, "get_output", &result, tvm_raw_string("main"), tvm_int(1)),
                 TVM_VALUE_ERROR, "the output is a tuple");
    expect_error(MODULE_CALL(machine, "get_output", &result, tvm_raw_string("main"), tvm_int(9)),
                 TVM_INDEX_ERROR, "item 9 of 4");
    expect_ok(MODULE_CALL(machine, "get_function_arity", &result, tvm_raw_string("main")));
    assert_int_equal(result.v_int, 2);
    expect_ok(MODULE_CALL(machine, "get_function_param_name", &result, tvm_raw_string("main"),
                          tvm_int(1)));
    struct tvm_bytes text;
    assert_true(tvm_value_text(&result, &text) && text.size == 1 && *text.data == 'y');
    expect_error(MODULE_CALL(machine, "get_function_param_name", &result, tvm_raw_string("main"),
                             tvm_int(2)),
                 TVM_INDEX_ERROR, "parameter 2 of 2");
    expect_ok(MODULE_CALL(machine, "save_function", &result, tvm_raw_string("same"),
                          tvm_raw_string("saved"), tvm_int(1), x));
    expect_ok(module_call(machine, "saved", NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_ARRAY);
    tvm_value_clear(&result);
    expect_ok(MODULE_CALL(machine, "save_function", &result, tvm_raw_string("same"),
                          tvm_raw_string("mute"), tvm_int(0), x));
    expect_ok(module_call(machine, "mute", NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_NONE);
    expect_ok(tvm_module_get_function(machine, "nobody", true, &function));
    assert_null(function);
    /* functions keep the machine */
    expect_ok(tvm_module_get_function(machine, "same", false, &function));
    tvm_object_release(&machine->object);
    tvm_object_release((struct tvm_object *)executable);
    expect_ok(tvm_function_call(function, &x, 1, &result));
    tvm_value_clear(&result);
    tvm_object_release(&function->object);
    tvm_value_clear(&x);
    tvm_value_clear(&other);
    assert_int_equal(tvm_object_live_count(), live);
}

static void test_machine_closure(void **state) {
    (void)state;
    static const char *const files[] = {"model.so", "model-compiled.so"};
    for (int i = 0; i < 2; i++) {
        struct tvm_relax_executable *executable = relax_open(MODELS "closure_values", files[i]);
        struct tvm_module *machine = make_machine(executable);
        struct tvm_value closure, result, scale, x = relax_filled(2, 3, 2),
                                                 y = relax_filled(2, 3, 3);
        struct tvm_tensor *three;
        expect_ok(tvm_tensor_empty(NULL, 0, float32, cpu, &three));
        *(float *)three->dl.data = 3;
        scale = tvm_from_object(three);
        expect_error(MODULE_CALL(machine, "invoke_closure", &result, x), TVM_RUNTIME_ERROR,
                     "invoke_closure: call vm_initialization first");
        expect_ok(
            MODULE_CALL(machine, "vm_initialization", &result, tvm_int(1), tvm_int(0), tvm_int(2)));
        expect_ok(MODULE_CALL(machine, "make", &closure, scale, y));
        DLTensor plain = relax_tensor_of(&x)->dl;
        struct tvm_value borrowed = {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &plain};
        expect_ok(MODULE_CALL(machine, "invoke_closure", &result, closure, borrowed));
        assert_true(relax_floats(&result)[0] == 9); /* x * scale + y */
        tvm_value_clear(&result);
        expect_error(MODULE_CALL(machine, "invoke_closure", &result, closure, x, x),
                     TVM_VALUE_ERROR, "scaled_sum: expected 1 argument, got 2");
        plain.device.device_type = kDLOpenCL;
        expect_error(MODULE_CALL(machine, "invoke_closure", &result, closure, x, borrowed),
                     TVM_TYPE_ERROR, "invoke_closure: argument of the closure: expected a tensor");
        expect_error(MODULE_CALL(machine, "invoke_closure", &result, x, x), TVM_TYPE_ERROR,
                     "invoke_closure: expected a function or a closure, got Tensor");
        expect_error(module_call(machine, "invoke_closure", NULL, 0, &result), TVM_VALUE_ERROR,
                     "expected 1 argument or more, got 0");
        assert_int_equal(tvm_object_use_count(x.v_object), 1);
        tvm_value_clear(&closure);
        tvm_value_clear(&scale);
        tvm_value_clear(&x);
        tvm_value_clear(&y);
        tvm_object_release(&machine->object);
        tvm_object_release((struct tvm_object *)executable);
    }
}

static void test_has_function(void **state) {
    (void)state;
    struct tvm_relax_executable *executable = relax_open(MODELS "mlp", "model.so");
    struct tvm_value result;
    expect_ok(MODULE_CALL((struct tvm_module *)executable, "has_function", &result,
                          tvm_raw_string("main")));
    assert_true(result.type_index == TVM_TYPE_BOOL && result.v_int == 1);
    expect_ok(MODULE_CALL((struct tvm_module *)executable, "has_function", &result,
                          tvm_raw_string("mai")));
    assert_int_equal(result.v_int, 0);
    tvm_object_release((struct tvm_object *)executable);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_held),
        cmocka_unit_test(test_no_growth),
        cmocka_unit_test(test_many_kept),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_misaligned),
        cmocka_unit_test(test_callback_error),
        cmocka_unit_test(test_missing_functions),
        cmocka_unit_test(test_python_only),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_recursion),
        cmocka_unit_test(test_small_stack),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_machine_closure),
        cmocka_unit_test(test_has_function),
    };
    relax_register_callbacks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
