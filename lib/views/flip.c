/* flip: mirrors the view, so that left becomes right. */
#include "base/multiversion.h"
#include "views/operation.h"

/* Swaps each value of left[n] with the value of right[n] at the mirrored place. */
MULTIVERSION
static void swap_reversed(float *restrict left, float *restrict right, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float t = left[i];
        left[i] = right[n - 1 - i];
        right[n - 1 - i] = t;
    }
}

static void apply_flip(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    const size_t size = (size_t)canvas->size, half = size / 2;
    for (float *row = canvas->x; row < canvas->x + (size_t)canvas->channels * canvas->n;
         row += size)
        swap_reversed(row, row + size - half, half);
}

const struct operation operation_flip = {
    .name = "flip",
    .parameters = {{"probability of mirroring left and right", PARAMETER_PROBABILITY, .low = 0.5}},
    .apply = apply_flip,
};
