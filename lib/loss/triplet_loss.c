#include "loss/triplet_loss.h"

#include <math.h>
#include <stdlib.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"
#include "base/vector_math.h"
#include "loss/similarity.h"

/* The method. A first visit to the tiles with positives, which are those on the diagonal, finds the
 * positives' products. Without mining, a negative's weight depends only on its own product. One
 * visit to all tiles then takes the sums and leaves the coefficients, and the positive's
 * coefficient is added to the gradient at the end. Mining needs another visit to all tiles before
 * that one. It finds each row's negative: its product, and how many negatives have exactly that
 * product. The last visit computes the same products again and recognizes the negative by its
 * value. It takes as long as without mining, although a row has only one coefficient that is not 0.
 */

enum { TILE = SIMILARITY_TILE, LANES = SIMILARITY_LANES };
enum { MOST, SUM, COUNT };         /* indices of similarity_worker.row when all negatives count */
enum { BEST = SUM, TIES = COUNT }; /* the same when one negative is mined */

struct triplet_task {
    struct triplet_settings settings;
    double inverse_temperature;
    float scale; /* log2(e) / T */
    float *memory;
    int64_t *ends;   /* see similarity.h */
    float *positive; /* u_i.u_p(i) */
    float *corner;   /* margin loss: a triple has a loss if the negative's product is above this */
    float *most;     /* the largest product with a negative */
    float *best;     /* mined: the negative's product, or -infinity if there is none */
    float *ties;     /* mined: how many negatives have that product */
    float *weight;   /* mined: the derivative of row i's loss by the product, for each of these */
    double *sum;     /* over negatives, the sum of ln(1 + e^(s / T)) or of the triples' losses */
    double *count;   /* margin loss: the number of triples with a loss */
    double *loss;    /* loss of each row (n) */
    double *pull;    /* the derivative of row i's loss by its positive's product (n) */
};

typedef void panel_visitor(const struct triplet_task *t, int64_t width,
                           struct similarity_worker *restrict w, float *restrict panel, int64_t i,
                           int64_t j);

/* Returns ln(1 + e^(x / T)), which is 0 at -infinity, and sets *sigmoid to its derivative by x / T.
 */
static inline float softplus(float x, float scale, float *sigmoid)
{
    const float t = scale * x, e = exp2_float(t > 0 ? -t : t), part = 1.0f / (1.0f + e);
    *sigmoid = t > 0 ? part : e * part;
    return (t > 0 ? t * (float)M_LN2 : 0.0f) + log1p_float(e);
}

/* Turns the similarities into the sum of the derivatives of both rows' losses by them, times n - 2.
 */
MULTIVERSION static void take_logistic(const struct triplet_task *t, int64_t width,
                                       struct similarity_worker *restrict w, float *restrict panel,
                                       int64_t i, int64_t j)
{
    (void)i;
    const float scale = t->scale;
    float(*restrict row_most)[LANES] = w->row[MOST], (*restrict row_sum)[LANES] = w->row[SUM];
    for (int64_t c = 0; c < width; c += LANES) {
        float *column_most = t->most + j + c;
        for (int64_t top = 0; top < TILE; top += LANES) {
            float sum[LANES] __attribute__((aligned(64))) = {0};
            for (int64_t r = top; r < top + LANES; r++) {
                float *x = panel + r * width + c;
#pragma omp simd
                for (int k = 0; k < LANES; k++) {
                    row_most[r][k] = x[k] > row_most[r][k] ? x[k] : row_most[r][k];
                    column_most[k] = x[k] > column_most[k] ? x[k] : column_most[k];
                    float sigmoid;
                    const float costs = softplus(x[k], scale, &sigmoid);
                    row_sum[r][k] += costs;
                    sum[k] += costs;
                    x[k] = 2.0f * sigmoid;
                }
            }
            for (int k = 0; k < LANES; k++)
                t->sum[j + c + k] += (double)sum[k];
        }
    }
}

/* Returns max(x, 0), or NaN if x is NaN. */
static inline float above(float x)
{
    return x <= 0.0f ? 0.0f : x;
}

MULTIVERSION static void take_margin(const struct triplet_task *t, int64_t width,
                                     struct similarity_worker *restrict w, float *restrict panel,
                                     int64_t i, int64_t j)
{
    float(*restrict row_most)[LANES] = w->row[MOST], (*restrict row_sum)[LANES] = w->row[SUM],
                    (*restrict row_count)[LANES] = w->row[COUNT];
    const float *row_corner = t->corner + i;
    for (int64_t c = 0; c < width; c += LANES) {
        float *column_most = t->most + j + c;
        const float *column_corner = t->corner + j + c;
        for (int64_t top = 0; top < TILE; top += LANES) {
            float sum[LANES] __attribute__((aligned(64))) = {0};
            float count[LANES] __attribute__((aligned(64))) = {0};
            for (int64_t r = top; r < top + LANES; r++) {
                float *x = panel + r * width + c;
#pragma omp simd
                for (int k = 0; k < LANES; k++) {
                    row_most[r][k] = x[k] > row_most[r][k] ? x[k] : row_most[r][k];
                    column_most[k] = x[k] > column_most[k] ? x[k] : column_most[k];
                    const float in_row = x[k] - row_corner[r], in_column = x[k] - column_corner[k];
                    const float row_costs = in_row > 0.0f ? 1.0f : 0.0f;
                    const float column_costs = in_column > 0.0f ? 1.0f : 0.0f;
                    row_sum[r][k] += above(in_row);
                    sum[k] += above(in_column);
                    row_count[r][k] += row_costs;
                    count[k] += column_costs;
                    x[k] = row_costs + column_costs;
                }
            }
            for (int k = 0; k < LANES; k++) {
                t->sum[j + c + k] += (double)sum[k];
                t->count[j + c + k] += (double)count[k];
            }
        }
    }
}

/* Updates the largest x below `positive`, and the number of its occurrences. */
static inline void mine(float x, float positive, float *best, float *ties)
{
    const float below = x < positive ? x : -INFINITY;
    *ties = below > *best ? 1.0f : *ties + (below == *best ? 1.0f : 0.0f);
    *best = below > *best ? below : *best;
}

MULTIVERSION static void mine_panel(const struct triplet_task *t, int64_t width,
                                    struct similarity_worker *restrict w, float *restrict panel,
                                    int64_t i, int64_t j)
{
    float(*restrict row_most)[LANES] = w->row[MOST], (*restrict row_best)[LANES] = w->row[BEST],
                    (*restrict row_ties)[LANES] = w->row[TIES];
    const float *row_positive = t->positive + i;
    for (int64_t c = 0; c < width; c += LANES) {
        float *most = t->most + j + c, *best = t->best + j + c, *ties = t->ties + j + c;
        const float *positive = t->positive + j + c;
        for (int64_t r = 0; r < TILE; r++) {
            const float *x = panel + r * width + c;
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                row_most[r][k] = x[k] > row_most[r][k] ? x[k] : row_most[r][k];
                most[k] = x[k] > most[k] ? x[k] : most[k];
                mine(x[k], row_positive[r], &row_best[r][k], &row_ties[r][k]);
                mine(x[k], positive[k], best + k, ties + k);
            }
        }
    }
}

/* Turns the similarities into the sum of the derivatives of both rows' losses by them. */
MULTIVERSION static void weigh_mined(const struct triplet_task *t, int64_t width,
                                     struct similarity_worker *restrict w, float *restrict panel,
                                     int64_t i, int64_t j)
{
    (void)w;
    for (int64_t c = 0; c < width; c += LANES) {
        const float *best = t->best + j + c, *weight = t->weight + j + c;
        for (int64_t r = 0; r < TILE; r++) {
            const float row_best = t->best[i + r], row_weight = t->weight[i + r];
            float *x = panel + r * width + c;
#pragma omp simd
            for (int k = 0; k < LANES; k++)
                x[k] =
                    (x[k] == row_best ? row_weight : 0.0f) + (x[k] == best[k] ? weight[k] : 0.0f);
        }
    }
}

/* Calls `take` for each panel of a tile, after hiding the positives. */
static void visit(struct similarity *p, const struct triplet_task *t, struct similarity_worker *w,
                  int64_t i, int64_t j, panel_visitor *take)
{
    const int64_t width = p->width;
    for (int64_t c = 0; c < count_min(p->n - j, TILE); c += width) {
        float *panel = similarity_panel(p, w, i, j, c);
        if (similarity_has_positives(p, i, j + c))
            similarity_hide_positives(p, panel, i, j, c);
        take(t, width, w, panel, i, j + c);
    }
}

static void start_rows(struct similarity_worker *w, int part, float value)
{
    for (int64_t r = 0; r < TILE; r++)
        for (int k = 0; k < LANES; k++)
            w->row[part][r][k] = value;
}

static void take_most(const struct triplet_task *t, const struct similarity_worker *w, int64_t i,
                      int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < LANES; k++)
            t->most[i + r] =
                w->row[MOST][r][k] > t->most[i + r] ? w->row[MOST][r][k] : t->most[i + r];
}

static void find_positives(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                           int64_t j)
{
    const struct triplet_task *t = task;
    const int64_t width = p->width;
    for (int64_t c = 0; c < count_min(p->n - j, TILE); c += width) {
        const float *panel = similarity_panel(p, w, i, j, c);
        for (int64_t r = 0; r < TILE; r++) {
            int64_t k, to;
            for (similarity_positives(p, i, j, c, r, &k, &to); k < to; k++)
                t->positive[i + r] = t->positive[j + c + k] = panel[r * width + k];
        }
    }
}

static void visit_all(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                      int64_t j)
{
    const struct triplet_task *t = task;
    const int64_t rows = count_min(p->n - i, TILE);
    start_rows(w, MOST, -INFINITY);
    start_rows(w, SUM, 0);
    start_rows(w, COUNT, 0);
    visit(p, t, w, i, j, t->settings.kind == TRIPLET_MARGIN ? take_margin : take_logistic);
    take_most(t, w, i, rows);
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < LANES; k++) {
            t->sum[i + r] += (double)w->row[SUM][r][k];
            t->count[i + r] += (double)w->row[COUNT][r][k];
        }
    similarity_multiply(p, w, i, j);
}

static void visit_mine(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                       int64_t j)
{
    const struct triplet_task *t = task;
    const int64_t rows = count_min(p->n - i, TILE);
    start_rows(w, MOST, -INFINITY);
    start_rows(w, BEST, -INFINITY);
    start_rows(w, TIES, 0);
    visit(p, t, w, i, j, mine_panel);
    take_most(t, w, i, rows);
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < LANES; k++) {
            const float best = w->row[BEST][r][k], ties = w->row[TIES][r][k];
            if (best > t->best[i + r])
                t->ties[i + r] = ties;
            else if (best == t->best[i + r])
                t->ties[i + r] += ties;
            t->best[i + r] = best > t->best[i + r] ? best : t->best[i + r];
        }
}

static void visit_mined(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                        int64_t j)
{
    visit(p, task, w, i, j, weigh_mined);
    similarity_multiply(p, w, i, j);
}

/* Returns ln(1 + e^x) and sets *derivative to its derivative. */
static double logistic(double x, double *derivative)
{
    const double e = exp(-fabs(x));
    *derivative = x > 0 ? 1 / (1 + e) : e / (1 + e);
    return (x > 0 ? x : 0) + log1p(e);
}

/* Computes row i's loss and its derivatives by the products u_i.u_j: `pull` by the positive's, and
 * `push` by each mined negative's. For a logistic loss the derivatives are multiplied by T. */
static void find_loss(const struct triplet_task *t, int64_t n, int64_t i)
{
    const bool margin = t->settings.kind == TRIPLET_MARGIN, mined = t->settings.semi_hard;
    const double positive = (double)t->positive[i], best = (double)t->best[i];
    const double negatives = n > 2 ? (double)(n - 2) : 1;
    double pull = 0, loss = 0, push = 0;
    if (margin && mined) {
        loss = best > -INFINITY ? fmax(best - positive + t->settings.margin, 0) : 0;
        pull = push = loss > 0;
    } else if (margin) {
        loss = t->sum[i] / negatives;
        pull = t->count[i] / negatives;
    } else {
        loss = logistic(-positive * t->inverse_temperature, &pull);
        loss += mined ? logistic(best * t->inverse_temperature, &push) : t->sum[i] / negatives;
    }
    /* A margin loss and its gradient could still be finite if a product is infinite, so this is
     * checked. */
    t->loss[i] = isfinite(positive) ? loss : NAN;
    t->pull[i] = -pull;
    t->weight[i] = t->ties[i] > 0 && push > 0 ? (float)(push / (double)t->ties[i]) : 0;
}

static int prepare(struct triplet_task *t, struct similarity *p, const struct loss_input *in)
{
    const int64_t room = count_round_up(in->n, TILE);
    float *at = t->memory = calloc((size_t)(6 * room), sizeof *at);
    double *sums = t->sum = calloc((size_t)(4 * room), sizeof *sums);
    t->ends = calloc((size_t)in->n, sizeof *t->ends);
    if (!at || !sums || !t->ends)
        return fail("out of memory for a loss over %lld views", (long long)in->n);
    float **const floats[] = {&t->positive, &t->corner, &t->most, &t->best, &t->ties, &t->weight};
    for (size_t k = 0; k < sizeof floats / sizeof *floats; k++)
        *floats[k] = at + (int64_t)k * room;
    t->count = sums + room;
    t->loss = sums + 2 * room;
    t->pull = sums + 3 * room;
    for (int64_t i = 0; i < room; i++)
        t->most[i] = t->best[i] = -INFINITY;
    for (int64_t i = 0; i < in->n; i++)
        t->ends[i] = (i | 1) + 1;
    return similarity_open(p, in, NULL, t->ends);
}

static void measure(const struct triplet_task *t, int64_t n, struct loss_metrics *metrics)
{
    double loss = 0, right = 0;
    for (int64_t i = 0; i < n; i++) {
        loss += t->loss[i] / (double)n;
        right += t->positive[i] > t->most[i];
    }
    *metrics = (struct loss_metrics){loss, right / (double)n, NAN};
}

/* Computes loss and gradient. For a team (similarity.h). */
static void compute(struct triplet_task *t, struct similarity *p, const struct loss_input *in,
                    float *dz)
{
    const struct triplet_settings *s = &t->settings;
    const double each = s->semi_hard || p->n <= 2 ? 1 : 1 / (double)(p->n - 2); /* per negative */
    p->product->begin();
    similarity_load(p, in);
    similarity_visit(p, find_positives, t, true);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        t->corner[i] = (float)((double)t->positive[i] - s->margin);
    similarity_visit(p, s->semi_hard ? visit_mine : visit_all, t, false);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        find_loss(t, p->n, i);
    if (s->semi_hard)
        similarity_visit(p, visit_mined, t, false);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        similarity_add(p, i, i ^ 1, (t->pull[i] + t->pull[i ^ 1]) / each);
    similarity_finish(p, in, each * t->inverse_temperature / (double)p->n, dz);
    p->product->end();
}

int triplet_loss(const struct loss_input *in, const struct triplet_settings *settings, float *dz,
                 struct loss_metrics *metrics)
{
    struct similarity p = {0};
    struct triplet_task t = {.settings = *settings, .inverse_temperature = 1};
    if (settings->kind == TRIPLET_LOGISTIC) {
        t.scale = (float)(M_LOG2E / settings->temperature);
        t.inverse_temperature = (double)t.scale * M_LN2;
    }
    const int status = prepare(&t, &p, in);
    if (!status) {
#pragma omp parallel num_threads(in->threads)
        compute(&t, &p, in, dz);
        measure(&t, in->n, metrics);
    }
    similarity_close(&p);
    free(t.memory);
    free(t.sum);
    free(t.ends);
    return status;
}
