/* CPUs: how many there are for this process, and on which its threads run. */
#include "base/os.h"

#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

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
