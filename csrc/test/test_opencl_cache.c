/* Files of compiled programs: what is stored is found again, and nothing else is; no device is
 * needed. */
#include "device/opencl/cache.h"
#include "test/folder.h"
#include "test/graph_fixture.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_LIMIT = 1 << 30 };

static char folder[] = "/tmp/test-opencl-cache-XXXXXX";

static int begin(void **state) {
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    return mkdtemp(folder) ? fixture_begin(state) : -1;
}

static int end(void **state) {
    folder_remove(folder);
    return leaks_end(state);
}

static struct tvm_bytes text(const char *data) {
    return (struct tvm_bytes){data, strlen(data)};
}

static void store(const char *key, const char *program) {
    tvm_opencl_cache_store(folder, NO_LIMIT, text(key), text(program));
}

/* Whether key has this program; it must have none or this one. */
static bool has(const char *key, const char *program) {
    unsigned char *file;
    struct tvm_bytes found;
    if (!tvm_opencl_cache_load(folder, text(key), &file, &found))
        return false;
    assert_int_equal(found.size, strlen(program));
    assert_memory_equal(found.data, program, found.size);
    free(file);
    return true;
}

/* The path of the only entry. */
static const char *only_entry(void) {
    static char path[300];
    char command[200];
    snprintf(command, sizeof(command), "ls %s/*.clbin", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, sizeof(path), list));
    path[strcspn(path, "\n")] = '\0';
    assert_int_equal(fgetc(list), EOF);
    pclose(list);
    return path;
}

static int count_files(void) {
    char command[200], line[300];
    int count = 0;
    snprintf(command, sizeof(command), "ls -A %s", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    while (fgets(line, sizeof(line), list))
        count++;
    pclose(list);
    return count;
}

static void write_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

static size_t read_file(const char *path, unsigned char *data, size_t size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size = fread(data, 1, size, file);
    fclose(file);
    return size;
}

static void test_round_trip(void **state) {
    (void)state;
    assert_false(has("one", ""));
    store("one", "program");
    store("another", "of another");
    assert_true(has("one", "program"));
    assert_true(has("another", "of another"));
    assert_false(has("on", ""));
    assert_false(has("One", ""));
    assert_false(has("", ""));
    store("one", "a newer program");
    assert_true(has("one", "a newer program"));
    assert_int_equal(count_files(), 2);
    tvm_opencl_cache_store(folder, NO_LIMIT, (struct tvm_bytes){"a\0b", 3}, text("with a NUL"));
    assert_false(has("a", ""));
    assert_true(has("another", "of another"));
}

/* Any byte changed, the file cut short anywhere or made longer. */
static void test_damage(void **state) {
    (void)state;
    const char *program = "some machine code, of a length that is no multiple of eight";
    unsigned char good[300], bad[sizeof(good)];
    store("the key of it", program);
    const char *path = only_entry();
    size_t size = read_file(path, good, sizeof(good));
    assert_true(size < sizeof(good));
    for (size_t i = 0; i < size; i++)
        for (unsigned change = 1; change < 256; change = change * 2 + (change == 64)) {
            memcpy(bad, good, size);
            bad[i] ^= (unsigned char)change;
            write_file(path, bad, size);
            assert_false(has("the key of it", ""));
        }
    for (size_t cut = 0; cut < size; cut++) {
        write_file(path, good, cut);
        assert_false(has("the key of it", ""));
    }
    memcpy(bad, good, size);
    bad[size] = 0;
    write_file(path, bad, size + 1);
    assert_false(has("the key of it", ""));
    uint64_t random = 7;
    for (int round = 0; round < 2000; round++) { /* several changes at once, of whole words too */
        memcpy(bad, good, size);
        for (int k = 0; k < 3; k++) {
            size_t at = fixture_random(&random) % (size - 8),
                   width = 1 + fixture_random(&random) % 8;
            for (size_t i = 0; i < width; i++)
                bad[at + i] = (unsigned char)fixture_random(&random);
        }
        write_file(path, bad, size);
        if (memcmp(bad, good, size) != 0)
            assert_false(has("the key of it", ""));
    }
    write_file(path, good, size);
    assert_true(has("the key of it", program));
    write_file(path, bad, size);
    store("the key of it", "made again");
    assert_true(has("the key of it", "made again"));
    assert_int_equal(count_files(), 1);
}

/* A file that is sound, but of another key: as if the two had one name. */
static void test_foreign_entry(void **state) {
    (void)state;
    char other[300];
    snprintf(other, sizeof(other), "%s/other", folder);
    store("driver 1", "of driver 1");
    assert_int_equal(rename(only_entry(), other), 0);
    store("driver 2", "of driver 2");
    assert_int_equal(rename(other, only_entry()), 0);
    assert_false(has("driver 2", ""));
    store("driver 2", "of driver 2");
    assert_true(has("driver 2", "of driver 2"));
}

/* What another user could have written, or is no file. */
static void test_strange_files(void **state) {
    (void)state;
    struct stat status;
    char path[300], moved[300];
    store("key", "program");
    strcpy(path, only_entry());
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(chmod(path, 0620), 0);
    assert_false(has("key", ""));
    assert_int_equal(chmod(path, 0602), 0);
    assert_false(has("key", ""));
    assert_int_equal(chmod(path, 0444), 0);
    assert_true(has("key", "program"));
    if (geteuid() == 0) { /* who may give files away */
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_false(has("key", ""));
    }
    snprintf(moved, sizeof(moved), "%s/moved", folder);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink(moved, path), 0);
    assert_false(has("key", ""));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(has("key", ""));
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(has("key", ""));
    store("key", "program"); /* nothing can take a folder's place */
    assert_false(has("key", ""));
    assert_int_equal(count_files(), 2);
}

static void set_time(const char *path, time_t seconds) {
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* The entries used longest ago go first; what is not the cache's stays. */
static void test_limit(void **state) {
    (void)state;
    enum { ENTRY = 1000, COUNT = 10 };
    char key[] = "key 0", program[ENTRY + 1], path[300], other[300];
    memset(program, 'x', ENTRY);
    program[ENTRY] = '\0';
    snprintf(other, sizeof(other), "%s/notes.txt", folder);
    write_file(other, program, ENTRY);
    set_time(other, 1);
    for (int i = 0; i < COUNT; i++) {
        key[4] = (char)('0' + i);
        store(key, program);
    }
    /* Times in the order of the keys, then a use of key 3. */
    for (int i = 0; i < COUNT; i++) {
        key[4] = (char)('0' + i);
        assert_true(has(key, program));
        usleep(20000);
    }
    assert_true(has("key 3", program));
    usleep(20000);
    /* Room for four. */
    tvm_opencl_cache_store(folder, 4 * ENTRY + 500, text("key X"), text(program));
    for (int i = 0; i < COUNT; i++) {
        key[4] = (char)('0' + i);
        assert_int_equal(has(key, program), i == 3 || i >= 8);
    }
    assert_true(has("key X", program));
    assert_int_equal(count_files(), 5);
    assert_int_equal(access(other, F_OK), 0);
    /* One that does not fit is not stored, and nothing goes for it. */
    tvm_opencl_cache_store(folder, ENTRY, text("key Y"), text(program));
    assert_false(has("key Y", ""));
    assert_int_equal(count_files(), 5);
    /* Half-written files of processes that were killed. */
    snprintf(path, sizeof(path), "%s/gotvm-tmp-new", folder);
    write_file(path, program, ENTRY);
    snprintf(other, sizeof(other), "%s/gotvm-tmp-old", folder);
    write_file(other, program, ENTRY);
    set_time(other, 1000);
    store("key Z", program);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(access(other, F_OK), -1);
}

/* In a folder that users share, others' entries neither go nor take from one's own room. */
static void test_entries_of_others(void **state) {
    (void)state;
    enum { OTHER_USER = 12345 };
    char program[1001];
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    memset(program, 'x', sizeof(program) - 1);
    program[sizeof(program) - 1] = '\0';
    store("key 0", program);
    assert_int_equal(chown(only_entry(), OTHER_USER, OTHER_USER), 0);
    for (char key[] = "key 1"; key[4] <= '3'; key[4]++) {
        tvm_opencl_cache_store(folder, 2500, text(key), text(program));
        usleep(20000);
    }
    assert_false(has("key 0", program)); /* which is not trusted */
    assert_false(has("key 1", program));
    assert_true(has("key 2", program));
    assert_true(has("key 3", program));
    assert_int_equal(count_files(), 3);
}

static void test_prepare(void **state) {
    (void)state;
    char path[300];
    struct stat status;
    snprintf(path, sizeof(path), "%s/a/b/c", folder);
    assert_true(tvm_opencl_cache_prepare(path));
    assert_true(tvm_opencl_cache_prepare(path));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    static const char *const unusable[] = {"", "/dev/null", "/dev/null/cache", "/proc/cache"};
    char *longer = calloc(1, 2 * PATH_MAX);
    memset(longer, '/', 2 * PATH_MAX - 1);
    for (size_t i = 0; i <= sizeof(unusable) / sizeof(*unusable); i++) {
        const char *name = i < sizeof(unusable) / sizeof(*unusable) ? unusable[i] : longer;
        unsigned char *file;
        struct tvm_bytes found;
        assert_false(tvm_opencl_cache_prepare(name));
        if (!*name)
            continue;
        tvm_opencl_cache_store(name, NO_LIMIT, text("key"), text("program"));
        assert_false(tvm_opencl_cache_load(name, text("key"), &file, &found));
    }
    free(longer);
}

/* Many at once: everybody finds the right program or none. */
static void *work(void *argument) {
    unsigned char *file;
    struct tvm_bytes found;
    uint64_t random = (uint64_t)(uintptr_t)argument;
    char key[] = "key 0", program[2000];
    for (int i = 0; i < 400; i++) {
        char letter = (char)('0' + fixture_random(&random) % 8);
        key[4] = letter;
        memset(program, letter, sizeof(program));
        tvm_opencl_cache_store(folder, 10000, text(key),
                               (struct tvm_bytes){program, 1000 + fixture_random(&random) % 1000});
        letter = (char)('0' + fixture_random(&random) % 8);
        key[4] = letter;
        if (!tvm_opencl_cache_load(folder, text(key), &file, &found))
            continue;
        bool good = found.size >= 1000 && found.size < 2000;
        for (size_t k = 0; good && k < found.size; k++)
            good = found.data[k] == letter;
        free(file);
        if (!good)
            return "a program of another key, or a damaged one";
    }
    return NULL;
}

static void test_concurrent(void **state) {
    (void)state;
    enum { PROCESSES = 3, THREADS = 3 };
    pid_t processes[PROCESSES];
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < PROCESSES; i++) {
        processes[i] = fork();
        if (processes[i] == 0)
            _exit(work((void *)(i + 1)) != NULL);
    }
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(i + 100)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *complaint;
        pthread_join(threads[i], &complaint);
        assert_null(complaint);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(processes[i], &status, 0), processes[i]);
        assert_int_equal(status, 0);
    }
    assert_in_range(count_files(), 1, 10);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),    TEST(test_damage),     TEST(test_foreign_entry),
        TEST(test_strange_files), TEST(test_limit),      TEST(test_entries_of_others),
        TEST(test_prepare),       TEST(test_concurrent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
