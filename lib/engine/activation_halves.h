/* activation_halves: selective kernels, forward and backward (activations.h). One task computes one
 * image, and adds up that image's pixels in their order. This file is a part of the template
 * activation_kernels.h, which defines the type ELEMENT. */
#ifndef ACTIVATION_HALVES_H
#define ACTIVATION_HALVES_H

#include <math.h>

#include "base/multiversion.h"
#include "engine/shapes.h"

enum { HALVES_BLOCK = 512 }; /* channels whose sums stay in the first-level cache */

MULTIVERSION static void add_halves(const ELEMENT *x, int64_t pixels, int64_t c, ELEMENT *y)
{
    for (int64_t k = 0; k < c; k += HALVES_BLOCK) {
        const int64_t n = c - k < HALVES_BLOCK ? c - k : HALVES_BLOCK;
        double sums[HALVES_BLOCK] = {0};
        for (int64_t p = 0; p < pixels; p++) {
            const ELEMENT *a = x + p * 2 * c + k, *b = a + c;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                sums[i] += (double)(WIDEN(a[i]) + WIDEN(b[i]));
        }
        for (int64_t i = 0; i < n; i++)
            y[k + i] = NARROW((float)(sums[i] / (double)pixels));
    }
}

static void halves_mean(const struct norm_shape *s, const void *x, void *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        add_halves((const ELEMENT *)x + n * s->pixels * 2 * s->c, s->pixels, s->c,
                   (ELEMENT *)y + n * s->c);
}

MULTIVERSION static void add_halves_backward(const ELEMENT *dy, int64_t pixels, int64_t c,
                                             ELEMENT *dx)
{
    for (int64_t p = 0; p < 2 * pixels; p++, dx += c)
#pragma omp simd
        for (int64_t i = 0; i < c; i++)
            dx[i] = NARROW(WIDEN(dx[i]) + WIDEN(dy[i]) / (float)pixels);
}

static void halves_mean_backward(const struct norm_shape *s, const void *dy, void *dx, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        add_halves_backward((const ELEMENT *)dy + n * s->c, s->pixels, s->c,
                            (ELEMENT *)dx + n * s->pixels * 2 * s->c);
}

/* Computes the weights u and v of n channels, which are the softmax over p and q. It does not
 * compute one as 1 minus the other, because a small weight would then have a large relative
 * error. */
static inline void mix_weights(const ELEMENT *p, const ELEMENT *q, int64_t n, float *u, float *v)
{
    for (int64_t i = 0; i < n; i++) {
        const float d = WIDEN(q[i]) - WIDEN(p[i]);
        u[i] = 1 / (1 + expf(d));
        v[i] = 1 / (1 + expf(-d));
    }
}

MULTIVERSION static void mix(const ELEMENT *x, const ELEMENT *logits, int64_t pixels, int64_t c,
                             ELEMENT *y)
{
    for (int64_t k = 0; k < c; k += HALVES_BLOCK) {
        const int64_t n = c - k < HALVES_BLOCK ? c - k : HALVES_BLOCK;
        float u[HALVES_BLOCK], v[HALVES_BLOCK];
        mix_weights(logits + k, logits + c + k, n, u, v);
        for (int64_t p = 0; p < pixels; p++) {
            const ELEMENT *a = x + p * 2 * c + k, *b = a + c;
            ELEMENT *to = y + p * c + k;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                to[i] = NARROW(WIDEN(a[i]) * u[i] + WIDEN(b[i]) * v[i]);
        }
    }
}

static void halves_mix(const struct norm_shape *s, const void *x, const void *logits, void *y,
                       int threads)
{
    const int64_t c = s->c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        mix((const ELEMENT *)x + n * s->pixels * 2 * c, (const ELEMENT *)logits + n * 2 * c,
            s->pixels, c, (ELEMENT *)y + n * s->pixels * c);
}

/* Computes the gradients: da = u dy and db = v dy. The derivative of u with respect to p is u v,
 * and with respect to q it is -u v. The gradient of the logit p is therefore the sum of u v (a - b)
 * dy over the pixels, and that of q is its negative. */
MULTIVERSION static void mix_backward(const ELEMENT *x, const ELEMENT *logits, const ELEMENT *dy,
                                      int64_t pixels, int64_t c, ELEMENT *dx, ELEMENT *dlogits)
{
    for (int64_t k = 0; k < c; k += HALVES_BLOCK) {
        const int64_t n = c - k < HALVES_BLOCK ? c - k : HALVES_BLOCK;
        float u[HALVES_BLOCK], v[HALVES_BLOCK];
        double sums[HALVES_BLOCK] = {0};
        mix_weights(logits + k, logits + c + k, n, u, v);
        for (int64_t p = 0; p < pixels; p++) {
            const ELEMENT *a = x + p * 2 * c + k, *b = a + c, *d = dy + p * c + k;
            ELEMENT *da = dx + p * 2 * c + k, *db = da + c;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                const float g = WIDEN(d[i]);
                sums[i] += (double)(g * (WIDEN(a[i]) - WIDEN(b[i])));
                da[i] = NARROW(g * u[i]);
                db[i] = NARROW(g * v[i]);
            }
        }
        for (int64_t i = 0; i < n; i++) {
            const float g = (float)(sums[i] * (double)(u[i] * v[i]));
            dlogits[k + i] = NARROW(g);
            dlogits[c + k + i] = NARROW(-g);
        }
    }
}

static void halves_mix_backward(const struct norm_shape *s, const void *x, const void *logits,
                                const void *dy, void *dx, void *dlogits, int threads)
{
    const int64_t c = s->c, map = s->pixels * c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        mix_backward((const ELEMENT *)x + n * 2 * map, (const ELEMENT *)logits + n * 2 * c,
                     (const ELEMENT *)dy + n * map, s->pixels, c, (ELEMENT *)dx + n * 2 * map,
                     (ELEMENT *)dlogits + n * 2 * c);
}

#endif
