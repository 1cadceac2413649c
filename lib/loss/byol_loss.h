/* byol_loss: the loss of BYOL (arXiv 2006.07733, equation 2), which has no negatives.
 *
 * A row's loss is |u - v|^2 = 2 - 2 cos(z_i, t_p), where u = z_i / |z_i|, v = t_p / |t_p| and t_p
 * is the target projection of the other view of the same image. The loss is the mean over all rows.
 * The paper's symmetrized loss adds the two terms of an image, so its mean over images is twice as
 * large. The gradient is that of z alone: the target has none. */
#ifndef BYOL_LOSS_H
#define BYOL_LOSS_H

#include "loss/loss_types.h"

/* Computes the loss and dz (n, d). It needs in->target and two views, and ignores in->normalize. A
 * length below 1e-12 counts as 1e-12, so a row of zeros has the loss 2. Accuracy and entropy are
 * NAN. Takes O(n) memory. Returns 0, or -1 with a message. */
int byol_loss(const struct loss_input *in, float *dz, struct loss_metrics *metrics);

#endif
