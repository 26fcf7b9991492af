/* The blob of modules in a compiled library (module/blob.h), written by tests. */
#ifndef TVM_TEST_BLOB_FIXTURE_H
#define TVM_TEST_BLOB_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

/* What has been written. */
extern unsigned char blob[1 << 16];
extern size_t blob_size;

/* Begins anew, with a number of entries that follow. */
void blob_begin(uint64_t entries);
void blob_put(uint64_t value);
void blob_put_bytes(const void *data, size_t size);
void blob_put_text(const char *text);

/* Which entry imports which. */
void blob_put_tree(const uint64_t *rows, size_t row_count, const uint64_t *edges,
                   size_t edge_count);

/* Sets the blob's size, with more bytes that follow elsewhere. */
void blob_end(uint64_t more);

#endif
