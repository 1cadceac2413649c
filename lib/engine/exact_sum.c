#include "engine/exact_sum.h"

#include <math.h>
#include <string.h>

#include "base/multiversion.h"

enum { NUMBERS = EXACT_SUM_DIGITS - 1 };

static const double units[NUMBERS] = {0x1p-80, 0x1p-40, 1, 0x1p40}, limit = 0x1p76;

/* Adds the digits of parts (count). Each digit is a truncated quotient, so all digits of a number
 * have its sign, and the remainder after each of them is exact. */
MULTIVERSION static void add(const double *restrict parts, int64_t count, int64_t *restrict digits)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t sound = fabs(parts[i]) < limit;
        double rest = sound ? parts[i] : 0;
        for (int d = NUMBERS - 1; d >= 0; d--) {
            const int64_t digit = (int64_t)(rest / units[d]);
            rest -= (double)digit * units[d];
            digits[d * count + i] += digit;
        }
        digits[NUMBERS * count + i] += 1 - sound;
    }
}

void exact_sum_digits(const double *parts, int64_t n_parts, int64_t count, int64_t *digits)
{
    memset(digits, 0, (size_t)(EXACT_SUM_DIGITS * count) * sizeof *digits);
    for (int64_t p = 0; p < n_parts; p++)
        add(parts + p * count, count, digits);
}

void exact_sum_values(const int64_t *digits, int64_t count, double *sums)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int d = 0; d < NUMBERS; d++)
            sum += (double)digits[d * count + i] * units[d];
        sums[i] = digits[NUMBERS * count + i] ? NAN : sum;
    }
}
