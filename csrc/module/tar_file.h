/* (Not called tar.h: cgo puts this folder before the system headers.)
 *
 * Finding members of tar archives, which may hold any bytes: old, ustar, PAX and GNU formats. */
#ifndef TVM_MODULE_TAR_FILE_H
#define TVM_MODULE_TAR_FILE_H

#include "base/reader.h"

#include <stdbool.h>

/* A file in an archive. */
struct tvm_tar_member {
    const char *name; /* without a leading "./" */
    size_t offset, size;
    bool found;
};

/* Whether the data looks like an archive, perhaps a damaged one. */
bool tvm_tar_is(const unsigned char *data, size_t size);

/* Finds members by name; those that are not there stay not found. The whole archive is gone
 * through: FormatError for a damaged one and for a wanted name that is there twice,
 * UnsupportedError for a wanted member that is no plain file. */
int tvm_tar_find(struct tvm_reader *reader, struct tvm_tar_member *members, size_t count);

#endif
