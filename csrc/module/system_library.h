/* The system library: models that are linked into the program as object files. Their constructors
 * register each function and variable by name, before main and before anything else of this runtime
 * runs (TVMBackendRegisterSystemLibSymbol, TVMFFIEnvModRegisterSystemLibSymbol). */
#ifndef TVM_MODULE_SYSTEM_LIBRARY_H
#define TVM_MODULE_SYSTEM_LIBRARY_H

#include "base/module.h"

/* Registers a symbol; the name is copied. ValueError for one that is there with another address:
 * then whoever looks it up gets that error too, as constructors do not look at results. */
int tvm_system_register(const char *name, void *address);

/* The module on top of what is registered with prefix before its names (a new reference). It is
 * made once for each prefix, and lives as long as the process. NotFoundError that lists the
 * prefixes when no symbol has this one. */
int tvm_system_library(const char *prefix, struct tvm_module **out);

/* NotFoundError, likewise, unless what has the prefix is a model and not merely functions. */
int tvm_system_check_model(const char *prefix);

/* ffi.SystemLib([prefix]), runtime.SystemLib([prefix]): a Module. */
tvm_builtin_call tvm_system_library_get;

#endif
