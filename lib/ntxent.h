/* ntxent: the normalized temperature-scaled cross-entropy loss (paper, equation 1). */
#ifndef NTXENT_H
#define NTXENT_H

#include <stdint.h>

#include "product.h"

struct ntxent_metrics {
    double loss;     /* mean over the n rows, in nats */
    double accuracy; /* part of the rows whose positive is strictly their most similar candidate */
    double entropy;  /* of the softmax over a row's n - 1 candidates, mean over rows, in nats */
};

/* z (n, d): n = 2B views, those of a sample being neighbours: rows 2i and 2i + 1 are positives of
 * each other, all other rows but a row itself are its negatives. Rows are l2-normalized here, and
 * similarities divided by the temperature. dz (n, d) gets the loss's gradient. Memory is
 * O(n d + threads). The result does not depend on `threads`. -1 with a message when memory is out.
 */
int ntxent(const float *z, int64_t n, int64_t d, double temperature, int threads, float *dz,
           struct ntxent_metrics *metrics);

/* The same by a product of choice, of floats. */
int ntxent_by(const struct product *product, const float *z, int64_t n, int64_t d,
              double temperature, int threads, float *dz, struct ntxent_metrics *metrics);

#endif
