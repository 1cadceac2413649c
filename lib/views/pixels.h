/* pixels: arithmetic that several operations on images share. */
#ifndef PIXELS_H
#define PIXELS_H

#include <stddef.h>
#include <stdint.h>

/* Returns the nearest value in [0,1], which is the range of pixels. */
static inline float pixels_clamp(float x)
{
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}

/* Returns the grey of a pixel, with torchvision's weights. */
static inline float pixels_gray(float r, float g, float b)
{
    return 0.2989f * r + 0.587f * g + 0.114f * b;
}

/* Computes out[x] = sum over k < count of weights[k] * in[k * stride + x], for x < n with n at
 * least 1. The sum is in the order of k. With a stride of 1 this is a correlation along a row; with
 * the length of a row as the stride it is one along a column. These are the two passes of a
 * separable filter. */
void pixels_weighted_sum(float *restrict out, size_t n, const float *restrict weights, int count,
                         const float *restrict in, size_t stride);

/* Converts rgb F32 (3,n) in [0,1] to out U8 (n,3): 255 times the value, rounded to nearest, with
 * halves rounded up. */
void pixels_to_bytes(const float *rgb, size_t n, uint8_t *out);

/* Rearranges planes F32 (channels,n) to out F32 (n,channels). */
void pixels_interleave(const float *planes, size_t n, int channels, float *out);

#endif
