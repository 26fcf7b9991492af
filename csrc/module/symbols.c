#include "module/symbols.h"

#include "base/os.h"
#include "include/tvm_ffi_runtime.h"

#include <dlfcn.h>
#include <string.h>

#define SLOT(function)                                                                             \
    { "__" #function, (void (*)(void))function }

const struct tvm_slot tvm_slots[] = {
    SLOT(TVMFuncCall),
    SLOT(TVMAPISetLastError),
    SLOT(TVMBackendGetFuncFromEnv),
    SLOT(TVMBackendAllocWorkspace),
    SLOT(TVMBackendFreeWorkspace),
    SLOT(TVMBackendParallelLaunch),
    SLOT(TVMBackendParallelBarrier),
    SLOT(TVMBackendAnyListSetPackedArg),
    SLOT(TVMBackendAnyListResetItem),
    SLOT(TVMBackendAnyListMoveFromPackedReturn),
    SLOT(TVMFFIFunctionCall),
    SLOT(TVMFFIErrorSetRaisedFromCStr),
    SLOT(TVMFFIErrorSetRaisedFromCStrParts),
    SLOT(TVMFFIEnvModLookupFromImports),
    SLOT(TVMFFIHandleInitOnce),
    SLOT(TVMFFIHandleDeinitOnce),
    {NULL, NULL},
};

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool tvm_symbols_is_ffi(const struct tvm_elf *elf) {
    for (size_t i = 0; i < elf->symbol_count; i++) {
        const char *name = elf->symbols[i].name;
        if (elf->symbols[i].defined && begins_with(name, TVM_SYMBOL_FFI_PREFIX) &&
            strcmp(name, "__tvm_ffi_library_bin") != 0 &&
            strcmp(name, "__tvm_ffi_library_ctx") != 0)
            return true;
    }
    return false;
}

/* TVM 0.21 speaks an early tvm-ffi: its functions have no prefix, its objects another layout. */
static int check_generation(const struct tvm_elf *elf) {
    for (size_t i = 0; i < elf->symbol_count; i++) {
        const char *name = elf->symbols[i].name;
        if (elf->symbols[i].defined && begins_with(name, "TVMFFI"))
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: a library of functions for models (such as %s), and no model: "
                             "open what the compiler's export_library(\"model.so\") wrote",
                             elf->name, name);
        if (begins_with(name, TVM_SYMBOL_FFI_PREFIX) || begins_with(name, "TVMFFI") ||
            begins_with(name, "__TVMFFI"))
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: a library of TVM 0.21 (it has the symbol %s, and no function "
                             "named as those of 0.22 are): compile the model with TVM 0.22 or "
                             "newer, or with 0.19 or older for the graph executor",
                             elf->name, name);
    }
    return 0;
}

static bool is_slot(const char *name) {
    for (const struct tvm_slot *slot = tvm_slots; slot->name; slot++)
        if (strcmp(slot->name, name) == 0)
            return true;
    return false;
}

/* The loader is going to write a pointer to this symbol. */
static int check_pointer(const struct tvm_elf *elf, const struct tvm_elf_symbol *symbol) {
    const tvm_elf_segment_header *segment = tvm_elf_segment(elf, symbol, sizeof(void *));
    if (symbol->type == STT_OBJECT && symbol->size >= sizeof(void *) && segment &&
        (segment->p_flags & PF_W) && symbol->address % sizeof(void *) == 0)
        return 0;
    return tvm_raise(TVM_FORMAT_ERROR, "%s: %s should be a pointer variable, and is none",
                     elf->name, symbol->name);
}

static int check_defined(const struct tvm_elf *elf, const struct tvm_elf_symbol *symbol) {
    if (strcmp(symbol->name, TVM_SYMBOL_CONTEXT) == 0 ||
        strcmp(symbol->name, TVM_SYMBOL_FFI_CONTEXT) == 0)
        return check_pointer(elf, symbol);
    if (!begins_with(symbol->name, "__TVM"))
        return 0;
    if (is_slot(symbol->name))
        return check_pointer(elf, symbol);
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: wants %s from the runtime, which this build does not have: it was "
                     "made by a TVM that it does not know",
                     elf->name, symbol->name + 2);
}

/* Whether the dynamic linker will find name for the library in what is loaded globally. */
static bool is_provided(void *program, const char *name) {
    return program && dlsym(program, name);
}

static int check_undefined(const struct tvm_elf *elf, const struct tvm_elf_symbol *symbol,
                           void *program) {
    const char *name = symbol->name;
    if (begins_with(name, "_Z") && (strstr(name, "N3tvm7runtime") || strstr(name, "N3tvm3ffi")))
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: needs TVM's C++ runtime (%s), which this one replaces: compile the "
                         "model without the external code that uses it",
                         elf->name, name);
    if (!begins_with(name, "TVM") || is_provided(program, name))
        return 0;
    for (const struct tvm_slot *slot = tvm_slots; slot->name; slot++)
        if (strcmp(slot->name + 2, name) == 0)
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: needs %s, which this program has but does not export: link it "
                             "with -rdynamic",
                             elf->name, name);
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: needs %s of TVM's runtime, which this program does not provide",
                     elf->name, name);
}

/* TVM's own libraries must not be loaded beside this runtime. */
static int check_needed(const struct tvm_elf *elf) {
    for (size_t i = 0; i < elf->needed_count; i++) {
        const char *name =
            strrchr(elf->needed[i], '/') ? strrchr(elf->needed[i], '/') + 1 : elf->needed[i];
        if (!begins_with(name, "libtvm"))
            continue;
        void *loaded = dlopen(elf->needed[i], RTLD_LAZY | RTLD_NOLOAD);
        if (!loaded)
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: linked against %s, which would load a second runtime: link the "
                             "model without it",
                             elf->name, elf->needed[i]);
        dlclose(loaded);
    }
    return 0;
}

int tvm_symbols_check(const struct tvm_elf *elf) {
    if (tvm_os_is_static())
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: " TVM_OS_STATIC
                         ": link the model into it (scripts/link-model), or the program "
                         "dynamically",
                         elf->name);
    if ((!tvm_symbols_is_ffi(elf) && check_generation(elf)) || check_needed(elf))
        return -1;
    void *program = dlopen(NULL, RTLD_LAZY);
    int status = 0;
    for (size_t i = 0; status == 0 && i < elf->symbol_count; i++)
        status = elf->symbols[i].defined ? check_defined(elf, &elf->symbols[i])
                                         : check_undefined(elf, &elf->symbols[i], program);
    if (program)
        dlclose(program);
    return status;
}
