#include "views/color.h"

#include "base/multiversion.h"
#include "views/clamp.h"

static inline float gray_of(float r, float g, float b)
{
    return 0.2989f * r + 0.587f * g + 0.114f * b;
}

MULTIVERSION
static void brightness(float *restrict x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = clamp01(factor * x[i]);
}

/* The order of the sum is part of the result, so it is spelled out: LANES running sums, folded into
 * a double. */
MULTIVERSION
static double sum_of_grays(const float *restrict r, const float *restrict g,
                           const float *restrict b, size_t n)
{
    enum { LANES = 16 };
    double total = 0;
    float sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            sums[lane] += gray_of(r[i + lane], g[i + lane], b[i + lane]);
    for (; i < n; i++)
        total += (double)gray_of(r[i], g[i], b[i]);
    for (int lane = 0; lane < LANES; lane++)
        total += (double)sums[lane];
    return total;
}

MULTIVERSION
static void contrast(float *restrict x, size_t n, float factor, float mean)
{
    const float rest = (1 - factor) * mean;
    for (size_t i = 0; i < n; i++)
        x[i] = clamp01(factor * x[i] + rest);
}

MULTIVERSION
static void saturation(float *restrict r, float *restrict g, float *restrict b, size_t n,
                       float factor)
{
    for (size_t i = 0; i < n; i++) {
        const float rest = (1 - factor) * gray_of(r[i], g[i], b[i]);
        r[i] = clamp01(factor * r[i] + rest);
        g[i] = clamp01(factor * g[i] + rest);
        b[i] = clamp01(factor * b[i] + rest);
    }
}

/* One channel of HSV to RGB without branches: value - clamp(min(k, 4 chroma - k), 0, chroma), where
 * k is the hue in sixths of a turn, shifted by 5 (red), 3 (green) or 1 (blue), modulo 6, all of it
 * times chroma: the hue itself would take a division by chroma. */
static inline float from_hue(float value, float chroma, float sixths, float shift)
{
    float k = sixths + shift * chroma;
    k = k >= 6 * chroma ? k - 6 * chroma : k;
    const float other = 4 * chroma - k;
    k = k < other ? k : other;
    k = k < 0 ? 0 : k;
    return value - (k < chroma ? k : chroma);
}

MULTIVERSION
static void hue(float *restrict r, float *restrict g, float *restrict b, size_t n, float turn)
{
    for (size_t i = 0; i < n; i++) {
        const float red = r[i], green = g[i], blue = b[i];
        float high = red > green ? red : green, low = red < green ? red : green;
        high = high > blue ? high : blue;
        low = low < blue ? low : blue;
        const float chroma = high - low, whole = 6 * chroma;
        const float from_green = 2 * chroma + (blue - red), from_blue = 4 * chroma + (red - green);
        const float base = high == red ? green - blue : high == green ? from_green : from_blue;
        float sixths = base + turn * whole; /* from -4 to 8 times chroma */
        sixths = sixths < 0 ? sixths + whole : sixths;
        sixths = sixths >= whole ? sixths - whole : sixths;
        r[i] = from_hue(high, chroma, sixths, 5);
        g[i] = from_hue(high, chroma, sixths, 3);
        b[i] = from_hue(high, chroma, sixths, 1);
    }
}

/* mean: the grey that contrast goes toward. */
static void take_steps(float *const rgb[3], size_t n, const enum jitter *order, int n_steps,
                       const float *factors, float mean)
{
    for (int i = 0; i < n_steps; i++) {
        const float factor = factors[order[i]];
        switch (order[i]) {
        case JITTER_BRIGHTNESS:
            for (int c = 0; c < 3; c++)
                brightness(rgb[c], n, factor);
            break;
        case JITTER_CONTRAST:
            for (int c = 0; c < 3; c++)
                contrast(rgb[c], n, factor, mean);
            break;
        case JITTER_SATURATION:
            saturation(rgb[0], rgb[1], rgb[2], n, factor);
            break;
        case JITTER_HUE:
            hue(rgb[0], rgb[1], rgb[2], n, factor);
            break;
        case JITTER_COUNT:
            break;
        }
    }
}

/* Two passes over the image, by blocks that stay in the first cache meanwhile: contrast has to know
 * what the steps before it make of all pixels. */
void color_jitter(float *rgb, size_t n, const enum jitter *order, int n_steps, const float *factors)
{
    enum { BLOCK = 1024 };
    int before = 0;
    while (before < n_steps && order[before] != JITTER_CONTRAST)
        before++;
    double sum = 0;
    for (size_t i = 0; i < n; i += BLOCK) {
        float *const block[3] = {rgb + i, rgb + n + i, rgb + 2 * n + i};
        const size_t count = n - i < BLOCK ? n - i : BLOCK;
        take_steps(block, count, order, before, factors, 0);
        if (before < n_steps)
            sum += sum_of_grays(block[0], block[1], block[2], count);
    }
    const float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n && before < n_steps; i += BLOCK) {
        float *const block[3] = {rgb + i, rgb + n + i, rgb + 2 * n + i};
        const size_t count = n - i < BLOCK ? n - i : BLOCK;
        take_steps(block, count, order + before, n_steps - before, factors, mean);
    }
}

MULTIVERSION
static void gray(float *restrict r, float *restrict g, float *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        r[i] = g[i] = b[i] = clamp01(gray_of(r[i], g[i], b[i]));
}

void color_gray(float *rgb, size_t n)
{
    gray(rgb, rgb + n, rgb + 2 * n, n);
}

MULTIVERSION
void color_solarize(float *rgb, size_t n, float threshold)
{
    for (size_t i = 0; i < 3 * n; i++)
        rgb[i] = rgb[i] >= threshold ? 1 - rgb[i] : rgb[i];
}

MULTIVERSION
static void quantize(const float *restrict rgb, size_t n, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            out[3 * i + c] = (uint8_t)(int)(rgb[c * n + i] * 255 + 0.5f);
}

void color_quantize(const float *rgb, size_t n, uint8_t *out)
{
    quantize(rgb, n, out);
}
