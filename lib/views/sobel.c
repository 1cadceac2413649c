/* sobel: the strength of edges.
 *
 * Each channel x becomes min(1, sqrt(gx^2 + gy^2) / 4), where gx is x correlated with [-1 0 1; -2 0
 * 2; -1 0 1], gy is x correlated with its transpose, and the pixels of the border are repeated
 * beyond it. With the factor of a quarter, a straight edge from black to white becomes white. */
#include <math.h>
#include <string.h>

#include "base/multiversion.h"
#include "views/operation.h"

static size_t sobel_scratch(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    const size_t padded = (size_t)canvas->size + 2;
    return padded * padded;
}

/* Fills padded (size+2,size+2) with a plane and repeats its border. */
static void pad_plane(const float *plane, size_t size, float *padded)
{
    for (size_t y = 0; y < size + 2; y++, padded += size + 2) {
        const size_t from = y == 0 ? 0 : y > size ? size - 1 : y - 1;
        memcpy(padded + 1, plane + from * size, size * sizeof *plane);
        padded[0] = padded[1];
        padded[size + 1] = padded[size];
    }
}

/* Computes the row out[n] from the rows a, b and c of n+2 values: those above, at and below it. */
MULTIVERSION
static void magnitudes(const float *restrict a, const float *restrict b, const float *restrict c,
                       size_t n, float *restrict out)
{
    for (size_t x = 0; x < n; x++) {
        const float gx = (a[x + 2] - a[x]) + 2 * (b[x + 2] - b[x]) + (c[x + 2] - c[x]);
        const float gy = (c[x] - a[x]) + 2 * (c[x + 1] - a[x + 1]) + (c[x + 2] - a[x + 2]);
        const float magnitude = sqrtf(gx * gx + gy * gy) * 0.25f;
        out[x] = magnitude > 1 ? 1 : magnitude;
    }
}

static void apply_sobel(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    const size_t s = (size_t)canvas->size, stride = s + 2;
    for (size_t c = 0; c < (size_t)canvas->channels; c++) {
        float *plane = canvas->x + c * canvas->n;
        pad_plane(plane, s, canvas->scratch);
        for (size_t y = 0; y < s; y++) {
            const float *row = canvas->scratch + y * stride;
            magnitudes(row, row + stride, row + 2 * stride, s, plane + y * s);
        }
    }
}

const struct operation operation_sobel = {
    .name = "sobel",
    .parameters = {{"probability of showing edges", PARAMETER_PROBABILITY, .low = 0.5}},
    .apply = apply_sobel,
    .scratch = sobel_scratch,
};
