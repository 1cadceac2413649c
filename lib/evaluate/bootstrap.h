/* bootstrap: how far scores may be off because the test rows are a sample.
 *
 * The percentile intervals of Efron and Tibshirani, "An Introduction to the Bootstrap" (1993),
 * section 13.3: n rows are drawn with replacement from the n test rows, `times` times over; of the
 * scores of these samples the quantiles (1 - confidence) / 2 and (1 + confidence) / 2 are taken,
 * interpolated between neighbours. What was learned stays as it is, so these are intervals for
 * other test rows, not for other training rows or another run. */
#ifndef BOOTSTRAP_H
#define BOOTSTRAP_H

#include "evaluate/scores.h"

struct interval {
    double low, high;
};

struct intervals {
    struct interval top1, top5; /* as in scores.h */
    struct interval mean_class; /* in each sample over the classes that have rows in it */
};

/* Of n > 0 verdicts on rows with labels y, all below classes; times > 0, 0 < confidence < 1. The
 * draws are a function of the seed and the sample's number, so the result does not depend on the
 * number of threads. -1 with a message: out of memory, stopped by a signal. */
int bootstrap(struct intervals *out, const struct verdict *v, const int64_t *y, int64_t n,
              int classes, int64_t times, double confidence, uint64_t seed);

#endif
