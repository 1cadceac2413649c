/* triplet_loss: losses that look at a row u, its positive u+ and one of its negatives u- at a time
 * (paper, table 2). They weight a negative by itself, where a softmax weights it relative to the
 * others.
 *
 *     NT-Logistic     -ln sigmoid(u.u+ / T) - ln sigmoid(-u.u- / T)
 *     margin triplet  max(u.u- - u.u+ + m, 0)
 *
 * Rows 2i and 2i + 1 are two views of an image and each other's positives; all n - 2 rows of other
 * images are a row's negatives. (The paper's table 4 takes the negatives from one view; here both
 * views are used, as in its equation 1.) Table 2 gives the loss of one triple. The loss here is the
 * mean over all triples: row i's loss is the mean over its negatives, so the positive's logarithm
 * has the same weight as those of all negatives together, whatever the batch. The result is the
 * mean over rows.
 *
 * With `semi_hard`, row i's loss is that of a single triple. Its negative is the most similar of
 * those that are less similar than the positive (Schroff et al. 2015, arXiv 1503.03832, section
 * 3.2; paper, section 5.1). For the margin loss it must also be within the margin, u.u- > u.u+ - m,
 * because otherwise its term is 0; the logistic loss has no margin and so no lower bound. Negatives
 * that tie share the term's gradient evenly. A row may have no such negative, for instance because
 * all are at least as similar as the positive. It then has no negative term: its margin loss is 0,
 * and its NT-Logistic loss is the positive's term. Without `semi_hard` the same holds for n = 2,
 * where there are no negatives.
 *
 * At the corner of the margin loss, where it has no derivative, the subgradient 0 is used. */
#ifndef TRIPLET_LOSS_H
#define TRIPLET_LOSS_H

#include "loss/loss_types.h"

/* The choice of a loss and its hyperparameters. */
struct triplet_settings {
    enum triplet_kind { TRIPLET_LOGISTIC, TRIPLET_MARGIN } kind;
    double temperature; /* T of the logistic loss */
    double margin;      /* m of the margin loss, in the unit of the products u.u */
    bool semi_hard;
};

/* Writes the gradient to dz (n, d). n must be even; in->labels and in->views are not read. Sets the
 * loss and the accuracy; the entropy is NAN. Needs O(n d + threads) memory. The result does not
 * depend on the number of threads by a single bit. Returns 0, or -1 with a message if memory is
 * out. */
int triplet_loss(const struct loss_input *in, const struct triplet_settings *settings, float *dz,
                 struct loss_metrics *metrics);

#endif
