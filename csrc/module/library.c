#include "module/library.h"

#include "base/classic.h"
#include "base/context.h"
#include "base/os.h"
#include "module/image.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

struct library {
    struct tvm_module module;
    struct tvm_image *image;
};

/* A function of TVM 0.22 or newer. */
struct compiled {
    tvm_safe_call *code;
    struct tvm_object *owner; /* owned: keeps the code mapped */
};

static void compiled_free(void *resource) {
    struct compiled *compiled = resource;
    tvm_object_release(compiled->owner);
    free(compiled);
}

static int compiled_call(void *self, const struct tvm_value *args, int32_t count,
                         struct tvm_value *result) {
    const struct compiled *compiled = ((struct tvm_function *)self)->resource;
    size_t mark = tvm_workspace_mark();
    if (compiled->code(self, args, count, result) == 0)
        return 0;
    tvm_workspace_drop(mark);
    return -1;
}

tvm_safe_call *tvm_library_function_code(const struct tvm_function *function) {
    return function->call == compiled_call ? ((struct compiled *)function->resource)->code : NULL;
}

int tvm_library_function_new(tvm_safe_call *code, struct tvm_object *owner,
                             struct tvm_function **out) {
    struct compiled *compiled = malloc(sizeof(*compiled));
    if (!compiled)
        return tvm_raise_out_of_memory();
    tvm_object_retain(owner);
    *compiled = (struct compiled){code, owner};
    if (tvm_function_new(compiled_call, compiled, compiled_free, out) == 0)
        return 0;
    compiled_free(compiled);
    return -1;
}

static int library_get_function(struct tvm_module *self, const char *name,
                                struct tvm_function **out) {
    const struct tvm_image *image = ((struct library *)self)->image;
    void *code = tvm_image_function(image, name);
    *out = NULL;
    if (!code)
        return 0;
    return tvm_image_is_ffi(image)
               ? tvm_library_function_new((tvm_safe_call *)code, &self->object, out)
               : tvm_classic_function_new((TVMBackendPackedCFunc)code, &self->object, out);
}

static void library_destroy(struct tvm_module *self) {
    tvm_image_release(((struct library *)self)->image, self);
}

static const struct tvm_module_kind library_kind = {
    .key = "library", .get_function = library_get_function, .destroy = library_destroy};

static int library_new(struct tvm_image *image, struct tvm_module **out) {
    struct library *library = tvm_module_alloc(sizeof(*library), &library_kind);
    if (!library)
        return -1;
    tvm_image_retain(image);
    library->image = image;
    *out = &library->module;
    return 0;
}

int tvm_library_open(const char *path, struct tvm_module **out) {
    struct tvm_image *image;
    if (tvm_image_open(path, &image, out))
        return -1;
    return *out ? 0 : tvm_image_attach(image, library_new, out);
}

int tvm_library_open_bytes(const char *name, const void *data, size_t size,
                           struct tvm_module **out) {
    return tvm_image_from_bytes(name, data, size, library_new, out);
}

int tvm_library_open_part(const char *name, const struct tvm_library_part *part,
                          struct tvm_module **out) {
    return tvm_image_from_part(name, part, library_new, out);
}

/* Lets the dynamic linker find name in its library path, and opens what it found. */
static int open_by_search(const char *name, struct tvm_module **out) {
    struct link_map *map;
    if (tvm_os_is_static())
        return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: " TVM_OS_STATIC, name);
    void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
    if (!handle)
        return tvm_raise(TVM_NOT_FOUND_ERROR,
                         "%s: cannot open shared object file: it is neither in the working "
                         "directory nor in the dynamic linker's library path",
                         name);
    int status;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map->l_name && *map->l_name)
        status = tvm_library_open(map->l_name, out);
    else
        status =
            tvm_raise(TVM_OS_ERROR, "%s: the dynamic linker does not say where it found it", name);
    dlclose(handle);
    return status;
}

static int check_format(const char *path, const char *format) {
    static const char *const formats[] = {"so", "dll", "dylib", "dso"};
    const char *dot = strrchr(path, '.');
    bool given = format && *format;
    if (!given)
        format = dot && !strchr(dot, '/') ? dot + 1 : "";
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
        if (strcmp(format, formats[i]) == 0)
            return 0;
    return tvm_raise(TVM_VALUE_ERROR,
                     "%s: %s \"%s\" is not that of a library: expected so, dll, dylib or dso", path,
                     given ? "the format" : "the name's ending", format);
}

int tvm_library_load(const char *path, const char *format, struct tvm_module **out) {
    if (check_format(path, format))
        return -1;
    if (tvm_library_open(path, out) == 0)
        return 0;
    const struct tvm_error *error = tvm_error_peek();
    if (!*path || strchr(path, '/') || strcmp(error->kind.data, TVM_NOT_FOUND_ERROR) != 0)
        return -1;
    return open_by_search(path, out);
}

int tvm_library_load_from_file(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_module *module;
    char *path = NULL, *format = NULL;
    int status = tvm_call_string(call, 0, "path", &path);
    if (status == 0 && call->count == 2 && call->args[1].type_index != TVM_TYPE_NONE)
        status = tvm_call_string(call, 1, "format", &format);
    if (status == 0)
        status = tvm_library_load(path, format, &module);
    if (status == 0)
        *result = tvm_from_object(module);
    free(path);
    free(format);
    return status;
}
