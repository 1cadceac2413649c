/* cross_entropy: the softmax cross-entropy of rows of logits against labels, and its gradient.
 *
 * Let p be the softmax of a row and q its target, which is 1 - smoothing at the label plus
 * smoothing / C everywhere (Szegedy et al., arXiv 1512.00567, section 7). The row's loss is -sum q
 * log p and its gradient is p - q. Both are averaged over the rows that have a label. */
#ifndef CROSS_ENTROPY_H
#define CROSS_ENTROPY_H

#include <stdint.h>

/* The values that are reported about a batch. */
struct cross_entropy_metrics {
    double loss, accuracy; /* means over labelled rows; a row counts as right if its first largest
                              the label's */
    int64_t rows;          /* rows that have a label */
};

/* Computes the loss of a batch. logits are F32 (images, views, classes). y (images) holds labels
 * from 0 to classes - 1, or -1 for an image without a label, whose rows get a gradient of 0 and are
 * left out of the means. Writes dlogits, which has the logits' shape. losses (images x views) is
 * work space. The number of threads does not change the result. Returns -1 with a message if a
 * label is another number or no row has a label. */
int cross_entropy(const float *logits, const int64_t *y, int64_t images, int64_t views,
                  int64_t classes, double smoothing, int threads, double *losses, float *dlogits,
                  struct cross_entropy_metrics *metrics);

#endif
