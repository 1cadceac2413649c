/* winograd_gradient: the gradient of the weights of a convolution 3x3 by Winograd's F(3x3, 4x4). Each
 * of the 36 positions of a tile is a product of its own, a sum over the tiles of a grain. winograd.h
 * has the shapes, the kernels and the errors. */
#ifndef WINOGRAD_GRADIENT_H
#define WINOGRAD_GRADIENT_H

#include "engine/winograd.h"

/* Return the bytes of a thread's workspace, and of the memory that the threads share. */
size_t winograd_gradient_work_bytes(const struct gemm_kernel *p, const struct winograd_shape *s);
size_t winograd_gradient_shared_bytes(const struct gemm_kernel *p, const struct winograd_shape *s);

/* Computes grad (o, c, 3, 3) from x (images, h, w, c) and dy (images, h, w, o), summed over grains in
 * the order that grains.h describes. `shared` is 64-byte aligned; its contents are overwritten. */
void winograd_gradient(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                       const void *dy, void *shared, float *grad, const struct workspace *work);

#endif
