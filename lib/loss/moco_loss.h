/* moco_loss: the contrastive loss of momentum contrast, MoCo (arXiv 1911.05722, equation 1), with
 * both views of an image as queries.
 *
 * Let t be the projections of a momentum encoder, in->target, of the same views, normalized as u
 * is, and k_q the rows of a queue. With p(i) the other view of row i's image,
 *
 *     loss = mean over rows i of  -ln( e^(u_i.t_p(i) / T) / (e^(u_i.t_p(i) / T) + N_i) )
 *     N_i = sum over q of e^(u_i.k_q / T)
 *
 * Neither t nor the queue gets a gradient. While the queue is empty, loss and gradient are 0. */
#ifndef MOCO_LOSS_H
#define MOCO_LOSS_H

#include "loss/loss_types.h"
#include "loss/projection_queue.h"

/* Writes the gradient to dz (n, d) and sets all three metrics; the softmax is over the positive and
 * the queue. n must be even; in->target must be set; in->labels and in->views are not read. Needs
 * O((n + rows of the queue) d) memory. The result does not depend on the number of threads by a
 * single bit. Returns 0, or -1 with a message if memory is out. */
int moco_loss(const struct loss_input *in, double temperature, const struct projection_queue *queue,
              float *dz, struct loss_metrics *metrics);

#endif
