#include "test/opencl_fixture.h"

#include "base/container.h"
#include "test/expect.h"

#include <stdio.h>

void opencl_model_open(const char *name, const char *file, struct opencl_model *out) {
    *out = (struct opencl_model){.test = {.rtol = 1e-5, .atol = 1e-5}};
    snprintf(out->test.name, sizeof(out->test.name), "../opencl/%s", name);
    out->reference = zoo_reference(&out->test);
    expect_ok(tvm_graph_package_open(zoo_case_path(&out->test, file), &out->package));
}

void opencl_model_close(struct opencl_model *model) {
    tvm_object_release((struct tvm_object *)model->reference);
    tvm_graph_package_clear(&model->package);
}

static struct tvm_tensor *copy_to(const DLTensor *from, DLDevice device) {
    struct tvm_tensor *copy;
    expect_ok(tvm_tensor_empty(from->shape, from->ndim, from->dtype, device, &copy));
    expect_ok(tvm_tensor_copy(from, &copy->dl));
    return copy;
}

static void open_graph(const struct opencl_model *model, DLDevice device,
                       struct opencl_session *out) {
    const DLDevice devices[] = {device, {kDLCPU, 0}};
    const struct tvm_graph_package *package = &model->package;
    struct tvm_graph_params *params = NULL;
    if (package->weights)
        expect_ok(tvm_graph_weights_place_for(package->weights, NULL, package->plan, devices, 2,
                                              &params));
    expect_ok(tvm_graph_session_new(package->plan, package->library, params, devices, 2, NULL,
                                    &out->graph));
    for (size_t i = 0; i < tvm_graph_plan_input_count(package->plan); i++) {
        struct tvm_bytes name = tvm_graph_plan_input(package->plan, i).name;
        bool shared = tvm_graph_session_is_shared(out->graph, i);
        assert_int_equal(shared, package->weights && tvm_graph_weights_has(package->weights, name));
    }
    tvm_object_release((struct tvm_object *)params);
    zoo_set_inputs(&model->test, out->graph, model->reference);
}

static void open_relax(const struct opencl_model *model, DLDevice device,
                       struct opencl_session *out) {
    struct tvm_relax_executable *executable = tvm_relax_executable_of(model->package.module);
    assert_non_null(executable);
    expect_ok(tvm_relax_session_new(executable, device, &out->relax));
    assert_true(tvm_relax_find_function(executable, "main", &out->function));
    out->arg_count = (int)tvm_relax_param_count(executable, out->function);
    assert_true(out->arg_count <= (int)(sizeof(out->args) / sizeof(*out->args)));
    for (int i = 0; i < out->arg_count; i++) {
        char name[20];
        int size = snprintf(name, sizeof(name), "in:%d", i);
        const struct tvm_tensor *input =
            tvm_graph_params_find(model->reference, (struct tvm_bytes){name, (size_t)size});
        assert_non_null(input);
        out->args[i] = tvm_from_object(copy_to(&input->dl, device));
    }
}

void opencl_session_new(const struct opencl_model *model, DLDevice device,
                        struct opencl_session *out) {
    *out = (struct opencl_session){.model = model};
    if (model->package.plan)
        open_graph(model, device, out);
    else
        open_relax(model, device, out);
}

int opencl_session_run(struct opencl_session *session) {
    if (session->graph)
        return tvm_graph_session_run(session->graph);
    tvm_value_clear(&session->result);
    return tvm_relax_session_call(session->relax, session->function, session->args,
                                  session->arg_count, &session->result);
}

static void check_tensor(const struct opencl_session *session, size_t index, const DLTensor *dl) {
    struct tvm_tensor *copy = copy_to(dl, (DLDevice){kDLCPU, 0});
    zoo_compare(&session->model->test, session->model->reference, index, &copy->dl);
    tvm_object_release(&copy->object);
}

void opencl_session_check(struct opencl_session *session) {
    if (session->relax) {
        assert_int_equal(session->result.type_index, TVM_TYPE_TENSOR);
        check_tensor(session, 0, &((struct tvm_tensor *)session->result.v_object)->dl);
        return;
    }
    size_t count = tvm_graph_plan_output_count(session->model->package.plan);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        struct tvm_tensor *output;
        expect_ok(tvm_graph_session_get_output(session->graph, i, &output));
        check_tensor(session, i, &output->dl);
        tvm_object_release(&output->object);
    }
}

void opencl_session_close(struct opencl_session *session) {
    tvm_value_clear(&session->result);
    for (int i = 0; i < session->arg_count; i++)
        tvm_value_clear(&session->args[i]);
    tvm_object_release((struct tvm_object *)session->graph);
    tvm_object_release((struct tvm_object *)session->relax);
}
