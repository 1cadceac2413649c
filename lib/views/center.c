/* center: the part of the image that an evaluation shows. Small views show the whole image, larger
 * ones show the central square of 87.5% of the shorter side. */
#include <math.h>

#include "views/operation.h"
#include "views/resample.h"

enum { CENTER_WHOLE_UP_TO = 64 /* pixels a side of the view */ };

static void draw_center(const struct operation_use *use, const struct operation_context *context,
                        void *drawn)
{
    (void)use;
    if (context->size <= CENTER_WHOLE_UP_TO)
        return;
    const int width = context->width, height = context->height;
    const int shorter = width < height ? width : height;
    const int rounded = (int)rint(0.875 * shorter), side = rounded < 1 ? 1 : rounded;
    *(struct box *)drawn = (struct box){(width - side) / 2, (height - side) / 2, side, side};
}

const struct operation operation_center = {
    .name = "center",
    .note = "for evaluation: keeps the order, drops nothing",
    .first = true,
    .evaluation = true,
    .draw = draw_center,
    .drawn_size = sizeof(struct box),
    .fields = operation_box_fields,
    .apply = resample_box,
    .scratch = resample_box_scratch,
};
