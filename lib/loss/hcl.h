/* hcl: the contrastive loss with hard negatives (Robinson et al. 2020, arXiv 2010.04592).
 *
 * Rows 2i and 2i + 1 are the two views of an image. With s_ij = u_i.u_j / T, p(i) the other view of
 * row i's image, P = e^s_ip(i), and N_k = e^s_ik for the n' = n - 2 rows k of other images,
 *
 *     R = sum N_k^(1 + beta) / mean N_k^beta          hard negatives weigh more
 *     G = max( (R - tau n' P) / (1 - tau), n' e^(-1 / T) )   corrected for false negatives
 *
 *     loss = mean over rows i of  -ln( P / (P + G) )
 *
 * tau is the share of the negatives that are of the row's own class. With beta = 0 this is the
 * debiased contrastive loss (arXiv 2007.00224), and with tau = 0 as well it is NT-Xent. As in the
 * authors' code, a row's negatives are both views of all other images, and the mean is over the
 * rows of both views.
 *
 * The max. n' e^(-1 / T) is the least that the negatives' sum can be: all cosines are -1. The
 * estimate falls below it if the positive is far more similar than the negatives are. Then only P
 * has a gradient, and the negatives do not push the row. At the border, where both are equal, the
 * gradient is that of the estimate, as of PyTorch's clamp(). The loss is continuous there, the
 * gradient jumps. For rows that are not normalized the bound stays n' e^(-1 / T), as the formula
 * says, though their products may be below -1.
 *
 * Rounding. The estimate is a difference. Near the border it magnifies the float32 rounding of R,
 * relative to P + G, by up to tau n' P / (P + G): at T = 0.5 that is at most e^4 tau, about 5, at
 * lower temperatures up to tau n'. */
#ifndef HCL_H
#define HCL_H

#include "loss/loss_types.h"

struct hcl_settings {
    double temperature; /* T */
    double beta;        /* 0 or more */
    double tau_plus;    /* tau, at least 0 and below 1 */
};

/* Writes the gradient to dz (n, d). n must be even, and 4 or more: a row without negatives has no
 * loss. in->labels and in->views are not read. Sets the loss and the accuracy; the entropy is NAN.
 * Needs O(n d + threads) memory. The result does not depend on the number of threads by a single
 * bit. Returns 0, or -1 with a message if memory is out. */
int hcl(const struct loss_input *in, const struct hcl_settings *settings, float *dz,
        struct loss_metrics *metrics);

#endif
