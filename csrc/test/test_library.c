/* Opening compiled libraries: which are refused, what they offer, and which image each gets. */
#include "module/library.h"

#include "base/classic.h"
#include "base/context.h"
#include "base/os.h"
#include "base/tensor.h"
#include "test/counter_fixture.h"
#include "test/graph_fixture.h"
#include "test/leaks.h"
#include "test/library_fixture.h"
#include "test/module_call.h"
#include "test/zoo.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has(struct tvm_module *module, const char *name) {
    struct tvm_function *function;
    expect_ok(tvm_module_get_function(module, name, false, &function));
    if (function)
        tvm_object_release(&function->object);
    return function != NULL;
}

static float at(const struct tvm_tensor *tensor, int64_t index) {
    return ((const float *)tensor->dl.data)[index];
}

/* Files */

static void test_missing(void **state) {
    (void)state;
    expect_error(fixture_try_open("no/such/model.so"), TVM_NOT_FOUND_ERROR,
                 "no/such/model.so: cannot open shared object file: No such file or directory");
    expect_error(fixture_try_open(""), TVM_NOT_FOUND_ERROR, "cannot open shared object file");
    expect_error(fixture_try_open("csrc"), TVM_OS_ERROR,
                 "csrc: cannot open shared object file: it is a directory");
    const char *pipe = fixture_path("pipe.so");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    expect_error(fixture_try_open(pipe), TVM_OS_ERROR, "it is no regular file");
    expect_error(fixture_try_open(fixture_write("empty.so", "", 0)), TVM_FORMAT_ERROR,
                 "it is empty");
    expect_error(fixture_try_open(fixture_write("text.so", "{}", 2)), TVM_UNSUPPORTED_ERROR,
                 "JSON text");
    if (geteuid() != 0) {
        const char *secret = fixture_write("secret.so", "x", 1);
        assert_int_equal(chmod(secret, 0), 0);
        expect_error(fixture_try_open(secret), TVM_OS_ERROR,
                     "cannot open shared object file: Permission");
    }
}

static int load(const char *path, const char *format) {
    struct tvm_module *module;
    int status = tvm_library_load(path, format, &module);
    if (status == 0)
        fixture_release(module);
    return status;
}

static void test_formats(void **state) {
    (void)state;
    const char *path = counter_compile("plain.so", 1);
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
    struct tvm_value args[3] = {tvm_raw_string(counter_compile("plain.so", 7)),
                                tvm_raw_string("so"), tvm_none()};
    struct tvm_value result = tvm_none();
    for (int32_t count = 1; count <= 2; count++) {
        expect_ok(global_call("runtime.ModuleLoadFromFile", args, count, &result));
        assert_int_equal(result.type_index, TVM_TYPE_MODULE);
        assert_int_equal(counter_call((struct tvm_module *)result.v_object, "answer"), 7);
        tvm_value_clear(&result);
    }
    args[1] = tvm_none();
    expect_ok(global_call("runtime.ModuleLoadFromFile", args, 2, &result));
    tvm_value_clear(&result);
    expect_error(global_call("runtime.ModuleLoadFromFile", args, 0, &result), TVM_VALUE_ERROR,
                 "runtime.ModuleLoadFromFile: expected 1 to 2 arguments, got 0");
    args[0] = tvm_int(1);
    expect_error(global_call("runtime.ModuleLoadFromFile", args, 1, &result), TVM_TYPE_ERROR,
                 "path");
    struct tvm_bytes bytes = {"a\0b.so", 6};
    args[0] = (struct tvm_value){.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &bytes};
    expect_error(global_call("runtime.ModuleLoadFromFile", args, 1, &result), TVM_VALUE_ERROR,
                 "NUL byte");
}

/* What a library offers */

static void test_functions(void **state) {
    (void)state;
    struct tvm_module *module = counter_open(counter_compile("functions.so", 42));
    assert_int_equal(counter_call(module, "answer"), 42);
    assert_true(has(module, "next"));
    static const char *const absent[] = {"data",  "text", "hidden",    "counter", "malloc",
                                         "cosf",  "",     "no_such",   "up",      "__tvm_main__",
                                         "_init", "puts", "tvm_raise", "answe",   "answer2"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++)
        if (has(module, absent[i]))
            fail_msg("it has %s", absent[i]);
    fixture_release(module);

    /* The entry function: a string that names it, or a function. */
    module = counter_open(fixture_compile("named.so", FIXTURE_LIBRARY " -DVALUE=3",
                                          COUNTER "const char __tvm_main__[] = \"answer\";"));
    assert_int_equal(counter_call(module, "__tvm_main__"), 3);
    fixture_release(module);
    module = counter_open(fixture_compile("main.so", FIXTURE_LIBRARY " -DVALUE=4",
                                          COUNTER "int __tvm_main__" PARAMETERS
                                                  " { r->i = 5; *rc = 0; return 0; }\n"
                                                  "int __tvm_other" PARAMETERS " { return 0; }"));
    assert_int_equal(counter_call(module, "__tvm_main__"), 5);
    assert_false(has(module, "__tvm_other"));
    fixture_release(module);
    module = counter_open(fixture_compile("dangling.so", FIXTURE_LIBRARY " -DVALUE=4",
                                          COUNTER "const char __tvm_main__[] = \"data\";"));
    assert_false(has(module, "__tvm_main__"));
    fixture_release(module);
    expect_error(
        fixture_try_open(fixture_compile("endless.so", FIXTURE_LIBRARY " -DVALUE=4",
                                         COUNTER "const char __tvm_main__[4] = \"next\";")),
        TVM_FORMAT_ERROR, "__tvm_main__ holds no name");
    assert_int_equal(counter_loaded, 0);
}

/* What a function of today's compilers takes and does not give back, as it fails. */
static void test_workspaces(void **state) {
    (void)state;
    struct tvm_value result;
    struct tvm_module *module = counter_open(
        fixture_compile("fails.so", FIXTURE_LIBRARY,
                        "void *TVMBackendAllocWorkspace(int, int, unsigned long long, int, int);\n"
                        "void TVMFFIErrorSetRaisedFromCStr(const char *, const char *);\n"
                        "int __tvm_ffi_take(void *self, void *args, int count, void *result) {\n"
                        "    if (!TVMBackendAllocWorkspace(1, 0, 100, 2, 32)) return -1;\n"
                        "    TVMFFIErrorSetRaisedFromCStr(\"IndexError\", \"deliberate\");\n"
                        "    return -1;\n"
                        "}\n"));
    size_t mark = tvm_workspace_mark();
    expect_error(module_call(module, "take", NULL, 0, &result), TVM_INDEX_ERROR, "deliberate");
    assert_int_equal(tvm_workspace_mark(), mark);
    fixture_release(module);
}

static void test_models(void **state) {
    (void)state;
    zoo_need();
    struct tvm_module *module = counter_open(zoo_path("lib/myadd.so"));
    struct tvm_tensor *a = fixture_vector(5, 1), *b = fixture_vector(5, 10),
                      *out = fixture_vector(5, 0);
    struct tvm_value args[] = {tvm_from_object(a), tvm_from_object(b), tvm_from_object(out)},
                     result;
    expect_ok(module_call(module, "myadd", args, 3, &result));
    assert_true(at(out, 0) == 11 && at(out, 4) == 19);
    expect_ok(module_call(module, "__tvm_main__", args, 3, &result));
    assert_false(has(module, "__truncsfhf2"));
    expect_error(module_call(module, "myadd", args, 2, &result), TVM_RUNTIME_ERROR,
                 "num_args should be 3");
    args[1] = tvm_int(1);
    expect_error(module_call(module, "myadd", args, 3, &result), TVM_RUNTIME_ERROR, "myadd");
    args[1] = tvm_from_object(b);
    fixture_release(module);

    module = counter_open(zoo_path("lib/three_args.so"));
    expect_ok(module_call(module, "add", args, 3, &result));
    expect_ok(module_call(module, "reverse", args, 2, &result));
    assert_true(at(b, 0) == 5);
    struct tvm_value number = tvm_int(42);
    expect_ok(module_call(module, "check_int", &number, 1, &result));
    number.v_int = 43;
    expect_error(module_call(module, "check_int", &number, 1, &result), TVM_RUNTIME_ERROR,
                 "check_int: expected the integer 42");
    fixture_release(module);

    module = counter_open(zoo_path("lib/target_c.so"));
    expect_ok(module_call(module, "vadd", args, 3, &result));
    fixture_release(module);

    int64_t size = 8;
    struct tvm_tensor *halves, *roots;
    DLDataType half = {kDLFloat, 16, 1};
    expect_ok(tvm_tensor_empty(&size, 1, half, (DLDevice){kDLCPU, 0}, &halves));
    expect_ok(tvm_tensor_empty(&size, 1, half, (DLDevice){kDLCPU, 0}, &roots));
    for (int i = 0; i < 8; i++)
        ((uint16_t *)halves->dl.data)[i] = 0x4000; /* 2 */
    module = counter_open(zoo_path("lib/fp16_old.so"));
    struct tvm_value half_args[] = {tvm_from_object(halves), tvm_from_object(roots)};
    expect_ok(module_call(module, "tvmgen_default_fused_add_sqrt", half_args, 2, &result));
    assert_int_equal(((uint16_t *)roots->dl.data)[7], 0x4000);
    fixture_release(module);
    tvm_object_release(&halves->object);
    tvm_object_release(&roots->object);
    tvm_object_release(&a->object);
    tvm_object_release(&b->object);
    tvm_object_release(&out->object);
}

static void test_refusals(void **state) {
    (void)state;
    int before = counter_loads;
    expect_error(
        fixture_try_open(fixture_compile("modern.so", FIXTURE_LIBRARY " -DVALUE=1",
                                         COUNTER "const char __tvm_ffi_library_bin[9] = {1};")),
        TVM_UNSUPPORTED_ERROR, "modern.so: a library of TVM 0.21");
    expect_error(
        fixture_try_open(fixture_compile("undefined.so", FIXTURE_LIBRARY " -DVALUE=1",
                                         COUNTER "int nobody_has_this(void);"
                                                 "int f(void) { return nobody_has_this(); }")),
        TVM_OS_ERROR, "undefined.so: cannot be loaded: undefined symbol: nobody_has_this");
    fixture_compile("libgone.so", FIXTURE_LIBRARY " -Wl,-soname,libgone.so", "int gone;");
    char flags[256];
    snprintf(flags, sizeof(flags), FIXTURE_LIBRARY " -DVALUE=1 -Wl,--no-as-needed %s",
             fixture_path("libgone.so"));
    expect_error(fixture_try_open(fixture_compile("lonely.so", flags, COUNTER)), TVM_OS_ERROR,
                 "lonely.so: cannot be loaded: libgone.so: cannot open shared object file");
    assert_int_equal(counter_loads, before); /* none of them ran */
}

/* A blob as C source: its size, then count entries. */
#define BLOB(size, count, entries)                                                                 \
    COUNTER "struct { unsigned long long n, c; struct { unsigned long long n; char t[" size "]; }" \
            " __attribute__((packed)) e; } const __tvm_dev_mblob = { " count ", " entries " };"

static void test_blobs(void **state) {
    (void)state;
    int before = counter_loads;
    expect_error(fixture_try_open(fixture_compile("vm.so", FIXTURE_LIBRARY " -DVALUE=1",
                                                  BLOB("12", "28, 1", "{12, \"VMExecutable\"}"))),
                 TVM_UNSUPPORTED_ERROR,
                 "vm.so (__tvm_dev_mblob): holds a module of kind VMExecutable");
    expect_error(
        fixture_try_open(fixture_compile("large.so", FIXTURE_LIBRARY " -DVALUE=1",
                                         BLOB("20", "41, 1", "{20, \"GraphExecutorFactory\"}"))),
        TVM_FORMAT_ERROR, "it says 41 bytes follow, and its symbol has room for 40");
    assert_int_equal(counter_loads, before);
    struct tvm_module *module = counter_open(fixture_compile("lib.so", FIXTURE_LIBRARY " -DVALUE=9",
                                                             BLOB("4", "20, 1", "{4, \"_lib\"}")));
    assert_int_equal(module->import_count, 0);
    assert_int_equal(counter_call(module, "answer"), 9);
    fixture_release(module);
}

/* Which image a file gets */

static void test_identity(void **state) {
    (void)state;
    const char *path = counter_compile("one.so", 1);
    char link_path[256], hard_path[256];
    snprintf(link_path, sizeof(link_path), "%s.link", path);
    snprintf(hard_path, sizeof(hard_path), "%s.hard", path);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(link(path, hard_path), 0);
    struct tvm_module *first = counter_open(path), *second = counter_open(path);
    struct tvm_module *third = counter_open(link_path), *fourth = counter_open(hard_path);
    assert_ptr_equal(first, second);
    assert_ptr_equal(first, third);
    assert_ptr_equal(first, fourth);
    assert_int_equal(tvm_object_use_count(&first->object), 4);
    assert_int_equal(counter_loaded, 1);
    assert_int_equal(counter_call(first, "next"), 1);

    size_t size;
    unsigned char *data = fixture_read(path, &size);
    struct tvm_module *copy = counter_open(fixture_write("copy.so", data, size));
    free(data);
    assert_ptr_not_equal(first, copy);
    assert_int_equal(counter_call(copy, "next"), 1);
    assert_int_equal(counter_call(first, "next"), 2);
    fixture_release(copy);
    fixture_release(first);
    fixture_release(second);
    fixture_release(third);
    assert_int_equal(counter_loaded, 1);
    fixture_release(fourth);
    assert_int_equal(counter_loaded, 0);

    first = counter_open(path); /* anew */
    assert_int_equal(counter_call(first, "next"), 1);
    fixture_release(first);
}

static void test_functions_keep_it(void **state) {
    (void)state;
    struct tvm_module *module = counter_open(counter_compile("kept.so", 6));
    struct tvm_function *function = module_function(module, "answer");
    struct tvm_value result;
    fixture_release(module);
    assert_int_equal(counter_loaded, 1);
    expect_ok(tvm_function_call(function, NULL, 0, &result));
    assert_int_equal(result.v_int, 6);
    tvm_object_release(&function->object);
    assert_int_equal(counter_loaded, 0);
}

/* A new file under the name of an open one is another library. */
static void test_renamed_over(void **state) {
    (void)state;
    char path[256];
    snprintf(path, sizeof(path), "%s", counter_compile("model.so", 1));
    struct tvm_module *old = counter_open(path);
    assert_int_equal(rename(counter_compile("new.so", 2), path), 0);
    struct tvm_module *new = counter_open(path);
    assert_ptr_not_equal(old, new);
    assert_int_equal(counter_call(old, "answer"), 1);
    assert_int_equal(counter_call(new, "answer"), 2);
    assert_ptr_equal(new, counter_open(path));
    fixture_release(new);
    fixture_release(old);
    fixture_release(new);
    assert_int_equal(counter_loaded, 0);
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
        snprintf(paths[i], sizeof(paths[i]), "%s", counter_compile(name, i));
        modules[i] = counter_open(paths[i]);
        if (i == 0) /* not for other programs */
            assert_true(fcntl(before, F_GETFD) & FD_CLOEXEC);
        if (i % 2) { /* frees its number, for the next one */
            assert_int_equal(counter_call(modules[i], "answer"), i);
            fixture_release(modules[i]);
        }
    }
    for (int i = 0; i < COUNT; i += 2) {
        assert_int_equal(counter_call(modules[i], "answer"), i);
        fixture_release(modules[i]);
    }
    for (int i = 0; i < COUNT; i++) { /* all on one number */
        modules[i] = counter_open(paths[i]);
        assert_int_equal(counter_call(modules[i], "answer"), i);
        fixture_release(modules[i]);
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
    snprintf(path, sizeof(path), "%s", counter_compile("model.so", 1));
    struct tvm_module *old = counter_open(path);
    assert_int_equal(counter_call(old, "next"), 1);
    unsigned char *data = fixture_read(counter_compile("new.so", 2), &size);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(futimens(fd, (const struct timespec[]){{1, 1}, {1, 1}}), 0);
    close(fd);
    free(data);
    struct tvm_module *new = counter_open(path);
    assert_ptr_not_equal(old, new);
    assert_int_equal(counter_call(new, "answer"), 2);
    assert_int_equal(counter_call(new, "next"), 1);
    assert_ptr_equal(new, counter_open(path));
    fixture_release(new);
    fixture_release(new);
    fixture_release(old);
}

/* Writes both libraries into one file, at bytes 512 and 512 + *first_size, and opens it. */
static int join_libraries(const char *name, const char *first, const char *second,
                          size_t *first_size, struct stat *file) {
    size_t second_size;
    unsigned char *a = fixture_read(first, first_size), *b = fixture_read(second, &second_size);
    unsigned char *all = calloc(1, 512 + *first_size + second_size);
    assert_non_null(all);
    memcpy(all + 512, a, *first_size);
    memcpy(all + 512 + *first_size, b, second_size);
    free(a);
    free(b);
    fixture_write(name, all, 512 + *first_size + second_size);
    free(all);
    int fd = open(fixture_path(name), O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, file), 0);
    return fd;
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
        snprintf(paths[i], sizeof(paths[i]), "%s", counter_compile(name, i));
    }
    int fd = join_libraries("parts", paths[0], paths[1], &size, &file);
    struct tvm_library_part part = {fd, &file, 512, size};
    expect_ok(tvm_library_open_part("parts: 1", &part, &first));
    expect_ok(tvm_library_open_part("parts: 1", &part, &again));
    assert_ptr_equal(first, again);
    struct tvm_library_part other = {fd, &file, 512 + size, size};
    expect_ok(tvm_library_open_part("parts: 2", &other, &second));
    assert_int_equal(counter_call(first, "answer"), 0);
    assert_int_equal(counter_call(second, "answer"), 1);
    assert_int_equal(counter_loaded, 2);
    close(fd);

    /* Over the old content, as cp -p does it: a second or a nanosecond later, or of another size.
     */
    const struct stat old = file;
    fd = join_libraries("parts", paths[2], paths[1], &size, &file);
    for (int i = 0; i < 3; i++) {
        file = old;
        file.st_ctim.tv_sec += i == 0;
        file.st_ctim.tv_nsec ^= i == 1;
        file.st_size += i == 2;
        part = (struct tvm_library_part){fd, &file, 512, size};
        expect_ok(tvm_library_open_part("parts: 1", &part, &new));
        assert_ptr_not_equal(first, new);
        assert_int_equal(counter_call(first, "answer"), 0);
        assert_int_equal(counter_call(new, "answer"), 2);
        fixture_release(new);
    }
    fixture_release(first);
    fixture_release(second);
    assert_int_equal(counter_call(again, "next"), 1);
    fixture_release(again);
    assert_int_equal(counter_loaded, 0);

    part.size = 100; /* a failure leaves nothing behind that would be found */
    expect_error(tvm_library_open_part("parts: 1", &part, &first), TVM_FORMAT_ERROR,
                 "parts: 1: a damaged or truncated ELF file");
    part.size = 3 * size;
    expect_error(tvm_library_open_part("parts: 1", &part, &first), TVM_FORMAT_ERROR,
                 "it was cut while it was in use");
    part.size = size;
    expect_ok(tvm_library_open_part("parts: 1", &part, &first));
    assert_int_equal(counter_call(first, "answer"), 2);
    fixture_release(first);
    close(fd);
}

/* A file that no address space of 32 bits has room for. */
static void test_huge_file(void **state) {
    char path[256], command[512];
    struct tvm_module *module;
    (void)state;
    snprintf(path, sizeof(path), "%s", counter_compile("huge.so", 9));
    snprintf(command, sizeof(command), "truncate -s 4294971392 %s", path); /* 2^32 + 4096 */
    assert_int_equal(system(command), 0);
    if (SIZE_MAX == UINT32_MAX) {
        expect_error(tvm_library_open(path, &module), TVM_OS_ERROR, "huge.so: cannot ");
        return;
    }
    expect_ok(tvm_library_open(path, &module));
    assert_int_equal(counter_call(module, "answer"), 9);
    fixture_release(module);
}

/* A program without a dynamic linker is told apart from one like this. */
static void test_static_program(void **state) {
    char command[512];
    (void)state;
    assert_false(tvm_os_is_static());
    snprintf(command, sizeof(command), "${GOTVM_EMULATOR:-} %s",
             fixture_compile("static", "-static -D_GNU_SOURCE -Icsrc csrc/base/os_linux.c",
                             "#include <stdbool.h>\n"
                             "bool tvm_os_is_static(void);\n"
                             "int tvm_raise(const char *kind, const char *format, ...) {\n"
                             "    return -1;\n"
                             "}\n"
                             "int main(void) { return tvm_os_is_static() ? 0 : 1; }\n"));
    assert_int_equal(system(command), 0);
}

static void test_bytes(void **state) {
    struct tvm_module *first, *second;
    size_t size;
    (void)state;
    unsigned char *data = fixture_read(counter_compile("bytes.so", 8), &size);
    expect_ok(tvm_library_open_bytes("OpenBytes: Lib", data, size, &first));
    expect_ok(tvm_library_open_bytes("OpenBytes: Lib", data, size, &second));
    expect_error(tvm_library_open_bytes("OpenBytes: Lib", data, size / 2, &first), TVM_FORMAT_ERROR,
                 "OpenBytes: Lib: a damaged or truncated ELF file");
    expect_error(tvm_library_open_bytes("OpenBytes: Lib", data, 0, &first), TVM_FORMAT_ERROR,
                 "OpenBytes: Lib: it is empty");
    expect_error(tvm_library_open_bytes("OpenBytes: Lib", NULL, 0, &first), TVM_FORMAT_ERROR,
                 "OpenBytes: Lib: it is empty");
    memset(data, 0, size);
    free(data);
    assert_ptr_not_equal(first, second);
    assert_int_equal(counter_loaded, 2);
    assert_int_equal(counter_call(first, "next"), 1);
    assert_int_equal(counter_call(first, "next"), 2);
    assert_int_equal(counter_call(second, "next"), 1);
    assert_int_equal(counter_call(second, "answer"), 8);
    fixture_release(first);
    fixture_release(second);
    assert_int_equal(counter_loaded, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKS_TEST(test_static_program),
        LEAKS_TEST(test_missing),
        LEAKS_TEST(test_formats),
        LEAKS_TEST(test_load_from_file),
        LEAKS_TEST(test_functions),
        LEAKS_TEST(test_workspaces),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
