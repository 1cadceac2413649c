/* The longer side of the matrix is taken in blocks. With R from the blocks before, the QR
 * decomposition of R above the next block gives an R that has the singular values of all of them.
 * After the last block, those of R are computed. A matrix with more columns than rows is
 * transposed. */
#include "evaluate/singular_values.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/stop.h"

enum { SHORTEST_BLOCK = 256 };

/* LAPACK, which is part of OpenBLAS; Debian has no header for it. The last argument of dgesdd is
 * the length of `job`, as gfortran passes it. */
extern void dgeqrf_(const int *rows, const int *columns, double *a, const int *stride, double *tau,
                    double *work, const int *room, int *info);
extern void dgesdd_(const char *job, const int *rows, const int *columns, double *a,
                    const int *stride, double *values, double *u, const int *u_stride, double *v,
                    const int *v_stride, double *work, const int *room, int *integers, int *info,
                    size_t job_length);

/* The matrix, and the work space. a is (rows, side) and column-major; its first `side` rows hold R.
 */
struct factorization {
    const float *x;
    int64_t n, d, side, length; /* side is the shorter one of n and d, length the longer one */
    int64_t block, rows;        /* rows is side + block */
    double *mean;               /* of the columns of x (d) */
    double *a, *tau, *work;
    int *integers;
    int room; /* of work */
};

/* Sets mean (d) to the columns' means. The second pass makes the mean of equal values exact. */
static void find_mean(struct factorization *f)
{
    const double n = (double)f->n;
#pragma omp parallel for schedule(static)
    for (int64_t from = 0; from < f->d; from += 16) {
        double sum[16] = {0}, rest[16] = {0};
        const int64_t columns = count_min(f->d - from, 16);
        for (int64_t i = 0; i < f->n; i++)
            for (int64_t k = 0; k < columns; k++)
                sum[k] += (double)f->x[i * f->d + from + k];
        for (int64_t i = 0; i < f->n; i++)
            for (int64_t k = 0; k < columns; k++)
                rest[k] += (double)f->x[i * f->d + from + k] - sum[k] / n;
        for (int64_t k = 0; k < columns; k++)
            f->mean[from + k] = sum[k] / n + rest[k] / n;
    }
}

/* Fills the block below R: `count` items of the longer side from number `from` on, then zeros. */
static void fill(const struct factorization *f, int64_t from, int64_t count)
{
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < f->side; c++) {
        double *column = f->a + c * f->rows + f->side;
        for (int64_t r = 0; r < f->block; r++) {
            const int64_t item = from + r, i = f->n >= f->d ? item : c, k = f->n >= f->d ? c : item;
            column[r] = r < count ? (double)f->x[i * f->d + k] - f->mean[k] : 0;
        }
    }
}

/* Replaces R by that of R and the block, after which only zeros are left below the diagonal. */
static int decompose(struct factorization *f)
{
    const int rows = (int)f->rows, side = (int)f->side;
    int info;
    dgeqrf_(&rows, &side, f->a, &rows, f->tau, f->work, &f->room, &info);
    if (info)
        return fail("LAPACK's dgeqrf refused argument %d", -info);
    for (int64_t c = 0; c < f->side; c++)
        for (int64_t r = c + 1; r < f->rows; r++)
            f->a[c * f->rows + r] = 0;
    return 0;
}

/* Writes the singular values of R. With `room` of -1 it only asks for the room that this needs,
 * which it writes into *work. */
static int find_values(const struct factorization *f, double *work, int room, double *values)
{
    const int side = (int)f->side, stride = (int)f->rows, one = 1;
    double none;
    int info;
    dgesdd_("N", &side, &side, f->a, &stride, values, &none, &one, &none, &one, work, &room,
            f->integers, &info, 1);
    return info ? fail("the singular values do not converge (LAPACK's dgesdd: %d)", info) : 0;
}

/* Allocates the work space for both LAPACK functions. */
static int allocate(struct factorization *f, double *values)
{
    const int rows = (int)f->rows, side = (int)f->side, ask = -1;
    double qr = 0, svd = 0;
    int info;
    f->mean = calloc((size_t)f->d, sizeof *f->mean);
    f->tau = calloc((size_t)f->side, sizeof *f->tau);
    f->integers = calloc((size_t)f->side * 8, sizeof *f->integers);
    f->a = calloc((size_t)(f->rows * f->side), sizeof *f->a);
    if (!f->mean || !f->tau || !f->integers || !f->a)
        return fail("out of memory for the singular values of %lld rows", (long long)f->n);
    dgeqrf_(&rows, &side, f->a, &rows, f->tau, &qr, &ask, &info);
    if (find_values(f, &svd, ask, values))
        return -1;
    f->room = (int)fmax(fmax(qr, svd), 1);
    f->work = calloc((size_t)f->room, sizeof *f->work);
    return f->work ? 0
                   : fail("out of memory for the singular values of %lld rows", (long long)f->n);
}

static int factorize(struct factorization *f, double *values, progress_line *progress)
{
    openblas_set_num_threads(1); /* with several, the bits would depend on their number */
    find_mean(f);
    for (int64_t at = 0; at < f->length; at += f->block) {
        if (progress)
            progress("singular values: %lld of %lld rows", (long long)at, (long long)f->length);
        fill(f, at, count_min(f->length - at, f->block));
        if (stop_check() || decompose(f))
            return -1;
    }
    return find_values(f, f->work, f->room, values);
}

int singular_values(const float *x, int64_t n, int64_t d, double *values, progress_line *progress)
{
    struct factorization f = {
        .x = x, .n = n, .d = d, .side = count_min(n, d), .length = n > d ? n : d};
    if (f.side > SINGULAR_VALUES_MOST)
        return fail("the singular values of %lld rows of %lld features: at most %d of either are "
                    "possible; take fewer rows (augment --limit)",
                    (long long)n, (long long)d, SINGULAR_VALUES_MOST);
    f.block = count_min(f.length, f.side > SHORTEST_BLOCK / 2 ? 2 * f.side : SHORTEST_BLOCK);
    f.rows = f.side + f.block;
    const int result = allocate(&f, values) || factorize(&f, values, progress) ? -1 : 0;
    free(f.mean);
    free(f.tau);
    free(f.integers);
    free(f.a);
    free(f.work);
    return result;
}
