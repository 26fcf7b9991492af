#include "module/elf_file.h"

#include "module/filetype.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#define OUR_TARGET "llvm -mtriple=x86_64-linux-gnu"
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#define OUR_TARGET "llvm -mtriple=aarch64-linux-gnu"
#elif defined(__arm__)
#define OUR_MACHINE EM_ARM
#define OUR_TARGET "llvm -mtriple=armv7-unknown-linux-gnueabihf -mfloat-abi=hard -mattr=+neon"
#else
_Static_assert(0, "gotvm runs on amd64, arm64 and armhf");
#endif

#ifndef DF_1_PIE
#define DF_1_PIE 0x08000000
#endif

#ifndef DT_RELR /* from glibc 2.36 */
#define DT_RELR 36
#define DT_RELRSZ 35
#endif

const char *tvm_elf_machine_name(unsigned machine, char *buffer) {
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {
        {EM_386, "32-bit x86"},     {EM_ARM, "32-bit ARM"},  {EM_X86_64, "x86-64"},
        {EM_AARCH64, "aarch64"},    {EM_RISCV, "RISC-V"},    {EM_MIPS, "MIPS"},
        {EM_PPC64, "64-bit POWER"}, {EM_S390, "s390"},       {EM_QDSP6, "Hexagon"},
        {EM_CUDA, "NVIDIA GPUs"},   {EM_AMDGPU, "AMD GPUs"}, {258, "LoongArch"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i].machine == machine)
            return names[i].name;
    snprintf(buffer, TVM_ELF_MACHINE_SIZE, "machine number %u", machine);
    return buffer;
}

static int damaged(const struct tvm_elf *elf, const char *what) {
    return tvm_raise(TVM_FORMAT_ERROR, "%s: a damaged or truncated ELF file: %s", elf->name, what);
}

/* Copies a fixed-size piece of the file; false when it does not lie in it. */
static bool copy_out(const struct tvm_elf *elf, uint64_t offset, void *out, size_t size) {
    if (offset > elf->size || elf->size - offset < size)
        return false;
    memcpy(out, elf->data + offset, size);
    return true;
}

static int check_machine(const struct tvm_elf *elf, const tvm_elf_header *header) {
    char theirs[TVM_ELF_MACHINE_SIZE], ours[TVM_ELF_MACHINE_SIZE];
    bool wide = header->e_ident[EI_CLASS] == ELFCLASS64;
    bool little = header->e_ident[EI_DATA] == ELFDATA2LSB;
    unsigned machine = header->e_machine;
    if (!little) /* e_machine stands at the same place in both classes */
        machine = (machine & 0xff) << 8 | machine >> 8;
    if (wide == (sizeof(void *) == 8) && little && machine == OUR_MACHINE)
        return 0;
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: compiled for %s%s%s, and this program runs on %s: recompile the model "
                     "with --target \"%s\"",
                     elf->name, tvm_elf_machine_name(machine, theirs), wide ? "" : " (32-bit)",
                     little ? "" : " (big-endian)", tvm_elf_machine_name(OUR_MACHINE, ours),
                     OUR_TARGET);
}

static int check_type(const struct tvm_elf *elf, unsigned type) {
    switch (type) {
    case ET_DYN:
        return 0;
    case ET_REL:
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: an object file, not yet a library: link it with "
                         "\"cc -shared -o model.so model.o\", or use export_library(\"model.so\")",
                         elf->name);
    case ET_EXEC:
        return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: a program, not a library", elf->name);
    case ET_CORE:
        return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: a core dump, not a library", elf->name);
    default:
        return damaged(elf, "its type is none of ELF's");
    }
}

int tvm_elf_check_begin(const char *name, const unsigned char *data, size_t size) {
    static const char magic[] = ELFMAG;
    if (size >= SELFMAG && memcmp(data, magic, SELFMAG) == 0)
        return 0;
    if (size && size < SELFMAG && memcmp(data, magic, size) == 0)
        return tvm_raise(TVM_FORMAT_ERROR, "%s: a damaged or truncated ELF file: it has %zu byte%s",
                         name, size, size == 1 ? "" : "s");
    return tvm_filetype_refuse(TVM_UNSUPPORTED_ERROR, name, "a shared object", data, size);
}

static int read_header(const struct tvm_elf *elf, tvm_elf_header *header) {
    if (tvm_elf_check_begin(elf->name, elf->data, elf->size))
        return -1;
    if (!copy_out(elf, 0, header, sizeof(*header)))
        return damaged(elf, "it ends within its header");
    unsigned char wide = header->e_ident[EI_CLASS], order = header->e_ident[EI_DATA];
    if ((wide != ELFCLASS32 && wide != ELFCLASS64) ||
        (order != ELFDATA2LSB && order != ELFDATA2MSB) || header->e_ident[EI_VERSION] != EV_CURRENT)
        return damaged(elf, "its first bytes are none of ELF's");
    if (check_machine(elf, header) || check_type(elf, header->e_type))
        return -1;
    if (header->e_version != EV_CURRENT || header->e_phentsize != sizeof(tvm_elf_segment_header) ||
        header->e_phnum == 0 || header->e_phnum == PN_XNUM)
        return damaged(elf, "its program headers cannot be read");
    return 0;
}

/* Keeps a PT_LOAD entry: inside the file, and behind the one before in memory. */
static int add_load(struct tvm_elf *elf, const tvm_elf_segment_header *load) {
    ElfW(Addr) end;
    if (load->p_offset > elf->size || load->p_filesz > elf->size - load->p_offset)
        return damaged(elf, "a segment reaches beyond the end of the file");
    if (load->p_filesz > load->p_memsz ||
        __builtin_add_overflow(load->p_vaddr, load->p_memsz, &end))
        return damaged(elf, "a segment's size makes no sense");
    if (elf->load_count) {
        const tvm_elf_segment_header *before = &elf->loads[elf->load_count - 1];
        if (load->p_vaddr < before->p_vaddr + before->p_memsz)
            return damaged(elf, "segments overlap");
    }
    elf->loads[elf->load_count++] = *load;
    return 0;
}

static int read_segments(struct tvm_elf *elf, const tvm_elf_header *header,
                         tvm_elf_segment_header *dynamic) {
    elf->loads = calloc(header->e_phnum, sizeof(*elf->loads));
    if (!elf->loads)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < header->e_phnum; i++) {
        tvm_elf_segment_header entry;
        uint64_t offset;
        if (__builtin_add_overflow(header->e_phoff, i * sizeof(entry), &offset) ||
            !copy_out(elf, offset, &entry, sizeof(entry)))
            return damaged(elf, "its program headers reach beyond the end of the file");
        if (entry.p_type == PT_LOAD && add_load(elf, &entry))
            return -1;
        if (entry.p_type == PT_DYNAMIC)
            *dynamic = entry;
    }
    if (!elf->load_count || dynamic->p_type == PT_NULL)
        return damaged(elf, "it has no segment to load or no dynamic segment");
    return 0;
}

/* The bytes in the file behind an address and how many follow in its segment; NULL for none. */
static const unsigned char *at_address(const struct tvm_elf *elf, uint64_t address, size_t *left) {
    for (size_t i = 0; i < elf->load_count; i++) {
        const tvm_elf_segment_header *load = &elf->loads[i];
        if (address >= load->p_vaddr && address - load->p_vaddr < load->p_filesz) {
            uint64_t offset = address - load->p_vaddr;
            *left = (size_t)(load->p_filesz - offset);
            return elf->data + load->p_offset + offset;
        }
    }
    *left = 0;
    return NULL;
}

const tvm_elf_segment_header *tvm_elf_segment(const struct tvm_elf *elf,
                                              const struct tvm_elf_symbol *symbol, uint64_t size) {
    for (size_t i = 0; i < elf->load_count; i++) {
        const tvm_elf_segment_header *load = &elf->loads[i];
        if (symbol->address >= load->p_vaddr && symbol->address - load->p_vaddr < load->p_memsz &&
            size <= load->p_memsz - (symbol->address - load->p_vaddr))
            return load;
    }
    return NULL;
}

int tvm_elf_content(const struct tvm_elf *elf, const struct tvm_elf_symbol *symbol,
                    const unsigned char **out, size_t *size) {
    size_t left;
    *out = at_address(elf, symbol->address, &left);
    if (!*out || symbol->size > left)
        return tvm_raise(TVM_FORMAT_ERROR, "%s: the content of %s (%llu bytes) is not in the file",
                         elf->name, symbol->name, (unsigned long long)symbol->size);
    *size = symbol->size ? (size_t)symbol->size : left;
    return 0;
}

/* The dynamic segment's entries. */
struct dynamic {
    const unsigned char *entries;
    size_t count;
};

static tvm_elf_dynamic dynamic_entry(const struct dynamic *dynamic, size_t index) {
    tvm_elf_dynamic entry; /* may lie anywhere in the file: not aligned */
    memcpy(&entry, dynamic->entries + index * sizeof(entry), sizeof(entry));
    return entry;
}

static bool dynamic_value(const struct dynamic *dynamic, int64_t tag, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < dynamic->count; i++) {
        tvm_elf_dynamic entry = dynamic_entry(dynamic, i);
        if (entry.d_tag == tag) {
            *out = entry.d_un.d_val;
            return true;
        }
    }
    return false;
}

/* A table whose address and size stand in the dynamic segment: where given, it must be mapped. */
static bool table_fits(const struct tvm_elf *elf, const struct dynamic *dynamic,
                       int64_t address_tag, int64_t size_tag) {
    uint64_t address, size;
    size_t left;
    if (!dynamic_value(dynamic, address_tag, &address))
        return true;
    if (!dynamic_value(dynamic, size_tag, &size) || size == 0)
        return true;
    return at_address(elf, address, &left) && size <= left;
}

static int read_dynamic(const struct tvm_elf *elf, const tvm_elf_segment_header *segment,
                        struct dynamic *out) {
    size_t left;
    out->entries = at_address(elf, segment->p_vaddr, &left);
    if (!out->entries || segment->p_memsz > left)
        return damaged(elf, "its dynamic segment is not in the file");
    size_t room = (size_t)segment->p_memsz / sizeof(tvm_elf_dynamic);
    for (out->count = 0; out->count < room; out->count++)
        if (dynamic_entry(out, out->count).d_tag == DT_NULL)
            break;
    if (out->count == room)
        return damaged(elf, "its dynamic segment has no end");
    uint64_t flags;
    if (dynamic_value(out, DT_FLAGS_1, &flags) && (flags & DF_1_PIE))
        return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: a program, not a library", elf->name);
    if (!table_fits(elf, out, DT_RELA, DT_RELASZ) || !table_fits(elf, out, DT_REL, DT_RELSZ) ||
        !table_fits(elf, out, DT_RELR, DT_RELRSZ) ||
        !table_fits(elf, out, DT_JMPREL, DT_PLTRELSZ) ||
        !table_fits(elf, out, DT_INIT_ARRAY, DT_INIT_ARRAYSZ) ||
        !table_fits(elf, out, DT_FINI_ARRAY, DT_FINI_ARRAYSZ))
        return damaged(elf, "a table of its dynamic segment is not in the file");
    return 0;
}

static uint32_t word_at(const unsigned char *data, size_t index) {
    uint32_t word;
    memcpy(&word, data + index * sizeof(word), sizeof(word));
    return word;
}

/* Number of symbols that a DT_GNU_HASH table reaches; it does not list undefined ones. */
static bool count_by_gnu_hash(const unsigned char *hash, size_t left, uint64_t *count) {
    if (left < 16)
        return false;
    uint64_t buckets = word_at(hash, 0), first = word_at(hash, 1), bloom = word_at(hash, 2);
    uint64_t buckets_at = 16 + bloom * sizeof(ElfW(Addr)), chains_at = buckets_at + buckets * 4;
    if (chains_at > left)
        return false;
    uint64_t last = 0;
    for (uint64_t i = 0; i < buckets; i++) {
        uint32_t bucket = word_at(hash + buckets_at, (size_t)i);
        if (bucket > last)
            last = bucket;
    }
    *count = first;
    if (last < first)
        return last == 0;
    const unsigned char *chains = hash + chains_at;
    size_t room = (left - (size_t)chains_at) / 4;
    for (; last - first < room; last++)
        if (word_at(chains, (size_t)(last - first)) & 1) {
            *count = last + 1;
            return true;
        }
    return false;
}

/* Number of symbols by the section headers; false when they do not describe the table at offset. */
static int count_by_sections(const struct tvm_elf *elf, const tvm_elf_header *header,
                             uint64_t offset, uint64_t *count, bool *found) {
    tvm_elf_section section;
    size_t number = header->e_shnum;
    *found = false;
    if (header->e_shoff == 0)
        return 0;
    if (header->e_shentsize != sizeof(section) || header->e_shoff > elf->size ||
        number > (elf->size - header->e_shoff) / sizeof(section))
        return damaged(elf, "its section headers reach beyond the end of the file");
    for (size_t i = 0; i < number && !*found; i++) {
        copy_out(elf, header->e_shoff + i * sizeof(section), &section, sizeof(section));
        *found = section.sh_type == SHT_DYNSYM && section.sh_offset == offset &&
                 section.sh_entsize == sizeof(tvm_elf_symbol_entry);
        *count = section.sh_size / sizeof(tvm_elf_symbol_entry);
    }
    return 0;
}

/* Where the symbol table is, and how many symbols it has. */
static int locate_symbols(const struct tvm_elf *elf, const tvm_elf_header *header,
                          const struct dynamic *dynamic, const unsigned char **symbols,
                          size_t *count) {
    uint64_t address, by_section = 0, by_hash = 0, by_gnu_hash = 0;
    size_t left, hash_left;
    bool have_section;
    if (!dynamic_value(dynamic, DT_SYMTAB, &address) ||
        !(*symbols = at_address(elf, address, &left)))
        return damaged(elf, "its symbol table is not in the file");
    uint64_t offset = (uint64_t)(*symbols - elf->data);
    if (count_by_sections(elf, header, offset, &by_section, &have_section))
        return -1;
    bool have_hash = dynamic_value(dynamic, DT_HASH, &address);
    if (have_hash) {
        const unsigned char *hash = at_address(elf, address, &hash_left);
        if (!hash || hash_left < 8 ||
            (hash_left - 8) / 4 < (uint64_t)word_at(hash, 0) + word_at(hash, 1))
            return damaged(elf, "its hash table is not in the file");
        by_hash = word_at(hash, 1);
    }
    bool have_gnu_hash = dynamic_value(dynamic, DT_GNU_HASH, &address);
    if (have_gnu_hash) {
        const unsigned char *hash = at_address(elf, address, &hash_left);
        if (!hash || !count_by_gnu_hash(hash, hash_left, &by_gnu_hash))
            return damaged(elf, "its GNU hash table makes no sense");
    }
    if (!have_section && !have_hash && !have_gnu_hash)
        return damaged(elf, "nothing in it tells how many symbols it has");
    uint64_t most = by_section > by_hash ? by_section : by_hash;
    most = most > by_gnu_hash ? most : by_gnu_hash;
    if (most > left / sizeof(tvm_elf_symbol_entry))
        return damaged(elf, "its symbol table reaches beyond the end of the file");
    *count = (size_t)most;
    return 0;
}

static int compare_symbols(const void *a, const void *b) {
    const struct tvm_elf_symbol *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (int)y->defined - (int)x->defined;
}

static int read_symbols(struct tvm_elf *elf, const tvm_elf_header *header,
                        const struct dynamic *dynamic, const char *strings, size_t strings_size) {
    const unsigned char *table;
    size_t count = 0;
    if (locate_symbols(elf, header, dynamic, &table, &count))
        return -1;
    if (count == 0)
        return 0;
    elf->symbols = calloc(count, sizeof(*elf->symbols));
    if (!elf->symbols)
        return tvm_raise_out_of_memory();
    for (size_t i = 1; i < count; i++) { /* the first one is a placeholder */
        tvm_elf_symbol_entry symbol;
        memcpy(&symbol, table + i * sizeof(symbol), sizeof(symbol));
        unsigned char binding = ELF64_ST_BIND(symbol.st_info);
        if (symbol.st_name >= strings_size)
            return damaged(elf, "a symbol's name lies outside of its string table");
        if (binding != STB_GLOBAL && binding != STB_WEAK && binding != STB_GNU_UNIQUE)
            continue;
        elf->symbols[elf->symbol_count++] = (struct tvm_elf_symbol){
            .name = strings + symbol.st_name,
            .address = symbol.st_value,
            .size = symbol.st_size,
            .type = ELF64_ST_TYPE(symbol.st_info),
            .defined = symbol.st_shndx != SHN_UNDEF,
        };
    }
    qsort(elf->symbols, elf->symbol_count, sizeof(*elf->symbols), compare_symbols);
    return 0;
}

static int read_needed(struct tvm_elf *elf, const struct dynamic *dynamic, const char *strings,
                       size_t strings_size) {
    elf->needed = calloc(dynamic->count + 1, sizeof(*elf->needed));
    if (!elf->needed)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < dynamic->count; i++) {
        tvm_elf_dynamic entry = dynamic_entry(dynamic, i);
        if (entry.d_tag != DT_NEEDED)
            continue;
        if (entry.d_un.d_val >= strings_size)
            return damaged(elf, "the name of a library that it needs lies outside of the file");
        elf->needed[elf->needed_count++] = strings + entry.d_un.d_val;
    }
    return 0;
}

static int read_all(struct tvm_elf *elf) {
    tvm_elf_header header = {0};
    tvm_elf_segment_header segment = {0};
    struct dynamic dynamic = {0};
    uint64_t address, strings_size;
    size_t left;
    if (read_header(elf, &header) || read_segments(elf, &header, &segment) ||
        read_dynamic(elf, &segment, &dynamic))
        return -1;
    dynamic_value(&dynamic, DT_STRTAB, &address);
    dynamic_value(&dynamic, DT_STRSZ, &strings_size);
    const char *strings = (const char *)at_address(elf, address, &left);
    if (!strings || strings_size == 0 || strings_size > left || strings[strings_size - 1])
        return damaged(elf, "its string table makes no sense");
    if (read_symbols(elf, &header, &dynamic, strings, (size_t)strings_size))
        return -1;
    return read_needed(elf, &dynamic, strings, (size_t)strings_size);
}

int tvm_elf_read(const char *name, const void *data, size_t size, struct tvm_elf *out) {
    *out = (struct tvm_elf){.name = name, .data = data, .size = size};
    int status = read_all(out);
    if (status)
        tvm_elf_free(out);
    return status;
}

void tvm_elf_free(struct tvm_elf *elf) {
    free(elf->loads);
    free(elf->symbols);
    free(elf->needed);
    *elf = (struct tvm_elf){0};
}

const struct tvm_elf_symbol *tvm_elf_find(const struct tvm_elf *elf, const char *name) {
    size_t low = 0, high = elf->symbol_count; /* the first one not below name */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(elf->symbols[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const struct tvm_elf_symbol *found = &elf->symbols[low];
    if (low == elf->symbol_count || strcmp(found->name, name) != 0 || !found->defined)
        return NULL;
    return found;
}
