#include "loss/similarity.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"

/* Order. A tile adds to the rows of two blocks. Round r visits the tiles of blocks i and j with
 * i + j = r modulo their number: each block once. A tile waits until both blocks have been through
 * the rounds before, so that sums have the same order whatever the number of threads. */

enum { TILE = SIMILARITY_TILE, LANES = SIMILARITY_LANES, LARGEST_BLOCK = 8 * 32 };

/* Of a matrix, from a row and the first column of a panel. */
struct part {
    const struct similarity_matrix *matrix;
    int64_t row, column;
};

static float *place(const struct similarity *p, const struct similarity_matrix *m, int64_t row,
                    int64_t column)
{
    int64_t width = p->product->columns;
    return m->values + (column / width * m->rows + row) * width + column % width;
}

MULTIVERSION static double square(const float *x, int64_t n)
{
    double sum[LANES] = {0};
    for (int64_t i = 0; i < n; i += LANES)
        for (int64_t k = 0; k < count_min(n - i, LANES); k++)
            sum[k] += (double)x[i + k] * (double)x[i + k];
    for (int k = 1; k < LANES; k++)
        sum[0] += sum[k];
    return sum[0];
}

static void load(struct similarity *p, int64_t i, const float *z, bool normalize)
{
    int64_t width = p->product->columns;
    double norm = normalize ? sqrt(square(z, p->d)) : 1;
    p->norms[i] = norm = norm > 1e-12 ? norm : 1e-12;
    float *across = place(p, &p->across, 0, i);
    for (int64_t k = 0; k < p->d; k += width) {
        float *u = place(p, &p->u, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            u[c] = across[(k + c) * width] = (float)((double)z[k + c] / norm);
    }
}

void similarity_load(struct similarity *p, const struct similarity_input *in)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        load(p, i, in->z + (p->order ? p->order[i] : i) * p->d, in->normalize);
}

MULTIVERSION static void mask(float *panel, int64_t width, int64_t c, int64_t columns,
                              bool diagonal)
{
    for (int64_t r = 0; r < TILE; r++, panel += width)
        for (int64_t k = 0; k < width; k++)
            panel[k] = c + k < columns && (c + k > r || !diagonal) ? panel[k] : -INFINITY;
}

float *similarity_panel(const struct similarity *p, struct similarity_worker *w, int64_t i,
                        int64_t j, int64_t c)
{
    const struct gemm_kernel *by = p->product;
    int64_t rows = count_min(p->n - i, i == j ? c + by->columns : TILE), columns = p->n - j;
    for (int64_t r = 0; r < rows; r += by->rows)
        by->block(place(p, &p->u, i + r, 0), (size_t)by->columns * sizeof(float),
                  place(p, &p->across, 0, j + c), p->u.steps,
                  count_round_up(p->d, by->depth) / by->depth, place(p, &w->tile, r, c));
    float *panel = place(p, &w->tile, 0, c);
    if (i == j || columns < TILE)
        mask(panel, by->columns, c, columns, i == j);
    return panel;
}

void similarity_hide_positives(const struct similarity *p, float *panel, int64_t i, int64_t j,
                               int64_t c)
{
    for (int64_t r = 0; r < TILE; r++) {
        int64_t k, to;
        for (similarity_positives(p, i, j, c, r, &k, &to); k < to; k++)
            panel[r * p->product->columns + k] = -INFINITY;
    }
}

MULTIVERSION static void add(float *restrict c, const float *restrict block, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        c[i] += block[i];
}

/* c (rows, columns) += a (rows, depth) b (depth, columns). */
static void add_product(const struct similarity *p, struct part c, struct part a, struct part b,
                        int64_t rows, int64_t depth, int64_t columns)
{
    const struct gemm_kernel *by = p->product;
    const int64_t steps = count_round_up(depth, by->depth) / by->depth;
    float block[LARGEST_BLOCK] __attribute__((aligned(64)));
    for (int64_t j = 0; j < columns; j += by->columns)
        for (int64_t i = 0; i < rows; i += by->rows) {
            by->block(place(p, a.matrix, a.row + i, a.column), (size_t)by->columns * sizeof(float),
                      place(p, b.matrix, b.row, b.column + j), a.matrix->steps, steps, block);
            add(place(p, c.matrix, c.row + i, c.column + j), block,
                count_min(rows - i, by->rows) * by->columns);
        }
}

void similarity_multiply(struct similarity *p, struct similarity_worker *w, int64_t i, int64_t j)
{
    const int64_t rows = count_min(p->n - i, TILE), columns = count_min(p->n - j, TILE);
    add_product(p, (struct part){&p->du, i, 0}, (struct part){&w->tile, 0, 0},
                (struct part){&p->u, j, 0}, rows, columns, p->d);
    add_product(p, (struct part){&p->dacross, 0, j}, (struct part){&p->across, 0, i},
                (struct part){&w->tile, 0, 0}, p->d, rows, columns);
}

static void await(const _Atomic int64_t *rounds, int64_t round)
{
    while (atomic_load_explicit(rounds, memory_order_acquire) < round)
        sched_yield();
}

/* The schedule gives tiles away in their order, so that whoever waits for a block waits for a tile
 * that is being visited. */
void similarity_visit(struct similarity *p, similarity_visitor *visit, void *loss, bool positives)
{
    const int64_t blocks = p->blocks;
#pragma omp single
    for (int64_t i = 0; i < blocks; i++)
        p->rounds[i] = 0;
#pragma omp for schedule(monotonic : dynamic)
    for (int64_t k = 0; k < blocks * blocks; k++) {
        const int64_t round = k / blocks, i = k % blocks, j = (round - i + blocks) % blocks;
        if (i > j)
            continue;
        await(p->rounds + i, round);
        await(p->rounds + j, round);
        if (!positives || similarity_has_positives(p, i * TILE, j * TILE))
            visit(p, loss, p->workers + omp_get_thread_num(), i * TILE, j * TILE);
        atomic_store_explicit(p->rounds + i, round + 1, memory_order_release);
        atomic_store_explicit(p->rounds + j, round + 1, memory_order_release);
    }
}

void similarity_add(struct similarity *p, int64_t i, int64_t j, double coefficient)
{
    const int64_t width = p->product->columns;
    for (int64_t k = 0; k < p->d; k += width) {
        const float *u = place(p, &p->u, j, k);
        float *du = place(p, &p->du, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            du[c] += (float)(coefficient * (double)u[c]);
    }
}

static void finish(struct similarity *p, int64_t i, bool normalized, double scale, float *dz)
{
    const int64_t width = p->product->columns;
    const float *dacross = place(p, &p->dacross, 0, i);
    double along = 0;
    for (int64_t k = 0; k < p->d; k += width) {
        const float *u = place(p, &p->u, i, k), *du = place(p, &p->du, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++) {
            dz[k + c] = du[c] + dacross[(k + c) * width];
            along += scale * (double)dz[k + c] * (double)u[c];
        }
    }
    p->along[i] = along;
    const double drop = normalized ? along : 0; /* what a row's length would take has no effect */
    for (int64_t k = 0; k < p->d; k += width) {
        const float *u = place(p, &p->u, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            dz[k + c] = (float)((scale * (double)dz[k + c] - drop * (double)u[c]) / p->norms[i]);
    }
}

void similarity_finish(struct similarity *p, const struct similarity_input *in, double scale,
                       float *dz)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        finish(p, i, in->normalize, scale, dz + (p->order ? p->order[i] : i) * p->d);
}

/* n steps along a row of a matrix in panels. */
static void fill_steps(const struct gemm_kernel *by, struct gemm_step *steps, int64_t n,
                       int64_t rows)
{
    for (int64_t s = 0; s < n; s++) {
        const int64_t k = s * by->depth, panel = k / by->columns, column = k % by->columns;
        steps[s].a = (panel * rows * by->columns + column) * (ptrdiff_t)sizeof(float);
        steps[s].b = k * by->columns * (ptrdiff_t)sizeof(float);
    }
}

/* All memory is zeroed: rows and columns are rounded up to whole blocks, and blocks may read rows
 * behind the last. */
int similarity_open(struct similarity *p, const struct similarity_input *in, const int64_t *order,
                    const int64_t *ends)
{
    const struct gemm_kernel *by = in->product ? in->product : gemm_kernel_choose(GEMM_FLOAT);
    *p = (struct similarity){.product = by, .n = in->n, .d = in->d, .order = order, .ends = ends};
    p->blocks = count_divide_up(p->n, TILE);
    const int64_t n_rows = count_round_up(p->n, LANES), d_rows = count_round_up(p->d, LANES);
    const int64_t behind = by->rows * by->columns;
    const int64_t tall = n_rows * count_round_up(p->d, by->columns) + behind;
    const int64_t wide = d_rows * count_round_up(p->n, by->columns) + behind;
    const int64_t n_steps = d_rows / by->depth, tile_steps = TILE / by->depth;
    const size_t bytes = (size_t)(2 * tall + 2 * wide) * sizeof(float);
    float *at = p->memory = aligned_alloc(64, (size_t)count_round_up((int64_t)bytes, 64));
    struct gemm_step *steps = p->steps = malloc((size_t)(n_steps + 2 * tile_steps) * sizeof *steps);
    p->workers = aligned_alloc(64, (size_t)in->threads * sizeof *p->workers);
    p->norms = calloc((size_t)p->n, sizeof *p->norms);
    p->along = calloc((size_t)p->n, sizeof *p->along);
    p->rounds = malloc((size_t)p->blocks * sizeof *p->rounds);
    if (!at || !steps || !p->workers || !p->norms || !p->along || !p->rounds)
        return fail("out of memory for a loss over %lld views", (long long)p->n);
    memset(at, 0, bytes);
    fill_steps(by, steps, n_steps, n_rows);
    fill_steps(by, steps + n_steps, tile_steps, d_rows);
    fill_steps(by, steps + n_steps + tile_steps, tile_steps, TILE);
    p->u = (struct similarity_matrix){at, n_rows, steps};
    p->du = (struct similarity_matrix){at += tall, n_rows, NULL};
    p->across = (struct similarity_matrix){at += tall, d_rows, steps + n_steps};
    p->dacross = (struct similarity_matrix){at += wide, d_rows, NULL};
    for (int i = 0; i < in->threads; i++)
        p->workers[i].tile =
            (struct similarity_matrix){p->workers[i].values, TILE, steps + n_steps + tile_steps};
    return 0;
}

void similarity_close(struct similarity *p)
{
    free(p->memory);
    free(p->steps);
    free(p->workers);
    free(p->norms);
    free(p->along);
    free(p->rounds);
}
