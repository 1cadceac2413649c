/* jitter: changes the brightness, contrast, saturation and hue of a view in random order, as
 * torchvision's functions on float tensors do; each clamps to [0,1]. The factors for a strength s,
 * which is 1 by default, are uniform: those of brightness, contrast and saturation from max(0, 1 -
 * 0.8 s) to 1 + 0.8 s, that of hue from -0.2 s to 0.2 s of a whole turn (Chen et al. 2020, appendix
 * A). */
#include <math.h>

#include "base/multiversion.h"
#include "views/operation.h"
#include "views/pixels.h"

enum { JITTER_P, JITTER_STRENGTH };

/* The steps. A factor of 1 changes nothing; for hue, 0 changes nothing. */
enum jitter_step {
    JITTER_BRIGHTNESS, /* toward black; 0 is black */
    JITTER_CONTRAST,   /* toward the image's mean grey */
    JITTER_SATURATION, /* toward each pixel's grey */
    JITTER_HUE,        /* turns the hue of HSV by -0.5 to 0.5 of a whole turn */
    JITTER_STEPS
};

static const char *const jitter_names[JITTER_STEPS] = {"brightness", "contrast", "saturation",
                                                       "hue"};

struct jitter {
    struct operation_list order; /* the steps, as enum jitter_step */
    float factors[JITTER_STEPS]; /* by enum jitter_step */
};

static void draw_jitter(const struct operation_use *use, const struct operation_context *context,
                        void *drawn)
{
    struct jitter *j = drawn;
    struct random *r = context->random;
    int64_t order[JITTER_STEPS];
    random_permutation(r, order, JITTER_STEPS);
    const double strength = use->values[JITTER_STRENGTH].low;
    const double spread = 0.8 * strength, turn = 0.2 * strength;
    j->order.n = JITTER_STEPS;
    for (int i = 0; i < JITTER_STEPS; i++) {
        j->order.items[i] = (int)order[i];
        j->factors[i] =
            (float)(i == JITTER_HUE ? random_uniform(r, -turn, turn)
                                    : random_uniform(r, fmax(0, 1 - spread), 1 + spread));
    }
}

MULTIVERSION
static void brightness(float *restrict x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = pixels_clamp(factor * x[i]);
}

/* Sums values. The order of the sum is part of the result, so it is written out: LANES running
 * sums, which are added into a double. */
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
            sums[lane] += pixels_gray(r[i + lane], g[i + lane], b[i + lane]);
    for (; i < n; i++)
        total += (double)pixels_gray(r[i], g[i], b[i]);
    for (int lane = 0; lane < LANES; lane++)
        total += (double)sums[lane];
    return total;
}

MULTIVERSION
static void contrast(float *restrict x, size_t n, float factor, float mean)
{
    const float rest = (1 - factor) * mean;
    for (size_t i = 0; i < n; i++)
        x[i] = pixels_clamp(factor * x[i] + rest);
}

MULTIVERSION
static void saturation(float *restrict r, float *restrict g, float *restrict b, size_t n,
                       float factor)
{
    for (size_t i = 0; i < n; i++) {
        const float rest = (1 - factor) * pixels_gray(r[i], g[i], b[i]);
        r[i] = pixels_clamp(factor * r[i] + rest);
        g[i] = pixels_clamp(factor * g[i] + rest);
        b[i] = pixels_clamp(factor * b[i] + rest);
    }
}

/* Computes one channel of HSV to RGB without branches, as value - clamp(min(k, 4 chroma - k), 0,
 * chroma). Here k is the hue in sixths of a turn, shifted by 5 (red), 3 (green) or 1 (blue), modulo
 * 6, and all multiplied by chroma, because the hue itself would need a division by chroma. */
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

/* Applies the steps order[n_steps]. `mean` is the grey that contrast uses. */
static void take_steps(float *const rgb[3], size_t n, const int *order, int n_steps,
                       const float *factors, float mean)
{
    for (int i = 0; i < n_steps; i++) {
        const float factor = factors[order[i]];
        switch ((enum jitter_step)order[i]) {
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
        case JITTER_STEPS:
            break;
        }
    }
}

/* Makes two passes over the image, in blocks that fit in the first-level cache, because contrast
 * needs the mean over all pixels after the steps before it. */
static void apply_jitter(const void *drawn, const struct operation_canvas *canvas)
{
    enum { BLOCK = 1024 };
    const struct jitter *j = drawn;
    const int *order = j->order.items, n_steps = j->order.n;
    const size_t n = canvas->n;
    int before = 0;
    while (before < n_steps && order[before] != JITTER_CONTRAST)
        before++;
    double sum = 0;
    for (size_t i = 0; i < n; i += BLOCK) {
        float *const block[3] = {canvas->x + i, canvas->x + n + i, canvas->x + 2 * n + i};
        const size_t count = n - i < BLOCK ? n - i : BLOCK;
        take_steps(block, count, order, before, j->factors, 0);
        if (before < n_steps)
            sum += sum_of_grays(block[0], block[1], block[2], count);
    }
    const float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n && before < n_steps; i += BLOCK) {
        float *const block[3] = {canvas->x + i, canvas->x + n + i, canvas->x + 2 * n + i};
        const size_t count = n - i < BLOCK ? n - i : BLOCK;
        take_steps(block, count, order + before, n_steps - before, j->factors, mean);
    }
}

static const struct operation_field jitter_fields[] = {
    {"order", FIELD_LIST, .offset = offsetof(struct jitter, order), .names = jitter_names},
    {"brightness", FIELD_FLOAT, .offset = offsetof(struct jitter, factors[JITTER_BRIGHTNESS])},
    {"contrast", FIELD_FLOAT, .offset = offsetof(struct jitter, factors[JITTER_CONTRAST])},
    {"saturation", FIELD_FLOAT, .offset = offsetof(struct jitter, factors[JITTER_SATURATION])},
    {"hue", FIELD_FLOAT, .offset = offsetof(struct jitter, factors[JITTER_HUE])},
    {0},
};

const struct operation operation_jitter = {
    .name = "jitter",
    .colours = true,
    .parameters =
        {
            [JITTER_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.8},
            /* With a strength of 2.5, the range of hue is the whole circle. */
            [JITTER_STRENGTH] = {"strength", PARAMETER_NUMBER, .low = 1, .min = 0, .max = 2.5},
        },
    .draw = draw_jitter,
    .drawn_size = sizeof(struct jitter),
    .fields = jitter_fields,
    .apply = apply_jitter,
};
