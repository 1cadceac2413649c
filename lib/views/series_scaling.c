/* scaling on series: multiplies all values by one factor (Um et al. 2017). */
#include "views/operation.h"

enum { SCALING_P, SCALING_FACTOR };

struct scaling {
    float factor;
};

static void draw_scaling(const struct operation_use *use, const struct operation_context *context,
                         void *drawn)
{
    ((struct scaling *)drawn)->factor = (float)operation_draw(use, SCALING_FACTOR, context->random);
}

static void apply_scaling(const void *drawn, const struct operation_canvas *canvas)
{
    const float factor = ((const struct scaling *)drawn)->factor;
    for (size_t i = 0; i < canvas->n; i++)
        canvas->x[i] *= factor;
}

static const struct operation_field scaling_fields[] = {
    {"factor", FIELD_FLOAT, .offset = offsetof(struct scaling, factor)},
    {0},
};

const struct operation operation_series_scaling = {
    .name = "scaling",
    .parameters =
        {
            [SCALING_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.8},
            [SCALING_FACTOR] = {"factor", PARAMETER_RANGE, 0.5, 1.5, 0, 1e6},
        },
    .draw = draw_scaling,
    .drawn_size = sizeof(struct scaling),
    .fields = scaling_fields,
    .apply = apply_scaling,
};
