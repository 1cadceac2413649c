#include "base/squares.h"

#include "base/multiversion.h"

/* Each lane has a partial sum, which fixes the order and lets the compiler vectorize the loop. */
enum { LANES = 16 };

MULTIVERSION double squares_sum(const float *x, size_t n)
{
    double lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lanes[k] += (double)x[i + k] * (double)x[i + k];
    for (size_t k = 0; i < n; i++, k++)
        lanes[k] += (double)x[i] * (double)x[i];
    for (size_t k = 0; k < LANES; k++)
        sum += lanes[k];
    return sum;
}
