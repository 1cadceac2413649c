#include "views/noise.h"

#include <math.h>

#include "base/multiversion.h"
#include "base/random.h"
#include "base/vector_math.h"
#include "views/clamp.h"

static inline float fraction_of(uint32_t u)
{
    return (float)(int32_t)(u >> 8) * 0x1p-24f;
}

static inline float radius_of(uint32_t u)
{
    return sqrtf(-2 * log_float(1 - fraction_of(u)));
}

MULTIVERSION
static void add(float *restrict r, float *restrict g, float *restrict b, size_t n, float sigma,
                const uint32_t *restrict counter, const uint32_t *restrict key)
{
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        const uint32_t at[4] = {counter[0] + i, counter[1], counter[2], counter[3]};
        uint32_t u[4];
        random_philox(at, key, u);
        const float first = sigma * radius_of(u[0]), second = sigma * radius_of(u[2]);
        float cosine, sine, last, unused;
        cosine_sine_float(fraction_of(u[1]), &cosine, &sine);
        cosine_sine_float(fraction_of(u[3]), &last, &unused);
        r[i] = clamp01(r[i] + first * cosine);
        g[i] = clamp01(g[i] + first * sine);
        b[i] = clamp01(b[i] + second * last);
    }
}

void noise_add(float *rgb, size_t n, float sigma, const uint32_t counter[4], const uint32_t key[2])
{
    add(rgb, rgb + n, rgb + 2 * n, n, sigma, counter, key);
}

MULTIVERSION
static void add_to_series(float *restrict x, size_t n, float sigma,
                          const uint32_t *restrict counter, const uint32_t *restrict key)
{
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        const uint32_t at[4] = {counter[0] + i, counter[1], counter[2], counter[3]};
        uint32_t u[4];
        random_philox(at, key, u);
        float cosine, unused;
        cosine_sine_float(fraction_of(u[1]), &cosine, &unused);
        x[i] += sigma * radius_of(u[0]) * cosine;
    }
}

void noise_add_series(float *x, size_t n, float sigma, const uint32_t counter[4],
                      const uint32_t key[2])
{
    add_to_series(x, n, sigma, counter, key);
}
