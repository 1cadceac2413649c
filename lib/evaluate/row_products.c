#include "evaluate/row_products.h"

#include <math.h>

#include "base/count.h"
#include "base/half.h"
#include "base/multiversion.h"
#include "engine/grains.h"

/* A row is summed in chunks. That of a panel, 16 KiB, stays in a first-level cache for all rows of
 * A. */
enum { CHUNK = 8, LARGEST_BLOCK = GEMM_KERNEL_ROWS * GEMM_KERNEL_COLUMNS };

struct row_products row_products_make(const struct gemm_kernel *by, int64_t width)
{
    struct row_products r = {.by = by, .width = width, .columns = by->columns};
    r.steps = count_divide_up(width, by->depth);
    r.row_bytes = (size_t)r.steps * GEMM_KERNEL_BYTES;
    r.panel_bytes = (size_t)r.steps * gemm_kernel_step_bytes(by);
    return r;
}

int64_t row_products_rows(const struct row_products *r, int64_t rows)
{
    return count_round_up(rows, r->by->rows);
}

MULTIVERSION
void row_products_set_a(const struct row_products *r, void *a, int64_t i, const double *row)
{
    char *to = (char *)a + (size_t)i * r->row_bytes;
    if (r->by->values == GEMM_BF16)
        for (int64_t k = 0; k < r->width; k++)
            ((uint16_t *)to)[k] = bf16_narrow((float)row[k]);
    else
        for (int64_t k = 0; k < r->width; k++)
            ((float *)to)[k] = (float)row[k];
}

/* A pair of bf16, or a float, is 4 bytes; those of neighbouring rows lie side by side. */
void row_products_set_b(const struct row_products *r, void *panel, int64_t j, const double *row)
{
    const int64_t columns = r->columns;
    if (r->by->values == GEMM_BF16) {
        uint16_t *to = (uint16_t *)panel + 2 * j;
        for (int64_t k = 0; k < r->width; k++)
            to[k / 2 * 2 * columns + k % 2] = bf16_narrow((float)row[k]);
    } else {
        float *to = (float *)panel + j;
        for (int64_t k = 0; k < r->width; k++)
            to[k * columns] = (float)row[k];
    }
}

/* Sums of squares have eight parts, so that vector units can be used. */
MULTIVERSION
double row_products_rest(const struct row_products *r, const double *row)
{
    const int bf16 = r->by->values == GEMM_BF16;
    double sum[8] = {0}, all = 0;
    int64_t k = 0;
    for (; k + 8 <= r->width; k += 8)
        for (int l = 0; l < 8; l++) {
            const float v = (float)row[k + l], half = bf16_widen(bf16_narrow(v));
            const double rest = row[k + l] - (double)(bf16 ? half : v);
            sum[l] += rest * rest;
        }
    for (; k < r->width; k++) {
        const float v = (float)row[k], half = bf16_widen(bf16_narrow(v));
        const double rest = row[k] - (double)(bf16 ? half : v);
        all += rest * rest;
    }
    for (int l = 0; l < 8; l++)
        all += sum[l];
    return sqrt(all) * (1 + 1e-9);
}

/* Each product passes one rounding of its own, one for each later term of its chunk, and one for each
 * later chunk. Truncation has an error of 2^-23. */
double row_products_error(const struct row_products *r)
{
    const int64_t chunk = count_min(r->steps, CHUNK) * r->by->depth;
    return (double)(chunk + 1 + count_divide_up(r->steps, CHUNK)) * 0x1p-23;
}

void row_products_panel(const struct row_products *r, const void *a, int64_t rows,
                        const void *panel, float *c)
{
    const struct gemm_kernel *by = r->by;
    const int64_t size = by->rows * by->columns;
    float block[LARGEST_BLOCK] __attribute__((aligned(64)));
    for (int64_t first = 0; first < r->steps; first += CHUNK) {
        const int64_t n = count_min(r->steps - first, CHUNK);
        struct gemm_step steps[CHUNK];
        for (int64_t s = 0; s < n; s++) {
            steps[s].a = (first + s) * GEMM_KERNEL_BYTES;
            steps[s].b = (first + s) * (ptrdiff_t)gemm_kernel_step_bytes(by);
        }
        const char *x = a;
        float *to = c;
        for (int64_t i = 0; i < rows; i += by->rows, to += size) {
            by->block(x, r->row_bytes, panel, steps, n, first ? block : to);
            if (first)
                grains_add_floats(to, block, size);
            x += (size_t)by->rows * r->row_bytes;
        }
    }
}
