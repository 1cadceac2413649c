/* sgd: stochastic gradient descent with momentum, in PyTorch's form (torch.optim.SGD): the rate
 * stands outside the momentum, unlike in lars.h.
 *
 *   g' = g + weight_decay w
 *   v  = momentum v + g'
 *   w  = w - lr v, or with Nesterov's momentum (Sutskever et al., "On the importance of
 *        initialization and momentum in deep learning", ICML 2013) w - lr (g' + momentum v) */
#ifndef SGD_H
#define SGD_H

#include <stdbool.h>
#include <stddef.h>

struct sgd {
    double momentum, weight_decay;
    bool nesterov;
};

/* One tensor of n elements: updates w and v in place from its gradient. v starts as zeros. decay:
 * whether weight decay is for this tensor. -1, with w and v unchanged, if the gradient is not
 * finite (no message). */
int sgd_step(const struct sgd *s, double lr, bool decay, size_t n, float *w, const float *g,
             float *v);

#endif
