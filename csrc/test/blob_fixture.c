#include "test/blob_fixture.h"

#include "test/expect.h"

unsigned char blob[1 << 16];
size_t blob_size;

void blob_put_bytes(const void *data, size_t size) {
    assert_true(size <= sizeof(blob) - blob_size);
    if (size)
        memcpy(blob + blob_size, data, size);
    blob_size += size;
}

void blob_put(uint64_t value) {
    blob_put_bytes(&value, sizeof(value));
}

void blob_put_text(const char *text) {
    blob_put(strlen(text));
    blob_put_bytes(text, strlen(text));
}

void blob_begin(uint64_t entries) {
    blob_size = 0;
    blob_put(0); /* the size, by blob_end() */
    blob_put(entries);
}

void blob_put_tree(const uint64_t *rows, size_t row_count, const uint64_t *edges,
                   size_t edge_count) {
    blob_put_text("_import_tree");
    blob_put(row_count);
    blob_put_bytes(rows, row_count * sizeof(*rows));
    blob_put(edge_count);
    blob_put_bytes(edges, edge_count * sizeof(*edges));
}

void blob_end(uint64_t more) {
    uint64_t size = blob_size - 8 + more;
    memcpy(blob, &size, 8);
}
