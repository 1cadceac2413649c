/* vicreg: the variance-invariance-covariance loss, VICReg (Bardes et al. 2022, arXiv 2105.04906,
 * equations 1 to 6).
 *
 * With x and y the two views (B, d), var the columns' variances and C_x, C_y the covariances of the
 * columns of each view, with 1/(B - 1),
 *
 *     loss = sim mean over images and dimensions of (x - y)^2
 *          + var mean over dimensions and views of max(0, 1 - sqrt(var + 1e-4))
 *          + cov/d (sum over j != k of C_x_jk^2 + C_y_jk^2)
 *
 * as the paper's own code has it. Its equation 5 adds the first term up over dimensions, and
 * equation 6 the second one over views, instead of taking means. */
#ifndef VICREG_H
#define VICREG_H

#include "loss/loss_types.h"

/* The weights of the three terms. */
struct vicreg_settings {
    double sim, var, cov;
};

/* Writes the gradient to dz (n, d), where rows 2i and 2i + 1 are the views of image i. Reads n, d,
 * z, threads and product of *in; n is at least 4. Sets the loss; the other metrics become NAN. Needs
 * O(n d) memory. The result does not depend on the number of threads by a single bit. Returns 0, or
 * -1 with a message if memory is out. */
int vicreg(const struct loss_input *in, const struct vicreg_settings *settings, float *dz,
           struct loss_metrics *metrics);

#endif
