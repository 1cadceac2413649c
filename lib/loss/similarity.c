#include "loss/similarity.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"
#include "engine/grains.h"

/* Order. A tile adds to the rows of two blocks. Round r visits the tiles of blocks i and j for
 * which i + j is r modulo the number of blocks, which is one tile for each block. A tile waits
 * until both blocks have completed the rounds before, so sums are taken in the same order whatever
 * the number of threads.
 *
 * Kernels. A row of A is read in groups of 16 adjacent values, and the losses go along panels by 16
 * columns, so a panel's width is a multiple of 16. If the number of the kernel's columns is not, a
 * panel holds several blocks side by side, and a B is first copied out of it. */

enum { TILE = SIMILARITY_TILE, LANES = SIMILARITY_LANES };
enum { LARGEST_BLOCK = GEMM_KERNEL_ROWS * GEMM_KERNEL_COLUMNS };

/* The part of a matrix that starts at a row and a column. */
struct similarity_part {
    const struct similarity_matrix *matrix;
    int64_t row, column;
};

static float *place(const struct similarity *p, const struct similarity_matrix *m, int64_t row,
                    int64_t column)
{
    const int64_t width = p->width;
    return m->values + (column / width * m->rows + row) * width + column % width;
}

/* Returns x.y. Products of floats are exact in float64. */
static inline __attribute__((always_inline)) double add_products(const float *x, const float *y,
                                                                 int64_t n)
{
    double sum[LANES] = {0};
    for (int64_t i = 0; i < n; i += LANES)
        for (int64_t k = 0; k < count_min(n - i, LANES); k++)
            sum[k] += (double)x[i + k] * (double)y[i + k];
    for (int k = 1; k < LANES; k++)
        sum[0] += sum[k];
    return sum[0];
}

MULTIVERSION static double multiply(const float *x, const float *y, int64_t n)
{
    return add_products(x, y, n);
}

/* Reads x once where multiply() reads two rows. */
MULTIVERSION static double square(const float *x, int64_t n)
{
    return add_products(x, x, n);
}

/* Returns the offset of row i in z and dz. */
static int64_t offset(const struct similarity *p, int64_t i)
{
    return (p->order ? p->order[i] : i) * p->d;
}

double similarity_length(const float *z, int64_t d, bool normalize)
{
    const double norm = normalize ? sqrt(square(z, d)) : 1;
    return norm > 1e-12 ? norm : 1e-12;
}

static void load(struct similarity *p, int64_t i, const float *z, bool normalize)
{
    const int64_t width = p->width;
    const double norm = p->norms[i] = similarity_length(z, p->d, normalize);
    float *across = place(p, &p->across, 0, i);
    for (int64_t k = 0; k < p->d; k += width) {
        float *u = place(p, &p->u, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            u[c] = across[(k + c) * width] = (float)((double)z[k + c] / norm);
    }
}

void similarity_load(struct similarity *p, const struct loss_input *in)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        load(p, i, in->z + offset(p, i), in->normalize);
}

MULTIVERSION static void mask(float *panel, int64_t width, int64_t c, int64_t columns,
                              bool diagonal)
{
    for (int64_t r = 0; r < TILE; r++, panel += width)
        for (int64_t k = 0; k < width; k++)
            panel[k] = c + k < columns && (c + k > r || !diagonal) ? panel[k] : -INFINITY;
}

/* Returns `depth` rows of one block's columns, from a row and a column of m on, packed as B: a
 * pointer into m, or a copy in w. */
static const float *block_of_b(const struct similarity *p, struct similarity_worker *w,
                               const struct similarity_matrix *m, int64_t row, int64_t column,
                               int64_t depth)
{
    const int64_t columns = p->product->columns;
    const float *from = place(p, m, row, column);
    if (columns == p->width)
        return from;
    for (int64_t k = 0; k < depth; k++)
        memcpy(w->packed + k * columns, from + k * p->width, (size_t)columns * sizeof *from);
    return w->packed;
}

/* Computes a block into a panel. The rows of A are also those of a panel. */
static void store_block(const struct similarity *p, const float *a, const float *b,
                        const struct gemm_step *steps, int64_t n_steps, float *c)
{
    const struct gemm_kernel *by = p->product;
    const int64_t columns = by->columns;
    const size_t a_row = (size_t)p->width * sizeof *a;
    if (columns == p->width) {
        by->block(a, a_row, b, steps, n_steps, c);
        return;
    }
    float block[LARGEST_BLOCK] __attribute__((aligned(64)));
    by->block(a, a_row, b, steps, n_steps, block);
    for (int64_t r = 0; r < by->rows; r++)
        memcpy(c + r * p->width, block + r * columns, (size_t)columns * sizeof *c);
}

float *similarity_panel(const struct similarity *p, struct similarity_worker *w, int64_t i,
                        int64_t j, int64_t c)
{
    const struct gemm_kernel *by = p->product;
    const int64_t rows = count_min(p->n - i, i == j ? c + p->width : TILE), columns = p->n - j;
    const int64_t steps = count_divide_up(p->d, by->depth);
    for (int64_t k = 0; k < p->width; k += by->columns) {
        const float *b = block_of_b(p, w, &p->across, 0, j + c + k, steps * by->depth);
        for (int64_t r = 0; r < rows; r += by->rows)
            store_block(p, place(p, &p->u, i + r, 0), b, p->u.steps, steps,
                        place(p, &w->tile, r, c + k));
    }
    float *panel = place(p, &w->tile, 0, c);
    if (i == j || columns < TILE)
        mask(panel, p->width, c, columns, i == j);
    return panel;
}

void similarity_hide_positives(const struct similarity *p, float *panel, int64_t i, int64_t j,
                               int64_t c)
{
    for (int64_t r = 0; r < TILE; r++) {
        int64_t k, to;
        for (similarity_positives(p, i, j, c, r, &k, &to); k < to; k++)
            panel[r * p->width + k] = -INFINITY;
    }
}

/* Adds a block of `rows` rows to c, a part of a panel. */
static void add_block(const struct similarity *p, float *c, const float *block, int64_t rows)
{
    const int64_t columns = p->product->columns;
    if (columns == p->width) {
        grains_add_floats(c, block, rows * columns);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        grains_add_floats(c + r * p->width, block + r * columns, columns);
}

/* Computes c (rows, columns) += a (rows, depth) b (depth, columns). */
static void add_product(const struct similarity *p, struct similarity_worker *w,
                        struct similarity_part c, struct similarity_part a,
                        struct similarity_part b, int64_t rows, int64_t depth, int64_t columns)
{
    const struct gemm_kernel *by = p->product;
    const int64_t steps = count_divide_up(depth, by->depth);
    float block[LARGEST_BLOCK] __attribute__((aligned(64)));
    for (int64_t j = 0; j < columns; j += by->columns) {
        const float *packed = block_of_b(p, w, b.matrix, b.row, b.column + j, steps * by->depth);
        for (int64_t i = 0; i < rows; i += by->rows) {
            by->block(place(p, a.matrix, a.row + i, a.column), (size_t)p->width * sizeof(float),
                      packed, a.matrix->steps, steps, block);
            add_block(p, place(p, c.matrix, c.row + i, c.column + j), block,
                      count_min(rows - i, by->rows));
        }
    }
}

void similarity_multiply(struct similarity *p, struct similarity_worker *w, int64_t i, int64_t j)
{
    const int64_t rows = count_min(p->n - i, TILE), columns = count_min(p->n - j, TILE);
    add_product(p, w, (struct similarity_part){&p->du, i, 0},
                (struct similarity_part){&w->tile, 0, 0}, (struct similarity_part){&p->u, j, 0},
                rows, columns, p->d);
    add_product(p, w, (struct similarity_part){&p->dacross, 0, j},
                (struct similarity_part){&p->across, 0, i},
                (struct similarity_part){&w->tile, 0, 0}, p->d, rows, columns);
}

static void await(const _Atomic int64_t *rounds, int64_t round)
{
    while (atomic_load_explicit(rounds, memory_order_acquire) < round)
        sched_yield();
}

/* Visits the tiles in their order. OpenMP's schedule hands them out in this order, so a thread that
 * waits for a block waits for a tile that another thread is visiting. */
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
    const int64_t width = p->width;
    for (int64_t k = 0; k < p->d; k += width) {
        const float *u = place(p, &p->u, j, k);
        float *du = place(p, &p->du, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            du[c] += (float)(coefficient * (double)u[c]);
    }
}

static void finish(struct similarity *p, int64_t i, bool normalized, double scale, float *dz)
{
    const int64_t width = p->width;
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
    const double drop = normalized ? along : 0; /* a change of a row's length has no effect */
    for (int64_t k = 0; k < p->d; k += width) {
        const float *u = place(p, &p->u, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            dz[k + c] = (float)((scale * (double)dz[k + c] - drop * (double)u[c]) / p->norms[i]);
    }
}

void similarity_finish(struct similarity *p, const struct loss_input *in, double scale, float *dz)
{
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->n; i++)
        finish(p, i, in->normalize, scale, dz + offset(p, i));
}

double similarity_exact(const struct similarity *p, const struct loss_input *in, int64_t i,
                        int64_t j)
{
    return multiply(in->z + offset(p, i), in->z + offset(p, j), p->d) / (p->norms[i] * p->norms[j]);
}

/* For u = z / |z| the gradient of u_i.u_j is (u_j - (u_i.u_j) u_i) / |z_i|. */
void similarity_pull(const struct similarity *p, const struct loss_input *in, int64_t i, int64_t j,
                     double product, double coefficient, float *dz)
{
    const float *x = in->z + offset(p, i), *y = in->z + offset(p, j);
    const double along = in->normalize ? product / p->norms[i] : 0;
    coefficient /= p->norms[i];
    dz += offset(p, i);
    for (int64_t k = 0; k < p->d; k++)
        dz[k] += (float)(coefficient * ((double)y[k] / p->norms[j] - along * (double)x[k]));
}

/* Sets n steps along a row of a matrix in panels of `rows` rows. */
static void fill_steps(const struct similarity *p, struct gemm_step *steps, int64_t n, int64_t rows)
{
    for (int64_t s = 0; s < n; s++) {
        const int64_t k = s * p->product->depth, panel = k / p->width, column = k % p->width;
        steps[s].a = (panel * rows * p->width + column) * (ptrdiff_t)sizeof(float);
        steps[s].b = k * p->product->columns * (ptrdiff_t)sizeof(float);
    }
}

static int64_t panel_width(const struct gemm_kernel *k)
{
    int64_t width = k->columns;
    while (width % LANES)
        width += k->columns;
    return width;
}

/* Returns 0 if the kernel can be used, else -1 with a message. A tile must hold whole blocks only.
 */
static int check_kernel(const struct gemm_kernel *k)
{
    if (gemm_kernel_check(k))
        return -1;
    if (k->values != GEMM_FLOAT)
        return fail("kernel %s does not multiply floats, of which similarities are made", k->name);
    if (TILE % k->rows || TILE % panel_width(k))
        return fail("kernel %s has blocks of %lld x %lld, which do not fill the tiles of %d x %d "
                    "that similarities are made in",
                    k->name, (long long)k->rows, (long long)k->columns, TILE, TILE);
    return 0;
}

/* Offsets of the parts of the memory. */
struct similarity_memory {
    size_t matrices[4]; /* u, du, across, dacross */
    size_t steps, norms, along, rounds, workers, panels, packed;
};

/* Reserves the parts of the memory. Rows and columns of the matrices are rounded up to whole
 * blocks, and there is room for the rows that a block reads beyond the last one. */
static struct similarity_memory lay_out(const struct similarity *p, int threads, struct arena *a)
{
    const struct gemm_kernel *by = p->product;
    const size_t n = (size_t)p->n, d_rows = (size_t)count_round_up(p->d, LANES);
    const size_t n_rows = (size_t)count_round_up(p->n, LANES), team = (size_t)threads;
    const size_t after = (size_t)(by->rows * p->width);
    const size_t tall = n_rows * (size_t)count_round_up(p->d, p->width) + after;
    const size_t wide = d_rows * (size_t)count_round_up(p->n, p->width) + after;
    const size_t n_steps = (d_rows + 2 * TILE) / (size_t)by->depth;
    const size_t depth = d_rows > TILE ? d_rows : TILE;
    const size_t packed = by->columns == p->width ? 0 : depth * (size_t)by->columns;
    struct similarity_memory m;
    for (int i = 0; i < 4; i++)
        m.matrices[i] = arena_reserve(a, i < 2 ? tall : wide, sizeof(float));
    m.steps = arena_reserve(a, n_steps, sizeof(struct gemm_step));
    m.norms = arena_reserve(a, n, sizeof(double));
    m.along = arena_reserve(a, n, sizeof(double));
    m.rounds = arena_reserve(a, (size_t)p->blocks, sizeof(int64_t));
    m.workers = arena_reserve(a, team, sizeof(struct similarity_worker));
    m.panels = arena_reserve(a, team * TILE * (size_t)p->width, sizeof(float));
    m.packed = arena_reserve(a, team * packed, sizeof(float));
    return m;
}

static void place_parts(struct similarity *p, const struct similarity_memory *m, int threads)
{
    unsigned char *at = p->memory;
    const int64_t n_rows = count_round_up(p->n, LANES), d_rows = count_round_up(p->d, LANES);
    const int64_t along_d = d_rows / p->product->depth, along_tile = TILE / p->product->depth;
    const int64_t depth = d_rows > TILE ? d_rows : TILE;
    struct gemm_step *steps = (void *)(at + m->steps);
    float *matrices[4];
    for (int i = 0; i < 4; i++)
        matrices[i] = (void *)(at + m->matrices[i]);
    memset(at, 0, m->steps); /* sets the matrices, which come first, to zero */
    fill_steps(p, steps, along_d, n_rows);
    fill_steps(p, steps + along_d, along_tile, d_rows);
    fill_steps(p, steps + along_d + along_tile, along_tile, TILE);
    p->u = (struct similarity_matrix){matrices[0], n_rows, steps};
    p->du = (struct similarity_matrix){matrices[1], n_rows, NULL};
    p->across = (struct similarity_matrix){matrices[2], d_rows, steps + along_d};
    p->dacross = (struct similarity_matrix){matrices[3], d_rows, NULL};
    p->norms = (void *)(at + m->norms);
    p->along = (void *)(at + m->along);
    p->rounds = (void *)(at + m->rounds);
    p->workers = (void *)(at + m->workers);
    for (int i = 0; i < threads; i++) {
        struct similarity_worker *w = p->workers + i;
        w->panel = (float *)(void *)(at + m->panels) + i * TILE * p->width;
        w->packed = p->product->columns == p->width
                        ? NULL
                        : (float *)(void *)(at + m->packed) + i * depth * p->product->columns;
        w->tile = (struct similarity_matrix){w->values, TILE, steps + along_d + along_tile};
    }
}

int similarity_open(struct similarity *p, const struct loss_input *in, const int64_t *order,
                    const int64_t *ends)
{
    const struct gemm_kernel *by = in->product ? in->product : gemm_kernel_choose(GEMM_FLOAT);
    *p = (struct similarity){.product = by, .n = in->n, .d = in->d, .order = order, .ends = ends};
    p->blocks = count_divide_up(p->n, TILE);
    if (check_kernel(by))
        return -1;
    p->width = panel_width(by);
    struct arena a = {0};
    const struct similarity_memory m = lay_out(p, in->threads, &a);
    p->memory = arena_allocate(&a);
    if (!p->memory)
        return fail("out of memory for a loss over %lld views", (long long)p->n);
    place_parts(p, &m, in->threads);
    return 0;
}

void similarity_close(struct similarity *p)
{
    free(p->memory);
}

/* ---- rows without a gradient ---- */

int similarity_others_open(struct similarity_others *o, const struct similarity *p, int64_t n)
{
    const int64_t rows = count_round_up(n, LANES), d_rows = count_round_up(p->d, LANES);
    struct arena a = {0};
    const size_t tall =
        arena_reserve(&a, (size_t)rows, (size_t)count_round_up(p->d, p->width) * sizeof(float));
    const size_t wide =
        arena_reserve(&a, (size_t)d_rows, (size_t)count_round_up(n, p->width) * sizeof(float));
    *o = (struct similarity_others){.n = n, .memory = arena_allocate(&a)};
    if (!o->memory)
        return fail("out of memory for a queue of %lld rows", (long long)n);
    memset(o->memory, 0, a.bytes);
    o->rows = (struct similarity_matrix){(void *)(o->memory + tall), rows, NULL};
    o->across = (struct similarity_matrix){(void *)(o->memory + wide), d_rows, NULL};
    return 0;
}

void similarity_others_close(struct similarity_others *o)
{
    free(o->memory);
}

static void load_other(struct similarity_others *o, const struct similarity *p, int64_t i,
                       const float *z)
{
    const int64_t width = p->width;
    float *across = place(p, &o->across, 0, i);
    for (int64_t k = 0; k < p->d; k += width) {
        float *row = place(p, &o->rows, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            row[c] = across[(k + c) * width] = z[k + c];
    }
}

/* A thread takes the rows of whole panels, so that no two write to the same line of the cache. */
void similarity_others_load(struct similarity_others *o, const struct similarity *p, const float *z)
{
#pragma omp for schedule(static)
    for (int64_t first = 0; first < o->n; first += p->width)
        for (int64_t i = first; i < first + count_min(o->n - first, p->width); i++)
            load_other(o, p, i, z + i * p->d);
}

float *similarity_others_panel(const struct similarity_others *o, const struct similarity *p,
                               struct similarity_worker *w, int64_t i, int64_t rows, int64_t j,
                               int64_t c)
{
    const struct gemm_kernel *by = p->product;
    const int64_t steps = count_divide_up(p->d, by->depth), columns = o->n - j - c;
    for (int64_t k = 0; k < p->width; k += by->columns) {
        const float *b = block_of_b(p, w, &o->across, 0, j + c + k, steps * by->depth);
        for (int64_t r = 0; r < rows; r += by->rows)
            store_block(p, place(p, &p->u, i + r, 0), b, p->u.steps, steps,
                        place(p, &w->tile, r, c + k));
    }
    float *panel = place(p, &w->tile, 0, c);
    for (int64_t r = 0; columns < p->width && r < rows; r++)
        for (int64_t k = columns; k < p->width; k++)
            panel[r * p->width + k] = -INFINITY;
    return panel;
}

void similarity_others_multiply(const struct similarity_others *o, const struct similarity *p,
                                struct similarity_worker *w, struct similarity_matrix *sums,
                                int64_t i, int64_t rows, int64_t j)
{
    add_product(p, w, (struct similarity_part){sums, i, 0},
                (struct similarity_part){&w->tile, 0, 0}, (struct similarity_part){&o->rows, j, 0},
                rows, count_min(o->n - j, TILE), p->d);
}

size_t similarity_room(const struct similarity *p)
{
    return (size_t)p->u.rows * (size_t)count_round_up(p->d, p->width);
}

double similarity_add_sums(struct similarity *p, const struct similarity_matrix *sums, int64_t i,
                           double coefficient)
{
    const int64_t width = p->width;
    double along = 0;
    for (int64_t k = 0; k < p->d; k += width) {
        const float *u = place(p, &p->u, i, k), *sum = place(p, sums, i, k);
        float *du = place(p, &p->du, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++) {
            along += (double)u[c] * (double)sum[c];
            du[c] += (float)(coefficient * (double)sum[c]);
        }
    }
    return coefficient * along;
}

void similarity_add_row(struct similarity *p, int64_t i, const float *row, double coefficient)
{
    const int64_t width = p->width;
    for (int64_t k = 0; k < p->d; k += width) {
        float *du = place(p, &p->du, i, k);
        for (int64_t c = 0; c < count_min(p->d - k, width); c++)
            du[c] += (float)(coefficient * (double)row[k + c]);
    }
}
