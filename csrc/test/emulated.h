/* Tests that run in an emulator. */
#ifndef TVM_TEST_EMULATED_H
#define TVM_TEST_EMULATED_H

#include <stdbool.h>
#include <stdlib.h>

/* Whether this program runs in the emulator that GOTVM_EMULATOR names (scripts/test-arm64). It is
 * tens of times slower: what only repeats itself, and is the same on every machine, can do with
 * fewer rounds there. */
static inline bool emulated(void) {
    return getenv("GOTVM_EMULATOR") != NULL;
}

#endif
