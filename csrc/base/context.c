#include "base/context.h"

#include "base/checked.h"
#include "base/device.h"

#include <stdlib.h>

/* Workspaces are a stack: memory is taken and given back at the end of a chunk. What is freed out
 * of order stays until everything above it is freed as well. A chunk that is full gets a larger one
 * on top; once the arena is empty, those of several chunks are replaced by one for the most that
 * was ever needed. So an arena whose user repeats itself settles on one chunk, and asks the system
 * for nothing. */

/* Begins its own memory, which has room for CHUNK_HEADER bytes before the first workspace. */
struct chunk {
    struct chunk *below;
    size_t size; /* of the whole memory */
    size_t used; /* header included; a multiple of TVM_ALIGNMENT */
};

enum { CHUNK_HEADER = TVM_ALIGNMENT, CHUNK_MIN = 64 * 1024 };
_Static_assert(sizeof(struct chunk) <= CHUNK_HEADER, "the chunk header must fit");

struct entry {
    char *data;
    size_t size;                     /* as taken from the chunk */
    struct chunk *chunk;             /* NULL: memory of a device */
    void (*release)(void *resource); /* of that */
    void *resource;
    bool freed; /* but something above is still in use */
};

struct tvm_arena {
    struct chunk *top;
    struct entry *entries; /* workspaces in the order of their making */
    size_t count, capacity;
    size_t used; /* by all entries */
    size_t peak; /* the most that it ever was */
};

int tvm_context_new(struct tvm_context **out) {
    *out = calloc(1, sizeof(**out));
    return *out ? 0 : tvm_raise_out_of_memory();
}

static void free_chunks(struct tvm_arena *arena) {
    while (arena->top) {
        struct chunk *below = arena->top->below;
        free(arena->top);
        arena->top = below;
    }
}

/* Drops the last entries: down to the number mark, and below it those that were freed. */
static void pop(struct tvm_arena *arena, size_t mark) {
    /* A chunk that becomes empty stays on top of the others, ready for what comes next. */
    while (arena->count > 0 && (arena->count > mark || arena->entries[arena->count - 1].freed)) {
        struct entry *last = &arena->entries[--arena->count];
        if (last->chunk)
            last->chunk->used -= last->size;
        else
            last->release(last->resource);
        arena->used -= last->size;
    }
    /* Several chunks were not enough as one: the next workspace makes one for the peak. */
    if (arena->count == 0 && arena->top && arena->top->below)
        free_chunks(arena);
}

void tvm_context_destroy(struct tvm_context *context) {
    if (!context)
        return;
    for (size_t i = 0; i < TVM_MAX_TASKS; i++) {
        struct tvm_arena *arena = context->arenas[i];
        if (!arena)
            continue;
        pop(arena, 0);
        free_chunks(arena);
        free(arena->entries);
        free(arena);
    }
    free(context);
}

struct tvm_context *tvm_context_current(void) {
    struct tvm_thread *thread = tvm_thread();
    if (thread->context)
        return thread->context;
    if (!thread->own_context)
        tvm_context_new(&tvm_thread_with_cleanup()->own_context);
    return thread->own_context;
}

/* Makes room for size bytes at the end of the top chunk; false without memory. */
static bool reserve_data(struct tvm_arena *arena, size_t size) {
    struct chunk *top = arena->top;
    if (top && top->size - top->used >= size)
        return true;
    size_t wanted = size < CHUNK_MIN ? CHUNK_MIN : size;
    if (arena->count == 0) {
        free_chunks(arena);
        if (wanted < arena->peak)
            wanted = arena->peak;
    } else {
        if (top && top->used == CHUNK_HEADER) { /* empty, and too small */
            arena->top = top->below;
            free(top);
        }
        size_t doubled;
        if (tvm_size_mul(arena->used, 2, &doubled) && wanted < doubled)
            wanted = doubled;
    }
    size_t total;
    if (!tvm_size_add(wanted, CHUNK_HEADER, &total))
        return false;
    struct chunk *chunk = aligned_alloc(TVM_ALIGNMENT, total);
    if (!chunk)
        return false;
    *chunk = (struct chunk){.below = arena->top, .size = total, .used = CHUNK_HEADER};
    arena->top = chunk;
    return true;
}

static bool reserve_entry(struct tvm_arena *arena) {
    if (arena->count < arena->capacity)
        return true;
    size_t capacity = arena->capacity ? 2 * arena->capacity : 16;
    struct entry *entries = realloc(arena->entries, capacity * sizeof(*entries));
    if (!entries)
        return false;
    arena->entries = entries;
    arena->capacity = capacity;
    return true;
}

/* This task's arena, made now when it has none yet. */
static int make_arena(struct tvm_arena **out) {
    struct tvm_context *context = tvm_context_current();
    if (!context)
        return -1;
    struct tvm_arena **slot = &context->arenas[tvm_thread()->task];
    if (!*slot && !(*slot = calloc(1, sizeof(**slot))))
        return tvm_raise_out_of_memory();
    *out = *slot;
    return 0;
}

int tvm_workspace_adopt(void *data, void (*release)(void *resource), void *resource) {
    struct tvm_arena *arena;
    if (make_arena(&arena))
        return -1;
    if (!reserve_entry(arena))
        return tvm_raise_out_of_memory();
    arena->entries[arena->count++] =
        (struct entry){.data = data, .release = release, .resource = resource};
    return 0;
}

int tvm_workspace_alloc(size_t nbytes, void **out) {
    struct tvm_arena *arena;
    size_t size; /* never 0: two workspaces never share an address */
    if (make_arena(&arena))
        return -1;
    if (!tvm_size_align(nbytes + !nbytes, TVM_ALIGNMENT, &size) || !reserve_entry(arena) ||
        !reserve_data(arena, size))
        return tvm_raise(TVM_MEMORY_ERROR, "cannot allocate a workspace of %zu bytes", nbytes);
    char *data = (char *)arena->top + arena->top->used;
    arena->top->used += size;
    arena->entries[arena->count++] =
        (struct entry){.data = data, .size = size, .chunk = arena->top};
    arena->used += size;
    if (arena->peak < arena->used)
        arena->peak = arena->used;
    *out = data;
    return 0;
}

/* This task's arena, NULL when it has none yet. */
static struct tvm_arena *find_arena(void) {
    struct tvm_thread *thread = tvm_thread();
    struct tvm_context *context = thread->context ? thread->context : thread->own_context;
    return context ? context->arenas[thread->task] : NULL;
}

int tvm_workspace_free(void *data) {
    struct tvm_arena *arena = find_arena();
    size_t i = arena ? arena->count : 0;
    while (i > 0 && arena->entries[i - 1].data != data)
        i--;
    if (i == 0 || arena->entries[i - 1].freed)
        return tvm_raise(TVM_VALUE_ERROR, "%p is not a workspace in use by this task", data);
    arena->entries[i - 1].freed = true;
    pop(arena, arena->count);
    return 0;
}

size_t tvm_workspace_mark(void) {
    struct tvm_arena *arena = find_arena();
    return arena ? arena->count : 0;
}

void tvm_workspace_drop(size_t mark) {
    struct tvm_arena *arena = find_arena();
    if (arena && arena->count > mark)
        pop(arena, mark);
}

struct tvm_context_scope tvm_context_enter(struct tvm_context *context) {
    struct tvm_thread *thread = tvm_thread();
    struct tvm_context_scope scope = {.context = thread->context, .task = thread->task};
    thread->context = context;
    thread->task = 0;
    return scope;
}

void tvm_context_leave(struct tvm_context_scope scope) {
    struct tvm_thread *thread = tvm_thread();
    thread->context = scope.context;
    thread->task = scope.task;
}
