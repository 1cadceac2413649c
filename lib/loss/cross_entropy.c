#include "loss/cross_entropy.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/fail.h"
#include "base/multiversion.h"
#include "base/vector_math.h"

enum { LANES = 16 }; /* partial sums of a row, in a fixed order */
static const float log2_e = 1.44269504F;

/* Sets e to exp(x - largest) and returns the sum. */
MULTIVERSION static double exponentials(const float *x, int64_t n, float largest, float *e)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i < n; i++)
        e[i] = exp2_float((x[i] - largest) * log2_e);
    for (i = 0; i + LANES <= n; i += LANES)
        for (int64_t j = 0; j < LANES; j++)
            lanes[j] += (double)e[i + j];
    for (; i < n; i++)
        sum += (double)e[i];
    for (int j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

/* Returns one row's loss, and sets d to its gradient times weight. Sets *right if the first of the
 * largest logits is the label's. */
static double row(const float *x, int64_t label, int64_t n, double smoothing, double weight,
                  float *d, bool *right)
{
    int64_t at = 0;
    double all = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[at])
            at = i;
    *right = at == label;
    const double sum = exponentials(x, n, x[at], d), scale = weight / sum;
    const double spread = smoothing / (double)n;
    for (int64_t i = 0; smoothing > 0 && i < n; i++)
        all += (double)x[i];
    for (int64_t i = 0; i < n; i++)
        d[i] = (float)((double)d[i] * scale - spread * weight);
    d[label] = (float)((double)d[label] - (1 - smoothing) * weight);
    return (double)x[at] + log(sum) - (1 - smoothing) * (double)x[label] - spread * all;
}

static int count(const int64_t *y, int64_t images, int64_t classes, int64_t *labelled)
{
    *labelled = 0;
    for (int64_t i = 0; i < images; i++) {
        if (y[i] < -1 || y[i] >= classes)
            return fail("y is %lld in row %lld: labels of %lld classes are 0 to %lld, or -1: none",
                        (long long)y[i], (long long)i, (long long)classes, (long long)classes - 1);
        *labelled += y[i] >= 0;
    }
    return *labelled ? 0 : fail("no image of the batch has a label");
}

int cross_entropy(const float *logits, const int64_t *y, int64_t images, int64_t views,
                  int64_t classes, double smoothing, int threads, double *losses, float *dlogits,
                  struct cross_entropy_metrics *metrics)
{
    int64_t labelled, right = 0;
    if (count(y, images, classes, &labelled))
        return -1;
    const int64_t rows = labelled * views;
    const double weight = 1 / (double)rows;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : right)
    for (int64_t r = 0; r < images * views; r++) {
        float *d = dlogits + r * classes;
        const int64_t label = y[r / views];
        bool hit = false;
        if (label < 0)
            memset(d, 0, (size_t)classes * sizeof *d);
        losses[r] =
            label < 0 ? 0 : row(logits + r * classes, label, classes, smoothing, weight, d, &hit);
        right += hit;
    }
    double loss = 0;
    for (int64_t r = 0; r < images * views; r++)
        loss += losses[r];
    *metrics = (struct cross_entropy_metrics){
        .loss = loss * weight, .accuracy = (double)right * weight, .rows = rows};
    return 0;
}
