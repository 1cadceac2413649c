/* activation_pools: pooling, forward and backward (activations.h). This file is a part of the
 * template activation_kernels.h, which defines the type ELEMENT. */
#ifndef ACTIVATION_POOLS_H
#define ACTIVATION_POOLS_H

#include <assert.h>
#include <string.h>

#include "base/count.h"
#include "base/multiversion.h"
#include "engine/activation_streams.h"
#include "engine/shapes.h"

enum {
    KERNEL = 3, /* largest height and width of a window */
    TAPS = KERNEL * KERNEL,
    STRIP_COLUMNS = 32, /* columns of a strip in max_pool_backward() */
    STRIP_CHANNELS = 64
};

/* ---- the maximum ---- */

static inline int64_t clamp(int64_t v, int64_t length)
{
    return v < 0 ? 0 : v < length ? v : length - 1;
}

/* The rows i and columns j of a window's pixels. Tap t is pixel (i[t / KERNEL], j[t % KERNEL]).
 * There are always TAPS taps. A tap outside the map or outside a smaller window repeats the nearest
 * pixel inside; the first maximum in reading order is the same with these taps as without them. */
struct pool_window {
    int64_t i[KERNEL], j[KERNEL];
};

static inline struct pool_window window_at(const struct pool_shape *s, int64_t a, int64_t b)
{
    struct pool_window at;
    for (int k = 0; k < KERNEL; k++) {
        const int64_t tap = k < s->kernel ? k : s->kernel - 1;
        at.i[k] = clamp(a * s->stride - s->padding + tap, s->h);
        at.j[k] = clamp(b * s->stride - s->padding + tap, s->w);
    }
    return at;
}

/* Writes one row of the output. It compares keys rather than values, so bf16 need not be widened
 * and NaNs need no special case. */
MULTIVERSION static void max_row(const struct pool_shape *s, const ELEMENT *x, int64_t a,
                                 ELEMENT *y)
{
    for (int64_t b = 0; b < s->ow; b++, y += s->c) {
        const struct pool_window at = window_at(s, a, b);
        const ELEMENT *from[TAPS];
        for (int t = 0; t < TAPS; t++)
            from[t] = x + (at.i[t / KERNEL] * s->w + at.j[t % KERNEL]) * s->c;
#pragma omp simd
        for (int64_t i = 0; i < s->c; i++) {
            KEY most = key_of(from[0][i]);
#pragma GCC unroll 8
            for (int t = 1; t < TAPS; t++) {
                const KEY v = key_of(from[t][i]);
                most = v > most ? v : most;
            }
            y[i] = value_of(most);
        }
    }
}

static void max_pool(const struct pool_shape *s, const void *x, void *y, int threads)
{
    assert(s->kernel <= KERNEL && s->padding < s->kernel);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * s->oh; r++)
        max_row(s, (const ELEMENT *)x + r / s->oh * s->h * s->w * s->c, r % s->oh,
                (ELEMENT *)y + r * s->ow * s->c);
}

/* The state of a backward pass over a strip of columns. The pass goes down the strip window by
 * window, and adds each window's gradient to float sums of its pixels. It writes a row of sums when
 * no further window reaches that row, so it keeps only the rows of one window: row i of the map is
 * row i % KERNEL here. The pass drops what windows at the strip's sides add to pixels outside the
 * strip; the neighbouring strips compute those. */
struct pool_strip {
    float sums[KERNEL][STRIP_COLUMNS + 2 * (KERNEL - 1)][STRIP_CHANNELS];
};

/* Adds dy to the sums of the first pixel that has the maximum, for n channels. There are two loops
 * because the compiler would turn the choice into branches in a single one. */
static inline void spread(const ELEMENT *const *x, const ELEMENT *dy, int64_t n, float *const *sums)
{
    int first[STRIP_CHANNELS];
    float d[STRIP_CHANNELS];
#pragma omp simd
    for (int64_t k = 0; k < n; k++) {
        KEY most = key_of(x[0][k]), found = 0;
#pragma GCC unroll 8
        for (int t = 1; t < TAPS; t++) {
            const KEY v = key_of(x[t][k]);
            found = v > most ? (KEY)t : found;
            most = v > most ? v : most;
        }
        first[k] = found;
        d[k] = WIDEN(dy[k]);
    }
    for (int t = 0; t < TAPS; t++) {
        float *sum = sums[t];
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            sum[k] += first[k] == t ? d[k] : 0;
    }
}

/* Writes n channels of `columns` pixels and clears their sums. */
static inline void write_row(const struct pool_shape *s, float (*sums)[STRIP_CHANNELS],
                             int64_t columns, int64_t n, bool large, ELEMENT *dx)
{
    for (int64_t j = 0; j < columns; j++, dx += s->c) {
        ELEMENT buffer[STRIP_CHANNELS];
        ELEMENT *to = large ? buffer : dx;
        float *sum = sums[KERNEL - 1 + j];
#pragma omp simd
        for (int64_t k = 0; k < n; k++) {
            to[k] = NARROW(sum[k]);
            sum[k] = 0;
        }
        if (large)
            stream(dx, buffer, n);
    }
}

/* Computes the gradient of a strip of an image from column j0 on, for n channels; x, dy and dx
 * point at the first of these. It searches for the maxima again instead of storing them in the
 * forward pass, because the input is stored in any case. */
MULTIVERSION static void max_strip_backward(const struct pool_shape *s, const ELEMENT *x,
                                            const ELEMENT *dy, int64_t j0, int64_t n, bool large,
                                            ELEMENT *dx)
{
    struct pool_strip strip = {0};
    const int64_t columns = s->w - j0 < STRIP_COLUMNS ? s->w - j0 : STRIP_COLUMNS;
    /* Find the windows that reach into the strip. */
    const int64_t before = j0 + s->padding - s->kernel;
    const int64_t last = (j0 + columns - 1 + s->padding) / s->stride;
    const int64_t b0 = before < 0 ? 0 : before / s->stride + 1;
    const int64_t b1 = last < s->ow ? last + 1 : s->ow;
    int64_t row = 0; /* the next row to write */
    for (int64_t a = 0; a < s->oh; a++) {
        for (; row < a * s->stride - s->padding; row++)
            write_row(s, strip.sums[row % KERNEL], columns, n, large,
                      dx + (row * s->w + j0) * s->c);
        for (int64_t b = b0; b < b1; b++) {
            const struct pool_window at = window_at(s, a, b);
            const ELEMENT *from[TAPS];
            float *sums[TAPS];
            for (int t = 0; t < TAPS; t++) {
                const int64_t i = at.i[t / KERNEL], j = at.j[t % KERNEL];
                from[t] = x + (i * s->w + j) * s->c;
                sums[t] = strip.sums[i % KERNEL][KERNEL - 1 + j - j0];
            }
            spread(from, dy + (a * s->ow + b) * s->c, n, sums);
        }
    }
    for (; row < s->h; row++)
        write_row(s, strip.sums[row % KERNEL], columns, n, large, dx + (row * s->w + j0) * s->c);
}

static void max_pool_backward(const struct pool_shape *s, const void *x, const void *dy, void *dx,
                              int threads)
{
    assert(s->kernel <= KERNEL && s->padding < s->kernel);
    const int64_t strips = (s->w + STRIP_COLUMNS - 1) / STRIP_COLUMNS, c = s->c;
    const bool large = bytes(s->images * s->h * s->w * c) >= STREAM;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * strips; r++) {
        const int64_t image = r / strips;
        const int64_t in = image * s->h * s->w * c, out = image * s->oh * s->ow * c;
        for (int64_t k = 0; k < c; k += STRIP_CHANNELS)
            max_strip_backward(s, (const ELEMENT *)x + in + k, (const ELEMENT *)dy + out + k,
                               r % strips * STRIP_COLUMNS, count_min(STRIP_CHANNELS, c - k), large,
                               (ELEMENT *)dx + in + k);
        stream_end();
    }
}

/* ---- the average over all pixels ---- */

MULTIVERSION static void add_pixels(const ELEMENT *restrict x, int64_t pixels, int64_t c,
                                    float *restrict y)
{
    memset(y, 0, (size_t)c * sizeof *y);
    for (int64_t p = 0; p < pixels; p++, x += c)
        for (int64_t i = 0; i < c; i++)
            y[i] += WIDEN(x[i]);
    for (int64_t i = 0; i < c; i++)
        y[i] /= (float)pixels;
}

static void average_pool(const struct norm_shape *s, const void *x, float *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        add_pixels((const ELEMENT *)x + n * s->pixels * s->c, s->pixels, s->c, y + n * s->c);
}

static void average_pool_backward(const struct norm_shape *s, const float *dy, void *dx,
                                  int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++) {
        ELEMENT *first = (ELEMENT *)dx + n * s->pixels * s->c;
        for (int64_t i = 0; i < s->c; i++)
            first[i] = NARROW(dy[n * s->c + i] / (float)s->pixels);
        for (int64_t p = 1; p < s->pixels; p++)
            memcpy(first + p * s->c, first, (size_t)s->c * sizeof *first);
    }
}

/* ---- the mean of windows of 2x2 ---- */

/* Sets `to` to a quarter of the sum of four pixels, for n channels (at most STRIP_CHANNELS). */
static inline void quarter(const ELEMENT *const *from, int64_t n, ELEMENT *to)
{
    const ELEMENT *a = from[0], *b = from[1], *c = from[2], *d = from[3];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = NARROW(0.25F * ((WIDEN(a[i]) + WIDEN(b[i])) + (WIDEN(c[i]) + WIDEN(d[i]))));
}

/* Zeros that take the place of a pixel where there is none. */
static const ELEMENT no_pixel[STRIP_CHANNELS];

MULTIVERSION static void mean_row(const struct pool_shape *s, const ELEMENT *x, int64_t a,
                                  ELEMENT *y)
{
    for (int64_t b = 0; b < s->ow; b++, y += s->c)
        for (int64_t k = 0; k < s->c; k += STRIP_CHANNELS) {
            const ELEMENT *from[4];
            for (int t = 0; t < 4; t++) {
                const int64_t i = a * s->stride + t / 2, j = b * s->stride + t % 2;
                from[t] = i < s->h && j < s->w ? x + (i * s->w + j) * s->c + k : no_pixel;
            }
            quarter(from, s->c - k < STRIP_CHANNELS ? s->c - k : STRIP_CHANNELS, y + k);
        }
}

static void mean_pool(const struct pool_shape *s, const void *x, void *y, int threads)
{
    assert(s->kernel == 2 && s->padding == 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * s->oh; r++)
        mean_row(s, (const ELEMENT *)x + r / s->oh * s->h * s->w * s->c, r % s->oh,
                 (ELEMENT *)y + r * s->ow * s->c);
}

/* Returns the window whose tap `tap` is at pixel i, or -1 if there is none. */
static inline int64_t window_of(int64_t i, int64_t tap, int64_t stride)
{
    return i >= tap && (i - tap) % stride == 0 ? (i - tap) / stride : -1;
}

/* Computes row i of the gradient from the windows that contain it, at most four for each pixel. */
MULTIVERSION static void mean_row_backward(const struct pool_shape *s, const ELEMENT *dy, int64_t i,
                                           ELEMENT *dx)
{
    for (int64_t j = 0; j < s->w; j++, dx += s->c)
        for (int64_t k = 0; k < s->c; k += STRIP_CHANNELS) {
            const ELEMENT *from[4];
            for (int t = 0; t < 4; t++) {
                const int64_t a = window_of(i, t / 2, s->stride),
                              b = window_of(j, t % 2, s->stride);
                from[t] = a >= 0 && b >= 0 ? dy + (a * s->ow + b) * s->c + k : no_pixel;
            }
            quarter(from, s->c - k < STRIP_CHANNELS ? s->c - k : STRIP_CHANNELS, dx + k);
        }
}

static void mean_pool_backward(const struct pool_shape *s, const void *dy, void *dx, int threads)
{
    assert(s->kernel == 2 && s->padding == 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * s->h; r++)
        mean_row_backward(s, (const ELEMENT *)dy + r / s->h * s->oh * s->ow * s->c, r % s->h,
                          (ELEMENT *)dx + r * s->w * s->c);
}

#endif
