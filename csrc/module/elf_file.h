/* (Not called elf.h: cgo puts this folder before the system headers.)
 *
 * Reading ELF shared objects before the dynamic linker sees them: every offset in the file is
 * checked, so that any bytes may be given. What the dynamic linker goes by counts (program headers
 * and the dynamic segment); section headers, which may be stripped, only tell the number of
 * symbols. */
#ifndef TVM_MODULE_ELF_H
#define TVM_MODULE_ELF_H

#include "base/error.h"

#include <link.h>
#include <stdbool.h>

/* ELF's own structures, of this machine's class. */
typedef ElfW(Ehdr) tvm_elf_header;
typedef ElfW(Phdr) tvm_elf_segment_header;
typedef ElfW(Shdr) tvm_elf_section;
typedef ElfW(Dyn) tvm_elf_dynamic;
typedef ElfW(Sym) tvm_elf_symbol_entry;

/* A symbol that other objects can see, or that this one wants from them. */
struct tvm_elf_symbol {
    const char *name;
    uint64_t address;   /* as linked; meaningless unless defined */
    uint64_t size;      /* 0: not told */
    unsigned char type; /* STT_FUNC, STT_OBJECT … */
    bool defined;
};

/* A readable shared object for this machine. Everything in it points into data. */
struct tvm_elf {
    const char *name; /* what messages call the file */
    const unsigned char *data;
    size_t size;
    tvm_elf_segment_header *loads; /* what is mapped, by ascending address; owned */
    size_t load_count;
    struct tvm_elf_symbol *symbols; /* by name, of equal ones a defined one first; owned */
    size_t symbol_count;
    const char **needed; /* names of libraries that must be loaded with it; owned */
    size_t needed_count;
};

/* Reads size bytes, which must stay as long as *out. FormatError for a damaged or truncated file,
 * UnsupportedError for one that is something else, which the message names with what would work.
 * Free with tvm_elf_free. */
int tvm_elf_read(const char *name, const void *data, size_t size, struct tvm_elf *out);

void tvm_elf_free(struct tvm_elf *elf);

/* The symbol called name where the object defines it, else NULL. */
const struct tvm_elf_symbol *tvm_elf_find(const struct tvm_elf *elf, const char *name);

/* Whether a symbol can be called. */
static inline bool tvm_elf_is_function(const struct tvm_elf_symbol *symbol) {
    return symbol->type == STT_FUNC || symbol->type == STT_GNU_IFUNC;
}

/* The segment that size bytes at symbol's address lie in, or NULL. */
const tvm_elf_segment_header *tvm_elf_segment(const struct tvm_elf *elf,
                                              const struct tvm_elf_symbol *symbol, uint64_t size);

/* A data symbol's content in the file: up to its size or, where that is 0, to the end of its
 * segment's bytes. FormatError when not all of it is in the file. */
int tvm_elf_content(const struct tvm_elf *elf, const struct tvm_elf_symbol *symbol,
                    const unsigned char **out, size_t *size);

/* Whether the file called name begins as an ELF file does, of which data is all or at least the
 * first TVM_FILETYPE_BYTES: UnsupportedError or FormatError that says what it is, and what would
 * work. */
int tvm_elf_check_begin(const char *name, const unsigned char *data, size_t size);

/* What messages call a machine (EM_X86_64 …), into buffer where it has no name. */
enum { TVM_ELF_MACHINE_SIZE = 32 };
const char *tvm_elf_machine_name(unsigned machine, char *buffer);

#endif
