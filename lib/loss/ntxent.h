/* ntxent: the normalized temperature-scaled cross-entropy loss, NT-Xent (paper, equation 1).
 *
 * Rows 2i and 2i + 1 are the two views of an image. With s_ij = u_i.u_j / T and p(i) the other view
 * of row i's image,
 *
 *     loss = mean over rows i of  -ln( e^s_ip(i) / (sum over all rows a but i of e^s_ia) )
 *
 * With a queue the sum has a further term e^(u_i.k_q / T) for each of its rows k_q, which get no
 * gradient. */
#ifndef NTXENT_H
#define NTXENT_H

#include "loss/loss_types.h"
#include "loss/projection_queue.h"

/* Writes the gradient to dz (n, d). n must be even; in->labels and in->views are not read. The queue
 * is not changed; it may be NULL, and an empty one changes no bit. Sets all three metrics. Needs
 * O((n + rows of the queue) d + threads) memory. Returns 0, or -1 with a message if memory is out.
 */
int ntxent(const struct loss_input *in, double temperature, const struct projection_queue *queue,
           float *dz, struct loss_metrics *metrics);

#endif
