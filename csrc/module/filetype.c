#include "module/filetype.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct signature {
    size_t offset;
    const char *bytes;
    size_t size;
    const char *what; /* what such a file is, and what would work */
};

#define SIGNATURE(offset, bytes, what)                                                             \
    { offset, bytes, sizeof(bytes) - 1, what }
#define MACH_O "a macOS library (Mach-O): recompile the model for Linux"
#define NOT_COMPILED ": open what the compiler's export_library(\"model.so\") wrote"

static const struct signature signatures[] = {
    SIGNATURE(0,
              "\x7f"
              "ELF",
              "a library, program or object file (ELF)"),
    SIGNATURE(0, "!<arch>\n",
              "a static archive (.a): link it into a library with \"cc -shared -o model.so "
              "-Wl,--whole-archive model.a\""),
    SIGNATURE(0, "!<thin>\n", "a thin static archive, which only names object files: link those"),
    SIGNATURE(257, "ustar", "a tar archive: if tvmc made it, open it as a model, or unpack mod.so"),
    SIGNATURE(0, "\x1f\x8b",
              "a gzip-compressed file: decompress it first; but what "
              "export_library(\"model.tar\") wrote is object files, and \"model.so\" is what "
              "works"),
    SIGNATURE(0, "PK\x03\x04",
              "a zip archive: unpack it first; but a PyTorch model (.pt), which is one, is not "
              "compiled"),
    SIGNATURE(0, "\xfd\x37zXZ", "an xz-compressed file: decompress it first"),
    SIGNATURE(0, "\x28\xb5\x2f\xfd", "a zstd-compressed file: decompress it first"),
    SIGNATURE(0, "BZh", "a bzip2-compressed file: decompress it first"),
    SIGNATURE(0, "\xcf\xfa\xed\xfe", MACH_O),
    SIGNATURE(0, "\xce\xfa\xed\xfe", MACH_O),
    SIGNATURE(0, "\xfe\xed\xfa\xcf", MACH_O),
    SIGNATURE(0, "\xfe\xed\xfa\xce", MACH_O),
    SIGNATURE(0, "\xca\xfe\xba\xbe", MACH_O),
    SIGNATURE(0, "MZ", "a Windows DLL or program: recompile the model for Linux"),
    SIGNATURE(0, "\0asm", "a WebAssembly module: recompile the model with an llvm target"),
    SIGNATURE(0, "BC\xc0\xde", "LLVM bitcode: recompile the model, or compile this with clang"),
    SIGNATURE(0, "\xb7\x9c\x04\x05\x4f\x8d\xe5\xf7",
              "a TVM parameter file: it goes with a library, and does not replace one"),
    SIGNATURE(0, "\x1d\x15\x14\x42\x2f\xde\x25\xd2",
              "bytecode of a TVM virtual machine" NOT_COMPILED),
    SIGNATURE(0, "\x1e\x15\x14\x42\x2f\xde\x25\xd2",
              "bytecode of a TVM virtual machine" NOT_COMPILED),
    SIGNATURE(0, "\x89HDF\r\n\x1a\n", "an HDF5 file (a Keras model?), not compiled" NOT_COMPILED),
    SIGNATURE(4, "TFL3", "a TensorFlow Lite model, not compiled" NOT_COMPILED),
    SIGNATURE(0, "#!", "a script, not a library"),
    SIGNATURE(0, "version https://git-lfs",
              "a Git LFS pointer, which stands for the file: run \"git lfs pull\""),
};

/* Whether the beginning of the file looks like text, and its first character that is no space. */
static bool is_text(const unsigned char *data, size_t size, unsigned char *first) {
    *first = 0;
    for (size_t i = 0; i < size && i < TVM_FILETYPE_BYTES; i++) {
        if (data[i] < 32 && !isspace(data[i]))
            return false;
        if (!*first && !isspace(data[i]))
            *first = data[i];
    }
    return *first > 0 && *first < 128;
}

/* Whether it begins as ONNX's protocol buffers do: the version of the format, then another field of
 * the model. */
static bool is_onnx(const unsigned char *data, size_t size) {
    return size > 2 && data[0] == 0x08 && data[1] > 0 && data[1] < 32 && data[2] &&
           strchr("\x12\x1a\x22\x28\x32\x3a\x42\x72", data[2]);
}

/* NULL: nothing known. */
static const char *describe(const unsigned char *data, size_t size) {
    unsigned char first;
    for (size_t i = 0; i < sizeof(signatures) / sizeof(*signatures); i++) {
        const struct signature *signature = &signatures[i];
        if (size >= signature->offset + signature->size &&
            memcmp(data + signature->offset, signature->bytes, signature->size) == 0)
            return signature->what;
    }
    if (is_onnx(data, size))
        return "an ONNX model, not compiled: scripts/compile compiles it";
    if (!is_text(data, size, &first))
        return NULL;
    return first == '{' || first == '[' ? "JSON text, perhaps a model's graph: it goes with a "
                                          "library, and does not replace one"
                                        : "text";
}

int tvm_filetype_refuse(const char *kind, const char *name, const char *wanted,
                        const unsigned char *data, size_t size) {
    char bytes[32] = "";
    if (size == 0)
        return tvm_raise(TVM_FORMAT_ERROR, "%s: it is empty", name);
    const char *what = describe(data, size);
    if (what)
        return tvm_raise(kind, "%s: not %s, but %s", name, wanted, what);
    for (size_t i = 0; i < size && i < 8; i++)
        snprintf(bytes + 3 * i, sizeof(bytes) - 3 * i, " %02x", data[i]);
    return tvm_raise(kind, "%s: not %s, nor anything else known here (its first bytes are%s)", name,
                     wanted, bytes);
}
