/* view: one view of an image or a series: the values that are drawn for it, and the result.
 *
 * The caller can read and change what was drawn before it computes the view. --trace and tests do
 * so. */
#ifndef VIEW_H
#define VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "data/image.h"
#include "views/operation.h"
#include "views/policy.h"

/* An operation that is applied to one view. What was drawn is in the struct that the operation
 * defines. Copy a view with memcpy(): the compiler may treat an assignment as one of bytes. */
struct view_op {
    const struct operation *operation;
    _Alignas(8) unsigned char drawn[OPERATION_MAX_DRAWN]; /* the operation's own struct */
};

struct view {
    struct view_op ops[POLICY_MAX_OPS]; /* in the order in which they are applied */
    int n_ops;
    int reduction; /* d if the image was decoded at 1/d, which the caller sets; else 1 */
};

/* Draws a view of `size` pixels a side, or steps, of a width x height image, or of a series of
 * `width` steps with height 1. It takes random numbers from r: for each operation of the policy in
 * turn, whether it is applied, and then the operation's own values. */
void view_draw(struct view *view, const struct policy *policy, int width, int height, int size,
               struct random *r);

/* Returns the part of the image, in its pixels, that the view shows; for a series, its steps. */
const struct box *view_box(const struct view *view);

/* Returns the operation's outcome in a view as a label: 0 if it was not applied, else the result of
 * its outcome(), or 1 if it has none. */
int64_t view_outcome(const struct view *view, const struct operation *operation);

/* Returns the scale at which the shorter side of the view's box has exactly as many pixels as the
 * view. It is above 1 if the box is smaller than the view. */
double view_scale_needed(const struct view *view, int size);

/* The memory in which views are computed. Each thread needs its own, which starts as {0} and grows
 * with the largest image. */
struct view_memory {
    float *floats;
    size_t count;
};
void view_memory_free(struct view_memory *memory); /* leaves {0} */

/* Compute a view. The image has the width and height for which the view was drawn.
 *
 *   view_apply()         image -> out U8 (size,size,3): values are rounded once, at the end
 *   view_apply_raw()     image of any channels -> out F32 (size,size,channels) in [0,1]
 *   view_apply_series()  F32 (length,channels) -> out F32 (size,channels)
 *
 * Return -1 with a message if memory is out. */
int view_apply(const struct view *view, const struct scaled_image *image, int size,
               struct view_memory *memory, uint8_t *out);
int view_apply_raw(const struct view *view, const struct scaled_image *image, int size,
                   struct view_memory *memory, float *out);
int view_apply_series(const struct view *view, const float *x, int length, int channels, int size,
                      struct view_memory *memory, float *out);

#endif
