/* Libraries that tests compile, which tell when they are loaded, and count. */
#ifndef TVM_TEST_COUNTER_FIXTURE_H
#define TVM_TEST_COUNTER_FIXTURE_H

#include "base/module.h"

/* Of a classic compiled function, behind its name. */
#define PARAMETERS "(union v *a, int *c, int n, union v *r, int *rc, void *h)"

/* answer() returns VALUE; next() counts its calls; both tell when they are loaded and unloaded. */
#define COUNTER                                                                                    \
    "union v { long long i; double d; void *p; };\n"                                               \
    "void test_loaded(int); static int counter;\n"                                                 \
    "__attribute__((constructor)) static void up(void) { test_loaded(1); }\n"                      \
    "__attribute__((destructor)) static void down(void) { test_loaded(-1); }\n"                    \
    "int answer" PARAMETERS " { r->i = VALUE; *rc = 0; return 0; }\n"                              \
    "int next" PARAMETERS " { r->i = ++counter; *rc = 0; return 0; }\n"                            \
    "int data = 5; const char text[] = \"answer\";\n"                                              \
    "__attribute__((visibility(\"hidden\"))) int hidden" PARAMETERS " { return 0; }\n"

/* Such libraries that are loaded now; how often one was loaded. */
extern _Atomic int counter_loaded, counter_loads;

/* Compiles one, and returns its path. */
const char *counter_compile(const char *name, int value);

/* Opens one. */
struct tvm_module *counter_open(const char *path);

/* What a function without arguments returns. */
int64_t counter_call(struct tvm_module *module, const char *name);

#endif
