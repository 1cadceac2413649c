/* triplet_loss: losses of a row u, its positive v+ and one of its negatives v- (paper, table 2).
 * They weigh a negative by itself, where a softmax weighs it against the others.
 *
 *   NT-Logistic     -ln sigmoid(u.v+ / T) - ln sigmoid(-u.v- / T)
 *   margin triplet  max(u.v- - u.v+ + m, 0)
 *
 * Rows 2i and 2i + 1 are two views of an image and positives of each other; all n - 2 rows of other
 * images are a row's negatives. (The paper's table 4 takes those of one view; here both are there,
 * as in its equation 1.) Table 2 states the loss of one triple. The loss is the mean over all of
 * them: row i's is the mean over its negatives, so the positive's logarithm weighs as much as all
 * of the negatives' together, whatever the batch, and the mean over rows is taken of that.
 *
 * With `semi_hard`, row i's loss is that of one triple instead: its negative is the most similar of
 * those that are less similar than the positive is (Schroff et al. 2015, arXiv 1503.03832, 3.2;
 * paper, 5.1). Of the margin loss it must also lie within the margin, u.v- > u.v+ - m, or its term
 * is 0 anyway; a logistic loss has no margin, and no lower bound. Negatives that tie share the
 * term's gradient evenly. A row that has no such negative, as when all are at least as similar as
 * the positive, has no negative's term: its margin loss is 0, and of NT-Logistic the positive's
 * term remains. The same holds without `semi_hard` for n = 2, where there are no negatives.
 *
 * A subgradient is taken where the margin loss has a corner: 0. */
#ifndef TRIPLET_LOSS_H
#define TRIPLET_LOSS_H

#include "loss/similarity.h"

struct triplet_loss {
    enum triplet_loss_kind { TRIPLET_LOSS_LOGISTIC, TRIPLET_LOSS_MARGIN } kind;
    double temperature; /* logistic */
    double margin;      /* of the products u.v */
    bool semi_hard;
};

/* dz (n, d) gets the gradient, n is even; `accuracy` is told and no entropy. Memory is O(n d +
 * threads). The result does not depend on the number of threads by a bit. -1 with a message when
 * memory is out. */
int triples(const struct similarity_input *in, const struct triplet_loss *settings, float *dz,
            struct similarity_metrics *metrics);

#endif
