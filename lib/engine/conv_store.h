/* conv_store: copies blocks of products (gemm_kernel.h) from a kernel's output into a feature map,
 * and computes the sums that batch normalization needs. */
#ifndef CONV_STORE_H
#define CONV_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/precision.h"

/* Stores the first `rows` rows and n columns of the block c, which has the kernel's rows and
 * columns and is 64-byte aligned. Row r is written to map y from value place[r] on, or with `add`
 * is added to it. Unless sums is NULL, adds to it, (2, columns of the kernel), each column's sum of
 * values and of squares, taken before rounding to the map's type and before the addition. */
void conv_store(const struct precision *v, const float *c, int64_t rows, int64_t n,
                const int64_t *place, bool add, void *y, double *sums);

#endif
