/* winograd: convolutions 3x3 with stride 1 and padding 1, forward and backward, by Winograd's
 * minimal filtering F(4x4, 3x3), arXiv 1509.09308: 36 products where the sum over taps takes 144.
 * Maps are float32 or bf16; all between them is float32.
 *
 * A map is cut into tiles of 4x4 outputs, which depend on 6x6 inputs each. Maps of any height and
 * width and any numbers of channels are right in all passes; winograd_pays() says where they are
 * faster than the sum over taps. Maps are NHWC.
 *
 * An image's result never depends on the images beside it, and nothing depends on the number of
 * threads. The largest error, relative to the largest value, grows from 2e-6 at 64 channels to 4e-6
 * at 512; that of the weights' gradient is 1e-6 (measured against float64; winograd.c). Values are
 * rounded to maps of bf16 after that.
 *
 * p is always a product of floats, the same one for packing and use. */
#ifndef WINOGRAD_H
#define WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"
#include "engine/workspace.h"

/* x (images, h, w, c) and y (images, h, w, o); each grain holds images / grains images. With bf16
 * they and their gradients are bf16, and weights are rounded to bf16 when they are packed. */
struct winograd_shape {
    int64_t images, h, w, c, o;
    int64_t grains;
    bool bf16;
};

/* All three passes are faster than sums over taps. */
bool winograd_pays(const struct winograd_shape *s);

/* Tiles of the whole batch. */
int64_t winograd_tiles(const struct winograd_shape *s);

/* Weights, transformed, for either direction: 64-byte aligned memory. */
size_t winograd_packed_bytes(const struct gemm_kernel *p, const struct winograd_shape *s);

/* What all three passes need of a workspace, a thread. */
size_t winograd_work_bytes(const struct gemm_kernel *p, const struct winograd_shape *s);

/* weight (o, c, 3, 3). What winograd_pack_backward() packs makes winograd_forward() compute the
 * gradient of x from that of y: its shape is then s with c and o exchanged. */
void winograd_pack_forward(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const float *weight, float *packed, int threads);
void winograd_pack_backward(const struct gemm_kernel *p, const struct winograd_shape *s,
                            const float *weight, float *packed, int threads);

/* Rows of sums that winograd_forward() writes, the same number for each grain. */
int64_t winograd_sum_rows(const struct winograd_shape *s);

/* y = x * weights, or with add, y += it. sums, unless NULL: winograd_sum_rows() rows of (2, o), the
 * sums of y and of y^2, as they were before rounding to bf16, over a part of a grain. Grain g's
 * rows are neighbours, and come before those of grain g + 1; what a row covers depends on the shape
 * alone. */
void winograd_forward(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                      const float *packed, void *y, double *sums, bool add,
                      const struct workspace *work);

/* partials (grains, o, ky, kx, c): each grain's gradient of the weights. */
void winograd_backward_weights(const struct gemm_kernel *p, const struct winograd_shape *s,
                               const void *x, const void *dy, float *partials,
                               const struct workspace *work);

#endif
