/* cross: the squares of all products of two different columns, and their gradient, which losses
 * that make dimensions independent of each other add up.
 *
 * With X and Y matrices (n, d), whose rows are images and whose columns have a mean of 0,
 *
 *     S = sum over j != k of (X'Y)_jk^2
 *
 *     dS/dX = 2 Y off(X'Y)'       dS/dY = 2 X off(X'Y)
 *
 * where off() sets the diagonal to 0; with Y = X, dS/dX is the sum of both. There are two ways to
 * the same numbers. With few columns, d < 2n, X'Y is computed as it stands. With many, its d^2
 * elements are never computed: since
 *
 *     sum over j, k of (X'Y)_jk^2 = sum over i, l of (XX')_il (YY')_il
 *
 * and Y (X'Y)' = (YY') X, products of n x n elements are enough. Memory is O(n d) either way.
 *
 * The second way subtracts the squares of the diagonal from the sum of all. As the rank of X'Y is
 * at most n - 1, they are at most half of it for d >= 2n and columns of about the same length. If
 * they are more than three quarters, for columns of very different lengths, the first way is taken
 * after all, some columns at a time. The results never depend on the number of threads by a single
 * bit. */
#ifndef CROSS_H
#define CROSS_H

#include <stdbool.h>
#include <stdint.h>

#include "loss/loss_types.h"

/* A matrix (n, d) that is made from one view of each image: element (i, k) is
 * (z[2 i d + k] - z[k] - mean[k]) scale[k]. */
struct cross_view {
    const float *z;      /* the first image's row; the next is 2 d floats on */
    const double *mean;  /* (d) */
    const double *scale; /* (d); NULL: 1 */
    float *dz;           /* receives a gradient, in rows as those of z */
};

/* Computes S of X, views[0], and Y, views[1], or of X and X if n_views is 1. Writes Y off(X'Y)' to
 * the first dz and X off(X'Y) to the second: half of dS/dX and of dS/dY, and a quarter of dS/dX if Y
 * = X. diagonal (d) has the elements (X'Y)_jj. From `in` it reads n, d, threads and product. Returns
 * 0, or -1 with a message if memory is out or the kernel cannot be used. */
int cross_squares(const struct loss_input *in, const struct cross_view *views, int n_views,
                  const double *diagonal, double *squares);

#endif
