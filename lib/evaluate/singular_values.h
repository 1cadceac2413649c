/* singular_values: the singular values of a matrix of features after its columns are centred. */
#ifndef SINGULAR_VALUES_H
#define SINGULAR_VALUES_H

#include <stdint.h>

#include "evaluate/progress_line.h"

enum { SINGULAR_VALUES_MOST = 16384 }; /* of rows or columns, whichever are fewer */

/* Writes the min(n, d) singular values of x (n, d), from which each column's mean is subtracted, to
 * values, the largest first. Computes in float64 and never forms x'x, so small values are as
 * accurate as large ones, relative to the largest. If all rows are equal, all values are exactly 0.
 * The result does not depend on the number of threads. Takes memory for about 3 min(n, d)^2
 * numbers. `progress` may be NULL. Returns 0, or -1 with a message if min(n, d) is above
 * SINGULAR_VALUES_MOST, if memory is out, if LAPACK does not converge, or if a signal asks the
 * program to stop. */
int singular_values(const float *x, int64_t n, int64_t d, double *values, progress_line *progress);

#endif
