/* counts: what sizes are computed with. All are of numbers >= 0, by > 0. */
#ifndef COUNTS_H
#define COUNTS_H

#include <stdint.h>

static inline int64_t divide_up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

static inline int64_t round_up(int64_t n, int64_t to)
{
    return divide_up(n, to) * to;
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
