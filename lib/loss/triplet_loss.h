/* triplet_loss: losses of a row u, its positive u+ and one of its negatives u- at a time (paper,
 * table 2). They weight a negative by itself, where a softmax weights it against the others.
 *
 *     NT-Logistic     -ln sigmoid(u.u+ / T) - ln sigmoid(-u.u- / T)
 *     margin triplet  max(u.u- - u.u+ + m, 0)
 *
 * Rows 2i and 2i + 1 are two views of an image and each other's positives; all n - 2 rows of other
 * images are a row's negatives. (The paper's table 4 takes the negatives of one view; here both
 * views are used, as in its equation 1.) Table 2 states the loss of one triple. The loss here is
 * the mean over all triples: row i's loss is the mean over its negatives, so the positive's
 * logarithm weighs as much as those of all negatives together, whatever the batch; then the mean
 * over rows is taken.
 *
 * With `semi_hard`, row i's loss is that of a single triple. Its negative is the most similar of
 * those that are less similar than the positive (Schroff et al. 2015, arXiv 1503.03832, section
 * 3.2; paper, section 5.1). For the margin loss it must also be within the margin,
 * u.u- > u.u+ - m, because otherwise its term is 0; the logistic loss has no margin and so no lower
 * bound. Negatives that tie share the term's gradient evenly. A row without such a negative, for
 * instance because all are at least as similar as the positive, has no negative term: its margin
 * loss is 0, and its NT-Logistic loss is the positive's term. Without `semi_hard` the same holds
 * for n = 2, where there are no negatives.
 *
 * At the corner of the margin loss the subgradient 0 is taken. */
#ifndef TRIPLET_LOSS_H
#define TRIPLET_LOSS_H

#include "loss/loss_types.h"

struct triplet_settings {
    enum triplet_kind { TRIPLET_LOGISTIC, TRIPLET_MARGIN } kind;
    double temperature; /* T of the logistic loss */
    double margin;      /* m of the margin loss, in the unit of the products u.u */
    bool semi_hard;
};

/* Writes the gradient to dz (n, d); n is even, and in->labels and in->views are not read. Sets the
 * loss and the accuracy; the entropy is NAN. Memory is O(n d + threads). The result does not depend
 * on the number of threads by a bit. Returns 0, or -1 with a message when memory is out. */
int triplet_loss(const struct loss_input *in, const struct triplet_settings *settings, float *dz,
                 struct loss_metrics *metrics);

#endif
