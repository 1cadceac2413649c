/* statistics: what a person wants to know of a tensor at a glance. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"

struct statistics {
    size_t count; /* elements */
    size_t nan;   /* exact, as are inf, min and max */
    size_t inf;   /* of either sign */
    bool integer; /* U8, I32, I64: int_min and int_max hold, else min and max */
    int64_t int_min, int_max;
    double min, max; /* over the finite elements; NaN if there are none */
    double mean;     /* over the finite elements, summed in float64; NaN if there are none */
};

/* One pass over the tensor; every dtype. */
struct statistics statistics_of(const struct tensor *t);

#endif
