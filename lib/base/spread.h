/* spread: how far apart rows of features lie, and how far apart the views of an image. These two
 * show whether an encoder learns or collapses (docs/evaluation.md, "Is it learning?").
 *
 * Both are of directions: u = z / max(|z|, 1e-12), whatever a loss compares. */
#ifndef SPREAD_H
#define SPREAD_H

#include <stdint.h>

struct spread {
    /* sqrt(d) times the mean over the d columns of the standard deviation of u over the n rows,
     * with 1/n: sqrt(1/n sum_i (u_ik - mean_k)^2). It is at most 1, which it reaches if the mean of
     * the rows is 0 and each column varies as much as any other, and 0 if all rows have one
     * direction. */
    double z_std;
    /* The mean of |u_a - u_b|^2 over the pairs of views a, b of an image and over the images: from
     * 0, if an image's views have one direction, to 4. With two views it is the mean over rows i of
     * |u_i - u_p(i)|^2, where p(i) is the other view. NAN with one view. */
    double alignment;
};

/* Measures the rows z (n, d), of which each `views` adjacent ones are the views of an image; n is a
 * multiple of views, and both are at least 1. Sums are in float64 and one order, so the result has
 * the same bits on any number of threads. Takes O(n + d) memory. Returns 0, or -1 with a message if
 * memory is out. */
int spread_measure(const float *z, int64_t n, int64_t d, int64_t views, struct spread *out);

#endif
