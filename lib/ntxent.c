#include "ntxent.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "fail.h"
#include "vector_math.h"

/* With u the normalized rows, s_ij = u_i.u_j / T, p_ij the softmax of row i over j != i, and l_i
 * the logarithm of its denominator, the loss is the mean of l_i - s_i,pos(i), and
 *
 *   dL/du_i = 1/(n T) sum_j (p_ij + p_ji - 2 [j = pos(i)]) u_j
 *
 * since s_ij stands in row i and in row j. A first pass over tiles of s finds all l_i; a second one
 * makes the tiles again and multiplies the coefficients with u. Each block of rows is one thread's
 * and meets the tiles in the same order whatever the number of threads. */

enum { TILE = 256, LANES = 16 };

struct task {
    int64_t n, d;
    float inverse_temperature;
    float *u, *norm;    /* (n, d), (n) */
    float *denominator; /* l_i (n) */
    float *positive;    /* s_i,pos(i) (n) */
    double *loss, *entropy;
    unsigned char *right; /* (n) */
};

static void normalize(struct task *t, const float *z, int64_t i)
{
    double square = 0;
    for (int64_t k = 0; k < t->d; k++)
        square += (double)z[i * t->d + k] * (double)z[i * t->d + k];
    double norm = sqrt(square);
    norm = norm > 1e-12 ? norm : 1e-12;
    t->norm[i] = (float)norm;
    for (int64_t k = 0; k < t->d; k++)
        t->u[i * t->d + k] = (float)((double)z[i * t->d + k] / norm);
}

/* s (rows, TILE) for rows i.. and columns j..; a row's similarity with itself is -infinity. */
static void similarities(const struct task *t, int64_t i, int64_t rows, int64_t j, int64_t columns,
                         float *s)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, (int)t->d,
                t->inverse_temperature, t->u + i * t->d, (int)t->d, t->u + j * t->d, (int)t->d, 0,
                s, TILE);
    for (int64_t r = i > j ? i : j; r < i + rows && r < j + columns; r++)
        s[(r - i) * TILE + r - j] = -INFINITY;
}

CLONES static float largest(const float *x, int64_t n)
{
    float lanes[LANES];
    for (int k = 0; k < LANES; k++)
        lanes[k] = -INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int64_t k = 0; k < LANES; k++)
            lanes[k] = x[i + k] > lanes[k] ? x[i + k] : lanes[k];
    for (int64_t k = 0; i < n; i++, k++)
        lanes[k] = x[i] > lanes[k] ? x[i] : lanes[k];
    float most = lanes[0];
    for (int k = 1; k < LANES; k++)
        most = lanes[k] > most ? lanes[k] : most;
    return most;
}

/* Sum of e^(x - shift). */
CLONES static double sum_exp(const float *x, int64_t n, float shift)
{
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int64_t k = 0; k < LANES; k++)
            lanes[k] += exp_float(x[i + k] - shift);
    for (int64_t k = 0; i < n; i++, k++)
        lanes[k] += exp_float(x[i] - shift);
    double sum = 0;
    for (int k = 0; k < LANES; k++)
        sum += (double)lanes[k];
    return sum;
}

/* Pass 1 for a block of rows. The positive is kept apart from the others, so that "most similar"
 * can be decided strictly: representations that have all become equal are right nowhere. */
static void find_denominators(struct task *t, int64_t i, int64_t rows, float *s)
{
    float most[TILE];
    double sum[TILE];
    for (int64_t r = 0; r < rows; r++) {
        most[r] = -INFINITY;
        sum[r] = 0;
    }
    for (int64_t j = 0; j < t->n; j += TILE) {
        int64_t columns = t->n - j < TILE ? t->n - j : TILE;
        similarities(t, i, rows, j, columns, s);
        for (int64_t r = 0; r < rows; r++) {
            float *row = s + r * TILE;
            int64_t p = ((i + r) ^ 1) - j;
            if (p >= 0 && p < columns) {
                t->positive[i + r] = row[p];
                row[p] = -INFINITY;
            }
            float here = largest(row, columns);
            if (here > most[r]) {
                sum[r] *= exp((double)most[r] - (double)here);
                most[r] = here;
            }
            if (here > -INFINITY)
                sum[r] += sum_exp(row, columns, most[r]);
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        double p = (double)t->positive[i + r], m = (double)most[r];
        /* when the positive is far ahead, the loss is tiny and must not drown in p */
        double loss = p < m ? m - p + log(sum[r] + exp(p - m)) : log1p(sum[r] * exp(m - p));
        t->denominator[i + r] = (float)(p + loss);
        t->loss[i + r] = loss;
        t->right[i + r] = t->positive[i + r] > most[r];
    }
}

/* Turns a row of similarities into the coefficients p_ij + p_ji; returns the sum over j of
 * p_ij (l - s_ij), which is the row's entropy. */
CLONES static double coefficients(float *s, int64_t n, float l, const float *ls)
{
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int64_t k = 0; k < LANES; k++) {
            float x = s[i + k], p = exp_float(x - l);
            lanes[k] += p > 0 ? p * (l - x) : 0;
            s[i + k] = p + exp_float(x - ls[i + k]);
        }
    for (int64_t k = 0; i < n; i++, k++) {
        float x = s[i], p = exp_float(x - l);
        lanes[k] += p > 0 ? p * (l - x) : 0;
        s[i] = p + exp_float(x - ls[i]);
    }
    double sum = 0;
    for (int k = 0; k < LANES; k++)
        sum += (double)lanes[k];
    return sum;
}

/* Pass 2 for a block of rows: du in dz, then through the normalization. The positive's coefficient
 * is (p_ij - 1) + (p_ji - 1), and p - 1 is taken from the loss, -ln p: where p is close to 1 it
 * would otherwise be nothing but rounding. */
static void find_gradients(struct task *t, int64_t i, int64_t rows, float *s, float *dz)
{
    double entropy[TILE] = {0};
    float scale = t->inverse_temperature / (float)t->n;
    for (int64_t j = 0; j < t->n; j += TILE) {
        int64_t columns = t->n - j < TILE ? t->n - j : TILE;
        similarities(t, i, rows, j, columns, s);
        for (int64_t r = 0; r < rows; r++) {
            float *row = s + r * TILE;
            int64_t p = ((i + r) ^ 1) - j;
            bool positive = p >= 0 && p < columns;
            if (positive)
                row[p] = -INFINITY;
            entropy[r] += coefficients(row, columns, t->denominator[i + r], t->denominator + j);
            if (positive) {
                double loss = t->loss[i + r];
                row[p] = (float)(expm1(-loss) + expm1(-t->loss[(i + r) ^ 1]));
                entropy[r] += exp(-loss) * loss;
            }
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)t->d, (int)columns,
                    scale, s, TILE, t->u + j * t->d, (int)t->d, j ? 1 : 0, dz + i * t->d,
                    (int)t->d);
    }
    for (int64_t r = i; r < i + rows; r++) {
        t->entropy[r] = entropy[r - i];
        const float *u = t->u + r * t->d;
        float *g = dz + r * t->d;
        double along = 0;
        for (int64_t k = 0; k < t->d; k++)
            along += (double)g[k] * (double)u[k];
        for (int64_t k = 0; k < t->d; k++)
            g[k] = (float)(((double)g[k] - along * (double)u[k]) / (double)t->norm[r]);
    }
}

static double mean(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

int ntxent(const float *z, int64_t n, int64_t d, double temperature, int threads, float *dz,
           struct ntxent_metrics *metrics)
{
    struct task t = {.n = n, .d = d, .inverse_temperature = (float)(1 / temperature)};
    size_t rows = (size_t)n;
    t.u = malloc(rows * (size_t)d * sizeof *t.u);
    t.norm = malloc(rows * sizeof *t.norm);
    t.denominator = malloc(rows * sizeof *t.denominator);
    t.positive = malloc(rows * sizeof *t.positive);
    t.loss = malloc(rows * sizeof *t.loss);
    t.entropy = malloc(rows * sizeof *t.entropy);
    t.right = malloc(rows);
    float *tiles = malloc((size_t)threads * TILE * TILE * sizeof *tiles);
    bool good =
        t.u && t.norm && t.denominator && t.positive && t.loss && t.entropy && t.right && tiles;
    if (good) {
        openblas_set_num_threads(1); /* the threads are here */
#pragma omp parallel num_threads(threads)
        {
            float *s = tiles + (size_t)omp_get_thread_num() * TILE * TILE;
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i++)
                normalize(&t, z, i);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < n; i += TILE)
                find_denominators(&t, i, n - i < TILE ? n - i : TILE, s);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < n; i += TILE)
                find_gradients(&t, i, n - i < TILE ? n - i : TILE, s, dz);
        }
        double right = 0;
        for (int64_t i = 0; i < n; i++)
            right += t.right[i];
        *metrics = (struct ntxent_metrics){mean(t.loss, n), right / (double)n, mean(t.entropy, n)};
    }
    free(t.u);
    free(t.norm);
    free(t.denominator);
    free(t.positive);
    free(t.loss);
    free(t.entropy);
    free(t.right);
    free(tiles);
    return good ? 0 : fail("out of memory for a loss over %lld views", (long long)n);
}
