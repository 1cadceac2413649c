/* count: arithmetic on sizes. Numbers are >= 0, divisors > 0. */
#ifndef COUNT_H
#define COUNT_H

#include <stdint.h>

/* n / by, rounded up. */
static inline int64_t count_divide_up(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

/* The smallest multiple of `to` that is not below n. */
static inline int64_t count_round_up(int64_t n, int64_t to)
{
    return count_divide_up(n, to) * to;
}

static inline int64_t count_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
