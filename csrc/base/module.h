/* Modules: things that have functions by name, and other modules imported into them. */
#ifndef TVM_BASE_MODULE_H
#define TVM_BASE_MODULE_H

#include "base/function.h"
#include "base/reader.h"

struct tvm_module;

/* A kind of module. Those that can stand in a library's blob are listed in tvm_module_kinds. */
struct tvm_module_kind {
    const char *key; /* TVM's type key */

    bool ffi; /* stands in blobs of TVM 0.22 and newer, not in classic ones */

    /* Reads one module of this kind from a blob, exactly its own bytes (classic payloads carry no
     * length). The reader has an origin. NULL where the kind never stands in a blob. */
    int (*load)(struct tvm_reader *reader, struct tvm_module **out);

    /* The module's own function called name with a new reference, or NULL in *out. */
    int (*get_function)(struct tvm_module *self, const char *name, struct tvm_function **out);

    /* Ends what the kind added to the module; may be NULL. */
    void (*destroy)(struct tvm_module *self);
};

/* Begins the struct of each kind. */
struct tvm_module {
    struct tvm_object object;
    const struct tvm_module_kind *kind;
    struct tvm_module **_Atomic imports; /* owned, each once; see tvm_module_import_at */
    _Atomic size_t import_count;
};

/* Kinds that a blob may hold; ends with NULL. Defined in csrc/tables.c. */
extern const struct tvm_module_kind *const tvm_module_kinds[];

/* Allocates a zeroed module of nbytes whose struct begins with struct tvm_module. NULL with an
 * error raised when there is no memory. */
void *tvm_module_alloc(size_t nbytes, const struct tvm_module_kind *kind);

/* Imports dep (a reference is added) into module, unless it does already. ValueError when that
 * would close a cycle. Any threads at once. */
int tvm_module_import(struct tvm_module *module, struct tvm_module *dep);
/* What it imports, borrowed, in order; NULL behind the last. */
struct tvm_module *tvm_module_import_at(const struct tvm_module *module, size_t index);

/* The function called name with a new reference, or NULL in *out (which is no error): the module's
 * own, then, with query_imports, those of its imports, depth first in order. */
int tvm_module_get_function(struct tvm_module *module, const char *name, bool query_imports,
                            struct tvm_function **out);

/* The same, of the first import of module that has it. */
int tvm_module_get_imported(const struct tvm_module *module, const char *name, bool query_imports,
                            struct tvm_function **out);

/* A function of self written in C, such as a graph module's "set_input". */
struct tvm_module_method {
    const char *name;
    int (*call)(struct tvm_module *self, const struct tvm_call *call, struct tvm_value *result);
};

/* get_function for a kind with a fixed table of methods, which ends with a NULL name. The functions
 * keep self alive. */
int tvm_module_get_method(struct tvm_module *self, const struct tvm_module_method *methods,
                          const char *name, struct tvm_function **out);

#endif
