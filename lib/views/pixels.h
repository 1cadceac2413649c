/* pixels: arithmetic that several operations on images share. */
#ifndef PIXELS_H
#define PIXELS_H

#include <stddef.h>
#include <stdint.h>

/* The nearest value of [0,1]: pixels stay there. */
static inline float pixels_clamp(float x)
{
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}

/* The grey of a pixel, as torchvision weights it. */
static inline float pixels_gray(float r, float g, float b)
{
    return 0.2989f * r + 0.587f * g + 0.114f * b;
}

/* out[x] = sum over k < count of weights[k] * in[k * stride + x], for x < n, n at least 1; added in
 * the order of k. With a stride of 1 this is a correlation along a row, with the length of a row one
 * along a column: the two passes of a separable filter. */
void pixels_weighted_sum(float *restrict out, size_t n, const float *restrict weights, int count,
                         const float *restrict in, size_t stride);

/* rgb F32 (3,n) in [0,1] -> out U8 (n,3): 255 times the value, rounded to the nearest, halves up. */
void pixels_to_bytes(const float *rgb, size_t n, uint8_t *out);

#endif
