#include "base/os.h"

#include "base/checked.h"
#include "base/error.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
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

/* Counting CPUs: every file may be missing or strange, and then counts as setting no limit. */

/* A line of a file of /proc or /sys; longer ones are cut. */
enum { LINE_SIZE = 4096 };

static FILE *open_below(const char *root, const char *path) {
    char full[2 * PATH_MAX];
    int length = snprintf(full, sizeof(full), "%s%s", root, path);
    return length > 0 && (size_t)length < sizeof(full) ? fopen(full, "re") : NULL;
}

static bool read_line_below(const char *root, const char *path, char *line) {
    FILE *file = open_below(root, path);
    if (!file)
        return false;
    bool ok = fgets(line, LINE_SIZE, file) != NULL;
    fclose(file);
    return ok;
}

/* Whether a list such as "0-3,8" names a CPU below cpu that is in the set. */
static bool lists_earlier(const char *list, int cpu, const cpu_set_t *set, size_t set_size) {
    for (;;) {
        char *end;
        long first = strtol(list, &end, 10);
        if (end == list || first < 0)
            return false;
        long last = first;
        if (*end == '-') {
            list = end + 1;
            last = strtol(list, &end, 10);
            if (end == list)
                return false;
        }
        for (long i = first; i <= last && i < cpu; i++) {
            if (CPU_ISSET_S((size_t)i, set_size, set))
                return true;
        }
        if (*end != ',')
            return false;
        list = end + 1;
    }
}

/* A core is counted at the first of its hardware threads that the process may use. */
static bool is_first_of_core(const char *root, int cpu, const cpu_set_t *set, size_t set_size) {
    static const char *const names[] = {"core_cpus_list", "thread_siblings_list"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char path[128], line[LINE_SIZE];
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, names[i]);
        if (read_line_below(root, path, line))
            return !lists_earlier(line, cpu, set, set_size);
    }
    return true;
}

/* Not where system calls are filtered: a service whose SystemCallFilter leaves @resources out would
 * be ended for it. A filter can come at any time. */
static bool may_set_affinity(void) {
    return prctl(PR_GET_SECCOMP) == 0;
}

/* The CPUs that the calling thread can come to use: those of any thread of the process, as some,
 * the first among them, may have bound themselves to a few. False where the kernel's sets are
 * larger. */
static bool process_cpus(cpu_set_t *set, size_t set_size) {
    cpu_set_t *other = malloc(set_size);
    bool ok = other && sched_getaffinity(0, set_size, set) == 0;
    DIR *threads = ok && may_set_affinity() ? opendir("/proc/self/task") : NULL;
    for (struct dirent *item; threads && (item = readdir(threads));)
        if (*item->d_name != '.' &&
            sched_getaffinity((pid_t)strtol(item->d_name, NULL, 10), set_size, other) == 0)
            CPU_OR_S(set_size, set, set, other);
    if (threads)
        closedir(threads);
    free(other);
    return ok;
}

static int count_cores(const char *root) {
    /* The kernel refuses a set smaller than its own, whose size it does not tell. */
    for (int cpus = CPU_SETSIZE; cpus <= 64 * CPU_SETSIZE; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set)
            break;
        size_t set_size = CPU_ALLOC_SIZE((size_t)cpus);
        if (process_cpus(set, set_size)) {
            int cores = 0;
            for (int cpu = 0; cpu < cpus; cpu++) {
                if (CPU_ISSET_S((size_t)cpu, set_size, set))
                    cores += is_first_of_core(root, cpu, set, set_size);
            }
            CPU_FREE(set);
            return cores;
        }
        CPU_FREE(set);
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

int tvm_os_cpu(void) {
    return sched_getcpu();
}

void tvm_os_use_all_cpus(void) {
    cpu_set_t own, all;
    if (sched_getaffinity(0, sizeof(own), &own) == 0 && process_cpus(&all, sizeof(all)) &&
        !CPU_EQUAL(&own, &all))
        sched_setaffinity(0, sizeof(all), &all);
}

void tvm_os_leave_cpu(int cpu) {
    cpu_set_t all, others;
    if (!may_set_affinity() || cpu < 0 || cpu >= CPU_SETSIZE ||
        sched_getaffinity(0, sizeof(all), &all) != 0)
        return;
    others = all;
    CPU_CLR((size_t)cpu, &others);
    /* The first call moves the thread, the second lets it roam again. */
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof(others), &others) == 0)
        sched_setaffinity(0, sizeof(all), &all);
}

/* One hierarchy of control groups: v2, or the one of v1 that has the cpu controller. */
struct hierarchy {
    bool v2;
    char group[PATH_MAX];  /* this process's group in it, as /proc/self/cgroup names it */
    char mount[PATH_MAX];  /* where it is mounted … */
    char origin[PATH_MAX]; /* … and which group is seen there */
};

/* Whether a comma-separated list holds word. */
static bool list_has(const char *list, const char *word) {
    size_t size = strlen(word);
    for (; list; list = strchr(list, ',')) {
        list += *list == ',';
        if (strncmp(list, word, size) == 0 && (list[size] == ',' || list[size] == '\0'))
            return true;
    }
    return false;
}

/* Lines are "number:controllers:group"; v2's has number 0 and no controllers. */
static bool find_group(const char *root, struct hierarchy *hierarchy) {
    char line[LINE_SIZE];
    FILE *file = open_below(root, "/proc/self/cgroup");
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || group[1] != '/' || strlen(group) > sizeof(hierarchy->group))
            continue;
        *group++ = '\0';
        controllers++;
        found = hierarchy->v2 ? *controllers == '\0' : list_has(controllers, "cpu");
        if (found)
            strcpy(hierarchy->group, group);
    }
    if (file)
        fclose(file);
    return found;
}

/* Lines are "id parent device origin mount options tags… - type source super-options". */
static bool find_mount(const char *root, struct hierarchy *hierarchy) {
    char line[LINE_SIZE];
    FILE *file = open_below(root, "/proc/self/mountinfo");
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        char type[32], options[256];
        const char *tail = strstr(line, " - ");
        if (!tail || strlen(line) + 1 == sizeof(line) ||
            sscanf(tail, " - %31s %*s %255s", type, options) != 2 ||
            sscanf(line, "%*s %*s %*s %4095s %4095s", hierarchy->origin, hierarchy->mount) != 2)
            continue;
        found = hierarchy->v2 ? strcmp(type, "cgroup2") == 0
                              : strcmp(type, "cgroup") == 0 && list_has(options, "cpu");
    }
    if (file)
        fclose(file);
    return found;
}

/* CPUs that one group's quota allows, rounded up; INT_MAX for no quota. */
static int read_quota(const char *root, const char *folder, bool v2) {
    char path[2 * PATH_MAX + 32], line[LINE_SIZE];
    long long quota = -1, period = 0;
    snprintf(path, sizeof(path), "%s/%s", folder, v2 ? "cpu.max" : "cpu.cfs_quota_us");
    if (!read_line_below(root, path, line))
        return INT_MAX;
    if (v2) {
        if (sscanf(line, "%lld %lld", &quota, &period) != 2) /* "max 100000" */
            return INT_MAX;
    } else {
        quota = strtoll(line, NULL, 10);
        snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
        if (read_line_below(root, path, line))
            period = strtoll(line, NULL, 10);
    }
    if (quota <= 0 || period <= 0 || quota / period >= INT_MAX)
        return INT_MAX;
    return (int)(quota / period + (quota % period != 0));
}

/* The least quota of the process's group and the groups around it, as far as they can be seen. */
static int read_quotas(const char *root, bool v2) {
    struct hierarchy hierarchy = {.v2 = v2};
    if (!find_group(root, &hierarchy) || !find_mount(root, &hierarchy))
        return INT_MAX;
    /* Inside a container the mount may show the process's own group as its top. */
    const char *group = hierarchy.group;
    size_t skip = strcmp(hierarchy.origin, "/") == 0 ? 0 : strlen(hierarchy.origin);
    if (strncmp(group, hierarchy.origin, skip) == 0 && (group[skip] == '/' || !group[skip]))
        group += skip;
    else
        group = "";
    char folder[2 * PATH_MAX];
    snprintf(folder, sizeof(folder), "%s%s", hierarchy.mount, group);
    int least = INT_MAX;
    size_t top = strlen(hierarchy.mount);
    for (;;) {
        int quota = read_quota(root, folder, v2);
        if (quota < least)
            least = quota;
        char *slash = strrchr(folder + top, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

int tvm_os_cpu_count_below(const char *root) {
    int count = count_cores(root);
    for (int v2 = 0; v2 < 2; v2++) {
        int quota = read_quotas(root, v2);
        if (quota < count)
            count = quota;
    }
    return count > 0 ? count : 1;
}

int tvm_os_cpu_count(void) {
    return tvm_os_cpu_count_below("");
}

void tvm_os_cpu_name(char *buffer) {
    char line[LINE_SIZE];
    FILE *file = open_below("", "/proc/cpuinfo");
    const char *name = NULL;
    while (file && !name && fgets(line, sizeof(line), file)) {
        char *value = strchr(line, ':');
        if (!value || strncmp(line, "model name", 10) != 0) /* Linux on arm64 gives none */
            continue;
        name = value + 1 + strspn(value + 1, " ");
        line[strcspn(line, "\n")] = '\0';
    }
    if (file)
        fclose(file);
    struct utsname machine;
    if (!name)
        name = uname(&machine) == 0 ? machine.machine : "";
    snprintf(buffer, TVM_OS_CPU_NAME_SIZE, "%s", name);
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
