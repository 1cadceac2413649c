/* finite: checks whether values are finite. */
#ifndef FINITE_H
#define FINITE_H

#include <stdbool.h>
#include <stddef.h>

/* Returns true if none of the n values of v is NaN or infinite. */
bool finite_floats(const float *v, size_t n);

#endif
