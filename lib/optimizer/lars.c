#include "optimizer/lars.h"

#include <math.h>

#include "base/multiversion.h"

enum { LANES = 16 };

static double add_lanes(const double *lanes)
{
    double sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += lanes[i];
    return sum;
}

/* Computes the sums of squares of w, of g + decay w and of g. Each lane has a partial sum, which fixes
 * the order of summation and lets the compiler vectorize it. */
MULTIVERSION static void norms(size_t n, const float *w, const float *g, float decay, double *ww,
                               double *gg, double *squares)
{
    double sw[LANES] = {0}, sg[LANES] = {0}, s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            double a = (double)w[i + j], b = (double)(g[i + j] + decay * w[i + j]);
            sw[j] += a * a;
            sg[j] += b * b;
            s[j] += (double)g[i + j] * (double)g[i + j];
        }
    for (size_t j = 0; i < n; i++, j++) {
        double a = (double)w[i], b = (double)(g[i] + decay * w[i]);
        sw[j] += a * a;
        sg[j] += b * b;
        s[j] += (double)g[i] * (double)g[i];
    }
    *ww = add_lanes(sw);
    *gg = add_lanes(sg);
    *squares = add_lanes(s);
}

MULTIVERSION static void update(size_t n, float *w, const float *g, float *v, float decay,
                                float momentum, float rate)
{
    for (size_t i = 0; i < n; i++) {
        v[i] = momentum * v[i] + rate * (g[i] + decay * w[i]);
        w[i] -= v[i];
    }
}

/* Returns the weight decay of a tensor. */
static float decay_of(const struct lars *l, bool adapt)
{
    return adapt ? (float)l->weight_decay : 0;
}

int lars_measure(const struct lars *l, double lr, bool adapt, size_t n, const float *w,
                 const float *g, double *rate, double *squares)
{
    double ww, gg;
    norms(n, w, g, decay_of(l, adapt), &ww, &gg, squares);
    if (!isfinite(gg))
        return -1;
    *rate = lr;
    if (adapt && ww > 0 && gg > 0) {
        const double local = l->eta * sqrt(ww) / sqrt(gg);
        *rate = l->clip ? fmin(local, lr) : lr * local;
    }
    return 0;
}

void lars_apply(const struct lars *l, double rate, bool adapt, size_t n, float *w, const float *g,
                float *v)
{
    update(n, w, g, v, decay_of(l, adapt), (float)l->momentum, (float)rate);
}

int lars_step(const struct lars *l, double lr, bool adapt, size_t n, float *w, const float *g,
              float *v)
{
    double rate, squares;
    if (lars_measure(l, lr, adapt, n, w, g, &rate, &squares))
        return -1;
    lars_apply(l, rate, adapt, n, w, g, v);
    return 0;
}
