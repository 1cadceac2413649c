/* weighted_sum: weighted sums of rows, which the passes of separable filters are made of. */
#ifndef WEIGHTED_SUM_H
#define WEIGHTED_SUM_H

#include <stddef.h>

/* out[x] = sum over k < count of weights[k] * in[k * stride + x], for x < n, at least 1; added in
 * the order of k. A stride of 1 makes it a correlation along a row. */
void weighted_sum(float *restrict out, size_t n, const float *restrict weights, int count,
                  const float *restrict in, size_t stride);

#endif
