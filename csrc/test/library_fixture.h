/* Libraries that tests compile from C, and other files, in a folder of their own that goes at exit.
 */
#ifndef TVM_TEST_LIBRARY_FIXTURE_H
#define TVM_TEST_LIBRARY_FIXTURE_H

#include <stddef.h>

/* The path of a file in that folder; valid until the call after the next seven. */
const char *fixture_path(const char *name);

/* Compiles source with `$CC <flags>` (cc if unset) into the file called name, and returns its path.
 */
const char *fixture_compile(const char *name, const char *flags, const char *source);

/* A file's bytes in a block of just that size, to be freed. */
unsigned char *fixture_read(const char *path, size_t *size);

/* Writes a file anew (another inode than what was there). */
const char *fixture_write(const char *name, const void *data, size_t size);

/* Opens the library at path, and closes it again. */
int fixture_try_open(const char *path);

#define FIXTURE_LIBRARY "-shared -fPIC -O1 -nostdlib"

#endif
