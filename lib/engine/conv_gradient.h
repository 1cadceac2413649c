/* conv_gradient: the gradient of a convolution's weights, by block products (conv.h). */
#ifndef CONV_GRADIENT_H
#define CONV_GRADIENT_H

#include <stddef.h>

#include "engine/precision.h"
#include "engine/shapes.h"
#include "engine/workspace.h"

/* Return the bytes of a thread's workspace, and the bytes of the 64-byte aligned memory that the
 * threads share. */
size_t conv_gradient_work_bytes(const struct precision *v, const struct conv_shape *s, int threads);
size_t conv_gradient_shared_bytes(const struct precision *v, const struct conv_shape *s,
                                  int threads);

/* Computes grad (o,c,rows,kernel) from x (images,h,w,c) and dy (images,oh,ow,o). Inside each grain
 * the order of the sum depends on the shape alone; over grains it is that of grains.h. */
void conv_gradient_of_weights(const struct precision *v, const struct conv_shape *s, const void *x,
                              const void *dy, void *shared, float *grad,
                              const struct workspace *work);

#endif
