/* cross_entropy: softmax cross-entropy of rows of logits against labels, and its gradient.
 *
 * With p the softmax of a row and q its target, 1 - smoothing at the label plus smoothing / C
 * everywhere (Szegedy et al., arXiv 1512.00567, section 7), a row's loss is -sum q log p and its
 * gradient p - q; both are averaged over the rows that have a label. */
#ifndef CROSS_ENTROPY_H
#define CROSS_ENTROPY_H

#include <stdint.h>

struct cross_entropy_metrics {
    double loss, accuracy; /* means over labelled rows; right is a row whose first largest logit is
                              the label's */
    int64_t rows;          /* that have a label */
};

/* logits (images, views, classes); y (images): from 0 to classes - 1, or -1: no label, the image's
 * rows have a gradient of 0 and are left out of the means. Writes dlogits, of the logits' shape.
 * losses (images x views) is work space. threads change nothing but the speed. -1 with a message,
 * if a label is another number or no row has one. */
int cross_entropy(const float *logits, const int64_t *y, int64_t images, int64_t views,
                  int64_t classes, double smoothing, int threads, double *losses, float *dlogits,
                  struct cross_entropy_metrics *metrics);

#endif
