/* clock: time in seconds since an arbitrary fixed point. This clock never runs backwards. */
#ifndef CLOCK_H
#define CLOCK_H

#include <time.h>

static inline double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
