/* mask on series: sets a run of the view's steps to 0 (Um et al. 2017). */
#include <string.h>

#include "views/operation.h"

enum { MASK_P, MASK_SHARE };

static void draw_mask(const struct operation_use *use, const struct operation_context *context,
                      void *drawn)
{
    *(struct box *)drawn = operation_draw_run(use, MASK_SHARE, context->size, 0, context->random);
}

static void apply_mask(const void *drawn, const struct operation_canvas *canvas)
{
    const struct box *run = drawn;
    const size_t channels = (size_t)canvas->channels;
    memset(canvas->x + (size_t)run->x * channels, 0, (size_t)run->w * channels * sizeof(float));
}

const struct operation operation_series_mask = {
    .name = "mask",
    .parameters =
        {
            [MASK_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.5},
            [MASK_SHARE] = {"share of the steps set to 0", PARAMETER_RANGE, 0.1, 0.3, 0, 1},
        },
    .draw = draw_mask,
    .drawn_size = sizeof(struct box),
    .fields = operation_run_fields,
    .apply = apply_mask,
};
