/* bootstrap: confidence intervals of scores, for the test rows being a sample.
 *
 * These are the percentile intervals of Efron and Tibshirani, "An Introduction to the Bootstrap"
 * (1993), section 13.3. Each of `samples` samples draws n of the n test rows with replacement. The
 * interval of a score spans its quantiles (1 - confidence) / 2 and (1 + confidence) / 2 over the
 * samples, interpolated linearly between neighbours. The classifier stays fixed, so an interval
 * covers the choice of test rows, not that of training rows or of a training run's seed. */
#ifndef BOOTSTRAP_H
#define BOOTSTRAP_H

#include "evaluate/scores.h"

struct interval {
    double low, high;
};

struct intervals {
    struct interval top1, top5; /* fractions, as in scores.h */
    struct interval mean_class; /* in each sample the mean over the classes that it contains */
};

/* Computes the intervals for n > 0 predictions [n] of rows with true labels y [n], all below
 * `classes`. Requires samples > 0 and 0 < confidence < 1. The draws are a function of the seed and
 * the sample's number, so the result does not depend on the number of threads. Returns -1 with a
 * message if memory is out or a signal asks the program to stop. */
int bootstrap(struct intervals *out, const struct prediction *predictions, const int64_t *y,
              int64_t n, int classes, int64_t samples, double confidence, uint64_t seed);

#endif
