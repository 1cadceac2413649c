/* Tests the losses over pairs of rows against plain loops in float64, against finite differences,
 * and against PyTorch (tests/golden/losses.py; NT-Xent also tests/golden/loss_and_lars.py). */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "frame/frame_io.h"
#include "gemm_8x12.h"
#include "loss/dcl.h"
#include "loss/hcl.h"
#include "loss/ntxent.h"
#include "loss/supcon.h"
#include "loss/triplet_loss.h"

enum kind { NTXENT, SUPCON, NTLOGISTIC, TRIPLET, DCL, HCL };
static const char *const kind_names[] = {"ntxent", "supcon", "ntlogistic", "triplet", "dcl", "hcl"};

struct loss {
    enum kind kind;
    double number; /* temperature or margin */
    bool semi_hard, raw;
    const int64_t *labels; /* (n / views) */
    int views;
    double sigma;     /* DCL: of the weights; 0: not weighted */
    double beta, tau; /* HCL */
};

static const char *name_of(const struct loss *l)
{
    static char text[160];
    snprintf(text, sizeof text, "%s%s%s at %g, %d views, sigma %g, beta %g, tau %g",
             kind_names[l->kind], l->semi_hard ? " --semi-hard" : "",
             l->raw ? " --no-normalize" : "", l->number, l->views, l->sigma, l->beta, l->tau);
    return text;
}

/* Computes a loss with a kernel, or with the one that the library chooses if `product` is NULL. */
static void run(const struct loss *l, const struct gemm_kernel *product, const float *z, int n,
                int d, int threads, float *dz, struct loss_metrics *m)
{
    const struct loss_input in = {.z = z,
                                  .n = n,
                                  .d = d,
                                  .views = l->views,
                                  .labels = l->labels,
                                  .normalize = !l->raw,
                                  .threads = threads,
                                  .product = product};
    const struct triplet_settings settings = {.kind = l->kind == TRIPLET ? TRIPLET_MARGIN
                                                                         : TRIPLET_LOGISTIC,
                                              .temperature = l->number,
                                              .margin = l->number,
                                              .semi_hard = l->semi_hard};
    int status = -1;
    switch (l->kind) {
    case NTXENT:
        status = ntxent(&in, l->number, NULL, dz, m);
        break;
    case SUPCON:
        status = supcon(&in, l->number, dz, m);
        break;
    case NTLOGISTIC:
    case TRIPLET:
        status = triplet_loss(&in, &settings, dz, m);
        break;
    case DCL:
        status = dcl(&in, &(struct dcl_settings){l->number, l->sigma > 0, l->sigma}, dz, m);
        break;
    case HCL:
        status = hcl(&in, &(struct hcl_settings){l->number, l->beta, l->tau}, dz, m);
        break;
    }
    assert_int_equal(status, 0);
}

/* ---- the reference ---- */

/* The values from which the loss of row i is computed. */
struct candidates {
    int n, i;
    const double *all; /* u_j.u_k (n, n) */
    const double *s;   /* u_i.u_j (n) */
    const bool *alike; /* whether j is of the same class as i; also true for i itself (n) */
    double *c;         /* receives dloss/ds_ij (n); zero at first */
    double *gap;       /* is lowered to the smallest distance of a decision from its opposite */
};

static void decide(const struct candidates *row, double difference)
{
    *row->gap = fmin(*row->gap, fabs(difference));
}

/* Computes -1/k times the sum over positives of ln p. If k is 1, it computes p - 1 without the
 * rounding near 0. */
static double softmax_row_loss(const struct candidates *row, double t, double *entropy)
{
    double most = -INFINITY, sum = 0, others = 0, loss = 0;
    int k = 0;
    for (int j = 0; j < row->n; j++)
        most = j != row->i ? fmax(most, row->s[j] / t) : most;
    for (int j = 0; j < row->n; j++) {
        sum += j != row->i ? exp(row->s[j] / t - most) : 0;
        k += j != row->i && row->alike[j];
    }
    const double l = most + log(sum);
    if (!k)
        return 0;
    for (int j = 0; j < row->n; j++)
        others += !row->alike[j] ? exp(row->s[j] / t - l) : 0;
    for (int j = 0; j < row->n; j++) {
        if (j == row->i)
            continue;
        const double p = exp(row->s[j] / t - l);
        *entropy -= p > 0 ? p * (row->s[j] / t - l) : 0;
        loss += row->alike[j] ? (l - row->s[j] / t) / k : 0;
        row->c[j] = (!row->alike[j] ? p : k == 1 ? -others : p - 1.0 / k) / t;
    }
    return loss;
}

static double logistic(double x, double *derivative)
{
    *derivative = 1 / (1 + exp(-x));
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* Returns the loss of a triplet of row i, its positive and negative j, which has the weight
 * `share`. */
static double triple_loss(const struct candidates *row, const struct loss *l, int j, double share)
{
    const int p = row->i ^ 1;
    double cost = row->s[j] - row->s[p] + l->number, derivative = cost > 0;
    if (l->kind == TRIPLET) {
        decide(row, cost);
        row->c[p] -= derivative * share;
        cost = fmax(cost, 0);
    } else
        cost = logistic(row->s[j] / l->number, &derivative);
    row->c[j] += derivative * share / (l->kind == TRIPLET ? 1 : l->number);
    return cost * share;
}

static double triplet_row_loss(const struct candidates *row, const struct loss *l)
{
    const double s = row->s[row->i ^ 1];
    double best = -INFINITY, second = -INFINITY, loss = 0;
    int ties = 0;
    for (int j = 0; j < row->n; j++)
        if (!row->alike[j]) {
            decide(row, row->s[j] - s);
            if (row->s[j] < s && row->s[j] > best) {
                second = best;
                best = row->s[j];
            } else if (row->s[j] < best)
                second = fmax(second, row->s[j]);
        }
    for (int j = 0; j < row->n; j++)
        ties += !row->alike[j] && row->s[j] == best;
    decide(row, l->semi_hard && ties ? best - second : INFINITY);
    for (int j = 0; j < row->n; j++)
        if (!row->alike[j] && (!l->semi_hard || row->s[j] == best))
            loss += triple_loss(row, l, j, 1.0 / (l->semi_hard ? ties : row->n - 2));
    if (l->kind == NTLOGISTIC) {
        double derivative;
        loss += logistic(-s / l->number, &derivative);
        row->c[row->i ^ 1] -= derivative / l->number;
    }
    return loss;
}

/* Returns ln of the sum over negatives j of e^(s_ij x), and sets p to the softmax (n). */
static double negatives_log_sum(const struct candidates *row, double x, double *p)
{
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < row->n; j++)
        most = !row->alike[j] ? fmax(most, x * row->s[j]) : most;
    for (int j = 0; j < row->n; j++)
        sum += p[j] = !row->alike[j] ? exp(x * row->s[j] - most) : 0;
    for (int j = 0; j < row->n; j++)
        p[j] /= sum;
    return most + log(sum);
}

/* Returns 2 - n softmax(products of positives / sigma)[i], and sets *slope to the derivative of
 * minus the sum over all rows of weight times product by row i's product. */
static double dcl_weight(const struct candidates *row, double sigma, double *slope)
{
    double most = -INFINITY, sum = 0, center = 0;
    for (int j = 0; j < row->n; j++)
        most = fmax(most, row->all[j * row->n + (j ^ 1)]);
    for (int j = 0; j < row->n; j++) {
        const double x = row->all[j * row->n + (j ^ 1)], e = exp((x - most) / sigma);
        sum += e;
        center += e * x;
    }
    const double x = row->s[row->i ^ 1], share = row->n * exp((x - most) / sigma) / sum;
    *slope = -(2 - share) + share * (x - center / sum) / sigma;
    return 2 - share;
}

static double dcl_row_loss(const struct candidates *row, const struct loss *l)
{
    double p[1024], slope = -1;
    const double weight = l->sigma > 0 ? dcl_weight(row, l->sigma, &slope) : 1;
    const double log_sum = negatives_log_sum(row, 1 / l->number, p);
    for (int j = 0; j < row->n; j++)
        row->c[j] = p[j] / l->number;
    row->c[row->i ^ 1] = slope / l->number;
    return log_sum - weight * row->s[row->i ^ 1] / l->number;
}

/* With ln of R / P and of G / P. */
static double hcl_row_loss(const struct candidates *row, const struct loss *l)
{
    double high[1024], low[1024];
    const double t = l->number, count = log(row->n - 2), positive = row->s[row->i ^ 1] / t;
    const double hard = count + negatives_log_sum(row, (1 + l->beta) / t, high) -
                        negatives_log_sum(row, l->beta / t, low) - positive;
    const double drop = exp(log(l->tau) + count - hard); /* tau n' P / R */
    const double estimate = drop < 1 ? hard + log1p(-drop) - log1p(-l->tau) : -INFINITY;
    const double least = count - 1 / t - positive, g = fmax(estimate, least);
    decide(row, t * (estimate - least));
    const double cost = g > 0 ? g + log1p(exp(-g)) : log1p(exp(g)); /* ln((P + G) / P) */
    if (estimate < least) {
        row->c[row->i ^ 1] = -exp(g - cost) / t;
        return cost;
    }
    const double weight = exp(hard - cost) / (1 - l->tau) / t; /* R / ((1 - tau) (P + G)) */
    for (int j = 0; j < row->n; j++)
        row->c[j] = weight * ((1 + l->beta) * high[j] - l->beta * low[j]);
    row->c[row->i ^ 1] = -weight;
    return cost;
}

static double row_loss(const struct candidates *row, const struct loss *l, double *entropy)
{
    if (l->kind <= SUPCON)
        return softmax_row_loss(row, l->number, entropy);
    return l->kind == DCL   ? dcl_row_loss(row, l)
           : l->kind == HCL ? hcl_row_loss(row, l)
                            : triplet_row_loss(row, l);
}

static bool alike(const struct loss *l, int i, int j)
{
    const int a = i / l->views, b = j / l->views;
    return a == b || (l->kind == SUPCON && l->labels[a] >= 0 && l->labels[a] == l->labels[b]);
}

/* Computes the loss literally as its definition, and dz by the chain rule. Returns the distance to
 * the nearest kink. */
static double reference(const struct loss *l, const float *z, int n, int d, double *dz,
                        struct loss_metrics *m)
{
    double *u = malloc((size_t)(n * d) * sizeof *u), *norm = malloc((size_t)n * sizeof *norm),
           *s = malloc((size_t)(n * n) * sizeof *s), *c = calloc((size_t)(n * n), sizeof *c);
    bool *same = malloc((size_t)n * sizeof *same);
    double gap = INFINITY, counted = 0;
    *m = (struct loss_metrics){0};
    for (int i = 0; i < n; i++) {
        double square = 0;
        for (int k = 0; k < d; k++)
            square += (double)z[i * d + k] * (double)z[i * d + k];
        norm[i] = l->raw ? 1 : fmax(sqrt(square), 1e-12);
        for (int k = 0; k < d; k++)
            u[i * d + k] = (double)z[i * d + k] / norm[i];
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double dot = 0;
            for (int k = 0; k < d; k++)
                dot += u[i * d + k] * u[j * d + k];
            s[i * n + j] = s[j * n + i] = dot;
        }
    for (int i = 0; i < n; i++) {
        double near = -INFINITY, far = -INFINITY;
        const struct candidates row = {n, i, s, s + i * n, same, c + i * n, &gap};
        for (int j = 0; j < n; j++) {
            same[j] = alike(l, i, j);
            if (same[j] && j != i)
                near = fmax(near, row.s[j]);
            else if (j != i)
                far = fmax(far, row.s[j]);
        }
        counted += near > -INFINITY;
        m->accuracy += near > far;
        m->loss += row_loss(&row, l, &m->entropy);
    }
    counted = fmax(counted, 1);
    m->loss /= counted;
    m->accuracy /= counted;
    m->entropy = l->kind <= SUPCON ? m->entropy / counted : NAN;
    for (int i = 0; i < n; i++) {
        double du[512] = {0}, along = 0;
        for (int j = 0; j < n; j++)
            for (int k = 0; k < d; k++)
                du[k] += (c[i * n + j] + c[j * n + i]) * u[j * d + k] / counted;
        for (int k = 0; k < d; k++)
            along += l->raw ? 0 : du[k] * u[i * d + k];
        for (int k = 0; k < d; k++)
            dz[i * d + k] = (du[k] - along * u[i * d + k]) / norm[i];
    }
    free(u);
    free(norm);
    free(s);
    free(c);
    free(same);
    return gap;
}

/* ---- comparison ---- */

/* Returns rows in which the views of an image are similar to the degree `likeness`. */
static float *draw(int n, int d, int views, double likeness, double scale, uint64_t seed)
{
    float *z = malloc((size_t)(n * d) * sizeof *z);
    struct random r;
    random_start(&r, seed, RANDOM_INIT, 0, 0, 0);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < d; k++) {
            double x = scale * random_normal(&r);
            if (i % views)
                x += likeness * (double)z[(i - i % views) * d + k];
            z[i * d + k] = (float)x;
        }
    return z;
}

/* Returns labels, some of which are -1. */
static int64_t *draw_labels(int count, int classes)
{
    int64_t *y = malloc((size_t)count * sizeof *y);
    struct random r;
    random_start(&r, (uint64_t)count, RANDOM_INIT, 1, 0, 0);
    for (int i = 0; i < count; i++)
        y[i] = (int64_t)random_below(&r, (uint32_t)classes + 1) - 1;
    return y;
}

/* Returns the largest distance of a from b, relative to the largest element of b that a float can
 * represent. */
static double distance(const float *a, const double *b, int n)
{
    double far = 0, most = 0;
    for (int i = 0; i < n; i++) {
        far = fmax(far, fabs((double)a[i] - b[i]));
        most = fmax(most, fabs(b[i]));
    }
    return most > 1e-37 ? far / most : far;
}

/* Returns the largest error that a case may have. For dcl and hcl it is that of float products over
 * the temperature; for the others it is far above it. */
static double tolerance(const struct loss *l)
{
    return l->kind < DCL ? 1e-5 : 1e-6 * fmax(1, 0.1 / l->number);
}

static double relative(double a, double b)
{
    return fabs(a - b) / fmax(fabs(b), 1);
}

static void compare(const struct loss *l, const char *what, int n, int d,
                    const struct loss_metrics *have, const float *dz,
                    const struct loss_metrics *want, const double *expect)
{
    assert_true(isnan(have->entropy) == isnan(want->entropy));
    const bool itself = l->kind == HCL && want->loss > 0; /* however small it is */
    const double errors[] = {itself ? fabs(have->loss / want->loss - 1)
                                    : relative(have->loss, want->loss),
                             distance(dz, expect, n * d),
                             isnan(have->entropy) ? 0 : relative(have->entropy, want->entropy)};
    for (int i = 0; i < 3; i++)
        if (!(errors[i] <= tolerance(l)))
            fail_msg("%s, %s, n %d, d %d: %s is off by %g", name_of(l), what, n, d,
                     ((const char *[]){"loss", "dz", "entropy"})[i], errors[i]);
    if (fabs(have->accuracy - want->accuracy) > 1e-12)
        fail_msg("%s, %s, n %d, d %d: accuracy %g, not %g", name_of(l), what, n, d, have->accuracy,
                 want->accuracy);
}

/* Compares the results of every kernel of floats that this machine can run, and of one with an
 * unusual shape. */
static void check_products(const struct loss *l, const float *z, int n, int d,
                           const struct loss_metrics *want, const double *expect)
{
    float *dz = malloc((size_t)(n * d) * sizeof *dz);
    const struct gemm_kernel *product = &gemm_8x12;
    for (int64_t i = 0; product; product = gemm_kernel_at(i++)) {
        struct loss_metrics have;
        if (product->values != GEMM_FLOAT || !product->usable())
            continue;
        run(l, product, z, n, d, 1, dz, &have); /* test_threads() shows that one thread is enough */
        compare(l, product->name, n, d, &have, dz, want, expect);
    }
    free(dz);
}

static void check_z(const struct loss *l, const float *z, int n, int d)
{
    double *expect = malloc((size_t)(n * d) * sizeof *expect);
    struct loss_metrics want;
    reference(l, z, n, d, expect, &want);
    check_products(l, z, n, d, &want, expect);
    free(expect);
}

/* Draws rows until no decision (which negative is the most similar, is it within the margin) is
 * closer than `gap`. */
static float *draw_clear(const struct loss *l, int n, int d, double likeness, double scale,
                         double gap, double *dz, struct loss_metrics *m)
{
    for (uint64_t seed = (uint64_t)(n * 1000 + d);; seed += 1000000) {
        float *z = draw(n, d, l->views, likeness, scale, seed);
        if (reference(l, z, n, d, dz, m) > gap)
            return z;
        free(z);
    }
}

/* Checks one case. Floats may decide otherwise if a decision is close. In one dimension all rows
 * are equal or far apart. */
static void check_case(const struct loss *l, int n, int d, double likeness, double scale)
{
    double *expect = malloc((size_t)(n * d) * sizeof *expect);
    struct loss_metrics want;
    float *z = draw_clear(l, n, d, likeness, scale, d == 1 && !l->raw ? -1 : 1e-6, expect, &want);
    check_products(l, z, n, d, &want, expect);
    free(z);
    free(expect);
}

/* Sizes n, d. A tile has 192 rows and 192 columns, a block up to 8 and 32. */
static const int sizes[][2] = {{2, 1},    {4, 1},    {4, 7},     {6, 16},   {8, 17},
                               {10, 100}, {16, 128}, {34, 129},  {190, 33}, {192, 32},
                               {194, 5},  {254, 33}, {384, 129}, {386, 1},  {600, 31}};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* Kernels that cannot be used must be refused with a message that names them. */
static void test_kernels(void **state)
{
    (void)state;
    static const struct {
        enum gemm_values values;
        int64_t rows, columns, depth;
        const char *why;
    } bad[] = {
        {GEMM_FLOAT, 40, 16, 16, "kernel fp32-8x12 has blocks of 40 rows"},
        {GEMM_FLOAT, 10, 16, 16, "blocks of 10 x 16, which do not fill the tiles of 192 x 192"},
        {GEMM_FLOAT, 8, 14, 16, "blocks of 8 x 14, which do not fill the tiles of 192 x 192"},
        {GEMM_BF16, 8, 32, 32, "kernel fp32-8x12 does not multiply floats"},
    };
    const float z[8] = {1, 2, 3, 4};
    float dz[8];
    struct loss_metrics m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gemm_kernel k = gemm_8x12;
        k.values = bad[i].values;
        k.rows = bad[i].rows;
        k.columns = bad[i].columns;
        k.depth = bad[i].depth;
        const struct loss_input in = {.z = z, .n = 4, .d = 2, .threads = 1, .product = &k};
        const struct triplet_settings settings = {.kind = TRIPLET_MARGIN, .margin = 1};
        (fail)("nothing");
        assert_int_equal(ntxent(&in, 0.5, NULL, dz, &m), -1);
        assert_non_null(strstr(fail_message(), bad[i].why));
        (fail)("nothing");
        assert_int_equal(triplet_loss(&in, &settings, dz, &m), -1);
        assert_non_null(strstr(fail_message(), bad[i].why));
    }
}

/* Returns a scale at which rows that are not normalized have lengths of about 1. */
static double scale_of(const struct loss *l, int d)
{
    return l->raw ? 0.8 / sqrt(d) : 1;
}

static void test_ntxent(void **state)
{
    (void)state;
    static const double temperatures[] = {0.05, 0.1, 0.5, 1};
    for (size_t i = 0; i < SIZES; i++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
            for (int raw = 0; raw < 1 + (int)(t & 1); raw++) {
                const struct loss l = {NTXENT, temperatures[t], .raw = raw, .views = 2};
                check_case(&l, sizes[i][0], sizes[i][1], 0.7, scale_of(&l, sizes[i][1]));
            }
}

/* At 1/64 and below, exponentials are computed from differences to the largest logit. */
static void test_extreme_temperature(void **state)
{
    (void)state;
    static const double temperatures[] = {0.01, 0.0156, 1.0 / 64, 0.0157, 0.02, 10, 100};
    int64_t *labels = draw_labels(129, 12);
    for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
        for (enum kind kind = NTXENT; kind <= NTLOGISTIC; kind++)
            for (int semi_hard = 0; semi_hard <= (kind == NTLOGISTIC); semi_hard++) {
                const struct loss l = {kind, temperatures[t], semi_hard, false, labels, .views = 2};
                check_case(&l, 2, 5, 0.7, 1);
                check_case(&l, 16, 128, 0.7, 1);
                check_case(&l, 258, 33, 0.7, 1);
            }
    free(labels);
}

/* Tests one to four views, and classes of any size, some of which span several tiles. */
static void test_supcon(void **state)
{
    (void)state;
    static const int shapes[][4] = {/* images, views, classes, d */
                                    {1, 1, 1, 3},    {1, 3, 1, 3},   {2, 1, 1, 4},
                                    {7, 1, 3, 17},   {5, 4, 2, 16},  {33, 2, 5, 32},
                                    {97, 2, 10, 33}, {64, 3, 1, 8},  {200, 1, 40, 31},
                                    {301, 1, 2, 7},  {150, 4, 7, 24}};
    static const double temperatures[] = {0.07, 0.5, 2};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t *labels = draw_labels(shapes[i][0], shapes[i][2]);
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
            for (int raw = 0; raw < 1 + (t == 1); raw++) {
                const struct loss l = {SUPCON, temperatures[t], false,
                                       raw,    labels,          .views = shapes[i][1]};
                check_case(&l, shapes[i][0] * shapes[i][1], shapes[i][3], 0.7,
                           scale_of(&l, shapes[i][3]));
            }
        free(labels);
    }
}

/* Without labels, or with a different label for each image, the loss must be NT-Xent to the last
 * bit. */
static void test_supcon_alone(void **state)
{
    (void)state;
    enum { N = 400, D = 24 };
    float *z = draw(N, D, 2, 0.7, 1, 8), *dz = malloc(2 * N * D * sizeof *dz);
    int64_t labels[N / 2];
    struct loss_metrics m[2];
    run(&(struct loss){NTXENT, 0.1, .views = 2}, NULL, z, N, D, 2, dz, &m[0]);
    for (int own = 0; own < 2; own++) {
        for (int i = 0; i < N / 2; i++)
            labels[i] = own ? i : -1;
        run(&(struct loss){SUPCON, 0.1, .labels = labels, .views = 2}, NULL, z, N, D, 2, dz + N * D,
            &m[1]);
        assert_memory_equal(dz, dz + N * D, N * D * sizeof *dz);
        assert_memory_equal(&m[0], &m[1], sizeof m[0]);
    }
    free(z);
    free(dz);
}

static void test_triplet_loss(void **state)
{
    (void)state;
    static const double numbers[2][3] = {{0.05, 0.5, 2}, {0.02, 0.4, 1.3}};
    for (size_t i = 0; i < SIZES; i++)
        for (int number = 0; number < 3; number++)
            for (int which = 0; which < 8; which++) {
                const bool margin = which & 1;
                const struct loss l = {margin ? TRIPLET : NTLOGISTIC, numbers[margin][number],
                                       .semi_hard = which & 2, .raw = which & 4, .views = 2};
                if (sizes[i][0] > 100 && (number != 1 || (l.raw && sizes[i][1] == 1)))
                    continue; /* such sums cannot be told apart */
                check_case(&l, sizes[i][0], sizes[i][1], 0.7, scale_of(&l, sizes[i][1]));
            }
}

/* Tests dcl and hcl. At low temperatures exponentials are relative to each row's largest
 * similarity; tau is then small, as it magnifies the rounding of products (hcl.h). */
static void test_pair_losses(void **state)
{
    (void)state;
    static const struct loss losses[] = {
        {DCL, 0.1, .views = 2},
        {DCL, 0.1, .views = 2, .sigma = 0.5},
        {DCL, 0.02, .views = 2, .sigma = 0.1},
        {DCL, 0.01, .views = 2},
        {HCL, 0.5, .views = 2, .beta = 1, .tau = 0.1},
        {HCL, 0.1, .views = 2, .beta = 1, .tau = 1e-3},
        {HCL, 0.5, .views = 2, .beta = 2.5, .tau = 0},
        {HCL, 0.2, .views = 2, .beta = 0, .tau = 0.02},
        {HCL, 0.02, .views = 2, .beta = 0.5, .tau = 0},
        {HCL, 0.01, .views = 2, .beta = 1, .tau = 0},
    };
    for (size_t i = 1; i < SIZES; i++)
        for (size_t k = 0; k < sizeof losses / sizeof *losses; k++)
            for (int raw = 0; raw < 2; raw++) {
                struct loss l = losses[k];
                l.raw = raw;
                if (sizes[i][1] == 1 && l.raw && sizes[i][0] > 100)
                    continue; /* some products are far above 1 */
                check_case(&l, sizes[i][0], sizes[i][1], 0.7, scale_of(&l, sizes[i][1]));
            }
}

/* Rows of small whole numbers, which are not normalized: products are exact and up to thousands, so
 * that their exponentials are far beyond a float's range. */
static void test_long_rows(void **state)
{
    (void)state;
    static const double numbers[] = {0.5, 0.1, 0.01, 0.001};
    enum { N = 194, D = 33 };
    float *z = draw(N, D, 2, 0.9, 5, 21);
    for (int i = 0; i < N * D; i++)
        z[i] = rintf(z[i]);
    for (size_t t = 0; t < sizeof numbers / sizeof *numbers; t++)
        for (int which = 0; which < 4; which++)
            check_z(&(struct loss){which < 2 ? DCL : HCL, numbers[t], .raw = true, .views = 2,
                                   .sigma = which == 1 ? 100 : 0, .beta = which == 2 ? 1 : 0.5,
                                   .tau = 0.1},
                    z, N, D);
    free(z);
}

/* Without hardness and correction, hcl must be NT-Xent. */
static void test_hcl_alone(void **state)
{
    (void)state;
    enum { N = 400, D = 24 };
    float *z = draw(N, D, 2, 0.7, 1, 8), dz[2][N * D];
    double wide[N * D];
    struct loss_metrics m[2];
    run(&(struct loss){NTXENT, 0.2, .views = 2}, NULL, z, N, D, 2, dz[0], &m[0]);
    run(&(struct loss){HCL, 0.2, .views = 2}, NULL, z, N, D, 2, dz[1], &m[1]);
    for (int i = 0; i < N * D; i++)
        wide[i] = (double)dz[0][i];
    assert_true(relative(m[1].loss, m[0].loss) < 1e-6 && m[1].accuracy == m[0].accuracy);
    assert_true(distance(dz[1], wide, N * D) < 2e-6);
    free(z);
}

/* By hand. The rows are e1, e1, e2, -e1, so the products of positives are 1 and 0. */
static void test_by_hand(void **state)
{
    (void)state;
    const float z[8] = {1, 0, 1, 0, 0, 1, -1, 0};
    const double e = exp(1), w[2] = {2 - 2 * e / (e + 1), 2 - 2 / (e + 1)}; /* sigma 1 */
    float dz[8];
    struct loss_metrics m;
    /* At T = 1 the rows' negatives are 0, -1; the same; 0, 0; -1, -1. */
    run(&(struct loss){DCL, 1, .views = 2}, NULL, z, 4, 2, 1, dz, &m);
    assert_true(relative(m.loss, (2 * (log(1 + 1 / e) - 1) + log(2) + log(2 / e)) / 4) < 1e-7);
    run(&(struct loss){DCL, 1, .views = 2, .sigma = 1}, NULL, z, 4, 2, 1, dz, &m);
    assert_true(relative(m.loss, (2 * (log(1 + 1 / e) - w[0]) + log(2) + log(2 / e)) / 4) < 1e-7);
    assert_true(w[0] + w[1] == 2);
    /* R = 2 (1 + e^-2) / (1 + e^-1), 2 and 2 / e; with tau = 1/4 the first G is at its lower bound,
     * 2 / e, as R - e/2 < 0.75 times that; the others are (2 - 1/2) / 0.75 and 2 / e, bounded. */
    run(&(struct loss){HCL, 1, .views = 2, .beta = 1, .tau = 0.25}, NULL, z, 4, 2, 1, dz, &m);
    assert_true(2 * (1 + exp(-2)) / (1 + exp(-1)) - e / 2 < 0.75 * 2 / e);
    assert_true(relative(m.loss, (2 * log1p(2 / e / e) + log(3) + log1p(2 / e)) / 4) < 1e-7);
    assert_true(m.accuracy == 0.75);
}

/* Rows on a few lines: similarities are 1, 0 and -1 without rounding. All candidates of a row can
 * then be as far away as possible, and negatives tie; nothing may overflow or vanish. */
static void test_opposites(void **state)
{
    (void)state;
    static const signed char lines[][8] = {
        {1, -1},                    /* there are no others, and the positive is opposite */
        {1, 1, -1, -1},             /* the others are opposite */
        {1, -1, 1, -1},             /* the positive is opposite */
        {1, -1, 2, -2, 1, 2},       /* on two lines */
        {1, 1, 2, -2, 2, 1, 1, 2},  /* several are the most similar of the less similar */
        {1, 1, 1, 2, -1, -1, 2, -2} /* among equal rows */
    };
    static const double numbers[] = {1e-3, 0.01, 0.0156, 0.0157, 0.1, 1.5, 1e3};
    static const int64_t labels[] = {3, -1, 3, 0};
    for (size_t l = 0; l < sizeof lines / sizeof *lines; l++)
        for (size_t t = 0; t < sizeof numbers / sizeof *numbers; t++) {
            float z[16] = {0};
            int n = 0;
            for (; n < 8 && lines[l][n]; n++)
                z[2 * n + abs(lines[l][n]) - 1] = lines[l][n] > 0 ? 1 : -1;
            for (enum kind kind = NTXENT; kind <= HCL; kind++) {
                if (kind == SUPCON && numbers[t] < 0.01)
                    continue; /* its coefficients, p - 1/k, are floats and are multiplied by 1000 */
                if (kind > TRIPLET && n == 2)
                    continue; /* they need negatives */
                for (int flags = 0; flags < (kind > SUPCON ? 4 : 2); flags++)
                    check_z(&(struct loss){kind, numbers[t], flags & 2, flags & 1, labels, 2,
                                           .sigma = flags & 2 ? 0.1 : 0,
                                           .beta = flags & 2 ? 0.7 : 1, .tau = 0.1},
                            z, n, 2);
            }
        }
}

static const struct loss every[] = {
    {NTXENT, 0.5, .views = 2},
    {NTLOGISTIC, 0.5, .views = 2},
    {NTLOGISTIC, 0.5, .semi_hard = true, .views = 2},
    {TRIPLET, 0.4, .views = 2},
    {TRIPLET, 0.4, .semi_hard = true, .views = 2},
    {SUPCON, 0.5, .labels = (const int64_t[]){1, 0, -1, 1, 1, 0, -1, 2, 5, 0, 1, 0, 2, 2, 1, -1, 5},
     .views = 2},
    {DCL, 0.5, .views = 2},
    {DCL, 0.5, .views = 2, .sigma = 0.5},
    {HCL, 0.5, .views = 2, .beta = 1, .tau = 0.1},
    {HCL, 0.5, .views = 2, .beta = 0.6, .tau = 0.02},
};
enum { EVERY = sizeof every / sizeof *every };

/* The loss must not depend on the length of z; its gradient must be proportional to the inverse of
 * the length. */
static void test_scales(void **state)
{
    (void)state;
    static const double scales[] = {1e-9, 1e-4, 1e4, 1e18, 1e30};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++)
        for (int l = 0; l < EVERY; l++)
            check_case(&every[l], 34, 9, 0.7, scales[i]);
}

/* One pair has no negatives. The loss and its gradient must then be 0. NT-Logistic still has the
 * positive's term; dcl and hcl have no value. */
static void test_one_pair(void **state)
{
    (void)state;
    const float z[6] = {1, 2, 3, -4, 5, 6};
    float dz[6];
    struct loss_metrics m;
    for (int l = 0; l < EVERY; l++) {
        run(&every[l], NULL, z, 2, 3, 3, dz, &m);
        assert_true(m.accuracy == 1);
        if (every[l].kind > TRIPLET) {
            assert_true(!isfinite(m.loss));
            continue;
        }
        check_z(&every[l], z, 2, 3);
        if (every[l].kind == NTLOGISTIC)
            continue;
        assert_true(m.loss == 0 && (isnan(m.entropy) || m.entropy == 0));
        for (int i = 0; i < 6; i++)
            assert_true(fabsf(dz[i]) < 1e-7f);
    }
}

/* Rows without positives must contribute nothing. */
static void test_no_positives(void **state)
{
    (void)state;
    enum { N = 20, D = 5 };
    int64_t labels[N];
    float *z = draw(N, D, 1, 0, 1, 9), dz[N * D];
    struct loss_metrics m;
    for (int i = 0; i < N; i++)
        labels[i] = i % 2 ? i : -1;
    for (int raw = 0; raw < 2; raw++) {
        run(&(struct loss){SUPCON, 0.5, .raw = raw, .labels = labels, .views = 1}, NULL, z, N, D, 2,
            dz, &m);
        assert_true(m.loss == 0 && m.accuracy == 0 && m.entropy == 0);
        for (int i = 0; i < N * D; i++)
            assert_true(dz[i] == 0);
    }
    free(z);
}

static void test_finite_differences(void **state)
{
    (void)state;
    enum { N = 10, D = 5 };
    for (int l = 0; l < 2 * EVERY; l++) {
        struct loss loss = every[l / 2];
        loss.raw = l % 2;
        double wide[N * D];
        float dz[N * D], unused[N * D];
        struct loss_metrics m;
        float *z = draw_clear(&loss, N, D, 0.7, 0.6, 4e-3, wide, &m);
        run(&loss, NULL, z, N, D, 1, dz, &m);
        for (int i = 0; i < N * D; i++) {
            struct loss_metrics up, down;
            float saved = z[i], h = loss.kind > SUPCON ? 1e-3f : 1e-2f; /* crosses no kink */
            z[i] = saved + h;
            float above = z[i];
            run(&loss, NULL, z, N, D, 1, unused, &up);
            z[i] = saved - h;
            float below = z[i];
            run(&loss, NULL, z, N, D, 1, unused, &down);
            z[i] = saved;
            double slope = (up.loss - down.loss) / ((double)above - (double)below);
            if (fabs(slope - (double)dz[i]) > 1e-4)
                fail_msg("%s, element %d: the loss rises by %g, dz says %g", name_of(&loss), i,
                         slope, (double)dz[i]);
        }
        free(z);
    }
}

static void test_threads(void **state)
{
    (void)state;
    enum { N = 1000, D = 37 };
    static const int threads[] = {1, 2, 3, 5};
    float *z = draw(N, D, 2, 0.7, 0.2, 4), *dz = malloc(2 * N * D * sizeof *dz);
    int64_t *labels = draw_labels(N / 2, 6);
    for (int l = 0; l < 3 * EVERY; l++) {
        struct loss loss = every[l / 3];
        loss.labels = labels;
        loss.raw = l % 3 == 1;
        loss.number = l % 3 == 2 ? 0.01 : loss.number;
        struct loss_metrics m[2];
        run(&loss, NULL, z, N, D, 1, dz, &m[0]);
        for (int t = 1; t < 4; t++)
            for (int again = 0; again < 2; again++) {
                run(&loss, NULL, z, N, D, threads[t], dz + N * D, &m[1]);
                assert_memory_equal(dz, dz + N * D, N * D * sizeof *dz);
                assert_memory_equal(&m[0], &m[1], sizeof m[0]);
            }
    }
    free(z);
    free(dz);
    free(labels);
}

/* Representations that have all become equal must count as right nowhere. */
static void test_collapse(void **state)
{
    (void)state;
    enum { N = 300, D = 8 };
    float *z = malloc(N * D * sizeof *z), *dz = malloc(N * D * sizeof *dz);
    int64_t *labels = draw_labels(N / 2, 6);
    for (int l = 0; l < 2 * EVERY; l++) {
        struct loss loss = every[l / 2];
        const bool zero = l % 2; /* rows of zeros, which have no direction */
        const double s = zero ? 0 : 1, t = loss.number, up = log1p(exp(s / t));
        double want = log(N - 1);
        loss.labels = labels;
        if (loss.kind == TRIPLET)
            want = loss.semi_hard ? 0 : loss.number;
        if (loss.kind == NTLOGISTIC)
            want = log1p(exp(-s / t)) + (loss.semi_hard ? 0 : up);
        if (loss.kind == DCL)
            want = log(N - 2);
        for (int i = 0; i < N * D; i++)
            z[i] = zero ? 0 : (float)(i % D) - 2.5f;
        struct loss_metrics m;
        run(&loss, NULL, z, N, D, 2, dz, &m);
        assert_true(m.accuracy == 0 && relative(m.loss, want) < 1e-6);
        assert_true(isnan(m.entropy) || relative(m.entropy, log(N - 1)) < 1e-6);
        for (int i = 0; i < N * D; i++)
            assert_true(zero ? dz[i] == 0 : fabsf(dz[i]) < 1e-7f);
    }
    free(z);
    free(dz);
    free(labels);
}

/* A single element that is not finite must be noticed, and so must products that overflow. */
static void test_not_finite(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, 1e25f};
    for (int b = 0; b < 4; b++)
        for (int l = 0; l < 2 * EVERY; l++) {
            struct loss loss = every[l / 2];
            loss.raw = l % 2;
            if (isfinite(bad[b]) && !loss.raw)
                continue;
            float *z = draw(20, 4, 2, 0.7, 1, 5), dz[80];
            struct loss_metrics m;
            z[37] = bad[b];
            z[33] = isfinite(bad[b]) ? -bad[b] : z[33]; /* that of its positive */
            run(&loss, NULL, z, 20, 4, 2, dz, &m);
            if (isfinite(m.loss))
                fail_msg("%s: %g is not seen", name_of(&loss), (double)bad[b]);
            free(z);
        }
}

/* ---- PyTorch ---- */

static double meta_double(const struct frame *f, const char *what, const char *name)
{
    char key[64];
    double value;
    snprintf(key, sizeof key, "%s_%s", what, name);
    assert_int_equal(frame_meta_double(f, key, NAN, &value), 0);
    return value;
}

static void check_golden(const struct frame *golden, const struct tensor *z, const float *want_dz,
                         const struct loss *l, const char *name, bool entropy)
{
    const int views = (int)z->shape[1], n = (int)z->shape[0] * views, d = (int)z->shape[2];
    float *dz = malloc(z->bytes);
    double *wide = malloc(2 * z->bytes);
    struct loss_metrics have,
        want = {meta_double(golden, "loss", name), meta_double(golden, "accuracy", name), NAN};
    for (int k = 0; k < n * d; k++)
        wide[k] = (double)want_dz[k];
    run(l, NULL, z->data, n, d, 2, dz, &have);
    want.entropy = entropy ? meta_double(golden, "entropy", name) : have.entropy;
    compare(l, "PyTorch", n, d, &have, dz, &want, wide);
    free(dz);
    free(wide);
}

/* Returns the number after a mark in a case's name, or 0. */
static double setting(const char *name, const char *mark)
{
    const char *at = strstr(name, mark);
    return at ? atof(at + strlen(mark)) : 0;
}

/* tests/golden/losses.py explains the names. */
static void test_pytorch(void **state)
{
    (void)state;
    struct frame *golden = frame_load("tests/golden/losses.safetensors");
    if (!golden)
        fail_msg("%s", fail_message());
    int cases = 0;
    for (int i = 0; i < golden->n_tensors; i++) {
        const char *name = golden->tensors[i].name;
        char loss[32];
        struct loss l = {.views = 2};
        if (sscanf(name, "dz_%31[a-z]_%lf", loss, &l.number) != 2)
            continue;
        while (strcmp(kind_names[l.kind], loss))
            l.kind++;
        l.semi_hard = strstr(name, "_sh");
        l.sigma = setting(name, "_w");
        l.beta = setting(name, "_b");
        l.tau = setting(name, "_p");
        l.raw = strstr(name, "_raw");
        const bool three = strlen(name) > 2 && !strcmp(name + strlen(name) - 2, "_3");
        l.views = three ? 3 : 2;
        l.labels = frame_find(golden, three ? "y3" : "y")->data;
        check_golden(golden, frame_find(golden, three ? "z3" : "z"), golden->tensors[i].data, &l,
                     name + 3, false);
        cases++;
    }
    assert_int_equal(cases, 62);
    frame_free(golden);
}

static void test_pytorch_entropy(void **state)
{
    (void)state;
    struct frame *golden = frame_load("tests/golden/loss_and_lars.safetensors");
    if (!golden)
        fail_msg("%s", fail_message());
    static const char *const temperatures[] = {"0.05", "0.1", "0.5", "1"};
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++) {
        char key[32];
        snprintf(key, sizeof key, "dz_%s", temperatures[i]);
        check_golden(golden, frame_find(golden, "z"), frame_find(golden, key)->data,
                     &(struct loss){NTXENT, atof(temperatures[i]), .views = 2}, temperatures[i],
                     true);
    }
    frame_free(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ntxent),          cmocka_unit_test(test_extreme_temperature),
        cmocka_unit_test(test_supcon),          cmocka_unit_test(test_supcon_alone),
        cmocka_unit_test(test_triplet_loss),    cmocka_unit_test(test_opposites),
        cmocka_unit_test(test_pair_losses),     cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_hcl_alone),       cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_scales),          cmocka_unit_test(test_one_pair),
        cmocka_unit_test(test_no_positives),    cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_threads),         cmocka_unit_test(test_collapse),
        cmocka_unit_test(test_not_finite),      cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_pytorch_entropy), cmocka_unit_test(test_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
