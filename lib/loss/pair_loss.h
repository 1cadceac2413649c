/* pair_loss: the computation that the losses dcl and hcl share. Each row has one positive, and its
 * loss depends on its negatives by sums of powers of their exponentials only.
 *
 * Rows 2i and 2i + 1 are the two views of an image and each other's positives; all n - 2 rows of
 * other images are a row's negatives. With s_ik = u_i.u_k / T, the sums over row i's negatives are
 *
 *     low = sum of e^(beta s_ik)     high = sum of e^((1 + beta) s_ik)
 *
 * With beta = 0, low is the number of negatives and high the denominator of a softmax over them.
 * These losses are functions of s_ip and the two sums. */
#ifndef PAIR_LOSS_H
#define PAIR_LOSS_H

#include "loss/loss_types.h"

/* A row: what the loss gets and, from `loss` on, what it sets. The sums are relative to a
 * similarity of the row's choice, so they do not overflow: the true low is e^(beta shift) low, and
 * the true high is e^((1 + beta) shift) high. */
struct pair_row {
    double product;  /* u_i.u_p, the product with the positive */
    double positive; /* s_ip, which is product / T */
    double shift, low, high;
    double loss;
    double pull; /* minus the derivative of the loss by s_ip */
    /* The derivative by s_ik is high_weight e^((1 + beta) x) - low_weight e^(beta x), where x is
     * s_ik - shift. */
    double high_weight, low_weight;
};

struct pair_loss {
    double temperature, beta; /* T above 0, and beta of 0 or more */
    /* Looks at the sums of all rows before rows are computed, from one thread; NULL if that is not
     * needed. `settings` is that of pair_loss(). */
    void (*look)(void *settings, const struct pair_row *rows, int64_t n);
    /* Computes the loss of a row, from any thread. If a sum is NaN, so must be the loss. */
    void (*compute)(const void *settings, struct pair_row *row, int64_t n);
};

/* Writes the gradient of the mean loss to dz (n, d). n must be even, and 4 or more; in->labels and
 * in->views are not read. Sets the loss and the accuracy; the entropy is NAN. Products with
 * positives and their gradients are computed in float64, all others in float32. Needs O(n d +
 * threads) memory. The result does not depend on the number of threads by a single bit. Returns 0,
 * or -1 with a message if memory is out. */
int pair_loss(const struct loss_input *in, const struct pair_loss *loss, void *settings, float *dz,
              struct loss_metrics *metrics);

#endif
