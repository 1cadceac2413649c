/* adam: Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1) and AdamW (Loshchilov and Hutter
 * 2017, arXiv 1711.05101, algorithm 2), in the form of PyTorch's torch.optim.Adam and AdamW: eps is
 * added after the correction of v. At step t = 1, 2, ..., for each tensor w with gradient g:
 *
 *     g' = g + weight_decay w                         coupled (Adam)
 *
 *     g' = g,  w = w - lr weight_decay w              decoupled (AdamW)
 *
 *     m  = beta1 m + (1 - beta1) g'                   mean of the gradients
 *     v  = beta2 v + (1 - beta2) g'^2                 mean of their squares
 *
 *     m^ = m / (1 - beta1^t),  v^ = v / (1 - beta2^t)     corrected for their start at 0
 *
 *     w  = w - lr m^ / (sqrt(v^) + eps) */
#ifndef ADAM_H
#define ADAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The hyperparameters of the formulas above; `decoupled` chooses AdamW. */
struct adam {
    double beta1, beta2, eps, weight_decay;
    bool decoupled;
};

/* Updates one tensor w and its two means m and v in place from the gradient g; each has n elements,
 * and m and v start as zeros. lr is the learning rate of this step, and t its number, counted from
 * 1. `decay` says whether weight decay applies to this tensor. Returns 0; or -1, with w, m and v
 * unchanged and no message, if the gradient is not finite. */
int adam_step(const struct adam *a, double lr, int64_t t, bool decay, size_t n, float *w,
              const float *g, float *m, float *v);

#endif
