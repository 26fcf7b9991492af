/* The least that a model's run can take: a plain loop over the kernels of its library, with
 * arguments bound beforehand, no runtime around them, and threads that never sleep:
 *
 *     floor PREFIX INPUT THREADS
 */
#include "include/tvm_runtime.h"
#include "protocol.h"

#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static void check(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "floor: %s\n", what);
        exit(1);
    }
}

/* What compiled code needs of a runtime. */

enum { MOST_THREADS = 64, ARENA = 64 << 20 };

static int threads;
static FTVMParallelLambda current_lambda;
static void *current_closure;
static TVMParallelGroupEnv env;
static _Alignas(128) atomic_int launch_count;
static _Alignas(128) atomic_int done_count;
static _Alignas(128) atomic_int arrived;
static _Alignas(128) atomic_int phase;

static void *worker(void *number) {
    int seen = 0, task = (int)(intptr_t)number;
    for (;;) {
        int count;
        while ((count = atomic_load_explicit(&launch_count, memory_order_acquire)) == seen)
            ;
        seen = count;
        if (task < env.num_task)
            check(current_lambda(task, &env, current_closure) == 0, "a task failed");
        atomic_fetch_add_explicit(&done_count, 1, memory_order_release);
    }
    return NULL;
}

static int launch(FTVMParallelLambda lambda, void *closure, int num_task) {
    env.num_task = num_task && num_task < threads ? num_task : threads;
    env.sync_handle = &env;
    if (env.num_task == 1)
        return lambda(0, &env, closure);
    current_lambda = lambda;
    current_closure = closure;
    atomic_store_explicit(&done_count, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&launch_count, 1, memory_order_release);
    int status = lambda(0, &env, closure);
    while (atomic_load_explicit(&done_count, memory_order_acquire) != threads - 1)
        ;
    return status;
}

static int barrier(int task, TVMParallelGroupEnv *group) {
    (void)task;
    int now_phase = atomic_load(&phase);
    if (atomic_fetch_add(&arrived, 1) + 1 == group->num_task) {
        atomic_store(&arrived, 0);
        atomic_fetch_add(&phase, 1);
    } else {
        while (atomic_load(&phase) == now_phase)
            ;
    }
    return 0;
}

static _Thread_local char *arena;
static _Thread_local size_t arena_used;

static void *workspace_alloc(int type, int id, uint64_t size, int code, int bits) {
    (void)type, (void)id, (void)code, (void)bits;
    if (!arena)
        arena = aligned_alloc(128, ARENA);
    check(arena && arena_used + size <= ARENA, "a workspace is too large");
    void *data = arena + arena_used;
    arena_used += (size + 127) & ~(uint64_t)127;
    return data;
}

static int workspace_free(int type, int id, void *data) {
    (void)type, (void)id;
    arena_used = (size_t)((char *)data - arena); /* compiled code frees in reverse */
    return 0;
}

static void fill_slot(void *library, const char *name, void *value) {
    void **slot = dlsym(library, name);
    if (slot)
        *slot = value;
}

static void *open_library(const char *prefix) {
    char path[4096];
    snprintf(path, sizeof(path), "%s.so", prefix);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, dlerror());
    fill_slot(library, "__TVMBackendParallelLaunch", (void *)(uintptr_t)launch);
    fill_slot(library, "__TVMBackendParallelBarrier", (void *)(uintptr_t)barrier);
    fill_slot(library, "__TVMBackendAllocWorkspace", (void *)(uintptr_t)workspace_alloc);
    fill_slot(library, "__TVMBackendFreeWorkspace", (void *)(uintptr_t)workspace_free);
    return library;
}

/* The graph, with its arguments bound. */

struct kernel {
    TVMBackendPackedCFunc code;
    TVMValue *args;
    int *codes;
    int count;
};

static struct kernel *kernels;
static int kernel_count;
static DLTensor *entries;

static const cJSON *at(const cJSON *graph, const char *name) {
    const cJSON *attr = cJSON_GetObjectItem(cJSON_GetObjectItem(graph, "attrs"), name);
    return cJSON_GetArrayItem(attr, 1); /* an attribute is a type and a value */
}

static int number(const cJSON *array, int index) {
    return cJSON_GetArrayItem(array, index)->valueint;
}

static void *zeroed(size_t size) {
    size = (size + 128) & ~(size_t)127;
    void *data = aligned_alloc(128, size);
    check(data != NULL, "no memory");
    return memset(data, 0, size);
}

/* All entries are float32, in memory by storage id, the largest of each. */
static void make_entries(const cJSON *graph) {
    const cJSON *shapes = at(graph, "shape"), *ids = at(graph, "storage_id");
    int count = cJSON_GetArraySize(ids);
    size_t *sizes = calloc((size_t)count, sizeof(*sizes));
    void **data = calloc((size_t)count, sizeof(*data));
    entries = calloc((size_t)count, sizeof(*entries));
    for (int e = 0; e < count; e++) {
        const cJSON *shape = cJSON_GetArrayItem(shapes, e), *dim;
        int64_t *dims = calloc(8, sizeof(*dims));
        size_t size = sizeof(float);
        check(strcmp(cJSON_GetArrayItem(at(graph, "dltype"), e)->valuestring, "float32") == 0,
              "an entry is not float32");
        entries[e] = (DLTensor){.device = {kDLCPU, 0}, .dtype = {kDLFloat, 32, 1}, .shape = dims};
        cJSON_ArrayForEach(dim, shape) {
            dims[entries[e].ndim++] = dim->valueint;
            size *= (size_t)dim->valueint;
        }
        if (sizes[number(ids, e)] < size)
            sizes[number(ids, e)] = size;
    }
    for (int e = 0; e < count; e++) {
        int id = number(ids, e);
        if (!data[id])
            data[id] = zeroed(sizes[id]);
        entries[e].data = data[id];
    }
    free(sizes);
    free(data);
}

static void make_kernels(const cJSON *graph, void *library) {
    const cJSON *nodes = cJSON_GetObjectItem(graph, "nodes"), *node, *input;
    const cJSON *rows = cJSON_GetObjectItem(graph, "node_row_ptr");
    kernels = calloc((size_t)cJSON_GetArraySize(nodes), sizeof(*kernels));
    int n = -1;
    cJSON_ArrayForEach(node, nodes) {
        n++;
        if (strcmp(cJSON_GetObjectItem(node, "op")->valuestring, "tvm_op") != 0)
            continue;
        const cJSON *attrs = cJSON_GetObjectItem(node, "attrs");
        const char *name = cJSON_GetObjectItem(attrs, "func_name")->valuestring;
        if (strcmp(name, "__nop") == 0)
            continue;
        struct kernel *kernel = &kernels[kernel_count++];
        kernel->code = (TVMBackendPackedCFunc)(uintptr_t)dlsym(library, name);
        check(kernel->code != NULL, name);
        kernel->args = calloc(64, sizeof(*kernel->args));
        kernel->codes = calloc(64, sizeof(*kernel->codes));
        cJSON_ArrayForEach(input, cJSON_GetObjectItem(node, "inputs")) {
            int entry = number(rows, number(input, 0)) + number(input, 1);
            kernel->args[kernel->count++].v_handle = &entries[entry];
        }
        for (int e = number(rows, n); e < number(rows, n + 1); e++)
            kernel->args[kernel->count++].v_handle = &entries[e];
        check(kernel->count <= 64, "too many arguments");
        for (int i = 0; i < kernel->count; i++)
            kernel->codes[i] = kTVMDLTensorHandle;
    }
}

static DLTensor *find_entry(const cJSON *graph, const char *name, size_t size) {
    const cJSON *node;
    int n = 0;
    cJSON_ArrayForEach(node, cJSON_GetObjectItem(graph, "nodes")) {
        const char *text = cJSON_GetObjectItem(node, "name")->valuestring;
        if (strlen(text) == size && memcmp(text, name, size) == 0)
            return &entries[number(cJSON_GetObjectItem(graph, "node_row_ptr"), n)];
        n++;
    }
    return NULL;
}

static uint64_t take(const char **at, size_t size) {
    uint64_t value = 0;
    memcpy(&value, *at, size);
    *at += size;
    return value;
}

/* A params file: magic number, reserved, names, tensors. */
static void load_params(const cJSON *graph, const char *prefix) {
    size_t size;
    char *data = read_file(prefix, ".params", &size);
    const char *at = data + 16;
    uint64_t count = take(&at, 8);
    struct {
        const char *name;
        size_t size;
    } *names = calloc(count + 1, sizeof(*names));
    for (uint64_t i = 0; i < count; i++) {
        names[i].size = take(&at, 8);
        names[i].name = at;
        at += names[i].size;
    }
    take(&at, 8);
    for (uint64_t i = 0; i < count; i++) {
        at += 8 + 8 + 8; /* magic number, reserved, device */
        uint64_t ndim = take(&at, 4);
        at += 4 + 8 * ndim; /* element type, shape */
        uint64_t nbytes = take(&at, 8);
        DLTensor *entry = find_entry(graph, names[i].name, names[i].size);
        check(entry != NULL && at + nbytes <= data + size, "a parameter is not in the graph");
        entry->data = memcpy(zeroed(nbytes), at, nbytes);
        at += nbytes;
    }
    free(names);
    free(data);
}

static void run(void) {
    for (struct kernel *k = kernels; k < kernels + kernel_count; k++) {
        TVMValue result;
        int code = kTVMNullptr;
        if (k->code(k->args, k->codes, k->count, &result, &code, NULL))
            exit(1);
    }
}

/* The run's result must be the reference's. */
static void check_output(const cJSON *graph, const char *prefix) {
    const cJSON *head = cJSON_GetArrayItem(cJSON_GetObjectItem(graph, "heads"), 0);
    int row = number(cJSON_GetObjectItem(graph, "node_row_ptr"), number(head, 0));
    const float *got = entries[row + number(head, 1)].data;
    size_t size;
    const float *want = read_file(prefix, ".out", &size);
    for (size_t i = 0; i < size / sizeof(float); i++)
        check(got[i] - want[i] < 1e-4F && want[i] - got[i] < 1e-4F, "the output is wrong");
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "floor PREFIX INPUT THREADS\n");
        return 1;
    }
    threads = atoi(argv[3]);
    check(threads > 0 && threads <= MOST_THREADS, "1 to 64 threads");
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, worker, (void *)(intptr_t)i) == 0, "no thread");
    }
    size_t size;
    cJSON *graph = cJSON_Parse(read_file(argv[1], ".json", &size));
    check(graph != NULL, "no graph");
    make_entries(graph);
    make_kernels(graph, open_library(argv[1]));
    load_params(graph, argv[1]);
    DLTensor *input = find_entry(graph, argv[2], strlen(argv[2]));
    check(input != NULL, "no such input");
    void *data = read_file(argv[1], ".in", &size);
    memcpy(input->data, data, size);
    run();
    check_output(graph, argv[1]);
    serve(run);
    return 0;
}
