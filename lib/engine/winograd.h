/* winograd: convolutions 3x3 with stride 1 and padding 1, and the gradient of their input, by
 * Winograd's minimal filtering F(4x4, 3x3), arXiv 1509.09308, which needs 36 products where the sum
 * over taps needs 144. winograd_gradient.h has the gradient of the weights. Feature maps are NHWC,
 * in float32 or bf16; all values between them are float32.
 *
 * A map is divided into tiles of 4x4 outputs, each of which depends on 6x6 inputs. All passes
 * accept maps of any height and width and any number of channels; winograd_pays() returns whether
 * they are faster than the sum over taps.
 *
 * An image's result never depends on the images beside it, and nothing depends on the number of
 * threads. The largest error, relative to the largest value, grows from 2e-6 at 64 channels to 4e-6
 * at 512; that of the weights' gradient is 1e-6 (measured against float64; winograd_transform.c).
 * With bf16, rounding to the map's type adds to this error.
 *
 * p is always a kernel of floats, and the same one for packing and use. It may have any shape that
 * gemm_kernel.h allows; the transforms are slower if its columns are not a multiple of 16. */
#ifndef WINOGRAD_H
#define WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"
#include "engine/workspace.h"

/* The sizes of x (images, h, w, c) and y (images, h, w, o). Each grain holds images / grains
 * images. With bf16, x, y and their gradients are bf16, and weights are rounded to bf16 before
 * they are transformed. */
struct winograd_shape {
    int64_t images, h, w, c, o;
    int64_t grains;
    bool bf16;
};

/* Returns true if all three passes are faster than sums over taps. */
bool winograd_pays(const struct winograd_shape *s);

/* Returns the number of tiles of the whole batch. */
int64_t winograd_tiles(const struct winograd_shape *s);

/* Returns the bytes of packed weights, for either direction. Their memory is 64-byte aligned. */
size_t winograd_packed_bytes(const struct gemm_kernel *p, const struct winograd_shape *s);

/* Returns the bytes of a thread's workspace that are enough for winograd_forward() in either
 * direction. */
size_t winograd_work_bytes(const struct gemm_kernel *p, const struct winograd_shape *s,
                           int threads);

/* Pack the weights (o, c, 3, 3). With the result of winograd_pack_backward(), winograd_forward()
 * computes the gradient of x from that of y; its shape is then s with c and o exchanged. With `once`
 * they are used for s alone, and `weight` stays as it is until then; else for all shapes that differ
 * from s only in images and grains. */
void winograd_pack_forward(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const float *weight, bool once, void *packed, int threads);
void winograd_pack_backward(const struct gemm_kernel *p, const struct winograd_shape *s,
                            const float *weight, bool once, void *packed, int threads);

/* Returns the rows of sums that winograd_forward() writes, the same number for each grain. */
int64_t winograd_sum_rows(const struct winograd_shape *s);

/* Computes y = x * weights, or with `add`, adds that to y. Unless sums is NULL, it receives
 * winograd_sum_rows() rows of (2, o): the sums of y and of y^2 over a part of a grain, taken before
 * rounding to bf16 and, with `add`, after the addition. The rows of grain g are neighbours, and
 * come before those of grain g + 1. Which part a row covers depends on the shape alone. */
void winograd_forward(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                      const void *packed, void *y, double *sums, bool add,
                      const struct workspace *work);

#endif
