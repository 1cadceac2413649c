/* probe: multinomial logistic regression on frozen features, the usual test of a representation.
 *
 * Features are standardized by the mean and standard deviation of the training rows (a constant
 * feature becomes zero). The fit minimizes, over W [classes,D] and b [classes],
 *     mean cross-entropy of softmax(W x + b) + l2 / 2 ||W||^2,
 * which is scikit-learn's LogisticRegression with C = 1 / (n l2). Sums are in float64 and in an
 * order that does not depend on the number of threads. */
#ifndef PROBE_H
#define PROBE_H

#include "evaluate/feature_set.h"
#include "evaluate/progress_line.h"
#include "evaluate/scores.h"

enum { PROBE_MAX_TRIALS = 9 };

struct probe_trial {
    double l2, accuracy; /* accuracy is a fraction of the held-out rows */
};

struct probe {
    int classes;         /* number of classes: more than any label of the training rows */
    int seen;            /* classes that have training rows; only they can be predicted */
    int *class_of;       /* [seen] labels of these classes, ascending */
    int64_t width;       /* D */
    double *w;           /* [seen,D] W, for standardized features */
    double *b;           /* [seen] */
    double *mean;        /* [D] */
    double *inverse_std; /* [D] 1 / standard deviation, 0 for a constant feature */
    double l2;           /* given or chosen */
    int iterations;      /* of the last fit */
    struct probe_trial trials[PROBE_MAX_TRIALS]; /* if l2 was chosen: the values tried, ascending */
    int n_trials;
};

/* Fits *p to the training rows. If l2 < 0, chooses l2: a share `holdout` of the rows is held out,
 * spread evenly over the rows in order of class and then of the stream (0.1 holds out every tenth).
 * Of 1, 0.1, ... 1e-6, and of the half decades beside the best of these, the value with the highest
 * accuracy on the held-out rows wins (the largest among equals), and all rows are fitted again. A
 * class's only row is never held out. `progress` may be NULL. The caller frees *p with probe_free()
 * in any case. Returns -1 with a message if there are fewer than two classes or fewer than two rows
 * to hold out, if L-BFGS does not converge, if a signal asks the program to stop, or if memory is
 * out. */
int probe_fit(struct probe *p, const struct feature_set *train, int classes, double l2,
              double holdout, progress_line *progress);

/* Returns how many training rows are held out to choose l2; fewer than 2 are too few. Returns -1
 * with a message if memory is out. */
int64_t probe_held_out(const struct feature_set *train, int classes, double holdout);

/* Writes predictions [x->n]. Returns -1 with a message if the width differs or memory is out. */
int probe_classify(const struct probe *p, const struct feature_set *x,
                   struct prediction *predictions);

void probe_free(struct probe *p); /* leaves {0} */

#endif
