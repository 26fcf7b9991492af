#include "device/opencl/cache.h"

#include "base/checked.h"
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x31304c436d767467) /* "gtvmCL01" */
#define SUFFIX ".clbin"
#define TEMPORARY "gotvm-tmp-"

enum { HASH_DIGITS = 16, STALE_SECONDS = 3600 };

struct header {
    uint64_t magic, key_size, program_size;
    uint64_t hash; /* of the fields above, the key and the program */
};

/* Continues hash with data, by words of 8 bytes, the last one filled up with zeros. Each step is a
 * bijection of hash and of the word: two texts of one length that differ in one word never have the
 * same hash. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size) {
    const char *from = data;
    for (size_t i = 0; i < size; i += sizeof(hash)) {
        uint64_t word = 0;
        memcpy(&word, from + i, size - i < sizeof(word) ? size - i : sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash;
}

static uint64_t hash_entry(const struct header *header, struct tvm_bytes key,
                           struct tvm_bytes program) {
    uint64_t hash = hash_bytes(1, header, offsetof(struct header, hash));
    hash = hash_bytes(hash, key.data, key.size);
    return hash_bytes(hash, program.data, program.size);
}

static bool make_path(const char *folder, const char *name, char path[PATH_MAX]) {
    int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return length > 0 && length < PATH_MAX;
}

/* Two keys with one path only take turns in it: the file holds the key itself. */
static bool make_entry_path(const char *folder, struct tvm_bytes key, char path[PATH_MAX]) {
    char name[HASH_DIGITS + sizeof(SUFFIX)];
    snprintf(name, sizeof(name), "%016llx" SUFFIX,
             (unsigned long long)hash_bytes(key.size, key.data, key.size));
    return make_path(folder, name, path);
}

/* Whether all that is there was written by this user or root. */
static bool is_trusted(const struct stat *status) {
    return S_ISREG(status->st_mode) && (status->st_uid == geteuid() || status->st_uid == 0) &&
           (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static bool read_all(int fd, unsigned char *to, size_t size) {
    while (size) {
        ssize_t count = read(fd, to, size);
        if (count == 0 || (count < 0 && errno != EINTR))
            return false;
        if (count > 0) {
            to += count;
            size -= (size_t)count;
        }
    }
    return true;
}

/* Whether size bytes are the whole, undamaged entry of key. */
static bool check_entry(const unsigned char *file, size_t size, struct tvm_bytes key,
                        struct tvm_bytes *program) {
    struct header header;
    size_t body;
    memcpy(&header, file, sizeof(header));
    if (header.magic != MAGIC || header.key_size != key.size ||
        !tvm_size_add(header.key_size, header.program_size, &body) ||
        body != size - sizeof(header) || memcmp(file + sizeof(header), key.data, key.size) != 0)
        return false;
    *program = (struct tvm_bytes){(const char *)file + sizeof(header) + key.size,
                                  (size_t)header.program_size};
    return program->size > 0 && hash_entry(&header, key, *program) == header.hash;
}

static bool load_entry(int fd, struct tvm_bytes key, unsigned char **file,
                       struct tvm_bytes *program) {
    struct stat status;
    if (fstat(fd, &status) || !is_trusted(&status) ||
        (uint64_t)status.st_size <= sizeof(struct header) ||
        (uint64_t)status.st_size > SIZE_MAX / 2 || !(*file = malloc((size_t)status.st_size)))
        return false;
    if (read_all(fd, *file, (size_t)status.st_size) &&
        check_entry(*file, (size_t)status.st_size, key, program))
        return true;
    free(*file);
    return false;
}

bool tvm_opencl_cache_load(const char *folder, struct tvm_bytes key, unsigned char **file,
                           struct tvm_bytes *program) {
    char path[PATH_MAX];
    if (!make_entry_path(folder, key, path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool found = load_entry(fd, key, file, program);
    if (found)
        futimens(fd, NULL); /* where that is allowed */
    close(fd);
    return found;
}

bool tvm_opencl_cache_prepare(const char *folder) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s", folder);
    if (length <= 0 || (size_t)length >= sizeof(path))
        return false;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
    return access(path, W_OK | X_OK) == 0;
}

/* Whether name is one that this file gives. */
static bool is_entry(const char *name) {
    size_t digits = strspn(name, "0123456789abcdef");
    return digits == HASH_DIGITS && strcmp(name + digits, SUFFIX) == 0;
}

struct entry {
    char name[HASH_DIGITS + sizeof(SUFFIX)];
    uint64_t size;
    struct timespec used; /* the last time that it was */
};

static int compare_uses(const void *a, const void *b) {
    const struct timespec *left = &((const struct entry *)a)->used;
    const struct timespec *right = &((const struct entry *)b)->used;
    if (left->tv_sec != right->tv_sec)
        return left->tv_sec < right->tv_sec ? -1 : 1;
    return (left->tv_nsec > right->tv_nsec) - (left->tv_nsec < right->tv_nsec);
}

/* Lists this user's entries, as others' are of no use and may be impossible to remove; removes what
 * processes that were killed left half-written. *entries is to be freed. */
static size_t scan(DIR *stream, struct entry **entries) {
    size_t count = 0, room = 0;
    for (struct dirent *item; (item = readdir(stream));) {
        struct stat status;
        bool entry = is_entry(item->d_name);
        bool temporary = strncmp(item->d_name, TEMPORARY, sizeof(TEMPORARY) - 1) == 0;
        if ((!entry && !temporary) ||
            fstatat(dirfd(stream), item->d_name, &status, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(status.st_mode) || status.st_uid != geteuid())
            continue;
        if (temporary && status.st_mtim.tv_sec < time(NULL) - STALE_SECONDS)
            unlinkat(dirfd(stream), item->d_name, 0);
        if (!entry)
            continue;
        if (count == room) {
            room = room * 2 + 64;
            struct entry *more = realloc(*entries, room * sizeof(*more));
            if (!more)
                break; /* the others go another time */
            *entries = more;
        }
        struct entry *made = &(*entries)[count++];
        strcpy(made->name, item->d_name);
        made->size = (uint64_t)status.st_size;
        made->used = status.st_mtim;
    }
    return count;
}

static void evict(const char *folder, size_t limit) {
    struct entry *entries = NULL;
    uint64_t size = 0;
    DIR *stream = opendir(folder);
    if (!stream)
        return;
    size_t count = scan(stream, &entries);
    if (count)
        qsort(entries, count, sizeof(*entries), compare_uses);
    for (size_t i = 0; i < count; i++)
        size += entries[i].size;
    for (size_t i = 0; i < count && size > limit; i++)
        if (unlinkat(dirfd(stream), entries[i].name, 0) == 0 || errno == ENOENT)
            size -= entries[i].size;
    free(entries);
    closedir(stream);
}

static bool write_entry(int fd, struct tvm_bytes key, struct tvm_bytes program) {
    struct header header = {MAGIC, key.size, program.size, 0};
    header.hash = hash_entry(&header, key, program);
    return tvm_os_write(fd, &header, sizeof(header)) == 0 &&
           tvm_os_write(fd, key.data, key.size) == 0 &&
           tvm_os_write(fd, program.data, program.size) == 0;
}

void tvm_opencl_cache_store(const char *folder, size_t limit, struct tvm_bytes key,
                            struct tvm_bytes program) {
    char path[PATH_MAX], temporary[PATH_MAX];
    size_t size;
    if (!tvm_size_add(key.size, program.size, &size) ||
        !tvm_size_add(size, sizeof(struct header), &size) || size > limit ||
        !make_entry_path(folder, key, path) || !make_path(folder, TEMPORARY "XXXXXX", temporary))
        return;
    int fd = mkostemp(temporary, O_CLOEXEC); /* for this user alone */
    if (fd < 0)
        return;
    struct stat status;
    /* Some file systems give files an owner that would not be trusted. */
    bool written = write_entry(fd, key, program) && fstat(fd, &status) == 0 && is_trusted(&status);
    if (close(fd) || !written || rename(temporary, path))
        unlink(temporary);
    else
        evict(folder, limit);
}
