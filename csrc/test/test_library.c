/* Opening compiled libraries. */
#include "module/library.h"

#include "base/classic.h"
#include "base/tensor.h"
#include "test/leaks.h"
#include "test/library_fixture.h"
#include "test/zoo.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARAMETERS "(union v *a, int *c, int n, union v *r, int *rc, void *h)"

/* answer() returns VALUE; next() counts its calls; both tell when they are loaded and unloaded. */
#define COUNTER                                                                                    \
    "union v { long long i; double d; void *p; };\n"                                               \
    "void test_loaded(int); static int counter;\n"                                                 \
    "__attribute__((constructor)) static void up(void) { test_loaded(1); }\n"                      \
    "__attribute__((destructor)) static void down(void) { test_loaded(-1); }\n"                    \
    "int answer" PARAMETERS " { r->i = VALUE; *rc = 0; return 0; }\n"                              \
    "int next" PARAMETERS " { r->i = ++counter; *rc = 0; return 0; }\n"                            \
    "int data = 5; const char text[] = \"answer\";\n"                                              \
    "__attribute__((visibility(\"hidden\"))) int hidden" PARAMETERS " { return 0; }\n"

/* Called by the libraries. */
static _Atomic int loaded, loads;

__attribute__((visibility("default"))) void test_loaded(int change) {
    atomic_fetch_add(&loaded, change);
    atomic_fetch_add(&loads, change > 0);
}

static const char *compile_counter(const char *name, int value) {
    char flags[128];
    snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -DVALUE=%d", value);
    return fixture_compile(name, flags, COUNTER);
}

static struct tvm_module *open_library(const char *path) {
    struct tvm_module *module;
    expect_ok(tvm_library_open(path, &module));
    assert_string_equal(module->kind->key, "library");
    return module;
}

static void release(struct tvm_module *module) {
    tvm_object_release(&module->object);
}

static int refuse(const char *path) {
    struct tvm_module *module;
    int status = tvm_library_open(path, &module);
    if (status == 0)
        release(module);
    return status;
}

static struct tvm_function *function_of(struct tvm_module *module, const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_module_get_function(module, name, false, &function));
    return function;
}

static bool has(struct tvm_module *module, const char *name) {
    struct tvm_function *function = function_of(module, name);
    if (function)
        tvm_object_release(&function->object);
    return function != NULL;
}

static int call(struct tvm_module *module, const char *name, const struct tvm_value *args,
                int32_t count, struct tvm_value *result) {
    struct tvm_function *function = function_of(module, name);
    if (!function)
        fail_msg("no function %s", name);
    int status = tvm_function_call(function, args, count, result);
    tvm_object_release(&function->object);
    return status;
}

static int64_t call_int(struct tvm_module *module, const char *name) {
    struct tvm_value result;
    expect_ok(call(module, name, NULL, 0, &result));
    assert_int_equal(result.type_index, TVM_TYPE_INT);
    return result.v_int;
}

/* A float32 vector that holds start, start + 1, … */
static struct tvm_tensor *vector(int64_t size, float start) {
    struct tvm_tensor *tensor;
    expect_ok(
        tvm_tensor_empty(&size, 1, (DLDataType){kDLFloat, 32, 1}, (DLDevice){kDLCPU, 0}, &tensor));
    for (int64_t i = 0; i < size; i++)
        ((float *)tensor->dl.data)[i] = start + (float)i;
    return tensor;
}

static float at(const struct tvm_tensor *tensor, int64_t index) {
    return ((const float *)tensor->dl.data)[index];
}

/* Files */

static void test_missing(void **state) {
    (void)state;
    expect_error(refuse("no/such/model.so"), TVM_NOT_FOUND_ERROR,
                 "no/such/model.so: cannot open shared object file: No such file or directory");
    expect_error(refuse(""), TVM_NOT_FOUND_ERROR, "cannot open shared object file");
    expect_error(refuse("csrc"), TVM_OS_ERROR,
                 "csrc: cannot open shared object file: it is a directory");
    const char *pipe = fixture_path("pipe.so");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    expect_error(refuse(pipe), TVM_OS_ERROR, "it is no regular file");
    expect_error(refuse(fixture_write("empty.so", "", 0)), TVM_FORMAT_ERROR, "the file is empty");
    expect_error(refuse(fixture_write("text.so", "{}", 2)), TVM_UNSUPPORTED_ERROR, "JSON text");
    if (geteuid() != 0) {
        const char *secret = fixture_write("secret.so", "x", 1);
        assert_int_equal(chmod(secret, 0), 0);
        expect_error(refuse(secret), TVM_OS_ERROR, "cannot open shared object file: Permission");
    }
}

static int load(const char *path, const char *format) {
    struct tvm_module *module;
    int status = tvm_library_load(path, format, &module);
    if (status == 0)
        release(module);
    return status;
}

static void test_formats(void **state) {
    (void)state;
    const char *path = compile_counter("plain.so", 1);
    char folder[256], other[256];
    static const char *const formats[] = {NULL, "", "so", "dll", "dylib", "dso"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
        expect_ok(load(path, formats[i]));
    snprintf(other, sizeof(other), "%s.bin", path);
    assert_int_equal(symlink(path, other), 0);
    expect_ok(load(other, "so"));
    expect_error(
        load(other, ""), TVM_VALUE_ERROR,
        "the name's ending \"bin\" is not that of a library: expected so, dll, dylib or dso");
    expect_error(load(path, "tar"), TVM_VALUE_ERROR, "the format \"tar\" is not that of a library");
    expect_error(load("a.so/model", ""), TVM_VALUE_ERROR, "the name's ending \"\"");

    snprintf(folder, sizeof(folder), "%s", path);
    *strrchr(folder, '/') = '\0';
    char *here = getcwd(NULL, 0);
    assert_non_null(here);
    assert_int_equal(chdir(folder), 0);
    int status = load("plain.so", NULL);
    assert_int_equal(chdir(here), 0);
    free(here);
    expect_ok(status);
    expect_ok(load("libm.so.6", "so")); /* by the dynamic linker's library path */
    expect_error(load("no_such_model.so", "so"), TVM_NOT_FOUND_ERROR,
                 "no_such_model.so: cannot open shared object file");
    expect_error(load("no/such_model.so", "so"), TVM_NOT_FOUND_ERROR, "No such file");
}

static void test_load_from_file(void **state) {
    (void)state;
    struct tvm_value args[3] = {tvm_raw_string(compile_counter("plain.so", 7)),
                                tvm_raw_string("so"), tvm_none()};
    struct tvm_value result = tvm_none();
    for (int32_t count = 1; count <= 2; count++) {
        expect_ok(tvm_library_load_from_file(NULL, args, count, &result));
        assert_int_equal(result.type_index, TVM_TYPE_MODULE);
        assert_int_equal(call_int((struct tvm_module *)result.v_object, "answer"), 7);
        tvm_value_clear(&result);
    }
    args[1] = tvm_none();
    expect_ok(tvm_library_load_from_file(NULL, args, 2, &result));
    tvm_value_clear(&result);
    expect_error(tvm_library_load_from_file(NULL, args, 0, &result), TVM_VALUE_ERROR,
                 "runtime.ModuleLoadFromFile: expected 1 to 2 arguments, got 0");
    args[0] = tvm_int(1);
    expect_error(tvm_library_load_from_file(NULL, args, 1, &result), TVM_TYPE_ERROR, "path");
    struct tvm_bytes bytes = {"a\0b.so", 6};
    args[0] = (struct tvm_value){.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &bytes};
    expect_error(tvm_library_load_from_file(NULL, args, 1, &result), TVM_VALUE_ERROR, "NUL byte");
}

/* What a library offers */

static void test_functions(void **state) {
    (void)state;
    struct tvm_module *module = open_library(compile_counter("functions.so", 42));
    assert_int_equal(call_int(module, "answer"), 42);
    assert_true(has(module, "next"));
    static const char *const absent[] = {"data",  "text", "hidden",    "counter", "malloc",
                                         "cosf",  "",     "no_such",   "up",      "__tvm_main__",
                                         "_init", "puts", "tvm_raise", "answe",   "answer2"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++)
        if (has(module, absent[i]))
            fail_msg("it has %s", absent[i]);
    release(module);

    /* The entry function: a string that names it, or a function. */
    module = open_library(fixture_compile("named.so", FIXTURE_LIBRARY " -DVALUE=3",
                                          COUNTER "const char __tvm_main__[] = \"answer\";"));
    assert_int_equal(call_int(module, "__tvm_main__"), 3);
    release(module);
    module = open_library(fixture_compile("main.so", FIXTURE_LIBRARY " -DVALUE=4",
                                          COUNTER "int __tvm_main__" PARAMETERS
                                                  " { r->i = 5; *rc = 0; return 0; }\n"
                                                  "int __tvm_other" PARAMETERS " { return 0; }"));
    assert_int_equal(call_int(module, "__tvm_main__"), 5);
    assert_false(has(module, "__tvm_other"));
    release(module);
    module = open_library(fixture_compile("dangling.so", FIXTURE_LIBRARY " -DVALUE=4",
                                          COUNTER "const char __tvm_main__[] = \"data\";"));
    assert_false(has(module, "__tvm_main__"));
    release(module);
    expect_error(refuse(fixture_compile("endless.so", FIXTURE_LIBRARY " -DVALUE=4",
                                        COUNTER "const char __tvm_main__[4] = \"next\";")),
                 TVM_FORMAT_ERROR, "__tvm_main__ holds no name");
    assert_int_equal(loaded, 0);
}

static void test_models(void **state) {
    (void)state;
    zoo_need();
    struct tvm_module *module = open_library(zoo_path("lib/myadd.so"));
    struct tvm_tensor *a = vector(5, 1), *b = vector(5, 10), *out = vector(5, 0);
    struct tvm_value args[] = {tvm_from_object(a), tvm_from_object(b), tvm_from_object(out)},
                     result;
    expect_ok(call(module, "myadd", args, 3, &result));
    assert_true(at(out, 0) == 11 && at(out, 4) == 19);
    expect_ok(call(module, "__tvm_main__", args, 3, &result));
    assert_false(has(module, "__truncsfhf2"));
    expect_error(call(module, "myadd", args, 2, &result), TVM_RUNTIME_ERROR,
                 "num_args should be 3");
    args[1] = tvm_int(1);
    expect_error(call(module, "myadd", args, 3, &result), TVM_RUNTIME_ERROR, "myadd");
    args[1] = tvm_from_object(b);
    release(module);

    module = open_library(zoo_path("lib/three_args.so"));
    expect_ok(call(module, "add", args, 3, &result));
    expect_ok(call(module, "reverse", args, 2, &result));
    assert_true(at(b, 0) == 5);
    struct tvm_value number = tvm_int(42);
    expect_ok(call(module, "check_int", &number, 1, &result));
    number.v_int = 43;
    expect_error(call(module, "check_int", &number, 1, &result), TVM_RUNTIME_ERROR,
                 "check_int: expected the integer 42");
    release(module);

    module = open_library(zoo_path("lib/target_c.so"));
    expect_ok(call(module, "vadd", args, 3, &result));
    release(module);

    int64_t size = 8;
    struct tvm_tensor *halves, *roots;
    DLDataType half = {kDLFloat, 16, 1};
    expect_ok(tvm_tensor_empty(&size, 1, half, (DLDevice){kDLCPU, 0}, &halves));
    expect_ok(tvm_tensor_empty(&size, 1, half, (DLDevice){kDLCPU, 0}, &roots));
    for (int i = 0; i < 8; i++)
        ((uint16_t *)halves->dl.data)[i] = 0x4000; /* 2 */
    module = open_library(zoo_path("lib/fp16_old.so"));
    struct tvm_value half_args[] = {tvm_from_object(halves), tvm_from_object(roots)};
    expect_ok(call(module, "tvmgen_default_fused_add_sqrt", half_args, 2, &result));
    assert_int_equal(((uint16_t *)roots->dl.data)[7], 0x4000);
    release(module);
    tvm_object_release(&halves->object);
    tvm_object_release(&roots->object);
    tvm_object_release(&a->object);
    tvm_object_release(&b->object);
    tvm_object_release(&out->object);
}

static void test_refusals(void **state) {
    (void)state;
    int before = loads;
    expect_error(refuse(fixture_compile("modern.so", FIXTURE_LIBRARY " -DVALUE=1",
                                        COUNTER "const char __tvm_ffi_library_bin[9] = {1};")),
                 TVM_UNSUPPORTED_ERROR, "modern.so: a library of TVM 0.21");
    expect_error(refuse(fixture_compile("undefined.so", FIXTURE_LIBRARY " -DVALUE=1",
                                        COUNTER "int nobody_has_this(void);"
                                                "int f(void) { return nobody_has_this(); }")),
                 TVM_OS_ERROR, "undefined.so: cannot be loaded: undefined symbol: nobody_has_this");
    fixture_compile("libgone.so", FIXTURE_LIBRARY " -Wl,-soname,libgone.so", "int gone;");
    char flags[256];
    snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -DVALUE=1 -Wl,--no-as-needed %s",
             fixture_path("libgone.so"));
    expect_error(refuse(fixture_compile("lonely.so", flags, COUNTER)), TVM_OS_ERROR,
                 "lonely.so: cannot be loaded: libgone.so: cannot open shared object file");
    assert_int_equal(loads, before); /* none of them ran */
}

/* A blob as C source: its size, then count entries. */
#define BLOB(size, count, entries)                                                                 \
    COUNTER "struct { unsigned long long n, c; struct { unsigned long long n; char t[" size "]; }" \
            " __attribute__((packed)) e; } const __tvm_dev_mblob = { " count ", " entries " };"

static void test_blobs(void **state) {
    (void)state;
    int before = loads;
    expect_error(refuse(fixture_compile("vm.so", FIXTURE_LIBRARY " -DVALUE=1",
                                        BLOB("12", "28, 1", "{12, \"VMExecutable\"}"))),
                 TVM_UNSUPPORTED_ERROR,
                 "vm.so (__tvm_dev_mblob): holds a module of kind VMExecutable");
    expect_error(refuse(fixture_compile("large.so", FIXTURE_LIBRARY " -DVALUE=1",
                                        BLOB("20", "41, 1", "{20, \"GraphExecutorFactory\"}"))),
                 TVM_FORMAT_ERROR, "it says 41 bytes follow, and its symbol has room for 40");
    assert_int_equal(loads, before);
    struct tvm_module *module = open_library(fixture_compile("lib.so", FIXTURE_LIBRARY " -DVALUE=9",
                                                             BLOB("4", "20, 1", "{4, \"_lib\"}")));
    assert_int_equal(module->import_count, 0);
    assert_int_equal(call_int(module, "answer"), 9);
    release(module);
}

/* Which image a file gets */

static void test_identity(void **state) {
    (void)state;
    const char *path = compile_counter("one.so", 1);
    char link_path[256], hard_path[256];
    snprintf(link_path, sizeof(link_path), "%s.link", path);
    snprintf(hard_path, sizeof(hard_path), "%s.hard", path);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(link(path, hard_path), 0);
    struct tvm_module *first = open_library(path), *second = open_library(path);
    struct tvm_module *third = open_library(link_path), *fourth = open_library(hard_path);
    assert_ptr_equal(first, second);
    assert_ptr_equal(first, third);
    assert_ptr_equal(first, fourth);
    assert_int_equal(tvm_object_use_count(&first->object), 4);
    assert_int_equal(loaded, 1);
    assert_int_equal(call_int(first, "next"), 1);

    size_t size;
    unsigned char *data = fixture_read(path, &size);
    struct tvm_module *copy = open_library(fixture_write("copy.so", data, size));
    free(data);
    assert_ptr_not_equal(first, copy);
    assert_int_equal(call_int(copy, "next"), 1);
    assert_int_equal(call_int(first, "next"), 2);
    release(copy);
    release(first);
    release(second);
    release(third);
    assert_int_equal(loaded, 1);
    release(fourth);
    assert_int_equal(loaded, 0);

    first = open_library(path); /* anew */
    assert_int_equal(call_int(first, "next"), 1);
    release(first);
}

static void test_functions_keep_it(void **state) {
    (void)state;
    struct tvm_module *module = open_library(compile_counter("kept.so", 6));
    struct tvm_function *function = function_of(module, "answer");
    struct tvm_value result;
    release(module);
    assert_int_equal(loaded, 1);
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    assert_int_equal(result.v_int, 6);
    tvm_object_release(&function->object);
    assert_int_equal(loaded, 0);
}

/* A new file under the name of an open one is another library. */
static void test_renamed_over(void **state) {
    (void)state;
    char path[256];
    snprintf(path, sizeof(path), "%s", compile_counter("model.so", 1));
    struct tvm_module *old = open_library(path);
    assert_int_equal(rename(compile_counter("new.so", 2), path), 0);
    struct tvm_module *new = open_library(path);
    assert_ptr_not_equal(old, new);
    assert_int_equal(call_int(old, "answer"), 1);
    assert_int_equal(call_int(new, "answer"), 2);
    assert_ptr_equal(new, open_library(path));
    release(new);
    release(old);
    release(new);
    assert_int_equal(loaded, 0);
}

/* Descriptor numbers come again: each library must still be its own. */
static void test_descriptors(void **state) {
    enum { COUNT = 6 };
    struct tvm_module *modules[COUNT];
    char paths[COUNT][256];
    (void)state;
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(before);
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof(name), "number%d.so", i);
        snprintf(paths[i], sizeof(paths[i]), "%s", compile_counter(name, i));
        modules[i] = open_library(paths[i]);
        if (i % 2) { /* frees its number, for the next one */
            assert_int_equal(call_int(modules[i], "answer"), i);
            release(modules[i]);
        }
    }
    for (int i = 0; i < COUNT; i += 2) {
        assert_int_equal(call_int(modules[i], "answer"), i);
        release(modules[i]);
    }
    for (int i = 0; i < COUNT; i++) { /* all on one number */
        modules[i] = open_library(paths[i]);
        assert_int_equal(call_int(modules[i], "answer"), i);
        release(modules[i]);
    }
    int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(after);
    assert_int_equal(before, after);
}

/* The same file with other content: the dynamic linker would give the old image. */
static void test_written_over(void **state) {
    (void)state;
    char path[256];
    size_t size;
    snprintf(path, sizeof(path), "%s", compile_counter("model.so", 1));
    struct tvm_module *old = open_library(path);
    unsigned char *data = fixture_read(compile_counter("new.so", 2), &size);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(futimens(fd, (const struct timespec[]){{1, 1}, {1, 1}}), 0);
    close(fd);
    free(data);
    struct tvm_module *new = open_library(path);
    assert_ptr_not_equal(old, new);
    assert_int_equal(call_int(new, "answer"), 2);
    assert_int_equal(call_int(new, "next"), 1);
    assert_ptr_equal(new, open_library(path));
    release(new);
    release(new);
    release(old);
}

/* Writes both libraries into one file, at bytes 512 and 512 + *first_size, and reads it again. */
static unsigned char *join_libraries(const char *name, const char *first, const char *second,
                                     size_t *first_size, struct stat *file) {
    size_t second_size;
    char path[256];
    unsigned char *a = fixture_read(first, first_size), *b = fixture_read(second, &second_size);
    unsigned char *all = calloc(1, 512 + *first_size + second_size);
    assert_non_null(all);
    memcpy(all + 512, a, *first_size);
    memcpy(all + 512 + *first_size, b, second_size);
    free(a);
    free(b);
    fixture_write(name, all, 512 + *first_size + second_size);
    snprintf(path, sizeof(path), "%s", fixture_path(name));
    assert_int_equal(stat(path, file), 0);
    return all;
}

/* Libraries inside of one file: each is itself, and is found again while it is open. */
static void test_parts(void **state) {
    char paths[3][256];
    size_t size;
    struct stat file;
    struct tvm_module *first, *again, *second, *new;
    (void)state;
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "part%d.so", i);
        snprintf(paths[i], sizeof(paths[i]), "%s", compile_counter(name, i));
    }
    unsigned char *data = join_libraries("parts", paths[0], paths[1], &size, &file);
    struct tvm_library_part part = {&file, 512, data + 512, size};
    expect_ok(tvm_library_open_part("parts: 1", &part, &first));
    expect_ok(tvm_library_open_part("parts: 1", &part, &again));
    assert_ptr_equal(first, again);
    struct tvm_library_part other = {&file, 512 + size, data + 512 + size, size};
    expect_ok(tvm_library_open_part("parts: 2", &other, &second));
    assert_int_equal(call_int(first, "answer"), 0);
    assert_int_equal(call_int(second, "answer"), 1);
    assert_int_equal(loaded, 2);
    free(data);

    struct timespec modified = file.st_mtim;
    data = join_libraries("parts", paths[2], paths[1], &size, &file); /* over the old content … */
    file.st_mtim = modified;                                          /* … as cp -p does it */
    file.st_ctim.tv_sec++;                                            /* … which took its time */
    part = (struct tvm_library_part){&file, 512, data + 512, size};
    expect_ok(tvm_library_open_part("parts: 1", &part, &new));
    assert_ptr_not_equal(first, new);
    assert_int_equal(call_int(first, "answer"), 0);
    assert_int_equal(call_int(new, "answer"), 2);
    release(new);
    release(first);
    release(second);
    assert_int_equal(call_int(again, "next"), 1);
    release(again);
    assert_int_equal(loaded, 0);

    part.size = 100; /* a failure leaves nothing behind that would be found */
    expect_error(tvm_library_open_part("parts: 1", &part, &first), TVM_FORMAT_ERROR,
                 "parts: 1: a damaged or truncated ELF file");
    part.size = size;
    expect_ok(tvm_library_open_part("parts: 1", &part, &first));
    assert_int_equal(call_int(first, "answer"), 2);
    release(first);
    free(data);
}

/* A file that no address space of 32 bits has room for. */
static void test_huge_file(void **state) {
    char path[256], command[512];
    struct tvm_module *module;
    (void)state;
    snprintf(path, sizeof(path), "%s", compile_counter("huge.so", 9));
    snprintf(command, sizeof(command), "truncate -s 4294971392 %s", path); /* 2^32 + 4096 */
    assert_int_equal(system(command), 0);
    if (SIZE_MAX == UINT32_MAX) {
        expect_error(tvm_library_open(path, &module), TVM_OS_ERROR, "huge.so: cannot ");
        return;
    }
    expect_ok(tvm_library_open(path, &module));
    assert_int_equal(call_int(module, "answer"), 9);
    release(module);
}

static void test_bytes(void **state) {
    struct tvm_module *first, *second;
    size_t size;
    (void)state;
    unsigned char *data = fixture_read(compile_counter("bytes.so", 8), &size);
    expect_ok(tvm_library_open_bytes("OpenBytes: Lib", data, size, &first));
    expect_ok(tvm_library_open_bytes("OpenBytes: Lib", data, size, &second));
    expect_error(tvm_library_open_bytes("OpenBytes: Lib", data, size / 2, &first), TVM_FORMAT_ERROR,
                 "OpenBytes: Lib: a damaged or truncated ELF file");
    expect_error(tvm_library_open_bytes("OpenBytes: Lib", data, 0, &first), TVM_FORMAT_ERROR,
                 "OpenBytes: Lib: the file is empty");
    expect_error(tvm_library_open_bytes("OpenBytes: Lib", NULL, 0, &first), TVM_FORMAT_ERROR,
                 "OpenBytes: Lib: the file is empty");
    memset(data, 0, size);
    free(data);
    assert_ptr_not_equal(first, second);
    assert_int_equal(loaded, 2);
    assert_int_equal(call_int(first, "next"), 1);
    assert_int_equal(call_int(first, "next"), 2);
    assert_int_equal(call_int(second, "next"), 1);
    assert_int_equal(call_int(second, "answer"), 8);
    release(first);
    release(second);
    assert_int_equal(loaded, 0);
}

/* What libraries ask of their environment */

/* ask(name) calls what TVMBackendGetFuncFromEnv gives; ask_kept(name) does too, and keeps the
 * handle for the next time in a static variable, as TVM's LLVM code does. */
#define ASKER                                                                                      \
    COUNTER                                                                                        \
    "void *__tvm_module_ctx; static void *kept;\n"                                                 \
    "int (*__TVMBackendGetFuncFromEnv)(void *, const char *, void **);\n"                          \
    "int (*__TVMFuncCall)(void *, union v *, int *, int, union v *, int *);\n"                     \
    "int ask" PARAMETERS " { void *f;\n"                                                           \
    " if (__TVMBackendGetFuncFromEnv(__tvm_module_ctx, a->p, &f)) return -1;\n"                    \
    " return __TVMFuncCall(f, a, c, 0, r, rc); }\n"                                                \
    "int ask_kept" PARAMETERS " { void *f = kept;\n"                                               \
    " if (!f && __TVMBackendGetFuncFromEnv(__tvm_module_ctx, a->p, &f)) return -1;\n"              \
    " kept = f; return __TVMFuncCall(f, a, c, 0, r, rc); }\n"

static struct tvm_module *open_asker(const char *name, const char *flags) {
    char all[128];
    snprintf(all, sizeof(all), FIXTURE_LIBRARY " -DVALUE=1 %s", flags);
    return open_library(fixture_compile(name, all, ASKER));
}

static int finalized;

static void count_finalized(void *resource) {
    finalized += *(int *)resource;
}

static int return_resource(void *self, const struct tvm_value *args, int32_t count,
                           struct tvm_value *result) {
    (void)args, (void)count;
    *result = tvm_int(*(int *)((struct tvm_function *)self)->resource);
    return 0;
}

static int fail_kindly(void *self, const struct tvm_value *args, int32_t count,
                       struct tvm_value *result) {
    (void)self, (void)args, (void)count, (void)result;
    return tvm_raise(TVM_INDEX_ERROR, "from below");
}

static void set_global(const char *name, tvm_safe_call *call, int *resource) {
    struct tvm_function *function;
    expect_ok(tvm_function_new(call, resource, resource ? count_finalized : NULL, &function));
    expect_ok(tvm_registry_set(name, function, true));
    tvm_object_release(&function->object);
}

static void test_environment(void **state) {
    static int one = 1, two = 2;
    struct tvm_value name = tvm_raw_string("test.env"), result;
    (void)state;
    finalized = 0;
    struct tvm_module *module = open_asker("asker.so", "");
    expect_error(call(module, "ask", &name, 1, &result), TVM_NOT_FOUND_ERROR,
                 "asker.so: calls the function test.env, which is neither registered");
    set_global("test.env", return_resource, &one);
    expect_ok(call(module, "ask", &name, 1, &result));
    assert_int_equal(result.v_int, 1);
    set_global("test.env", return_resource, &two); /* what was given out stays */
    assert_int_equal(finalized, 0);
    expect_ok(call(module, "ask_kept", &name, 1, &result));
    assert_int_equal(result.v_int, 1);
    expect_ok(tvm_registry_remove("test.env"));
    assert_int_equal(finalized, 2);
    expect_ok(call(module, "ask_kept", &name, 1, &result));
    release(module); /* until the library is unmapped */
    assert_int_equal(finalized, 3);

    module = open_asker("asker.so", "");
    set_global("test.env", fail_kindly, NULL);
    expect_error(call(module, "ask", &name, 1, &result), TVM_INDEX_ERROR, "from below");
    expect_ok(tvm_registry_remove("test.env"));
    release(module);
}

static void test_environment_imports(void **state) {
    static int one = 1;
    struct tvm_value name = tvm_raw_string("answer"), result;
    (void)state;
    set_global("answer", return_resource, &one);
    struct tvm_module *asker = open_asker("asker.so", "-Dnext=next2");
    struct tvm_module *other = open_library(compile_counter("imported.so", 77));
    struct tvm_module *between =
        open_library(fixture_compile("between.so", FIXTURE_LIBRARY, "int between;"));
    expect_ok(tvm_module_import(between, other));
    expect_ok(tvm_module_import(asker, between));
    release(between);
    release(other);
    expect_ok(call(asker, "ask", &name, 1, &result)); /* not its own, nor the global one */
    assert_int_equal(result.v_int, 77);
    name = tvm_raw_string("ask");
    expect_error(call(asker, "ask", &name, 1, &result), TVM_NOT_FOUND_ERROR, "the function ask,");
    release(asker);
    assert_int_equal(loaded, 0);

    struct tvm_function *first, *second;
    expect_ok(tvm_library_env_function(NULL, "answer", &first));
    expect_ok(tvm_library_env_function(NULL, "answer", &second));
    assert_ptr_equal(first, second);
    expect_error(tvm_library_env_function(NULL, "test.none", &first), TVM_NOT_FOUND_ERROR,
                 "linked into the program: calls the function test.none");
    expect_ok(tvm_registry_remove("answer"));
}

/* A library that the dynamic linker does not unload keeps what it remembers, and so must we. */
static void test_not_unloaded(void **state) {
    static int one = 1;
    struct tvm_value name = tvm_raw_string("test.env"), result;
    (void)state;
    finalized = 0;
    set_global("test.env", return_resource, &one);
    struct tvm_module *module = open_asker("resident.so", "-Wl,-z,nodelete");
    char path[256];
    snprintf(path, sizeof(path), "%s", fixture_path("resident.so"));
    expect_ok(call(module, "ask_kept", &name, 1, &result));
    expect_ok(tvm_registry_remove("test.env"));
    int counted = (int)call_int(module, "next");
    release(module);
    assert_int_equal(finalized, 0);
    struct tvm_module *other = open_library(compile_counter("other.so", 5)); /* not on its number */
    assert_int_equal(call_int(other, "answer"), 5);
    module = open_library(path);
    assert_int_equal(call_int(module, "next"), counted + 1);
    expect_ok(call(module, "ask_kept", &name, 1, &result));
    assert_int_equal(result.v_int, 1);
    release(module);
    release(other);
    assert_int_equal(loaded, 1); /* for good */
    atomic_store(&loaded, 0);
}

/* Threads */

enum { THREADS = 8, ROUNDS = 300 };

static char shared_paths[2][256];

/* Opens, calls and drops libraries as fast as it can: mostly the last reference goes while another
 * thread asks for a new one. */
static void *open_and_close(void *argument) {
    uintptr_t number = (uintptr_t)argument;
    for (uintptr_t i = 0; i < ROUNDS; i++) {
        struct tvm_module *module;
        struct tvm_function *function;
        struct tvm_value result, name = tvm_raw_string("test.env");
        uintptr_t which = (number + i / 3) % 2;
        if (tvm_library_open(shared_paths[which], &module) ||
            tvm_module_get_function(module, i % 2 ? "answer" : "ask_kept", false, &function))
            return "cannot open it";
        release(module);
        if (tvm_function_call(function, &name, 1, &result))
            return "the call failed";
        tvm_object_release(&function->object);
        if (result.v_int != (i % 2 ? (int64_t)which : 30))
            return "another library answered";
    }
    return NULL;
}

static void test_threads(void **state) {
    static int thirty = 30;
    pthread_t threads[THREADS];
    (void)state;
    finalized = 0;
    set_global("test.env", return_resource, &thirty);
    for (int i = 0; i < 2; i++) {
        char name[32], flags[64];
        snprintf(name, sizeof(name), "thread%d.so", i);
        snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -DVALUE=%d", i);
        snprintf(shared_paths[i], sizeof(shared_paths[i]), "%s",
                 fixture_compile(name, flags, ASKER));
    }
    int before = loads;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *problem;
        assert_int_equal(pthread_join(threads[i], &problem), 0);
        if (problem)
            fail_msg("%s", (const char *)problem);
    }
    assert_int_equal(loaded, 0);
    assert_true(loads > before);
    expect_ok(tvm_registry_remove("test.env"));
    assert_int_equal(finalized, 30); /* no image still holds it */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_missing),
        LEAKS_TEST(test_formats),
        LEAKS_TEST(test_load_from_file),
        LEAKS_TEST(test_functions),
        LEAKS_TEST(test_models),
        LEAKS_TEST(test_refusals),
        LEAKS_TEST(test_blobs),
        LEAKS_TEST(test_identity),
        LEAKS_TEST(test_functions_keep_it),
        LEAKS_TEST(test_renamed_over),
        LEAKS_TEST(test_descriptors),
        LEAKS_TEST(test_written_over),
        LEAKS_TEST(test_parts),
        LEAKS_TEST(test_bytes),
        LEAKS_TEST(test_huge_file),
        LEAKS_TEST(test_environment),
        cmocka_unit_test(test_environment_imports), /* what is nobody's is kept for ever */
        LEAKS_TEST(test_threads),
        cmocka_unit_test(test_not_unloaded), /* as is what it remembers */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
