/* columns: the moments of the columns of a batch of projections, for losses that compare columns
 * (dimensions) and not rows.
 *
 * Image i's two views are the rows x_i = z[2i] and y_i = z[2i + 1]. A column's values are taken
 * relative to those of the first image, and added in float64. With s the first and m the mean of n
 * values, (s - m)^2 is at most n times their variance, so the one pass loses at most a factor n of
 * float64's precision, however large the mean is beside the deviation. */
#ifndef COLUMNS_H
#define COLUMNS_H

#include <stdint.h>

#include "loss/loss_types.h"

/* The moments of d columns. Views are 0 and 1. */
struct columns {
    int64_t n, d;
    double *mean[2];   /* of z - first, where first is the first image's value (d) */
    double *square[2]; /* sums over images of squared deviations from the mean (d) */
    double *product;   /* sums of the products of both views' deviations (d) */
    double *apart;     /* sums of (x - y)^2 (d) */
    double *memory;    /* holds all of these */
};

/* Measures in->z, whose in->n rows are two views of each of in->n / 2 images. The number of threads
 * changes no bit. Returns 0, or -1 with a message if memory is out. The caller calls
 * columns_free(). */
int columns_measure(struct columns *c, const struct loss_input *in);
void columns_free(struct columns *c);

#endif
