/* series: the operations that make a view of a time series, as policy.h has those of images.
 *
 * A list of them begins with a crop, or the whole series, which linear interpolation brings to the
 * view's length S: step i of the view lies at start + i (length - 1) / (S - 1). Values are float32,
 * and each operation does the same to all C channels, but for the noise. Jitter, scaling, masks and
 * permutation are those of Um et al., "Data augmentation of wearable sensor data for Parkinson's
 * disease monitoring" (2017). A trend is to series what colours are to images: views of a series
 * share their offset and slope, by which it can be told from others, unless these are changed. */
#ifndef SERIES_H
#define SERIES_H

#include "views/policy.h"

enum series_op {
    SERIES_CROP = OP_CROP,     /* a share of the steps */
    SERIES_CENTER = OP_CENTER, /* all of them; for evaluation */
    SERIES_JITTER,             /* adds noise: normals times sigma, in units of the values */
    SERIES_SCALING,            /* multiplies by a factor */
    SERIES_TREND,              /* adds a line: offset + slope (i / (S - 1) - 1/2) at step i */
    SERIES_MASK,               /* sets a share of the view's steps to 0 */
    SERIES_PERMUTATION,        /* cuts the view into segments, which change places */
    SERIES_OP_COUNT
};

extern const struct op_table series_ops;

/* Draws a view of `size` steps of a series of `length`. Noise is as view_draw() says. */
void series_draw(struct view *view, const struct policy *policy, int length, int size,
                 struct random *r);

/* x F32 (length,channels), of the length it was drawn for -> out F32 (size,channels). -1: memory is
 * out. */
int series_apply(const struct view *view, const float *x, int channels, int size,
                 struct view_memory *memory, float *out);

#endif
