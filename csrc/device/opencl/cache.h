/* Compiled programs on disk: a folder with one file for each, found by a key. Files are checked
 * before anybody sees their content, since drivers are not safe against damaged programs. Whatever
 * goes wrong with the folder counts as having no such file; nothing here raises errors. Any number
 * of threads and processes may use one folder.
 *
 * A file is a header of four little-endian u64 (magic with version, sizes of key and program,
 * hash), the key, the program. The hash finds damage, of all else in the file; who could forge it
 * could write the file. */
#ifndef TVM_DEVICE_OPENCL_CACHE_H
#define TVM_DEVICE_OPENCL_CACHE_H

#include "base/error.h"

#include <stdbool.h>

/* Reads the program that was stored under key, which counts as a use. It is part of *file, which is
 * to be freed. Files that other users could have written are ignored. */
bool tvm_opencl_cache_load(const char *folder, struct tvm_bytes key, unsigned char **file,
                           struct tvm_bytes *program);

/* Makes the folder, if need be, for this user alone; false when nothing can be stored there. */
bool tvm_opencl_cache_prepare(const char *folder);

/* Stores a program in place of what key has, then removes files, those first that have not been
 * used for longest, until all take at most limit bytes. One larger than limit is not stored. */
void tvm_opencl_cache_store(const char *folder, size_t limit, struct tvm_bytes key,
                            struct tvm_bytes program);

#endif
