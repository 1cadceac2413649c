#include "loss/vicreg.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/multiversion.h"
#include "loss/columns.h"
#include "loss/cross.h"

/* The gradient by x_ij, with X the deviations of x from its columns' means, is
 *
 *     2 sim / (B d) (x_ij - y_ij)
 *   - var / (2 d) X_ij / ((B - 1) sqrt(var_j + epsilon))       where the root is below 1
 *   + 4 cov / (d (B - 1)^2) [X off(X'X)]_ij
 *
 * The mean of each of the last two over i is 0, so they need not be taken back through the mean.
 * Only the last one is made of floats. */

static const double epsilon = 1e-4;

struct vicreg_task {
    int64_t n, d; /* images, dimensions */
    struct columns columns;
    double apart;     /* the factor of x - y */
    double factor;    /* of what cross_squares() wrote to dz */
    double *along[2]; /* the factors of each view's deviations (d) */
    double *memory;
};

/* Turns an image's dz into the gradient. */
MULTIVERSION static void finish_image(const struct vicreg_task *t, const float *restrict first,
                                      const float *restrict z, float *restrict dz)
{
    const int64_t d = t->d;
    const double apart = t->apart, factor = t->factor;
    const double *restrict mean0 = t->columns.mean[0], *restrict mean1 = t->columns.mean[1];
    const double *restrict along0 = t->along[0], *restrict along1 = t->along[1];
    for (int64_t k = 0; k < d; k++) {
        const double x = (double)z[k], y = (double)z[d + k], pull = apart * (x - y);
        const double x_far = x - (double)first[k] - mean0[k];
        const double y_far = y - (double)first[d + k] - mean1[k];
        dz[k] = (float)(factor * (double)dz[k] + along0[k] * x_far + pull);
        dz[d + k] = (float)(factor * (double)dz[d + k] + along1[k] * y_far - pull);
    }
}

/* Adds the variances' term of a view and its gradient. Returns the term. */
static double add_hinges(struct vicreg_task *t, int v, double weight)
{
    const double degrees = (double)t->n - 1, share = weight / (2 * (double)t->d);
    double sum = 0;
    for (int64_t k = 0; k < t->d; k++) {
        const double root = sqrt(t->columns.square[v][k] / degrees + epsilon);
        if (root >= 1)
            continue;
        sum += share * (1 - root); /* a NaN as well */
        t->along[v][k] = -share / (degrees * root);
    }
    return sum;
}

static int compute(struct vicreg_task *t, const struct loss_input *in,
                   const struct vicreg_settings *settings, float *dz, double *loss)
{
    const double n = (double)t->n, d = (double)t->d;
    double apart = 0;
    for (int64_t k = 0; k < t->d; k++)
        apart += t->columns.apart[k];
    *loss = settings->sim * apart / (n * d);
    t->apart = 2 * settings->sim / (n * d);
    t->factor = 4 * settings->cov / (d * (n - 1) * (n - 1));
    for (int v = 0; v < 2; v++) {
        const struct cross_view view = {in->z + v * t->d, t->columns.mean[v], NULL, dz + v * t->d};
        double squares;
        if (cross_squares(in, &view, 1, t->columns.square[v], &squares))
            return -1;
        *loss += settings->cov * squares / (d * (n - 1) * (n - 1));
        *loss += add_hinges(t, v, settings->var);
    }
#pragma omp parallel for schedule(static) num_threads(in->threads)
    for (int64_t i = 0; i < t->n; i++)
        finish_image(t, in->z, in->z + 2 * i * t->d, dz + 2 * i * t->d);
    return 0;
}

int vicreg(const struct loss_input *in, const struct vicreg_settings *settings, float *dz,
           struct loss_metrics *metrics)
{
    struct vicreg_task t = {.n = in->n / 2, .d = in->d};
    double loss = 0;
    int status = columns_measure(&t.columns, in);
    if (!status) {
        t.memory = calloc((size_t)t.d, 2 * sizeof *t.memory);
        t.along[0] = t.memory;
        t.along[1] = t.memory ? t.memory + t.d : NULL;
        status = t.memory ? compute(&t, in, settings, dz, &loss)
                          : fail("out of memory for a loss over %lld dimensions", (long long)t.d);
    }
    if (!status)
        *metrics = (struct loss_metrics){loss, NAN, NAN};
    columns_free(&t.columns);
    free(t.memory);
    return status;
}
