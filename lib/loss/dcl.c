#include "loss/dcl.h"

#include <math.h>
#include <stddef.h>

#include "loss/pair_loss.h"

/* The weights. With x_i = u_i.u_p(i) and q the softmax of x / sigma over the n rows, w_i is
 * 2 - n q_i. The derivative of the sum over rows of -w_j x_j by x_i is
 *
 *     -w_i + n q_i (x_i - X) / sigma,  X = sum over j of q_j x_j */

struct dcl_task {
    struct dcl_settings settings;
    double most;   /* the largest x_i */
    double sum;    /* of e^((x_i - most) / sigma) */
    double center; /* X */
};

static double share(const struct dcl_task *t, const struct pair_row *row)
{
    return exp((row->product - t->most) / t->settings.sigma);
}

static void look(void *task, const struct pair_row *rows, int64_t n)
{
    struct dcl_task *t = task;
    t->most = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        t->most = fmax(t->most, rows[i].product);
    for (int64_t i = 0; i < n; i++)
        t->sum += share(t, rows + i);
    for (int64_t i = 0; i < n; i++)
        t->center += share(t, rows + i) / t->sum * rows[i].product;
}

static void compute(const void *task, struct pair_row *row, int64_t n)
{
    const struct dcl_task *t = task;
    double weight = 1;
    row->pull = 1;
    if (t->settings.weighted) {
        const double relative = (double)n * share(t, row) / t->sum;
        weight = 2 - relative;
        row->pull = weight - relative * (row->product - t->center) / t->settings.sigma;
    }
    row->loss = log(row->high) + (row->shift - weight * row->positive);
    row->high_weight = 1 / row->high;
}

int dcl(const struct loss_input *in, const struct dcl_settings *settings, float *dz,
        struct loss_metrics *metrics)
{
    struct dcl_task t = {.settings = *settings};
    const struct pair_loss loss = {.temperature = settings->temperature,
                                   .look = settings->weighted ? look : NULL,
                                   .compute = compute};
    return pair_loss(in, &loss, &t, dz, metrics);
}
