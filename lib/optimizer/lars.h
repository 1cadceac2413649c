/* lars: layer-wise adaptive rate scaling (You, Gitman and Ginsburg, arXiv 1708.03888), in the form
 * of the official SimCLR code: the rate stands inside the momentum.
 *
 *   g' = g + weight_decay w
 *   trust ratio = eta |w| / |g'|, or 1 where a norm is 0
 *   v  = momentum v + lr trust g'
 *   w  = w - v
 *
 * A tensor of one dimension (bias, batch norm) has no weight decay and a trust ratio of 1. */
#ifndef LARS_H
#define LARS_H

#include <stdbool.h>
#include <stddef.h>

struct lars {
    double momentum, weight_decay, eta;
};

/* One tensor of n elements: updates w and v in place from its gradient. adapt: false for tensors
 * of one dimension. -1, with w and v unchanged, if the gradient is not finite (no message). */
int lars_step(const struct lars *l, double lr, bool adapt, size_t n, float *w, const float *g,
              float *v);

#endif
