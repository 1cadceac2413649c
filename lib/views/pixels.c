#include "views/pixels.h"

#include <string.h>

#include "base/multiversion.h"

/* `width` is a constant of at most WIDEST wherever this is inlined, so that the sums stay in
 * registers. There are enough sums to hide the latency of an addition. */
enum { WIDEST = 64 };

static inline __attribute__((always_inline)) void sum_columns(float *restrict out, size_t width,
                                                              const float *restrict weights,
                                                              int count, const float *restrict in,
                                                              size_t stride)
{
    float sums[WIDEST] = {0};
    for (int k = 0; k < count; k++, in += stride)
        for (size_t x = 0; x < width; x++)
            sums[x] += weights[k] * in[x];
    memcpy(out, sums, width * sizeof *out);
}

/* Computes the sum in blocks of `width` columns. n is at least `width`; if it is not a multiple,
 * the last block overlaps the one before. */
static inline __attribute__((always_inline)) void sum_by(size_t width, float *restrict out,
                                                         size_t n, const float *restrict weights,
                                                         int count, const float *restrict in,
                                                         size_t stride)
{
    for (size_t x = 0; x + width < n; x += width)
        sum_columns(out + x, width, weights, count, in + x, stride);
    sum_columns(out + n - width, width, weights, count, in + n - width, stride);
}

MULTIVERSION
void pixels_weighted_sum(float *restrict out, size_t n, const float *restrict weights, int count,
                         const float *restrict in, size_t stride)
{
    if (n >= WIDEST)
        sum_by(WIDEST, out, n, weights, count, in, stride);
    else if (n >= 16)
        sum_by(16, out, n, weights, count, in, stride);
    else
        sum_by(1, out, n, weights, count, in, stride);
}

MULTIVERSION
static void to_bytes(const float *restrict rgb, size_t n, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            out[3 * i + c] = (uint8_t)(int)(rgb[c * n + i] * 255 + 0.5f);
}

void pixels_to_bytes(const float *rgb, size_t n, uint8_t *out)
{
    to_bytes(rgb, n, out);
}

void pixels_interleave(const float *planes, size_t n, int channels, float *out)
{
    const size_t step = (size_t)channels;
    for (size_t c = 0; c < step; c++)
        for (size_t i = 0; i < n; i++)
            out[i * step + c] = planes[c * n + i];
}
