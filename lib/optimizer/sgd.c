#include "optimizer/sgd.h"

#include "base/finite.h"
#include "base/multiversion.h"

MULTIVERSION static void update(size_t n, float *restrict w, const float *restrict g,
                                float *restrict v, float decay, float momentum, float rate)
{
    for (size_t i = 0; i < n; i++) {
        v[i] = momentum * v[i] + (g[i] + decay * w[i]);
        w[i] -= rate * v[i];
    }
}

MULTIVERSION static void update_nesterov(size_t n, float *restrict w, const float *restrict g,
                                         float *restrict v, float decay, float momentum, float rate)
{
    for (size_t i = 0; i < n; i++) {
        const float d = g[i] + decay * w[i];
        v[i] = momentum * v[i] + d;
        w[i] -= rate * (d + momentum * v[i]);
    }
}

int sgd_step(const struct sgd *s, double lr, bool decay, size_t n, float *w, const float *g,
             float *v)
{
    if (!finite_floats(g, n))
        return -1;
    (s->nesterov ? update_nesterov : update)(n, w, g, v, decay ? (float)s->weight_decay : 0,
                                             (float)s->momentum, (float)lr);
    return 0;
}
