/* Programs that are not compiled again: from the cache, and by TVM's functions. The driver's
 * functions are watched: what is compiled from source, and which bytes a driver gets to see. Tests
 * that need a device are skipped where there is none. */
#include "device/opencl/cache.h"
#include "device/opencl/config.h"
#include "device/opencl/runtime.h"
#include "test/folder.h"
#include "test/library_fixture.h"
#include "test/module_call.h"
#include "test/opencl_module_fixture.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const DLDevice gpu = {kDLOpenCL, 0}, cpu = {kDLCPU, 0};
static char folder[] = "/tmp/test-opencl-programs-XXXXXX";

/* The driver, watched */

static struct opencl_functions real;
static _Atomic int source_count, binary_count; /* programs made of each */
static enum { WORKS, REFUSES_SOURCE, REFUSES_BINARIES } mood;
static const char *driver_version, *device_name, *platform_version; /* NULL: the real one */

static cl_program of_source(cl_context context, cl_uint count, const char **strings,
                            const size_t *lengths, cl_int *code) {
    source_count++;
    if (mood != REFUSES_SOURCE)
        return real.clCreateProgramWithSource(context, count, strings, lengths, code);
    *code = CL_OUT_OF_RESOURCES;
    return NULL;
}

static cl_program of_binary(cl_context context, cl_uint count, const cl_device_id *devices,
                            const size_t *lengths, const unsigned char **binaries, cl_int *status,
                            cl_int *code) {
    binary_count++;
    if (mood != REFUSES_BINARIES)
        return real.clCreateProgramWithBinary(context, count, devices, lengths, binaries, status,
                                              code);
    *status = *code = CL_INVALID_BINARY;
    return NULL;
}

static cl_int give_text(const char *text, size_t size, void *value, size_t *used) {
    if (used)
        *used = strlen(text) + 1;
    if (value)
        snprintf(value, size, "%s", text);
    return CL_SUCCESS;
}

static cl_int device_info(cl_device_id device, cl_device_info what, size_t size, void *value,
                          size_t *used) {
    const char *text = what == CL_DRIVER_VERSION ? driver_version
                       : what == CL_DEVICE_NAME  ? device_name
                                                 : NULL;
    return text ? give_text(text, size, value, used)
                : real.clGetDeviceInfo(device, what, size, value, used);
}

static cl_int platform_info(cl_platform_id platform, cl_platform_info what, size_t size,
                            void *value, size_t *used) {
    return what == CL_PLATFORM_VERSION && platform_version
               ? give_text(platform_version, size, value, used)
               : real.clGetPlatformInfo(platform, what, size, value, used);
}

static void watch(void) {
    if (tvm_opencl_device.count() == 0 || real.clCreateProgramWithSource)
        return;
    real = tvm_cl;
    tvm_cl.clCreateProgramWithSource = of_source;
    tvm_cl.clCreateProgramWithBinary = of_binary;
    tvm_cl.clGetDeviceInfo = device_info;
    tvm_cl.clGetPlatformInfo = platform_info;
}

/* The programs made since the last call. */
static void expect_made(int of_sources, int of_binaries) {
    assert_int_equal(atomic_exchange(&source_count, 0), of_sources);
    assert_int_equal(atomic_exchange(&binary_count, 0), of_binaries);
}

static int begin(void **state) {
    folder_clear(folder);
    watch();
    mood = WORKS;
    source_count = binary_count = 0;
    return fixture_begin(state);
}

/* Modules */

#define FILL                                                                                       \
    "__kernel void fill(__global int *out, int value) {\n"                                         \
    "  out[get_global_id(0)] = value + (int)get_global_id(0);\n}\n"
#define TWICE                                                                                      \
    "__kernel void twice(__global int *out, int times) {\n  out[get_global_id(0)] *= times;\n}\n"
#define PARTS(helper) "// Function: fill\n" helper FILL "// Function: twice\n" helper TWICE
#define WHOLE PARTS("")
#define SEPARATE PARTS("int helper(int x) { return x; }\n") /* does not compile as a whole */

/* A module of fill and twice. */
static struct tvm_module *make_module(const char *source) {
    static const struct module_kernel kernels[] = {{"fill", "pi", "bx tx"},
                                                   {"twice", "pi", "bx tx"}};
    return opencl_module_new(kernels, 2, source, false);
}

static int launch(struct tvm_module *module, const char *name, void *data, int number) {
    struct tvm_function *function = module_function(module, name);
    struct tvm_value result, args[] = {tvm_opaque(data), tvm_int(number), tvm_int(3), tvm_int(4)};
    int status = tvm_function_call(function, args, 4, &result);
    fixture_release(function);
    return status;
}

/* Runs both kernels, which must compute the right values. */
static void run(struct tvm_module *module) {
    int values[12];
    void *data = NULL;
    expect_ok(tvm_opencl_device.alloc(gpu, sizeof(values), &data));
    expect_ok(launch(module, "fill", data, 5));
    expect_ok(launch(module, "twice", data, 3));
    expect_ok(tvm_opencl_device.copy((struct tvm_place){gpu, data, 0},
                                     (struct tvm_place){cpu, values, 0}, sizeof(values)));
    for (int i = 0; i < 12; i++)
        assert_int_equal(values[i], 3 * (5 + i));
    tvm_opencl_device.free(gpu, data);
}

static void run_once(const char *source) {
    struct tvm_module *module = make_module(source);
    run(module);
    fixture_release(module);
}

/* The path of the only entry of the cache; NULL for none. */
static const char *only_entry(void) {
    static char path[300];
    char pattern[300];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.clbin", folder);
    int status = glob(pattern, 0, NULL, &found);
    if (status == 0) {
        assert_int_equal(found.gl_pathc, 1);
        strcpy(path, found.gl_pathv[0]);
    }
    globfree(&found);
    return status == 0 ? path : NULL;
}

static void wait_for_entry(void) {
    for (int i = 0; i < 600 && !only_entry(); i++)
        usleep(100000);
    assert_non_null(only_entry());
}

static void write_entry(const void *data, size_t size) {
    FILE *file = fopen(only_entry(), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* The cache */

/* A module is compiled by the first that needs it, one program of all kernels or one for each. */
static void test_second_start(void **state) {
    (void)state;
    opencl_need_devices(1);
    run_once(WHOLE);
    expect_made(1, 0);
    for (int i = 0; i < 2; i++) {
        run_once(WHOLE);
        expect_made(0, 1);
    }
    run_once(FILL TWICE); /* in one piece: another text */
    expect_made(1, 0);
    run_once(FILL TWICE);
    expect_made(0, 1);
    run_once(SEPARATE);
    expect_made(3, 0);
    run_once(SEPARATE);
    expect_made(0, 2);
}

/* The first run seems to be over: the module still lives. */
static void test_background(void **state) {
    (void)state;
    opencl_need_devices(1);
    struct tvm_module *module = make_module(WHOLE);
    struct stat before, after;
    run(module);
    wait_for_entry();
    assert_int_equal(stat(only_entry(), &before), 0);
    run(module);
    fixture_release(module); /* saves nothing again */
    assert_int_equal(stat(only_entry(), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    expect_made(1, 0);
    run_once(WHOLE);
    expect_made(0, 1);
}

/* Launches go on while programs are saved. */
static void *launch_long(void *argument) {
    int values[12] = {0};
    void *data = NULL;
    bool good = tvm_opencl_device.alloc(gpu, sizeof(values), &data) == 0;
    for (int i = 0; good && i < 3000; i++) {
        good = launch(argument, "fill", data, i) == 0 && launch(argument, "twice", data, 2) == 0;
        if (good && i % 10 == 0)
            good = tvm_opencl_device.copy((struct tvm_place){gpu, data, 0},
                                          (struct tvm_place){cpu, values, 0}, sizeof(values)) == 0;
        usleep(1000);
    }
    tvm_opencl_device.free(gpu, data);
    return good ? argument : NULL;
}

static void test_busy(void **state) {
    (void)state;
    opencl_need_devices(1);
    struct tvm_module *module = make_module(WHOLE);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, launch_long, module), 0);
    wait_for_entry();
    for (int i = 0; i < 2; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, module);
    }
    fixture_release(module);
    run_once(WHOLE);
    expect_made(1, 1);
}

/* No byte of a damaged file reaches the driver; the program is compiled again and its file
 * replaced. */
static void test_damage(void **state) {
    (void)state;
    opencl_need_devices(1);
    run_once(WHOLE);
    size_t size;
    assert_non_null(only_entry());
    unsigned char *good = fixture_read(only_entry(), &size), *bad = malloc(size);
    struct tvm_module *module;
    uint64_t random = 5;
    expect_made(1, 0);
    mood = REFUSES_SOURCE; /* compiling, which takes long, is not what is tested */
    for (size_t i = 0; i < 600; i++) {
        /* Each byte of the header, then others; with every third one the file ends there. */
        size_t at = i < 100 ? i : fixture_random(&random) % size;
        memcpy(bad, good, size);
        bad[at] ^= (unsigned char)(1 + fixture_random(&random) % 255);
        write_entry(bad, i >= 100 && i % 3 == 0 ? at : size);
        module = make_module(WHOLE);
        expect_error(launch(module, "fill", NULL, 0), TVM_MEMORY_ERROR, "no program");
        fixture_release(module);
        assert_int_equal(binary_count, 0);
        assert_true(source_count > 0);
        source_count = 0;
    }
    mood = WORKS;
    run_once(WHOLE);
    expect_made(1, 0);
    run_once(WHOLE);
    expect_made(0, 1);
    /* Sound, but the driver does not take it. */
    mood = REFUSES_BINARIES;
    run_once(WHOLE);
    expect_made(1, 1);
    mood = WORKS;
    run_once(WHOLE);
    expect_made(0, 1);
    free(bad);
    free(good);
}

/* Programs of other sources, devices and drivers. */
static void test_foreign(void **state) {
    (void)state;
    opencl_need_devices(1);
    static const char **const properties[] = {&driver_version, &device_name, &platform_version};
    run_once(WHOLE);
    expect_made(1, 0);
    for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++) {
        *properties[i] = "another one";
        run_once(WHOLE);
        expect_made(1, 0);
        run_once(WHOLE);
        expect_made(0, 1);
        *properties[i] = NULL;
        run_once(WHOLE);
        expect_made(0, 1);
    }
}

static void *run_and_close(void *argument) {
    run_once(argument);
    return NULL;
}

/* Modules of one text at the same time. */
static void test_concurrent(void **state) {
    (void)state;
    opencl_need_devices(1);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_and_close, WHOLE), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    source_count = binary_count = 0;
    run_once(WHOLE);
    expect_made(0, 1);
}

/* TVM's functions */

static struct tvm_value get_programs(struct tvm_module *module) {
    struct tvm_value programs;
    expect_ok(module_call(module, "opencl.GetPreCompiledPrograms", NULL, 0, &programs));
    return programs;
}

static int set_programs(struct tvm_module *module, const void *data, size_t size) {
    struct tvm_bytes bytes = {data, size};
    struct tvm_value none, arg = {.type_index = TVM_TYPE_BYTES_PTR, .v_ptr = &bytes};
    return module_call(module, "opencl.SetPreCompiledPrograms", &arg, 1, &none);
}

static void test_precompiled(void **state) {
    (void)state;
    opencl_need_devices(1);
    static const char *const sources[] = {WHOLE, SEPARATE, FILL TWICE};
    static const int programs[] = {1, 2, 1};
    for (int i = 0; i < 3; i++) {
        struct tvm_bytes bytes;
        struct tvm_module *module = make_module(sources[i]);
        if (i % 2) /* before the first run as well as after it */
            run(module);
        struct tvm_value value = get_programs(module);
        fixture_release(module);
        assert_int_equal(value.type_index, TVM_TYPE_BYTES);
        assert_true(tvm_value_text(&value, &bytes));
        assert_int_equal(bytes.data[0], programs[i]); /* u64 n, then the first name */
        assert_memory_equal(bytes.data + 8, "\4\0\0\0\0\0\0\0fill", 12);
        folder_clear(folder); /* no help from the cache */
        source_count = binary_count = 0;
        module = make_module(sources[i]);
        expect_ok(set_programs(module, bytes.data, bytes.size));
        run(module);
        expect_made(0, programs[i]);
        expect_ok(set_programs(module, bytes.data, bytes.size)); /* too late, and no harm */
        run(module);
        fixture_release(module);
        assert_null(only_entry()); /* the cache is not for them */
        tvm_value_clear(&value);
    }
}

/* As TVM writes them, a program for each kernel; and not all of them. */
static void test_precompiled_each(void **state) {
    (void)state;
    opencl_need_devices(1);
    struct tvm_module *module = make_module(SEPARATE);
    struct tvm_value value = get_programs(module);
    struct tvm_bytes bytes;
    assert_true(tvm_value_text(&value, &bytes));
    fixture_release(module);
    uint64_t size;
    memcpy(&size, bytes.data + 8 + 8 + 4, 8);
    struct fixture_bytes first = {NULL, 0};
    fixture_put_number(&first, 1, 8);
    fixture_put(&first, bytes.data + 8, 8 + 4 + 8 + (size_t)size);
    folder_clear(folder);
    source_count = binary_count = 0;
    module = make_module(WHOLE);
    expect_ok(set_programs(module, first.data, first.size));
    run(module);
    expect_made(1, 1); /* the other kernel */
    fixture_release(module);
    free(first.data);
    tvm_value_clear(&value);
}

/* What is no such text is refused before the driver sees any of it. */
static void test_precompiled_damage(void **state) {
    (void)state;
    opencl_need_devices(1);
    struct tvm_module *module = make_module(SEPARATE);
    struct tvm_value value = get_programs(module), none;
    struct tvm_bytes bytes;
    assert_true(tvm_value_text(&value, &bytes));
    source_count = binary_count = 0;
    for (size_t size = 0; size < bytes.size; size += size < 100 ? 1 : 1009)
        expect_error(set_programs(module, bytes.data, size), TVM_FORMAT_ERROR,
                     "opencl.SetPreCompiledPrograms: compiled programs: byte ");
    char *changed = malloc(bytes.size + 1);
    memcpy(changed, bytes.data, bytes.size);
    changed[bytes.size] = 0;
    expect_error(set_programs(module, changed, bytes.size + 1), TVM_FORMAT_ERROR, "1 bytes are");
    changed[16] ^= 1;
    expect_error(set_programs(module, changed, bytes.size), TVM_FORMAT_ERROR,
                 "a program is of the kernel \"gill\", which is not one of the module's");
    expect_made(0, 0);
    free(changed);
    static const char junk[] = "\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0fill\4\0\0\0\0\0\0\0junk";
    expect_error(set_programs(module, junk, sizeof(junk) - 1), TVM_RUNTIME_ERROR,
                 "OpenCL kernel fill: opencl(0), ");
    expect_made(0, 1);
    struct tvm_value args[] = {tvm_int(1), tvm_int(99)};
    expect_error(module_call(module, "opencl.SetPreCompiledPrograms", args, 0, &none),
                 TVM_VALUE_ERROR, "expected 1 to 2 arguments, got 0");
    expect_error(module_call(module, "opencl.SetPreCompiledPrograms", args, 1, &none),
                 TVM_TYPE_ERROR, "programs");
    expect_error(module_call(module, "opencl.GetPreCompiledPrograms", args + 1, 1, &none),
                 TVM_NOT_FOUND_ERROR, "there is no such device");
    run(module);
    fixture_release(module);
    tvm_value_clear(&value);
}

/* Processes. Each is this program with other arguments. */

/* Runs a module and says how many programs it made of source and of binaries. "wait": then ends
 * after so many milliseconds with the module alive. */
static int process(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "configure") == 0) {
        struct tvm_value none, args[] = {tvm_raw_string("all"), tvm_raw_string(""),
                                         tvm_raw_string(argv[2]), tvm_int(0)};
        if (global_call("opencl.Configure", args, 4, &none))
            return 1;
    }
    watch();
    struct tvm_module *module = make_module(WHOLE);
    run(module);
    printf("%d %d\n", source_count, binary_count);
    fflush(stdout);
    if (argc > 2 && strcmp(argv[1], "wait") == 0) {
        usleep((useconds_t)atoi(argv[2]) * 1000);
        exit(0);
    }
    fixture_release(module);
    return 0;
}

static void expect_process(const char *environment, const char *arguments, const char *expected) {
    char command[1000], told[1000] = "";
    snprintf(command, sizeof(command), "env %s timeout 100 /proc/%d/exe %s", environment,
             (int)getpid(), arguments);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    told[fread(told, 1, sizeof(told) - 1, out)] = '\0';
    int status = pclose(out);
    if (status || strcmp(told, expected) != 0)
        fail_msg("%s: expected \"%s\", got \"%s\", status %d", command, expected, told, status);
}

static void need_processes(void) {
    opencl_need_devices(1);
    if (getenv("GOTVM_EMULATOR"))
        skip();
}

static int count_entries(const char *below) {
    char pattern[300];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/%s/*.clbin", folder, below);
    int count = glob(pattern, 0, NULL, &found) ? 0 : (int)found.gl_pathc;
    globfree(&found);
    return count;
}

/* Where programs are kept, and where not. */
static void test_folders(void **state) {
    (void)state;
    need_processes();
    static const struct {
        const char *environment, *below; /* %s is the folder */
    } cases[] = {
        {"GOTVM_OPENCL_CACHE=%s/chosen", "chosen"},
        {"-u GOTVM_OPENCL_CACHE XDG_CACHE_HOME=%s/xdg HOME=/", "xdg/gotvm/opencl"},
        {"-u GOTVM_OPENCL_CACHE -u XDG_CACHE_HOME HOME=%s/home", "home/.cache/gotvm/opencl"},
        {"-u GOTVM_OPENCL_CACHE XDG_CACHE_HOME=none HOME=%s/home2", "home2/.cache/gotvm/opencl"},
        {"GOTVM_OPENCL_CACHE=off XDG_CACHE_HOME=%s/off", NULL},
        {"GOTVM_OPENCL_CACHE_MIB=0 GOTVM_OPENCL_CACHE=%s/none", NULL},
        {"GOTVM_OPENCL_CACHE=/dev/null/x XDG_CACHE_HOME=%s/no", NULL},
        {"-u GOTVM_OPENCL_CACHE -u XDG_CACHE_HOME -u HOME A=%s", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char environment[400], chosen[300];
        snprintf(chosen, sizeof(chosen), cases[i].environment, folder);
        snprintf(environment, sizeof(environment), "%s POCL_CACHE_DIR=%s/pocl", chosen, folder);
        expect_process(environment, "", "1 0\n");
        expect_process(environment, "", cases[i].below ? "0 1\n" : "1 0\n");
        if (cases[i].below)
            assert_int_equal(count_entries(cases[i].below), 1);
    }
    assert_int_equal(count_entries("off/gotvm/opencl"), 0);
    assert_int_equal(count_entries("none"), 0);
}

/* Processes that end at any time leave a sound cache, and end well. */
static void test_exit(void **state) {
    (void)state;
    need_processes();
    for (int milliseconds = 0; milliseconds < 1500; milliseconds += 50) {
        char environment[200], arguments[40], pattern[100];
        if (milliseconds == 50)
            milliseconds = 950; /* when saving begins */
        /* A thread that nobody joins is the point. */
        snprintf(environment, sizeof(environment),
                 "TSAN_OPTIONS=halt_on_error=1:report_thread_leaks=0 GOTVM_OPENCL_CACHE=%s/%d",
                 folder, milliseconds);
        snprintf(arguments, sizeof(arguments), "wait %d", milliseconds);
        snprintf(pattern, sizeof(pattern), "%d", milliseconds);
        expect_process(environment, arguments, "1 0\n");
        expect_process(environment, "", count_entries(pattern) ? "0 1\n" : "1 0\n");
    }
}

/* Processes that start together. */
static void test_processes(void **state) {
    (void)state;
    need_processes();
    char command[700], environment[100];
    snprintf(command, sizeof(command),
             "export GOTVM_OPENCL_CACHE=%s/shared; for i in 1 2 3; do timeout 100 /proc/%d/exe "
             ">/dev/null & p=\"$p $!\"; done; for i in $p; do wait $i || exit 1; done",
             folder, (int)getpid());
    assert_int_equal(system(command), 0);
    assert_int_equal(count_entries("shared"), 1);
    snprintf(environment, sizeof(environment), "GOTVM_OPENCL_CACHE=%s/shared", folder);
    expect_process(environment, "", "0 1\n");
}

/* The option comes before the environment. */
static void test_configure(void **state) {
    (void)state;
    need_processes();
    char arguments[200];
    snprintf(arguments, sizeof(arguments), "configure %s/option", folder);
    static const char environment[] = "GOTVM_OPENCL_CACHE=/dev/null/x GOTVM_OPENCL_TYPE=nothing";
    expect_process(environment, arguments, "1 0\n");
    expect_process(environment, arguments, "0 1\n");
    assert_int_equal(count_entries("option"), 1);
    struct tvm_value none,
        args[] = {tvm_raw_string(""), tvm_raw_string(""), tvm_raw_string(""), tvm_int(-1)};
    expect_error(global_call("opencl.Configure", args, 4, &none), TVM_BUSY_ERROR,
                 "OpenCL is in use");
    expect_error(global_call("opencl.Configure", args, 3, &none), TVM_VALUE_ERROR,
                 "4 arguments, got 3");
    args[0] = tvm_raw_string("fpga");
    expect_error(global_call("opencl.Configure", args, 4, &none), TVM_VALUE_ERROR,
                 "the type is \"fpga\": expected gpu, cpu, accelerator or all");
    char *longer = calloc(1, 5000);
    memset(longer, '/', 4999);
    args[0] = tvm_raw_string("gpu");
    args[2] = tvm_raw_string(longer);
    expect_error(global_call("opencl.Configure", args, 4, &none), TVM_VALUE_ERROR,
                 "the cache's folder is no text of less than 4096 bytes");
    free(longer);
}

int main(int argc, char **argv) {
    if (getenv("TEST_OPENCL_PROCESS"))
        return process(argc, argv);
    setenv("TEST_OPENCL_PROCESS", "1", 1);
    if (!mkdtemp(folder))
        return 1;
    setenv("GOTVM_OPENCL_CACHE", folder, 1);
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, leaks_end)
    const struct CMUnitTest tests[] = {
        TEST(test_second_start),
        TEST(test_background),
        TEST(test_busy),
        TEST(test_damage),
        TEST(test_foreign),
        TEST(test_concurrent),
        TEST(test_precompiled),
        TEST(test_precompiled_each),
        TEST(test_precompiled_damage),
        TEST(test_folders),
        TEST(test_exit),
        TEST(test_processes),
        TEST(test_configure),
    };
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove(folder);
    return status;
}
