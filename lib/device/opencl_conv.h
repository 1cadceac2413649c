/* opencl_conv: convolutions on a device, as sums over the window, or by Winograd's transform
 * (arXiv 1509.09308) where that moves less than it saves. Operands are as in engine/engine.h. */
#ifndef OPENCL_CONV_H
#define OPENCL_CONV_H

#include <stdbool.h>

#include "device/opencl_queue.h"
#include "engine/shapes.h"

/* Return what the functions of engine.h with these names return; SIZE_MAX if a map or the weights
 * have 2^31 values or more, which the kernels cannot number. */
size_t opencl_conv_packed_bytes(const struct conv_shape *s);
size_t opencl_conv_work_bytes(const struct conv_shape *s);
size_t opencl_conv_partial_bytes(const struct conv_shape *s);

/* Returns the rows of pairs of floats (2, o) that opencl_conv_forward() writes for each grain. */
int opencl_conv_grain_rows(const struct conv_shape *s);

/* Packs weights, which are at a place of the device, for the forward pass or the backward one. */
void opencl_conv_pack(struct opencl_queue *q, const struct conv_shape *s,
                      struct opencl_place weight, bool backward, struct opencl_place packed);

/* Computes y. Unless sums has no memory, its rows become the sums of y and of y^2 over parts of each
 * grain (opencl_conv_grain_rows). work has opencl_conv_work_bytes() bytes. */
void opencl_conv_forward(struct opencl_queue *q, const struct conv_shape *s, struct opencl_place x,
                         struct opencl_place packed, struct opencl_place y,
                         struct opencl_place sums, struct opencl_place work);

/* Sets dx, or adds to it. */
void opencl_conv_backward_data(struct opencl_queue *q, const struct conv_shape *s,
                               struct opencl_place dy, struct opencl_place packed,
                               struct opencl_place dx, bool add, struct opencl_place work);

/* Sets the first o * c * window floats of partials to the gradient of the weights. */
void opencl_conv_backward_weights(struct opencl_queue *q, const struct conv_shape *s,
                                  struct opencl_place x, struct opencl_place dy,
                                  struct opencl_place partials);

#endif
