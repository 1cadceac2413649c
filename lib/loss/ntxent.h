/* ntxent: losses by a softmax over a row's similarities to all other rows. The normalized
 * temperature-scaled cross-entropy loss (paper, equation 1), and the supervised contrastive loss,
 * of which it is the case without labels.
 *
 * With s_ij = u_i.u_j / T, P(i) the positives of row i, which are the other rows of its class, and
 * p_ij = e^s_ij over the sum of e^s_ia over all rows a but i,
 *
 *   loss = mean over rows i of  -1/|P(i)| sum over j in P(i) of ln p_ij
 *
 * This is equation 2 of Khosla et al. 2020 (arXiv 2004.11362, "L out": the mean over positives
 * stands outside of the logarithm), with the mean over rows in place of its sum. A row without
 * positives says nothing, and is left out of every mean; if none has any, loss and gradient are 0.
 * The entropy is that of p_i. */
#ifndef NTXENT_H
#define NTXENT_H

#include "loss/similarity.h"

/* Rows are `views` of an image after another. Images of the same label are a class, and an image
 * with label -1 is one by itself, as all are where labels (in->n / views) is NULL. dz (n, d) gets
 * the loss's gradient. Memory is O(n d + threads). The result does not depend on the number of
 * threads by a bit. -1 with a message when memory is out. */
int supcon(const struct similarity_input *in, const int64_t *labels, int64_t views,
           double temperature, float *dz, struct similarity_metrics *metrics);

/* Two views and no labels: rows 2i and 2i + 1 are positives of each other, all other rows but a
 * row itself are its negatives. */
int ntxent(const struct similarity_input *in, double temperature, float *dz,
           struct similarity_metrics *metrics);

#endif
