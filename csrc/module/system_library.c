#include "module/system_library.h"

#include "base/classic.h"
#include "base/os.h"
#include "module/blob.h"
#include "module/environment.h"
#include "module/library.h"
#include "module/symbols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbol {
    char *name;
    void *address;
    bool twice; /* registered again with another address, which two models with one prefix do */
};

/* What was asked for with a prefix; stays, as compiled code knows where the environment is. */
struct entry {
    struct entry *next;
    struct tvm_module *root; /* owned; NULL: could not be made yet */
    struct tvm_environment environment;
    char prefix[];
};

/* Statically initialised: constructors of the program register before anything else runs. */
static struct {
    pthread_mutex_t mutex;  /* guards the symbols; never held while other code runs */
    struct symbol *symbols; /* by name */
    size_t count, capacity;
    pthread_mutex_t open_mutex; /* guards the entries */
    struct entry *entries;
} table = {.mutex = PTHREAD_MUTEX_INITIALIZER, .open_mutex = PTHREAD_MUTEX_INITIALIZER};

/* A symbol's name in parts: up to two things before it, and itself. */
struct full_name {
    const char *parts[3];
};

static int compare(const struct full_name *wanted, const char *name) {
    for (size_t i = 0; i < 3; i++)
        for (const char *it = wanted->parts[i]; *it; it++, name++)
            if (*it != *name)
                return (unsigned char)*it < (unsigned char)*name ? -1 : 1;
    return *name ? -1 : 0;
}

/* The index where it is, or belongs. */
static size_t find(const struct full_name *wanted, bool *found) {
    size_t low = 0, high = table.count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(wanted, table.symbols[middle].name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int insert(size_t index, const char *name, void *address) {
    if (table.count == table.capacity) {
        size_t capacity = table.capacity ? table.capacity * 2 : 64;
        struct symbol *symbols = realloc(table.symbols, capacity * sizeof(*symbols));
        if (!symbols)
            return tvm_raise_out_of_memory();
        table.symbols = symbols;
        table.capacity = capacity;
    }
    char *copy = strdup(name);
    if (!copy)
        return tvm_raise_out_of_memory();
    struct symbol *at = table.symbols + index;
    memmove(at + 1, at, (table.count++ - index) * sizeof(*at));
    at->name = copy;
    at->address = address;
    at->twice = false;
    return 0;
}

static int raise_twice(const char *name) {
    return tvm_raise(TVM_VALUE_ERROR,
                     "%s is registered twice, at different addresses: two models that are linked "
                     "into the program have the same prefix",
                     name);
}

int tvm_system_register(const char *name, void *address) {
    if (!name || !address)
        return tvm_raise(TVM_VALUE_ERROR, "a model registers %s without %s",
                         name ? name : "a symbol", name ? "an address" : "a name");
    const struct full_name full = {{"", "", name}};
    bool found, twice = false;
    int status = 0;
    pthread_mutex_lock(&table.mutex);
    size_t index = find(&full, &found);
    if (found)
        twice = table.symbols[index].address != address;
    else
        status = insert(index, name, address);
    if (twice)
        table.symbols[index].twice = true;
    pthread_mutex_unlock(&table.mutex);
    return twice ? raise_twice(name) : status;
}

/* The address that the parts of a name are registered with together; NULL for none. */
static int look_up(const char *first, const char *second, const char *third, void **address) {
    const struct full_name full = {{first, second, third}};
    struct symbol symbol = {NULL, NULL, false};
    bool found;
    pthread_mutex_lock(&table.mutex);
    size_t index = find(&full, &found);
    if (found)
        symbol = table.symbols[index];
    pthread_mutex_unlock(&table.mutex);
    *address = symbol.address;
    return symbol.twice ? raise_twice(symbol.name) : 0;
}

/* Prefixes: those of the names that each model registers once. */

static const char *const marks[] = {TVM_SYMBOL_CONTEXT, TVM_SYMBOL_BLOB, TVM_SYMBOL_FFI_CONTEXT,
                                    TVM_SYMBOL_FFI_BLOB};

enum { MARK_COUNT = sizeof(marks) / sizeof(*marks) };

/* The length of what stands before a model's own symbol, SIZE_MAX for other names. */
static size_t prefix_size(const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i < MARK_COUNT; i++) {
        size_t end = strlen(marks[i]);
        if (size >= end && strcmp(name + size - end, marks[i]) == 0)
            return size - end;
    }
    return SIZE_MAX;
}

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whether one of the first count symbols has the prefix that the one after them has. */
static bool is_listed(size_t count, size_t size) {
    for (size_t i = 0; i < count; i++)
        if (prefix_size(table.symbols[i].name) == size &&
            memcmp(table.symbols[i].name, table.symbols[count].name, size) == 0)
            return true;
    return false;
}

/* Appends as much as fits. */
static void append(char *text, size_t room, const char *more, size_t size) {
    size_t used = strlen(text);
    if (size >= room - used)
        size = room - used - 1;
    memcpy(text + used, more, size);
    text[used + size] = '\0';
}

static int not_found(const char *prefix) {
    char list[512] = "";
    pthread_mutex_lock(&table.mutex);
    for (size_t i = 0; i < table.count; i++) {
        size_t size = prefix_size(table.symbols[i].name);
        if (size == SIZE_MAX || is_listed(i, size))
            continue;
        append(list, sizeof(list), *list ? ", \"" : "\"", *list ? 3 : 1);
        append(list, sizeof(list), table.symbols[i].name, size);
        append(list, sizeof(list), "\"", 1);
    }
    pthread_mutex_unlock(&table.mutex);
    if (*list)
        return tvm_raise(TVM_NOT_FOUND_ERROR,
                         "no model with the prefix \"%.200s\" is linked into this program: there "
                         "are models with the prefix %s",
                         prefix, list);
    return tvm_raise(
        TVM_NOT_FOUND_ERROR,
        "no model is linked into this program: compile one as a system library and link its "
        "object file (scripts/link-model does both)");
}

static bool has_prefix(const char *prefix) {
    bool found = false;
    pthread_mutex_lock(&table.mutex);
    for (size_t i = 0; i < table.count && !found; i++) {
        const char *name = table.symbols[i].name;
        found = begins_with(name, prefix) ||
                (begins_with(name, TVM_SYMBOL_FFI_PREFIX) &&
                 begins_with(name + strlen(TVM_SYMBOL_FFI_PREFIX), prefix));
    }
    pthread_mutex_unlock(&table.mutex);
    return found;
}

int tvm_system_check_model(const char *prefix) {
    for (size_t i = 0; i < MARK_COUNT; i++) {
        void *address;
        if (look_up(prefix, marks[i], "", &address))
            return -1;
        if (address)
            return 0;
    }
    return not_found(prefix);
}

/* Modules */

struct system {
    struct tvm_module module;
    const char *prefix;
};

/* Names in the table that are no functions. */
static bool is_data(const char *name) {
    return prefix_size(name) != SIZE_MAX || strstr(name, "__TVM");
}

/* A caller may say the name with its prefix or without. */
static int system_get_function(struct tvm_module *self, const char *name,
                               struct tvm_function **out) {
    const char *prefix = ((struct system *)self)->prefix;
    const char *const ways[][2] = {
        {TVM_SYMBOL_FFI_PREFIX, prefix}, {TVM_SYMBOL_FFI_PREFIX, ""}, {"", prefix}, {"", ""}};
    *out = NULL;
    if (is_data(name) || begins_with(name, "_library_")) /* with __tvm_ffi_ it is data */
        return 0;
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        void *code;
        if (look_up(ways[i][0], ways[i][1], name, &code))
            return -1;
        if (code)
            return *ways[i][0]
                       ? tvm_library_function_new((tvm_safe_call *)code, &self->object, out)
                       : tvm_classic_function_new((TVMBackendPackedCFunc)code, &self->object, out);
    }
    return 0;
}

static const struct tvm_module_kind system_kind = {.key = "library",
                                                   .get_function = system_get_function};

/* Stores value in the model's pointer variable, if it has one. */
static int set_pointer(const char *prefix, const char *name, void *value) {
    void *variable;
    if (look_up(prefix, name, "", &variable))
        return -1;
    if (variable)
        *(void **)variable = value;
    return 0;
}

static int set_pointers(struct entry *entry) {
    for (const struct tvm_slot *slot = tvm_slots; slot->name; slot++)
        if (set_pointer(entry->prefix, slot->name, (void *)slot->function))
            return -1;
    return set_pointer(entry->prefix, TVM_SYMBOL_CONTEXT, &entry->environment) ||
                   set_pointer(entry->prefix, TVM_SYMBOL_FFI_CONTEXT, &entry->environment)
               ? -1
               : 0;
}

/* Nothing tells a blob's size but its first word. */
static int blob_size(const char *name, const unsigned char *data, size_t *out) {
    struct tvm_reader reader = {.data = data, .size = sizeof(uint64_t), .name = name};
    uint64_t nbytes;
    if (tvm_read_u64(&reader, "size", &nbytes))
        return -1;
    *out = sizeof(uint64_t) + (size_t)nbytes;
    if (nbytes > PTRDIFF_MAX - sizeof(uint64_t) || !tvm_os_is_image_data(data, *out))
        return tvm_reader_fail(&reader,
                               "it says %llu bytes follow, which the program does not hold",
                               (unsigned long long)nbytes);
    return 0;
}

/* A model has one of the two kinds of blob, or none. */
static int read_blob(const char *prefix, struct tvm_blob *out) {
    static const struct tvm_reader_origin in_memory = {.fd = -1};
    const char *name = TVM_SYMBOL_FFI_BLOB;
    void *data;
    size_t size;
    *out = (struct tvm_blob){0};
    if (look_up(prefix, name, "", &data))
        return -1;
    bool ffi = data != NULL;
    if (!ffi && look_up(prefix, name = TVM_SYMBOL_BLOB, "", &data))
        return -1;
    if (!data)
        return 0;
    if (blob_size(name, data, &size))
        return -1;
    return ffi ? tvm_blob_read_ffi(name, data, size, &in_memory, out)
               : tvm_blob_read(name, data, size, &in_memory, out);
}

static int link_modules(struct entry *entry, struct tvm_blob *blob) {
    struct tvm_module *root = NULL;
    struct system *system = tvm_module_alloc(sizeof(*system), &system_kind);
    if (!system)
        return -1;
    system->prefix = entry->prefix;
    int status = tvm_blob_link(blob, &system->module, &root);
    if (status == 0 && (status = set_pointers(entry)) != 0)
        tvm_object_release(&root->object);
    if (status == 0) {
        status = tvm_environment_attach(&entry->environment, &system->module);
        if (status)
            tvm_object_release(&root->object);
        else
            entry->root = root;
    }
    tvm_object_release(&system->module.object); /* root keeps it */
    return status;
}

static int make_root(struct entry *entry) {
    struct tvm_blob blob;
    if (read_blob(entry->prefix, &blob))
        return -1;
    int status = link_modules(entry, &blob);
    tvm_blob_free(&blob);
    return status;
}

/* The entry for prefix, under open_mutex; NULL with an error raised when there is no memory. */
static struct entry *entry_for(const char *prefix) {
    struct entry *entry = table.entries;
    while (entry && strcmp(entry->prefix, prefix) != 0)
        entry = entry->next;
    if (entry)
        return entry;
    size_t size = strlen(prefix) + 1;
    entry = calloc(1, sizeof(*entry) + size);
    if (!entry) {
        tvm_raise_out_of_memory();
        return NULL;
    }
    memcpy(entry->prefix, prefix, size);
    tvm_environment_init(&entry->environment, *prefix ? entry->prefix : "the linked model");
    entry->next = table.entries;
    table.entries = entry;
    return entry;
}

int tvm_system_library(const char *prefix, struct tvm_module **out) {
    if (!has_prefix(prefix))
        return not_found(prefix);
    pthread_mutex_lock(&table.open_mutex);
    struct entry *entry = entry_for(prefix);
    int status = !entry ? -1 : entry->root ? 0 : make_root(entry);
    if (status == 0) {
        *out = entry->root;
        tvm_object_retain(&entry->root->object);
    }
    pthread_mutex_unlock(&table.open_mutex);
    return status;
}

int tvm_system_library_get(const struct tvm_call *call, struct tvm_value *result) {
    struct tvm_module *module;
    char *prefix = NULL;
    if (call->count && tvm_call_string(call, 0, "prefix", &prefix))
        return -1;
    int status = tvm_system_library(prefix ? prefix : "", &module);
    free(prefix);
    if (status == 0)
        *result = tvm_from_object(module);
    return status;
}
