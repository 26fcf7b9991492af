/* Compiled libraries: shared objects that TVM made, as modules. */
#ifndef TVM_MODULE_LIBRARY_H
#define TVM_MODULE_LIBRARY_H

#include "base/module.h"

#include <sys/stat.h>

/* Opens the library at path. While any module, function or array of it lives, it stays mapped;
 * opening the same file again gives the same module (a new reference). The file is read through its
 * own descriptor, so a file replaced under the same name is another library. The file's
 * constructors run: open only what you trust. */
int tvm_library_open(const char *path, struct tvm_module **out);

/* The same from the bytes of a shared object, which may be freed afterwards; nothing is written to
 * disk. name is what messages call it. Each call makes a module of its own. */
int tvm_library_open_bytes(const char *name, const void *data, size_t size,
                           struct tvm_module **out);

/* A shared object inside a larger file. */
struct tvm_library_part {
    int fd;                  /* of the file */
    const struct stat *file; /* as it was before anything was read */
    uint64_t offset;         /* above 0 */
    size_t size;
};

/* The same from a part of a file. While it is open, opening the same part of the same file again
 * gives the same module, as for a file. The file may be changed afterwards; one that is cut during
 * the call is a FormatError. */
int tvm_library_open_part(const char *name, const struct tvm_library_part *part,
                          struct tvm_module **out);

/* A function of compiled code of TVM 0.22 or newer; owner (a reference is added) keeps it mapped.
 */
int tvm_library_function_new(tvm_safe_call *code, struct tvm_object *owner,
                             struct tvm_function **out);

/* The compiled code behind a function of a library of TVM 0.22 or newer, NULL for any other: for
 * callers that call it often. Its self is ignored. When it fails, it may leave workspaces behind
 * (tvm_workspace_mark). It is valid while the function lives. */
tvm_safe_call *tvm_library_function_code(const struct tvm_function *function);

/* TVM's runtime.ModuleLoadFromFile(path, format): a Module. A path without a slash is tried in the
 * working directory first, then in the dynamic linker's library path. format is "so", "dll",
 * "dylib", "dso", or empty or missing for the path's own ending. */
tvm_builtin_call tvm_library_load_from_file;

/* The same for the classic C API. */
int tvm_library_load(const char *path, const char *format, struct tvm_module **out);

/* What TVMBackendGetFuncFromEnv asks for: the function called name in the imports of the library
 * whose context this is (not in the library itself), else the global one. context is what the
 * loader stored in the library's __tvm_module_ctx; NULL is nobody's, and gives global functions.
 * *out is borrowed and stays the same for a name, and valid, until the library is unmapped: the
 * library keeps it. NotFoundError when there is none. */
int tvm_library_env_function(void *context, const char *name, struct tvm_function **out);

#endif
