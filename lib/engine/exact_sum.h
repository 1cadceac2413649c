/* exact_sum: sums that neither their order nor how they are cut into parts changes by a bit.
 *
 * A tree over grains (grains.h) keeps a sum the same as long as workers hold subtrees of it and add
 * in the same precision. Batch norm's sums are doubles, which no frame carries, so they are made
 * differently: each grain's double is taken apart into digits of 40 bits, at 2^-80, 2^-40, 1 and
 * 2^40, and digits are added as integers. Integers may be added in any order, also by `reduce`.
 *
 * Of a grain's sum the bits below 2^-80 are dropped. One that is not finite, or not below 2^76,
 * makes the whole sum NaN: a fifth integer counts such parts. 2^22 parts may be added. */
#ifndef EXACT_SUM_H
#define EXACT_SUM_H

#include <stdint.h>

enum { EXACT_SUM_DIGITS = 5 };

/* digits (EXACT_SUM_DIGITS, count), the lowest first and the counter last, become the sum of parts
 * (n_parts, count). */
void exact_sum_digits(const double *parts, int64_t n_parts, int64_t count, int64_t *digits);

/* sums (count): what these digits, or the sum of several such, are as numbers. */
void exact_sum_values(const int64_t *digits, int64_t count, double *sums);

#endif
