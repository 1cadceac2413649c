/* geometry: how features lie in space, without labels or a classifier: whether the views of an
 * image are close, whether different images are far apart, and how many dimensions are in use.
 *
 * u is the direction x / |x| of a row x; a row of zeros stays zero. */
#ifndef GEOMETRY_H
#define GEOMETRY_H

#include <stdint.h>
#include <stdio.h>

#include "evaluate/feature_set.h"
#include "evaluate/progress_line.h"

struct geometry {
    double z_std, alignment; /* of the rows (base/spread.h); alignment is NAN with one view */
    /* The logarithm of the mean of exp(-2 |u_i - u_j|^2) over all pairs of rows i < j of different
     * images (Wang and Isola 2020, arXiv 2005.10242, with t = 2; with one view this is their
     * lunif()). From 0, if all u are equal, down to about -4 for directions that are spread evenly
     * in many dimensions. NAN if there is one image only. */
    double uniformity;
    /* exp of the entropy of s_k / (s_1 + s_2 + ...), where s_k are the singular values of the rows
     * x as they are, after the mean row is subtracted (Roy and Vetterli 2007, "The effective rank:
     * a measure of effective dimensionality", EUSIPCO). From 1, if the rows lie on one line, to the
     * width. 0 if all rows are equal. */
    double effective_rank;
    int64_t zeros; /* rows of zeros, which have no direction */
};

/* Measures the rows of f, of which f->views adjacent ones are the views of an image. Sums are in
 * float64, and the result does not depend on the number of threads. The pairs are computed in
 * tiles: they take 8 TILE (2 width + TILE) bytes a thread, with a TILE of 256 rows, and never a
 * matrix of all pairs. singular_values.h takes memory for 3 min(n, width)^2 numbers. `progress` may
 * be NULL. Returns 0, or -1 with a message if memory is out, there are too many features and rows,
 * or a signal asks the program to stop. */
int geometry_measure(struct geometry *g, const struct feature_set *f, progress_line *progress);

/* Writes a JSON object and a newline; what is NAN is null, and numbers have 9 significant digits.
 * Returns -1 with a message if memory is out. Errors of `file` show in ferror(). */
int geometry_write(const struct geometry *g, const struct feature_set *f, FILE *file);

#endif
