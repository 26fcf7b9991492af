/* Starts a program again and again and measures it from outside:
 *
 *     spawn PROGRAM ARGUMENTS…
 *
 * For each line on standard input it prints: nanoseconds from exec to the program's first line of
 * output, nanoseconds until it had ended, its peak memory in KiB, and its first line. A small
 * process starts the program because a child's peak memory includes its parent's from before exec.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void run(char **command) {
    int ends[2];
    if (pipe(ends))
        fail("pipe");
    long long start = now();
    pid_t child = vfork();
    if (child < 0)
        fail("vfork");
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(command[0], command);
        _exit(127);
    }
    close(ends[1]);
    char line[1024] = "", rest[1024];
    size_t used = 0;
    ssize_t got;
    while (used < sizeof(line) - 1 && !strchr(line, '\n') &&
           (got = read(ends[0], line + used, sizeof(line) - 1 - used)) > 0)
        line[used += (size_t)got] = '\0';
    long long first = now() - start;
    while (read(ends[0], rest, sizeof(rest)) > 0)
        ;
    close(ends[0]);
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) < 0)
        fail("wait4");
    long long end = now() - start;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        fprintf(stderr, "%s: status %#x\n", command[0], status);
        exit(1);
    }
    line[strcspn(line, "\n")] = '\0';
    printf("%lld %lld %ld %s\n", first, end, usage.ru_maxrss, line);
    fflush(stdout);
}

int main(int argc, char **argv) {
    char request[64];
    if (argc < 2)
        return 2;
    while (fgets(request, sizeof(request), stdin))
        run(argv + 1);
    return 0;
}
