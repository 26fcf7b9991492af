/* What one call of a Relax model costs: the least of several rounds. Models of the test data, or
 * those given: LIBRARY FUNCTION. */
#include "base/os.h"
#include "test/relax_fixture.h"

#include "module/library.h"
#include "test/expect.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 15, MAX_ARGS = 16 };

/* Zeros for each parameter; dimensions that are not fixed are 1. */
static int make_args(const struct tvm_relax_executable *executable, size_t function,
                     struct tvm_value *args) {
    int count = (int)tvm_relax_param_count(executable, function);
    assert_true(count <= MAX_ARGS);
    for (int i = 0; i < count; i++) {
        struct tvm_relax_info info = tvm_relax_param(executable, function, (size_t)i);
        int64_t shape[TVM_MAX_NDIM];
        struct tvm_tensor *tensor;
        size_t nbytes;
        assert_true(info.is_tensor && info.ndim >= 0);
        for (int d = 0; d < info.ndim; d++)
            shape[d] = info.shape[d] < 0 ? 1 : info.shape[d];
        expect_ok(tvm_tensor_empty(shape, info.ndim, info.dtype, (DLDevice){kDLCPU, 0}, &tensor));
        expect_ok(tvm_tensor_nbytes(&tensor->dl, &nbytes));
        memset(tensor->dl.data, 0, nbytes);
        args[i] = tvm_from_object(tensor);
    }
    return count;
}

static void measure(const char *path, const char *name) {
    struct tvm_module *module;
    struct tvm_value args[MAX_ARGS], result;
    int64_t best = INT64_MAX;
    int calls = 1;
    expect_ok(tvm_library_open(path, &module));
    struct tvm_relax_executable *executable = tvm_relax_executable_of(module);
    struct tvm_relax_session *session = relax_session(executable);
    size_t function = relax_function(executable, name);
    int count = make_args(executable, function, args);
    for (int round = 0; round < ROUNDS;) {
        int64_t start = tvm_os_now();
        for (int i = 0; i < calls; i++) {
            expect_ok(tvm_relax_session_call(session, function, args, count, &result));
            tvm_value_clear(&result);
        }
        int64_t time = tvm_os_now() - start;
        if (time < 20000000 && calls < 1 << 20) { /* 20 ms a round */
            calls *= 2;
            continue;
        }
        best = time / calls < best ? time / calls : best;
        round++;
    }
    printf("%-55s %s %8lld ns\n", path, name, (long long)best);
    for (int i = 0; i < count; i++)
        tvm_value_clear(&args[i]);
    tvm_object_release((struct tvm_object *)session);
    tvm_object_release(&module->object);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        measure(argv[1], argv[2]);
        return 0;
    }
#ifdef __x86_64__
    static const char *const models[] = {"mlp/model.so", "mlp/model-compiled.so",
                                         "mlp_dynamic/model.so", "transformer/model.so"};
    for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++) {
        char path[256];
        snprintf(path, sizeof(path), "gotvm/testdata/relax/tvm0.27/%s", models[i]);
        measure(path, "main");
    }
#endif
    return 0;
}
