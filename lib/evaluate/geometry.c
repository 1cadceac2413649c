#include "evaluate/geometry.h"

#include <cblas.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/spread.h"
#include "base/squares.h"
#include "base/stop.h"
#include "evaluate/singular_values.h"

enum { TILE = 256 };

/* The rows, and where the sums of the pairs go. */
struct pairs {
    const struct feature_set *f;
    double *scale; /* 1 / |x|, and 0 for a row of zeros (n) */
    double *sums;  /* for each block of TILE rows, over its pairs with this and later rows */
    progress_line *progress;
    int64_t done; /* blocks */
};

/* Writes the rows u from `from` on into a tile (count, width). */
static void load(const struct pairs *p, int64_t from, int64_t count, double *tile)
{
    const int64_t width = p->f->width;
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < width; k++)
            tile[i * width + k] = (double)p->f->x[(from + i) * width + k] * p->scale[from + i];
}

/* Returns |u_i|^2: 1, or 0 for a row of zeros. */
static double square(const struct pairs *p, int64_t i)
{
    return p->scale[i] > 0;
}

/* Returns the sum of exp(-2 |u_i - u_j|^2) over the pairs of a tile of products u_i.u_j, whose rows
 * begin at i and columns at j. A row's partners are the rows of later images. */
static double add_tile(const struct pairs *p, const double *product, int64_t i, int64_t j)
{
    const int64_t views = p->f->views;
    const int64_t rows = count_min(p->f->n - i, TILE), columns = count_min(p->f->n - j, TILE);
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t later = ((i + r) / views + 1) * views;
        double row = 0;
        for (int64_t c = later > j ? later - j : 0; c < columns; c++)
            row += exp(-2 * (square(p, i + r) + square(p, j + c) - 2 * product[r * TILE + c]));
        sum += row;
    }
    return sum;
}

/* Adds the pairs of a block's rows with its own and all later rows. Returns -1 without a message if
 * memory is out. */
static int add_block(struct pairs *p, int64_t i)
{
    const int64_t n = p->f->n, width = p->f->width, rows = count_min(n - i, TILE);
    double *a = malloc((size_t)(TILE * width) * sizeof *a);
    double *b = malloc((size_t)(TILE * width) * sizeof *b);
    double *product = malloc((size_t)TILE * TILE * sizeof *product), sum = 0;
    const int result = a && b && product ? 0 : -1;
    if (!result)
        load(p, i, rows, a);
    for (int64_t j = i; !result && j < n && !stop_requested(); j += TILE) {
        const int64_t columns = count_min(n - j, TILE);
        load(p, j, columns, b);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, (int)width, 1,
                    a, (int)width, b, (int)width, 0, product, TILE);
        sum += add_tile(p, product, i, j);
    }
    p->sums[i / TILE] = sum;
    free(a);
    free(b);
    free(product);
    return result;
}

/* Computes the sums of all blocks. The first blocks have the most pairs, so they come first. */
static int add_blocks(struct pairs *p)
{
    int failed = 0;
    openblas_set_num_threads(1); /* OpenMP runs one thread for each block */
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < p->f->n; i += TILE) {
        int stop;
#pragma omp atomic read
        stop = failed;
        const int bad = !stop && add_block(p, i);
#pragma omp atomic
        failed |= bad;
#pragma omp critical
        {
            p->done++;
            if (p->progress)
                p->progress("pairs: %lld of %lld blocks of rows", (long long)p->done,
                            (long long)count_divide_up(p->f->n, TILE));
        }
    }
    return failed ? fail_memory("the pairs of rows") : stop_check();
}

static int measure_uniformity(struct geometry *g, struct pairs *p)
{
    const int64_t views = p->f->views;
    const double images = (double)(p->f->n / views);
    double sum = 0;
    g->uniformity = NAN;
    if (images < 2)
        return 0;
    if (add_blocks(p))
        return -1;
    for (int64_t b = 0; b < count_divide_up(p->f->n, TILE); b++)
        sum += p->sums[b];
    g->uniformity = log(sum / (images * (images - 1) / 2 * (double)(views * views)));
    return 0;
}

static int measure_rank(struct geometry *g, const struct feature_set *f, progress_line *progress)
{
    const int64_t n = count_min(f->n, f->width);
    double *values = calloc((size_t)n, sizeof *values), sum = 0, entropy = 0;
    if (!values)
        return fail_memory("the singular values");
    const int result = singular_values(f->x, f->n, f->width, values, progress);
    for (int64_t k = 0; k < n; k++)
        sum += values[k];
    for (int64_t k = 0; k < n && sum > 0; k++)
        entropy -= values[k] > 0 ? values[k] / sum * log(values[k] / sum) : 0;
    g->effective_rank = sum > 0 ? exp(entropy) : 0;
    free(values);
    return result;
}

int geometry_measure(struct geometry *g, const struct feature_set *f, progress_line *progress)
{
    struct spread spread;
    struct pairs p = {.f = f, .progress = progress};
    if (f->width > INT32_MAX)
        return fail("rows of %lld features are too wide", (long long)f->width);
    if (measure_rank(g, f, progress) || spread_measure(f->x, f->n, f->width, f->views, &spread))
        return -1;
    g->z_std = spread.z_std;
    g->alignment = spread.alignment;
    g->zeros = 0;
    p.scale = calloc((size_t)f->n, sizeof *p.scale);
    p.sums = calloc((size_t)count_divide_up(f->n, TILE), sizeof *p.sums);
    int result = p.scale && p.sums ? 0 : fail_memory("the pairs of rows");
    for (int64_t i = 0; i < f->n && !result; i++) {
        const double norm = sqrt(squares_sum(f->x + i * f->width, (size_t)f->width));
        p.scale[i] = norm > 0 ? 1 / norm : 0;
        g->zeros += norm > 0 ? 0 : 1;
    }
    if (!result)
        result = measure_uniformity(g, &p);
    free(p.scale);
    free(p.sums);
    return result;
}

static json_t *number(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

int geometry_write(const struct geometry *g, const struct feature_set *f, FILE *file)
{
    json_t *report = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "method", "geometry", "on", f->on,
        "n_test", (json_int_t)f->n, "views", (json_int_t)f->views, "width", (json_int_t)f->width,
        "alignment", number(g->alignment), "uniformity", number(g->uniformity), "effective_rank",
        number(g->effective_rank), "z_std", number(g->z_std));
    if (!report)
        return fail_memory(NULL);
    const int failed = json_dumpf(report, file, JSON_REAL_PRECISION(9));
    json_decref(report);
    if (failed)
        return ferror(file) ? 0 : fail_memory(NULL);
    putc('\n', file);
    return 0;
}
