/* supcon: the supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362, equation 2).
 *
 * The positives of a row are all other rows whose image has the same label; softmax_loss.h has the
 * formula. An image with label -1 is a class of its own, whose positives are its own other views,
 * so a batch may mix images with and without labels. Without any label, and with two views, the
 * loss equals NT-Xent to the last bit. */
#ifndef SUPCON_H
#define SUPCON_H

#include "loss/loss_types.h"

/* Writes the gradient to dz (n, d), where n is images x in->views, for any number of views from 1
 * on. in->labels (n / views) may be NULL if no image has a label. Sets all three metrics. Needs O(n
 * d + threads) memory. Returns 0, or -1 with a message if memory is out. */
int supcon(const struct loss_input *in, double temperature, float *dz,
           struct loss_metrics *metrics);

#endif
