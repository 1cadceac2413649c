/* adam: Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1), in PyTorch's form (torch.optim.Adam and
 * AdamW): eps is added behind the correction of v.
 *
 *   coupled:   g' = g + weight_decay w
 *   decoupled: g' = g, and first w = w - lr weight_decay w (Loshchilov and Hutter, arXiv
 * 1711.05101) m = beta1 m + (1 - beta1) g' v = beta2 v + (1 - beta2) g'^2 w = w - lr m / (1 -
 * beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)      at step t = 1, 2, ... */
#ifndef ADAM_H
#define ADAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct adam {
    double beta1, beta2, eps, weight_decay;
    bool decoupled;
};

/* One tensor of n elements: updates w, m and v in place from its gradient. m and v start as zeros;
 * t counts from 1. decay: whether weight decay is for this tensor. -1, with w, m and v unchanged,
 * if the gradient is not finite (no message). */
int adam_step(const struct adam *a, double lr, int64_t t, bool decay, size_t n, float *w,
              const float *g, float *m, float *v);

#endif
