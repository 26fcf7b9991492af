/* Modules of kind opencl: reading them. */
#include "base/dtype.h"
#include "device/opencl/runtime.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MARK "// Function: "

static bool is_word(struct tvm_bytes text) {
    for (size_t i = 0; i < text.size; i++)
        if (!isalnum((unsigned char)text.data[i]))
            return false;
    return text.size > 0 && text.size < 20;
}

/* SPIR-V modules begin with no format but with what the others have behind it. */
static int check_format(const struct tvm_reader *reader, struct tvm_bytes format) {
    if (tvm_bytes_is(format, "cl"))
        return 0;
    if (is_word(format))
        return tvm_raise(TVM_UNSUPPORTED_ERROR,
                         "%s: holds OpenCL kernels in the format %.*s, such as binaries for one "
                         "device: compile the model for target \"opencl\", which gives source",
                         reader->name, (int)format.size, format.data);
    return tvm_raise(TVM_UNSUPPORTED_ERROR,
                     "%s: holds OpenCL kernels that are no OpenCL C source; SPIR-V, as target "
                     "\"opencl -device=spirv\" gives it, is not supported: compile the model for "
                     "target \"opencl\"",
                     reader->name);
}

static int copy_text(struct tvm_bytes text, char **out) {
    *out = malloc(text.size + 1);
    if (!*out)
        return tvm_raise_out_of_memory();
    memcpy(*out, text.data, text.size);
    (*out)[text.size] = '\0';
    return 0;
}

static int read_name(struct tvm_reader *reader, char **out) {
    struct tvm_bytes key, name;
    if (tvm_read_string(reader, "name of a kernel", &key) ||
        tvm_read_string(reader, "name of a kernel", &name))
        return -1;
    if (key.size == 0 || memchr(key.data, 0, key.size))
        return tvm_reader_fail(reader, "a kernel has no valid name");
    return copy_text(key, out);
}

static bool is_supported(DLDataType type) {
    bool number = type.code == kDLInt || type.code == kDLUInt || type.code == kDLFloat;
    return type.lanes == 1 &&
           (type.code == kTVMOpaqueHandle || (number && (type.bits == 32 || type.bits == 64)));
}

static int read_types(struct tvm_reader *reader, struct opencl_kernel *kernel) {
    size_t count;
    if (tvm_read_count(reader, "parameters of a kernel", 4, &count))
        return -1;
    kernel->types = calloc(count + 1, sizeof(*kernel->types));
    if (!kernel->types)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < count; i++) {
        DLDataType *type = &kernel->types[i];
        char text[TVM_DTYPE_TEXT_SIZE];
        if (tvm_read_u8(reader, "parameter's type", &type->code) ||
            tvm_read_u8(reader, "parameter's type", &type->bits) ||
            tvm_read_u16(reader, "parameter's type", &type->lanes))
            return -1;
        if (!is_supported(*type))
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: OpenCL kernel %.200s: parameter %zu is of type %s: expected a "
                             "buffer or a number of 32 or 64 bits",
                             reader->name, kernel->name, i, tvm_dtype_print(*type, text));
    }
    kernel->type_count = count;
    return 0;
}

/* A tag as a slot; false for one that OpenCL does not have. */
static bool parse_tag(struct tvm_bytes tag, unsigned char *slot) {
    bool block = tag.size == 11 && memcmp(tag.data, "threadIdx.", 10) == 0;
    if (!block && !(tag.size == 10 && memcmp(tag.data, "blockIdx.", 9) == 0))
        return false;
    int axis = tag.data[tag.size - 1] - 'x';
    *slot = (unsigned char)(axis + (block ? 3 : 0));
    return axis >= 0 && axis < 3;
}

static int read_tags(struct tvm_reader *reader, struct opencl_kernel *kernel) {
    size_t count;
    if (tvm_read_count(reader, "launch parameters", 8, &count))
        return -1;
    kernel->slots = malloc(count + 1);
    if (!kernel->slots)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < count; i++) {
        struct tvm_bytes tag;
        if (tvm_read_string(reader, "launch parameter", &tag))
            return -1;
        if (tvm_bytes_is(tag, "tir.use_dyn_shared_memory") ||
            tvm_bytes_is(tag, "tirx.use_dyn_shared_memory"))
            kernel->has_dynamic_memory = true;
        else if (!parse_tag(tag, &kernel->slots[kernel->slot_count++]))
            return tvm_raise(TVM_UNSUPPORTED_ERROR,
                             "%s: OpenCL kernel %.200s: the launch parameter \"%.*s\" is none of "
                             "OpenCL's",
                             reader->name, kernel->name, tag.size < 60 ? (int)tag.size : 60,
                             tag.data);
    }
    return 0;
}

static int read_kernel(struct tvm_reader *reader, bool ffi, struct opencl_kernel *kernel) {
    size_t count = 0;
    if (read_name(reader, &kernel->name) || read_types(reader, kernel) || read_tags(reader, kernel))
        return -1;
    if (!ffi)
        return 0;
    if (tvm_read_count(reader, "marks of parameters", 4, &count))
        return -1;
    return tvm_read_skip(reader, "marks of parameters", count * 4);
}

/* Gives each kernel the part of the text that is its own, where the text has such parts. */
static int split_text(const struct tvm_reader *reader, struct opencl_module *module) {
    struct opencl_kernel *last = NULL;
    const char *end = module->text + module->text_size;
    bool any = false;
    for (const char *line = module->text, *next; line < end; line = next) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        next = stop ? stop + 1 : end;
        if ((size_t)(next - line) < sizeof(MARK) || memcmp(line, MARK, sizeof(MARK) - 1) != 0)
            continue;
        const char *name = line + sizeof(MARK) - 1;
        size_t size = (size_t)((stop ? stop : end) - name);
        size -= size && name[size - 1] == '\r';
        if (last)
            last->source_size = (size_t)(line - last->source);
        last = NULL;
        any = true;
        for (size_t i = 0; i < module->kernel_count; i++)
            if (tvm_bytes_is((struct tvm_bytes){name, size}, module->kernels[i].name)) {
                last = &module->kernels[i];
                last->source = next;
            }
    }
    if (last)
        last->source_size = (size_t)(end - last->source);
    for (size_t i = 0; any && i < module->kernel_count; i++)
        if (!module->kernels[i].source)
            return tvm_reader_fail(reader, "OpenCL kernel %.200s has no source",
                                   module->kernels[i].name);
    return 0;
}

static int read_module(struct tvm_reader *reader, bool ffi, struct opencl_module *module) {
    struct tvm_bytes text;
    size_t count;
    if (tvm_read_count(reader, "OpenCL kernels", 8 * 4, &count))
        return -1;
    module->kernels = calloc(count + 1, sizeof(*module->kernels));
    if (!module->kernels)
        return tvm_raise_out_of_memory();
    while (module->kernel_count < count)
        if (read_kernel(reader, ffi, &module->kernels[module->kernel_count++]))
            return -1;
    if (tvm_read_string(reader, "source of OpenCL kernels", &text) ||
        copy_text(text, &module->text))
        return -1;
    module->text_size = text.size;
    return split_text(reader, module);
}

static int load(struct tvm_reader *reader, const struct tvm_module_kind *kind,
                struct tvm_module **out) {
    struct tvm_bytes format;
    if (tvm_read_string(reader, "format of OpenCL kernels", &format) ||
        check_format(reader, format))
        return -1;
    struct opencl_module *module = tvm_module_alloc(sizeof(*module), kind);
    if (!module)
        return -1;
    pthread_mutex_init(&module->mutex, NULL);
    tvm_opencl_saver_init(&module->saver);
    if (read_module(reader, kind->ffi, module)) {
        tvm_object_release(&module->module.object);
        return -1;
    }
    *out = &module->module;
    return 0;
}

static int load_classic(struct tvm_reader *reader, struct tvm_module **out) {
    return load(reader, &tvm_opencl_kind, out);
}

static int load_ffi(struct tvm_reader *reader, struct tvm_module **out) {
    return load(reader, &tvm_opencl_ffi_kind, out);
}

static int get_function(struct tvm_module *self, const char *name, struct tvm_function **out) {
    struct opencl_module *module = (struct opencl_module *)self;
    *out = NULL;
    for (size_t i = 0; i < module->kernel_count; i++)
        if (strcmp(module->kernels[i].name, name) == 0)
            return tvm_opencl_launcher_new(module, &module->kernels[i], out);
    return tvm_module_get_method(self, tvm_opencl_precompiled, name, out);
}

static void destroy(struct tvm_module *self) {
    struct opencl_module *module = (struct opencl_module *)self;
    tvm_opencl_saver_finish(module);
    for (size_t i = 0; i < module->kernel_count; i++) {
        struct opencl_kernel *kernel = &module->kernels[i];
        for (int d = 0; d < OPENCL_MAX_DEVICES; d++)
            tvm_opencl_built_free(kernel->built[d]);
        free(kernel->name);
        free(kernel->types);
        free(kernel->slots);
    }
    for (struct opencl_program *program = module->programs, *next; program; program = next) {
        next = program->next;
        tvm_opencl_program_free(program);
    }
    free(module->kernels);
    free(module->text);
    pthread_mutex_destroy(&module->mutex);
}

const struct tvm_module_kind tvm_opencl_kind = {
    .key = "opencl", .load = load_classic, .get_function = get_function, .destroy = destroy};

const struct tvm_module_kind tvm_opencl_ffi_kind = {.key = "opencl",
                                                    .ffi = true,
                                                    .load = load_ffi,
                                                    .get_function = get_function,
                                                    .destroy = destroy};
