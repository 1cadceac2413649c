/* feature_set: collects a stream of frames into one matrix of features with labels. */
#ifndef FEATURE_SET_H
#define FEATURE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "evaluate/progress_line.h"
#include "frame/class_names.h"
#include "link/link.h"

enum { FEATURE_SET_MAX_CLASSES = 4096 }; /* every label is below this */

/* Starts as {0}; feature_set_free() frees what it holds. */
struct feature_set {
    float *x;       /* [n,width], memory of large_pages.h */
    size_t x_bytes; /* what x has room for */
    int64_t *y;     /* [n], each from 0 to classes - 1, or -1 for a row without a label */
    int64_t *index; /* [n], only if `unlabelled` is set: the numbers of the images, from the tensor
                     * `index`, or row numbers if a frame has none */
    int64_t n, width;
    int64_t views; /* views of each image, which are adjacent rows: 1 unless `every_view` is set */
    int classes;   /* the largest label + 1 */
    char on[8];    /* name of the tensor that x comes from: "h", "z", ...; "" before any frame */
    /* The caller may set these before reading. */
    bool by_number;  /* ignore class names */
    bool unlabelled; /* accept rows without a label: a missing `y`, or -1 */
    bool every_view; /* take the rows of several views of each image, and no labels or names */
    struct class_names names; /* names of the labels; n is 0 if the stream gives none */
    char *names_text;         /* class_names of the first frame, as JSON; NULL if it has none */
    /* The same of `logit_names`, the names of the columns of x, which a classifier writes. */
    struct class_names logit_names;
    char *logit_names_text;
    bool begun;       /* a frame has been added */
    int64_t capacity; /* rows that x and y have room for */
};

/* Appends a frame's rows. `on` names the tensor, in at most 7 letters; "" chooses the first of "h",
 * "z" and "x" that the first frame has. The tensor may have any float dtype, or U8, which is scaled
 * by 1/255 as pixels are. Its shape is [B,D], or [B,1,...], which is flattened to B rows. The
 * labels are `y` I64 [B], and none is negative, unless f->unlabelled is set. If the first frame
 * names the classes, each label must have a name, and a later frame must repeat the same names or give none.
 *
 * If f->every_view is set, `y` is not read, and the shape may also be [B,V,...] with the same V in
 * all frames, which is flattened to B x V rows; f->views is then V.
 *
 * Returns -1 with a message if the frame does not fit this description, if it holds several views
 * of an image (evaluation takes images as they are: augment --views 1), if the width D changes, if
 * a value is NaN or infinite (the message names its row), or if memory is out. */
int feature_set_add(struct feature_set *f, const struct frame *frame, const char *on);

/* Reads the stream at `endpoint` to its end, adds each frame as feature_set_add() does, and closes
 * the stream. Reports "reading WHAT: N rows" to `progress` (NULL: no report). Returns -1 with a
 * message that names the stream, also if it holds no rows; the caller frees *f in either case. */
int feature_set_read(struct feature_set *f, const char *endpoint, const struct link_config *links,
                     const char *on, const char *what, progress_line *progress);

/* Scales each row to length 1. Rows of zeros stay as they are. */
void feature_set_scale(struct feature_set *f);

void feature_set_free(struct feature_set *f); /* leaves {0} */

#endif
