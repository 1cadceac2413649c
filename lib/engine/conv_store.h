/* conv_store: copies blocks of products (gemm_kernel.h) from a kernel's output into a feature map,
 * and computes the sums that batch normalization needs. */
#ifndef CONV_STORE_H
#define CONV_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/precision.h"

/* Stores `rows` rows and the first n columns of c, whose rows have the kernel's columns and are
 * 64-byte aligned where these are a multiple of 16. Row r is written to map y from value place[r]
 * on, or with `add` is added to it. Unless sums is NULL, adds to it, (2, columns of the kernel),
 * each of the n columns' sum of values and of squares, taken before rounding to the map's type and
 * before the addition. */
void conv_store(const struct precision *v, const float *c, int64_t rows, int64_t n,
                const int64_t *place, bool add, void *y, double *sums);

#endif
