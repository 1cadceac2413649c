/* matrix: products of matrices of floats by block products (engine/gemm_kernel.h), tile by tile.
 *
 * Matrices are kept in panels. A panel holds `width` columns, for all rows, and one panel follows
 * the other. So a matrix can serve on either side of a product: a row of a panel as a row of A, a
 * whole panel as a B. Where the kernel's columns are no multiple of 16, which a row of A needs, a
 * panel holds several blocks side by side, and each B is copied out of it.
 *
 * An element of a product is a sum over chunks of the depth, and inside a chunk the kernel's sum.
 * Neither depends on the tile or on the number of threads, by a single bit. */
#ifndef MATRIX_H
#define MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"

/* How matrices are laid out for a kernel. */
struct matrix_layout {
    const struct gemm_kernel *product;
    int64_t width; /* columns of a panel */
    int64_t chunk; /* the depth that a kernel sums at a time, a multiple of width */
};

/* A matrix (rows, columns). A panel has `height` rows: those of the matrix, and some that only a
 * kernel reads. */
struct matrix {
    float *values; /* aligned to 64 bytes */
    int64_t rows, columns, height;
};

/* Part of a product, and its place in it. Element (r, c) of the tile is at
 * values[(c / width * height + r) * width + c % width]. */
struct matrix_tile {
    float *values;
    int64_t number; /* of matrix_tiles() */
    int64_t row, column, rows, columns, height;
};

/* Sets *l for a kernel, or the fastest of this machine if it is NULL. Returns -1 with a message if
 * the kernel does not multiply floats or breaks its contract. */
int matrix_layout_choose(struct matrix_layout *l, const struct gemm_kernel *product);

/* Returns the floats of a matrix's memory; SIZE_MAX if there are too many. */
size_t matrix_floats(const struct matrix_layout *l, int64_t rows, int64_t columns);

/* Returns a matrix whose values are at `values`, in memory for matrix_floats(). Sets what a kernel
 * reads beside them to 0, and not the values. */
struct matrix matrix_make(const struct matrix_layout *l, int64_t rows, int64_t columns,
                          float *values);

/* Returns the columns from `first` on, a multiple of l->width, `count` of them. The caller must not
 * use them as an A unless they are all to the last one. */
struct matrix matrix_columns(const struct matrix_layout *l, const struct matrix *m, int64_t first,
                             int64_t count);

/* Returns the place of an element. Those to its right follow, to the end of its panel. */
static inline float *matrix_place(const struct matrix_layout *l, const struct matrix *m,
                                  int64_t row, int64_t column)
{
    return m->values + (column / l->width * m->height + row) * l->width + column % l->width;
}

/* Returns the number of tiles of a product (rows, columns), and the floats of work space that each
 * thread needs. Both depend on the shape alone. */
int64_t matrix_tiles(const struct matrix_layout *l, int64_t rows, int64_t columns);
size_t matrix_work_floats(const struct matrix_layout *l);

/* Takes a tile of a product; it may overwrite the tile. Each thread has tiles of its own. */
typedef void matrix_visitor(void *context, const struct matrix_tile *tile);

/* Computes the product of a and b, and hands each of its tiles to `visit`. With `upper`, elements
 * below the diagonal hold anything, and tiles without an element on or above it are left out. work
 * (threads, matrix_work_floats()) is aligned to 64 bytes. */
void matrix_multiply(const struct matrix_layout *l, const struct matrix *a, const struct matrix *b,
                     bool upper, matrix_visitor *visit, void *context, float *work, int threads);

/* Copies a tile to its place in m. */
void matrix_store(const struct matrix_layout *l, const struct matrix_tile *tile,
                  const struct matrix *m);

/* Copies `rows` rows of floats, `pitch` floats apart, to the columns of m from `column` on and its
 * rows from `row` on, `columns` of them. */
void matrix_store_transposed(const struct matrix_layout *l, const float *from, int64_t pitch,
                             int64_t rows, int64_t columns, const struct matrix *m, int64_t row,
                             int64_t column);

#endif
