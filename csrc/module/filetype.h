/* What a file is that somebody took for another. */
#ifndef TVM_MODULE_FILETYPE_H
#define TVM_MODULE_FILETYPE_H

#include "base/error.h"

#include <stddef.h>

/* How many of its first bytes tell it. */
enum { TVM_FILETYPE_BYTES = 512 };

/* Raises kind, or FormatError for an empty file: data, called name, is not wanted, such as "a
 * shared object", but what its first bytes say. Returns -1. */
int tvm_filetype_refuse(const char *kind, const char *name, const char *wanted,
                        const unsigned char *data, size_t size);

#endif
