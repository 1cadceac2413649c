/* probe: multinomial logistic regression on frozen features, the usual judge of a representation.
 *
 * Features are standardized by the training rows' mean and deviation (a constant feature becomes
 * zero). Minimized over W [classes,D] and b [classes] is
 *     mean cross-entropy of softmax(W x + b) + l2 / 2 ||W||^2,
 * which is scikit-learn's LogisticRegression with C = 1 / (n l2). The sums are in float64 and in an
 * order that does not depend on the number of threads. */
#ifndef PROBE_H
#define PROBE_H

#include "evaluate/feature_set.h"
#include "evaluate/scores.h"

enum { PROBE_MAX_TRIALS = 9 };

struct probe_trial {
    double l2, accuracy; /* of the held-out rows */
};

struct probe {
    int classes;     /* of the scores: more than any label of the training rows */
    int seen;        /* classes that occur among the training rows; only they can be predicted */
    int *class_of;   /* [seen] their labels, ascending */
    int64_t width;   /* D */
    double *w;       /* [seen,D], for standardized features */
    double *b;       /* [seen] */
    double *mean;    /* [D] */
    double *inverse; /* [D] 1 / deviation, 0 for a constant feature */
    double l2;       /* what was used */
    int iterations;  /* of the last fit */
    struct probe_trial trials[PROBE_MAX_TRIALS]; /* where l2 was chosen, by l2, ascending */
    int n_trials;
};

/* Fits to the training rows. With l2 < 0 it is chosen: a share `holdout` of the rows is held out,
 * evenly among the rows in order of class and then of the stream (0.1: every tenth); of 1, 0.1, ...
 * 1e-6, and of the half decades beside the best of these, the one with the highest accuracy there
 * is taken (of equals, the largest), and all rows are fitted again. A class's only row is not held
 * out. -1 with a message: fewer than two classes, fewer than two rows to hold out, no convergence,
 * out of memory. */
int probe_fit(struct probe *p, const struct feature_set *train, int classes, double l2,
              double holdout);

/* How many training rows are held out to choose l2; below 2 it cannot be chosen. -1 with a message:
 * out of memory. */
int64_t probe_held_out(const struct feature_set *train, int classes, double holdout);

/* Writes x->n verdicts. -1 if the width differs or memory is out. */
int probe_classify(const struct probe *p, const struct feature_set *x, struct verdict *verdicts);

void probe_free(struct probe *p);

#endif
