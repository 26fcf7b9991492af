/* What an empty crossing from Go to C calls. */
void bench_empty(void);
