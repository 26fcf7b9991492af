#include "base/os.h"

#include "base/checked.h"
#include "base/error.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t tvm_os_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void tvm_os_futex_wait(const _Atomic uint32_t *word, uint32_t expected) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

void tvm_os_futex_wake(const _Atomic uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Memory. */

int64_t tvm_os_memory_size(void) {
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

/* The lowest address of the calling thread's stack; UINTPTR_MAX where the system does not tell. */
static uintptr_t stack_end(void) {
    pthread_attr_t attributes;
    struct rlimit limit;
    void *low = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &size);
        pthread_attr_destroy(&attributes);
    }
    if (!low)
        return UINTPTR_MAX;
    /* The first thread's stack grows, and musl tells how large it is by now. A quarter of what it
     * may become can be arguments. */
    if (syscall(SYS_gettid) == getpid() && getrlimit(RLIMIT_STACK, &limit) == 0) {
        rlim_t whole = limit.rlim_cur == RLIM_INFINITY ? 8 << 20 : limit.rlim_cur;
        if (whole / 4 * 3 > size && whole < (uintptr_t)low)
            return (uintptr_t)low + size - (uintptr_t)(whole / 4 * 3);
    }
    return (uintptr_t)low;
}

size_t tvm_os_stack_left(void) {
    static _Thread_local uintptr_t end; /* 0: not asked yet */
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (!end)
        end = stack_end();
    return here > end ? here - end : SIZE_MAX; /* elsewhere: code with stacks of its own */
}

struct bytes_range {
    uintptr_t begin;
    size_t size;
};

static int holds_range(struct dl_phdr_info *info, size_t info_size, void *argument) {
    const struct bytes_range *range = argument;
    (void)info_size;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t begin = (uintptr_t)info->dlpi_addr + (uintptr_t)header->p_vaddr;
        if (header->p_type == PT_LOAD && range->begin >= begin &&
            range->begin - begin <= header->p_memsz &&
            range->size <= header->p_memsz - (range->begin - begin))
            return 1;
    }
    return 0;
}

bool tvm_os_is_image_data(const void *data, size_t size) {
    struct bytes_range range = {(uintptr_t)data, size};
    return dl_iterate_phdr(holds_range, &range) == 1;
}

/* Of the program, which comes first. */
static int has_interpreter(struct dl_phdr_info *info, size_t info_size, void *found) {
    (void)info_size;
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_INTERP)
            *(bool *)found = true;
    return 1;
}

bool tvm_os_is_static(void) {
    bool found = false;
    dl_iterate_phdr(has_interpreter, &found);
    return !found;
}

static int has_name(struct dl_phdr_info *info, size_t info_size, void *name) {
    (void)info_size;
    return strcmp(info->dlpi_name, name) == 0;
}

bool tvm_os_unload(void *handle) {
    struct link_map *map;
    char name[PATH_MAX];
    bool known = dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && strlen(map->l_name) < sizeof(name);
    if (known)
        strcpy(name, map->l_name);
    dlclose(handle);
    return !known || dl_iterate_phdr(has_name, name) == 1;
}

/* Files. */

int tvm_os_map_file(const char *name, int fd, const unsigned char **data, size_t *size) {
    struct stat info;
    void *mapped = MAP_FAILED;
    *data = (const unsigned char *)""; /* of an empty one */
    if (fstat(fd, &info) == 0) {
        if (!tvm_size_from((uint64_t)info.st_size, size))
            errno = EFBIG;
        else if (*size == 0)
            return 0;
        else
            mapped = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (mapped == MAP_FAILED)
        return tvm_raise(TVM_OS_ERROR, "%s: cannot be mapped: %s", name, strerror(errno));
    *data = mapped;
    return 0;
}

void tvm_os_unmap_file(const unsigned char *data, size_t size) {
    if (size)
        munmap((void *)(uintptr_t)data, size);
}

int tvm_os_write(int fd, const void *from, size_t size) {
    const char *data = from;
    while (size) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

static int memory_file_new(const char *name, int *fd) {
    const unsigned exec = 0x10; /* MFD_EXEC of Linux 6.3, where vm.memfd_noexec may ask for it */
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    char short_name[200];
    snprintf(short_name, sizeof(short_name), "%s", name);
    *fd = memfd_create(short_name, flags | exec);
    if (*fd < 0 && errno == EINVAL)
        *fd = memfd_create(short_name, flags);
    return *fd < 0 ? tvm_raise(TVM_OS_ERROR, "%s: cannot make a file in memory: %s", name,
                               strerror(errno))
                   : 0;
}

/* Ends making a file, closing it where status, with the system's reason, or sealing fails. */
static int memory_file_end(const char *name, size_t size, int status, int *fd) {
    if (status == 0)
        status = fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    if (status == 0)
        return 0;
    int reason = errno;
    close(*fd);
    *fd = -1;
    return tvm_raise(TVM_OS_ERROR, "%s: cannot fill a file in memory with %zu bytes: %s", name,
                     size, strerror(reason));
}

int tvm_os_memory_file(const char *name, const void *data, size_t size, int *fd) {
    return memory_file_new(name, fd)
               ? -1
               : memory_file_end(name, size, tvm_os_write(*fd, data, size), fd);
}

int tvm_os_memory_copy(const char *name, int from, uint64_t offset, size_t size, int *fd) {
    off_t at = (off_t)offset;
    int status = 0;
    if (memory_file_new(name, fd))
        return -1;
    for (size_t left = size; left && status == 0;) {
        ssize_t sent = sendfile(*fd, from, &at, left);
        if (sent == 0) {
            close(*fd);
            *fd = -1;
            return tvm_raise(TVM_FORMAT_ERROR,
                             "%s: the file ends at byte %lld: it was cut while it was in use", name,
                             (long long)at);
        }
        if (sent > 0)
            left -= (size_t)sent;
        else if (errno != EINTR)
            status = -1;
    }
    return memory_file_end(name, size, status, fd);
}

const char *tvm_os_fd_path(int fd, char *buffer) {
    snprintf(buffer, TVM_OS_PATH_SIZE, "/proc/self/fd/%d", fd);
    return buffer;
}

bool tvm_os_has_fd_paths(void) {
    return access("/proc/self/fd", X_OK) == 0;
}
