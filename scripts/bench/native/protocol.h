/* The protocol with scripts/bench/bench.py: requests "REPEAT NUMBER" on standard input, answered
 * with a line of JSON, an array of nanoseconds that one call took, on average over NUMBER calls. */
#ifndef BENCH_PROTOCOL_H
#define BENCH_PROTOCOL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void *read_file(const char *prefix, const char *ending, size_t *size) {
    char path[4096];
    snprintf(path, sizeof(path), "%s%s", prefix, ending);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = aligned_alloc(128, (*size + 128) & ~(size_t)127);
    if (!data || fread(data, 1, *size, file) != *size)
        exit(1);
    data[*size] = '\0';
    fclose(file);
    return data;
}

/* Reads the next request; 0 when there is none. */
static inline int next_request(int *repeat, int *number) {
    char line[64];
    return fgets(line, sizeof(line), stdin) && sscanf(line, "%d %d", repeat, number) == 2;
}

static inline void answer(const double *times, int count) {
    putchar('[');
    for (int i = 0; i < count; i++)
        printf("%s%.1f", i ? "," : "", times[i]);
    puts("]");
    fflush(stdout);
}

/* Answers requests by calling run. */
static inline void serve(void (*run)(void)) {
    int repeat, number;
    puts("\"ready\"");
    fflush(stdout);
    while (next_request(&repeat, &number)) {
        double *times = malloc((size_t)repeat * sizeof(*times));
        for (int i = 0; i < number || i < 2; i++)
            run(); /* warms caches up, and wakes workers */
        for (int i = 0; i < repeat; i++) {
            int64_t start = now();
            for (int j = 0; j < number; j++)
                run();
            times[i] = (double)(now() - start) / number;
        }
        answer(times, repeat);
        free(times);
    }
}

#endif
