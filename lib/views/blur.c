/* blur: Gaussian, with a kernel of a tenth of the view's side and reflected edges, like
 * torchvision's gaussian_blur on float tensors. The defaults are SimCLR's (Chen et al. 2020,
 * appendix A). */
#include <math.h>
#include <string.h>

#include "views/operation.h"
#include "views/pixels.h"

enum { BLUR_P, BLUR_SIGMA };

struct blur {
    float sigma; /* pixels, above 0 */
    int kernel;  /* width, odd and at most the side of the view */
};

static void draw_blur(const struct operation_use *use, const struct operation_context *context,
                      void *drawn)
{
    struct blur *b = drawn;
    b->sigma = (float)operation_draw(use, BLUR_SIGMA, context->random);
    b->kernel = context->size / 10 / 2 * 2 + 1; /* a tenth, made odd: 23 for 224 */
}

/* Rounds up to a multiple of the floats of a cache line, so that the next part begins at a whole
 * line. */
static size_t line_floats(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

/* Returns the floats of the weights, a row with its reflected ends, and a plane with its reflected
 * rows. */
static size_t blur_scratch(const void *drawn, const struct operation_canvas *canvas)
{
    const size_t s = (size_t)canvas->size, k = (size_t)((const struct blur *)drawn)->kernel;
    return line_floats(k) + line_floats(s + k) + (s + k) * s;
}

/* Mirrors an index at the first and the last of n values, which are not repeated. */
static int reflect(int i, int n)
{
    i = i < 0 ? -i : i;
    return i >= n ? 2 * (n - 1) - i : i;
}

/* Fills weights[kernel]. Returns how many weights at either end are too small to matter: together
 * they change a value in [0,1] by less than 2^-25, which is half of float32's last place. */
static int make_weights(float *weights, int kernel, float sigma)
{
    double sum = 0;
    for (int k = 0; k < kernel; k++) {
        const double x = (k - kernel / 2) / (double)sigma;
        sum += exp(-0.5 * x * x);
    }
    int small = 0;
    for (int k = 0; k < kernel; k++) {
        const double x = (k - kernel / 2) / (double)sigma, weight = exp(-0.5 * x * x) / sum;
        weights[k] = (float)weight;
        small += k < kernel / 2 && weight * kernel < 0x1p-25;
    }
    return small;
}

static void apply_blur(const void *drawn, const struct operation_canvas *canvas)
{
    const struct blur *b = drawn;
    const int size = canvas->size;
    const size_t s = (size_t)size;
    float *weights = canvas->scratch, *row = weights + line_floats((size_t)b->kernel);
    float *padded = row + line_floats((size_t)(size + b->kernel));
    const int small = make_weights(weights, b->kernel, b->sigma);
    const int radius = b->kernel / 2 - small, taps = 2 * radius + 1;
    weights += small;
    for (int c = 0; c < canvas->channels; c++) {
        float *plane = canvas->x + (size_t)c * s * s;
        for (int y = -radius; y < size + radius; y++) {
            const float *from = plane + (size_t)reflect(y, size) * s;
            memcpy(padded + (size_t)(y + radius) * s, from, s * sizeof *from);
        }
        for (int y = 0; y < size; y++) {
            pixels_weighted_sum(row + radius, s, weights, taps, padded + (size_t)y * s, s);
            for (int x = 0; x < radius; x++) {
                row[x] = row[radius + reflect(x - radius, size)];
                row[radius + size + x] = row[radius + reflect(size + x, size)];
            }
            pixels_weighted_sum(plane + (size_t)y * s, s, weights, taps, row, 1);
        }
    }
}

static const struct operation_field blur_fields[] = {
    {"sigma", FIELD_FLOAT, .offset = offsetof(struct blur, sigma)},
    {"kernel", FIELD_INT, .offset = offsetof(struct blur, kernel)},
    {0},
};

const struct operation operation_blur = {
    .name = "blur",
    .parameters =
        {
            [BLUR_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.5},
            [BLUR_SIGMA] = {"sigma in pixels", PARAMETER_RANGE, 0.1, 2, 1e-3, 1000},
        },
    .draw = draw_blur,
    .drawn_size = sizeof(struct blur),
    .fields = blur_fields,
    .apply = apply_blur,
    .scratch = blur_scratch,
};
