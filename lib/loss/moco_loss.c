#include "loss/moco_loss.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/count.h"
#include "base/fail.h"
#include "loss/queue_softmax.h"
#include "loss/similarity.h"

/* The method is that of softmax_loss.c: with b the similarity of the positive,
 *
 *     loss_i = ln(1 + N_i / e^b)
 *
 * and its derivative by b is p - 1 = expm1(-loss_i), so that neither is a difference of rounded
 * numbers. Products with targets are made by the kernel that makes those with the queue: when all
 * rows have become equal, no row counts as right. The entropy is the loss minus the sum of
 * u_i.dL/du_i. */

enum { TILE = SIMILARITY_TILE };

struct task {
    struct similarity p;
    struct similarity_others targets;
    struct queue_softmax queue;
    double inverse_temperature;
    float scale;   /* log2(e) / T */
    bool shifted;  /* exponentials are relative to each row's largest similarity, not to 0 */
    float *target; /* (n, d) in->target, divided by its rows' lengths */
    float *best;   /* (n) product with the positive */
    float *shift;  /* (n) */
    double *loss;  /* (n) */
    unsigned char *memory; /* holds the last four */
};

static int prepare(struct task *t, const struct loss_input *in,
                   const struct projection_queue *queue)
{
    const size_t n = (size_t)in->n;
    struct arena a = {0};
    const size_t target = arena_reserve(&a, n, (size_t)in->d * sizeof(float));
    const size_t best = arena_reserve(&a, n, sizeof(float));
    const size_t shift = arena_reserve(&a, n, sizeof(float));
    const size_t loss = arena_reserve(&a, n, sizeof(double));
    if (!(t->memory = arena_allocate(&a)))
        return fail("out of memory for a loss over %lld views", (long long)in->n);
    t->target = (void *)(t->memory + target);
    t->best = (void *)(t->memory + best);
    t->shift = (void *)(t->memory + shift);
    t->loss = (void *)(t->memory + loss);
    return similarity_open(&t->p, in, NULL, NULL) ||
                   similarity_others_open(&t->targets, &t->p, in->n) ||
                   queue_softmax_open(&t->queue, &t->p, projection_queue_count(queue))
               ? -1
               : 0;
}

static void normalize_targets(struct task *t, const struct loss_input *in)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < in->n; i++) {
        const double length = similarity_length(in->target + i * in->d, in->d, in->normalize);
        for (int64_t k = 0; k < in->d; k++)
            t->target[i * in->d + k] = (float)((double)in->target[i * in->d + k] / length);
    }
}

/* Finds each row's product with the target of its positive. Only panels beside the diagonal hold
 * such products. */
static void find_positives(struct task *t)
{
    const struct similarity *p = &t->p;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < p->n; i += p->width) {
        const int64_t rows = count_min(p->n - i, p->width), j = i / TILE * TILE;
        const int64_t height = count_round_up(rows, p->product->rows);
        const float *panel = similarity_others_panel(
            &t->targets, p, p->workers + omp_get_thread_num(), i, height, j, i - j);
        for (int64_t r = 0; r < rows; r++)
            t->best[i + r] = panel[r * p->width + (r ^ 1)];
    }
}

static void find_sums(struct task *t)
{
    if (t->shifted)
        queue_softmax_find_most(&t->queue, &t->p);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < t->p.n; i++) {
        const float most = t->queue.most[i] > -INFINITY ? t->queue.most[i] : t->best[i];
        t->shift[i] = t->shifted ? most : 0;
    }
    queue_softmax_find_sums(&t->queue, &t->p, t->scale, t->shift);
}

static void find_gradient(struct task *t)
{
    const int64_t d = t->p.d;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < t->p.n; i++) {
        const double sum = t->queue.sum[i];
        const double ahead = ((double)t->shift[i] - (double)t->best[i]) * t->inverse_temperature;
        const double ratio = sum * exp(ahead); /* negatives over positive */
        const double loss = ratio < INFINITY ? log1p(ratio) : ahead + log(sum);
        t->loss[i] = loss;
        similarity_add_sums(&t->p, &t->queue.sums, i, exp(ahead - loss));
        similarity_add_row(&t->p, i, t->target + (i ^ 1) * d, expm1(-loss));
    }
}

static void measure(const struct task *t, struct loss_metrics *metrics)
{
    const double n = (double)t->p.n;
    double loss = 0, along = 0, right = 0;
    for (int64_t i = 0; i < t->p.n; i++) {
        loss += t->loss[i] / n;
        along += t->p.along[i];
        right += t->best[i] > t->queue.most[i];
    }
    const double entropy = loss - along; /* only rounding makes it negative */
    *metrics = (struct loss_metrics){loss, right / n, entropy < 0 ? 0 : entropy};
}

int moco_loss(const struct loss_input *in, double temperature, const struct projection_queue *queue,
              float *dz, struct loss_metrics *metrics)
{
    struct task t = {.scale = (float)(M_LOG2E / temperature)};
    t.inverse_temperature = (double)t.scale * M_LN2;
    t.shifted = t.inverse_temperature > 64 || !in->normalize;
    const int status = prepare(&t, in, queue);
    if (!status) {
        struct similarity *p = &t.p;
#pragma omp parallel num_threads(in->threads)
        {
            p->product->begin();
            similarity_load(p, in);
            normalize_targets(&t, in);
            similarity_others_load(&t.targets, p, t.target);
            similarity_others_load(&t.queue.others, p, queue->rows);
            find_positives(&t);
            find_sums(&t);
            find_gradient(&t);
            similarity_finish(p, in, t.inverse_temperature / (double)in->n, dz);
            p->product->end();
        }
        measure(&t, metrics);
    }
    queue_softmax_close(&t.queue);
    similarity_others_close(&t.targets);
    similarity_close(&t.p);
    free(t.memory);
    return status;
}
