/* conv_pack: copies the weights of one pass of a convolution (conv_pass.h) into the order and the
 * type that block products read. */
#ifndef CONV_PACK_H
#define CONV_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "engine/conv_pass.h"

enum { CONV_PACK_KERNEL = 11 }; /* the largest width of a convolution's kernel */

/* Returns the bytes of a pass's packed weights, a multiple of 64. */
size_t conv_pack_bytes(const struct conv_pass *p);

/* Pack the weights (o, c, rows, kernel) of the forward pass, and of phase (py, px) of the backward
 * pass; `p` describes that pass or phase. packed is 64-byte aligned. */
void conv_pack_pass_forward(const struct conv_pass *p, const struct conv_shape *s,
                            const float *weight, char *packed, int threads);
void conv_pack_pass_backward(const struct conv_pass *p, const struct conv_shape *s, int64_t py,
                             int64_t px, const float *weight, char *packed, int threads);

#endif
