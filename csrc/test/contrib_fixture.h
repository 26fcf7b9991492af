/* Calls of the functions that the runtime supplies to models. */
#ifndef TVM_TEST_CONTRIB_FIXTURE_H
#define TVM_TEST_CONTRIB_FIXTURE_H

#include "base/function.h"

/* Calls tvm.contrib.<name>, which must be there and has no result. */
int contrib_call(const char *name, const struct tvm_value *args, int32_t count);

#endif
