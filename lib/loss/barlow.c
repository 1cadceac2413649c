#include "loss/barlow.h"

#include <math.h>
#include <stdlib.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"
#include "loss/columns.h"
#include "loss/cross.h"

/* The gradient. By q0_ij the loss has the derivative
 *
 *     g_ij = 2 lambda / B^2 [Q1 off(Q0'Q1)']_ij - 2 (1 - C_jj) / B q1_ij
 *
 * and by z0_ij, with 1/sqrt(variance + epsilon) = s_j, through the standardization,
 *
 *     s_j (g_ij - mean over i of g_ij - q0_ij mean over i of g_ij q0_ij)
 *
 * where the first mean is 0, as that of each column of Q1 is. In the second, the term of q1 has the
 * mean C_jj. For two images all of g but a part of 1e-5 is taken away again; so the means are those
 * of the very numbers that were rounded to floats, and all else is float64. */

enum { STRIP = 64 }; /* columns that a thread finishes at a time */
static const double epsilon = 1e-5;

struct barlow_task {
    int64_t n, d; /* images, dimensions */
    const float *z;
    float *dz;
    struct columns columns;
    double *scale[2];    /* s (d) of each view */
    double *correlation; /* C_jj (d) */
    double *diagonal;    /* Q0'Q1_jj = B C_jj (d) */
    double *other;       /* what a view's gradient has of the other view's q (d) */
    double factor;       /* of what cross_squares() wrote to dz */
    double *memory;      /* holds scale, correlation, diagonal, other */
};

static double deviation(double z, double first, double mean, double scale)
{
    return (z - first - mean) * scale;
}

/* Turns the strip's dz into the gradient. */
MULTIVERSION static void finish_strip(const struct barlow_task *t, int64_t from, int64_t width)
{
    const int64_t d = t->d;
    const double factor = t->factor;
    const float *restrict z = t->z + from;
    float *restrict dz = t->dz + from;
    const double *restrict mean0 = t->columns.mean[0] + from;
    const double *restrict mean1 = t->columns.mean[1] + from;
    const double *restrict scale0 = t->scale[0] + from, *restrict scale1 = t->scale[1] + from;
    const double *restrict other = t->other + from;
    double along[2][STRIP] = {{0}};
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t k = 0; k < width; k++) {
            const float *at = z + 2 * i * d + k, *g = dz + 2 * i * d + k;
            along[0][k] +=
                (double)g[0] * deviation((double)at[0], (double)z[k], mean0[k], scale0[k]);
            along[1][k] +=
                (double)g[d] * deviation((double)at[d], (double)z[d + k], mean1[k], scale1[k]);
        }
    for (int64_t k = 0; k < width; k++) {
        const double most = other[k] * t->correlation[from + k];
        along[0][k] = factor * along[0][k] / (double)t->n + most;
        along[1][k] = factor * along[1][k] / (double)t->n + most;
    }
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t k = 0; k < width; k++) {
            const float *at = z + 2 * i * d + k;
            float *g = dz + 2 * i * d + k;
            const double q0 = deviation((double)at[0], (double)z[k], mean0[k], scale0[k]);
            const double q1 = deviation((double)at[d], (double)z[d + k], mean1[k], scale1[k]);
            const double g0 = factor * (double)g[0] + other[k] * q1 - along[0][k] * q0;
            const double g1 = factor * (double)g[d] + other[k] * q0 - along[1][k] * q1;
            g[0] = (float)(scale0[k] * g0);
            g[d] = (float)(scale1[k] * g1);
        }
}

static int open_task(struct barlow_task *t, const struct loss_input *in)
{
    const int64_t d = t->d;
    if (columns_measure(&t->columns, in))
        return -1;
    t->memory = calloc((size_t)d, 5 * sizeof *t->memory);
    if (!t->memory)
        return fail("out of memory for a loss over %lld dimensions", (long long)d);
    t->scale[0] = t->memory;
    t->scale[1] = t->memory + d;
    t->correlation = t->memory + 2 * d;
    t->diagonal = t->memory + 3 * d;
    t->other = t->memory + 4 * d;
    const double n = (double)t->n;
    for (int64_t k = 0; k < d; k++) {
        for (int v = 0; v < 2; v++)
            t->scale[v][k] = 1 / sqrt(t->columns.square[v][k] / n + epsilon);
        t->diagonal[k] = t->columns.product[k] * t->scale[0][k] * t->scale[1][k];
        t->correlation[k] = t->diagonal[k] / n;
    }
    return 0;
}

static int compute(struct barlow_task *t, const struct loss_input *in, double lambda, double *loss)
{
    const struct columns *columns = &t->columns;
    const double n = (double)t->n;
    const struct cross_view views[2] = {
        {in->z, columns->mean[0], t->scale[0], t->dz},
        {in->z + t->d, columns->mean[1], t->scale[1], t->dz + t->d},
    };
    double squares;
    if (cross_squares(in, views, 2, t->diagonal, &squares))
        return -1;
    t->factor = 2 * lambda / (n * n);
    *loss = 0;
    for (int64_t k = 0; k < t->d; k++) {
        const double apart = 1 - t->correlation[k];
        *loss += apart * apart;
        t->other[k] = -2 * apart / n;
    }
    *loss += lambda * squares / (n * n);
#pragma omp parallel for schedule(dynamic) num_threads(in->threads)
    for (int64_t from = 0; from < t->d; from += STRIP)
        finish_strip(t, from, count_min(t->d - from, STRIP));
    return 0;
}

int barlow(const struct loss_input *in, double lambda, float *dz, struct loss_metrics *metrics)
{
    struct barlow_task t = {.n = in->n / 2, .d = in->d, .z = in->z, .dz = dz};
    double loss = 0;
    const int status = open_task(&t, in) || compute(&t, in, lambda, &loss) ? -1 : 0;
    if (!status)
        *metrics = (struct loss_metrics){loss, NAN, NAN};
    columns_free(&t.columns);
    free(t.memory);
    return status;
}
