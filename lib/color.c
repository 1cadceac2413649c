#include "color.h"

#include "clones.h"

static inline float clamp01(float x)
{
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}

static inline float gray_of(float r, float g, float b)
{
    return 0.2989f * r + 0.587f * g + 0.114f * b;
}

CLONES
void color_brightness(float *rgb, size_t n, float factor)
{
    for (size_t i = 0; i < 3 * n; i++)
        rgb[i] = clamp01(factor * rgb[i]);
}

/* The order of the sum is part of the result, so it is spelled out: LANES running sums, folded into
 * a double every BLOCK pixels so that large images lose nothing. */
CLONES
static float mean_gray(const float *restrict r, const float *restrict g, const float *restrict b,
                       size_t n)
{
    enum { LANES = 16, BLOCK = 1024 };
    double total = 0;
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t end = start + BLOCK < n ? start + BLOCK : n;
        float sums[LANES] = {0};
        size_t i = start;
        for (; i + LANES <= end; i += LANES)
            for (size_t lane = 0; lane < LANES; lane++)
                sums[lane] += gray_of(r[i + lane], g[i + lane], b[i + lane]);
        for (; i < end; i++)
            total += (double)gray_of(r[i], g[i], b[i]);
        for (int lane = 0; lane < LANES; lane++)
            total += (double)sums[lane];
    }
    return (float)(total / (double)n);
}

CLONES
void color_contrast(float *rgb, size_t n, float factor)
{
    const float rest = (1 - factor) * mean_gray(rgb, rgb + n, rgb + 2 * n, n);
    for (size_t i = 0; i < 3 * n; i++)
        rgb[i] = clamp01(factor * rgb[i] + rest);
}

CLONES
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

void color_saturation(float *rgb, size_t n, float factor)
{
    saturation(rgb, rgb + n, rgb + 2 * n, n, factor);
}

/* One channel of HSV to RGB without branches: value - chroma * clamp(min(k, 4 - k), 0, 1), where k
 * is the hue in sixths, shifted by 5 (red), 3 (green) or 1 (blue), modulo 6. */
static inline float from_hue(float value, float chroma, float sixths, float shift)
{
    float k = sixths + shift;
    k = k >= 6 ? k - 6 : k;
    const float nearer = k < 4 - k ? k : 4 - k;
    return clamp01(value - chroma * clamp01(nearer));
}

CLONES
static void hue(float *restrict r, float *restrict g, float *restrict b, size_t n, float turn)
{
    for (size_t i = 0; i < n; i++) {
        const float red = r[i], green = g[i], blue = b[i];
        float high = red > green ? red : green, low = red < green ? red : green;
        high = high > blue ? high : blue;
        low = low < blue ? low : blue;
        const float chroma = high - low, inverse = 1 / (chroma > 0 ? chroma : 1);
        const float from_red = (green - blue) * inverse;
        const float from_green = 2 + (blue - red) * inverse;
        const float from_blue = 4 + (red - green) * inverse;
        const float base = high == red ? from_red : high == green ? from_green : from_blue;
        /* Hue plus turn is above -1, so that adding 2 makes truncation a floor. */
        const float turns = base * (1 / 6.0f) + turn + 2;
        const float sixths = 6 * (turns - (float)(int)turns);
        r[i] = from_hue(high, chroma, sixths, 5);
        g[i] = from_hue(high, chroma, sixths, 3);
        b[i] = from_hue(high, chroma, sixths, 1);
    }
}

void color_hue(float *rgb, size_t n, float turn)
{
    hue(rgb, rgb + n, rgb + 2 * n, n, turn);
}

CLONES
static void gray(float *restrict r, float *restrict g, float *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        r[i] = g[i] = b[i] = clamp01(gray_of(r[i], g[i], b[i]));
}

void color_gray(float *rgb, size_t n)
{
    gray(rgb, rgb + n, rgb + 2 * n, n);
}
