/* crop on series: a run of steps that is a random fraction of the series. */
#include "views/operation.h"
#include "views/resample.h"

enum { SERIES_CROP_SHARE, SERIES_CROP_P };

static void draw_series_crop(const struct operation_use *use,
                             const struct operation_context *context, void *drawn)
{
    *(struct box *)drawn =
        operation_draw_run(use, SERIES_CROP_SHARE, context->width, 2, context->random);
}

const struct operation operation_series_crop = {
    .name = "crop",
    .note = "linear",
    .parameters =
        {
            [SERIES_CROP_SHARE] = {"share of the steps", PARAMETER_RANGE, 0.5, 1, 1e-6, 1},
            [SERIES_CROP_P] = {"probability", PARAMETER_PROBABILITY, .low = 1},
        },
    .first = true,
    .draw = draw_series_crop,
    .drawn_size = sizeof(struct box),
    .fields = operation_run_fields,
    .apply = resample_run,
};
