/* activation_values: values into and out of feature maps (activations.h).
 * A part of the template activation_kernels.h, for one type ELEMENT. */
#ifndef ACTIVATION_VALUES_H
#define ACTIVATION_VALUES_H

#include <assert.h>
#include <stdint.h>

#include "base/count.h"
#include "base/multiversion.h"

enum {
    COLORS = 4,        /* channels of an image, at most */
    LOAD_PIXELS = 64,  /* pixels in a task, whose coefficients are in a table */
    ELEMENTS = 1 << 14 /* values in a task of a plain conversion */
};

/* Divides, and does not multiply by reciprocals, so that bytes give the same bits as floats that a
 * caller has normalized in this way. mean and std are repeated for every value. */
MULTIVERSION static void normalize_bytes(const uint8_t *restrict x, int64_t n,
                                         const float *restrict mean, const float *restrict std,
                                         ELEMENT *restrict y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = NARROW(((float)x[i] / 255 - mean[i]) / std[i]);
}

static void load_bytes(const uint8_t *x, int64_t n, int64_t c, const float *mean, const float *std,
                       void *y, int threads)
{
    assert(c <= COLORS);
    float means[LOAD_PIXELS * COLORS], stds[LOAD_PIXELS * COLORS];
    for (int64_t i = 0; i < LOAD_PIXELS * c; i++) {
        means[i] = mean[i % c];
        stds[i] = std[i % c];
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < n; p += LOAD_PIXELS)
        normalize_bytes(x + p * c, count_min(LOAD_PIXELS, n - p) * c, means, stds,
                        (ELEMENT *)y + p * c);
}

MULTIVERSION static void narrow(const float *restrict from, int64_t n, ELEMENT *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = NARROW(from[i]);
}

MULTIVERSION static void widen(const ELEMENT *restrict from, int64_t n, float *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = WIDEN(from[i]);
}

static void load_floats(const float *x, int64_t n, void *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i += ELEMENTS)
        narrow(x + i, count_min(ELEMENTS, n - i), (ELEMENT *)y + i);
}

static void store_floats(const void *x, int64_t n, float *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i += ELEMENTS)
        widen((const ELEMENT *)x + i, count_min(ELEMENTS, n - i), y + i);
}

#endif
