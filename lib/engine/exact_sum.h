/* exact_sum: sums that have the same bits in any order and for any division into parts.
 *
 * A tree over grains (grains.h) gives the same sum as long as workers hold subtrees of it and add
 * in the same precision. The sums of batch normalization are doubles, which no frame can carry, so
 * they are added differently. Each grain's double is split into digits of 40 bits, at 2^-80, 2^-40,
 * 1 and 2^40, and the digits are added as integers. Integers may be added in any order, also by
 * `reduce`.
 *
 * The bits of a grain's sum below 2^-80 are dropped. A sum that is not finite, or not below 2^76,
 * makes the whole sum NaN: a fifth integer counts such parts. Up to 2^22 parts may be added. */
#ifndef EXACT_SUM_H
#define EXACT_SUM_H

#include <stdint.h>

enum { EXACT_SUM_DIGITS = 5 };

/* Sets digits (EXACT_SUM_DIGITS, count), the lowest first and the counter last, to the sum of parts
 * (n_parts, count). */
void exact_sum_digits(const double *parts, int64_t n_parts, int64_t count, int64_t *digits);

/* Sets sums (count) to the numbers that these digits, or sums of several such digits, represent. */
void exact_sum_values(const int64_t *digits, int64_t count, double *sums);

#endif
