/* knn: weighted nearest neighbours by cosine similarity (Wu et al., "Unsupervised feature learning
 * via non-parametric instance discrimination", section 3.4). */
#ifndef KNN_H
#define KNN_H

#include "evaluate/feature_set.h"
#include "evaluate/progress_line.h"
#include "evaluate/scores.h"

/* Predicts the class of each test row and writes predictions [test->n]. The k training rows of
 * highest cosine similarity s (the lower row number among equal similarities) vote for their labels
 * with weight exp(s / temperature). A row of zeros has similarity 0 to every row. A class without a
 * vote cannot be predicted, so it is in no top 5. `classes` is more than any label. The result is
 * that of exact similarities in float64 and depends neither on the number of threads nor on the
 * machine's block products, by which candidates are found. `progress`
 * may be NULL.
 *
 * Returns -1 with a message if k is below 1 or above train->n, if the widths differ, or if memory
 * is out. */
int knn_classify(const struct feature_set *train, const struct feature_set *test, int64_t k,
                 double temperature, int classes, struct prediction *predictions,
                 progress_line *progress);

/* A training row and its cosine similarity to a test row. */
struct knn_neighbour {
    int64_t row;
    double similarity;
};

/* Finds the k nearest training rows of each test row, in the same order as above, and writes
 * neighbours [test->n,k]. Labels are not used. Returns -1 with a message in the same cases. */
int knn_nearest(const struct feature_set *train, const struct feature_set *test, int64_t k,
                struct knn_neighbour *neighbours, progress_line *progress);

#endif
