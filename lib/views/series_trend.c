/* trend on series: adds a line, offset + slope (i / (S - 1) - 1/2) at step i of S.
 *
 * A trend is for series what colours are for images: views of a series share their offset and
 * slope, from which a network could recognize the series unless these are changed. */
#include "views/operation.h"

enum { TREND_P, TREND_STRENGTH };

struct trend {
    float offset, slope; /* in the units of the values */
};

static void draw_trend(const struct operation_use *use, const struct operation_context *context,
                       void *drawn)
{
    struct trend *t = drawn;
    const double strength = use->values[TREND_STRENGTH].low;
    t->offset = (float)random_uniform(context->random, -strength, strength);
    t->slope = (float)random_uniform(context->random, -strength, strength);
}

static void apply_trend(const void *drawn, const struct operation_canvas *canvas)
{
    const struct trend *t = drawn;
    const int size = canvas->size;
    const float step = size > 1 ? 1 / (float)(size - 1) : 0;
    float *x = canvas->x;
    for (int i = 0; i < size; i++) {
        const float line = t->offset + t->slope * ((float)i * step - 0.5f);
        for (int c = 0; c < canvas->channels; c++)
            *x++ += line;
    }
}

static const struct operation_field trend_fields[] = {
    {"offset", FIELD_FLOAT, .offset = offsetof(struct trend, offset)},
    {"slope", FIELD_FLOAT, .offset = offsetof(struct trend, slope)},
    {0},
};

const struct operation operation_series_trend = {
    .name = "trend",
    .parameters =
        {
            [TREND_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.8},
            [TREND_STRENGTH] = {"strength of a line that is added", PARAMETER_NUMBER, .low = 2,
                                .min = 0, .max = 1e6},
        },
    .draw = draw_trend,
    .drawn_size = sizeof(struct trend),
    .fields = trend_fields,
    .apply = apply_trend,
};
