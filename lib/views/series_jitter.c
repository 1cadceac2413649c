/* jitter on series: adds a normally distributed number times sigma to each value (Um et al.
 * 2017). */
#include "base/multiversion.h"
#include "views/noise.h"
#include "views/operation.h"

MULTIVERSION
static void add_series_noise(float *restrict x, size_t n, float sigma,
                             const uint32_t *restrict counter, const uint32_t *restrict key)
{
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        const uint32_t at[4] = {counter[0] + i, counter[1], counter[2], counter[3]};
        uint32_t u[4];
        random_philox(at, key, u);
        float cosine, unused;
        cosine_sine_float(noise_angle(u[1]), &cosine, &unused);
        x[i] += sigma * noise_radius(u[0]) * cosine;
    }
}

static void apply_series_jitter(const void *drawn, const struct operation_canvas *canvas)
{
    const struct noise *noise = drawn;
    add_series_noise(canvas->x, canvas->n, noise->sigma, noise->counter, noise->key);
}

const struct operation operation_series_jitter = {
    .name = "jitter",
    .parameters =
        {
            [NOISE_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.8},
            [NOISE_SIGMA] = {"sigma of the noise", PARAMETER_RANGE, 0, 0.3, 0, 1e6},
        },
    .draw = noise_draw,
    .drawn_size = sizeof(struct noise),
    .fields = noise_fields,
    .apply = apply_series_jitter,
};
