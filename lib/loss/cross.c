#include "loss/cross.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/count.h"
#include "base/fail.h"
#include "base/multiversion.h"
#include "loss/matrix.h"

/* Names. Each view is loaded into a side, (n, d); `across`, (d, n), is one of them transposed. The
 * squares are either M = Y'X and its transpose, (d, d), or XX' and YY', (n, n). One more product
 * gives a side's gradient. With a single view both sides are the same matrix, and so are both
 * squares.
 *
 * A symmetric square is computed on and above its diagonal only.
 *
 * Precision. Where d is large, an element of the diagonal of XX' is far larger than the others of
 * its row, and a float32 sum that has it early would round all that follows to its size. So the
 * diagonals are float64, and products see zeros in their place. */

enum { ROWS = 32, COLUMNS = 64 }; /* of a view that are loaded at a time */
enum { LANES = 16 };              /* partial sums */
enum { STRIP = 1024 };            /* columns of M, where it is not computed as a whole */
enum { HUGE_PAGE = 2 << 20 };

struct cross {
    struct matrix_layout layout;
    int64_t n, d;
    int threads, sides;
    struct matrix side[2], across, square[2];
    double *sums;       /* of squares: of each tile of M, or of each row of XX' */
    double *lengths[2]; /* the diagonals of XX' and YY' (n) */
    float *work;
    unsigned char *memory;
};

/* ---- memory ---- */

/* Returns memory for all parts, which the caller frees; NULL if it is out. Large pages save time
 * where the system has them, since all of it is new in each step. */
static unsigned char *allocate(const struct arena *a)
{
    if (a->bytes < HUGE_PAGE || a->bytes > SIZE_MAX - HUGE_PAGE)
        return arena_allocate(a);
    const size_t bytes = (a->bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *memory = aligned_alloc(HUGE_PAGE, bytes);
    if (memory)
        madvise(memory, bytes, MADV_HUGEPAGE); /* only advice, which the system may ignore */
    return memory;
}

static float *floats(unsigned char *memory, size_t at)
{
    return (float *)(void *)(memory + at);
}

/* Allocates c's matrices, with squares of `edge` rows and columns, and n_sums sums. */
static int reserve(struct cross *c, int64_t edge, int64_t n_sums)
{
    const struct matrix_layout *l = &c->layout;
    struct arena a = {0};
    size_t sides[2], squares[2];
    for (int s = 0; s < c->sides; s++) {
        sides[s] = arena_reserve(&a, matrix_floats(l, c->n, c->d), sizeof(float));
        squares[s] = arena_reserve(&a, matrix_floats(l, edge, edge), sizeof(float));
    }
    const size_t across = arena_reserve(&a, matrix_floats(l, c->d, c->n), sizeof(float));
    const size_t sums = arena_reserve(&a, (size_t)n_sums, sizeof(double));
    const size_t lengths = arena_reserve(&a, 2 * (size_t)c->n, sizeof(double));
    const size_t work =
        arena_reserve(&a, (size_t)c->threads * matrix_work_floats(l), sizeof(float));
    c->memory = allocate(&a);
    if (!c->memory)
        return fail("out of memory for a loss over %lld dimensions", (long long)c->d);
    for (int s = 0; s < c->sides; s++) {
        c->side[s] = matrix_make(l, c->n, c->d, floats(c->memory, sides[s]));
        c->square[s] = matrix_make(l, edge, edge, floats(c->memory, squares[s]));
    }
    if (c->sides == 1) {
        c->side[1] = c->side[0];
        c->square[1] = c->square[0];
    }
    c->across = matrix_make(l, c->d, c->n, floats(c->memory, across));
    c->sums = (double *)(void *)(c->memory + sums);
    c->lengths[0] = (double *)(void *)(c->memory + lengths);
    c->lengths[1] = c->lengths[0] + (c->sides - 1) * c->n;
    c->work = floats(c->memory, work);
    return 0;
}

/* ---- sums ---- */

MULTIVERSION static double sum_squares(const float *x, int64_t pitch, int64_t rows, int64_t columns)
{
    double sum[LANES] = {0};
    for (int64_t r = 0; r < rows; r++, x += pitch) {
        int64_t k = 0;
        for (; k + LANES <= columns; k += LANES)
            for (int64_t j = 0; j < LANES; j++)
                sum[j] += (double)x[k + j] * (double)x[k + j];
        for (int64_t j = 0; k + j < columns; j++)
            sum[j] += (double)x[k + j] * (double)x[k + j];
    }
    for (int j = 1; j < LANES; j++)
        sum[0] += sum[j];
    return sum[0];
}

MULTIVERSION static double sum_products(const float *x, const float *y, int64_t count)
{
    double sum[LANES] = {0};
    int64_t k = 0;
    for (; k + LANES <= count; k += LANES)
        for (int64_t j = 0; j < LANES; j++)
            sum[j] += (double)x[k + j] * (double)y[k + j];
    for (int64_t j = 0; k + j < count; j++)
        sum[j] += (double)x[k + j] * (double)y[k + j];
    for (int j = 1; j < LANES; j++)
        sum[0] += sum[j];
    return sum[0];
}

/* ---- the sides ---- */

MULTIVERSION static void standardize(const struct cross_view *v, const float *restrict z,
                                     int64_t column, int64_t count, float *restrict to)
{
    const double *restrict mean = v->mean + column;
    const double *restrict scale = v->scale ? v->scale + column : NULL;
    const float *restrict first = v->z + column;
    if (scale)
        for (int64_t k = 0; k < count; k++)
            to[k] = (float)(((double)z[k] - (double)first[k] - mean[k]) * scale[k]);
    else
        for (int64_t k = 0; k < count; k++)
            to[k] = (float)((double)z[k] - (double)first[k] - mean[k]);
}

/* Loads ROWS images from i on of a view into its side, and into c->across with `across`. */
static void load_rows(struct cross *c, const struct cross_view *v, int s, bool across, int64_t i)
{
    const struct matrix_layout *l = &c->layout;
    const struct matrix *side = c->side + s;
    const int64_t rows = count_min(c->n - i, ROWS);
    double lengths[ROWS] = {0};
    float part[ROWS][COLUMNS];
    for (int64_t k = 0; k < c->d; k += COLUMNS) {
        const int64_t columns = count_min(c->d - k, COLUMNS);
        for (int64_t r = 0; r < rows; r++) {
            standardize(v, v->z + 2 * (i + r) * c->d + k, k, columns, part[r]);
            lengths[r] += sum_squares(part[r], 0, 1, columns);
            for (int64_t run, at = 0; at < columns; at += run) {
                run = count_min(columns - at, l->width - (k + at) % l->width);
                memcpy(matrix_place(l, side, i + r, k + at), part[r] + at,
                       (size_t)run * sizeof(float));
            }
        }
        if (across)
            matrix_store_transposed(l, part[0], COLUMNS, rows, columns, &c->across, k, i);
    }
    memcpy(c->lengths[s] + i, lengths, (size_t)rows * sizeof *lengths);
}

static void load(struct cross *c, const struct cross_view *views, int s, bool across)
{
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (int64_t i = 0; i < c->n; i += ROWS)
        load_rows(c, views + s, s, across, i);
}

/* ---- the squares ---- */

/* Where the tiles of a square go. */
struct square_task {
    struct cross *c;
    const struct matrix *to, *transposed; /* of the same elements; either the same matrix, which is
                                             symmetric, or two, or the second is NULL */
    int64_t first;                        /* the column of M that is column 0 of `to` */
    bool sums;                            /* sets c->sums to the sums of squares of tiles */
};

/* Sets the elements of a tile that do not count to 0: those on the diagonal, and, in a symmetric
 * matrix, those below it. */
static void hide(const struct square_task *s, const struct matrix_tile *t)
{
    const struct matrix_layout *l = &s->c->layout;
    for (int64_t r = 0; r < t->rows; r++) {
        const int64_t diagonal = t->row + r - s->first - t->column;
        int64_t c = s->to == s->transposed ? 0 : diagonal;
        for (c = c < 0 ? 0 : c; c <= diagonal && c < t->columns; c++)
            t->values[(c / l->width * t->height + r) * l->width + c % l->width] = 0;
    }
}

/* Stores those elements of a tile that are on or above the diagonal, and their mirror images. */
static void store_triangle(const struct square_task *s, const struct matrix_tile *t)
{
    const struct matrix_layout *l = &s->c->layout;
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t c = 0; c < t->columns; c++) {
            const int64_t i = t->row + r, j = t->column + c;
            if (j >= i)
                *matrix_place(l, s->to, i, j) = *matrix_place(l, s->to, j, i) =
                    t->values[(c / l->width * t->height + r) * l->width + c % l->width];
        }
}

static void take_square(void *task, const struct matrix_tile *t)
{
    const struct square_task *s = task;
    const struct matrix_layout *l = &s->c->layout;
    const bool symmetric = s->to == s->transposed;
    double sum = 0;
    hide(s, t);
    if (s->sums) {
        for (int64_t c = 0; c < t->columns; c += l->width)
            sum += sum_squares(t->values + c * t->height, l->width, t->rows,
                               count_min(t->columns - c, l->width));
        s->c->sums[t->number] = symmetric ? 2 * sum : sum;
    }
    if (symmetric && t->row + t->rows > t->column) {
        store_triangle(s, t);
        return;
    }
    matrix_store(l, t, s->to);
    for (int64_t c = 0; s->transposed && c < t->columns; c += l->width)
        matrix_store_transposed(l, t->values + c * t->height, l->width, t->rows,
                                count_min(t->columns - c, l->width), s->transposed, t->column + c,
                                t->row);
}

static double add_sums(const struct cross *c, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += c->sums[i];
    return sum;
}

/* Computes a square a b, as the task says, and returns the sum of squares with task->sums. */
static double find_square(const struct matrix *a, const struct matrix *b, struct square_task *task)
{
    struct cross *c = task->c;
    const int64_t tiles = matrix_tiles(&c->layout, a->rows, b->columns);
    if (task->sums)
        memset(c->sums, 0, (size_t)tiles * sizeof *c->sums);
    matrix_multiply(&c->layout, a, b, task->to == task->transposed, take_square, task, c->work,
                    c->threads);
    return task->sums ? add_sums(c, tiles) : 0;
}

/* ---- the gradients ---- */

struct gradient_task {
    const struct cross *c;
    float *dz; /* of the product's first row and column */
    /* Unless NULL, elements of x (n, d) times lengths of their rows are added to the product, and
     * those of y times elements of the diagonal, one for each column, are subtracted. */
    const struct matrix *x, *y;
    const double *lengths, *diagonal;
};

MULTIVERSION static void correct(float *restrict to, const float *restrict x,
                                 const float *restrict y, double length,
                                 const double *restrict diagonal, int64_t count)
{
    for (int64_t k = 0; k < count; k++)
        to[k] = (float)((double)to[k] + length * (double)x[k] - diagonal[k] * (double)y[k]);
}

static void take_gradient(void *task, const struct matrix_tile *t)
{
    const struct gradient_task *g = task;
    const struct matrix_layout *l = &g->c->layout;
    for (int64_t c = 0; c < t->columns; c += l->width) {
        const int64_t count = count_min(t->columns - c, l->width), column = t->column + c;
        for (int64_t r = 0; r < t->rows; r++) {
            float *from = t->values + c * t->height + r * l->width;
            const int64_t row = t->row + r;
            if (g->lengths)
                correct(from, matrix_place(l, g->x, row, column),
                        matrix_place(l, g->y, row, column), g->lengths[row], g->diagonal + column,
                        count);
            memcpy(g->dz + 2 * row * g->c->d + column, from, (size_t)count * sizeof *from);
        }
    }
}

static void find_gradient(struct cross *c, const struct matrix *a, const struct matrix *b,
                          struct gradient_task *task)
{
    matrix_multiply(&c->layout, a, b, false, take_gradient, task, c->work, c->threads);
}

/* ---- the ways ---- */

/* Few columns: M as a whole. */
static int by_columns(struct cross *c, const struct cross_view *views, double *squares)
{
    if (reserve(c, c->d, matrix_tiles(&c->layout, c->d, c->d)))
        return -1;
    for (int s = 0; s < c->sides; s++)
        load(c, views, s, s == c->sides - 1);
    struct square_task task = {
        .c = c, .to = c->square, .transposed = c->square + c->sides - 1, .sums = true};
    *squares = find_square(&c->across, c->side, &task);
    for (int s = 0; s < c->sides; s++)
        find_gradient(c, c->side + 1 - s, c->square + s,
                      &(struct gradient_task){.c = c, .dz = views[s].dz});
    return 0;
}

/* Computes some columns of M at a time, for each side anew. The sides are loaded already. */
static int by_strips(struct cross *c, const struct cross_view *views, double *squares)
{
    const struct matrix_layout *l = &c->layout;
    const int64_t most = count_round_up(count_min(c->n, STRIP), l->width);
    struct arena a = {0};
    const size_t values = arena_reserve(&a, matrix_floats(l, c->d, most), sizeof(float));
    const size_t sums = arena_reserve(&a, (size_t)matrix_tiles(l, c->d, most), sizeof(double));
    unsigned char *memory = allocate(&a);
    if (!memory)
        return fail("out of memory for a loss over %lld dimensions", (long long)c->d);
    c->sums = (double *)(void *)(memory + sums);
    for (int s = 0; s < c->sides; s++) {
        const int other = c->sides - 1 - s;
        load(c, views, other, true);
        *squares = 0;
        for (int64_t first = 0; first < c->d; first += most) {
            const int64_t count = count_min(c->d - first, most);
            const struct matrix part = matrix_columns(l, c->side + s, first, count);
            const struct matrix strip = matrix_make(l, c->d, count, floats(memory, values));
            struct square_task task = {.c = c, .to = &strip, .first = first, .sums = true};
            *squares += find_square(&c->across, &part, &task);
            find_gradient(c, c->side + other, &strip,
                          &(struct gradient_task){.c = c, .dz = views[s].dz + first});
        }
    }
    free(memory);
    return 0;
}

/* Many columns: XX' and YY'. */
static int by_rows(struct cross *c, const struct cross_view *views, const double *diagonal,
                   double *squares)
{
    const struct matrix_layout *l = &c->layout;
    if (reserve(c, c->n, c->n))
        return -1;
    for (int s = 0; s < c->sides; s++) {
        load(c, views, s, true);
        struct square_task task = {.c = c, .to = c->square + s, .transposed = c->square + s};
        find_square(c->side + s, &c->across, &task);
    }
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (int64_t i = 0; i < c->n; i++) {
        c->sums[i] = c->lengths[0][i] * c->lengths[1][i];
        for (int64_t k = 0; k < c->n; k += l->width)
            c->sums[i] +=
                sum_products(matrix_place(l, c->square, i, k), matrix_place(l, c->square + 1, i, k),
                             count_min(c->n - k, l->width));
    }
    const double all = add_sums(c, c->n);
    *squares = all;
    for (int64_t j = 0; j < c->d; j++)
        *squares -= diagonal[j] * diagonal[j];
    if (*squares < all / 4)
        return by_strips(c, views, squares);
    for (int s = 0; s < c->sides; s++)
        find_gradient(c, c->square + 1 - s, c->side + s,
                      &(struct gradient_task){.c = c,
                                              .dz = views[s].dz,
                                              .x = c->side + s,
                                              .y = c->side + 1 - s,
                                              .lengths = c->lengths[1 - s],
                                              .diagonal = diagonal});
    return 0;
}

int cross_squares(const struct loss_input *in, const struct cross_view *views, int n_views,
                  const double *diagonal, double *squares)
{
    struct cross c = {.n = in->n / 2, .d = in->d, .threads = in->threads, .sides = n_views};
    if (matrix_layout_choose(&c.layout, in->product))
        return -1;
    const int status =
        c.d < 2 * c.n ? by_columns(&c, views, squares) : by_rows(&c, views, diagonal, squares);
    free(c.memory);
    return status;
}
