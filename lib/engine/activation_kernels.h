/* activation_kernels: the functions of activations.h for one type of values. This file is a
 * template. Each file activations_*.c includes it once, after defining
 *
 *   ELEMENT       the type of a value in memory
 *   WIDEN(e)      the float that e represents
 *   NARROW(v)     the ELEMENT nearest to the float v
 *   KEY           the signed integer as wide as an ELEMENT
 *   key_of(e)     a key that grows with e, and is largest for NaNs
 *   value_of(k)   the ELEMENT that has the key k
 *   MAPS, NAME    the struct that the functions go into, and its name
 *
 * All loops over channels are plain C that the compiler vectorizes, with versions for each
 * instruction set (MULTIVERSION). Other functions distribute the tasks to threads, because a
 * function that contains an OpenMP region cannot have such versions. */
#include <assert.h>
#include <stdint.h>

#include "base/count.h"
#include "base/multiversion.h"
#include "engine/activation_halves.h"
#include "engine/activation_norms.h"
#include "engine/activation_pools.h"
#include "engine/activations.h"

enum {
    COLORS = 4,        /* largest number of channels of an image */
    LOAD_PIXELS = 64,  /* pixels of a task, for which a table holds mean and std */
    ELEMENTS = 1 << 14 /* values of a task that only converts */
};

/* ---- values into and out of feature maps ---- */

/* Sets y to (x/255 - mean) / std for n values; mean and std have n values, too. It divides rather
 * than multiplying by reciprocals, so that bytes give the same bits as floats that a caller has
 * normalized in this way. */
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

const struct activations MAPS = {
    .name = NAME,
    .element = sizeof(ELEMENT),
    .norm_forward = norm_forward,
    .norm_partials = norm_partials,
    .norm_backward_sums = norm_backward_sums,
    .norm_backward = norm_backward,
    .max_pool = max_pool,
    .max_pool_backward = max_pool_backward,
    .average_pool = average_pool,
    .average_pool_backward = average_pool_backward,
    .mean_pool = mean_pool,
    .mean_pool_backward = mean_pool_backward,
    .halves_mean = halves_mean,
    .halves_mean_backward = halves_mean_backward,
    .halves_mix = halves_mix,
    .halves_mix_backward = halves_mix_backward,
    .load_bytes = load_bytes,
    .load_floats = load_floats,
    .store_floats = store_floats,
};
