#include "test/contrib_fixture.h"

#include "test/expect.h"

#include <stdio.h>

int contrib_call(const char *name, const struct tvm_value *args, int32_t count) {
    char full[64];
    struct tvm_function *function;
    struct tvm_value result;
    snprintf(full, sizeof(full), "tvm.contrib.%s", name);
    expect_ok(tvm_registry_get(full, &function));
    assert_non_null(function);
    int status = tvm_function_call(function, args, count, &result);
    if (status == 0)
        assert_int_equal(result.type_index, TVM_TYPE_NONE);
    tvm_object_release(&function->object);
    return status;
}
