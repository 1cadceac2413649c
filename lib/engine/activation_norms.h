/* activation_norms: batch normalization, forward and backward (activations.h). This file is a part
 * of the template activation_kernels.h, which defines the type ELEMENT. */
#ifndef ACTIVATION_NORMS_H
#define ACTIVATION_NORMS_H

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/count.h"
#include "base/multiversion.h"
#include "engine/activation_streams.h"
#include "engine/shapes.h"

enum {
    NORM_ROWS = 256, /* approximate number of pixels in a task of batch normalization */
    SUM_ROWS = 8,    /* pixels that are summed in float before they are added to a double */
    SUM_BLOCK = 512, /* channels whose sums stay in the first-level cache */
    SUM_PART = 64,   /* channels of three maps whose next pixels are fetched at once */
    TILE = 8192,     /* bytes that also stay in the first-level cache */
    FLOATS = sizeof(ELEMENT) == sizeof(float)
};

/* ---- forward ---- */

/* Returns x normalized. The backward pass calls this function again to find out which values the
 * ReLU let pass, so both passes must round alike. They do, because the compiler fuses a
 * multiplication whose result is used once with the addition wherever the machine can do so.
 * (Rounding to bf16 keeps the sign of a value, except that values below 1e-40 become 0.) */
static inline float norm(float x, float mean, float scale, float bias)
{
    return (x - mean) * scale + bias;
}

/* Returns the lower bound of a norm's output. ReLU computes v < bottom ? bottom : v, and lets a
 * value pass if v > bottom. A NaN stays a NaN. */
static inline float bottom_of(bool relu)
{
    return relu ? 0 : -INFINITY;
}

MULTIVERSION static void normalize(const ELEMENT *x, const ELEMENT *residual,
                                   const struct norm_channels *k, int64_t pixels, int64_t c,
                                   float bottom, ELEMENT *y)
{
    const float *mean = k->mean, *scale = k->scale, *bias = k->bias;
    for (int64_t p = 0; p < pixels; p++, x += c, y += c) {
        prefetch(x, AHEAD, c);
        if (residual) {
            prefetch(residual, AHEAD, c);
#pragma omp simd
            for (int64_t i = 0; i < c; i++) {
                const float v = norm(WIDEN(x[i]), mean[i], scale[i], bias[i]) + WIDEN(residual[i]);
                y[i] = NARROW(v < bottom ? bottom : v);
            }
            residual += c;
        } else {
#pragma omp simd
            for (int64_t i = 0; i < c; i++) {
                const float v = norm(WIDEN(x[i]), mean[i], scale[i], bias[i]);
                y[i] = NARROW(v < bottom ? bottom : v);
            }
        }
    }
}

static void norm_forward(const struct norm_shape *s, const void *x, const struct norm_channels *k,
                         const void *residual, bool relu, void *y, int threads)
{
    const int64_t pixels = s->images * s->pixels, c = s->c;
    const float bottom = bottom_of(relu);
    const int64_t tile = TILE / bytes(c); /* pixels */
    const bool large = bytes(pixels * c) >= STREAM && tile && y != x;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < pixels; p += NORM_ROWS) {
        const int64_t end = count_min(p + NORM_ROWS, pixels), step = large ? tile : NORM_ROWS;
        for (int64_t q = p; q < end; q += step) {
            ELEMENT buffer[TILE / sizeof(ELEMENT)];
            const int64_t n = count_min(step, end - q), at = q * c;
            ELEMENT *to = (ELEMENT *)y + at;
            normalize((const ELEMENT *)x + at, residual ? (const ELEMENT *)residual + at : NULL, k,
                      n, c, bottom, large ? buffer : to);
            if (large)
                stream(to, buffer, n * c);
        }
        stream_end();
    }
}

/* ---- backward ---- */

/* How images are divided into groups. One task sums over one group, which has whole images and
 * about NORM_ROWS pixels. */
struct norm_groups {
    int64_t images, per_grain, images_per_grain;
};

static struct norm_groups group(const struct norm_shape *s)
{
    struct norm_groups g = {.images = s->pixels >= NORM_ROWS ? 1 : NORM_ROWS / s->pixels,
                            .images_per_grain = s->images / s->grains};
    g.per_grain = (g.images_per_grain + g.images - 1) / g.images;
    return g;
}

/* Returns the number of pixels of task i, and sets *first to the number of its first pixel. */
static int64_t group_pixels(const struct norm_shape *s, const struct norm_groups *g, int64_t i,
                            int64_t *first)
{
    const int64_t image = i % g->per_grain * g->images;
    *first = (i / g->per_grain * g->images_per_grain + image) * s->pixels;
    return count_min(g->images_per_grain - image, g->images) * s->pixels;
}

static int64_t norm_partials(const struct norm_shape *s)
{
    return s->grains * group(s).per_grain;
}

/* Adds each grain's groups in order, and moves grain g's sum to row g. */
static void sum_groups(const struct norm_shape *s, const struct norm_groups *g, double *sums)
{
    const int64_t n = 2 * s->c;
    for (int64_t grain = 0; grain < s->grains; grain++) {
        const double *from = sums + grain * g->per_grain * n;
        double *to = sums + grain * n;
        if (to != from)
            memcpy(to, from, (size_t)n * sizeof *to);
        for (int64_t i = 1; i < g->per_grain; i++)
            for (int64_t j = 0; j < n; j++)
                to[j] += from[i * n + j];
    }
}

/* Adds the sums and the sums of products over `rows` pixels of n channels to `sum` and `product`.
 * Callers pass a constant for `rows`, and the function is inlined, so that the compiler unrolls the
 * inner loop and vectorizes the outer one. */
static inline __attribute__((always_inline)) void
sum_rows(const ELEMENT *x, const ELEMENT *y, ELEMENT *dy, int rows, int64_t c, int64_t n,
         const float *mean, const float *scale, const float *bias, float bottom, double *sum,
         double *product)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float s = 0, p = 0;
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const float v = WIDEN(x[r * c + i]), d = WIDEN(dy[r * c + i]);
            const bool passed =
                y ? WIDEN(y[r * c + i]) > 0 : norm(v, mean[i], scale[i], bias[i]) > bottom;
            const float masked = passed ? d : 0;
            if (y) /* a bf16 keeps its bits, which is cheaper than rounding it again */
                dy[r * c + i] = FLOATS ? NARROW(masked) : passed ? dy[r * c + i] : (ELEMENT)0;
            s += masked;
            p += masked * (v - mean[i]);
        }
        sum[i] += (double)s;
        product[i] += (double)p;
    }
}

/* Does sum_rows() for SUM_ROWS pixels, and prefetches the next ones. */
static inline __attribute__((always_inline)) void
sum_and_prefetch(const ELEMENT *x, const ELEMENT *y, ELEMENT *dy, int64_t c, int64_t n,
                 const float *mean, const float *scale, const float *bias, float bottom,
                 double *sum, double *product)
{
    const int64_t next = bytes(SUM_ROWS * c), ahead = next > AHEAD ? next : AHEAD;
    for (int r = 0; r < SUM_ROWS; r++) {
        prefetch(x + r * c, ahead, n);
        prefetch(dy + r * c, ahead, n);
        if (y)
            prefetch(y + r * c, ahead, n);
    }
    sum_rows(x, y, dy, SUM_ROWS, c, n, mean, scale, bias, bottom, sum, product);
}

/* Sums in float over SUM_ROWS pixels at a time. This is precise enough: the rounding errors, each
 * at most 2^-24 of a block's sum, are as independent as the blocks are. With three maps of bf16 it
 * fetches the next pixels a part at a time, while it computes; fetched all at once, they would
 * leave the memory idle for most of the time. */
MULTIVERSION static void sum_gradients(const ELEMENT *x, const ELEMENT *y, ELEMENT *dy,
                                       int64_t pixels, int64_t c, const struct norm_channels *k,
                                       float bottom, double *sums)
{
    memset(sums, 0, (size_t)(2 * c) * sizeof *sums);
    for (int64_t b = 0; b < c; b += SUM_BLOCK) {
        const int64_t n = c - b < SUM_BLOCK ? c - b : SUM_BLOCK;
        const float *mean = k->mean + b, *scale = k->scale + b, *bias = k->bias + b;
        double *sum = sums + b, *product = sum + c;
        int64_t p = 0;
        for (; p + SUM_ROWS <= pixels; p += SUM_ROWS) {
            const int64_t at = p * c + b;
            for (int r = 0; FLOATS && r < SUM_ROWS; r++) {
                prefetch(x + at + r * c, AHEAD, n);
                prefetch(dy + at + r * c, AHEAD, n);
                if (y)
                    prefetch(y + at + r * c, AHEAD, n);
            }
            if (FLOATS && y)
                sum_rows(x + at, y + at, dy + at, SUM_ROWS, c, n, mean, scale, bias, bottom, sum,
                         product);
            else if (FLOATS)
                sum_rows(x + at, NULL, dy + at, SUM_ROWS, c, n, mean, scale, bias, bottom, sum,
                         product);
            else if (y && n > 2 * SUM_PART)
                for (int64_t j = 0; j < n; j += SUM_PART)
                    sum_and_prefetch(x + at + j, y + at + j, dy + at + j, c,
                                     count_min(n - j, SUM_PART), mean + j, scale + j, bias + j,
                                     bottom, sum + j, product + j);
            else if (y)
                sum_and_prefetch(x + at, y + at, dy + at, c, n, mean, scale, bias, bottom, sum,
                                 product);
            else
                sum_and_prefetch(x + at, NULL, dy + at, c, n, mean, scale, bias, bottom, sum,
                                 product);
        }
        for (; p < pixels; p++) {
            const int64_t at = p * c + b;
            sum_rows(x + at, y ? y + at : NULL, dy + at, 1, c, n, mean, scale, bias, bottom, sum,
                     product);
        }
    }
}

static void norm_backward_sums(const struct norm_shape *s, const void *x, const void *y, void *dy,
                               const struct norm_channels *k, bool relu, double *sums, int threads)
{
    assert(!(y && relu));
    const struct norm_groups g = group(s);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < s->grains * g.per_grain; i++) {
        int64_t first;
        const int64_t pixels = group_pixels(s, &g, i, &first), at = first * s->c;
        sum_gradients((const ELEMENT *)x + at, y ? (const ELEMENT *)y + at : NULL,
                      (ELEMENT *)dy + at, pixels, s->c, k, bottom_of(relu), sums + i * 2 * s->c);
    }
    sum_groups(s, &g, sums);
}

MULTIVERSION static void normalize_backward(ELEMENT *x, const ELEMENT *dy, int64_t pixels,
                                            int64_t c, const struct norm_channels *k, float bottom,
                                            const float *constant, const float *slope)
{
    const float *mean = k->mean, *scale = k->scale, *bias = k->bias;
    for (int64_t p = 0; p < pixels; p++, x += c, dy += c) {
        prefetch(x, AHEAD, c);
        prefetch(dy, AHEAD, c);
#pragma omp simd
        for (int64_t i = 0; i < c; i++) {
            const float v = WIDEN(x[i]), d = WIDEN(dy[i]);
            const float masked = norm(v, mean[i], scale[i], bias[i]) > bottom ? d : 0;
            x[i] = NARROW(masked * scale[i] - constant[i] - (v - mean[i]) * slope[i]);
        }
    }
}

static void norm_backward(const struct norm_shape *s, void *x, const void *dy,
                          const struct norm_channels *k, bool relu, const float *constant,
                          const float *slope, int threads)
{
    const int64_t pixels = s->images * s->pixels;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < pixels; p += NORM_ROWS) {
        const int64_t at = p * s->c;
        normalize_backward((ELEMENT *)x + at, (const ELEMENT *)dy + at,
                           count_min(NORM_ROWS, pixels - p), s->c, k, bottom_of(relu), constant,
                           slope);
    }
}

#endif
