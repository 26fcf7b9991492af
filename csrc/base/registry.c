/* The registry: an open-addressing hash table of names behind one mutex. */
#include "base/function.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *name; /* NULL: free; owned */
    struct tvm_function *function;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct entry *entries;
    size_t capacity; /* power of two, or 0 before the first use */
    size_t count;
    bool complete; /* the built-in functions are in */
} table;

/* What is freed under the lock could come back here through a finalizer. So functions are released
 * after unlock, and the thread's last error is set aside: raising another one would free it. */
static struct tvm_error *lock(void) {
    struct tvm_error *before = tvm_error_take();
    pthread_mutex_lock(&mutex);
    return before;
}

static void lock_for_fork(void) {
    pthread_mutex_lock(&mutex);
}

/* A process that is forked has no thread that would unlock it. */
static void unlock_after_fork(void) {
    pthread_mutex_unlock(&mutex);
}

static int unlock(struct tvm_error *before, int status) {
    pthread_mutex_unlock(&mutex);
    return tvm_error_settle(before, status, NULL);
}

static size_t hash_name(const char *name) {
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
    return (size_t)hash;
}

/* The slot that holds name, or the free one where it belongs. */
static struct entry *find(struct entry *entries, size_t capacity, const char *name) {
    size_t index = hash_name(name) & (capacity - 1);
    while (entries[index].name && strcmp(entries[index].name, name) != 0)
        index = (index + 1) & (capacity - 1);
    return &entries[index];
}

static int grow(void) {
    size_t capacity = table.capacity ? table.capacity * 2 : 128;
    struct entry *entries = calloc(capacity, sizeof(*entries));
    if (!entries)
        return tvm_raise_out_of_memory();
    for (size_t i = 0; i < table.capacity; i++)
        if (table.entries[i].name)
            *find(entries, capacity, table.entries[i].name) = table.entries[i];
    free(table.entries);
    table.entries = entries;
    table.capacity = capacity;
    return 0;
}

/* Puts function (taking the reference) under a copy of name. *old gets what was there. */
static int insert(const char *name, struct tvm_function *function, struct tvm_function **old) {
    if (table.count * 4 >= table.capacity * 3 && grow())
        return -1;
    struct entry *entry = find(table.entries, table.capacity, name);
    *old = entry->function;
    if (!entry->name) {
        char *copy = strdup(name);
        if (!copy)
            return tvm_raise_out_of_memory();
        entry->name = copy;
        table.count++;
    }
    entry->function = function;
    return 0;
}

static int call_builtin(void *self, const struct tvm_value *args, int32_t count,
                        struct tvm_value *result) {
    return tvm_builtin_invoke(((struct tvm_function *)self)->resource, args, count, result);
}

const struct tvm_builtin *tvm_function_builtin(const struct tvm_function *function) {
    return function->call == call_builtin ? function->resource : NULL;
}

/* Fills the table with the built-in functions at its first use. */
static int ensure_builtins(void) {
    if (table.complete)
        return 0;
    if (!table.capacity && grow())
        return -1;
    for (const struct tvm_builtin *builtin = tvm_builtins; builtin->name; builtin++) {
        struct tvm_function *function, *old;
        if (tvm_function_new(call_builtin, (void *)(uintptr_t)builtin, NULL, &function))
            return -1;
        if (insert(builtin->name, function, &old)) {
            tvm_object_release(&function->object);
            return -1;
        }
        if (old) /* from an earlier try that ran out of memory */
            tvm_object_release(&old->object);
    }
    table.complete = true;
    (void)pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
    return 0;
}

int tvm_registry_set(const char *name, struct tvm_function *function, bool override) {
    struct tvm_function *old = NULL;
    struct tvm_error *before = lock();
    int status = ensure_builtins();
    if (status == 0 && !override && find(table.entries, table.capacity, name)->name)
        status = tvm_raise(TVM_VALUE_ERROR, "global function %s is already registered", name);
    if (status == 0) {
        tvm_object_retain(&function->object);
        status = insert(name, function, &old);
        if (status)
            old = function;
    }
    status = unlock(before, status);
    if (old)
        tvm_object_release(&old->object);
    return status;
}

int tvm_registry_get(const char *name, struct tvm_function **out) {
    *out = NULL;
    struct tvm_error *before = lock();
    int status = ensure_builtins();
    if (status == 0) {
        *out = find(table.entries, table.capacity, name)->function;
        if (*out)
            tvm_object_retain(&(*out)->object);
    }
    return unlock(before, status);
}

/* Takes the entry out and closes the gap in its run of collisions. */
static struct tvm_function *take(struct entry *entry) {
    struct tvm_function *function = entry->function;
    size_t mask = table.capacity - 1;
    size_t gap = (size_t)(entry - table.entries);
    free(entry->name);
    table.entries[gap] = (struct entry){0};
    table.count--;
    for (size_t i = (gap + 1) & mask; table.entries[i].name; i = (i + 1) & mask) {
        struct entry moved = table.entries[i];
        table.entries[i] = (struct entry){0};
        *find(table.entries, table.capacity, moved.name) = moved;
    }
    return function;
}

int tvm_registry_remove(const char *name) {
    struct tvm_function *removed = NULL;
    struct tvm_error *before = lock();
    int status = ensure_builtins();
    if (status == 0) {
        struct entry *entry = find(table.entries, table.capacity, name);
        if (entry->name)
            removed = take(entry);
        else
            status = tvm_raise(TVM_NOT_FOUND_ERROR, "no global function is called %s", name);
    }
    status = unlock(before, status);
    if (removed)
        tvm_object_release(&removed->object);
    return status;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_locked(const char ***out, size_t *count) {
    if (ensure_builtins())
        return -1;
    size_t nbytes = table.count * sizeof(char *) + 1;
    for (size_t i = 0; i < table.capacity; i++)
        if (table.entries[i].name)
            nbytes += strlen(table.entries[i].name) + 1;
    const char **names = malloc(nbytes);
    if (!names)
        return tvm_raise_out_of_memory();
    char *next = (char *)(names + table.count);
    size_t n = 0;
    for (size_t i = 0; i < table.capacity; i++) {
        if (!table.entries[i].name)
            continue;
        size_t size = strlen(table.entries[i].name) + 1;
        names[n++] = memcpy(next, table.entries[i].name, size);
        next += size;
    }
    qsort(names, n, sizeof(*names), compare_names);
    *out = names;
    *count = n;
    return 0;
}

int tvm_registry_list(const char ***out, size_t *count) {
    struct tvm_error *before = lock();
    int status = list_locked(out, count);
    return unlock(before, status);
}
