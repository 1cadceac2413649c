/* The schedule is that of the paper and of scikit-learn: probabilities are multiplied by 12 for the
 * first quarter of the iterations (early exaggeration), momentum grows from 0.5 to 0.8 after that,
 * each value has a gain that grows while its gradient keeps its sign, and the step is n / 48 but at
 * least 50 (Belkina et al., "Automated optimized parameters for t-SNE", Nature Communications
 * 2019).
 *
 * A thread computes whole rows, and each row's sums are in a fixed order: LANES partial sums, which
 * the compiler keeps in vector registers. */
#include "evaluate/tsne.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/multiversion.h"
#include "base/random.h"
#include "base/stop.h"

enum { LANES = 16, POWER_STEPS = 60, SEARCH_STEPS = 100 };
static const double exaggeration = 12, least_step = 50, least_gain = 0.01;

struct embedding {
    int64_t n, padded;   /* rows; n rounded up to a multiple of LANES */
    float *p;            /* [n,padded] joint probabilities times n; 0 in the padding */
    float *at[2];        /* [padded] the map, by coordinate */
    double *pull[2];     /* [n] sum over j of p q (y_i - y_j) */
    double *push[2];     /* [n] sum over j of q^2 (y_i - y_j) */
    double *weight;      /* [n] sum over j of q */
    double *velocity[2]; /* [n] */
    double *gain[2];     /* [n] */
};

static void embedding_free(struct embedding *e)
{
    free(e->p);
    free(e->weight);
    for (int c = 0; c < 2; c++) {
        free(e->at[c]);
        free(e->pull[c]);
        free(e->push[c]);
        free(e->velocity[c]);
        free(e->gain[c]);
    }
}

static int embedding_make(struct embedding *e, int64_t n)
{
    const size_t rows = (size_t)n;
    *e = (struct embedding){.n = n, .padded = (n + LANES - 1) / LANES * LANES};
    e->p = calloc(rows * (size_t)e->padded, sizeof *e->p);
    e->weight = calloc(rows, sizeof *e->weight);
    bool bad = !e->p || !e->weight;
    for (int c = 0; c < 2; c++) {
        e->at[c] = calloc((size_t)e->padded, sizeof *e->at[c]);
        e->pull[c] = calloc(rows, sizeof *e->pull[c]);
        e->push[c] = calloc(rows, sizeof *e->push[c]);
        e->velocity[c] = calloc(rows, sizeof *e->velocity[c]);
        e->gain[c] = calloc(rows, sizeof *e->gain[c]);
        bad = bad || !e->at[c] || !e->pull[c] || !e->push[c] || !e->velocity[c] || !e->gain[c];
    }
    if (!bad)
        return 0;
    embedding_free(e);
    return fail("out of memory for a map of %lld rows", (long long)n);
}

/* ---- probabilities ---- */

/* Returns the squared distance of two rows. */
MULTIVERSION
static double squared_distance(const float *a, const float *b, int64_t width)
{
    double sum[LANES] = {0}, total = 0;
    int64_t j = 0;
    for (; j + LANES <= width; j += LANES)
        for (int l = 0; l < LANES; l++) {
            const double d = (double)a[j + l] - (double)b[j + l];
            sum[l] += d * d;
        }
    for (; j < width; j++) {
        const double d = (double)a[j] - (double)b[j];
        sum[0] += d * d;
    }
    for (int l = 0; l < LANES; l++)
        total += sum[l];
    return total;
}

/* Turns the distances of row i to all rows into p(j|i). Searches the precision beta of exp(-beta d)
 * by bisection, with distances relative to the smallest so that not all terms vanish. */
static void neighbour_probabilities(double *d, int64_t n, int64_t i, double perplexity)
{
    double least = INFINITY, mean = 0, beta = 1, low = 0, high = INFINITY, sum = 1;
    for (int64_t j = 0; j < n; j++)
        if (j != i) {
            least = fmin(least, d[j]);
            mean += d[j] / (double)(n - 1);
        }
    const double scale = mean > least ? 1 / (mean - least) : 0; /* 0: all are equally far */
    for (int step = 0; step < SEARCH_STEPS && scale > 0; step++) {
        double weighted = 0;
        sum = 0;
        for (int64_t j = 0; j < n; j++)
            if (j != i) {
                const double at = (d[j] - least) * scale, weight = exp(-beta * at);
                sum += weight;
                weighted += weight * at;
            }
        const double excess = log(sum) + beta * weighted / sum - log(perplexity);
        if (fabs(excess) < 1e-5)
            break;
        if (excess > 0)
            low = beta;
        else
            high = beta;
        beta = isinf(high) ? 2 * beta : (low + high) / 2;
    }
    if (!(scale > 0))
        sum = (double)(n - 1);
    for (int64_t j = 0; j < n; j++)
        d[j] = j == i ? 0 : exp(-beta * (d[j] - least) * scale) / sum;
}

/* Sets e->p. */
static int joint_probabilities(struct embedding *e, const float *x, int64_t width,
                               double perplexity)
{
    const int64_t n = e->n;
    int failed = 0;
#pragma omp parallel
    {
        double *d = malloc((size_t)n * sizeof *d);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            if (!d) {
#pragma omp atomic write
                failed = 1;
                continue;
            }
            for (int64_t j = 0; j < n; j++)
                d[j] = squared_distance(x + i * width, x + j * width, width);
            neighbour_probabilities(d, n, i, perplexity);
            for (int64_t j = 0; j < n; j++)
                e->p[i * e->padded + j] = (float)d[j];
        }
        free(d);
    }
    if (failed)
        return fail("out of memory for a map of %lld rows", (long long)n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            float *a = &e->p[i * e->padded + j], *b = &e->p[j * e->padded + i];
            *a = *b = (*a + *b) / 2;
        }
    return 0;
}

/* ---- the initial map ---- */

/* Multiplies the covariance of the centred rows by v. */
static void multiply_covariance(const float *x, int64_t n, int64_t width, const double *mean,
                                const double *v, double *out)
{
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        double product = 0;
        for (int64_t j = 0; j < width; j++)
            product += ((double)x[i * width + j] - mean[j]) * v[j];
        for (int64_t j = 0; j < width; j++)
            out[j] += product * ((double)x[i * width + j] - mean[j]);
    }
}

/* Makes v orthogonal to `other`, unless that is NULL, and scales it to length 1. Returns its length
 * before, or 0 if nothing is left of it. */
static double orthonormalize(double *v, const double *other, int64_t width)
{
    double product = 0, length = 0;
    for (int64_t j = 0; j < width && other; j++)
        product += v[j] * other[j];
    for (int64_t j = 0; j < width; j++) {
        v[j] -= other ? product * other[j] : 0;
        length += v[j] * v[j];
    }
    length = sqrt(length);
    for (int64_t j = 0; j < width; j++)
        v[j] = length > 0 ? v[j] / length : 0;
    return length;
}

/* Sets the map to the two first principal components, by power iteration, such that the first has
 * the standard deviation 1e-4, and adds noise of 1e-6: equal rows must not stay on one point. The
 * work space is mean [width], then two directions, then a product. */
static void initial_map(struct embedding *e, const float *x, int64_t width, uint64_t seed,
                        double *work)
{
    double *mean = work, *direction[2] = {work + width, work + 2 * width}, *next = work + 3 * width;
    struct random random;
    random_start(&random, seed, RANDOM_MAP, 0, 0, 0);
    memset(mean, 0, (size_t)width * sizeof *mean);
    for (int64_t i = 0; i < e->n; i++)
        for (int64_t j = 0; j < width; j++)
            mean[j] += (double)x[i * width + j] / (double)e->n;
    double first = 0;
    for (int c = 0; c < 2; c++) {
        const double *other = c ? direction[0] : NULL;
        for (int64_t j = 0; j < width; j++)
            direction[c][j] = random_normal(&random);
        orthonormalize(direction[c], other, width);
        for (int step = 0; step < POWER_STEPS; step++) {
            multiply_covariance(x, e->n, width, mean, direction[c], next);
            if (!(orthonormalize(next, other, width) > 0))
                break;
            memcpy(direction[c], next, (size_t)width * sizeof *next);
        }
        double squares = 0;
        double *at = e->velocity[c]; /* not used yet */
        for (int64_t i = 0; i < e->n; i++) {
            at[i] = 0;
            for (int64_t j = 0; j < width; j++)
                at[i] += ((double)x[i * width + j] - mean[j]) * direction[c][j];
            squares += at[i] * at[i] / (double)e->n;
        }
        first = c ? first : sqrt(squares);
        for (int64_t i = 0; i < e->n; i++) {
            e->at[c][i] =
                (float)((first > 0 ? 1e-4 * at[i] / first : 0) + 1e-6 * random_normal(&random));
            at[i] = 0;
        }
    }
}

/* ---- descent ---- */

/* Computes the sums of row i over all rows, the row itself included: its q is 1, and it neither
 * pulls nor pushes. */
MULTIVERSION
static void row_sums(const struct embedding *e, int64_t i)
{
    const float *p = e->p + i * e->padded, *xs = e->at[0], *ys = e->at[1];
    const float x = xs[i], y = ys[i];
    float weight[LANES] = {0}, pull[2][LANES] = {{0}}, push[2][LANES] = {{0}};
    double sums[5] = {0};
    for (int64_t j = 0; j < e->padded; j += LANES)
        for (int l = 0; l < LANES; l++) {
            const float dx = x - xs[j + l], dy = y - ys[j + l];
            const float q = 1 / (1 + dx * dx + dy * dy), pq = p[j + l] * q, qq = q * q;
            weight[l] += q;
            pull[0][l] += pq * dx;
            pull[1][l] += pq * dy;
            push[0][l] += qq * dx;
            push[1][l] += qq * dy;
        }
    for (int64_t j = e->n; j < e->padded; j++) { /* takes the padding out again: it lies at 0 */
        const double q = 1 / (1 + (double)x * (double)x + (double)y * (double)y);
        sums[0] -= q;
        sums[3] -= q * q * (double)x;
        sums[4] -= q * q * (double)y;
    }
    for (int l = 0; l < LANES; l++) {
        sums[0] += (double)weight[l];
        for (int c = 0; c < 2; c++) {
            sums[1 + c] += (double)pull[c][l];
            sums[3 + c] += (double)push[c][l];
        }
    }
    e->weight[i] = sums[0] - 1;
    for (int c = 0; c < 2; c++) {
        e->pull[c][i] = sums[1 + c];
        e->push[c][i] = sums[3 + c];
    }
}

/* Moves the map by one step, and then its centre to 0. */
static void descend(struct embedding *e, double exaggerate, double momentum, double step)
{
    double total = 0, centre[2] = {0};
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < e->n; i++)
        row_sums(e, i);
    for (int64_t i = 0; i < e->n; i++)
        total += e->weight[i];
    total = total > 0 ? total : 1;
    for (int c = 0; c < 2; c++) {
        for (int64_t i = 0; i < e->n; i++) {
            const double gradient =
                4 * (exaggerate * e->pull[c][i] / (double)e->n - e->push[c][i] / total);
            double *gain = &e->gain[c][i], *velocity = &e->velocity[c][i];
            *gain = gradient * *velocity < 0 ? *gain + 0.2 : *gain * 0.8;
            *gain = fmax(*gain, least_gain);
            *velocity = momentum * *velocity - step * *gain * gradient;
            e->at[c][i] += (float)*velocity;
            centre[c] += (double)e->at[c][i] / (double)e->n;
        }
        for (int64_t i = 0; i < e->n; i++)
            e->at[c][i] -= (float)centre[c];
    }
}

static int optimize(struct embedding *e, const struct tsne_settings *settings)
{
    const int64_t early = settings->iterations / 4;
    const double step = fmax((double)e->n / exaggeration / 4, least_step);
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < e->n; i++)
            e->gain[c][i] = 1;
    for (int64_t t = 0; t < settings->iterations; t++) {
        if (stop_check())
            return -1;
        if (t == early)
            for (int c = 0; c < 2; c++)
                for (int64_t i = 0; i < e->n; i++) {
                    e->gain[c][i] = 1;
                    e->velocity[c][i] = 0;
                }
        descend(e, t < early ? exaggeration : 1, t < early ? 0.5 : 0.8, step);
        if (settings->progress)
            settings->progress("map: step %lld of %lld", (long long)t + 1,
                               (long long)settings->iterations);
    }
    return 0;
}

int tsne_map(const float *x, int64_t n, int64_t width, const struct tsne_settings *settings,
             float *map)
{
    struct embedding e;
    if (n > TSNE_MAX_ROWS)
        return fail("%lld rows are too many for a map, which takes up to %d; augment --limit takes "
                    "fewer images",
                    (long long)n, TSNE_MAX_ROWS);
    memset(map, 0, (size_t)n * 2 * sizeof *map);
    if (n < 2)
        return 0;
    double *work = width > INT64_MAX / 64 ? NULL : malloc((size_t)(4 * width) * sizeof *work);
    if (!work || embedding_make(&e, n)) {
        free(work);
        return fail("out of memory for a map of %lld rows", (long long)n);
    }
    const double perplexity = fmax(1, fmin(settings->perplexity, (double)(n - 1) / 3));
    int result = joint_probabilities(&e, x, width, perplexity);
    if (!result) {
        initial_map(&e, x, width, settings->seed, work);
        result = optimize(&e, settings);
    }
    for (int64_t i = 0; i < n && !result; i++)
        for (int c = 0; c < 2; c++)
            map[2 * i + c] = e.at[c][i];
    embedding_free(&e);
    free(work);
    return result;
}
