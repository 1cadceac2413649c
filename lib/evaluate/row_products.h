/* row_products: products of many rows with many other rows, by the engine's block products.
 *
 * Given rows a_i and b_j of `width` values, it computes C[i][j] = a_i . b_j. The rows are stored for
 * the kernel first, rounded to its values (float32 or bf16). Rows of A are stored one after the
 * other; rows of B in panels of `columns` rows, packed as gemm_kernel.h describes.
 *
 * What rounding costs is known: storing a row tells how far the stored row is from the given one, and
 * row_products_error() bounds the error of a sum of stored values. So a caller can tell from the
 * products which pairs may be the largest, whatever the rows are. */
#ifndef ROW_PRODUCTS_H
#define ROW_PRODUCTS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"

struct row_products {
    const struct gemm_kernel *by;
    int64_t width;      /* values of a row */
    int64_t steps;      /* of the kernel, in a row */
    int64_t columns;    /* rows of B in a panel */
    size_t row_bytes;   /* of a row of A */
    size_t panel_bytes; /* of a panel of B */
};

/* Returns the products of rows of `width` values by this kernel. */
struct row_products row_products_make(const struct gemm_kernel *by, int64_t width);

/* Returns how many rows a buffer of A and a result need for `rows` rows: a whole number of blocks. */
int64_t row_products_rows(const struct row_products *r, int64_t rows);

/* Stores a row of A, or row j of a panel of B. The caller has set the buffers to zero; what lies
 * beside the `width` values stays as it is. Values must be finite and below 1e38. */
void row_products_set_a(const struct row_products *r, void *a, int64_t i, const double *row);
void row_products_set_b(const struct row_products *r, void *panel, int64_t j, const double *row);

/* Returns the distance from a row to what is stored for it, or a little more. */
double row_products_rest(const struct row_products *r, const double *row);

/* Returns the largest error of a product of two stored rows, in units of the product of their
 * lengths. It holds for units that truncate as well as for those that round. */
double row_products_error(const struct row_products *r);

/* Computes c [row_products_rows(rows)][columns], the products of the first rows of A with a panel of
 * B. a, panel and c are aligned to 64 bytes. The calling thread is between by->begin() and
 * by->end(). */
void row_products_panel(const struct row_products *r, const void *a, int64_t rows,
                        const void *panel, float *c);

#endif
