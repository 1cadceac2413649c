/* preconditioner: the change of variables in which the linear probe is fitted.
 *
 * With S the correlation matrix of the features, H = s S + l2 I and R'R = H, the probe is fitted over
 * U = R W instead of W. P = R^-1 is computed to about float32's precision, from an S of rounded
 * features, and its rounded values then are the change of variables, W = P U. So rounding changes the
 * path to the minimum and not the minimum, and products with P are in float64. */
#ifndef PRECONDITIONER_H
#define PRECONDITIONER_H

#include <stdint.h>

#include "evaluate/feature_set.h"
#include "evaluate/progress_line.h"

enum { PRECONDITIONER_MAX_WIDTH = 8192 }; /* wider matrices would not fit into memory */

/* Starts as {0}; preconditioner_free() frees what it holds. Without `inverse`, U is W. */
struct preconditioner {
    int64_t width;      /* D */
    float *correlation; /* [D,D] S, upper triangle */
    double *factor;     /* [D,D] R, upper triangle */
    float *inverse;     /* [D,D] P, zeros below the diagonal */
    const float **rows; /* [D] those of P */
    double *zeros;      /* [D] */
    double *scratch;    /* [D,classes] */
};

/* Computes S of all rows of x, which have this mean and 1 / standard deviation. Does nothing if there
 * are more than PRECONDITIONER_MAX_WIDTH features. Returns -1 with a message if memory is out. */
int preconditioner_make(struct preconditioner *p, const struct feature_set *x, const double *mean,
                        const double *inverse_std, int64_t classes, progress_line *progress);

/* Computes P for H = scale S + l2 I. Returns -1 with a message if memory is out. */
int preconditioner_set(struct preconditioner *p, double scale, double l2);

/* Computes w = P u for each of the classes; u and w are [classes,D]. */
void preconditioner_apply(const struct preconditioner *p, const double *u, int64_t classes,
                          double *w);

/* Computes u = R w. */
void preconditioner_undo(const struct preconditioner *p, const double *w, int64_t classes,
                         double *u);

/* Computes gu = P'gw, the gradient with respect to u from that with respect to w. */
void preconditioner_chain(const struct preconditioner *p, const double *gw, int64_t classes,
                          double *gu);

void preconditioner_free(struct preconditioner *p); /* leaves {0} */

#endif
