/* Loaded images of compiled libraries: one for each file content that is open, shared by the
 * modules on it.
 *
 * The dynamic linker goes by names first, and takes a file that was renamed over an open one, or a
 * descriptor number that is used again, for the old image. So an image keeps its own descriptor
 * open and is loaded through that. */
#ifndef TVM_MODULE_IMAGE_H
#define TVM_MODULE_IMAGE_H

#include "module/library.h"

struct tvm_image;

/* Opens the file at path (NotFoundError, OSError with "cannot open shared object file"), or finds
 * the image that it is loaded as. Then either *module is the module on top of that image, with a
 * new reference, and nothing more is to be done; or *module is NULL, and the caller makes one with
 * tvm_image_attach. */
int tvm_image_open(const char *path, struct tvm_image **image, struct tvm_module **module);

/* Makes a module for the library's own functions. */
typedef int tvm_image_make(struct tvm_image *image, struct tvm_module **out);

/* Checks and loads the image, unless it is loaded, and makes a new module on it: the one on top of
 * what it packages. Ends the caller's use of image, also on failure. */
int tvm_image_attach(struct tvm_image *image, tvm_image_make *make, struct tvm_module **out);

/* The same of an image of its own for bytes in memory, which are copied for the dynamic linker;
 * nobody may write to them meanwhile. */
int tvm_image_from_bytes(const char *name, const void *data, size_t size, tvm_image_make *make,
                         struct tvm_module **out);

/* The same of a part of a file, which is copied as well; while it is loaded, it is found as the
 * same image again. */
int tvm_image_from_part(const char *name, const struct tvm_library_part *part, tvm_image_make *make,
                        struct tvm_module **out);

/* A module for the library's own functions begins and ends its use of image. */
void tvm_image_retain(struct tvm_image *image);
void tvm_image_release(struct tvm_image *image, const struct tvm_module *self);

/* The address of the library's function called name, NULL when it has none for callers. The entry
 * function is also called __tvm_main__. */
void *tvm_image_function(const struct tvm_image *image, const char *name);

/* Whether its functions are safe calls of tvm-ffi (TVM 0.22 and newer), not classic ones. */
bool tvm_image_is_ffi(const struct tvm_image *image);

#endif
