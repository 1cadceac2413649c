#include "ntxent.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "counts.h"
#include "fail.h"
#include "vector_math.h"

/* With u the normalized rows, s_ij = u_i.u_j / T, p_ij the softmax of row i over j != i, and l_i
 * the logarithm of its denominator, the loss is the mean of l_i - s_i,pos(i), and
 *
 *   dL/du_i = 1/(n T) sum_j (p_ij + p_ji - 2 [j = pos(i)]) u_j
 *
 * since s_ij stands in row i and in row j. As s is symmetric, only tiles on and above its diagonal
 * are made, and each serves its rows and its columns. A first visit to all tiles finds the l_i; a
 * second one makes the tiles again and multiplies the coefficients with u.
 *
 * Exponentials. While |s| stays below 64, e^s and its sums fit a float's range as they are, and one
 * exponential serves a row and a column. At lower temperatures the first visit only finds every
 * row's largest similarity; then rows and columns take exponentials of their own, less the largest,
 * in a visit more.
 *
 * Entropy. The mean of l_i - sum_j p_ij s_ij is, s being symmetric, the loss less half the sum of
 * u_i.dL/du_i, which the normalization's gradient needs anyway.
 *
 * Order. A tile adds to the rows of two blocks. Round r visits the tiles of blocks i and j with
 * i + j = r modulo their number: each block once. A tile waits until both blocks have been through
 * the rounds before, so that sums have the same order whatever the number of threads. */

enum { TILE = 192, LANES = 16, LARGEST_BLOCK = 8 * 32 };

/* In panels: as many columns as a product's block has lie together, for all rows, and panel follows
 * panel. A matrix can then be either factor of a product: A by its rows, B by its panels. */
struct matrix {
    float *values;
    int64_t rows;
    const struct product_step *steps; /* along a row, if it is an A */
};

/* Of a matrix, from a row and the first column of a panel. */
struct part {
    const struct matrix *matrix;
    int64_t row, column;
};

struct row {
    double norm, loss;
    double sum;   /* of e^(s_ij - shift) over all j but the positive */
    double along; /* u_i.dL/du_i */
};

struct worker {
    float values[TILE * TILE] __attribute__((aligned(64)));
    float sum[TILE][LANES], most[TILE][LANES]; /* of the tile's rows so far */
    struct matrix tile;                        /* of the values: similarities, then coefficients */
};

struct task {
    const struct product *product;
    int64_t n, d, blocks;
    float scale; /* log2(e) / T */
    double inverse_temperature;
    bool shifted;                  /* by each row's largest similarity, not by 0 */
    struct matrix u, du;           /* (n, d) */
    struct matrix across, dacross; /* (d, n): u transposed, and a part of du transposed */
    struct product_step *steps;
    float *memory;
    struct row *rows;        /* (n) */
    float *positive, *most;  /* u_i.u_pos(i), and the largest product with another row (n) */
    float *shift, *weight;   /* p_ij = weight e^(s_ij - shift / T) (n) */
    _Atomic int64_t *rounds; /* that a block has behind it (blocks) */
    struct worker *workers;
};

static float *place(const struct task *t, const struct matrix *m, int64_t row, int64_t column)
{
    int64_t width = t->product->columns;
    return m->values + (column / width * m->rows + row) * width + column % width;
}

CLONES static double square(const float *x, int64_t n)
{
    double sum[LANES] = {0};
    for (int64_t i = 0; i < n; i += LANES)
        for (int64_t k = 0; k < least(n - i, LANES); k++)
            sum[k] += (double)x[i + k] * (double)x[i + k];
    for (int k = 1; k < LANES; k++)
        sum[0] += sum[k];
    return sum[0];
}

static void normalize(struct task *t, int64_t i, const float *z)
{
    int64_t width = t->product->columns;
    double norm = sqrt(square(z, t->d));
    t->rows[i].norm = norm = norm > 1e-12 ? norm : 1e-12;
    float *across = place(t, &t->across, 0, i);
    for (int64_t k = 0; k < t->d; k += width) {
        float *u = place(t, &t->u, i, k);
        for (int64_t c = 0; c < least(t->d - k, width); c++)
            u[c] = across[(k + c) * width] = (float)((double)z[k + c] / norm);
    }
}

/* What does not count in a tile's panel at column c becomes -infinity: columns that are not there,
 * and in diagonal tiles the diagonal and all below it. */
CLONES static void mask(float *panel, int64_t width, int64_t c, int64_t columns, bool diagonal)
{
    for (int64_t r = 0; r < TILE; r++, panel += width)
        for (int64_t k = 0; k < width; k++)
            panel[k] = c + k < columns && (c + k > r || !diagonal) ? panel[k] : -INFINITY;
}

/* Makes the panel at column c of a tile of u u'. Positives are in diagonal tiles; they are kept
 * apart from the others, so that "most similar" can be decided strictly: representations that have
 * all become equal are right nowhere. */
static float *make_panel(struct task *t, const struct matrix *tile, int64_t i, int64_t j, int64_t c)
{
    const struct product *p = t->product;
    int64_t rows = least(t->n - i, i == j ? c + p->columns : TILE), columns = t->n - j;
    for (int64_t r = 0; r < rows; r += p->rows)
        p->block(place(t, &t->u, i + r, 0), (size_t)p->columns * sizeof(float),
                 place(t, &t->across, 0, j + c), t->u.steps, round_up(t->d, p->depth) / p->depth,
                 place(t, tile, r, c));
    float *panel = place(t, tile, 0, c);
    if (i == j || columns < TILE)
        mask(panel, p->columns, c, columns, i == j);
    for (int64_t r = c; i == j && r < rows; r += 2) {
        float *positive = place(t, tile, r, r + 1);
        t->positive[i + r] = t->positive[i + r + 1] = *positive;
        *positive = -INFINITY;
    }
    return panel;
}

/* The rows i.. of a panel and its columns j.. take their largest similarity and the sum of their
 * exponentials. */
CLONES static void take_panel(const struct task *t, struct worker *restrict w,
                              const float *restrict panel, int64_t i, int64_t j)
{
    const int64_t width = t->product->columns;
    const float scale = t->scale;
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
                    w->most[r][k] = x[k] > w->most[r][k] ? x[k] : w->most[r][k];
                    most[k] = x[k] > most[k] ? x[k] : most[k];
                }
                if (t->shifted)
#pragma omp simd
                    for (int k = 0; k < LANES; k++) {
                        w->sum[r][k] += exp2_float(scale * (x[k] - row_shift[r]));
                        sum[k] += exp2_float(scale * (x[k] - column_shift[k]));
                    }
                else
#pragma omp simd
                    for (int k = 0; k < LANES; k++) {
                        const float e = exp2_float(scale * x[k]);
                        w->sum[r][k] += e;
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
CLONES static void find_coefficients(const struct task *t, float *restrict panel, int64_t i,
                                     int64_t j)
{
    const int64_t width = t->product->columns;
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

CLONES static void add(float *restrict c, const float *restrict block, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        c[i] += block[i];
}

/* c (rows, columns) += a (rows, depth) b (depth, columns). */
static void add_product(const struct task *t, struct part c, struct part a, struct part b,
                        int64_t rows, int64_t depth, int64_t columns)
{
    const struct product *p = t->product;
    const int64_t steps = round_up(depth, p->depth) / p->depth;
    float block[LARGEST_BLOCK] __attribute__((aligned(64)));
    for (int64_t j = 0; j < columns; j += p->columns)
        for (int64_t i = 0; i < rows; i += p->rows) {
            p->block(place(t, a.matrix, a.row + i, a.column), (size_t)p->columns * sizeof(float),
                     place(t, b.matrix, b.row, b.column + j), a.matrix->steps, steps, block);
            add(place(t, c.matrix, c.row + i, c.column + j), block,
                least(rows - i, p->rows) * p->columns);
        }
}

static void visit_first(struct task *t, int64_t i, int64_t j, struct worker *w)
{
    const int64_t rows = least(t->n - i, TILE), columns = least(t->n - j, TILE);
    for (int64_t r = 0; r < TILE; r++)
        for (int k = 0; k < LANES; k++) {
            w->most[r][k] = -INFINITY;
            w->sum[r][k] = 0;
        }
    for (int64_t c = 0; c < columns; c += t->product->columns)
        take_panel(t, w, make_panel(t, &w->tile, i, j, c), i, j + c);
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < LANES; k++) {
            t->most[i + r] = w->most[r][k] > t->most[i + r] ? w->most[r][k] : t->most[i + r];
            t->rows[i + r].sum += (double)w->sum[r][k];
        }
}

/* A positive's coefficient is (p_ij - 1) + (p_ji - 1), and p - 1 is taken from the loss, -ln p:
 * where p is close to 1 it would otherwise be nothing but rounding. */
static void visit_second(struct task *t, int64_t i, int64_t j, struct worker *w)
{
    const int64_t rows = least(t->n - i, TILE), columns = least(t->n - j, TILE);
    for (int64_t c = 0; c < columns; c += t->product->columns)
        find_coefficients(t, make_panel(t, &w->tile, i, j, c), i, j + c);
    for (int64_t r = 0; i == j && r < rows; r += 2)
        *place(t, &w->tile, r, r + 1) =
            (float)(expm1(-t->rows[i + r].loss) + expm1(-t->rows[i + r + 1].loss));
    add_product(t, (struct part){&t->du, i, 0}, (struct part){&w->tile, 0, 0},
                (struct part){&t->u, j, 0}, rows, columns, t->d);
    add_product(t, (struct part){&t->dacross, 0, j}, (struct part){&t->across, 0, i},
                (struct part){&w->tile, 0, 0}, t->d, rows, columns);
}

typedef void visitor(struct task *t, int64_t i, int64_t j, struct worker *w);

static void await(const _Atomic int64_t *rounds, int64_t round)
{
    while (atomic_load_explicit(rounds, memory_order_acquire) < round)
        sched_yield();
}

/* By all threads of a team. The schedule gives tiles away in their order, so that whoever waits for
 * a block waits for a tile that is being visited. */
static void visit_tiles(struct task *t, visitor *visit)
{
    const int64_t blocks = t->blocks;
#pragma omp single
    for (int64_t i = 0; i < blocks; i++)
        t->rounds[i] = 0;
#pragma omp for schedule(monotonic : dynamic)
    for (int64_t k = 0; k < blocks * blocks; k++) {
        const int64_t round = k / blocks, i = k % blocks, j = (round - i + blocks) % blocks;
        if (i > j)
            continue;
        await(t->rounds + i, round);
        await(t->rounds + j, round);
        visit(t, i * TILE, j * TILE, t->workers + omp_get_thread_num());
        atomic_store_explicit(t->rounds + i, round + 1, memory_order_release);
        atomic_store_explicit(t->rounds + j, round + 1, memory_order_release);
    }
}

static void find_sums(struct task *t)
{
    visit_tiles(t, visit_first);
    if (t->inverse_temperature <= 64)
        return;
#pragma omp single
    {
        t->shifted = true;
        for (int64_t i = 0; i < t->n; i++) {
            t->shift[i] = t->most[i] > -INFINITY ? t->most[i] : t->positive[i];
            t->rows[i].sum = 0;
        }
    }
    visit_tiles(t, visit_first);
}

static void find_loss(struct task *t, int64_t i)
{
    struct row *row = t->rows + i;
    const double ahead = ((double)t->shift[i] - (double)t->positive[i]) * t->inverse_temperature;
    const double ratio = row->sum * exp(ahead); /* of the others' sum to the positive */
    row->loss = ratio < INFINITY ? log1p(ratio) : ahead + log(row->sum);
    t->weight[i] = (float)exp(ahead - row->loss);
}

/* Through the normalization. */
static void finish(struct task *t, int64_t i, float *dz)
{
    const int64_t width = t->product->columns;
    const double scale = t->inverse_temperature / (double)t->n;
    const float *dacross = place(t, &t->dacross, 0, i);
    struct row *row = t->rows + i;
    for (int64_t k = 0; k < t->d; k += width) {
        const float *u = place(t, &t->u, i, k), *du = place(t, &t->du, i, k);
        for (int64_t c = 0; c < least(t->d - k, width); c++) {
            dz[k + c] = du[c] + dacross[(k + c) * width];
            row->along += scale * (double)dz[k + c] * (double)u[c];
        }
    }
    for (int64_t k = 0; k < t->d; k += width) {
        const float *u = place(t, &t->u, i, k);
        for (int64_t c = 0; c < least(t->d - k, width); c++)
            dz[k + c] =
                (float)((scale * (double)dz[k + c] - row->along * (double)u[c]) / row->norm);
    }
}

/* n steps along a row of a matrix in panels. */
static void fill_steps(const struct product *p, struct product_step *steps, int64_t n, int64_t rows)
{
    for (int64_t s = 0; s < n; s++) {
        const int64_t k = s * p->depth, panel = k / p->columns, column = k % p->columns;
        steps[s].a = (panel * rows * p->columns + column) * (ptrdiff_t)sizeof(float);
        steps[s].b = k * p->columns * (ptrdiff_t)sizeof(float);
    }
}

/* All memory, zeroed: rows and columns are rounded up to whole blocks, and blocks may read rows
 * behind the last. -1 if there is not enough. */
static int prepare(struct task *t, int threads)
{
    const struct product *p = t->product;
    const int64_t n_rows = round_up(t->n, LANES), d_rows = round_up(t->d, LANES);
    const int64_t behind = p->rows * p->columns, padded = t->blocks * TILE;
    const int64_t tall = n_rows * round_up(t->d, p->columns) + behind;
    const int64_t wide = d_rows * round_up(t->n, p->columns) + behind;
    const int64_t n_steps = d_rows / p->depth, tile_steps = TILE / p->depth;
    const size_t bytes = (size_t)(2 * tall + 2 * wide + 4 * padded) * sizeof(float);
    float *at = t->memory = aligned_alloc(64, bytes);
    struct product_step *steps = t->steps =
        malloc((size_t)(n_steps + 2 * tile_steps) * sizeof *steps);
    t->workers = aligned_alloc(64, (size_t)threads * sizeof *t->workers);
    t->rows = calloc((size_t)padded, sizeof *t->rows);
    t->rounds = malloc((size_t)t->blocks * sizeof *t->rounds);
    if (!at || !steps || !t->workers || !t->rows || !t->rounds)
        return -1;
    memset(at, 0, bytes);
    fill_steps(p, steps, n_steps, n_rows);
    fill_steps(p, steps + n_steps, tile_steps, d_rows);
    fill_steps(p, steps + n_steps + tile_steps, tile_steps, TILE);
    t->u = (struct matrix){at, n_rows, steps};
    t->du = (struct matrix){at += tall, n_rows, NULL};
    t->across = (struct matrix){at += tall, d_rows, steps + n_steps};
    t->dacross = (struct matrix){at += wide, d_rows, NULL};
    for (int i = 0; i < threads; i++)
        t->workers[i].tile =
            (struct matrix){t->workers[i].values, TILE, steps + n_steps + tile_steps};
    t->positive = at += wide;
    t->shift = at += padded;
    t->weight = at += padded;
    t->most = at += padded;
    for (int64_t i = 0; i < padded; i++)
        t->most[i] = -INFINITY;
    return 0;
}

int ntxent_by(const struct product *product, const float *z, int64_t n, int64_t d,
              double temperature, int threads, float *dz, struct ntxent_metrics *metrics)
{
    struct task t = {.product = product, .n = n, .d = d, .blocks = (n + TILE - 1) / TILE};
    t.scale = (float)(M_LOG2E / temperature);
    t.inverse_temperature = (double)t.scale * M_LN2;
    const bool good = !prepare(&t, threads);
    if (good) {
#pragma omp parallel num_threads(threads)
        {
            product->begin();
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i++)
                normalize(&t, i, z + i * d);
            find_sums(&t);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i++)
                find_loss(&t, i);
            visit_tiles(&t, visit_second);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i++)
                finish(&t, i, dz + i * d);
            product->end();
        }
        double loss = 0, along = 0, right = 0;
        for (int64_t i = 0; i < n; i++) {
            loss += t.rows[i].loss / (double)n;
            along += t.rows[i].along;
            right += t.positive[i] > t.most[i];
        }
        const double entropy = loss - along / 2; /* less than 0 by rounding alone */
        *metrics = (struct ntxent_metrics){loss, right / (double)n, entropy < 0 ? 0 : entropy};
    }
    free(t.memory);
    free(t.steps);
    free(t.workers);
    free(t.rows);
    free(t.rounds);
    return good ? 0 : fail("out of memory for a loss over %lld views", (long long)n);
}

int ntxent(const float *z, int64_t n, int64_t d, double temperature, int threads, float *dz,
           struct ntxent_metrics *metrics)
{
    return ntxent_by(product_choose(PRODUCT_FLOAT), z, n, d, temperature, threads, dz, metrics);
}
