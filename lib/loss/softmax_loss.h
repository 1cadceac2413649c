/* softmax_loss: the computation that NT-Xent and the supervised contrastive loss share: a softmax
 * over each row's similarities to all other rows, in which its positives should be the largest.
 *
 * Let s_ij = u_i.u_j / T, and let P(i) be the positives of row i, which are the other rows of its
 * class. Then
 *
 *     p_ij = e^s_ij / (sum over all rows a but i of e^s_ia)
 *
 *     loss = mean over rows i of  -1/|P(i)| (sum over j in P(i) of ln p_ij)
 *
 * This is equation 2 of Khosla et al. 2020 (arXiv 2004.11362; "L out": the mean over positives is
 * outside of the logarithm), with the mean over rows instead of their sum. A row without positives
 * is left out of every mean; if no row has any, loss and gradient are 0. The entropy is that of
 * p_i.
 *
 * The rows of a queue may be further negatives: the sum then has a term e^(u_i.k_q / T) for each of
 * its rows k_q, which get no gradient. */
#ifndef SOFTMAX_LOSS_H
#define SOFTMAX_LOSS_H

#include "loss/loss_types.h"
#include "loss/projection_queue.h"

/* Writes the loss's gradient to dz (n, d). The order of the rows must put those of a class next to
 * each other: row i in that order is z's row order[i], and ends[i] is the row after the last one of
 * row i's class. Both arrays have n values; order may be NULL for z's own order. in->labels and
 * in->views are not read. The queue may be NULL; an empty one changes no bit. Needs O((n + rows of the
 * queue) d + threads) memory. The result does not depend on the number of threads by a single bit.
 * Returns 0, or -1 with a message if memory is out. */
int softmax_loss(const struct loss_input *in, const int64_t *order, const int64_t *ends,
                 double temperature, const struct projection_queue *queue, float *dz,
                 struct loss_metrics *metrics);

#endif
