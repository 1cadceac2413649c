#include "evaluate/preconditioner.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/large_pages.h"
#include "evaluate/class_products.h"
#include "evaluate/row_products.h"

/* LAPACK's Cholesky factorization, which OpenBLAS exports without declaring it. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);

enum {
    SAMPLES = 2048, /* rows of x that are multiplied at a time */
    TILE = 256,     /* features in a tile of S */
    BLOCK = 128     /* columns of P that a thread computes at a time */
};

static size_t square(const struct preconditioner *p)
{
    return (size_t)p->width * (size_t)p->width;
}

/* ---- the correlation matrix ---- */

/* Features as rows, of which SAMPLES values are stored for block products as both operands. */
struct operands {
    const struct feature_set *x;
    const double *mean, *inverse_std;
    struct row_products products;
    unsigned char *a, *panels;
    size_t a_bytes, panel_bytes;
    int64_t tiles, n_panels;
};

/* Stores `n` samples from `first` on of a panel's features. */
static void store_panel(const struct operands *o, int64_t panel, int64_t first, int64_t n,
                        double *values)
{
    const int64_t width = o->x->width, columns = o->products.columns, at = panel * columns;
    const int64_t features = count_min(width - at, columns);
    for (int64_t i = 0; i < SAMPLES; i++)
        for (int64_t j = 0; j < features; j++)
            values[j * SAMPLES + i] =
                i < n ? ((double)o->x->x[(first + i) * width + at + j] - o->mean[at + j]) *
                            o->inverse_std[at + j]
                      : 0;
    for (int64_t j = 0; j < features; j++) {
        row_products_set_a(&o->products, o->a, at + j, values + j * SAMPLES);
        row_products_set_b(&o->products, o->panels + (size_t)panel * o->products.panel_bytes, j,
                           values + j * SAMPLES);
    }
}

/* Adds the products of the stored samples to a panel's columns of a tile of S. */
static void add_tile(const struct operands *o, int64_t tile, int64_t panel, float *s, float *c)
{
    const int64_t width = o->x->width, columns = o->products.columns, at = panel * columns;
    const int64_t first = tile * o->products.by->rows * (TILE / o->products.by->rows);
    const int64_t rows =
        count_min(width - first, o->products.by->rows * (TILE / o->products.by->rows));
    if (first >= at + columns)
        return; /* below the diagonal */
    row_products_panel(&o->products, o->a + (size_t)first * o->products.row_bytes, rows,
                       o->panels + (size_t)panel * o->products.panel_bytes, c);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns && at + j < width; j++)
            s[(first + i) * width + at + j] += c[i * columns + j];
}

/* Adds the products of all samples to s. */
static int add_samples(struct operands *o, float *s, progress_line *progress)
{
    const int64_t rows = row_products_rows(&o->products, TILE);
    int failed = 0;
#pragma omp parallel
    {
        double *values = malloc((size_t)(SAMPLES * o->products.columns) * sizeof *values);
        float *c = aligned_alloc(64, (size_t)(rows * o->products.columns) * sizeof *c);
        if (!values || !c) {
#pragma omp atomic write
            failed = 1;
        }
        o->products.by->begin();
#pragma omp barrier
        for (int64_t at = 0; at < o->x->n && !failed; at += SAMPLES) {
            const int64_t n = count_min(o->x->n - at, SAMPLES);
#pragma omp for schedule(dynamic)
            for (int64_t panel = 0; panel < o->n_panels; panel++)
                store_panel(o, panel, at, n, values);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < o->tiles * o->n_panels; i++)
                add_tile(o, i / o->n_panels, i % o->n_panels, s, c);
#pragma omp single nowait
            if (progress)
                progress("linear: correlating features, %lld of %lld rows", (long long)(at + n),
                         (long long)o->x->n);
        }
        o->products.by->end();
        free(values);
        free(c);
    }
    return failed ? -1 : 0;
}

static int correlate(struct preconditioner *p, const struct feature_set *x, const double *mean,
                     const double *inverse_std, progress_line *progress)
{
    const struct gemm_kernel *bf16 = gemm_kernel_choose(GEMM_BF16);
    const struct gemm_kernel *by = bf16 ? bf16 : gemm_kernel_choose(GEMM_FLOAT);
    struct operands o = {.x = x, .mean = mean, .inverse_std = inverse_std};
    o.products = row_products_make(by, SAMPLES);
    o.tiles = count_divide_up(p->width, by->rows * (TILE / by->rows));
    o.n_panels = count_divide_up(p->width, by->columns);
    o.a_bytes = (size_t)row_products_rows(&o.products, p->width) * o.products.row_bytes;
    o.panel_bytes = (size_t)o.n_panels * o.products.panel_bytes;
    o.a = large_pages_take(o.a_bytes);
    o.panels = large_pages_take(o.panel_bytes);
    const int result = o.a && o.panels ? add_samples(&o, p->correlation, progress) : -1;
    large_pages_free(o.a, o.a_bytes);
    large_pages_free(o.panels, o.panel_bytes);
    if (result)
        return fail("out of memory for %lld features", (long long)p->width);
    const float scale = 1 / (float)x->n;
#pragma omp parallel for
    for (int64_t i = 0; i < p->width * p->width; i++)
        p->correlation[i] *= scale;
    return 0;
}

int preconditioner_make(struct preconditioner *p, const struct feature_set *x, const double *mean,
                        const double *inverse_std, int64_t classes, progress_line *progress)
{
    *p = (struct preconditioner){.width = x->width};
    if (p->width > PRECONDITIONER_MAX_WIDTH)
        return 0;
    openblas_set_num_threads(1); /* its results would depend on the number; OpenMP runs several */
    const size_t width = (size_t)p->width;
    p->correlation = large_pages_take(square(p) * sizeof *p->correlation);
    p->factor = large_pages_take(square(p) * sizeof *p->factor);
    p->inverse = large_pages_take(square(p) * sizeof *p->inverse);
    p->rows = malloc(width * sizeof *p->rows);
    p->zeros = calloc(width, sizeof *p->zeros);
    p->scratch = malloc(width * (size_t)classes * sizeof *p->scratch);
    if (!p->correlation || !p->factor || !p->inverse || !p->rows || !p->zeros || !p->scratch)
        return fail("out of memory for a probe of %zu features", width);
    for (size_t i = 0; i < width; i++)
        p->rows[i] = p->inverse + i * width;
    return correlate(p, x, mean, inverse_std, progress);
}

/* ---- the factor and its inverse ---- */

/* Computes R. The upper triangle of a row-major matrix is the lower triangle of a column-major one,
 * which LAPACK uses. Features that depend on each other may leave H without a factor, by rounding;
 * then what is added to its diagonal grows until it has one. */
static void factorize(struct preconditioner *p, double scale, double l2)
{
    const int64_t width = p->width;
    int n = (int)width, info = 1;
    for (double more = 1e-9; info; more *= 10) {
#pragma omp parallel for schedule(dynamic, 16)
        for (int64_t i = 0; i < width; i++)
            for (int64_t j = i; j < width; j++)
                p->factor[i * width + j] =
                    (double)p->correlation[i * width + j] * scale + (i == j ? l2 + more : 0);
        dpotrf_("L", &n, p->factor, &n, &info);
    }
}

/* Computes the columns of P from `first` on, of which only the rows above their last are not 0. */
static int invert(struct preconditioner *p, int64_t first)
{
    const int64_t width = p->width, columns = count_min(width - first, BLOCK),
                  rows = first + columns;
    double *x = calloc((size_t)(rows * columns), sizeof *x);
    if (!x)
        return -1;
    for (int64_t j = 0; j < columns; j++)
        x[(first + j) * columns + j] = 1;
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, (int)rows,
                (int)columns, 1, p->factor, (int)width, x, (int)columns);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            p->inverse[i * width + first + j] = (float)x[i * columns + j];
    free(x);
    return 0;
}

int preconditioner_set(struct preconditioner *p, double scale, double l2)
{
    if (!p->inverse)
        return 0;
    factorize(p, scale, l2);
    const int64_t blocks = count_divide_up(p->width, BLOCK);
    int failed = 0;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = blocks - 1; i >= 0; i--) /* the longest columns first */
        if (invert(p, i * BLOCK)) {
#pragma omp atomic write
            failed = 1;
        }
    return failed ? fail("out of memory for %lld features", (long long)p->width) : 0;
}

/* ---- products ---- */

void preconditioner_apply(const struct preconditioner *p, const double *u, int64_t classes,
                          double *w)
{
    const int64_t width = p->width;
    if (!p->inverse) {
        memcpy(w, u, (size_t)(classes * width) * sizeof *w);
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t at = 0; at < width; at += CLASS_PRODUCTS_ROWS) {
        const int64_t n = count_min(width - at, CLASS_PRODUCTS_ROWS);
        double *z = p->scratch + at * classes;
        class_products_logits(p->rows + at, n, width, p->zeros, u, classes, z);
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < classes; c++)
                w[c * width + at + i] = z[i * classes + c];
    }
}

/* R is P^-1 only to the precision of P, which is enough where a fit starts. */
void preconditioner_undo(const struct preconditioner *p, const double *w, int64_t classes,
                         double *u)
{
    const int width = (int)p->width;
    memcpy(u, w, (size_t)classes * (size_t)width * sizeof *u);
    if (p->inverse)
        cblas_dtrmm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, (int)classes,
                    width, 1, p->factor, width, u, width);
}

void preconditioner_chain(const struct preconditioner *p, const double *gw, int64_t classes,
                          double *gu)
{
    const int64_t width = p->width;
    if (!p->inverse) {
        memcpy(gu, gw, (size_t)(classes * width) * sizeof *gu);
        return;
    }
    for (int64_t c = 0; c < classes; c++)
        for (int64_t i = 0; i < width; i++)
            p->scratch[i * classes + c] = gw[c * width + i];
    memset(gu, 0, (size_t)(classes * width) * sizeof *gu);
#pragma omp parallel for schedule(dynamic)
    for (int64_t at = 0; at < width; at += CLASS_PRODUCTS_ROWS) {
        const int64_t end = count_min(at + CLASS_PRODUCTS_ROWS, width);
        /* Rows from `end` on are zeros there. */
        class_products_gradient(p->rows, end, width, p->zeros, p->scratch, classes, at, end, gu);
    }
}

void preconditioner_free(struct preconditioner *p)
{
    large_pages_free(p->correlation, square(p) * sizeof *p->correlation);
    large_pages_free(p->factor, square(p) * sizeof *p->factor);
    large_pages_free(p->inverse, square(p) * sizeof *p->inverse);
    free(p->rows);
    free(p->zeros);
    free(p->scratch);
    *p = (struct preconditioner){0};
}
