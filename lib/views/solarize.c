/* solarize: values x from a threshold on become 1 - x. The defaults are those of BYOL's second view
 * (Grill et al. 2020, table 6). */
#include "base/multiversion.h"
#include "views/operation.h"

enum { SOLARIZE_P, SOLARIZE_THRESHOLD };

struct solarize {
    float threshold;
};

static void draw_solarize(const struct operation_use *use, const struct operation_context *context,
                          void *drawn)
{
    (void)context;
    ((struct solarize *)drawn)->threshold = (float)use->values[SOLARIZE_THRESHOLD].low;
}

MULTIVERSION
static void invert_from(float *x, size_t n, float threshold)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] >= threshold ? 1 - x[i] : x[i];
}

static void apply_solarize(const void *drawn, const struct operation_canvas *canvas)
{
    invert_from(canvas->x, (size_t)canvas->channels * canvas->n,
                ((const struct solarize *)drawn)->threshold);
}

static const struct operation_field solarize_fields[] = {
    {"threshold", FIELD_FLOAT, .offset = offsetof(struct solarize, threshold)},
    {0},
};

const struct operation operation_solarize = {
    .name = "solarize",
    .parameters =
        {
            [SOLARIZE_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.2},
            [SOLARIZE_THRESHOLD] = {"threshold (0 black, 1 white)", PARAMETER_NUMBER, .low = 0.5,
                                    .min = 0, .max = 1},
        },
    .draw = draw_solarize,
    .drawn_size = sizeof(struct solarize),
    .fields = solarize_fields,
    .apply = apply_solarize,
};
