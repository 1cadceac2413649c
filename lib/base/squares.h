/* squares: sums of squares of floats. */
#ifndef SQUARES_H
#define SQUARES_H

#include <stddef.h>

/* Returns the sum of the squares of x (n), in float64. The order of the sum depends on n alone. */
double squares_sum(const float *x, size_t n);

#endif
