/* cutout: a square around a random pixel of the view becomes mid-grey, 0.5; the parts beyond the
 * view's border are cut off (DeVries and Taylor 2017). The authors fill the square with zero after
 * subtracting the mean of the data, which is the same as filling it with the mean. The default is
 * theirs for CIFAR-10: half the side, always. */
#include <math.h>

#include "views/operation.h"

enum { CUTOUT_P, CUTOUT_SIDE };

static void draw_cutout(const struct operation_use *use, const struct operation_context *context,
                        void *drawn)
{
    struct random *r = context->random;
    const int size = context->size;
    const int rounded = (int)rint(size * operation_draw(use, CUTOUT_SIDE, r));
    const int side = rounded < 1 ? 1 : rounded;
    const int y = (int)random_below(r, (uint64_t)size) - side / 2;
    const int x = (int)random_below(r, (uint64_t)size) - side / 2;
    const int left = x < 0 ? 0 : x, right = x + side > size ? size : x + side;
    const int top = y < 0 ? 0 : y, bottom = y + side > size ? size : y + side;
    *(struct box *)drawn = (struct box){left, top, right - left, bottom - top};
}

static void apply_cutout(const void *drawn, const struct operation_canvas *canvas)
{
    const struct box *box = drawn;
    for (size_t c = 0; c < (size_t)canvas->channels; c++)
        for (int y = box->y; y < box->y + box->h; y++) {
            float *row = canvas->x + c * canvas->n + (size_t)y * (size_t)canvas->size;
            for (int x = box->x; x < box->x + box->w; x++)
                row[x] = 0.5f;
        }
}

const struct operation operation_cutout = {
    .name = "cutout",
    .parameters =
        {
            [CUTOUT_P] = {"probability", PARAMETER_PROBABILITY, .low = 1},
            [CUTOUT_SIDE] = {"side of the grey square (1: the view's)", PARAMETER_RANGE, 0.5, 0.5,
                             0, 1},
        },
    .draw = draw_cutout,
    .drawn_size = sizeof(struct box),
    .fields = operation_box_fields,
    .apply = apply_cutout,
};
