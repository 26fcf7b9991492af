/* Tests that fail when they leave an object behind. */
#ifndef TVM_TEST_LEAKS_H
#define TVM_TEST_LEAKS_H

#include "test/expect.h"

/* Around each such test; one that gives its own set-up calls these in it. The thread's error is
 * dropped before the objects are counted, and the built-in functions are there. */
int leaks_begin(void **state);
int leaks_end(void **state);
#define LEAKS_TEST(function) cmocka_unit_test_setup_teardown(function, leaks_begin, leaks_end)

/* Bytes that are allocated; 0 always where a sanitizer allocates. */
size_t leaks_bytes(void);

#endif
