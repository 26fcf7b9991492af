/* From an executable's words to instructions. */
#ifndef TVM_RELAX_DECODE_H
#define TVM_RELAX_DECODE_H

#include "relax/vm.h"

/* A function's instructions as the file tells them: the first, and the one behind the last. */
struct decode_range {
    int64_t start, end;
};

struct decode_words {
    int64_t *offsets; /* of instructions in data */
    int64_t *data;
    uint32_t offset_count, data_count;
};

/* Fills code, args and immediate values of executable, which has its functions and constants.
 * FormatError, or UnsupportedError for an operation that this build does not know; without the name
 * of the data. */
int tvm_vm_decode(struct tvm_relax_executable *executable, const struct decode_words *words,
                  const struct decode_range *ranges);

#endif
