/* What benchmarks make of their measurements. */
#ifndef TVM_TEST_MEDIAN_H
#define TVM_TEST_MEDIAN_H

#include <stddef.h>

/* The median of count values, at least one: the upper one of two. Sorts them. */
double median(double *values, size_t count);

#endif
