#include "test/counter_fixture.h"

#include "module/library.h"
#include "test/expect.h"
#include "test/library_fixture.h"
#include "test/module_call.h"

#include <stdio.h>

_Atomic int counter_loaded, counter_loads;

/* Called by the libraries. */
void test_loaded(int change);
__attribute__((visibility("default"))) void test_loaded(int change) {
    atomic_fetch_add(&counter_loaded, change);
    atomic_fetch_add(&counter_loads, change > 0);
}

const char *counter_compile(const char *name, int value) {
    char flags[128];
    snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -DVALUE=%d", value);
    return fixture_compile(name, flags, COUNTER);
}

struct tvm_module *counter_open(const char *path) {
    struct tvm_module *module;
    expect_ok(tvm_library_open(path, &module));
    assert_string_equal(module->kind->key, "library");
    return module;
}

int64_t counter_call(struct tvm_module *module, const char *name) {
    struct tvm_value result;
    expect_ok(module_call(module, name, NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_INT);
    return result.v_int;
}
