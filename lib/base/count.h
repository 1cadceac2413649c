/* count: arithmetic on sizes. Numbers must be at least 0, divisors at least 1. */
#ifndef COUNT_H
#define COUNT_H

#include <stdint.h>

/* Returns n / by, rounded up. */
static inline int64_t count_divide_up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

/* Returns the smallest multiple of `to` that is at least n. */
static inline int64_t count_round_up(int64_t n, int64_t to)
{
    return count_divide_up(n, to) * to;
}

static inline int64_t count_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
