/* The ELF reader: what it accepts, what it says of the rest, and that no bytes hurt it. */
#include "module/elf_file.h"

#include "module/filetype.h"
#include "module/symbols.h"
#include "test/expect.h"
#include "test/library_fixture.h"
#include "test/zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SOURCE                                                                                     \
    "int (*__TVMAPISetLastError)(const char *) __attribute__((weak));\n"                           \
    "void *__tvm_module_ctx; const char __tvm_main__[] = \"add\"; extern int other(void);\n"       \
    "int add(void) { return other(); } __attribute__((visibility(\"hidden\"))) int hide(void)\n"   \
    "{ return 1; } static int local(void) { return 2; } int (*keep)(void) = local;\n"

#if defined(__x86_64__)
#define MACHINE "x86-64"
#define OTHER "aarch64"
#define OTHER_MACHINE EM_AARCH64
#define MODEL "gotvm/testdata/models/tvm0.19/conv/deploy.so"
#define OTHER_MODEL "gotvm/testdata/arm64/conv/deploy.so"
#define CLASS ""
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#define OTHER "x86-64"
#define OTHER_MACHINE EM_X86_64
#define MODEL "gotvm/testdata/arm64/conv/deploy.so"
#define OTHER_MODEL "gotvm/testdata/models/tvm0.19/conv/deploy.so"
#define CLASS ""
#else
#define MACHINE "32-bit ARM"
#define OTHER "x86-64"
#define OTHER_MACHINE EM_X86_64
#define OTHER_MODEL "gotvm/testdata/models/tvm0.19/conv/deploy.so"
#define CLASS " (32-bit)"
#endif

/* What the loader does with a file's bytes before it loads them. */
static int inspect(const char *name, const void *data, size_t size) {
    struct tvm_elf elf;
    if (tvm_elf_read(name, data, size, &elf))
        return -1;
    int status = tvm_symbols_check(&elf);
    static const char *const symbols[] = {TVM_SYMBOL_MAIN, TVM_SYMBOL_BLOB};
    for (size_t i = 0; status == 0 && i < 2; i++) {
        const struct tvm_elf_symbol *symbol = tvm_elf_find(&elf, symbols[i]);
        const unsigned char *content;
        size_t left;
        volatile unsigned char sum = 0;
        if (symbol)
            status = tvm_elf_content(&elf, symbol, &content, &left);
        for (size_t j = 0; symbol && status == 0 && j < left; j++)
            sum = (unsigned char)(sum + content[j]);
    }
    tvm_elf_free(&elf);
    return status;
}

static int inspect_file(const char *path) {
    size_t size;
    unsigned char *data = fixture_read(path, &size);
    int status = inspect(path, data, size);
    free(data);
    return status;
}

static int inspect_source(const char *flags, const char *source) {
    return inspect_file(fixture_compile("model.so", flags, source));
}

static void check_symbols(const unsigned char *data, size_t size) {
    struct tvm_elf elf;
    expect_ok(tvm_elf_read("model.so", data, size, &elf));
    const struct tvm_elf_symbol *symbol = tvm_elf_find(&elf, "add");
    assert_non_null(symbol);
    assert_true(tvm_elf_is_function(symbol) && symbol->size > 0);
    symbol = tvm_elf_find(&elf, "__tvm_main__");
    assert_non_null(symbol);
    assert_false(tvm_elf_is_function(symbol));
    const unsigned char *content;
    size_t content_size;
    expect_ok(tvm_elf_content(&elf, symbol, &content, &content_size));
    assert_int_equal(content_size, 4);
    assert_string_equal((const char *)content, "add");
    symbol = tvm_elf_find(&elf, "__TVMAPISetLastError");
    assert_non_null(symbol);
    assert_int_equal(symbol->size, sizeof(void *));
    assert_non_null(tvm_elf_segment(&elf, symbol, sizeof(void *)));
    assert_null(tvm_elf_segment(&elf, symbol, UINT64_MAX));
    assert_null(tvm_elf_find(&elf, "hide"));
    assert_null(tvm_elf_find(&elf, "local"));
    assert_null(tvm_elf_find(&elf, "other")); /* undefined */
    assert_null(tvm_elf_find(&elf, ""));
    assert_null(tvm_elf_find(&elf, "zzz"));
    bool seen = false;
    for (size_t i = 0; i < elf.symbol_count; i++)
        seen = seen || (strcmp(elf.symbols[i].name, "other") == 0 && !elf.symbols[i].defined);
    assert_true(seen);
    tvm_elf_free(&elf);
}

static void test_symbols(void **state) {
    static const char *const styles[] = {"sysv", "gnu", "both"};
    char flags[128];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t size;
        snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -Wl,--hash-style=%s", styles[i]);
        unsigned char *data = fixture_read(fixture_compile("model.so", flags, SOURCE), &size);
        check_symbols(data, size);
        tvm_elf_header header;
        memcpy(&header, data, sizeof(header));
        header.e_shoff = header.e_shnum = header.e_shstrndx = 0; /* no sections: by the hashes */
        memcpy(data, &header, sizeof(header));
        check_symbols(data, size);
        free(data);
    }
}

static void test_models(void **state) {
    static const char *const names[] = {"lib/myadd.so",
                                        "lib/callpacked.so",
                                        "lib/three_args.so",
                                        "lib/fp16_old.so",
                                        "lib/target_c.so",
                                        "models/tvm0.19/conv/deploy.so",
                                        "models/tvm0.19/constants_only/deploy.so",
                                        "models/tvm0.9/conv/deploy.so"};
    (void)state;
#ifdef MODEL
    expect_ok(inspect_file(MODEL));
#endif
    expect_error(inspect_file(OTHER_MODEL), TVM_UNSUPPORTED_ERROR,
                 "compiled for " OTHER ", and this program runs on " MACHINE);
    zoo_need();
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        expect_ok(inspect_file(zoo_path(names[i])));
}

static void test_needed(void **state) {
    struct tvm_elf elf;
    size_t size;
    (void)state;
    fixture_compile("libone.so", FIXTURE_LIBRARY " -Wl,-soname,libone.so", "int one;");
    char flags[256];
    snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -Wl,--no-as-needed %s",
             fixture_path("libone.so"));
    unsigned char *data = fixture_read(fixture_compile("model.so", flags, SOURCE), &size);
    expect_ok(tvm_elf_read("model.so", data, size, &elf));
    assert_int_equal(elf.needed_count, 1);
    assert_string_equal(elf.needed[0], "libone.so");
    tvm_elf_free(&elf);
    free(data);

    fixture_compile("libtvm_runtime.so", FIXTURE_LIBRARY " -Wl,-soname,libtvm_runtime.so",
                    "int one;");
    snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -Wl,--no-as-needed %s",
             fixture_path("libtvm_runtime.so"));
    expect_error(inspect_source(flags, SOURCE), TVM_UNSUPPORTED_ERROR,
                 "linked against libtvm_runtime.so, which would load a second runtime");
}

/* Files that are something else */

static void test_other_files(void **state) {
    (void)state;
#define CASE(bytes, text)                                                                          \
    { bytes, sizeof(bytes) - 1, text }
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } cases[] = {
        CASE("!<arch>\nmodel.o/", "a static archive (.a): link it"),
        CASE("\x1f\x8b\x08", "gzip-compressed file: decompress"),
        CASE("PK\x03\x04", "zip"),
        CASE("\xcf\xfa\xed\xfe\x0c\0\0\1", "a macOS library"),
        CASE("MZ\x90\0\3", "a Windows DLL"),
        CASE("#!/bin/sh\n", "a script"),
        CASE("version https://git-lfs.github.com/spec/v1\n", "run \"git lfs pull\""),
        CASE(" \n{\"nodes\": []}", "JSON text, perhaps a model's graph"),
        CASE("int main(void) { return 0; }\n", "but text"),
        CASE("\xb7\x9c\x04\x05\x4f\x8d\xe5\xf7\0", "a TVM parameter file"),
        CASE("\0asm\1", "a WebAssembly module"),
        CASE("\x08\x08\x3a\xc8", "an ONNX model, not compiled: scripts/compile compiles it"),
        CASE("\x08\x07\x12\x07pytorch", "an ONNX model"),
        CASE("\x08\x08\x3a", "an ONNX model"),
        CASE("\x08\x08\x05", "its first bytes are 08 08 05)"),
        CASE("\x08\x08\0", "its first bytes are 08 08 00)"),
        CASE("\x08\0\x3a", "its first bytes are 08 00 3a)"),
        CASE("\x08\x20\x3a", "its first bytes are 08 20 3a)"),
        CASE(" \n", "its first bytes are 20 0a)"),
        CASE("\xef\xbb\xbf{", "its first bytes are ef bb bf 7b)"),
        CASE("PK\x03\x04", "a PyTorch model (.pt), which is one, is not compiled"),
        CASE("\x01\x02\xff", "its first bytes are 01 02 ff)"),
        CASE("\x01", "its first bytes are 01)"),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        expect_error(inspect("model.so", cases[i].bytes, cases[i].size), TVM_UNSUPPORTED_ERROR,
                     cases[i].text);
    char tar[512] = "mod.so";
    memcpy(tar + 257, "ustar", 5);
    expect_error(inspect("model.tar", tar, sizeof(tar)), TVM_UNSUPPORTED_ERROR,
                 "model.tar: not a shared object, but a tar archive");
    expect_error(inspect("model.so", "\x08\x08\x3a", 2), TVM_UNSUPPORTED_ERROR,
                 "its first bytes are 08 08)");
    char text[TVM_FILETYPE_BYTES + 1]; /* what follows does not matter */
    memset(text, 'a', TVM_FILETYPE_BYTES);
    text[TVM_FILETYPE_BYTES] = '\1';
    expect_error(inspect("model.so", text, sizeof(text)), TVM_UNSUPPORTED_ERROR, "but text");
    expect_error(inspect("model.so", "", 0), TVM_FORMAT_ERROR, "model.so: it is empty");
    expect_error(inspect("model.so", "\x7f", 1), TVM_FORMAT_ERROR,
                 "truncated ELF file: it has 1 byte");
    expect_error(inspect("model.so",
                         "\x7f"
                         "EL",
                         3),
                 TVM_FORMAT_ERROR, "it has 3 bytes");
}

static void test_other_elf(void **state) {
    (void)state;
    size_t size;
    expect_error(inspect_source("-c", "int f(void) { return 1; }"), TVM_UNSUPPORTED_ERROR,
                 "an object file, not yet a library: link it with");
    expect_error(inspect_source("-no-pie", "int main(void) { return 1; }"), TVM_UNSUPPORTED_ERROR,
                 "a program, not a library");
    expect_error(inspect_source("-pie -fPIE", "int main(void) { return 1; }"),
                 TVM_UNSUPPORTED_ERROR, "a program, not a library");
    unsigned char *data = fixture_read(fixture_compile("m.so", FIXTURE_LIBRARY, SOURCE), &size);
    data[offsetof(tvm_elf_header, e_machine)] = (unsigned char)OTHER_MACHINE;
    expect_error(inspect("model.so", data, size), TVM_UNSUPPORTED_ERROR,
                 "model.so: compiled for " OTHER CLASS ", and this program runs on " MACHINE
                 ": recompile the model with --target \"llvm -mtriple=");
    data[offsetof(tvm_elf_header, e_machine)] = EM_386;
    data[EI_CLASS] = ELFCLASS32;
    expect_error(inspect("model.so", data, size), TVM_UNSUPPORTED_ERROR,
                 "compiled for 32-bit x86 (32-bit), and");
    data[EI_CLASS] = ELFCLASS64;
    data[EI_DATA] = ELFDATA2MSB;
    data[offsetof(tvm_elf_header, e_machine)] = 0;
    data[offsetof(tvm_elf_header, e_machine) + 1] = EM_S390;
    expect_error(inspect("model.so", data, size), TVM_UNSUPPORTED_ERROR,
                 "compiled for s390 (big-endian), and");
    data[EI_DATA] = ELFDATA2LSB;
    data[offsetof(tvm_elf_header, e_machine)] = 0x34;
    data[offsetof(tvm_elf_header, e_machine) + 1] = 0x12;
    expect_error(inspect("model.so", data, size), TVM_UNSUPPORTED_ERROR, "machine number 4660");
    free(data);
}

/* Where the library's program header number index of a type is. */
static size_t header_at(const unsigned char *data, unsigned type, size_t index) {
    tvm_elf_header header;
    memcpy(&header, data, sizeof(header));
    for (size_t i = 0; i < header.e_phnum; i++) {
        tvm_elf_segment_header entry;
        size_t at = header.e_phoff + i * sizeof(entry);
        memcpy(&entry, data + at, sizeof(entry));
        if (entry.p_type == type && index-- == 0)
            return at;
    }
    fail_msg("it has no such segment");
    return 0;
}

/* Inspects the library with other bytes in one place. */
static int inspect_with(unsigned char *data, size_t size, size_t at, const void *bytes,
                        size_t count) {
    unsigned char saved[128];
    assert_true(count <= sizeof(saved) && at + count <= size);
    memcpy(saved, data + at, count);
    memcpy(data + at, bytes, count);
    int status = inspect("model.so", data, size);
    memcpy(data + at, saved, count);
    return status;
}

static void test_segments(void **state) {
    size_t size;
    tvm_elf_segment_header first, second, changed;
    (void)state;
    unsigned char *data = fixture_read(fixture_compile("m.so", FIXTURE_LIBRARY, SOURCE), &size);
    size_t first_at = header_at(data, PT_LOAD, 0), second_at = header_at(data, PT_LOAD, 1);
    memcpy(&first, data + first_at, sizeof(first));
    memcpy(&second, data + second_at, sizeof(second));
#define FIRST inspect_with(data, size, first_at, &changed, sizeof(changed))
#define SECOND inspect_with(data, size, second_at, &changed, sizeof(changed))
    changed = first;
    changed.p_memsz = second.p_vaddr - first.p_vaddr; /* up to the next one */
    expect_ok(FIRST);
    changed.p_memsz++;
    expect_error(FIRST, TVM_FORMAT_ERROR, "segments overlap");
    changed.p_memsz = first.p_filesz - 1;
    expect_error(FIRST, TVM_FORMAT_ERROR, "a segment's size makes no sense");
    changed = second;
    changed.p_memsz = (ElfW(Addr))0 - second.p_vaddr;
    expect_error(SECOND, TVM_FORMAT_ERROR, "a segment's size makes no sense");
    changed = second;
    changed.p_memsz = changed.p_filesz = size - second.p_offset + 1;
    expect_error(SECOND, TVM_FORMAT_ERROR, "a segment reaches beyond the end of the file");
    changed.p_offset = size + 1;
    expect_error(SECOND, TVM_FORMAT_ERROR, "a segment reaches beyond the end of the file");
    free(data);
}

/* Tables of the dynamic linker, in place of the spare entries at the dynamic segment's end. */
static void test_tables(void **state) {
    static const int64_t tables[][2] = {
        {DT_RELA, DT_RELASZ},
        {DT_REL, DT_RELSZ},
        {36, 35}, /* DT_RELR, from glibc 2.36 */
        {DT_JMPREL, DT_PLTRELSZ},
        {DT_INIT_ARRAY, DT_INIT_ARRAYSZ},
        {DT_FINI_ARRAY, DT_FINI_ARRAYSZ},
    };
    size_t size;
    tvm_elf_segment_header load, dynamic;
    tvm_elf_dynamic entries[3] = {{.d_tag = 1}};
    (void)state;
    const char *source = "int f(void) { return 1; }"; /* without relocations */
    unsigned char *data = fixture_read(fixture_compile("m.so", FIXTURE_LIBRARY, source), &size);
    memcpy(&load, data + header_at(data, PT_LOAD, 0), sizeof(load));
    memcpy(&dynamic, data + header_at(data, PT_DYNAMIC, 0), sizeof(dynamic));
    size_t at = dynamic.p_offset;
    for (; entries[0].d_tag != DT_NULL; at += sizeof(*entries))
        memcpy(entries, data + at, sizeof(*entries));
    at -= sizeof(*entries);
    assert_true(at + sizeof(entries) <= dynamic.p_offset + dynamic.p_memsz);
    for (size_t i = 0; i < COUNT(tables); i++) {
        entries[0] = (tvm_elf_dynamic){.d_tag = (ElfW(Sword))tables[i][0]};
        entries[0].d_un.d_val = load.p_vaddr;
        entries[1] = (tvm_elf_dynamic){.d_tag = (ElfW(Sword))tables[i][1]};
        entries[1].d_un.d_val = load.p_filesz;
        expect_ok(inspect_with(data, size, at, entries, sizeof(entries)));
        entries[1].d_un.d_val++;
        expect_error(inspect_with(data, size, at, entries, sizeof(entries)), TVM_FORMAT_ERROR,
                     "a table of its dynamic segment is not in the file");
        entries[1].d_un.d_val = 1; /* … at no address */
        entries[0].d_un.d_val = UINTPTR_MAX;
        expect_error(inspect_with(data, size, at, entries, sizeof(entries)), TVM_FORMAT_ERROR,
                     "a table of its dynamic segment is not in the file");
    }
    entries[0] = (tvm_elf_dynamic){.d_tag = DT_NEEDED};
    entries[0].d_un.d_val = size;
    entries[1] = entries[2];
    expect_error(inspect_with(data, size, at, entries, sizeof(entries)), TVM_FORMAT_ERROR,
                 "the name of a library that it needs lies outside of the file");
    free(data);
}

/* Where the value of a tag of the dynamic segment is, and what it is. */
static size_t value_at(const unsigned char *data, int64_t tag, size_t *value) {
    tvm_elf_segment_header segment;
    tvm_elf_dynamic entry = {.d_tag = DT_NULL};
    memcpy(&segment, data + header_at(data, PT_DYNAMIC, 0), sizeof(segment));
    for (size_t at = segment.p_offset; at < segment.p_offset + segment.p_memsz;
         at += sizeof(entry)) {
        memcpy(&entry, data + at, sizeof(entry));
        *value = entry.d_un.d_val;
        if (entry.d_tag == tag)
            return at + offsetof(tvm_elf_dynamic, d_un);
    }
    fail_msg("it has no such entry");
    return 0;
}

/* Where the entry of a symbol is. */
static size_t symbol_at(const unsigned char *data, const char *name) {
    size_t symbols, strings;
    tvm_elf_symbol_entry symbol = {0};
    value_at(data, DT_SYMTAB, &symbols);
    value_at(data, DT_STRTAB, &strings);
    while (strcmp((const char *)data + strings + symbol.st_name, name) != 0) {
        symbols += sizeof(symbol);
        memcpy(&symbol, data + symbols, sizeof(symbol));
    }
    return symbols;
}

static void test_symbol_tables(void **state) {
    size_t size, strings_size, hash, ignored;
    tvm_elf_segment_header load, dynamic;
    (void)state;
    unsigned char *data = fixture_read(
        fixture_compile("m.so", FIXTURE_LIBRARY " -Wl,--hash-style=sysv", SOURCE), &size);
    size_t load_at = header_at(data, PT_LOAD, 0), dynamic_at = header_at(data, PT_DYNAMIC, 0);
    memcpy(&load, data + load_at, sizeof(load));
    memcpy(&dynamic, data + dynamic_at, sizeof(dynamic));
    assert_true(load.p_vaddr == 0 && load.p_offset == 0); /* addresses in it are offsets */
#define REFUSED(at, type, value, text)                                                             \
    expect_error(inspect_with(data, size, at, &(type){value}, sizeof(type)), TVM_FORMAT_ERROR, text)
    size_t at = dynamic_at + offsetof(tvm_elf_segment_header, p_memsz);
    REFUSED(at, ElfW(Addr), sizeof(tvm_elf_dynamic), "its dynamic segment has no end");
    REFUSED(at, ElfW(Addr), (ElfW(Addr))size, "its dynamic segment is not in the file");
    REFUSED(EI_CLASS, unsigned char, 3, "its first bytes are none of ELF's");
    REFUSED(EI_DATA, unsigned char, 3, "its first bytes are none of ELF's");
    REFUSED(EI_VERSION, unsigned char, 2, "its first bytes are none of ELF's");
    static const char headers[] = "its program headers cannot be read";
    REFUSED(offsetof(tvm_elf_header, e_version), uint32_t, 2, headers);
    REFUSED(offsetof(tvm_elf_header, e_phentsize), uint16_t, 1, headers);
    REFUSED(offsetof(tvm_elf_header, e_phnum), uint16_t, 0, headers);
    REFUSED(offsetof(tvm_elf_header, e_phnum), uint16_t, PN_XNUM, headers);
    at = value_at(data, DT_STRSZ, &strings_size);
    REFUSED(at, ElfW(Addr), (ElfW(Addr))strings_size - 1, "its string table makes no sense");
    REFUSED(at, ElfW(Addr), 0, "its string table makes no sense");
    REFUSED(at, ElfW(Addr), (ElfW(Addr))size, "its string table makes no sense");
    at = value_at(data, DT_STRTAB, &ignored);
    REFUSED(at, ElfW(Addr), UINTPTR_MAX, "its string table makes no sense");
    at = value_at(data, DT_SYMTAB, &ignored);
    REFUSED(at, ElfW(Addr), (ElfW(Addr))(load.p_filesz - sizeof(tvm_elf_symbol_entry)),
            "its symbol table reaches beyond the end of the file");
    at = value_at(data, DT_HASH, &hash);
    REFUSED(at, ElfW(Addr), (ElfW(Addr))(load.p_filesz - 4), "its hash table is not in the file");
    REFUSED(hash, uint32_t, UINT32_MAX, "its hash table is not in the file");
    REFUSED(hash + 4, uint32_t, UINT32_MAX, "its hash table is not in the file");
    size_t add = symbol_at(data, "add") + offsetof(tvm_elf_symbol_entry, st_name);
    REFUSED(add, uint32_t, (uint32_t)strings_size,
            "a symbol's name lies outside of its string table");
    REFUSED(symbol_at(data, "__TVMAPISetLastError") + offsetof(tvm_elf_symbol_entry, st_info),
            unsigned char, ELF64_ST_INFO(STB_WEAK, STT_TLS), "should be a pointer variable");

    /* A symbol that another file may have as well, and is wanted before it is there. */
    struct tvm_elf elf;
    memcpy(data + symbol_at(data, "other") + offsetof(tvm_elf_symbol_entry, st_name), data + add,
           sizeof(uint32_t));
    data[symbol_at(data, "__tvm_main__") + offsetof(tvm_elf_symbol_entry, st_info)] =
        ELF64_ST_INFO(STB_GNU_UNIQUE, STT_OBJECT);
    expect_ok(tvm_elf_read("model.so", data, size, &elf));
    assert_non_null(tvm_elf_find(&elf, "add"));
    assert_non_null(tvm_elf_find(&elf, "__tvm_main__"));
    tvm_elf_free(&elf);
    free(data);

    data = fixture_read(fixture_compile("m.so", FIXTURE_LIBRARY " -Wl,--hash-style=gnu", SOURCE),
                        &size);
    value_at(data, DT_GNU_HASH, &hash);
    for (size_t word = 0; word < 3; word++) /* buckets, the first symbol, the filter's size */
        REFUSED(hash + 4 * word, uint32_t, UINT32_MAX, "its GNU hash table makes no sense");
    free(data);
}

/* Libraries that this runtime cannot serve */

static void test_generations(void **state) {
    (void)state;
    expect_ok(inspect_source(FIXTURE_LIBRARY, "const char __tvm_ffi__library_bin[9] = {1};"
                                              "int __tvm_ffi_main(void) { return 0; }"));
    expect_ok(inspect_source(FIXTURE_LIBRARY,
                             "void TVMFFIErrorSetRaisedFromCStrParts(void);"
                             "void *__TVMFFIEnvModLookupFromImports;"
                             "int __tvm_ffi_main(void)"
                             "{ TVMFFIErrorSetRaisedFromCStrParts(); return 0; }"));
    expect_error(inspect_source(FIXTURE_LIBRARY, "void *__TVMFFIFutureThing;"
                                                 "int __tvm_ffi_main(void) { return 0; }"),
                 TVM_UNSUPPORTED_ERROR, "wants TVMFFIFutureThing from the runtime");
    expect_error(inspect_source(FIXTURE_LIBRARY, "const long __tvm_ffi__library_ctx = 1;"),
                 TVM_FORMAT_ERROR, "__tvm_ffi__library_ctx should be a pointer variable");
    expect_error(inspect_source(FIXTURE_LIBRARY, "const char __tvm_ffi_library_bin[9] = {1};"
                                                 "void *__TVMFFIFunctionCall;"),
                 TVM_UNSUPPORTED_ERROR, "a library of TVM 0.21");
    expect_error(inspect_source(FIXTURE_LIBRARY, "int TVMFFIFunctionCall(void) { return 0; }"),
                 TVM_UNSUPPORTED_ERROR, "(such as TVMFFIFunctionCall), and no model");
}

static void test_slots(void **state) {
    (void)state;
    expect_ok(inspect_source(FIXTURE_LIBRARY, SOURCE));
    expect_error(inspect_source(FIXTURE_LIBRARY, "void *__TVMBackendFutureThing;"),
                 TVM_UNSUPPORTED_ERROR, "wants TVMBackendFutureThing from the runtime");
    expect_error(inspect_source(FIXTURE_LIBRARY, "const long __TVMFuncCall = 1;"), TVM_FORMAT_ERROR,
                 "__TVMFuncCall should be a pointer variable");
    expect_error(inspect_source(FIXTURE_LIBRARY, "char __TVMFuncCall;"), TVM_FORMAT_ERROR,
                 "__TVMFuncCall should be a pointer variable");
    expect_error(inspect_source(FIXTURE_LIBRARY, "int __tvm_module_ctx(void) { return 0; }"),
                 TVM_FORMAT_ERROR, "__tvm_module_ctx should be a pointer variable");
    expect_error(inspect_source(FIXTURE_LIBRARY, "char pad[64] __attribute__((aligned(8)));"
                                                 "asm(\".globl __TVMFuncCall\\n"
                                                 ".type __TVMFuncCall, %object\\n"
                                                 ".size __TVMFuncCall, 8\\n"
                                                 ".set __TVMFuncCall, pad + 3\");"),
                 TVM_FORMAT_ERROR, "__TVMFuncCall should be a pointer variable");
}

static void test_imports(void **state) {
    (void)state;
    expect_error(inspect_source(FIXTURE_LIBRARY, "void TVMNoSuchFunction(void);"
                                                 "void f(void) { TVMNoSuchFunction(); }"),
                 TVM_UNSUPPORTED_ERROR, "needs TVMNoSuchFunction of TVM's runtime");
    expect_ok(inspect_source(FIXTURE_LIBRARY,
                             "void TVMFuncCall(void), TVMAPISetLastError(void);"
                             "void f(void) { TVMFuncCall(), TVMAPISetLastError(); }"));
    expect_error(inspect_source(FIXTURE_LIBRARY,
                                "void _ZN3tvm7runtime8Registry3GetEv(void);"
                                "void f(void) { _ZN3tvm7runtime8Registry3GetEv(); }"),
                 TVM_UNSUPPORTED_ERROR, "needs TVM's C++ runtime (_ZN3tvm7runtime8Registry3GetEv)");
}

/* Hostile bytes */

/* Whatever inspect says, it says it with an error, and without touching other memory. */
static bool inspect_quietly(const unsigned char *data, size_t size) {
    if (inspect("model.so", data, size) == 0)
        return true;
    struct tvm_error *error = tvm_error_take();
    assert_non_null(error);
    tvm_object_release(&error->object);
    return false;
}

static void test_truncation(void **state) {
    size_t size;
    (void)state;
    unsigned char *data = fixture_read(
        fixture_compile("model.so", FIXTURE_LIBRARY " -s -Wl,-z,noseparate-code", SOURCE), &size);
    assert_true(inspect_quietly(data, size));
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *copy = malloc(cut ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, data, cut);
        if (inspect_quietly(copy, cut))
            fail_msg("accepted when cut at %zu of %zu", cut, size);
        free(copy);
    }
    free(data);
}

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static const uint64_t nasty[] = {0,
                                 1,
                                 0x7f,
                                 0x80,
                                 0xff,
                                 0xffff,
                                 0x7fffffff,
                                 0x80000000,
                                 0xffffffff,
                                 INT64_MAX,
                                 (uint64_t)INT64_MIN,
                                 UINT64_MAX,
                                 UINT64_MAX - 7,
                                 UINT64_MAX - 23,
                                 64,
                                 0x1000};

static void mutate(unsigned char *data, size_t size) {
    static const size_t widths[] = {1, 2, 4, 8};
    for (uint64_t n = 1 + next_random() % 3; n > 0; n--) {
        size_t width = widths[next_random() % 4];
        size_t at = (size_t)(next_random() % (size - width));
        uint64_t value = next_random() % 2 ? nasty[next_random() % 16] : next_random();
        if (next_random() % 2)
            at -= at % 8 < at ? at % 8 : 0; /* most fields are aligned */
        memcpy(data + at, &value, width);
    }
}

static void test_mutations(void **state) {
    static const char *const styles[] = {"sysv", "gnu"};
    (void)state;
    for (size_t style = 0; style < 2; style++) {
        char flags[128];
        size_t size;
        snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -s -Wl,-z,noseparate-code,--hash-style=%s",
                 styles[style]);
        unsigned char *data = fixture_read(fixture_compile("model.so", flags, SOURCE), &size);
        unsigned char *copy = malloc(size);
        assert_non_null(copy);
        for (int i = 0; i < 20000; i++) {
            memcpy(copy, data, size);
            mutate(copy, size);
            if (i % 2) { /* without section headers, the hash tables are read */
                memset(copy + offsetof(tvm_elf_header, e_shoff), 0, 8);
            }
            inspect_quietly(copy, size);
        }
        free(copy);
        free(data);
    }
}

/* Every field that the reader goes by, with every nasty value. */
static void test_fields(void **state) {
    size_t size;
    (void)state;
    unsigned char *data = fixture_read(
        fixture_compile("model.so", FIXTURE_LIBRARY " -s -Wl,-z,noseparate-code", SOURCE), &size);
    tvm_elf_header header;
    memcpy(&header, data, sizeof(header));
    size_t dynamic = 0, dynamic_size = 0;
    for (size_t i = 0; i < header.e_phnum; i++) {
        tvm_elf_segment_header entry;
        memcpy(&entry, data + header.e_phoff + i * sizeof(entry), sizeof(entry));
        if (entry.p_type == PT_DYNAMIC) {
            dynamic = entry.p_offset;
            dynamic_size = entry.p_filesz;
        }
    }
    assert_true(dynamic_size > 0);
    size_t heads = header.e_phoff + header.e_phnum * sizeof(tvm_elf_segment_header);
    for (size_t at = 16; at + 8 <= size; at += at < 64 ? 2 : 4) {
        bool interesting = at < heads || (at >= dynamic && at < dynamic + dynamic_size) ||
                           at >= header.e_shoff || at < 0x400;
        for (size_t i = 0; interesting && i < sizeof(nasty) / sizeof(*nasty); i++) {
            for (size_t width = 2; width <= 8; width *= 2) {
                uint64_t old;
                memcpy(&old, data + at, sizeof(old));
                memcpy(data + at, &nasty[i], width);
                inspect_quietly(data, size);
                memcpy(data + at, &old, sizeof(old));
            }
        }
    }
    assert_true(inspect_quietly(data, size));
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_symbols),       cmocka_unit_test(test_models),
        cmocka_unit_test(test_needed),        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_other_elf),     cmocka_unit_test(test_segments),
        cmocka_unit_test(test_symbol_tables), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_generations),   cmocka_unit_test(test_slots),
        cmocka_unit_test(test_imports),       cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_mutations),     cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
