/* softmax_loss: the computation that NT-Xent and the supervised contrastive loss share: a softmax
 * over each row's similarities to all other rows, which its positives should win.
 *
 * With s_ij = u_i.u_j / T, P(i) the positives of row i, which are the other rows of its class, and
 *
 *     p_ij = e^s_ij / (sum over all rows a but i of e^s_ia)
 *
 *     loss = mean over rows i of  -1/|P(i)| (sum over j in P(i) of ln p_ij)
 *
 * This is equation 2 of Khosla et al. 2020 (arXiv 2004.11362; "L out": the mean over positives is
 * outside of the logarithm), with the mean over rows in place of their sum. A row without positives
 * is left out of every mean; if no row has any, loss and gradient are 0. The entropy is that of
 * p_i. */
#ifndef SOFTMAX_LOSS_H
#define SOFTMAX_LOSS_H

#include "loss/loss_types.h"

/* Writes the loss's gradient to dz (n, d). Rows of a class are neighbours in a given order: row i
 * of it is z's row order[i], and ends[i] is the row after the last one of row i's class; both have
 * n values, and order may be NULL for z's own order. in->labels and in->views are not read.
 * Memory is O(n d + threads). The result does not depend on the number of threads by a bit.
 * Returns 0, or -1 with a message when memory is out. */
int softmax_loss(const struct loss_input *in, const int64_t *order, const int64_t *ends,
                 double temperature, float *dz, struct loss_metrics *metrics);

#endif
