/* class_products: products of many rows of float32 with a few vectors of float64, one for each class.
 *
 * With c_j a number to subtract from column j of x (n,D), so that features need no standardized
 * copy, they compute
 *
 *     logits   Z[i][c] = sum over j of (x_ij - c_j) w[c][j]
 *     gradient G[c][j] = sum over i of (x_ij - c_j) r[i][c]
 *
 * in float64. A value is converted as it is read, which a row of x is once for every 5 classes. The
 * sum for a row does not depend on the rows beside it, nor that for a column on other columns. */
#ifndef CLASS_PRODUCTS_H
#define CLASS_PRODUCTS_H

#include <stdint.h>

enum { CLASS_PRODUCTS_ROWS = 64 }; /* largest n */

/* Writes z [n,classes] for n rows, which begin at rows[0] to rows[n - 1], from w [classes,D]. */
void class_products_logits(const float *const *rows, int64_t n, int64_t width, const double *center,
                           const double *w, int64_t classes, double *z);

/* Adds to columns `first` to end - 1 of g [classes,D] their sums over n rows, from r [n,classes]. */
void class_products_gradient(const float *const *rows, int64_t n, int64_t width,
                             const double *center, const double *r, int64_t classes, int64_t first,
                             int64_t end, double *g);

#endif
