/* cmocka with the headers that it needs, and checks of errors. */
#ifndef TVM_TEST_EXPECT_H
#define TVM_TEST_EXPECT_H

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* Checks that call failed with an error of this kind whose message contains text; takes the error.
 */
#define expect_error(call, kind, text) expect_error_at((call), kind, text, __FILE__, __LINE__)

static inline void expect_error_at(int status, const char *kind, const char *text, const char *file,
                                   int line) {
    struct tvm_error *error = tvm_error_take();
    bool expected = status == -1 && error && strcmp(error->kind.data, kind) == 0 &&
                    strstr(error->message.data, text);
    if (!expected) {
        print_error("expected -1 and %s \"…%s…\", got %d and %s \"%s\"\n", kind, text, status,
                    error ? error->kind.data : "no error", error ? error->message.data : "");
        _fail(file, line);
    }
    tvm_object_release(&error->object);
}

/* Checks that call succeeded; prints its error where not. */
#define expect_ok(call) expect_ok_at((call), __FILE__, __LINE__)

static inline void expect_ok_at(int status, const char *file, int line) {
    if (status == 0)
        return;
    const struct tvm_error *error = tvm_error_peek();
    print_error("got %d and %s \"%s\"\n", status, error ? error->kind.data : "no error",
                error ? error->message.data : "");
    _fail(file, line);
}

/* Drops the thread's error, if there is one. */
static inline void drop_error(void) {
    tvm_object_release((struct tvm_object *)tvm_error_take());
}

#endif
