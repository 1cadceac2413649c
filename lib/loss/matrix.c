#include "loss/matrix.h"

#include <omp.h>
#include <string.h>

#include "base/count.h"
#include "base/fail.h"
#include "engine/grains.h"

/* Sizes. A chunk of a B's panel, 256 rows of 32 floats, is half of a first-level cache, and that of
 * a tile's 256 rows of A fits in a second-level cache. Small products have smaller tiles, so that
 * there is one for each thread of a large machine.
 *
 * Padding. Panels of a power of two rows would put the groups of a row of A into the same few sets
 * of a cache; PADDING rows of each panel are there only to spread them. */

enum { CHUNK = 256, TILE = 256, SMALLEST_TILE = 64, ENOUGH_TILES = 64, PADDING = 8 };
enum { GROUP = 16 }; /* floats of a row of A in a step */
enum { LARGEST_BLOCK = GEMM_KERNEL_ROWS * GEMM_KERNEL_COLUMNS };

int matrix_layout_choose(struct matrix_layout *l, const struct gemm_kernel *product)
{
    const struct gemm_kernel *by = product ? product : gemm_kernel_choose(GEMM_FLOAT);
    if (gemm_kernel_check(by))
        return -1;
    if (by->values != GEMM_FLOAT)
        return fail("kernel %s does not multiply floats", by->name);
    int64_t width = by->columns;
    while (width % GROUP)
        width += by->columns;
    *l = (struct matrix_layout){by, width, width < CHUNK ? CHUNK / width * width : width};
    return 0;
}

static int64_t height_of(int64_t rows)
{
    return count_round_up(rows, GROUP) + PADDING;
}

/* A block reads rows of A beyond the last. */
size_t matrix_floats(const struct matrix_layout *l, int64_t rows, int64_t columns)
{
    size_t floats;
    if (__builtin_mul_overflow((size_t)height_of(rows), (size_t)count_round_up(columns, l->width),
                               &floats) ||
        __builtin_add_overflow(floats, (size_t)(GEMM_KERNEL_ROWS * l->width), &floats))
        return SIZE_MAX;
    return floats;
}

/* The depth of a product is rounded up to whole steps. There, elements of A and of B are 0. */
struct matrix matrix_make(const struct matrix_layout *l, int64_t rows, int64_t columns,
                          float *values)
{
    const struct matrix m = {values, rows, columns, height_of(rows)};
    const int64_t used = columns % l->width;
    for (int64_t c = 0; c < columns; c += l->width)
        memset(matrix_place(l, &m, rows, c), 0,
               (size_t)((m.height - rows) * l->width) * sizeof *values);
    for (int64_t r = 0; used && r < rows; r++)
        memset(matrix_place(l, &m, r, columns - 1) + 1, 0,
               (size_t)(l->width - used) * sizeof *values);
    return m;
}

struct matrix matrix_columns(const struct matrix_layout *l, const struct matrix *m, int64_t first,
                             int64_t count)
{
    return (struct matrix){matrix_place(l, m, 0, first), m->rows, count, m->height};
}

/* The division of a product into tiles. */
struct grid {
    int64_t rows, columns; /* of a tile */
    int64_t down, across;  /* tiles */
};

static struct grid divide(const struct matrix_layout *l, int64_t rows, int64_t columns)
{
    struct grid g;
    for (int64_t edge = TILE;; edge /= 2) {
        g.rows = count_round_up(edge, l->product->rows);
        g.columns = count_round_up(edge, l->width);
        g.down = count_divide_up(rows, g.rows);
        g.across = count_divide_up(columns, g.columns);
        if (edge == SMALLEST_TILE || g.down * g.across >= ENOUGH_TILES)
            return g;
    }
}

int64_t matrix_tiles(const struct matrix_layout *l, int64_t rows, int64_t columns)
{
    const struct grid g = divide(l, rows, columns);
    return g.down * g.across;
}

static size_t tile_floats(const struct matrix_layout *l)
{
    return (size_t)count_round_up(
        count_round_up(TILE, l->product->rows) * count_round_up(TILE, l->width), GROUP);
}

size_t matrix_work_floats(const struct matrix_layout *l)
{
    return tile_floats(l) + (size_t)(l->chunk * l->product->columns);
}

/* Returns the `depth` rows of a block's columns, packed as B: a pointer into b, or a copy. */
static const float *block_of_b(const struct matrix_layout *l, const struct matrix *b, int64_t row,
                               int64_t column, int64_t depth, float *copy)
{
    const int64_t columns = l->product->columns;
    const float *from = matrix_place(l, b, row, column);
    if (columns == l->width)
        return from;
    for (int64_t k = 0; k < depth; k++)
        memcpy(copy + k * columns, from + k * l->width, (size_t)columns * sizeof *from);
    return copy;
}

/* Writes a block to its place in a tile, or adds it. */
static void put_block(const struct matrix_layout *l, const float *block, bool add, float *to)
{
    const struct gemm_kernel *by = l->product;
    const size_t row = (size_t)by->columns * sizeof *block;
    if (add && by->columns == l->width) {
        grains_add_floats(to, block, by->rows * by->columns);
        return;
    }
    for (int64_t r = 0; r < by->rows; r++, block += by->columns, to += l->width)
        if (add)
            grains_add_floats(to, block, by->columns);
        else
            memcpy(to, block, row);
}

/* A chunk of the depth, and the offsets of its steps. */
struct chunk {
    struct gemm_step steps[CHUNK / GROUP];
    int64_t first, n_steps;
};

static void fill_chunk(const struct matrix_layout *l, const struct matrix *a, int64_t first,
                       struct chunk *k)
{
    k->first = first;
    k->n_steps = count_divide_up(count_min(a->columns - first, l->chunk), GROUP);
    for (int64_t s = 0; s < k->n_steps; s++) {
        const int64_t at = s * GROUP;
        k->steps[s].a = (matrix_place(l, a, 0, at) - a->values) * (ptrdiff_t)sizeof(float);
        k->steps[s].b = at * l->product->columns * (ptrdiff_t)sizeof(float);
    }
}

static void add_chunk(const struct matrix_layout *l, const struct matrix *a, const struct matrix *b,
                      bool upper, const struct chunk *k, const struct matrix_tile *tile)
{
    const struct gemm_kernel *by = l->product;
    const size_t a_row = (size_t)l->width * sizeof(float);
    float *copy = tile->values + tile_floats(l);
    float block[LARGEST_BLOCK] __attribute__((aligned(64)));
    for (int64_t c = 0; c < tile->columns; c += by->columns) {
        const float *packed =
            block_of_b(l, b, k->first, tile->column + c, k->n_steps * GROUP, copy);
        for (int64_t r = 0; r < tile->rows; r += by->rows) {
            if (upper && tile->row + r >= tile->column + c + by->columns)
                break;
            float *to = tile->values + (c / l->width * tile->height + r) * l->width + c % l->width;
            const bool direct = !k->first && by->columns == l->width;
            by->block(matrix_place(l, a, tile->row + r, k->first), a_row, packed, k->steps,
                      k->n_steps, direct ? to : block);
            if (!direct)
                put_block(l, block, k->first, to);
        }
    }
}

void matrix_multiply(const struct matrix_layout *l, const struct matrix *a, const struct matrix *b,
                     bool upper, matrix_visitor *visit, void *context, float *work, int threads)
{
    const struct grid g = divide(l, a->rows, b->columns);
#pragma omp parallel num_threads(threads)
    {
        l->product->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < g.down * g.across; i++) {
            struct matrix_tile t = {work + (size_t)omp_get_thread_num() * matrix_work_floats(l),
                                    i,
                                    i / g.across * g.rows,
                                    i % g.across * g.columns,
                                    0,
                                    0,
                                    g.rows};
            t.rows = count_min(a->rows - t.row, g.rows);
            t.columns = count_min(b->columns - t.column, g.columns);
            if (upper && t.row >= t.column + t.columns)
                continue;
            struct chunk k;
            for (int64_t first = 0; first < a->columns; first += l->chunk) {
                fill_chunk(l, a, first, &k);
                add_chunk(l, a, b, upper, &k, &t);
            }
            visit(context, &t);
        }
        l->product->end();
    }
}

void matrix_store(const struct matrix_layout *l, const struct matrix_tile *tile,
                  const struct matrix *m)
{
    for (int64_t c = 0; c < tile->columns; c += l->width) {
        const float *from = tile->values + c * tile->height;
        float *to = matrix_place(l, m, tile->row, tile->column + c);
        const int64_t columns = count_min(tile->columns - c, l->width);
        for (int64_t r = 0; r < tile->rows; r++, from += l->width, to += l->width)
            memcpy(to, from, (size_t)columns * sizeof *to);
    }
}

void matrix_store_transposed(const struct matrix_layout *l, const float *from, int64_t pitch,
                             int64_t rows, int64_t columns, const struct matrix *m, int64_t row,
                             int64_t column)
{
    while (rows) {
        const int64_t run = count_min(rows, l->width - column % l->width);
        float *to = matrix_place(l, m, row, column);
        for (int64_t c = 0; c < columns; c++, to += l->width)
            for (int64_t r = 0; r < run; r++)
                to[r] = from[r * pitch + c];
        from += run * pitch;
        column += run;
        rows -= run;
    }
}
