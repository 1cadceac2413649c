/* knn: weighted nearest neighbours by cosine similarity (the evaluation of Wu et al., "Unsupervised
 * feature learning via non-parametric instance discrimination", section 3.4). */
#ifndef KNN_H
#define KNN_H

#include "evaluate/feature_set.h"
#include "evaluate/scores.h"

/* For each test row, the k training rows of highest cosine similarity s (of equal ones, the lower
 * row) vote for their label with exp(s / temperature). A row of zeros has similarity 0 to all; a
 * class without a vote is no candidate, so it is in no top 5.
 * Writes test->n verdicts over `classes` classes (more than any label). The result is that of exact
 * similarities in float64 and does not depend on the number of threads. -1 with a message: k below
 * 1 or above the training rows, widths that differ, out of memory. */
int knn_classify(const struct feature_set *train, const struct feature_set *test, int64_t k,
                 double temperature, int classes, struct verdict *verdicts);

#endif
