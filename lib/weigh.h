/* weigh: weighted sums of rows, which the passes of separable filters are made of. */
#ifndef WEIGH_H
#define WEIGH_H

#include <stddef.h>

/* out[x] = sum over k < count of weights[k] * in[k * stride + x], for x < n, at least 1; added in
 * the order of k. A stride of 1 makes it a correlation along a row. */
void weigh(float *restrict out, size_t n, const float *restrict weights, int count,
           const float *restrict in, size_t stride);

#endif
