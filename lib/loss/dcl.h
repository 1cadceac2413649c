/* dcl: the decoupled contrastive loss (Yeh et al. 2021, arXiv 2110.06848).
 *
 * Rows 2i and 2i + 1 are the two views of an image. It is NT-Xent without the positive in the
 * denominator: with s_ij = u_i.u_j / T and p(i) the other view of row i's image,
 *
 *     loss = mean over rows i of  -w_i s_ip(i) + ln( sum over all rows k but i and p(i) of e^s_ik )
 *
 * so the pull on a positive does not fade when its negatives are easy. The loss has no lower bound
 * of 0. w_i is 1 or, with the paper's weights from the von Mises-Fisher distribution,
 *
 *     w_i = 2 - e^(u_i.u_p(i) / sigma) / mean over all rows j of e^(u_j.u_p(j) / sigma)
 *
 * which is larger for positives that are far apart. The mean of w is 1. The gradient includes that
 * of w. */
#ifndef DCL_H
#define DCL_H

#include "loss/loss_types.h"

struct dcl_settings {
    double temperature; /* T */
    bool weighted;
    double sigma; /* of the weights */
};

/* Writes the gradient to dz (n, d). n must be even, and 4 or more: a row without negatives has no
 * loss. in->labels and in->views are not read. Sets the loss and the accuracy; the entropy is NAN.
 * Needs O(n d + threads) memory. The result does not depend on the number of threads by a single
 * bit. Returns 0, or -1 with a message if memory is out. */
int dcl(const struct loss_input *in, const struct dcl_settings *settings, float *dz,
        struct loss_metrics *metrics);

#endif
