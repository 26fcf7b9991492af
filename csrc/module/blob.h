/* What a library packages beside its functions (__tvm_dev_mblob): modules of other kinds and the
 * tree in which all of them import each other. */
#ifndef TVM_MODULE_BLOB_H
#define TVM_MODULE_BLOB_H

#include "base/module.h"

struct tvm_blob {
    struct tvm_module **modules; /* owned; NULL at the place of the library itself */
    size_t count;
    size_t place; /* index of that place; count when there is none */
    uint64_t
        *rows; /* count + 1 starts of children in edges; NULL: the library imports all others */
    uint64_t *edges; /* the children, each a greater index than its parent */
};

/* Reads a blob of at most size bytes; name is what messages call it, and origin where its modules
 * find the data later. UnsupportedError for a kind of module that this build does not have,
 * FormatError for a damaged blob. Free with tvm_blob_free. */
int tvm_blob_read(const char *name, const unsigned char *data, size_t size,
                  const struct tvm_reader_origin *origin, struct tvm_blob *out);

/* The same of TVM 0.22 and newer (__tvm_ffi__library_bin). */
int tvm_blob_read_ffi(const char *name, const unsigned char *data, size_t size,
                      const struct tvm_reader_origin *origin, struct tvm_blob *out);

/* Lets the modules import each other, with library in its place. *root is the one on top (a new
 * reference). Once for each blob. */
int tvm_blob_link(struct tvm_blob *blob, struct tvm_module *library, struct tvm_module **root);

void tvm_blob_free(struct tvm_blob *blob);

#endif
