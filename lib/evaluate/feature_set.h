/* feature_set: a stream of frames gathered into one matrix with labels, for the evaluator. */
#ifndef FEATURE_SET_H
#define FEATURE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/class_names.h"
#include "link/link.h"

enum { FEATURE_SET_MAX_CLASSES = 4096 }; /* labels are below this */

struct feature_set {
    float *x;   /* [n,width] */
    int64_t *y; /* [n], each from 0 to classes - 1 */
    int64_t n, width;
    int classes;    /* the largest label + 1 */
    char on[8];     /* the tensor they came from: "h", "z", ...; "" before the first frame */
    bool by_number; /* set before reading: class names are not looked at */
    struct class_names names; /* what the labels are called; n is 0 where the stream does not say */
    char *names_text;         /* as the first frame has it */
    bool begun;               /* a frame has come */
    int64_t capacity;
};

/* Adds a frame's rows. `on` names the tensor, in at most 7 letters; "" takes the first of "h", "z"
 * and "x" that the first frame has. Any float dtype; U8, as pixels are, is scaled by 1/255. Shape
 * [B,D] or [B,1,...], flattened to B rows: frames with several views of an image are refused, for
 * what is judged are images as they are (augment --views 1). Labels are `y` I64 [B], non-negative.
 * The first frame's class names count, each label having one; a later frame may only repeat them.
 * -1 with a message, also for a width that changes and for NaN or infinity, whose row is named. */
int feature_set_add(struct feature_set *f, const struct frame *frame, const char *on);

/* Reads the stream to its end and closes it. -1 with a message that names the stream, also when
 * it holds no rows. `f` starts zeroed or empty, and is to be freed in either case. A line that
 * counts the rows is kept on stderr while it lasts, if `label` is not NULL. */
int feature_set_read(struct feature_set *f, const char *endpoint, const struct link_config *links,
                     const char *on, const char *label);

void feature_set_free(struct feature_set *f);

#endif
