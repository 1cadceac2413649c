/* rotate: by 90, 180 or 270 degrees counterclockwise, like numpy's rot90(), with equal
 * probability. */
#include <string.h>

#include "views/operation.h"

struct rotate {
    int degrees;
};

static void draw_rotate(const struct operation_use *use, const struct operation_context *context,
                        void *drawn)
{
    (void)use;
    ((struct rotate *)drawn)->degrees = 90 * (1 + (int)random_below(context->random, 3));
}

static int64_t quarter_turns(const void *drawn)
{
    return ((const struct rotate *)drawn)->degrees / 90;
}

static size_t rotate_scratch(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    return canvas->n;
}

static void apply_rotate(const void *drawn, const struct operation_canvas *canvas)
{
    const ptrdiff_t s = canvas->size, last = s - 1, quarters = quarter_turns(drawn);
    /* Output (y, x) comes from offset + y * down + x * right. */
    const ptrdiff_t down[] = {s, -1, -s, 1}, right[] = {1, s, -1, -s};
    const ptrdiff_t start[] = {0, last, s * s - 1, last * s};
    float *turned = canvas->scratch;
    for (int c = 0; c < canvas->channels; c++) {
        float *plane = canvas->x + c * s * s;
        for (ptrdiff_t y = 0; y < s; y++)
            for (ptrdiff_t x = 0; x < s; x++)
                turned[y * s + x] =
                    plane[start[quarters] + y * down[quarters] + x * right[quarters]];
        memcpy(plane, turned, (size_t)(s * s) * sizeof *plane);
    }
}

static const struct operation_field rotate_fields[] = {
    {"degrees", FIELD_INT, .offset = offsetof(struct rotate, degrees)},
    {0},
};

const struct operation operation_rotate = {
    .name = "rotate",
    /* Three of four views are rotated, so that all four directions, including the upright one, have
     * equal probability. */
    .parameters = {{"probability of 90, 180 or 270 degrees", PARAMETER_PROBABILITY, .low = 0.75}},
    .draw = draw_rotate,
    .drawn_size = sizeof(struct rotate),
    .fields = rotate_fields,
    .apply = apply_rotate,
    .scratch = rotate_scratch,
    .n_outcomes = 3,
    .outcome = quarter_turns,
};
