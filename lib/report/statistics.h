/* statistics: the range, the mean and the number of invalid values of a tensor. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"

/* The statistics of a tensor. */
struct statistics {
    size_t count; /* number of elements */
    size_t nan;   /* number that are NaN */
    size_t inf;   /* number that are infinite, of either sign */
    bool integer; /* the dtype is U8, I32 or I64: int_min and int_max are set, else min and max */
    int64_t int_min, int_max;
    double min, max; /* over the finite elements; NaN if there are none */
    double mean;     /* over the finite elements, summed in float64; NaN if there are none */
};

/* Computes the statistics of a tensor of any dtype in one pass. All but the mean are exact. */
struct statistics statistics_of(const struct tensor *t);

#endif
