#include "graph/package.h"

#include "base/checked.h"
#include "base/reader.h"
#include "graph/factory.h"
#include "graph/params.h"
#include "module/library.h"
#include "module/system_library.h"
#include "module/tar_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tvm_graph_package_clear(struct tvm_graph_package *package) {
    if (package->module)
        tvm_object_release(&package->module->object);
    if (package->library)
        tvm_object_release(&package->library->object);
    tvm_object_release((struct tvm_object *)package->plan);
    tvm_object_release((struct tvm_object *)package->weights);
    *package = (struct tvm_graph_package){0};
}

/* Finds the graph of package->module, if it is a factory. */
static int open_factory(const char *name, struct tvm_graph_package *package) {
    struct tvm_graph_factory *factory = tvm_graph_factory_of(package->module);
    if (!factory)
        return 0;
    if (tvm_graph_factory_parts(factory, &package->plan, &package->library))
        return tvm_raise_context("%s", name);
    package->weights = factory->weights;
    if (package->weights)
        tvm_object_retain((struct tvm_object *)package->weights);
    return 0;
}

/* Packages of tvmc */

enum { LIB, GRAPH, PARAMS, OBJECTS, VM, VM_OBJECTS, METADATA, OBJECT, MEMBER_COUNT };

static int refuse(const char *name, const struct tvm_tar_member *members) {
    const char *what;
    if (members[OBJECTS].found)
        what = "holds object files, which need a linker: compile it with \"tvmc compile "
               "--output-format so\"";
    else if (members[VM].found || members[VM_OBJECTS].found)
        what = "holds a model for Relay's virtual machine: compile it with \"tvmc compile "
               "--executor graph\", in Python without use_vm";
    else if (members[METADATA].found)
        what = "is in the Model Library Format, which is source code: compile it with \"tvmc "
               "compile --output-format so\"";
    else if (members[OBJECT].found)
        what = "holds object files, which need a linker: export_library(\"model.so\") makes a "
               "library";
    else
        return tvm_raise(TVM_FORMAT_ERROR,
                         "%s: a tar archive without %s: a package of tvmc has mod.so, mod.json and "
                         "mod.params",
                         name,
                         !members[LIB].found     ? "mod.so"
                         : !members[GRAPH].found ? "mod.json"
                                                 : "mod.params");
    return tvm_raise(TVM_UNSUPPORTED_ERROR, "%s: the package %s", name, what);
}

struct archive {
    const char *name;
    const unsigned char *data; /* NULL: in a file */
    size_t size;
    int fd;
    struct stat file; /* before anything was read */
};

/* A file is never mapped: a program that writes over it meanwhile would end this one. */
static int open_plan(const char *name, const struct archive *archive,
                     const struct tvm_tar_member *graph, struct tvm_graph_package *out) {
    if (archive->data)
        return tvm_graph_plan_new(name, (const char *)archive->data + graph->offset, graph->size,
                                  &out->plan);
    char *text = malloc(graph->size ? graph->size : 1);
    if (!text)
        return tvm_raise_out_of_memory();
    int status = tvm_read_file(name, archive->fd, graph->offset, text, graph->size);
    if (status == 0)
        status = tvm_graph_plan_new(name, text, graph->size, &out->plan);
    free(text);
    return status;
}

static int open_weights(const char *name, const struct archive *archive,
                        const struct tvm_tar_member *params, struct tvm_graph_package *out) {
    if (!archive->data)
        return tvm_graph_weights_open(name, archive->fd, params->offset, params->size,
                                      &out->weights);
    struct tvm_reader reader = {.data = archive->data,
                                .size = params->offset + params->size,
                                .pos = params->offset,
                                .name = name};
    struct tvm_graph_param_list *list;
    if (tvm_graph_params_read_all(&reader, &list))
        return -1;
    out->in_bytes = true;
    int status = tvm_graph_weights_new(name, list, -1, 0, &out->weights);
    tvm_object_release(&list->object);
    return status;
}

static int open_member_library(const char *name, const struct archive *archive,
                               const struct tvm_tar_member *lib, struct tvm_graph_package *out) {
    struct tvm_library_part part = {archive->fd, &archive->file, lib->offset, lib->size};
    return archive->data
               ? tvm_library_open_bytes(name, archive->data + lib->offset, lib->size, &out->module)
               : tvm_library_open_part(name, &part, &out->module);
}

static int open_members(const struct archive *archive, const struct tvm_tar_member *members,
                        struct tvm_graph_package *out) {
    char names[3][PATH_MAX + 16];
    for (int i = LIB; i <= PARAMS; i++)
        snprintf(names[i], sizeof(names[i]), "%s: %s", archive->name, members[i].name);
    if (open_plan(names[GRAPH], archive, &members[GRAPH], out) ||
        open_weights(names[PARAMS], archive, &members[PARAMS], out) ||
        tvm_graph_weights_check(out->weights, out->plan) ||
        open_member_library(names[LIB], archive, &members[LIB], out))
        return -1;
    tvm_object_retain(&out->module->object);
    out->library = out->module;
    return 0;
}

static int open_tar(const struct archive *archive, struct tvm_graph_package *out) {
    struct tvm_tar_member members[MEMBER_COUNT] = {
        [LIB] = {"mod.so", 0, 0, false},
        [GRAPH] = {"mod.json", 0, 0, false},
        [PARAMS] = {"mod.params", 0, 0, false},
        [OBJECTS] = {"mod.tar", 0, 0, false},
        [VM] = {"lib.so", 0, 0, false},
        [VM_OBJECTS] = {"lib.tar", 0, 0, false},
        [METADATA] = {"metadata.json", 0, 0, false},
        [OBJECT] = {"lib0.o", 0, 0, false}, /* of export_library("model.tar") */
    };
    struct tvm_reader_file file = {.fd = archive->fd};
    struct tvm_reader reader = {.data = archive->data,
                                .size = archive->size,
                                .name = archive->name,
                                .file = archive->data ? NULL : &file};
    if (tvm_tar_find(&reader, members, MEMBER_COUNT))
        return -1;
    if (!members[LIB].found || !members[GRAPH].found || !members[PARAMS].found)
        return refuse(archive->name, members);
    return open_members(archive, members, out);
}

/* Files and bytes */

static int done(int status, struct tvm_graph_package *out) {
    if (status)
        tvm_graph_package_clear(out);
    return status;
}

static int open_library(const char *path, struct tvm_graph_package *out) {
    return tvm_library_open(path, &out->module) ? -1 : open_factory(path, out);
}

int tvm_graph_package_from_bytes(const char *name, const void *data, size_t size,
                                 struct tvm_graph_package *out) {
    *out = (struct tvm_graph_package){0};
    if (tvm_tar_is(data, size)) {
        struct archive archive = {.name = name, .data = data, .size = size, .fd = -1};
        return done(open_tar(&archive, out), out);
    }
    return done(
        tvm_library_open_bytes(name, data, size, &out->module) ? -1 : open_factory(name, out), out);
}

int tvm_graph_package_linked(const char *prefix, struct tvm_graph_package *out) {
    char name[256];
    *out = (struct tvm_graph_package){0};
    snprintf(name, sizeof(name), "linked model \"%s\"", prefix);
    if (tvm_system_check_model(prefix) || tvm_system_library(prefix, &out->module))
        return -1;
    return done(open_factory(name, out), out);
}

/* *is_tar: fd is an archive, and was dealt with. */
static int try_tar(const char *path, int fd, bool *is_tar, struct tvm_graph_package *out) {
    unsigned char head[512];
    struct archive archive = {.name = path, .fd = fd};
    *is_tar = fstat(fd, &archive.file) == 0 && S_ISREG(archive.file.st_mode) &&
              pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
              tvm_tar_is(head, sizeof(head));
    if (!*is_tar)
        return 0;
    if (!tvm_size_from((uint64_t)archive.file.st_size, &archive.size))
        return tvm_raise(TVM_OS_ERROR, "%s: a file of %lld bytes is too large for this machine",
                         path, (long long)archive.file.st_size);
    return open_tar(&archive, out);
}

int tvm_graph_package_open(const char *path, struct tvm_graph_package *out) {
    bool is_tar = false;
    int status = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *out = (struct tvm_graph_package){0};
    if (fd >= 0) {
        status = try_tar(path, fd, &is_tar, out);
        close(fd);
    }
    return done(is_tar ? status : open_library(path, out), out);
}
