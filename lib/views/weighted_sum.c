#include "views/weighted_sum.h"

#include <string.h>

#include "base/multiversion.h"

/* `width` is a constant up to WIDEST wherever this is inlined, so that the sums stay in registers:
 * as many as hide the latency of an addition. */
enum { WIDEST = 64 };

static inline __attribute__((always_inline)) void weigh_columns(float *restrict out, size_t width,
                                                                const float *restrict weights,
                                                                int count, const float *restrict in,
                                                                size_t stride)
{
    float sums[WIDEST] = {0};
    for (int k = 0; k < count; k++, in += stride)
        for (size_t x = 0; x < width; x++)
            sums[x] += weights[k] * in[x];
    memcpy(out, sums, width * sizeof *out);
}

/* n is at least `width`; where that does not divide it, the last columns overlap those before. */
static inline __attribute__((always_inline)) void weigh_by(size_t width, float *restrict out,
                                                           size_t n, const float *restrict weights,
                                                           int count, const float *restrict in,
                                                           size_t stride)
{
    for (size_t x = 0; x + width < n; x += width)
        weigh_columns(out + x, width, weights, count, in + x, stride);
    weigh_columns(out + n - width, width, weights, count, in + n - width, stride);
}

MULTIVERSION
void weighted_sum(float *restrict out, size_t n, const float *restrict weights, int count,
                  const float *restrict in, size_t stride)
{
    if (n >= WIDEST)
        weigh_by(WIDEST, out, n, weights, count, in, stride);
    else if (n >= 16)
        weigh_by(16, out, n, weights, count, in, stride);
    else
        weigh_by(1, out, n, weights, count, in, stride);
}
