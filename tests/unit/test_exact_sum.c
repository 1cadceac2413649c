/* Tests that exact sums have the same bits for every division and order, and are close to the true
 * sum. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/exact_sum.h"

#include <cmocka.h>

enum { PARTS = 8, COUNT = 37, DIGITS = EXACT_SUM_DIGITS * COUNT };

/* Returns numbers of both signs over 40 orders of magnitude; numbers in the same column have
 * similar sizes. */
static double number(int p, int i)
{
    const double fraction = (double)((p * 7919 + i * 104729) % 100003) / 100003 - 0.45;
    return ldexp(fraction + 1e-9, i * 3 - 55);
}

static void fill(double *parts, int first, int n)
{
    for (int p = 0; p < n; p++)
        for (int i = 0; i < COUNT; i++)
            parts[p * COUNT + i] = number(first + p, i);
}

static void test_cuts_and_orders(void **state)
{
    (void)state;
    double parts[PARTS * COUNT];
    int64_t whole[DIGITS];
    fill(parts, 0, PARTS);
    exact_sum_digits(parts, PARTS, COUNT, whole);
    static const int cuts[][5] = {{0, 8}, {0, 4, 8}, {0, 2, 4, 6, 8}, {0, 1, 5, 8}, {0, 7, 8}};
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        int64_t sum[DIGITS] = {0}, share[DIGITS];
        for (int w = 3; w >= 0; w--) { /* the last worker first */
            if (cuts[c][w + 1] <= cuts[c][w])
                continue;
            fill(parts, cuts[c][w], cuts[c][w + 1] - cuts[c][w]);
            exact_sum_digits(parts, cuts[c][w + 1] - cuts[c][w], COUNT, share);
            for (int i = 0; i < DIGITS; i++)
                sum[i] += share[i];
        }
        assert_memory_equal(sum, whole, sizeof whole);
    }
}

static void test_near_the_true_sum(void **state)
{
    (void)state;
    double parts[PARTS * COUNT], sums[COUNT];
    int64_t digits[DIGITS];
    int rounded = 0;
    fill(parts, 0, PARTS);
    exact_sum_digits(parts, PARTS, COUNT, digits);
    exact_sum_values(digits, COUNT, sums);
    for (int i = 0; i < COUNT; i++) {
        long double sum = 0, size = 0;
        for (int p = 0; p < PARTS; p++) {
            sum += (long double)number(p, i);
            size += fabsl((long double)number(p, i));
        }
        assert_true(fabsl((long double)sums[i] - sum) <= size * 0x1p-52L + PARTS * 0x1p-80L);
        rounded += (long double)sums[i] != sum;
    }
    assert_true(rounded < COUNT); /* otherwise the bound would test nothing */
}

static void test_single_numbers_come_back(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        const double v = (float)number(1, i);
        double back;
        int64_t digits[EXACT_SUM_DIGITS];
        exact_sum_digits(&v, 1, 1, digits);
        exact_sum_values(digits, 1, &back);
        assert_true(back == v);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    const double bad[] = {NAN, INFINITY, -INFINITY, 1e24};
    for (int i = 0; i < 4; i++) {
        const double parts[] = {1, bad[i], -2};
        double sum;
        int64_t digits[EXACT_SUM_DIGITS];
        exact_sum_digits(parts, 3, 1, digits);
        for (int d = 0; d < EXACT_SUM_DIGITS; d++)
            digits[d] += 4095 * digits[d]; /* as if all of 4096 workers had it */
        exact_sum_values(digits, 1, &sum);
        assert_true(isnan(sum));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts_and_orders),
        cmocka_unit_test(test_near_the_true_sum),
        cmocka_unit_test(test_single_numbers_come_back),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
