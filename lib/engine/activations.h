/* activations: what a network does to feature maps besides convolving them.
 *
 * These operations are batch normalization (arXiv 1502.03167), pooling, selective kernels, and
 * conversion into and out of maps. There is one set of functions for each type of activation. Maps
 * are NHWC without gaps, in the set's own type (`element` bytes a value) and best aligned to 64
 * bytes. Statistics, coefficients and sums are float or double. Functions compute in float32 and
 * round once, where they write a map. Maps must not overlap unless a comment allows it.
 *
 * The limit is memory bandwidth, not arithmetic: each function reads and writes a map once.
 *
 * No function allocates. Results never depend on the number of threads, and an image's values never
 * depend on the images beside it. Sums over images come as one partial sum for each grain, in the
 * order of grains, and the caller adds them (grains.h). Each grain holds images / grains images. */
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/shapes.h"

struct activations {
    const char *name;
    size_t element; /* bytes of a value */

    /* Computes y = norm(x), plus the residual unless that is NULL. With `relu`, then sets values
     * below 0 to 0. y may be x or the residual. */
    void (*norm_forward)(const struct norm_shape *s, const void *x, const struct norm_channels *k,
                         const void *residual, bool relu, void *y, int threads);

    /* These compute the backward pass of y = relu(norm(x) + residual), given x, dy and, with a
     * residual, y. It has two halves, since the gradient of x needs sums over the batch. Write dy'
     * for the gradient before the ReLU: dy where y > 0, else 0.
     *
     * norm_partials() returns the number of rows that norm_backward_sums() needs in sums.
     * norm_backward_sums() sets row g of sums, (2,c) doubles, to grain g's sums of dy' and of dy'
     * (x - mean). There are three cases:
     *   A ReLU alone:          y is NULL and relu is true. The function computes from x where
     *                          y > 0, which is cheaper than reading y.
     *   A residual and a ReLU: y is that map and relu is false. The function replaces dy by dy',
     *                          which is the gradient of the residual and the dy of norm_backward().
     *   No ReLU:               y is NULL and relu is false; dy' = dy. */
    int64_t (*norm_partials)(const struct norm_shape *s);
    void (*norm_backward_sums)(const struct norm_shape *s, const void *x, const void *y, void *dy,
                               const struct norm_channels *k, bool relu, double *sums, int threads);
    /* Replaces x by its gradient dy' scale - constant - (x - mean) slope. relu has the meaning that
     * it has in norm_backward_sums(). */
    void (*norm_backward)(const struct norm_shape *s, void *x, const void *dy,
                          const struct norm_channels *k, bool relu, const float *constant,
                          const float *slope, int threads);

    /* Compute the maximum of each window, and the gradient. The gradient goes to the first pixel
     * that has the maximum; dx is overwritten. A NaN counts as the largest value, and -0 as less
     * than 0. */
    void (*max_pool)(const struct pool_shape *s, const void *x, void *y, int threads);
    void (*max_pool_backward)(const struct pool_shape *s, const void *x, const void *dy, void *dx,
                              int threads);

    /* Compute the average over all pixels and its gradient. The average (images, c) is the
     * network's result, so it is in floats in every set. */
    void (*average_pool)(const struct norm_shape *s, const void *x, float *y, int threads);
    void (*average_pool_backward)(const struct norm_shape *s, const float *dy, void *dx,
                                  int threads);

    /* Compute the mean of each 2x2 window and its gradient. Pixels beyond the lower and right edge
     * are zeros and are included in the mean. kernel is 2, padding is 0, oh = (h - 1) / stride + 1,
     * and ow likewise. */
    void (*mean_pool)(const struct pool_shape *s, const void *x, void *y, int threads);
    void (*mean_pool_backward)(const struct pool_shape *s, const void *dy, void *dx, int threads);

    /* Compute selective kernels (arXiv 1903.06586). c is the number of channels of a half; x has
     * two halves a and b, (images, pixels, 2c). The mean (images, c) is that of a + b over all
     * pixels. The mix (images, pixels, c) is u a + v b, with weights for each image and channel: u
     * = 1 / (1 + exp(q - p)) and v = 1 / (1 + exp(p - q)), where p and q are the halves of logits
     * (images, 2c). halves_mix_backward() writes dx and dlogits (shaped as logits);
     * halves_mean_backward() adds to dx. */
    void (*halves_mean)(const struct norm_shape *s, const void *x, void *y, int threads);
    void (*halves_mean_backward)(const struct norm_shape *s, const void *dy, void *dx, int threads);
    void (*halves_mix)(const struct norm_shape *s, const void *x, const void *logits, void *y,
                       int threads);
    void (*halves_mix_backward)(const struct norm_shape *s, const void *x, const void *logits,
                                const void *dy, void *dx, void *dlogits, int threads);

    /* load_bytes() sets y, n pixels of c channels (at most 4), to (x/255 - mean) / std, with the
     * mean and std (c) of each value's channel. load_floats() and store_floats() convert n
     * values. */
    void (*load_bytes)(const uint8_t *x, int64_t n, int64_t c, const float *mean, const float *std,
                       void *y, int threads);
    void (*load_floats)(const float *x, int64_t n, void *y, int threads);
    void (*store_floats)(const void *x, int64_t n, float *y, int threads);
};

extern const struct activations activations_fp32; /* for maps of float32 */
extern const struct activations activations_bf16; /* for maps of bf16 (base/half.h) */

#endif
