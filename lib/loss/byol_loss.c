#include "loss/byol_loss.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/multiversion.h"
#include "base/squares.h"

#define SHORTEST 1e-12 /* length of a row */

enum { LANES = 16 }; /* partial sums of a row, in a fixed order */

/* Returns the product of two rows. */
MULTIVERSION static double product(const float *restrict a, const float *restrict b, int64_t d)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t k = 0;
    for (; k + LANES <= d; k += LANES)
        for (int64_t l = 0; l < LANES; l++)
            lanes[l] += (double)a[k + l] * (double)b[k + l];
    for (int64_t l = 0; k < d; k++, l++)
        lanes[l] += (double)a[k] * (double)b[k];
    for (int64_t l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

/* Sets dz = of_z z + of_t t. */
MULTIVERSION static void combine(const float *restrict z, double of_z, const float *restrict t,
                                 double of_t, int64_t d, float *restrict dz)
{
    for (int64_t k = 0; k < d; k++)
        dz[k] = (float)(of_z * (double)z[k] + of_t * (double)t[k]);
}

static double length(const float *row, int64_t d)
{
    const double norm = sqrt(squares_sum(row, (size_t)d));
    return norm <= SHORTEST ? SHORTEST : norm; /* a NaN stays one */
}

/* Returns a row's loss, and sets dz to its gradient times weight: -2 (v - (u v) u) / |z|. The
 * second term is the change of |z|, which has no effect if |z| counts as SHORTEST. */
static double row(const float *z, const float *t, int64_t d, double weight, float *dz)
{
    const double z_length = length(z, d), t_length = length(t, d);
    const double cosine = product(z, t, d) / z_length / t_length;
    const double scale = 2 * weight / z_length;
    combine(z, z_length == SHORTEST ? 0 : scale * cosine / z_length, t, -scale / t_length, d, dz);
    return 2 - 2 * cosine;
}

int byol_loss(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    double *losses = malloc((size_t)in->n * sizeof *losses), sum = 0;
    if (!losses)
        return fail("out of memory for a loss over %lld views", (long long)in->n);
    const double weight = 1 / (double)in->n;
#pragma omp parallel for schedule(static) num_threads(in->threads)
    for (int64_t i = 0; i < in->n; i++)
        losses[i] =
            row(in->z + i * in->d, in->target + (i ^ 1) * in->d, in->d, weight, dz + i * in->d);
    for (int64_t i = 0; i < in->n; i++)
        sum += losses[i];
    free(losses);
    *metrics = (struct loss_metrics){.loss = sum * weight, .accuracy = NAN, .entropy = NAN};
    return 0;
}
