/* What a library's symbols say: which TVM made it, what it wants from this process, and whether it
 * can have that. */
#ifndef TVM_MODULE_SYMBOLS_H
#define TVM_MODULE_SYMBOLS_H

#include "module/elf_file.h"

/* A pointer variable in a library, called "__" and the name of the runtime's function that the
 * loader stores in it. */
struct tvm_slot {
    const char *name;
    void (*function)(void);
};

/* Those of TVM 0.5 to 0.19 and of 0.22 and newer; ends with a NULL name. */
extern const struct tvm_slot tvm_slots[];

/* Other symbols that TVM's libraries define. */
#define TVM_SYMBOL_CONTEXT                                                                         \
    "__tvm_module_ctx"                    /* pointer that comes back in TVMBackendGetFuncFromEnv */
#define TVM_SYMBOL_BLOB "__tvm_dev_mblob" /* modules that the library packages */
#define TVM_SYMBOL_MAIN "__tvm_main__"    /* the entry function, or a string that names it */

/* The same of TVM 0.22 and newer, whose functions speak tvm-ffi. */
#define TVM_SYMBOL_FFI_PREFIX "__tvm_ffi_" /* before each function's name */
#define TVM_SYMBOL_FFI_CONTEXT "__tvm_ffi__library_ctx"
#define TVM_SYMBOL_FFI_BLOB "__tvm_ffi__library_bin"

/* Whether TVM 0.22 or newer made the library. */
bool tvm_symbols_is_ffi(const struct tvm_elf *elf);

/* UnsupportedError for a library of TVM 0.21, one with slots that nobody would fill,
 * and one that needs functions of TVM that this program does not have; FormatError when a variable
 * that the loader writes to is not what it should be. */
int tvm_symbols_check(const struct tvm_elf *elf);

#endif
