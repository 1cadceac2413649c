/* conv: convolutions over NHWC feature maps, forward and backward, by block products
 * (gemm_kernel.h).
 *
 * Maps are floats or bf16, 64-byte aligned; weights and their gradients are floats in torchvision's
 * layout [o][c][kernel][kernel], or [o][c][kernel] where the kernel is a row. The work is divided
 * into tiles, each of which is some rows of output for some images of one grain (row_tiles.h). A
 * tile's input is copied into a panel (panel.h). Threads take tiles or, where there are few tiles,
 * blocks of output channels of a tile. The result for an image depends neither on the images beside
 * it nor on the number of threads. No function allocates: the caller asks how much memory is needed
 * and provides it.
 *
 * Any kernel that keeps the contract of gemm_kernel.h can be used. */
#ifndef CONV_H
#define CONV_H

#include "engine/precision.h"
#include "engine/shapes.h"
#include "engine/workspace.h"

/* Returns 0 if convolutions of this precision can be computed. Returns -1 with a message if the
 * kernel breaks its contract or multiplies values of another type. Call it before all other
 * functions. */
int conv_check(const struct precision *v);

/* Return the bytes of the packed weights of one pass (64-byte aligned memory), and the bytes of a
 * thread's workspace that are enough for each of the three passes. */
size_t conv_packed_bytes(const struct precision *v, const struct conv_shape *s);
size_t conv_work_bytes(const struct precision *v, const struct conv_shape *s, int threads);

/* Pack the weights (o, c, rows, kernel) for conv_forward() and for conv_backward_data(). They must
 * be packed again after each change. With `once` the weights of conv_pack_forward() are used for s
 * alone, and `weight` stays as it is until then; else for all shapes that differ from s only in
 * images and grains. Those of conv_pack_backward() are always packed `once`. */
void conv_pack_forward(const struct precision *v, const struct conv_shape *s, const float *weight,
                       bool once, void *packed, int threads);
void conv_pack_backward(const struct precision *v, const struct conv_shape *s, const float *weight,
                        void *packed, int threads);

/* Returns the rows of sums that conv_forward() writes, the same number for each grain. */
int64_t conv_sum_rows(const struct precision *v, const struct conv_shape *s);

/* Computes y (images,oh,ow,o) = x (images,h,w,c) * weights. Unless sums is NULL, its row i, (2,o),
 * receives part i's sums of y and of y^2, taken before rounding to y's type. The rows of grain g
 * are neighbours and come before those of grain g + 1. Add them in their order. */
void conv_forward(const struct precision *v, const struct conv_shape *s, const void *x,
                  const void *packed, void *y, double *sums, const struct workspace *work);

/* Computes the gradient of x from that of y, and writes it to dx, or adds it with `add`. */
void conv_backward_data(const struct precision *v, const struct conv_shape *s, const void *dy,
                        const void *packed, void *dx, bool add, const struct workspace *work);

/* Returns the bytes of conv_backward_weights()'s partials, which depend on the number of threads. */
size_t conv_partial_bytes(const struct precision *v, const struct conv_shape *s, int threads);

/* Computes grad (o,c,rows,kernel), the gradient of the weights, summed over grains in the order
 * that grains.h describes. partials is 64-byte aligned memory that the threads share; its contents
 * are overwritten. */
void conv_backward_weights(const struct precision *v, const struct conv_shape *s, const void *x,
                           const void *dy, void *partials, float *grad,
                           const struct workspace *work);

#endif
