/* sgd: stochastic gradient descent with momentum, in PyTorch's form (torch.optim.SGD): the learning
 * rate is outside of the momentum, unlike in lars.h. For each tensor w with gradient g:
 *
 *     g' = g + weight_decay w
 *     v  = momentum v + g'
 *     w  = w - lr v                    without nesterov
 *     w  = w - lr (g' + momentum v)    with it (Sutskever et al., "On the importance of
 *                                      initialization and momentum in deep learning", ICML 2013,
 *                                      equations 3 and 4, rewritten for the looked-ahead w) */
#ifndef SGD_H
#define SGD_H

#include <stdbool.h>
#include <stddef.h>

/* The hyperparameters of the formulas above. */
struct sgd {
    double momentum, weight_decay;
    bool nesterov;
};

/* Updates one tensor w and its momentum v in place from the gradient g; each has n elements, and v
 * starts as zeros. lr is the learning rate of this step. `decay` says whether weight decay applies
 * to this tensor. Returns 0; or -1, with w and v unchanged and no message, if the gradient is not
 * finite. */
int sgd_step(const struct sgd *s, double lr, bool decay, size_t n, float *w, const float *g,
             float *v);

#endif
