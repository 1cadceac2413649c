/* engine: the kernels that a network is executed with.
 *
 * An engine knows shapes and memory, and nothing of networks, frames or links; network.c calls it
 * operation by operation. Activations are NHWC, in the engine's own element type (`element` bytes
 * each); parameters, statistics and gradients of parameters are float or double in the layouts
 * given here. Engines allocate nothing: memory that a kernel needs is asked for beforehand.
 *
 * Sums over images come as one partial sum a grain, in grain order, and are added outside
 * (grains.h), so that they can also be added across machines. Each grain holds images / grains
 * images. Results never depend on the number of threads; in evaluation mode an image's result
 * never depends on the images beside it. */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conv_shape {
    int64_t images, h, w, c; /* input */
    int64_t oh, ow, o;       /* output */
    int64_t kernel, stride, padding;
    int64_t grains;
    bool apart; /* evaluation: each image by itself */
};

/* A map of `pixels` positions an image, in and out. */
struct norm_shape {
    int64_t images, pixels, c;
    int64_t grains;
};

struct pool_shape {
    int64_t images, h, w, c, oh, ow;
    int64_t kernel, stride, padding;
};

/* Memory that kernels may write over: `bytes` for each of the threads, 64-byte aligned. */
struct workspace {
    unsigned char *memory;
    size_t bytes;
    int threads;
};

struct engine {
    const char *name;
    size_t element; /* bytes of an activation */

    /* Convolution. Weights come as [o][c][kernel][kernel], and are packed once after each change
     * into a layout of the engine's (packed_bytes of it), one for the forward pass and one for
     * the backward one. work_bytes: what all three need of a workspace, a thread. */
    size_t (*conv_packed_bytes)(const struct conv_shape *s);
    size_t (*conv_work_bytes)(const struct conv_shape *s);
    void (*conv_pack_forward)(const struct conv_shape *s, const float *weight, void *packed,
                              int threads);
    void (*conv_pack_backward)(const struct conv_shape *s, const float *weight, void *packed,
                               int threads);
    /* y (images,oh,ow,o) = x (images,h,w,c) * weights */
    void (*conv_forward)(const struct conv_shape *s, const void *x, const void *packed, void *y,
                         const struct workspace *work);
    /* dx = gradient of x given dy; with add, dx += it. packed: by conv_pack_backward. */
    void (*conv_backward_data)(const struct conv_shape *s, const void *dy, const void *packed,
                               void *dx, bool add, const struct workspace *work);
    /* partials (grains, o*c*kernel*kernel): each grain's gradient of the weights, in an order of
     * the engine's; conv_unpack_gradient brings their sum into the order of the weights. */
    void (*conv_backward_weights)(const struct conv_shape *s, const void *x, const void *dy,
                                  float *partials, const struct workspace *work);
    void (*conv_unpack_gradient)(const struct conv_shape *s, const float *sum, float *grad,
                                 int threads);

    /* Batch normalization, arXiv 1502.03167. sums: room for norm_partials rows of (2,c); on return
     * row g holds grain g's sum of x, and of x^2. */
    int64_t (*norm_partials)(const struct norm_shape *s);
    void (*norm_sums)(const struct norm_shape *s, const void *x, double *sums, int threads);
    /* y = (x - mean) * scale + bias [+ residual, unless NULL] [, ReLU]. y may be x. */
    void (*norm_forward)(const struct norm_shape *s, const void *x, const float *mean,
                         const float *scale, const float *bias, const void *residual, bool relu,
                         void *y, int threads);
    /* dy' = dy where y > 0, else 0 (y NULL: no ReLU, dy' = dy). Row g of sums: grain g's sum of
     * dy', and of dy' (x - mean). */
    void (*norm_backward_sums)(const struct norm_shape *s, const void *x, const void *y,
                               const void *dy, const float *mean, double *sums, int threads);
    /* Replaces x by its gradient dy' * scale - constant - (x - mean) * slope; with keep, also
     * replaces dy by dy', the gradient of the residual. */
    void (*norm_backward)(const struct norm_shape *s, void *x, const void *y, void *dy,
                          const float *mean, const float *scale, const float *constant,
                          const float *slope, bool keep, int threads);

    /* Pooling. The gradient of a maximum goes to the first pixel that has it. */
    void (*max_pool)(const struct pool_shape *s, const void *x, void *y, int threads);
    void (*max_pool_backward)(const struct pool_shape *s, const void *x, const void *dy, void *dx,
                              int threads);
    void (*average_pool)(const struct norm_shape *s, const void *x, void *y, int threads);
    void (*average_pool_backward)(const struct norm_shape *s, const void *dy, void *dx,
                                  int threads);

    /* Values in and out: n pixels of c channels; bytes are taken as (x/255 - mean) / deviation
     * of their channel. */
    void (*load_bytes)(const uint8_t *x, int64_t n, int64_t c, const float *mean,
                       const float *deviation, void *y, int threads);
    void (*load_floats)(const float *x, int64_t n, void *y, int threads);
    void (*store_floats)(const void *x, int64_t n, float *y, int threads);
};

/* float32 on OpenBLAS's sgemm, from inside OpenMP threads. */
extern const struct engine engine_fp32;

#endif
