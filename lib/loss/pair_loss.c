#include "loss/pair_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"
#include "base/vector_math.h"
#include "loss/similarity.h"

/* The method. A first visit to all tiles finds the sums, a last visit computes the tiles again and
 * turns them into coefficients. While (1 + beta) |s| stays below 64, the exponentials and their
 * sums are within a float's range, and one exponential serves both the row and the column of a
 * pair. At lower temperatures, and where rows are not normalized, a visit before these finds every
 * row's largest similarity to a negative, and rows and columns have separate exponentials, each
 * relative to its own largest one.
 *
 * A pair of positives is kept out of the tiles. There are n / 2 of them, so float64 is affordable.
 * Its gradient is a difference of the two directions, which may be almost equal. */

enum { TILE = SIMILARITY_TILE, LANES = SIMILARITY_LANES };
enum { MOST, LOW, HIGH }; /* indices of similarity_worker.row */

/* How the powers are computed. Without low powers, LOW stays 0. */
enum powers {
    POWERS_NONE, /* not at all: the visit that finds the largest similarities */
    POWERS_HIGH, /* beta is 0: high is e^s */
    POWERS_EVEN, /* beta is 1: low is e^s, high its square */
    POWERS_ANY
};

struct pair_task {
    const struct pair_loss *loss;
    void *settings;
    enum powers powers;
    bool shifted;       /* exponentials are relative to each row's largest similarity, not to 0 */
    float scale, beta;  /* log2(e) / T, and beta times that */
    float *memory;      /* holds the next five arrays */
    float *near, *most; /* the product with the positive, and the largest with a negative */
    float *shift;
    float *low_weight, *high_weight;
    double *low, *high; /* sums; one piece of memory, at low */
    struct pair_row *rows;
    int64_t *ends; /* see similarity.h */
};

static inline __attribute__((always_inline)) void
raise_powers(enum powers powers, float scale, float beta, float x, float *low, float *high)
{
    const float e = exp2_float(scale * x);
    *low = powers == POWERS_HIGH ? 0.0f : powers == POWERS_EVEN ? e : exp2_float(beta * x);
    *high = powers == POWERS_HIGH ? e : e * *low;
}

/* The largest values and the sums of 16 columns. */
struct columns {
    float most[LANES], low[LANES], high[LANES];
};

/* Adds the powers of 16 values of a row to its sums and to those of the columns, and updates their
 * largest values. */
static inline __attribute__((always_inline)) void
take_row(const struct pair_task *t, enum powers powers, bool shifted, const float *restrict x,
         float row_shift, const float *restrict column_shift, float *restrict row_most,
         float *restrict row_low, float *restrict row_high, struct columns *restrict columns)
{
    const float scale = t->scale, beta = t->beta;
#pragma omp simd
    for (int k = 0; k < LANES; k++) {
        float low, high;
        row_most[k] = x[k] > row_most[k] ? x[k] : row_most[k];
        columns->most[k] = x[k] > columns->most[k] ? x[k] : columns->most[k];
        if (powers == POWERS_NONE)
            continue;
        raise_powers(powers, scale, beta, shifted ? x[k] - row_shift : x[k], &low, &high);
        row_high[k] += high;
        if (powers != POWERS_HIGH)
            row_low[k] += low;
        if (shifted)
            raise_powers(powers, scale, beta, x[k] - column_shift[k], &low, &high);
        columns->high[k] += high;
        if (powers != POWERS_HIGH)
            columns->low[k] += low;
    }
}

/* Updates the largest values and the sums for the rows from i and the columns from j of a panel. */
static inline __attribute__((always_inline)) void
take_powers(const struct pair_task *t, enum powers powers, bool shifted, int64_t width,
            struct similarity_worker *restrict w, const float *restrict panel, int64_t i, int64_t j)
{
    for (int64_t c = 0; c < width; c += LANES) {
        struct columns columns __attribute__((aligned(64)));
        memcpy(columns.most, t->most + j + c, sizeof columns.most);
        for (int64_t top = 0; top < TILE; top += LANES) {
            for (int k = 0; k < LANES; k++)
                columns.low[k] = columns.high[k] = 0;
            for (int64_t r = top; r < top + LANES; r++)
                take_row(t, powers, shifted, panel + r * width + c, t->shift[i + r],
                         t->shift + j + c, w->row[MOST][r], w->row[LOW][r], w->row[HIGH][r],
                         &columns);
            for (int k = 0; k < LANES; k++) {
                t->low[j + c + k] += (double)columns.low[k];
                t->high[j + c + k] += (double)columns.high[k];
            }
        }
        memcpy(t->most + j + c, columns.most, sizeof columns.most);
    }
}

MULTIVERSION static void take_panel(const struct pair_task *t, enum powers powers, int64_t width,
                                    struct similarity_worker *restrict w,
                                    const float *restrict panel, int64_t i, int64_t j)
{
    if (powers == POWERS_NONE)
        take_powers(t, POWERS_NONE, true, width, w, panel, i, j);
    else if (powers == POWERS_HIGH && t->shifted)
        take_powers(t, POWERS_HIGH, true, width, w, panel, i, j);
    else if (powers == POWERS_HIGH)
        take_powers(t, POWERS_HIGH, false, width, w, panel, i, j);
    else if (powers == POWERS_EVEN && t->shifted)
        take_powers(t, POWERS_EVEN, true, width, w, panel, i, j);
    else if (powers == POWERS_EVEN)
        take_powers(t, POWERS_EVEN, false, width, w, panel, i, j);
    else if (t->shifted)
        take_powers(t, POWERS_ANY, true, width, w, panel, i, j);
    else
        take_powers(t, POWERS_ANY, false, width, w, panel, i, j);
}

/* Turns the similarities of a panel into the sum of the derivatives of both rows' losses by them.
 */
static inline __attribute__((always_inline)) void weigh_powers(const struct pair_task *t,
                                                               enum powers powers, bool shifted,
                                                               int64_t width, float *restrict panel,
                                                               int64_t i, int64_t j)
{
    const float scale = t->scale, beta = t->beta;
    for (int64_t c = 0; c < width; c += LANES) {
        const float *shift = t->shift + j + c;
        const float *low_weight = t->low_weight + j + c, *high_weight = t->high_weight + j + c;
        for (int64_t r = 0; r < TILE; r++) {
            float *x = panel + r * width + c;
            const float row_shift = t->shift[i + r];
            const float row_low = t->low_weight[i + r], row_high = t->high_weight[i + r];
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                float low, high, column;
                raise_powers(powers, scale, beta, shifted ? x[k] - row_shift : x[k], &low, &high);
                if (!shifted) {
                    x[k] = high * (row_high + high_weight[k]) - low * (row_low + low_weight[k]);
                    continue;
                }
                column = high * row_high - low * row_low;
                raise_powers(powers, scale, beta, x[k] - shift[k], &low, &high);
                x[k] = column + (high * high_weight[k] - low * low_weight[k]);
            }
        }
    }
}

MULTIVERSION static void weigh_panel(const struct pair_task *t, int64_t width,
                                     float *restrict panel, int64_t i, int64_t j)
{
    if (t->powers == POWERS_HIGH && t->shifted)
        weigh_powers(t, POWERS_HIGH, true, width, panel, i, j);
    else if (t->powers == POWERS_HIGH)
        weigh_powers(t, POWERS_HIGH, false, width, panel, i, j);
    else if (t->powers == POWERS_EVEN && t->shifted)
        weigh_powers(t, POWERS_EVEN, true, width, panel, i, j);
    else if (t->powers == POWERS_EVEN)
        weigh_powers(t, POWERS_EVEN, false, width, panel, i, j);
    else if (t->shifted)
        weigh_powers(t, POWERS_ANY, true, width, panel, i, j);
    else
        weigh_powers(t, POWERS_ANY, false, width, panel, i, j);
}

/* Keeps the products of the positives of a panel, and hides them. */
static void take_positives(const struct similarity *p, const struct pair_task *t, float *panel,
                           int64_t i, int64_t j, int64_t c)
{
    for (int64_t r = 0; r < TILE; r++) {
        int64_t k, to;
        for (similarity_positives(p, i, j, c, r, &k, &to); k < to; k++)
            t->near[i + r] = t->near[j + c + k] = panel[r * p->width + k];
    }
    similarity_hide_positives(p, panel, i, j, c);
}

static void visit_tile(struct similarity *p, struct pair_task *t, enum powers powers,
                       struct similarity_worker *w, int64_t i, int64_t j)
{
    const int64_t rows = count_min(p->n - i, TILE), columns = count_min(p->n - j, TILE);
    for (int64_t r = 0; r < TILE; r++)
        for (int k = 0; k < LANES; k++) {
            w->row[MOST][r][k] = -INFINITY;
            w->row[LOW][r][k] = w->row[HIGH][r][k] = 0;
        }
    for (int64_t c = 0; c < columns; c += p->width) {
        float *panel = similarity_panel(p, w, i, j, c);
        if (similarity_has_positives(p, i, j + c))
            take_positives(p, t, panel, i, j, c);
        take_panel(t, powers, p->width, w, panel, i, j + c);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < LANES; k++) {
            const float most = w->row[MOST][r][k];
            t->most[i + r] = most > t->most[i + r] ? most : t->most[i + r];
            t->low[i + r] += (double)w->row[LOW][r][k];
            t->high[i + r] += (double)w->row[HIGH][r][k];
        }
}

static void visit_most(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                       int64_t j)
{
    visit_tile(p, task, POWERS_NONE, w, i, j);
}

static void visit_sums(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                       int64_t j)
{
    visit_tile(p, task, ((struct pair_task *)task)->powers, w, i, j);
}

static void visit_last(struct similarity *p, void *task, struct similarity_worker *w, int64_t i,
                       int64_t j)
{
    struct pair_task *t = task;
    for (int64_t c = 0; c < count_min(p->n - j, TILE); c += p->width) {
        float *panel = similarity_panel(p, w, i, j, c);
        if (similarity_has_positives(p, i, j + c))
            similarity_hide_positives(p, panel, i, j, c);
        weigh_panel(t, p->width, panel, i, j + c);
    }
    similarity_multiply(p, w, i, j);
}

static void find_sums(struct similarity *p, struct pair_task *t)
{
    if (t->shifted) {
        similarity_visit(p, visit_most, t, false);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < p->n; i++)
            t->shift[i] = t->most[i] > -INFINITY ? t->most[i] : 0;
    }
    similarity_visit(p, visit_sums, t, false);
}

static void fill_row(const struct similarity *p, const struct pair_task *t,
                     const struct loss_input *in, int64_t i)
{
    /* A product that overflows in float32 makes the loss NaN: its gradient is not finite either. */
    const double product = isfinite(t->near[i]) ? similarity_exact(p, in, i, i ^ 1) : NAN;
    t->rows[i] = (struct pair_row){
        .product = product,
        .positive = product / t->loss->temperature,
        .shift = (double)t->shift[i] / t->loss->temperature,
        .low = t->powers == POWERS_HIGH ? (double)(p->n - 2) : t->low[i],
        .high = t->high[i],
    };
}

static void compute_row(const struct pair_task *t, int64_t n, int64_t i)
{
    t->loss->compute(t->settings, t->rows + i, n);
    t->low_weight[i] = (float)t->rows[i].low_weight;
    t->high_weight[i] = (float)t->rows[i].high_weight;
}

/* Computes the rows and the gradient. For a team (similarity.h). */
static void compute(struct pair_task *t, struct similarity *p, const struct loss_input *in,
                    float *dz)
{
    const double scale = 1 / (t->loss->temperature * (double)p->n);
    p->product->begin();
    similarity_load(p, in);
    find_sums(p, t);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        fill_row(p, t, in, i);
#pragma omp single
    if (t->loss->look)
        t->loss->look(t->settings, t->rows, p->n);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        compute_row(t, p->n, i);
    similarity_visit(p, visit_last, t, false);
    similarity_finish(p, in, scale, dz);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        similarity_pull(p, in, i, i ^ 1, t->rows[i].product,
                        -scale * (t->rows[i].pull + t->rows[i ^ 1].pull), dz);
    p->product->end();
}

static int prepare(struct pair_task *t, struct similarity *p, const struct loss_input *in)
{
    const int64_t room = count_round_up(in->n, TILE);
    float *at = t->memory = calloc((size_t)(5 * room), sizeof *at);
    t->low = calloc((size_t)(2 * room), sizeof *t->low);
    t->rows = calloc((size_t)in->n, sizeof *t->rows);
    t->ends = calloc((size_t)in->n, sizeof *t->ends);
    if (!at || !t->low || !t->rows || !t->ends)
        return fail("out of memory for a loss over %lld views", (long long)in->n);
    float **const floats[] = {&t->near, &t->most, &t->shift, &t->low_weight, &t->high_weight};
    for (size_t k = 0; k < sizeof floats / sizeof *floats; k++)
        *floats[k] = at + (int64_t)k * room;
    t->high = t->low + room;
    for (int64_t i = 0; i < room; i++)
        t->most[i] = -INFINITY;
    for (int64_t i = 0; i < in->n; i++)
        t->ends[i] = (i | 1) + 1;
    return similarity_open(p, in, NULL, t->ends);
}

static void measure(const struct pair_task *t, int64_t n, struct loss_metrics *metrics)
{
    double loss = 0, right = 0;
    for (int64_t i = 0; i < n; i++) {
        loss += t->rows[i].loss / (double)n;
        right += t->near[i] > t->most[i];
    }
    *metrics = (struct loss_metrics){loss, right / (double)n, NAN};
}

int pair_loss(const struct loss_input *in, const struct pair_loss *loss, void *settings, float *dz,
              struct loss_metrics *metrics)
{
    struct similarity p = {0};
    const double scale = M_LOG2E / loss->temperature;
    struct pair_task t = {
        .loss = loss,
        .settings = settings,
        .powers = loss->beta == 0   ? POWERS_HIGH
                  : loss->beta == 1 ? POWERS_EVEN
                                    : POWERS_ANY,
        .shifted = !in->normalize || (1 + loss->beta) / loss->temperature > 64,
        .scale = (float)scale,
        .beta = (float)(loss->beta * scale),
    };
    const int status = prepare(&t, &p, in);
    if (!status) {
#pragma omp parallel num_threads(in->threads)
        compute(&t, &p, in, dz);
        measure(&t, in->n, metrics);
    }
    similarity_close(&p);
    free(t.memory);
    free(t.low);
    free(t.rows);
    free(t.ends);
    return status;
}
