/* barlow: the loss of Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230, equations 1 and 2).
 *
 * Each column (dimension) of each view is standardized over the B images of the batch, q = (z -
 * mean) / sqrt(variance + 1e-5), where the variance is the mean square of deviations. With the
 * views' cross-correlations C = q0' q1 / B,
 *
 *     loss = sum over j of (1 - C_jj)^2 + lambda (sum over j != k of C_jk^2)
 *
 * It is a sum over dimensions, as in the paper, not a mean. The gradient is that of the whole batch,
 * through mean and variance. */
#ifndef BARLOW_H
#define BARLOW_H

#include "loss/loss_types.h"

/* Writes the gradient to dz (n, d), where rows 2i and 2i + 1 are the views of image i. Reads n, d,
 * z, threads and product of *in; n is at least 4. Sets the loss; the other metrics become NAN. Needs
 * O(n d) memory. The result does not depend on the number of threads by a single bit. Returns 0, or
 * -1 with a message if memory is out. */
int barlow(const struct loss_input *in, double lambda, float *dz, struct loss_metrics *metrics);

#endif
