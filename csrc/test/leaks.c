#include "test/leaks.h"

#include "base/function.h"

#include <malloc.h>

static int64_t objects_before;

int leaks_begin(void **state) {
    (void)state;
    struct tvm_function *none; /* the first look makes the built-in functions */
    expect_ok(tvm_registry_get("test.none", &none));
    drop_error();
    objects_before = tvm_object_live_count();
    return 0;
}

int leaks_end(void **state) {
    (void)state;
    drop_error();
    int64_t more = tvm_object_live_count() - objects_before;
    if (more)
        print_error("%lld objects are left behind\n", (long long)more);
    return more ? -1 : 0;
}

size_t leaks_bytes(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#else
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#endif
}
