/* Sessions of Relax models, TVM's module around them, and vm.builtin.* one by one. */
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

static struct tvm_tensor *tensor_of(const struct tvm_value *value) {
    assert_int_equal(value->type_index, TVM_TYPE_TENSOR);
    return (struct tvm_tensor *)value->v_object;
}

static const float *floats(const struct tvm_value *value) {
    return tensor_of(value)->dl.data;
}

/* float32 [rows, columns] of one number. */
static struct tvm_value filled(int64_t rows, int64_t columns, float number) {
    struct tvm_tensor *tensor;
    expect_ok(tvm_tensor_empty((int64_t[]){rows, columns}, 2, float32, cpu, &tensor));
    for (int64_t i = 0; i < rows * columns; i++)
        ((float *)tensor->dl.data)[i] = number;
    return tvm_from_object(tensor);
}

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
        struct tvm_value x = filled(1, 16, 0.5f), y = filled(1, 16, -1.0f), first, second, third;
        float kept[5];
        expect_ok(call(&model, &x, 1, &first));
        memcpy(kept, floats(&first), sizeof(kept));
        expect_ok(call(&model, &y, 1, &second));
        assert_memory_equal(floats(&first), kept, sizeof(kept));
        assert_memory_not_equal(floats(&second), kept, sizeof(kept));
        assert_ptr_not_equal(floats(&first), floats(&second));
        const float *place = floats(&first);
        tvm_value_clear(&first);
        expect_ok(call(&model, &x, 1, &third));
        assert_ptr_equal(floats(&third), place);
        assert_memory_equal(floats(&third), kept, sizeof(kept));
        close_model(&model); /* results outlive their session */
        assert_memory_equal(floats(&third), kept, sizeof(kept));
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
            struct tvm_value x = filled(rows, 16, 1);
            expect_ok(call(&model, &x, 1, &result));
            assert_int_equal(tensor_of(&result)->dl.shape[0], rows);
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
    struct tvm_value *results = calloc(COUNT, sizeof(*results)), x = filled(1, 16, 1);
    assert_non_null(results);
    for (int i = 0; i < COUNT; i++) {
        ((float *)tensor_of(&x)->dl.data)[0] = (float)i;
        expect_ok(call(&model, &x, 1, &results[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        struct tvm_value again;
        ((float *)tensor_of(&x)->dl.data)[0] = (float)i;
        expect_ok(call(&model, &x, 1, &again));
        assert_memory_equal(floats(&again), floats(&results[i]), 5 * sizeof(float));
        tvm_value_clear(&again);
        tvm_value_clear(&results[i]);
    }
    free(results);
    tvm_value_clear(&x);
    close_model(&model);
}

static void test_wrong_arguments(void **state) {
    (void)state;
    static const char *const files[] = {"model.so", "model-compiled.so"};
    for (int i = 0; i < 2; i++) {
        struct model model = open_model(MODELS "mlp", files[i], "main");
        struct tvm_value result, x = filled(1, 16, 1), tall = filled(2, 16, 1), number = tvm_int(3);
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
        DLTensor away = tensor_of(&x)->dl;
        away.device.device_type = kDLOpenCL;
        struct tvm_value borrowed = {.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &away};
        expect_error(call(&model, &borrowed, 1, &result), TVM_TYPE_ERROR,
                     "main: argument 0 (x): expected a tensor on cpu(0), got one on opencl(0)");
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
        assert_memory_equal(floats(&result), floats(&expected), 5 * sizeof(float));
        tvm_value_clear(&result);
        DLTensor plain = shifted->dl;
        plain.data = (char *)plain.data + off;
        plain.byte_offset = 0;
        value = (struct tvm_value){.type_index = TVM_TYPE_DLTENSOR_PTR, .v_ptr = &plain};
        expect_ok(call(&model, &value, 1, &result));
        assert_memory_equal(floats(&result), floats(&expected), 5 * sizeof(float));
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
        struct tvm_value x = filled(2, 3, 1), result;
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
    struct tvm_value x = filled(2, 3, 1), result;
    nested_model = &model;
    expect_ok(call(&model, &x, 1, &result));
    assert_true(floats(&result)[0] == 2); /* x + x */
    tvm_value_clear(&result);
    tvm_value_clear(&x);
    close_model(&model);
    relax_register_callbacks();
}

static void test_cancel(void **state) {
    (void)state;
    struct model model = open_model(MODELS "mlp", "model.so", "main");
    struct tvm_value x = filled(1, 16, 1), result;
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
            assert_int_equal(*(char *)tensor_of(&result)->dl.data, number % 2 == 0);
            tvm_value_clear(&result);
        }
        int64_t before = tvm_object_live_count();
        *(int64_t *)tensor->dl.data = 1000000;
        expect_error(call(&model, &n, 1, &result), TVM_RUNTIME_ERROR,
                     "more than 4096 calls inside each other");
        *(int64_t *)tensor->dl.data = 7;
        expect_ok(call(&model, &n, 1, &result));
        assert_int_equal(*(char *)tensor_of(&result)->dl.data, 0);
        tvm_value_clear(&result);
        assert_true(tvm_object_live_count() < before + 20000);
        tvm_value_clear(&n);
        close_model(&model);
    }
}

static void *run_thread(void *argument) {
    const struct model *shared = argument;
    struct model model = *shared;
    model.session = relax_session(model.executable);
    struct tvm_value x = filled(1, 16, 0.25f), y = filled(1, 16, -2), first, second, again;
    expect_ok(call(&model, &x, 1, &first));
    expect_ok(call(&model, &y, 1, &second));
    for (int i = 0; i < 300; i++) {
        expect_ok(call(&model, i % 2 ? &y : &x, 1, &again));
        assert_memory_equal(floats(&again), floats(i % 2 ? &second : &first), 5 * sizeof(float));
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

#define TEXT(text) tvm_raw_string(text)

static void test_machine(void **state) {
    (void)state;
    struct tvm_relax_executable *executable = relax_open(MODELS "nested", "model.so");
    struct tvm_module *machine = make_machine(executable);
    struct tvm_value result, x = filled(2, 3, 2), other;
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
    expect_error(MODULE_CALL(machine, "invoke_stateful", &result, TEXT("main")), TVM_VALUE_ERROR,
                 "main has no inputs: call set_input first");
    expect_error(MODULE_CALL(machine, "get_output", &result, TEXT("main")), TVM_VALUE_ERROR,
                 "main has no output: call invoke_stateful first");
    expect_error(MODULE_CALL(machine, "set_input", &result, TEXT("nobody"), x), TVM_NOT_FOUND_ERROR,
                 "the model has no function nobody");
    expect_error(MODULE_CALL(machine, "set_input", &result, TEXT("main"), x), TVM_VALUE_ERROR,
                 "main takes 2 arguments, got 1");
    expect_ok(MODULE_CALL(machine, "set_input", &result, TEXT("main"), x, other));
    expect_ok(MODULE_CALL(machine, "invoke_stateful", &result, TEXT("main")));
    expect_ok(MODULE_CALL(machine, "get_output_arity", &result, TEXT("main")));
    assert_int_equal(result.v_int, 4);
    expect_ok(MODULE_CALL(machine, "get_output_arity", &result, TEXT("main"), tvm_int(1)));
    assert_int_equal(result.v_int, 3);
    expect_ok(MODULE_CALL(machine, "get_output_arity", &result, TEXT("main"), tvm_int(0)));
    assert_int_equal(result.v_int, -1);
    expect_ok(MODULE_CALL(machine, "get_output", &result, TEXT("main"), tvm_int(1), tvm_int(1),
                          tvm_int(0)));
    assert_int_equal(tensor_of(&result)->dl.shape[0], 4);
    tvm_value_clear(&result);
    expect_error(MODULE_CALL(machine, "get_output", &result, TEXT("main"), tvm_int(1)),
                 TVM_VALUE_ERROR, "the output is a tuple");
    expect_error(MODULE_CALL(machine, "get_output", &result, TEXT("main"), tvm_int(9)),
                 TVM_INDEX_ERROR, "item 9 of 4");
    expect_ok(MODULE_CALL(machine, "get_function_arity", &result, TEXT("main")));
    assert_int_equal(result.v_int, 2);
    expect_ok(MODULE_CALL(machine, "get_function_param_name", &result, TEXT("main"), tvm_int(1)));
    struct tvm_bytes text;
    assert_true(tvm_value_text(&result, &text) && text.size == 1 && *text.data == 'y');
    expect_error(MODULE_CALL(machine, "get_function_param_name", &result, TEXT("main"), tvm_int(2)),
                 TVM_INDEX_ERROR, "parameter 2 of 2");
    expect_ok(
        MODULE_CALL(machine, "save_function", &result, TEXT("same"), TEXT("saved"), tvm_int(1), x));
    expect_ok(module_call(machine, "saved", NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_ARRAY);
    tvm_value_clear(&result);
    expect_ok(
        MODULE_CALL(machine, "save_function", &result, TEXT("same"), TEXT("mute"), tvm_int(0), x));
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
}

static void test_has_function(void **state) {
    (void)state;
    struct tvm_relax_executable *executable = relax_open(MODELS "mlp", "model.so");
    struct tvm_value result;
    expect_ok(MODULE_CALL((struct tvm_module *)executable, "has_function", &result, TEXT("main")));
    assert_true(result.type_index == TVM_TYPE_BOOL && result.v_int == 1);
    expect_ok(MODULE_CALL((struct tvm_module *)executable, "has_function", &result, TEXT("mai")));
    assert_int_equal(result.v_int, 0);
    tvm_object_release((struct tvm_object *)executable);
}

/* The built-in functions, as forged bytecode could call them */

#define BUILTIN(function, result, ...)                                                             \
    (*(result) = tvm_none(),                                                                       \
     function(NULL, (const struct tvm_value[]){__VA_ARGS__},                                       \
              sizeof((const struct tvm_value[]){__VA_ARGS__}) / sizeof(struct tvm_value), result))

static struct tvm_value shape_of(size_t size, const int64_t *dims) {
    struct tvm_shape *shape;
    expect_ok(tvm_shape_new(dims, size, &shape));
    return tvm_from_object(shape);
}
#define SHAPE(...)                                                                                 \
    shape_of(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static struct tvm_value dtype_value(DLDataType dtype) {
    return (struct tvm_value){.type_index = TVM_TYPE_DTYPE, .v_dtype = dtype};
}

static void test_builtin_shapes(void **state) {
    (void)state;
    struct model model = open_model(MODELS "mlp", "model.so", "main");
    struct tvm_context_scope scope = tvm_context_enter(tvm_relax_session_context(model.session));
    struct tvm_value vm = tvm_opaque(model.session), heap, result, none = tvm_none();
    struct tvm_value x = filled(3, 5, 1), shape = SHAPE(3, 5);
    const struct tvm_value n[] = {tvm_int(0), tvm_int(1), tvm_int(2), tvm_int(3)};
    struct tvm_value context = TEXT("context");
    expect_ok(BUILTIN(tvm_relax_alloc_shape_heap, &heap, vm, n[2]));
    int64_t *slots = tensor_of(&heap)->dl.data;
    assert_true(slots[0] == 0 && slots[1] == 0);
    expect_error(BUILTIN(tvm_relax_alloc_shape_heap, &result, tvm_opaque(&vm), n[2]),
                 TVM_VALUE_ERROR, "expected the virtual machine that runs on this thread");
    expect_error(BUILTIN(tvm_relax_alloc_shape_heap, &result, n[0], n[2]), TVM_VALUE_ERROR,
                 "expected the virtual machine");
    expect_error(BUILTIN(tvm_relax_alloc_shape_heap, &result, vm, tvm_int(-1)), TVM_VALUE_ERROR,
                 "size -1");
    if (SIZE_MAX == UINT32_MAX)
        expect_error(BUILTIN(tvm_relax_alloc_shape_heap, &result, vm, tvm_int(1 << 29)),
                     TVM_VALUE_ERROR, "size 536870912");

    expect_ok(BUILTIN(tvm_relax_match_shape, &result, x, heap, n[2], n[1], n[0], n[0], tvm_int(5),
                      context)); /* store, equal to 5 */
    assert_int_equal(slots[0], 3);
    expect_ok(BUILTIN(tvm_relax_match_shape, &result, shape, heap, n[2], n[3], n[0], n[2], n[0],
                      context));
    expect_error(
        BUILTIN(tvm_relax_match_shape, &result, x, heap, n[2], n[0], n[2], n[2], n[0], context),
        TVM_VALUE_ERROR, "context: expected 2 in dimension 0, got float32 [3, 5]");
    expect_error(
        BUILTIN(tvm_relax_match_shape, &result, x, heap, n[2], n[2], n[0], n[3], n[0], context),
        TVM_VALUE_ERROR, "expected 3 in dimension 1, got float32 [3, 5]");
    expect_error(BUILTIN(tvm_relax_match_shape, &result, x, heap, n[1], n[2], n[0], context),
                 TVM_VALUE_ERROR, "expected 1 dimensions, got float32 [3, 5]");
    expect_error(
        BUILTIN(tvm_relax_match_shape, &result, x, heap, n[2], n[1], n[2], n[2], n[0], context),
        TVM_INDEX_ERROR, "slot 2 of a shape heap with 2");
    expect_error(
        BUILTIN(tvm_relax_match_shape, &result, x, none, n[2], n[1], n[0], n[2], n[0], context),
        TVM_INDEX_ERROR, "slot 0 of a shape heap with 0");
    expect_error(
        BUILTIN(tvm_relax_match_shape, &result, x, x, n[2], n[1], n[0], n[2], n[0], context),
        TVM_TYPE_ERROR, "argument 1 is no shape heap");
    expect_error(BUILTIN(tvm_relax_match_shape, &result, x, heap, n[2], n[1], n[0]),
                 TVM_VALUE_ERROR, "2 dimensions in 5 arguments");
    expect_error(BUILTIN(tvm_relax_match_shape, &result, n[0], heap, n[0], context), TVM_TYPE_ERROR,
                 "expected Shape, got int");

    expect_ok(BUILTIN(tvm_relax_make_shape, &result, heap, n[3], n[1], n[0], n[0], tvm_int(9), n[0],
                      n[0]));
    struct tvm_shape *made = (struct tvm_shape *)result.v_object;
    assert_true(made->size == 3 && made->data[0] == 3 && made->data[1] == 9 && made->data[2] == 0);
    tvm_value_clear(&result);
    expect_error(BUILTIN(tvm_relax_make_shape, &result, heap, n[1], n[1], n[2]), TVM_INDEX_ERROR,
                 "slot 2");
    expect_error(BUILTIN(tvm_relax_make_shape, &result, heap, n[1], n[2], n[0]), TVM_VALUE_ERROR,
                 "code 2");
    expect_ok(BUILTIN(tvm_relax_make_prim_value, &result, heap, n[1], n[0]));
    assert_int_equal(result.v_int, 3);
    expect_ok(BUILTIN(tvm_relax_match_prim_value, &result, n[3], heap, n[3], n[0], context));
    expect_error(BUILTIN(tvm_relax_match_prim_value, &result, n[2], heap, n[3], n[0], context),
                 TVM_VALUE_ERROR, "context: expected 3 instead of 2");
    expect_ok(BUILTIN(tvm_relax_match_prim_value, &result, tvm_int(8), heap, n[1], n[1], context));
    assert_int_equal(slots[1], 8);

    expect_ok(BUILTIN(tvm_relax_shape_of, &result, x));
    assert_int_equal(((struct tvm_shape *)result.v_object)->data[1], 5);
    tvm_value_clear(&result);
    expect_ok(BUILTIN(tvm_relax_tensor_to_shape, &result, heap));
    assert_int_equal(((struct tvm_shape *)result.v_object)->data[1], 8);
    tvm_value_clear(&result);
    expect_error(BUILTIN(tvm_relax_tensor_to_shape, &result, x), TVM_VALUE_ERROR, "one dimension");
    tvm_value_clear(&heap);
    tvm_value_clear(&x);
    tvm_value_clear(&shape);
    tvm_context_leave(scope);
    close_model(&model);
}

static void test_builtin_checks(void **state) {
    (void)state;
    struct tvm_value x = filled(3, 5, 1), shape = SHAPE(3, 5), result, none = tvm_none(), tuple;
    struct tvm_value context = TEXT("context");
    struct tvm_value half = dtype_value((DLDataType){TVM_DTYPE_FLOAT, 16, 1});
    struct tvm_value single = dtype_value(float32);
    struct tvm_value handle = dtype_value((DLDataType){TVM_DTYPE_HANDLE, 0, 0});
    struct tvm_value whole = dtype_value((DLDataType){TVM_DTYPE_INT, 64, 1});
    struct tvm_value named = TEXT("ErrorContext(fn=f, loc=param[2], param=w, "
                                  "annotation=R.Tensor((4, n), dtype=\"int8\")) ");
    expect_ok(BUILTIN(tvm_relax_check_tensor_info, &result, x, tvm_int(2), single, context));
    expect_ok(BUILTIN(tvm_relax_check_tensor_info, &result, x, tvm_int(-1), none, context));
    expect_ok(BUILTIN(tvm_relax_check_tensor_info, &result, x, tvm_int(2), handle, context));
    expect_ok(BUILTIN(tvm_relax_check_tensor_info, &result, x, tvm_int(2), context));
    expect_error(BUILTIN(tvm_relax_check_tensor_info, &result, x, tvm_int(3), single, context),
                 TVM_VALUE_ERROR, "context: expected a tensor of 3 dimensions, got float32 [3, 5]");
    expect_error(BUILTIN(tvm_relax_check_tensor_info, &result, x, tvm_int(2), half, context),
                 TVM_TYPE_ERROR, "context: expected a tensor of float16, got float32 [3, 5]");
    expect_error(BUILTIN(tvm_relax_check_tensor_info, &result, shape, tvm_int(2), half, named),
                 TVM_TYPE_ERROR,
                 "f: argument 2 (w): expected R.Tensor((4, n), dtype=\"int8\"), got Shape [3, 5]");
    expect_ok(BUILTIN(tvm_relax_check_shape_info, &result, shape, tvm_int(2), context));
    expect_ok(BUILTIN(tvm_relax_check_shape_info, &result, shape, tvm_int(-1), context));
    expect_error(BUILTIN(tvm_relax_check_shape_info, &result, shape, tvm_int(1), context),
                 TVM_VALUE_ERROR, "context: expected a shape of 1 dimensions, got Shape [3, 5]");
    expect_error(BUILTIN(tvm_relax_check_shape_info, &result, x, tvm_int(1), context),
                 TVM_TYPE_ERROR, "expected a shape, got float32");
    expect_ok(BUILTIN(tvm_relax_make_tuple, &tuple, x, shape, TEXT("text that is long")));
    expect_ok(BUILTIN(tvm_relax_check_tuple_info, &result, tuple, tvm_int(3), context));
    expect_error(BUILTIN(tvm_relax_check_tuple_info, &result, tuple, tvm_int(2), context),
                 TVM_VALUE_ERROR, "expected a tuple of 2, got a tuple of 3");
    expect_error(BUILTIN(tvm_relax_check_tuple_info, &result, x, tvm_int(2), context),
                 TVM_TYPE_ERROR, "expected a tuple of 2, got float32 [3, 5]");
    expect_ok(BUILTIN(tvm_relax_check_prim_value_info, &result, tvm_int(4), whole, context));
    expect_ok(BUILTIN(tvm_relax_check_prim_value_info, &result, tvm_float(4), single, context));
    expect_ok(BUILTIN(tvm_relax_check_prim_value_info, &result, tvm_int(4), handle, context));
    expect_error(BUILTIN(tvm_relax_check_prim_value_info, &result, tvm_float(4), whole, context),
                 TVM_TYPE_ERROR, "context: expected int64, got float");
    expect_error(BUILTIN(tvm_relax_check_prim_value_info, &result, x, handle, context),
                 TVM_TYPE_ERROR, "got float32 [3, 5]");
    expect_error(BUILTIN(tvm_relax_check_func_info, &result, x, context), TVM_TYPE_ERROR,
                 "context: expected a function, got float32 [3, 5]");
    expect_ok(BUILTIN(tvm_relax_check_string_info, &result, TEXT("short"), context));
    expect_ok(BUILTIN(tvm_relax_check_string_info, &result, TEXT("text that is long"), none));
    expect_error(BUILTIN(tvm_relax_check_string_info, &result, tvm_int(4), context), TVM_TYPE_ERROR,
                 "context: expected a string, got int");
    expect_ok(BUILTIN(tvm_relax_tuple_getitem, &result, tuple, tvm_int(1)));
    assert_ptr_equal(result.v_object, shape.v_object);
    tvm_value_clear(&result);
    expect_error(BUILTIN(tvm_relax_tuple_getitem, &result, tuple, tvm_int(3)), TVM_INDEX_ERROR,
                 "item 3 of 3");
    expect_error(BUILTIN(tvm_relax_tuple_getitem, &result, tuple, tvm_int(-1)), TVM_INDEX_ERROR,
                 "item -1 of 3");
    expect_ok(BUILTIN(tvm_relax_tuple_reset_item, &result, tuple, tvm_int(1)));
    assert_int_equal(((struct tvm_array *)tuple.v_object)->items[1].type_index, TVM_TYPE_NONE);
    tvm_value_clear(&tuple);
    tvm_value_clear(&x);
    tvm_value_clear(&shape);
}

static void test_builtin_memory(void **state) {
    (void)state;
    struct model model = open_model(MODELS "mlp", "model.so", "main");
    struct model second = open_model(MODELS "mlp", "model.so", "main");
    struct tvm_context_scope scope = tvm_context_enter(tvm_relax_session_context(model.session));
    struct tvm_value vm = tvm_opaque(model.session), storage, tensor, result, view;
    struct tvm_value bytes = dtype_value((DLDataType){TVM_DTYPE_UINT, 8, 1});
    struct tvm_value single = dtype_value(float32), global = TEXT("global");
    struct tvm_value size = SHAPE(256), shape = SHAPE(4, 8), zero = tvm_int(0);
    expect_ok(BUILTIN(tvm_relax_alloc_storage, &storage, vm, size, zero, bytes, global));
    expect_error(BUILTIN(tvm_relax_alloc_storage, &result, vm, size, tvm_int(1), bytes, global),
                 TVM_VALUE_ERROR, "device 1 of 1");
    struct tvm_value negative = SHAPE(-1), huge = SHAPE(INT64_MAX);
    expect_error(BUILTIN(tvm_relax_alloc_storage, &result, vm, negative, zero, bytes, global),
                 TVM_VALUE_ERROR, "the shape has no size");
    expect_error(BUILTIN(tvm_relax_alloc_storage, &result, vm, huge, zero, single, global),
                 TVM_VALUE_ERROR, "the shape has no size");
    expect_ok(BUILTIN(tvm_relax_alloc_tensor, &tensor, storage, tvm_int(128), shape, single));
    const DLTensor *dl = &tensor_of(&tensor)->dl;
    assert_true((uintptr_t)dl->data % 64 == 0 && dl->byte_offset == 0 && dl->shape[1] == 8);
    expect_error(
        BUILTIN(tvm_relax_alloc_tensor, &result, storage, tvm_int(192), shape, single, global),
        TVM_VALUE_ERROR, "needs 128 bytes, storage has 256");
    expect_error(BUILTIN(tvm_relax_alloc_tensor, &result, storage, tvm_int(4), shape, single),
                 TVM_VALUE_ERROR, "at byte 4: expected");
    expect_error(BUILTIN(tvm_relax_alloc_tensor, &result, storage, tvm_int(-64), shape, single),
                 TVM_VALUE_ERROR, "byte offset -64");
    const struct tvm_value wide = tvm_int((INT64_C(1) << 32) + 64);
    expect_error(BUILTIN(tvm_relax_alloc_tensor, &result, storage, wide, shape, single),
                 TVM_VALUE_ERROR, "4294967360");
    expect_error(BUILTIN(tvm_relax_alloc_tensor, &result, tensor, zero, shape, single),
                 TVM_TYPE_ERROR, "expected storage, got Tensor");
    struct tvm_context_scope inner = tvm_context_enter(tvm_relax_session_context(second.session));
    expect_error(BUILTIN(tvm_relax_alloc_tensor, &result, storage, zero, shape, single),
                 TVM_VALUE_ERROR, "another session");
    expect_error(BUILTIN(tvm_relax_alloc_storage, &result, vm, size, zero, bytes, global),
                 TVM_VALUE_ERROR, "expected the virtual machine");
    tvm_context_leave(inner);

    struct tvm_value flat = SHAPE(32), wrong = SHAPE(31), few = SHAPE(2), tail = SHAPE(16);
    for (int i = 0; i < 32; i++)
        ((float *)dl->data)[i] = (float)i;
    expect_ok(BUILTIN(tvm_relax_reshape, &view, tensor, flat));
    assert_ptr_equal(floats(&view), dl->data);
    assert_int_equal(tensor_of(&view)->dl.ndim, 1);
    expect_error(BUILTIN(tvm_relax_reshape, &result, tensor, wrong), TVM_VALUE_ERROR,
                 "[4, 8] has not as many elements as [31]");
    tvm_value_clear(&view);
    /* aligned views begin at their data; others need a copy */
    expect_ok(BUILTIN(tvm_relax_create_view, &view, tensor, tail, single, tvm_int(64)));
    assert_true(tensor_of(&view)->dl.byte_offset == 0 && floats(&view)[0] == 16);
    expect_ok(BUILTIN(tvm_relax_ensure_zero_offset, &result, view));
    assert_ptr_equal(result.v_object, view.v_object);
    tvm_value_clear(&result);
    tvm_value_clear(&view);
    expect_ok(BUILTIN(tvm_relax_create_view, &view, tensor, few, single, tvm_int(12)));
    assert_int_equal(tensor_of(&view)->dl.byte_offset, 128 + 12);
    expect_ok(BUILTIN(tvm_relax_ensure_zero_offset, &result, view));
    assert_true(tensor_of(&result)->dl.byte_offset == 0 && floats(&result)[0] == 3 &&
                floats(&result)[1] == 4);
    tvm_value_clear(&result);
    tvm_value_clear(&view);
    expect_error(BUILTIN(tvm_relax_create_view, &result, tensor, tail, single, tvm_int(68)),
                 TVM_VALUE_ERROR, "64 bytes at byte 68 of a tensor with 128");
    expect_error(BUILTIN(tvm_relax_create_view, &result, tensor, tail, single, tvm_int(-4)),
                 TVM_VALUE_ERROR, "at byte -4");
    expect_error(BUILTIN(tvm_relax_create_view, &result, tensor, tail, single, wide),
                 TVM_VALUE_ERROR, "at byte 4294967360 of a tensor with 128");
    expect_ok(BUILTIN(tvm_relax_to_device, &result, tensor, tvm_int(kDLCPU), zero));
    assert_memory_equal(floats(&result), dl->data, 128);
    assert_ptr_not_equal(floats(&result), dl->data);
    tvm_value_clear(&result);
    expect_ok(BUILTIN(tvm_relax_copy, &result, tensor));
    assert_ptr_equal(result.v_object, tensor.v_object);
    tvm_value_clear(&result);
    struct tvm_value all[] = {storage, tensor, size, shape, negative, huge, flat, wrong, few, tail};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        tvm_value_clear(&all[i]);
    tvm_context_leave(scope);
    close_model(&second);
    close_model(&model);
}

static void test_read_if_cond(void **state) {
    (void)state;
    static const struct {
        DLDataType dtype;
        uint64_t bits;
        int64_t expected;
    } cases[] = {
        {{TVM_DTYPE_BOOL, 8, 1}, 1, 1},          {{TVM_DTYPE_BOOL, 8, 1}, 0, 0},
        {{TVM_DTYPE_INT, 16, 1}, 0x100, 1},      {{TVM_DTYPE_INT, 32, 1}, 0x10000, 1},
        {{TVM_DTYPE_INT, 64, 1}, 1ull << 40, 1}, {{TVM_DTYPE_UINT, 8, 1}, 0x80, 1},
    };
    struct tvm_value result;
    struct tvm_tensor *tensor;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        expect_ok(tvm_tensor_empty(NULL, 0, cases[i].dtype, cpu, &tensor));
        memcpy(tensor->dl.data, &cases[i].bits, tvm_dtype_nbytes(cases[i].dtype));
        expect_ok(BUILTIN(tvm_relax_read_if_cond, &result, tvm_from_object(tensor)));
        assert_true(result.type_index == TVM_TYPE_BOOL && result.v_int == cases[i].expected);
        tvm_object_release(&tensor->object);
    }
    expect_ok(BUILTIN(tvm_relax_read_if_cond, &result, tvm_int(0)));
    assert_int_equal(result.v_int, 0);
    expect_ok(tvm_tensor_empty((int64_t[]){0}, 1, float32, cpu, &tensor));
    expect_error(BUILTIN(tvm_relax_read_if_cond, &result, tvm_from_object(tensor)), TVM_VALUE_ERROR,
                 "the condition has no element");
    tvm_object_release(&tensor->object);
    expect_ok(tvm_tensor_empty(NULL, 0, float32, cpu, &tensor));
    expect_error(BUILTIN(tvm_relax_read_if_cond, &result, tvm_from_object(tensor)), TVM_TYPE_ERROR,
                 "a tensor of float32: expected bool or int");
    tvm_object_release(&tensor->object);
}

/* (a, b, c): a + 10 b + 100 c */
static int digits(void *self, const struct tvm_value *args, int32_t count,
                  struct tvm_value *result) {
    int64_t sum = 0, factor = 1;
    (void)self;
    for (int32_t i = 0; i < count; i++, factor *= 10)
        sum += args[i].v_int * factor;
    *result = tvm_int(sum);
    return 0;
}

static void test_call_tir_dyn(void **state) {
    (void)state;
    struct tvm_function *function;
    struct tvm_value result, shape = SHAPE(7, 3), none = shape_of(0, NULL);
    expect_ok(tvm_function_new(digits, NULL, NULL, &function));
    struct tvm_value callee = tvm_from_object(function);
    expect_ok(BUILTIN(tvm_relax_call_tir_dyn, &result, callee, tvm_int(1), shape));
    assert_int_equal(result.v_int, 371);
    expect_ok(BUILTIN(tvm_relax_call_tir_dyn, &result, callee, none));
    assert_int_equal(result.v_int, 0);
    expect_error(BUILTIN(tvm_relax_call_tir_dyn, &result, callee, tvm_int(1)), TVM_TYPE_ERROR,
                 "expected Shape, got int");
    expect_error(BUILTIN(tvm_relax_call_tir_dyn, &result, tvm_int(1), shape), TVM_TYPE_ERROR,
                 "expected Function, got int");
    expect_error(BUILTIN(tvm_relax_make_closure, &result, callee), TVM_TYPE_ERROR,
                 "expected a closure, got Function");
    tvm_value_clear(&shape);
    tvm_value_clear(&none);
    tvm_object_release(&function->object);
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
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_machine),

        cmocka_unit_test(test_has_function),
        cmocka_unit_test(test_builtin_shapes),
        cmocka_unit_test(test_builtin_checks),
        cmocka_unit_test(test_builtin_memory),
        cmocka_unit_test(test_read_if_cond),
        cmocka_unit_test(test_call_tir_dyn),
    };
    relax_register_callbacks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
