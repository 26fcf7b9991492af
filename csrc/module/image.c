#include "module/image.h"

#include "base/checked.h"
#include "base/os.h"
#include "module/blob.h"
#include "module/environment.h"
#include "module/filetype.h"
#include "module/symbols.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum state {
    BUSY,  /* a thread is loading or unloading it: others wait */
    READY, /* loaded, with modules on it */
    KEPT,  /* the dynamic linker would not unload it: waits to be opened again */
};

struct tvm_image {
    struct tvm_image *next;
    char *name;
    bool shared;  /* found by the next five */
    dev_t device; /* … of the file that it was opened as */
    ino_t inode;
    off_t size;
    struct timespec changed;
    uint64_t offset;         /* … of the part of that file; 0 is all of it */
    int fd;                  /* open as long as the image may be mapped */
    enum state state;        /* this and the next two: under mutex */
    size_t users;            /* modules on it, and threads that load it */
    struct tvm_module *root; /* the newest on top of it: a weak reference */
    void *handle;
    bool loaded;            /* once: without a handle it is KEPT */
    bool ffi;               /* made by TVM 0.22 or newer */
    char *main_name;        /* of the entry function; NULL: none, or it is called __tvm_main__ */
    const char **functions; /* names, sorted: one block with the texts */
    size_t function_count;
    struct tvm_environment environment;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t settled = PTHREAD_COND_INITIALIZER; /* some image is BUSY no more */
static struct tvm_image *images;

/* Weak references */

static void weak_retain(struct tvm_object *object) {
    atomic_fetch_add_explicit(&object->refs, UINT64_C(1) << 32, memory_order_relaxed);
}

static void weak_release(struct tvm_object *object) {
    const uint64_t one = UINT64_C(1) << 32;
    if (object && atomic_fetch_sub_explicit(&object->refs, one, memory_order_acq_rel) >> 32 == 1)
        object->deleter(object, TVM_DELETE_WEAK);
}

/* Images */

static void image_free(struct tvm_image *image) {
    tvm_environment_clear(&image->environment);
    if (image->fd >= 0)
        close(image->fd);
    free(image->name);
    free(image->main_name);
    free(image->functions);
    free(image);
}

static int image_new(const char *name, struct tvm_image **out) {
    struct tvm_image *image = calloc(1, sizeof(*image));
    char *copy = strdup(name);
    if (!image || !copy) {
        free(image);
        free(copy);
        return tvm_raise_out_of_memory();
    }
    image->name = copy;
    image->fd = -1;
    image->state = BUSY;
    image->users = 1;
    tvm_environment_init(&image->environment, copy);
    *out = image;
    return 0;
}

static void list_add(struct tvm_image *image) {
    image->next = images;
    images = image;
}

static void list_remove(const struct tvm_image *image) {
    for (struct tvm_image **it = &images; *it; it = &(*it)->next)
        if (*it == image) {
            *it = image->next;
            return;
        }
}

/* Unloads an image without users; nobody else touches it meanwhile. */
static void image_unload(struct tvm_image *image) {
    bool still = image->loaded;
    weak_release((struct tvm_object *)image->root);
    image->root = NULL;
    if (image->handle)
        still = tvm_os_unload(image->handle);
    image->handle = NULL;
    pthread_mutex_lock(&mutex);
    if (still)
        image->state = KEPT;
    else
        list_remove(image);
    pthread_cond_broadcast(&settled);
    pthread_mutex_unlock(&mutex);
    if (!still)
        image_free(image);
}

void tvm_image_retain(struct tvm_image *image) {
    pthread_mutex_lock(&mutex);
    image->users++;
    pthread_mutex_unlock(&mutex);
}

void tvm_image_release(struct tvm_image *image, const struct tvm_module *self) {
    tvm_environment_detach(&image->environment, self);
    pthread_mutex_lock(&mutex);
    bool last = --image->users == 0;
    if (last)
        image->state = BUSY;
    pthread_mutex_unlock(&mutex);
    if (last)
        image_unload(image);
}

/* Opening files */

static int open_file(const char *path, struct stat *info, int *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not block */
    if (fd < 0)
        return tvm_raise(errno == ENOENT || errno == ENOTDIR ? TVM_NOT_FOUND_ERROR : TVM_OS_ERROR,
                         "%s: cannot open shared object file: %s", path, strerror(errno));
    int reason = fstat(fd, info) ? errno : 0;
    if (!reason && S_ISREG(info->st_mode)) {
        *out = fd;
        return 0;
    }
    close(fd);
    return tvm_raise(TVM_OS_ERROR, "%s: cannot open shared object file: %s", path,
                     reason                   ? strerror(reason)
                     : S_ISDIR(info->st_mode) ? "it is a directory"
                                              : "it is no regular file");
}

/* Whether both are the same part of the same file, maybe with another content. */
static bool same_place(const struct tvm_image *one, const struct tvm_image *other) {
    return one->shared && one->device == other->device && one->inode == other->inode &&
           one->offset == other->offset;
}

static bool same_content(const struct tvm_image *one, const struct tvm_image *other) {
    return one->size == other->size && one->changed.tv_sec == other->changed.tv_sec &&
           one->changed.tv_nsec == other->changed.tv_nsec;
}

/* The image that made would be again, under mutex. *changed: it is there with another content. */
static struct tvm_image *find(const struct tvm_image *made, bool *changed) {
    *changed = false;
    for (struct tvm_image *image = images; image; image = image->next) {
        if (!same_place(image, made))
            continue;
        if (same_content(image, made))
            return image;
        *changed = true;
    }
    return NULL;
}

/* Makes an image of a file, or finds the one that there is; either *module is the module on top of
 * it, with a new reference, or the caller is to make one. Takes fd, unless it is -1, also on
 * failure. *changed: the image is new, and there is one of another content. */
static int join(const char *name, int fd, const struct stat *info, uint64_t offset,
                struct tvm_image **out, struct tvm_module **module, bool *changed) {
    struct tvm_image *made, *image;
    *module = NULL;
    if (image_new(name, &made)) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    made->fd = fd;
    made->shared = true;
    made->device = info->st_dev;
    made->inode = info->st_ino;
    made->size = info->st_size;
    made->changed = info->st_ctim; /* programs can set the time of modification back */
    made->offset = offset;

    pthread_mutex_lock(&mutex);
    while ((image = find(made, changed)) && image->state == BUSY)
        pthread_cond_wait(&settled, &mutex);
    if (!image) {
        list_add(made);
    } else if (image->root && tvm_object_try_retain(&image->root->object)) {
        *module = image->root;
    } else {
        image->state = BUSY;
        image->users++;
    }
    pthread_mutex_unlock(&mutex);

    *out = made;
    if (image) {
        image_free(made);
        *out = image;
        *changed = false;
    }
    return 0;
}

/* A file that was written over while its old content is loaded: the dynamic linker would give the
 * old image, so load a copy. */
static int copy_to_memory(struct tvm_image *image) {
    size_t size;
    int copy;
    if (!tvm_size_from((uint64_t)image->size, &size))
        return tvm_raise(TVM_OS_ERROR, "%s: %lld bytes are too many", image->name,
                         (long long)image->size);
    if (tvm_os_memory_copy(image->name, image->fd, 0, size, &copy))
        return -1;
    close(image->fd);
    image->fd = copy;
    return 0;
}

int tvm_image_open(const char *path, struct tvm_image **out, struct tvm_module **module) {
    struct stat info;
    bool changed;
    int fd = -1;
    *module = NULL;
    if (open_file(path, &info, &fd) || join(path, fd, &info, 0, out, module, &changed))
        return -1;
    if (changed && copy_to_memory(*out)) {
        tvm_image_release(*out, NULL);
        return -1;
    }
    return 0;
}

/* Loading */

/* Where this runtime is itself in a shared library that was opened privately, models would not find
 * it. */
static void promote_self(void) {
    Dl_info info;
    if (dladdr((void *)promote_self, &info) && info.dli_fname)
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL); /* stays open */
}

/* Functions that compilers put into a library for its own use. */
static bool is_internal(const char *name) {
    static const char *const internal[] = {"_init",         "_fini",          "__extendhfsf2",
                                           "__truncsfhf2",  "__gnu_h2f_ieee", "__gnu_f2h_ieee",
                                           "__extendbfsf2", "__truncsfbf2",   "__truncdfhf2"};
    for (size_t i = 0; i < sizeof(internal) / sizeof(*internal); i++)
        if (strcmp(internal[i], name) == 0)
            return true;
    return strncmp(name, "__tvm_", 6) == 0 && strcmp(name, TVM_SYMBOL_MAIN) != 0;
}

static const char *prefix(const struct tvm_image *image) {
    return image->ffi ? TVM_SYMBOL_FFI_PREFIX : "";
}

static bool is_callable(const struct tvm_image *image, const struct tvm_elf_symbol *symbol) {
    const char *begin = prefix(image);
    return symbol->defined && tvm_elf_is_function(symbol) &&
           strncmp(symbol->name, begin, strlen(begin)) == 0 &&
           (image->ffi || !is_internal(symbol->name));
}

static int keep_functions(struct tvm_image *image, const struct tvm_elf *elf) {
    size_t count = 0, text = 0;
    for (size_t i = 0; i < elf->symbol_count; i++)
        if (is_callable(image, &elf->symbols[i])) {
            count++;
            text += strlen(elf->symbols[i].name) + 1;
        }
    size_t nbytes;
    free(image->functions); /* of an attempt that failed */
    image->function_count = 0;
    if (__builtin_mul_overflow(count, sizeof(char *), &nbytes) ||
        __builtin_add_overflow(nbytes, text, &nbytes) ||
        !(image->functions = malloc(nbytes ? nbytes : 1)))
        return tvm_raise_out_of_memory();
    char *next = (char *)(image->functions + count);
    for (size_t i = 0; i < elf->symbol_count; i++) { /* in the order of names */
        if (!is_callable(image, &elf->symbols[i]))
            continue;
        size_t size = strlen(elf->symbols[i].name) + 1;
        image->functions[image->function_count++] = memcpy(next, elf->symbols[i].name, size);
        next += size;
    }
    return 0;
}

/* The entry function is a function (TVM's target `c`), or a string that names it. */
static int keep_main(struct tvm_image *image, const struct tvm_elf *elf) {
    const struct tvm_elf_symbol *symbol = tvm_elf_find(elf, TVM_SYMBOL_MAIN);
    const unsigned char *content;
    size_t size;
    if (!symbol || tvm_elf_is_function(symbol))
        return 0;
    if (tvm_elf_content(elf, symbol, &content, &size))
        return -1;
    if (!memchr(content, 0, size))
        return tvm_raise(TVM_FORMAT_ERROR, "%s: %s holds no name", image->name, TVM_SYMBOL_MAIN);
    free(image->main_name);
    image->main_name = strdup((const char *)content);
    return image->main_name ? 0 : tvm_raise_out_of_memory();
}

static int load_failed(const struct tvm_image *image, const char *path) {
    const char *reason = dlerror();
    if (!tvm_os_has_fd_paths())
        return tvm_raise(TVM_OS_ERROR,
                         "%s: cannot be loaded: /proc is not mounted, and libraries "
                         "are opened through it",
                         image->name);
    if (!reason)
        reason = "the dynamic linker does not say why";
    if (strncmp(reason, path, strlen(path)) == 0 && strncmp(reason + strlen(path), ": ", 2) == 0)
        reason += strlen(path) + 2;
    const char *advice =
        strstr(reason, "undefined symbol: __gnu_") ? " (link the program with -rdynamic)" : "";
    return tvm_raise(TVM_OS_ERROR, "%s: cannot be loaded: %s%s", image->name, reason, advice);
}

/* Stores value in the library's pointer variable, which was checked, if it has one. */
static void set_pointer(const struct tvm_image *image, const struct tvm_elf *elf, const char *name,
                        void *value) {
    void **variable = tvm_elf_find(elf, name) ? dlsym(image->handle, name) : NULL;
    if (variable)
        *variable = value;
}

static int load(struct tvm_image *image, const struct tvm_elf *elf) {
    static pthread_once_t promoted = PTHREAD_ONCE_INIT;
    char path[TVM_OS_PATH_SIZE];
    pthread_once(&promoted, promote_self);
    if (tvm_symbols_check(elf))
        return -1;
    image->ffi = tvm_symbols_is_ffi(elf);
    if (!image->loaded && (keep_functions(image, elf) || keep_main(image, elf)))
        return -1;
    image->handle = dlopen(tvm_os_fd_path(image->fd, path), RTLD_NOW | RTLD_LOCAL);
    if (!image->handle)
        return load_failed(image, path);
    image->loaded = true;
    for (const struct tvm_slot *slot = tvm_slots; slot->name; slot++)
        set_pointer(image, elf, slot->name, (void *)slot->function);
    set_pointer(image, elf, image->ffi ? TVM_SYMBOL_FFI_CONTEXT : TVM_SYMBOL_CONTEXT,
                &image->environment);
    return 0;
}

static int read_blob(const struct tvm_image *image, const struct tvm_elf *elf,
                     struct tvm_blob *out) {
    const char *symbol_name = tvm_symbols_is_ffi(elf) ? TVM_SYMBOL_FFI_BLOB : TVM_SYMBOL_BLOB;
    const struct tvm_elf_symbol *symbol = tvm_elf_find(elf, symbol_name);
    const unsigned char *content;
    char name[256];
    size_t size;
    *out = (struct tvm_blob){0};
    if (!symbol)
        return 0;
    if (tvm_elf_content(elf, symbol, &content, &size))
        return -1;
    snprintf(name, sizeof(name), "%s (%s)", image->name, symbol_name);
    struct tvm_reader_origin origin = {image->fd, (uint64_t)(content - elf->data)};
    return tvm_symbols_is_ffi(elf) ? tvm_blob_read_ffi(name, content, size, &origin, out)
                                   : tvm_blob_read(name, content, size, &origin, out);
}

/* Data is read and checked before the library's own code runs. */
static int load_and_link(struct tvm_image *image, const void *data, size_t size,
                         tvm_image_make *make, struct tvm_module **library,
                         struct tvm_module **root) {
    struct tvm_elf elf;
    struct tvm_blob blob;
    if (tvm_elf_read(image->name, data, size, &elf))
        return -1;
    int status = read_blob(image, &elf, &blob);
    if (status == 0) {
        status = image->handle ? 0 : load(image, &elf);
        if (status == 0)
            status = make(image, library);
        if (status == 0 && (status = tvm_blob_link(&blob, *library, root)) != 0)
            tvm_object_release(&(*library)->object);
        tvm_blob_free(&blob);
    }
    tvm_elf_free(&elf);
    return status;
}

/* Other files than libraries are not mapped: programs may be writing them. */
static int check_begin(const struct tvm_image *image) {
    unsigned char begin[TVM_FILETYPE_BYTES];
    ssize_t size = pread(image->fd, begin, sizeof(begin), 0);
    return size < 0
               ? tvm_raise(TVM_OS_ERROR, "%s: cannot be read: %s", image->name, strerror(errno))
               : tvm_elf_check_begin(image->name, begin, (size_t)size);
}

static int map_and_load(struct tvm_image *image, tvm_image_make *make, struct tvm_module **library,
                        struct tvm_module **root) {
    const unsigned char *data;
    size_t size;
    if (check_begin(image) || tvm_os_map_file(image->name, image->fd, &data, &size))
        return -1;
    int status = load_and_link(image, data, size, make, library, root);
    tvm_os_unmap_file(data, size);
    return status;
}

/* Ends loading, with library and root where status is 0, and the caller's use of image. */
static int settle(struct tvm_image *image, int status, struct tvm_module *library,
                  struct tvm_module *root, struct tvm_module **out) {
    struct tvm_module *old = NULL;
    if (status == 0 && (status = tvm_environment_attach(&image->environment, library)) != 0) {
        tvm_object_release(&root->object);
        tvm_object_release(&library->object);
    }
    if (status == 0)
        weak_retain(&root->object);
    pthread_mutex_lock(&mutex);
    if (status == 0) {
        old = image->root;
        image->root = root;
    }
    image->state = READY;
    pthread_cond_broadcast(&settled);
    pthread_mutex_unlock(&mutex);
    weak_release((struct tvm_object *)old);
    if (status == 0) {
        tvm_object_release(&library->object); /* root keeps it */
        *out = root;
    }
    tvm_image_release(image, NULL);
    return status;
}

int tvm_image_attach(struct tvm_image *image, tvm_image_make *make, struct tvm_module **out) {
    struct tvm_module *library = NULL, *root = NULL;
    int status = map_and_load(image, make, &library, &root);
    return settle(image, status, library, root, out);
}

int tvm_image_from_bytes(const char *name, const void *data, size_t size, tvm_image_make *make,
                         struct tvm_module **out) {
    struct tvm_image *image = NULL;
    struct tvm_module *library = NULL, *root = NULL;
    if (image_new(name, &image))
        return -1;
    if (tvm_os_memory_file(name, data, size, &image->fd)) {
        image_free(image);
        return -1;
    }
    pthread_mutex_lock(&mutex);
    list_add(image);
    pthread_mutex_unlock(&mutex);
    int status = load_and_link(image, data, size, make, &library, &root);
    return settle(image, status, library, root, out);
}

int tvm_image_from_part(const char *name, const struct tvm_library_part *part, tvm_image_make *make,
                        struct tvm_module **out) {
    struct tvm_image *image;
    struct tvm_module *library = NULL, *root = NULL;
    bool changed; /* no matter: each content has a copy of its own */
    if (join(name, -1, part->file, part->offset, &image, out, &changed))
        return -1;
    if (*out)
        return 0;
    int status = 0;
    if (image->fd < 0)
        status = tvm_os_memory_copy(name, part->fd, part->offset, part->size, &image->fd);
    if (status == 0)
        status = map_and_load(image, make, &library, &root);
    return settle(image, status, library, root, out);
}

/* Functions */

struct function_key {
    const char *name;
    size_t skip; /* bytes of the prefix, which all names in the list have */
};

static int compare_names(const void *key, const void *element) {
    const struct function_key *wanted = key;
    return strcmp(wanted->name, *(const char *const *)element + wanted->skip);
}

void *tvm_image_function(const struct tvm_image *image, const char *name) {
    if (image->main_name && strcmp(name, TVM_SYMBOL_MAIN) == 0)
        name = image->main_name;
    struct function_key key = {name, strlen(prefix(image))};
    const char **found = bsearch(&key, image->functions, image->function_count,
                                 sizeof(*image->functions), compare_names);
    return found ? dlsym(image->handle, *found) : NULL;
}

bool tvm_image_is_ffi(const struct tvm_image *image) {
    return image->ffi;
}
