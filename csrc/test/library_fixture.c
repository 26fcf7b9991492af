#include "test/library_fixture.h"

#include "module/library.h"
#include "test/expect.h"
#include "test/folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];

static void remove_folder(void) {
    if (folder_remove(folder))
        fprintf(stderr, "%s cannot be removed\n", folder);
}

const char *fixture_path(const char *name) {
    static char paths[8][PATH_MAX];
    static unsigned next;
    if (!*folder) {
        strcpy(folder, "/tmp/tvm_test_XXXXXX");
        assert_non_null(mkdtemp(folder));
        atexit(remove_folder);
    }
    char *path = paths[next++ % 8];
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

const char *fixture_compile(const char *name, const char *flags, const char *source) {
    char command[PATH_MAX * 2];
    const char *path = fixture_path(name);
    const char *input = fixture_write("source.c", source, strlen(source));
    snprintf(command, sizeof(command), "${CC:-cc} -w %s -o %s %s", flags, path, input);
    if (system(command))
        fail_msg("%s failed", command);
    return path;
}

unsigned char *fixture_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s cannot be opened", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*size ? *size : 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

const char *fixture_write(const char *name, const void *data, size_t size) {
    const char *path = fixture_path(name);
    unlink(path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (size)
        assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

int fixture_try_open(const char *path) {
    struct tvm_module *module;
    int status = tvm_library_open(path, &module);
    if (status == 0)
        tvm_object_release(&module->object);
    return status;
}
