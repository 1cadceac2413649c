/* view: one view of an image or a series: what is drawn for it, and its values.
 *
 * What was drawn is open to the caller between the two steps, for --trace and for tests. */
#ifndef VIEW_H
#define VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "data/image.h"
#include "views/operation.h"
#include "views/policy.h"

/* An operation that is applied to one view. What was drawn is in the struct that the operation
 * defines, so a view is copied with memcpy(): the compiler may take an assignment for one of bytes. */
struct view_op {
    const struct operation *operation;
    _Alignas(8) unsigned char drawn[OPERATION_MAX_DRAWN]; /* the operation's own struct */
};

struct view {
    struct view_op ops[POLICY_MAX_OPS]; /* in the order in which they are applied */
    int n_ops;
    int reduction; /* d where the view is made of the image decoded at 1/d, as the caller notes; 1 */
};

/* Draws a view of `size` pixels a side, or steps, of a width x height image, or of a series of
 * `width` steps whose height is 1. The random numbers are r's: for each operation of the policy in
 * turn whether it is applied, and then what it draws itself. */
void view_draw(struct view *view, const struct policy *policy, int width, int height, int size,
               struct random *r);

/* The part of the image, in its pixels, that the view shows; of a series the steps. */
const struct box *view_box(const struct view *view);

/* How that operation came out in a view, as a label: 0 if it was not applied, else 1, or what its
 * outcome() says. */
int64_t view_outcome(const struct view *view, const struct operation *operation);

/* The scale that leaves the view's box exactly as many pixels as the view has, on its shorter side;
 * above 1 if the box is smaller than the view. */
double view_scale_needed(const struct view *view, int size);

/* The memory that views are computed in. Each thread needs one of its own, which starts as {0} and
 * grows with the largest image seen. */
struct view_memory {
    float *floats;
    size_t count;
};
void view_memory_free(struct view_memory *memory); /* leaves {0} */

/* Computes a view. The image has the width and height that the view was drawn for.
 *
 * view_apply()         image -> out U8 (size,size,3): values are rounded once, at the end
 * view_apply_series()  F32 (length,channels) -> out F32 (size,channels)
 *
 * Returns -1 with a message if memory is out. */
int view_apply(const struct view *view, const struct scaled_image *image, int size,
               struct view_memory *memory, uint8_t *out);
int view_apply_series(const struct view *view, const float *x, int length, int channels, int size,
                      struct view_memory *memory, float *out);

#endif
