#include "loss/queue_softmax.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"
#include "base/vector_math.h"

enum { TILE = SIMILARITY_TILE, LANES = SIMILARITY_LANES };
enum { MOST, SUM }; /* indices of similarity_worker.row */

int queue_softmax_open(struct queue_softmax *q, const struct similarity *p, int64_t rows)
{
    struct arena a = {0};
    const size_t sums = arena_reserve(&a, similarity_room(p), sizeof(float));
    const size_t most = arena_reserve(&a, (size_t)p->n, sizeof(float));
    const size_t sum = arena_reserve(&a, (size_t)p->n, sizeof(double));
    *q = (struct queue_softmax){.memory = arena_allocate(&a)};
    if (!q->memory)
        return fail("out of memory for a loss over %lld views", (long long)p->n);
    memset(q->memory, 0, a.bytes);
    q->sums = (struct similarity_matrix){(void *)(q->memory + sums), p->u.rows, NULL};
    q->most = (void *)(q->memory + most);
    q->sum = (void *)(q->memory + sum);
    for (int64_t i = 0; i < p->n; i++)
        q->most[i] = -INFINITY;
    return similarity_others_open(&q->others, p, rows);
}

void queue_softmax_close(struct queue_softmax *q)
{
    similarity_others_close(&q->others);
    free(q->memory);
}

/* One visit of a thread to its rows. */
struct visit {
    int64_t i, rows; /* its rows of the batch */
    bool sums;       /* find all three, not the largest alone */
    float scale;
    const float *shift;
};

MULTIVERSION static void take_most(const float *restrict panel, int64_t width, int64_t rows,
                                   struct similarity_worker *restrict w)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < width; c += LANES) {
            const float *x = panel + r * width + c;
            float *most = w->row[MOST][r];
#pragma omp simd
            for (int k = 0; k < LANES; k++)
                most[k] = x[k] > most[k] ? x[k] : most[k];
        }
}

/* Turns similarities into exponentials, and adds these up. */
MULTIVERSION static void take_exponentials(const struct visit *v, float *restrict panel,
                                           int64_t width, struct similarity_worker *restrict w)
{
    const float scale = v->scale;
    for (int64_t r = 0; r < v->rows; r++) {
        const float shift = v->shift ? v->shift[v->i + r] : 0;
        for (int64_t c = 0; c < width; c += LANES) {
            float *x = panel + r * width + c;
            float *most = w->row[MOST][r], *sum = w->row[SUM][r];
#pragma omp simd
            for (int k = 0; k < LANES; k++) {
                most[k] = x[k] > most[k] ? x[k] : most[k];
                x[k] = exp2_float(scale * (x[k] - shift));
                sum[k] += x[k];
            }
        }
    }
}

/* Visits the rows' products with the tile of the queue that begins at j. */
static void visit_tile(struct queue_softmax *q, struct similarity *p, const struct visit *v,
                       struct similarity_worker *w, int64_t j)
{
    for (int64_t r = 0; r < v->rows; r++)
        for (int k = 0; k < LANES; k++) {
            w->row[MOST][r][k] = -INFINITY;
            w->row[SUM][r][k] = 0;
        }
    for (int64_t c = 0; c < count_min(q->others.n - j, TILE); c += p->width) {
        float *panel = similarity_others_panel(&q->others, p, w, v->i, v->rows, j, c);
        if (v->sums)
            take_exponentials(v, panel, p->width, w);
        else
            take_most(panel, p->width, v->rows, w);
    }
    for (int64_t r = 0; r < v->rows; r++)
        for (int k = 0; k < LANES; k++) {
            const float most = w->row[MOST][r][k];
            q->most[v->i + r] = most > q->most[v->i + r] ? most : q->most[v->i + r];
            q->sum[v->i + r] += (double)w->row[SUM][r][k];
        }
    if (v->sums)
        similarity_others_multiply(&q->others, p, w, &q->sums, v->i, v->rows, j);
}

/* Returns how many rows a thread takes at a time: whole blocks, at most a tile, and about as many
 * for each thread. */
static int64_t share(const struct similarity *p)
{
    const int64_t each = count_divide_up(p->n, omp_get_num_threads());
    return count_round_up(count_divide_up(each, count_divide_up(each, TILE)), p->product->rows);
}

static void visit_all(struct queue_softmax *q, struct similarity *p, const struct visit *how)
{
    const int64_t rows = share(p);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < p->n; i += rows) {
        struct visit v = *how;
        v.i = i;
        v.rows = count_min(p->n - i, rows);
        for (int64_t j = 0; j < q->others.n; j += TILE)
            visit_tile(q, p, &v, p->workers + omp_get_thread_num(), j);
    }
}

void queue_softmax_find_most(struct queue_softmax *q, struct similarity *p)
{
    visit_all(q, p, &(struct visit){.sums = false});
}

void queue_softmax_find_sums(struct queue_softmax *q, struct similarity *p, float scale,
                             const float *shift)
{
    visit_all(q, p, &(struct visit){.sums = true, .scale = scale, .shift = shift});
}
