/* Tests intervals of scores whose distribution is known: binomial proportions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/random.h"
#include "evaluate/bootstrap.h"

enum { MOST = 5000 };
static struct prediction predictions[MOST];
static int64_t labels[MOST];

static void assert_near(double a, double b, double most)
{
    if (!(fabs(a - b) <= most))
        fail_msg("%.6f is not within %g of %.6f", a, most, b);
}

/* Fills n rows, whose labels cycle through the classes: the first `right` predictions are right,
 * and for the next `near` the true class is in the top 5. */
static void fill(int64_t n, int classes, int64_t right, int64_t near)
{
    for (int64_t i = 0; i < n; i++) {
        labels[i] = i % classes;
        predictions[i] = (struct prediction){0, i < right ? 0 : i < right + near ? 4 : 5};
    }
}

/* The score of a sample is binomial, so its quantiles are nearly p +- 1.96 sqrt(p (1 - p) / n). */
static void test_quantiles(void **state)
{
    (void)state;
    struct intervals i;
    fill(2000, 10, 1500, 300);
    assert_int_equal(bootstrap(&i, predictions, labels, 2000, 10, 4000, 0.95, 1), 0);
    const double off = 1.959964 * sqrt(0.75 * 0.25 / 2000),
                 off5 = 1.959964 * sqrt(0.9 * 0.1 / 2000);
    /* The quantile has an error of about 1.96 x 1.4 / sqrt(4000) standard deviations itself. */
    assert_near(i.top1.low, 0.75 - off, 0.08 * off);
    assert_near(i.top1.high, 0.75 + off, 0.08 * off);
    assert_near(i.top5.low, 0.9 - off5, 0.08 * off5);
    assert_near(i.top5.high, 0.9 + off5, 0.08 * off5);
    assert_int_equal(bootstrap(&i, predictions, labels, 2000, 10, 4000, 0.5, 1), 0);
    const double half = 0.67449 * sqrt(0.75 * 0.25 / 2000);
    assert_near(i.top1.low, 0.75 - half, 0.1 * half);
    assert_near(i.top1.high, 0.75 + half, 0.1 * half);
}

/* Class 0 has 900 rows, half of them right; class 1 has 100 rows, all right; classes 2 and 3 have
 * no rows. The mean over classes is (0.5 + 1) / 2, and only the share of class 0 varies. */
static void test_mean_over_classes(void **state)
{
    (void)state;
    struct intervals i;
    for (int r = 0; r < 1000; r++) {
        labels[r] = r < 900 ? 0 : 1;
        predictions[r] = (struct prediction){0, r < 450 || r >= 900 ? 0 : 1};
    }
    assert_int_equal(bootstrap(&i, predictions, labels, 1000, 4, 4000, 0.95, 3), 0);
    const double off = 1.959964 * sqrt(0.25 / 900) / 2;
    assert_near(i.mean_class.low, 0.75 - off, 0.08 * off);
    assert_near(i.mean_class.high, 0.75 + off, 0.08 * off);
    assert_near(i.top5.low, 1, 0); /* fewer than five classes */
    assert_near(i.top5.high, 1, 0);
}

/* If the test sets are random, the 90 % interval should contain the true accuracy for nine of ten
 * sets. Over 400 trials this fraction has a standard deviation of 0.015, and with 150 rows the
 * percentile interval covers a little less than its nominal confidence. */
static void test_coverage(void **state)
{
    (void)state;
    enum { TRIALS = 400, ROWS = 150 };
    const double truth = 0.7;
    int held = 0;
    omp_set_num_threads(1); /* because the calls are many and small */
    struct random r;
    random_start(&r, 9, RANDOM_SPLIT, 0, 0, 0);
    for (int t = 0; t < TRIALS; t++) {
        struct intervals i;
        for (int row = 0; row < ROWS; row++) {
            labels[row] = row % 10;
            predictions[row] = (struct prediction){0, random_chance(&r, truth) ? 0 : 7};
        }
        assert_int_equal(bootstrap(&i, predictions, labels, ROWS, 10, 300, 0.9, (uint64_t)t), 0);
        held += i.top1.low <= truth && truth <= i.top1.high;
    }
    assert_in_range(held, 340, 372);
}

static void test_seeds_and_threads(void **state)
{
    (void)state;
    struct intervals one, three, other;
    fill(1000, 10, 700, 100);
    omp_set_num_threads(1);
    assert_int_equal(bootstrap(&one, predictions, labels, 1000, 10, 333, 0.95, 5), 0);
    omp_set_num_threads(3);
    assert_int_equal(bootstrap(&three, predictions, labels, 1000, 10, 333, 0.95, 5), 0);
    assert_int_equal(bootstrap(&other, predictions, labels, 1000, 10, 333, 0.95, 6), 0);
    assert_memory_equal(&one, &three, sizeof one);
    assert_memory_not_equal(&one.mean_class, &other.mean_class, sizeof one.mean_class);
}

static void test_extremes(void **state)
{
    (void)state;
    struct intervals i;
    fill(1, 1, 1, 0);
    assert_int_equal(bootstrap(&i, predictions, labels, 1, 1, 1, 0.95, 0), 0);
    assert_near(i.top1.low, 1, 0);
    assert_near(i.mean_class.high, 1, 0);
    fill(MOST, 2, 0, 0);
    assert_int_equal(bootstrap(&i, predictions, labels, MOST, 2, 50, 0.95, 0), 0);
    assert_near(i.top1.high, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles), cmocka_unit_test(test_mean_over_classes),
        cmocka_unit_test(test_coverage),  cmocka_unit_test(test_seeds_and_threads),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
