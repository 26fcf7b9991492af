/* What the runtime asks of the operating system beyond POSIX: for Linux in os_linux.c and
 * cpus_linux.c. */
#ifndef TVM_BASE_OS_H
#define TVM_BASE_OS_H

#ifndef __linux__
#error "gotvm runs on Linux (amd64, arm64); no file implements os.h for this system yet"
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Threads. */

/* Nanoseconds on a clock that never steps back. */
int64_t tvm_os_now(void);

/* Sleeps while *word holds expected; may return early, so callers check in a loop. */
void tvm_os_futex_wait(const _Atomic uint32_t *word, uint32_t expected);
/* Wakes at most count threads of this process that sleep on word. Nothing is read from word. */
void tvm_os_futex_wake(const _Atomic uint32_t *word, int count);

/* The processor that the calling thread runs on. */
int tvm_os_cpu(void);
/* Lets the calling thread use all CPUs that any thread of the process may use. */
void tvm_os_use_all_cpus(void);
/* Has the calling thread go on on another processor than cpu, if it may use another: the system can
 * leave a thread that was just woken next to the one that woke it for milliseconds. Its affinity is
 * as before, unless somebody changes it meanwhile. */
void tvm_os_leave_cpu(int cpu);

/* Physical cores that this process may use: within the CPU affinity of any of its threads, hardware
 * threads of one core counted once, and at most its cgroup's CPU quota, rounded up. At least 1. */
int tvm_os_cpu_count(void);
/* The same with the files of /proc and /sys read below the folder root: for tests. */
int tvm_os_cpu_count_below(const char *root);

/* What the processor is called, cut to fit buffer, of TVM_OS_CPU_NAME_SIZE bytes. */
enum { TVM_OS_CPU_NAME_SIZE = 100 };
void tvm_os_cpu_name(char *buffer);

/* Memory. */

/* Bytes of this machine. */
int64_t tvm_os_memory_size(void);

/* Bytes of the calling thread's stack that are not used yet, as far as the system tells; SIZE_MAX
 * where it does not. The first call on a thread may read a file of /proc. */
size_t tvm_os_stack_left(void);

/* Whether all size bytes at data lie in one segment of an object file that the process has mapped.
 */
bool tvm_os_is_image_data(const void *data, size_t size);

/* Whether the program has no dynamic linker of its own. What dlopen finds then may end it: libc's
 * would be there twice. */
bool tvm_os_is_static(void);
#define TVM_OS_STATIC "this program is linked statically, so it cannot load a shared library"

/* dlclose, which opens no file to tell whether the dynamic linker has the library still loaded. */
bool tvm_os_unload(void *handle);

/* Files. */

/* Maps all of a regular file, called name in messages, to be read; OSError. */
int tvm_os_map_file(const char *name, int fd, const unsigned char **data, size_t *size);
void tvm_os_unmap_file(const unsigned char *data, size_t size);

/* Writes all size bytes at fd's position; -1 with errno set when the system refuses. */
int tvm_os_write(int fd, const void *data, size_t size);

/* A file in memory, called name in the process's memory map, that holds a copy of size bytes and
 * cannot be changed any more. */
int tvm_os_memory_file(const char *name, const void *data, size_t size, int *fd);

/* The same of size bytes of a regular file, from offset on: FormatError when it ends before. */
int tvm_os_memory_copy(const char *name, int from, uint64_t offset, size_t size, int *fd);

/* A path to what fd has open, whatever became of its name: good as long as fd is open. */
enum { TVM_OS_PATH_SIZE = 40 };
const char *tvm_os_fd_path(int fd, char *buffer);
/* False where such paths do not work: /proc is not mounted. */
bool tvm_os_has_fd_paths(void);

#endif
