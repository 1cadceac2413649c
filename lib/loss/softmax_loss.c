#include "loss/softmax_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"
#include "base/vector_math.h"
#include "loss/queue_softmax.h"
#include "loss/similarity.h"

/* The method. With k = |P(i)|, the derivative of row i's loss by s_ij is p_ij for a negative j and
 * p_ij - 1/k for a positive j. A first visit to all tiles finds the sums. A last visit computes the
 * tiles again and turns them into these coefficients.
 *
 * Exponentials. While |s| stays below 64, e^s and its sums are within a float's range, and one
 * exponential serves both the row and the column of a pair. At lower temperatures, and where rows
 * are not normalized, the first visit only finds every row's largest similarity; a further visit
 * then takes separate exponentials for rows and columns, each relative to its own largest one.
 *
 * Positives are summed apart from negatives, relative to b, the similarity of the row's best
 * positive. With A the sum of e^(s_ij - b) over positives and N that of e^s_ij over negatives,
 *
 *     loss_i = [ln A + b - mean s_ij] + ln(1 + N / (A e^b))
 *
 * Thus neither a loss near 0 nor a gradient p - 1 near 0 is a difference of rounded numbers. For a
 * single positive the bracket is 0, and p - 1 = expm1(-loss). For several positives A takes a visit
 * of its own, to the tiles that have positives. Keeping positives apart also lets the accuracy
 * compare strictly: when all representations have become equal, no row counts as right.
 *
 * Entropy. It is the mean of ln D_i - sum_j p_ij s_ij, where D_i is the softmax's denominator. As s
 * is symmetric, this equals the loss minus half the sum of u_i.dL/du_i, which the gradient of the
 * normalization needs anyway. The part of u_i.dL/du_i that comes from a queue counts whole, since a
 * queue's rows have no rows of their own in the matrix.
 *
 * A queue's products are visited once, or twice if exponentials are shifted (queue_softmax.h): what
 * row i gets from it is a weighted sum of its rows, and the weights have a common factor, which is
 * known at the end. */

enum { TILE = SIMILARITY_TILE, LANES = SIMILARITY_LANES };
enum { MOST, SUM }; /* indices of similarity_worker.row */

struct softmax_row {
    double loss;
    double sum;       /* sum of e^(s_ij - shift) over negatives */
    double positives; /* A in the comment at the top */
    double similar;   /* sum of u_i.u_j over positives */
    /* For a positive, p - 1/k is (e^(s_ij - b) - mean) weight - rest. */
    double mean, weight, rest;
    double queue;  /* for a row of the queue, p is e^(s - shift) queue; then its u_i.dL/du_i */
    int64_t count; /* rows of the class; k is count - 1 */
};

struct softmax_task {
    double inverse_temperature;
    float scale;   /* log2(e) / T */
    bool shifted;  /* exponentials are relative to each row's largest similarity, not to 0 */
    bool several;  /* some row has more than one positive */
    int64_t means; /* number of rows with positives, over which means are taken */
    struct softmax_row *rows;
    float *memory;         /* holds the next four arrays */
    float *best, *most;    /* the largest product with a positive, and with a negative */
    float *shift, *weight; /* for a negative, p_ij = weight e^(s_ij - shift / T) */
    struct queue_softmax queue;
};

/* Updates the largest similarity and the sum of the exponentials, for the rows from i and the
 * columns from j of a panel. */
MULTIVERSION static void take_panel(const struct softmax_task *t, int64_t width,
                                    struct similarity_worker *restrict w,
                                    const float *restrict panel, int64_t i, int64_t j)
{
    const float scale = t->scale;
    float(*restrict row_most)[LANES] = w->row[MOST], (*restrict row_sum)[LANES] = w->row[SUM];
    for (int64_t c = 0; c < width; c += LANES) {
        const float *row_shift = t->shift + i, *column_shift = t->shift + j + c;
        float *column_most = t->most + j + c;
        float most[LANES] __attribute__((aligned(64)));
        for (int k = 0; k < LANES; k++)
            most[k] = column_most[k];
        for (int64_t top = 0; top < TILE; top += LANES) {
            float sum[LANES] __attribute__((aligned(64))) = {0};
            for (int64_t r = top; r < top + LANES; r++) {
                const float *x = panel + r * width + c;
#pragma omp simd
                for (int k = 0; k < LANES; k++) {
                    row_most[r][k] = x[k] > row_most[r][k] ? x[k] : row_most[r][k];
                    most[k] = x[k] > most[k] ? x[k] : most[k];
                }
                if (t->shifted)
#pragma omp simd
                    for (int k = 0; k < LANES; k++) {
                        row_sum[r][k] += exp2_float(scale * (x[k] - row_shift[r]));
                        sum[k] += exp2_float(scale * (x[k] - column_shift[k]));
                    }
                else
#pragma omp simd
                    for (int k = 0; k < LANES; k++) {
                        const float e = exp2_float(scale * x[k]);
                        row_sum[r][k] += e;
                        sum[k] += e;
                    }
            }
            for (int k = 0; k < LANES; k++)
                t->rows[j + c + k].sum += (double)sum[k];
        }
        for (int k = 0; k < LANES; k++)
            column_most[k] = most[k];
    }
}

/* Turns a panel's similarities into p_ij + p_ji. */
MULTIVERSION static void find_coefficients(const struct softmax_task *t, int64_t width,
                                           float *restrict panel, int64_t i, int64_t j)
{
    const float scale = t->scale;
    for (int64_t c = 0; c < width; c += LANES) {
        const float *row_shift = t->shift + i, *column_shift = t->shift + j + c;
        const float *row_weight = t->weight + i, *column_weight = t->weight + j + c;
        for (int64_t r = 0; r < TILE; r++) {
            float *x = panel + r * width + c;
            if (t->shifted)
                for (int k = 0; k < LANES; k++)
                    x[k] = exp2_float(scale * (x[k] - row_shift[r])) * row_weight[r] +
                           exp2_float(scale * (x[k] - column_shift[k])) * column_weight[k];
            else
                for (int k = 0; k < LANES; k++)
                    x[k] = exp2_float(scale * x[k]) * (row_weight[r] + column_weight[k]);
        }
    }
}

/* Processes x, the product of rows i and j, which are positives of each other. */
typedef void positive_visitor(struct softmax_task *t, int64_t i, int64_t j, float x);

/* Calls `take` for each positive of a panel. */
static void visit_panel(const struct similarity *p, struct softmax_task *t, const float *panel,
                        int64_t i, int64_t j, int64_t c, positive_visitor *take)
{
    for (int64_t r = 0; r < TILE; r++) {
        int64_t k, to;
        for (similarity_positives(p, i, j, c, r, &k, &to); k < to; k++)
            take(t, i + r, j + c + k, panel[r * p->width + k]);
    }
}

static void take_similarity(struct softmax_task *t, int64_t i, int64_t j, float x)
{
    t->best[i] = x > t->best[i] ? x : t->best[i];
    t->best[j] = x > t->best[j] ? x : t->best[j];
    t->rows[i].similar += (double)x;
    t->rows[j].similar += (double)x;
}

static void take_exponential(struct softmax_task *t, int64_t i, int64_t j, float x)
{
    t->rows[i].positives += (double)exp2_float(t->scale * (x - t->best[i]));
    t->rows[j].positives += (double)exp2_float(t->scale * (x - t->best[j]));
}

static void visit_first(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                        int64_t j)
{
    struct softmax_task *t = task;
    const int64_t rows = count_min(p->n - i, TILE), columns = count_min(p->n - j, TILE);
    for (int64_t r = 0; r < TILE; r++)
        for (int k = 0; k < LANES; k++) {
            w->row[MOST][r][k] = -INFINITY;
            w->row[SUM][r][k] = 0;
        }
    for (int64_t c = 0; c < columns; c += p->width) {
        float *panel = similarity_panel(p, w, i, j, c);
        if (similarity_has_positives(p, i, j + c)) {
            visit_panel(p, t, panel, i, j, c, take_similarity);
            similarity_hide_positives(p, panel, i, j, c);
        }
        take_panel(t, p->width, w, panel, i, j + c);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < LANES; k++) {
            t->most[i + r] =
                w->row[MOST][r][k] > t->most[i + r] ? w->row[MOST][r][k] : t->most[i + r];
            t->rows[i + r].sum += (double)w->row[SUM][r][k];
        }
}

static void visit_positives(struct similarity *p, void *task, struct similarity_worker *w,
                            int64_t i, int64_t j)
{
    for (int64_t c = 0; c < count_min(p->n - j, TILE); c += p->width)
        if (similarity_has_positives(p, i, j + c))
            visit_panel(p, task, similarity_panel(p, w, i, j, c), i, j, c, take_exponential);
}

static float positive_coefficient(const struct softmax_task *t, int64_t i, float x)
{
    const struct softmax_row *row = t->rows + i;
    const double e = row->count > 2 ? (double)exp2_float(t->scale * (x - t->best[i])) : 1;
    return (float)((e - row->mean) * row->weight - row->rest);
}

static void visit_last(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                       int64_t j)
{
    struct softmax_task *t = task;
    const int64_t width = p->width;
    for (int64_t c = 0; c < count_min(p->n - j, TILE); c += width) {
        float *panel = similarity_panel(p, w, i, j, c);
        const bool positives = similarity_has_positives(p, i, j + c);
        if (positives) {
            memcpy(w->panel, panel, (size_t)(TILE * width) * sizeof *panel);
            similarity_hide_positives(p, panel, i, j, c);
        }
        find_coefficients(t, width, panel, i, j + c);
        for (int64_t r = 0; positives && r < TILE; r++) {
            int64_t k, to;
            for (similarity_positives(p, i, j, c, r, &k, &to); k < to; k++)
                panel[r * width + k] = positive_coefficient(t, i + r, w->panel[r * width + k]) +
                                       positive_coefficient(t, j + c + k, w->panel[r * width + k]);
        }
    }
    similarity_multiply(p, w, i, j);
}

/* Adds what the queue has to the largest similarity or, with `sums`, to the sum. */
static void take_queue(struct similarity *p, struct softmax_task *t, bool sums)
{
    if (!t->queue.others.n)
        return;
    if (sums)
        queue_softmax_find_sums(&t->queue, p, t->scale, t->shift);
    else
        queue_softmax_find_most(&t->queue, p);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++) {
        t->most[i] = t->queue.most[i] > t->most[i] ? t->queue.most[i] : t->most[i];
        t->rows[i].sum += sums ? t->queue.sum[i] : 0;
    }
}

static void find_sums(struct similarity *p, struct softmax_task *t)
{
    similarity_visit(p, visit_first, t, false);
    if (t->shifted) {
        take_queue(p, t, false);
#pragma omp single
        for (int64_t i = 0; i < p->n; i++) {
            const float most = t->most[i] > -INFINITY ? t->most[i] : t->best[i];
            t->shift[i] = most > -INFINITY ? most : 0; /* a single row has no pair at all */
            t->rows[i].sum = t->rows[i].similar = 0;
        }
        similarity_visit(p, visit_first, t, false);
    }
    take_queue(p, t, true);
    if (t->several)
        similarity_visit(p, visit_positives, t, true);
}

static void find_loss(struct softmax_task *t, int64_t i)
{
    struct softmax_row *row = t->rows + i;
    const double k = (double)row->count - 1;
    if (k < 1)
        return;
    const double all = t->several ? row->positives : 1, best = (double)t->best[i];
    const double ahead = ((double)t->shift[i] - best) * t->inverse_temperature;
    const double ratio = row->sum / all * exp(ahead); /* negatives' sum over positives' */
    const double beside = ratio < INFINITY ? log1p(ratio) : ahead + log(row->sum / all);
    row->loss = log(all) + (best - row->similar / k) * t->inverse_temperature + beside;
    row->mean = all / k;
    row->weight = exp(-beside) / all;
    row->rest = -expm1(-beside) / k;
    row->queue = exp(ahead - beside) / all;
    t->weight[i] = (float)row->queue;
}

static void add_queue(struct similarity *p, struct softmax_task *t)
{
    if (!t->queue.others.n)
        return;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        t->rows[i].queue = similarity_add_sums(p, &t->queue.sums, i, t->rows[i].queue);
}

static void count_classes(struct softmax_task *t, const int64_t *ends, int64_t n)
{
    for (int64_t first = 0; first < n; first = ends[first])
        for (int64_t i = first; i < ends[first]; i++) {
            t->rows[i].count = ends[first] - first;
            t->several |= t->rows[i].count > 2;
            t->means += t->rows[i].count > 1;
        }
}

static int prepare(struct softmax_task *t, struct similarity *p, const struct loss_input *in,
                   const int64_t *order, const int64_t *ends, const struct projection_queue *queue)
{
    const int64_t rows = queue ? projection_queue_count(queue) : 0;
    const int64_t room = count_round_up(in->n, TILE);
    float *at = t->memory = calloc((size_t)(4 * room), sizeof *at);
    t->rows = calloc((size_t)room, sizeof *t->rows);
    if (!at || !t->rows)
        return fail("out of memory for a loss over %lld views", (long long)in->n);
    count_classes(t, ends, in->n);
    t->best = at;
    t->shift = at += room;
    t->weight = at += room;
    t->most = at += room;
    for (int64_t i = 0; i < room; i++)
        t->most[i] = t->best[i] = -INFINITY;
    if (similarity_open(p, in, order, ends))
        return -1;
    return rows ? queue_softmax_open(&t->queue, p, rows) : 0;
}

/* `scale` is that of the gradient. */
static void measure(const struct softmax_task *t, const struct similarity *p, double scale,
                    struct loss_metrics *metrics)
{
    const double count = t->means ? (double)t->means : 1;
    double loss = 0, along = 0, right = 0, queue = 0;
    for (int64_t i = 0; i < p->n; i++) {
        loss += t->rows[i].loss / count;
        along += p->along[i];
        right += t->best[i] > t->most[i];
        queue += t->queue.others.n ? scale * t->rows[i].queue : 0;
    }
    const double entropy = loss - (along + queue) / 2; /* only rounding makes it negative */
    *metrics = (struct loss_metrics){loss, right / count, entropy < 0 ? 0 : entropy};
}

int softmax_loss(const struct loss_input *in, const int64_t *order, const int64_t *ends,
                 double temperature, const struct projection_queue *queue, float *dz,
                 struct loss_metrics *metrics)
{
    struct similarity p = {0};
    struct softmax_task t = {.scale = (float)(M_LOG2E / temperature)};
    t.inverse_temperature = (double)t.scale * M_LN2;
    t.shifted = t.inverse_temperature > 64 || !in->normalize;
    const int status = prepare(&t, &p, in, order, ends, queue);
    const double scale = t.inverse_temperature / (double)(t.means ? t.means : 1);
    if (!status) {
#pragma omp parallel num_threads(in->threads)
        {
            p.product->begin();
            similarity_load(&p, in);
            if (t.queue.others.n)
                similarity_others_load(&t.queue.others, &p, queue->rows);
            find_sums(&p, &t);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < p.n; i++)
                find_loss(&t, i);
            add_queue(&p, &t);
            similarity_visit(&p, visit_last, &t, false);
            similarity_finish(&p, in, scale, dz);
            p.product->end();
        }
        measure(&t, &p, scale, metrics);
    }
    queue_softmax_close(&t.queue);
    similarity_close(&p);
    free(t.memory);
    free(t.rows);
    return status;
}
