/* finite: whether numbers are numbers. */
#ifndef FINITE_H
#define FINITE_H

#include <stdbool.h>
#include <stddef.h>

/* No NaN and no infinity among v (n). */
bool finite_floats(const float *v, size_t n);

#endif
