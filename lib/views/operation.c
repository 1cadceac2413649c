#include "views/operation.h"

#include <math.h>
#include <string.h>

/* ---- all operations: ROW(NAME) is operation_NAME, which NAME.c defines ---- */

/* The order is that of --help and of messages. Each list begins with the crop, which is also used
 * for the whole image if a list of operations begins with neither crop nor center. */
#define ON_IMAGES(ROW)                                                                             \
    ROW(crop)                                                                                      \
    ROW(center)                                                                                    \
    ROW(flip)                                                                                      \
    ROW(jitter)                                                                                    \
    ROW(gray)                                                                                      \
    ROW(blur)                                                                                      \
    ROW(solarize)                                                                                  \
    ROW(cutout)                                                                                    \
    ROW(rotate)                                                                                    \
    ROW(noise)                                                                                     \
    ROW(sobel)

#define ON_SERIES(ROW)                                                                             \
    ROW(series_crop)                                                                               \
    ROW(series_center)                                                                             \
    ROW(series_jitter)                                                                             \
    ROW(series_scaling)                                                                            \
    ROW(series_trend)                                                                              \
    ROW(series_mask)                                                                               \
    ROW(series_permutation)

#define DECLARE(name) extern const struct operation operation_##name;
#define ENTRY(name) &operation_##name,
ON_IMAGES(DECLARE)
ON_SERIES(DECLARE)
static const struct operation *const on_images[] = {ON_IMAGES(ENTRY) NULL};
static const struct operation *const on_series[] = {ON_SERIES(ENTRY) NULL};

const struct operation_set operations_on_images = {"images", on_images};
const struct operation_set operations_on_series = {"series", on_series};

const struct operation *operation_find(const struct operation_set *set, const char *name,
                                       size_t length)
{
    for (const struct operation *const *o = set->operations; *o; o++)
        if (strlen((*o)->name) == length && strncmp((*o)->name, name, length) == 0)
            return *o;
    return NULL;
}

/* ---- for operations ---- */

const struct operation_field operation_box_fields[] = {
    {"x", FIELD_INT, .offset = offsetof(struct box, x)},
    {"y", FIELD_INT, .offset = offsetof(struct box, y)},
    {"w", FIELD_INT, .offset = offsetof(struct box, w)},
    {"h", FIELD_INT, .offset = offsetof(struct box, h)},
    {0},
};

const struct operation_field operation_run_fields[] = {
    {"start", FIELD_INT, .offset = offsetof(struct box, x)},
    {"length", FIELD_INT, .offset = offsetof(struct box, w)},
    {0},
};

double operation_draw(const struct operation_use *use, int parameter, struct random *random)
{
    const struct operation_range *range = &use->values[parameter];
    return random_uniform(random, range->low, range->high);
}

struct box operation_draw_run(const struct operation_use *use, int parameter, int n, int least,
                              struct random *random)
{
    int length = (int)rint(n * operation_draw(use, parameter, random));
    if (length < least)
        length = least < n ? least : n;
    return (struct box){(int)random_below(random, (uint64_t)(n - length + 1)), 0, length, 1};
}
