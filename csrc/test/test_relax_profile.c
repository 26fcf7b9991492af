/* Profiles of Relax executables: which calls they tell, with which tensors and times. */
#include "base/context.h"
#include "base/os.h"
#include "base/profile.h"
#include "test/expect.h"
#include "test/relax_fixture.h"

#include <stdio.h>
#include <time.h>

static const DLDevice cpu = {kDLCPU, 0};

#define MODELS "tvm0.27/"

struct model {
    struct tvm_relax_executable *executable;
    struct tvm_relax_session *session;
    struct tvm_profile profile;
};

/* A session that is measured. */
static struct model *open_model(const char *folder, const char *file) {
    static struct model model;
    model = (struct model){.executable = relax_open(folder, file)};
    model.session = relax_session(model.executable);
    tvm_relax_session_context(model.session)->profile = &model.profile;
    return &model;
}

static void close_model(struct model *model) {
    tvm_profile_clear(&model->profile);
    tvm_object_release((struct tvm_object *)model->session);
    tvm_object_release((struct tvm_object *)model->executable);
}

static int call(struct model *model, const char *function, struct tvm_value x,
                struct tvm_value *result) {
    return tvm_relax_session_call(model->session, relax_function(model->executable, function), &x,
                                  1, result);
}

/* Calls, and checks that the times fit together. */
static void measure(struct model *model, const char *function, struct tvm_value x) {
    struct tvm_value result;
    int64_t start = tvm_os_now(), end = 0;
    expect_ok(call(model, function, x, &result));
    int64_t wall = tvm_os_now() - start;
    tvm_value_clear(&result);
    for (const struct tvm_profile_operator *it = model->profile.first; it; it = it->next) {
        assert_true(end <= it->start && it->start <= it->end);
        assert_int_equal(it->device_time, 0);
        assert_int_equal(it->device.device_type, kDLCPU);
        end = it->end;
    }
    assert_true(end <= model->profile.total && model->profile.total <= wall);
}

/* Operators as "matmul f32[1, 16] f32[16, 12] -> f32[1, 12]; …". */
static const char *describe(const struct tvm_profile *profile) {
    static char text[4000];
    char shape[TVM_SHAPE_TEXT_SIZE];
    size_t used = 0;
    *text = '\0';
    for (const struct tvm_profile_operator *it = profile->first; it; it = it->next) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? "; " : "",
                                 it->function.data);
        assert_string_equal(it->name.data, it->function.data);
        size_t nbytes = 0;
        for (size_t i = 0; i < it->input_count + it->output_count; i++) {
            const struct tvm_profile_tensor *tensor = &it->tensors[i];
            size_t elements;
            expect_ok(tvm_shape_count(tensor->shape, tensor->ndim, &elements));
            nbytes += elements * tensor->dtype.bits / 8;
            assert_int_equal(tensor->name.size, 0);
            used += (size_t)snprintf(
                text + used, sizeof(text) - used, "%s %c%d%s", i == it->input_count ? " ->" : "",
                tensor->dtype.code == TVM_DTYPE_FLOAT ? 'f' : 'i', tensor->dtype.bits,
                tvm_shape_print(tensor->shape, tensor->ndim, shape, sizeof(shape)));
        }
        assert_int_equal(it->nbytes, nbytes);
    }
    return text;
}

/* The layers that scripts/relax_cases.py makes: 16-12-12-5, then softmax. */
static void test_kernels(void **state) {
    (void)state;
    struct model *model = open_model(MODELS "mlp", "model.so");
    struct tvm_value x = relax_filled(1, 16, 1);
    for (int i = 0; i < 3; i++) { /* each run replaces the last */
        measure(model, "main", x);
        assert_string_equal(describe(&model->profile),
                            "matmul f32[1, 16] f32[16, 12] -> f32[1, 12]; "
                            "add f32[1, 12] f32[12] -> f32[1, 12]; "
                            "relu f32[1, 12] -> f32[1, 12]; "
                            "matmul1 f32[1, 12] f32[12, 12] -> f32[1, 12]; "
                            "add f32[1, 12] f32[12] -> f32[1, 12]; "
                            "relu f32[1, 12] -> f32[1, 12]; "
                            "matmul2 f32[1, 12] f32[12, 5] -> f32[1, 5]; "
                            "add1 f32[1, 5] f32[5] -> f32[1, 5]; "
                            "softmax f32[1, 5] -> f32[1, 5]");
    }
    tvm_value_clear(&x);
    close_model(model);
}

/* Shapes are those of the call; a kernel for any shape is called through a builtin, and is told by
 * its own name. */
static void test_dynamic(void **state) {
    (void)state;
    struct model *model = open_model(MODELS "mlp_dynamic", "model.so");
    for (int64_t batch = 1; batch < 9; batch += 7) {
        struct tvm_value x = relax_filled(batch, 16, 1);
        char first[100], last[100];
        measure(model, "main", x);
        snprintf(first, sizeof(first), "matmul f32[%d, 16] f32[16, 12] -> f32[%d, 12]; ",
                 (int)batch, (int)batch);
        snprintf(last, sizeof(last), "; softmax f32[%d, 5] -> f32[%d, 5]", (int)batch, (int)batch);
        const char *text = describe(&model->profile);
        assert_non_null(strstr(text, first));
        assert_non_null(strstr(text, last));
        assert_null(strstr(text, "vm.builtin"));
        tvm_value_clear(&x);
    }
    close_model(model);
}

static int add_one_slowly(void *self, const struct tvm_value *args, int32_t count,
                          struct tvm_value *result) {
    (void)self, (void)count;
    const struct timespec rest = {.tv_nsec = 20000000};
    int64_t end = tvm_os_now() + rest.tv_nsec;
    while (tvm_os_now() < end)
        nanosleep(&rest, NULL);
    return tvm_value_own(&args[0], result);
}

/* Functions of the program: what they return, or write to, is their output; and a slow one takes
 * as long as it does. */
static void test_program_functions(void **state) {
    (void)state;
    struct model *model = open_model(MODELS "callback", "model.so");
    struct tvm_value x = relax_filled(2, 3, 1), result;
    measure(model, "main", x);
    assert_string_equal(describe(&model->profile), "gotvm.test.add_one f32[2, 3] -> f32[2, 3]; "
                                                   "add f32[2, 3] f32[2, 3] -> f32[2, 3]");
    measure(model, "dps", x);
    assert_string_equal(describe(&model->profile),
                        "gotvm.test.add_one_into f32[2, 3] -> f32[2, 3]");

    /* A run that fails, and then one that does not. */
    expect_error(call(model, "fails", x, &result), "TestError", "deliberate");
    measure(model, "dps", x);
    assert_ptr_equal(model->profile.first, model->profile.last);
    atomic_store(&tvm_relax_session_context(model->session)->cancelled, true);
    expect_error(call(model, "dps", x, &result), TVM_CANCELLED_ERROR, "cancelled");
    atomic_store(&tvm_relax_session_context(model->session)->cancelled, false);
    measure(model, "dps", x);

    /* Nobody is told of runs after the profile. */
    tvm_relax_session_context(model->session)->profile = NULL;
    tvm_profile_clear(&model->profile);
    expect_ok(call(model, "dps", x, &result));
    tvm_value_clear(&result);
    assert_null(model->profile.first);
    close_model(model);

    struct tvm_function *function;
    expect_ok(tvm_function_new(add_one_slowly, NULL, NULL, &function));
    expect_ok(tvm_registry_set("gotvm.test.add_one", function, true));
    tvm_object_release(&function->object);
    model = open_model(MODELS "callback", "model.so");
    bool faster = false; /* the other kernel: unless all is paused just then */
    for (int i = 0; i < 5 && !faster; i++) {
        measure(model, "main", x);
        const struct tvm_profile_operator *slow = model->profile.first, *fast = slow->next;
        assert_true(slow->end - slow->start >= 20000000);
        faster = fast->end - fast->start < slow->end - slow->start;
    }
    assert_true(faster);
    relax_register_callbacks();
    tvm_value_clear(&x);
    close_model(model);
}

/* Functions of bytecode are seen by the calls in them; what copies is shown, the rest is not. */
static void test_control_flow(void **state) {
    (void)state;
    struct model *model = open_model(MODELS "recursion", "model.so");
    struct tvm_tensor *three;
    expect_ok(tvm_tensor_empty(NULL, 0, (DLDataType){TVM_DTYPE_INT, 64, 1}, cpu, &three));
    *(int64_t *)three->dl.data = 3;
    measure(model, "even", tvm_from_object(three));
    size_t conditions = 0, others = 0;
    for (const struct tvm_profile_operator *it = model->profile.first; it; it = it->next)
        if (strcmp(it->name.data, "vm.builtin.read_if_cond") == 0)
            conditions++;
        else
            others += strncmp(it->name.data, "vm.builtin.", 11) == 0;
    assert_int_equal(conditions, 4); /* of 3, 2, 1 and 0 */
    assert_int_equal(others, 0);
    tvm_object_release(&three->object);
    close_model(model);
}

static void test_compiled(void **state) {
    (void)state;
    struct model *model = open_model(MODELS "mlp", "model-compiled.so");
    struct tvm_value x = relax_filled(1, 16, 1), result;
    expect_error(call(model, "main", x, &result), TVM_UNSUPPORTED_ERROR,
                 "main: it is compiled to machine code, where no calls can be measured: compile "
                 "the model with exec_mode=\"bytecode\"");
    tvm_relax_session_context(model->session)->profile = NULL;
    expect_ok(call(model, "main", x, &result));
    tvm_value_clear(&result);
    tvm_value_clear(&x);
    close_model(model);
}

/* Sizes that no memory has add up to the most there is; a call is on the device of its tensors. */
static void test_tensors(void **state) {
    (void)state;
    struct tvm_profile profile = {0};
    struct tvm_profile_operator *op;
    struct tvm_bytes name = {"f", 1};
    int64_t shape[] = {PTRDIFF_MAX};
    DLTensor tensor = {.device = cpu, .ndim = 1, .dtype = {TVM_DTYPE_UINT, 8, 1}, .shape = shape};
    expect_ok(tvm_profile_add(&profile, name, name, 4, &op));
    for (int i = 0; i < 3; i++)
        expect_ok(tvm_profile_add_tensor(op, name, &tensor, false));
    assert_int_equal(op->nbytes, SIZE_MAX);
    tensor.device = (DLDevice){kDLOpenCL, 1};
    expect_ok(tvm_profile_add_tensor(op, name, &tensor, true));
    assert_true(tvm_device_equal(op->device, tensor.device));
    assert_int_equal(op->input_count, 3);
    assert_int_equal(op->output_count, 1);
    tvm_profile_clear(&profile);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),           cmocka_unit_test(test_dynamic),
        cmocka_unit_test(test_program_functions), cmocka_unit_test(test_control_flow),
        cmocka_unit_test(test_compiled),          cmocka_unit_test(test_tensors),
    };
    relax_register_callbacks();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
