#include "optimizer/adam.h"

#include <math.h>

#include "base/finite.h"
#include "base/multiversion.h"

/* The values that all elements of a tensor share in one step. */
struct adam_factors {
    float shrink;                     /* factor of w for decoupled weight decay */
    float decay;                      /* decay times w is added to g, for coupled weight decay */
    float beta1, beta2, rest1, rest2; /* rest is 1 - beta */
    float rate, scale, eps;           /* w -= rate m / (scale sqrt(v) + eps) */
};

MULTIVERSION static void update(size_t n, const struct adam_factors *f, float *restrict w,
                                const float *restrict g, float *restrict m, float *restrict v)
{
    const struct adam_factors k = *f;
    for (size_t i = 0; i < n; i++) {
        const float d = g[i] + k.decay * w[i];
        m[i] = k.beta1 * m[i] + k.rest1 * d;
        v[i] = k.beta2 * v[i] + k.rest2 * d * d;
        w[i] = k.shrink * w[i] - k.rate * m[i] / (k.scale * sqrtf(v[i]) + k.eps);
    }
}

int adam_step(const struct adam *a, double lr, int64_t t, bool decay, size_t n, float *w,
              const float *g, float *m, float *v)
{
    if (!finite_floats(g, n))
        return -1;
    const double weight_decay = decay ? a->weight_decay : 0;
    const double correct1 = 1 - pow(a->beta1, (double)t), correct2 = 1 - pow(a->beta2, (double)t);
    const struct adam_factors f = {.shrink = (float)(a->decoupled ? 1 - lr * weight_decay : 1),
                                   .decay = (float)(a->decoupled ? 0 : weight_decay),
                                   .beta1 = (float)a->beta1,
                                   .beta2 = (float)a->beta2,
                                   .rest1 = (float)(1 - a->beta1),
                                   .rest2 = (float)(1 - a->beta2),
                                   .rate = (float)(lr / correct1),
                                   .scale = (float)(1 / sqrt(correct2)),
                                   .eps = (float)a->eps};
    update(n, &f, w, g, m, v);
    return 0;
}
