/* crop: a random box of the image. It is drawn as in torchvision's RandomResizedCrop: after ten
 * failed tries, it is the central box that fits the range of aspect ratios. Area and aspect ratio
 * are SimCLR's (Chen et al. 2020, appendix A). */
#include <math.h>

#include "views/operation.h"
#include "views/resample.h"

enum { CROP_AREA, CROP_P, CROP_ASPECT };

static int at_least_one(double side)
{
    return side < 1 ? 1 : (int)side;
}

static void draw_crop(const struct operation_use *use, const struct operation_context *context,
                      void *drawn)
{
    struct box *box = drawn;
    struct random *r = context->random;
    const int width = context->width, height = context->height;
    const struct operation_range aspect = use->values[CROP_ASPECT];
    for (int attempt = 0; attempt < 10; attempt++) {
        const double area = (double)width * height * operation_draw(use, CROP_AREA, r);
        const double ratio = exp(random_uniform(r, log(aspect.low), log(aspect.high)));
        const double w = rint(sqrt(area * ratio)), h = rint(sqrt(area / ratio));
        if (w >= 1 && w <= width && h >= 1 && h <= height) {
            box->w = (int)w;
            box->h = (int)h;
            box->y = (int)random_below(r, (uint64_t)(height - box->h + 1));
            box->x = (int)random_below(r, (uint64_t)(width - box->w + 1));
            return;
        }
    }
    const double ratio = (double)width / height;
    if (ratio < aspect.low)
        box->h = at_least_one(rint(width / aspect.low));
    else if (ratio > aspect.high)
        box->w = at_least_one(rint(height * aspect.high));
    box->x = (width - box->w) / 2;
    box->y = (height - box->h) / 2;
}

const struct operation operation_crop = {
    .name = "crop",
    .note = "bicubic",
    .parameters =
        {
            [CROP_AREA] = {"share of the area", PARAMETER_RANGE, 0.08, 1, 1e-6, 1},
            [CROP_P] = {"probability", PARAMETER_PROBABILITY, .low = 1},
            [CROP_ASPECT] = {"aspect", PARAMETER_RANGE, 3 / 4.0, 4 / 3.0, 0.01, 100},
        },
    .first = true,
    .draw = draw_crop,
    .drawn_size = sizeof(struct box),
    .fields = operation_box_fields,
    .apply = resample_box,
    .scratch = resample_box_scratch,
};
