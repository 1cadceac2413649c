/* gray: all three channels become the pixel's grey, as in torchvision's rgb_to_grayscale. */
#include "base/multiversion.h"
#include "views/operation.h"
#include "views/pixels.h"

MULTIVERSION
static void make_gray(float *restrict r, float *restrict g, float *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        r[i] = g[i] = b[i] = pixels_clamp(pixels_gray(r[i], g[i], b[i]));
}

static void apply_gray(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    make_gray(canvas->x, canvas->x + canvas->n, canvas->x + 2 * canvas->n, canvas->n);
}

const struct operation operation_gray = {
    .name = "gray",
    .colours = true,
    .parameters = {{"probability of taking the colour out", PARAMETER_PROBABILITY, .low = 0.2}},
    .apply = apply_gray,
};
