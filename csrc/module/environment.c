#include "module/environment.h"

#include "module/library.h"

#include <stdlib.h>
#include <string.h>

/* A function that the library asked for. It keeps the handle in a variable of its own, so the
 * function stays until the library is unmapped. */
struct env_function {
    struct env_function *next;
    struct tvm_function *function; /* owned */
    char name[];
};

void tvm_environment_init(struct tvm_environment *environment, const char *name) {
    *environment = (struct tvm_environment){.name = name};
    pthread_mutex_init(&environment->mutex, NULL);
}

void tvm_environment_clear(struct tvm_environment *environment) {
    struct env_function *next;
    for (struct env_function *it = environment->first; it; it = next) {
        next = it->next;
        tvm_object_release(&it->function->object);
        free(it);
    }
    free(environment->libraries);
    pthread_mutex_destroy(&environment->mutex);
}

int tvm_environment_attach(struct tvm_environment *environment, struct tvm_module *library) {
    pthread_mutex_lock(&environment->mutex);
    size_t count = environment->library_count + 1;
    struct tvm_module **grown = realloc(environment->libraries, count * sizeof(*grown));
    if (grown) {
        environment->libraries = grown;
        grown[environment->library_count++] = library;
    }
    pthread_mutex_unlock(&environment->mutex);
    return grown ? 0 : tvm_raise_out_of_memory();
}

void tvm_environment_detach(struct tvm_environment *environment, const struct tvm_module *library) {
    pthread_mutex_lock(&environment->mutex);
    size_t kept = 0;
    for (size_t i = 0; i < environment->library_count; i++)
        if (environment->libraries[i] != library)
            environment->libraries[kept++] = environment->libraries[i];
    environment->library_count = kept;
    pthread_mutex_unlock(&environment->mutex);
}

/* In what the library's module imports, then in the registry; NULL in *out for none. */
static int search(struct tvm_environment *environment, const char *name,
                  struct tvm_function **out) {
    struct tvm_module *library = NULL;
    int status = 0;
    *out = NULL;
    pthread_mutex_lock(&environment->mutex);
    for (size_t i = environment->library_count; i-- > 0 && !library;)
        if (tvm_object_try_retain(&environment->libraries[i]->object))
            library = environment->libraries[i];
    pthread_mutex_unlock(&environment->mutex);
    if (library) {
        status = tvm_module_get_imported(library, name, true, out);
        tvm_object_release(&library->object);
    }
    return status || *out ? status : tvm_registry_get(name, out);
}

static struct env_function *find(const struct tvm_environment *environment, const char *name) {
    struct env_function *it = environment->first;
    while (it && strcmp(it->name, name) != 0)
        it = it->next;
    return it;
}

/* The handle to give out for name: an earlier one, or function (whose reference is taken). */
static int keep(struct tvm_environment *environment, const char *name,
                struct tvm_function *function, struct tvm_function **out) {
    size_t size = strlen(name) + 1;
    struct env_function *made = malloc(sizeof(*made) + size);
    if (!made) {
        tvm_object_release(&function->object);
        return tvm_raise_out_of_memory();
    }
    made->function = function;
    memcpy(made->name, name, size);
    pthread_mutex_lock(&environment->mutex);
    struct env_function *found = find(environment, name);
    if (!found) {
        made->next = environment->first;
        environment->first = made;
    }
    *out = found ? found->function : function;
    pthread_mutex_unlock(&environment->mutex);
    if (found) { /* another thread was faster */
        tvm_object_release(&function->object);
        free(made);
    }
    return 0;
}

int tvm_library_env_function(void *context, const char *name, struct tvm_function **out) {
    static struct tvm_environment everywhere = {
        .name = "a library that was linked into the program", .mutex = PTHREAD_MUTEX_INITIALIZER};
    struct tvm_environment *environment = context ? context : &everywhere;
    pthread_mutex_lock(&environment->mutex);
    struct env_function *found = find(environment, name);
    pthread_mutex_unlock(&environment->mutex);
    if (found) {
        *out = found->function;
        return 0;
    }
    struct tvm_function *function;
    if (search(environment, name, &function))
        return -1;
    if (!function)
        return tvm_raise(TVM_NOT_FOUND_ERROR,
                         "%s: calls the function %s, which is neither registered nor in what the "
                         "library imports",
                         environment->name, name);
    return keep(environment, name, function, out);
}
