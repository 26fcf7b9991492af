#include "base/module.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Every module of a file is the same one to all who open it, so imports are added while others read
 * the list: one that it has outgrown stays, behind the newer one, until the module goes. */
static struct tvm_module **older_list(struct tvm_module **list) {
    return (struct tvm_module **)(void *)list[-1];
}

static void module_destroy(void *self) {
    struct tvm_module *module = self;
    if (module->kind->destroy)
        module->kind->destroy(module);
    struct tvm_module **list = module->imports;
    for (size_t i = 0; i < module->import_count; i++)
        tvm_object_release(&list[i]->object);
    while (list) {
        struct tvm_module **older = older_list(list);
        free(list - 1);
        list = older;
    }
}

void *tvm_module_alloc(size_t nbytes, const struct tvm_module_kind *kind) {
    struct tvm_module *module = tvm_object_alloc(nbytes, TVM_TYPE_MODULE, module_destroy);
    if (module)
        module->kind = kind;
    return module;
}

struct tvm_module *tvm_module_import_at(const struct tvm_module *module, size_t index) {
    size_t count = atomic_load_explicit(&module->import_count, memory_order_acquire);
    return index < count ? atomic_load_explicit(&module->imports, memory_order_relaxed)[index]
                         : NULL;
}

/* What one module can reach through imports. A library has a handful. */
enum { MAX_REACH = 1024 };

/* A walk through a module and what it imports, depth first in order. Each module is visited once,
 * however many ways lead to it. */
struct walk {
    const struct tvm_module *target; /* ends with this one, or (NULL) … */
    const char *name;                /* … with the first that has this function */
    struct tvm_function *function;
    bool found;
    size_t count;
    struct tvm_module *seen[MAX_REACH];
};

static int visit(struct walk *walk, struct tvm_module *module) {
    for (size_t i = 0; i < walk->count; i++)
        if (walk->seen[i] == module)
            return 0;
    if (walk->count == MAX_REACH)
        return tvm_raise(TVM_VALUE_ERROR, "a module and those it imports are more than %d",
                         MAX_REACH);
    walk->seen[walk->count++] = module;
    if (!walk->target && module->kind->get_function(module, walk->name, &walk->function))
        return -1;
    walk->found = walk->target ? module == walk->target : walk->function != NULL;
    struct tvm_module *import;
    for (size_t i = 0; !walk->found && (import = tvm_module_import_at(module, i)); i++)
        if (visit(walk, import))
            return -1;
    return 0;
}

static int reaches(struct tvm_module *from, const struct tvm_module *to, bool *found) {
    struct walk walk;
    memset(&walk, 0, offsetof(struct walk, seen)); /* the rest is as long as needed */
    walk.target = to;
    int status = visit(&walk, from);
    *found = status == 0 && walk.found;
    return status;
}

static bool imports(const struct tvm_module *module, const struct tvm_module *dep) {
    for (size_t i = 0; i < module->import_count; i++)
        if (module->imports[i] == dep)
            return true;
    return false;
}

static int add_import(struct tvm_module *module, struct tvm_module *dep) {
    bool cycle;
    if (reaches(dep, module, &cycle))
        return -1;
    if (cycle)
        return tvm_raise(TVM_VALUE_ERROR,
                         "a module cannot import itself, directly or through others");
    if (imports(module, dep))
        return 0;
    size_t count = module->import_count, nbytes = (2 * count + 2) * sizeof(struct tvm_module *);
    if ((count & (count - 1)) == 0) { /* it has room for a power of two */
        struct tvm_module **list = malloc(nbytes), **older = module->imports;
        if (!list)
            return tvm_raise_out_of_memory();
        *list++ = (struct tvm_module *)(void *)older;
        if (count)
            memcpy(list, older, count * sizeof(struct tvm_module *));
        atomic_store_explicit(&module->imports, list, memory_order_relaxed);
    }
    tvm_object_retain(&dep->object);
    module->imports[count] = dep;
    atomic_store_explicit(&module->import_count, count + 1, memory_order_release);
    return 0;
}

int tvm_module_import(struct tvm_module *module, struct tvm_module *dep) {
    static pthread_mutex_t importing = PTHREAD_MUTEX_INITIALIZER; /* from the check to the change */
    pthread_mutex_lock(&importing);
    int status = add_import(module, dep);
    pthread_mutex_unlock(&importing);
    return status;
}

int tvm_module_get_function(struct tvm_module *module, const char *name, bool query_imports,
                            struct tvm_function **out) {
    *out = NULL;
    if (!query_imports || !tvm_module_import_at(module, 0))
        return module->kind->get_function(module, name, out);
    struct walk walk;
    memset(&walk, 0, offsetof(struct walk, seen));
    walk.name = name;
    int status = visit(&walk, module);
    if (status == 0)
        *out = walk.function;
    return status;
}

int tvm_module_get_imported(const struct tvm_module *module, const char *name, bool query_imports,
                            struct tvm_function **out) {
    struct tvm_module *import;
    *out = NULL;
    for (size_t i = 0; !*out && (import = tvm_module_import_at(module, i)); i++)
        if (tvm_module_get_function(import, name, query_imports, out))
            return -1;
    return 0;
}

struct bound_method {
    struct tvm_module *self; /* owned */
    const struct tvm_module_method *method;
};

static void bound_method_free(void *resource) {
    struct bound_method *bound = resource;
    tvm_object_release(&bound->self->object);
    free(bound);
}

static int bound_method_call(void *self, const struct tvm_value *args, int32_t count,
                             struct tvm_value *result) {
    const struct bound_method *bound = ((struct tvm_function *)self)->resource;
    struct tvm_call call = {bound->method->name, args, count};
    return bound->method->call(bound->self, &call, result);
}

int tvm_module_get_method(struct tvm_module *self, const struct tvm_module_method *methods,
                          const char *name, struct tvm_function **out) {
    *out = NULL;
    const struct tvm_module_method *method = methods;
    while (method->name && strcmp(method->name, name) != 0)
        method++;
    if (!method->name)
        return 0;
    struct bound_method *bound = malloc(sizeof(*bound));
    if (!bound)
        return tvm_raise_out_of_memory();
    *bound = (struct bound_method){self, method};
    tvm_object_retain(&self->object);
    if (tvm_function_new(bound_method_call, bound, bound_method_free, out)) {
        bound_method_free(bound);
        return -1;
    }
    return 0;
}
