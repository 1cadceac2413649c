#include "loss/columns.h"

#include <math.h>
#include <stdlib.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"

enum { STRIP = 64 }; /* columns that a thread adds at a time */

/* Sums over images of a strip's columns. */
struct sums {
    double x[STRIP], y[STRIP], xx[STRIP], yy[STRIP], xy[STRIP], apart[STRIP];
};

MULTIVERSION static void add_strip(struct sums *restrict s, const float *restrict z, int64_t n,
                                   int64_t d, int64_t width)
{
    const float *first = z;
    for (int64_t i = 0; i < n; i++, z += 2 * d)
        for (int64_t k = 0; k < width; k++) {
            const double x = (double)z[k] - (double)first[k];
            const double y = (double)z[d + k] - (double)first[d + k];
            const double apart = (double)z[k] - (double)z[d + k];
            s->x[k] += x;
            s->y[k] += y;
            s->xx[k] += x * x;
            s->yy[k] += y * y;
            s->xy[k] += x * y;
            s->apart[k] += apart * apart;
        }
}

static double squares(double sum, double of_squares, double n)
{
    const double square = of_squares - sum * sum / n;
    return square < 0 ? 0 : square; /* a NaN stays one */
}

static void measure_strip(struct columns *c, const float *z, int64_t from)
{
    const double n = (double)c->n;
    const int64_t width = count_min(c->d - from, STRIP);
    struct sums s = {0};
    add_strip(&s, z + from, c->n, c->d, width);
    for (int64_t k = 0; k < width; k++) {
        c->mean[0][from + k] = s.x[k] / n;
        c->mean[1][from + k] = s.y[k] / n;
        c->square[0][from + k] = squares(s.x[k], s.xx[k], n);
        c->square[1][from + k] = squares(s.y[k], s.yy[k], n);
        c->product[from + k] = s.xy[k] - s.x[k] * s.y[k] / n;
        c->apart[from + k] = s.apart[k];
    }
}

int columns_measure(struct columns *c, const struct loss_input *in)
{
    const int64_t d = in->d;
    double *at = calloc((size_t)d, 6 * sizeof *at);
    *c = (struct columns){.n = in->n / 2, .d = d, .memory = at};
    if (!at)
        return fail("out of memory for the moments of %lld columns", (long long)d);
    c->mean[0] = at;
    c->mean[1] = at + d;
    c->square[0] = at + 2 * d;
    c->square[1] = at + 3 * d;
    c->product = at + 4 * d;
    c->apart = at + 5 * d;
#pragma omp parallel for schedule(dynamic) num_threads(in->threads)
    for (int64_t from = 0; from < d; from += STRIP)
        measure_strip(c, in->z, from);
    return 0;
}

void columns_free(struct columns *c)
{
    free(c->memory);
}
