#include "views/noise.h"

#include <string.h>

#include "base/multiversion.h"
#include "views/pixels.h"

void noise_draw(const struct operation_use *use, const struct operation_context *context,
                void *drawn)
{
    struct noise *noise = drawn;
    const struct random pixels = random_other(context->random, RANDOM_PIXELS);
    noise->sigma = (float)operation_draw(use, NOISE_SIGMA, context->random);
    memcpy(noise->key, pixels.key, sizeof noise->key);
    memcpy(noise->counter, pixels.counter, sizeof noise->counter);
    noise->counter[0] = (uint32_t)context->place << 28;
}

MULTIVERSION
static void add_noise(float *restrict r, float *restrict g, float *restrict b, size_t n,
                      float sigma, const uint32_t *restrict counter, const uint32_t *restrict key)
{
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        const uint32_t at[4] = {counter[0] + i, counter[1], counter[2], counter[3]};
        uint32_t u[4];
        random_philox(at, key, u);
        const float first = sigma * noise_radius(u[0]), second = sigma * noise_radius(u[2]);
        float cosine, sine, last, unused;
        cosine_sine_float(noise_angle(u[1]), &cosine, &sine);
        cosine_sine_float(noise_angle(u[3]), &last, &unused);
        r[i] = pixels_clamp(r[i] + first * cosine);
        g[i] = pixels_clamp(g[i] + first * sine);
        b[i] = pixels_clamp(b[i] + second * last);
    }
}

static void apply_noise(const void *drawn, const struct operation_canvas *canvas)
{
    const struct noise *noise = drawn;
    const size_t n = canvas->n;
    uint32_t counter[4];
    memcpy(counter, noise->counter, sizeof counter);
    for (int c = 0; c < canvas->channels; c += 3, counter[3] += 1 << 12) {
        float *x = canvas->x + (size_t)c * n, *spare = canvas->scratch;
        const int left = canvas->channels - c;
        if (left < 3)
            memset(spare, 0, 2 * n * sizeof *spare);
        add_noise(x, left > 1 ? x + n : spare, left > 2 ? x + 2 * n : spare + n, n, noise->sigma,
                  counter, noise->key);
    }
}

/* Two planes that take the noise of channels that the image lacks. */
static size_t noise_scratch(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    return canvas->channels % 3 ? 2 * canvas->n : 0;
}

const struct operation_field noise_fields[] = {
    {"sigma", FIELD_FLOAT, .offset = offsetof(struct noise, sigma)},
    {"key", FIELD_WORDS, .offset = offsetof(struct noise, key), .count = 2},
    {"counter", FIELD_WORDS, .offset = offsetof(struct noise, counter), .count = 4},
    {0},
};

const struct operation operation_noise = {
    .name = "noise",
    .parameters =
        {
            [NOISE_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.5},
            [NOISE_SIGMA] = {"sigma (white is 1)", PARAMETER_RANGE, 0, 0.1, 0, 1},
        },
    .draw = noise_draw,
    .drawn_size = sizeof(struct noise),
    .fields = noise_fields,
    .apply = apply_noise,
    .scratch = noise_scratch,
};
