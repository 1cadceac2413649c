#include "evaluate/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/random.h"
#include "base/stop.h"

/* Each row is packed into one number: two flags, and its class in the bits above them. */
enum { RIGHT = 1, NEAR = 2, FLAG_BITS = 2 };

struct samples {
    const uint32_t *rows; /* [n] class << FLAG_BITS | RIGHT in top 1 | NEAR in top 5 */
    int64_t n, count;     /* test rows; samples */
    int classes;
    uint64_t seed;
    double *top1, *top5, *mean_class; /* [count] the score of each sample */
};

static uint32_t *pack_rows(const struct prediction *p, const int64_t *y, int64_t n)
{
    uint32_t *rows = malloc((size_t)n * sizeof *rows);
    for (int64_t i = 0; rows && i < n; i++)
        rows[i] =
            (uint32_t)y[i] << FLAG_BITS | (p[i].rank == 0 ? RIGHT : 0) | (p[i].rank < 5 ? NEAR : 0);
    return rows;
}

/* Draws a sample and scores it. counts [classes][2] is scratch: for each class, its rows in the
 * sample, and those of them whose prediction is right. */
static void draw_sample(const struct samples *s, int64_t sample, int64_t (*counts)[2])
{
    int64_t right = 0, near = 0, seen = 0;
    double sum = 0;
    struct random r;
    random_start(&r, s->seed, RANDOM_SAMPLE, 0, (uint32_t)sample, 0);
    memset(counts, 0, (size_t)s->classes * sizeof *counts);
    for (int64_t i = 0; i < s->n; i++) {
        const uint32_t row = s->rows[random_below(&r, (uint64_t)s->n)];
        counts[row >> FLAG_BITS][0]++;
        counts[row >> FLAG_BITS][1] += row & RIGHT;
        near += (row & NEAR) != 0;
    }
    for (int c = 0; c < s->classes; c++) {
        if (!counts[c][0])
            continue;
        right += counts[c][1];
        sum += (double)counts[c][1] / (double)counts[c][0];
        seen++;
    }
    s->top1[sample] = (double)right / (double)s->n;
    s->top5[sample] = (double)near / (double)s->n;
    s->mean_class[sample] = sum / (double)seen;
}

static int draw_samples(const struct samples *s)
{
    int failed = 0;
#pragma omp parallel
    {
        int64_t(*counts)[2] = malloc((size_t)s->classes * sizeof *counts);
        if (!counts) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < s->count; i++)
            if (counts && !stop_requested())
                draw_sample(s, i, counts);
        free(counts);
    }
    return failed ? fail("out of memory for %d classes", s->classes) : stop_check();
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Returns the q-quantile, interpolated linearly between neighbours. */
static double quantile(const double *sorted, int64_t n, double q)
{
    const double at = q * (double)(n - 1);
    const int64_t below = (int64_t)at, above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

/* Returns the interval of a score from its values in the samples, which it sorts. */
static struct interval interval_of(double *scores, int64_t n, double confidence)
{
    qsort(scores, (size_t)n, sizeof *scores, ascending);
    return (struct interval){quantile(scores, n, (1 - confidence) / 2),
                             quantile(scores, n, (1 + confidence) / 2)};
}

int bootstrap(struct intervals *out, const struct prediction *predictions, const int64_t *y,
              int64_t n, int classes, int64_t samples, double confidence, uint64_t seed)
{
    uint32_t *rows = pack_rows(predictions, y, n);
    double *scores = malloc((size_t)samples * 3 * sizeof *scores);
    int result = rows && scores ? 0 : fail("out of memory for %lld samples", (long long)samples);
    if (!result) {
        const struct samples s = {.rows = rows,
                                  .n = n,
                                  .count = samples,
                                  .classes = classes,
                                  .seed = seed,
                                  .top1 = scores,
                                  .top5 = scores + samples,
                                  .mean_class = scores + 2 * samples};
        result = draw_samples(&s);
        if (!result)
            *out = (struct intervals){interval_of(s.top1, samples, confidence),
                                      interval_of(s.top5, samples, confidence),
                                      interval_of(s.mean_class, samples, confidence)};
    }
    free(rows);
    free(scores);
    return result;
}
