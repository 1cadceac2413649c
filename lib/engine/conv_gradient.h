/* conv_gradient: the gradient of a convolution's weights, by block products (conv.h). */
#ifndef CONV_GRADIENT_H
#define CONV_GRADIENT_H

#include "engine/panel.h"
#include "engine/shapes.h"
#include "engine/workspace.h"

/* Bytes of a thread's workspace, and of memory that the threads share (64-byte aligned). */
size_t gradient_work_bytes(const struct precision *v, const struct conv_shape *s, int threads);
size_t gradient_shared_bytes(const struct precision *v, const struct conv_shape *s);

/* grad (o,c,kernel,kernel), given x (images,h,w,c) and dy (images,oh,ow,o): summed inside each
 * grain in an order that depends on the shape alone, and over grains as grains.h says. */
void gradient_of_weights(const struct precision *v, const struct conv_shape *s, const void *x,
                         const void *dy, void *shared, float *grad, const struct workspace *work);

#endif
