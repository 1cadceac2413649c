/* conv: convolutions over NHWC maps, forward and backward, by block products (gemm_kernel.h).
 *
 * Maps are floats or bf16, weights and their gradients floats in torchvision's layout
 * [o][c][kernel][kernel], or [o][c][kernel] where the kernel is a row. Work is cut into strips,
 * some rows of output for some images of one grain, whose input is laid out in a panel (panel.h);
 * threads take strips, and blocks of output channels where there are few strips. What an image
 * gives depends neither on the images beside it nor on the number of threads. Nothing is allocated:
 * memory is asked for beforehand. */
#ifndef CONV_H
#define CONV_H

#include "engine/panel.h"
#include "engine/shapes.h"
#include "engine/workspace.h"

/* Bytes of packed weights, for one pass; bytes of work->bytes that the three passes need. */
size_t conv_packed_bytes(const struct precision *v, const struct conv_shape *s);
size_t conv_work_bytes(const struct precision *v, const struct conv_shape *s, int threads);

/* Packs weights for conv_forward and for conv_backward_data: again after each change. */
void conv_pack_forward(const struct precision *v, const struct conv_shape *s, const float *weight,
                       void *packed, int threads);
void conv_pack_backward(const struct precision *v, const struct conv_shape *s, const float *weight,
                        void *packed, int threads);

/* y (images,oh,ow,o) = x (images,h,w,c) * weights. Unless sums is NULL, row i of it, (2, o), gets
 * part i's sums of y and of y^2, as they were before rounding to y's type: for each grain in order
 * conv_sum_rows() / grains rows, to be added in their order. */
int64_t conv_sum_rows(const struct precision *v, const struct conv_shape *s);
void conv_forward(const struct precision *v, const struct conv_shape *s, const void *x,
                  const void *packed, void *y, double *sums, const struct workspace *work);

/* dx = the gradient of x given dy; with add, dx += it. */
void conv_backward_data(const struct precision *v, const struct conv_shape *s, const void *dy,
                        const void *packed, void *dx, bool add, const struct workspace *work);

/* grad (o,c,rows,kernel): the gradient of the weights, summed over grains as grains.h says.
 * partials: conv_partial_bytes bytes, 64-byte aligned. */
size_t conv_partial_bytes(const struct precision *v, const struct conv_shape *s);
void conv_backward_weights(const struct precision *v, const struct conv_shape *s, const void *x,
                           const void *dy, void *partials, float *grad,
                           const struct workspace *work);

#endif
