/* Tests random against the vectors published with Random123, and the distributions of its draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/random.h"

/* Chi-square quantiles at 1 - 1e-5. A correct generator fails one such test for one of 100,000
 * seeds, and these seeds are fixed. */
static const double CHI2_9 = 40.1, CHI2_99 = 171.0, CHI2_23 = 64.4;

static void known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint32_t out[4];
        random_philox(vectors[i].counter, vectors[i].key, out);
        assert_memory_equal(out, vectors[i].expected, sizeof out);
    }
    struct random r;
    random_start(&r, 0, RANDOM_SHUFFLE, 0, 0, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(random_u32(&r), vectors[0].expected[i]);
}

/* Each part of a stream's name must matter, and a stream must not depend on other draws. */
static void names(void **state)
{
    (void)state;
    struct random streams[7], again;
    random_start(&streams[0], 1, RANDOM_VIEW, 2, 3, 1);
    random_start(&streams[1], 2, RANDOM_VIEW, 2, 3, 1);
    random_start(&streams[2], 1, RANDOM_PIXELS, 2, 3, 1);
    random_start(&streams[3], 1, RANDOM_VIEW, 3, 3, 1);
    random_start(&streams[4], 1, RANDOM_VIEW, 2, 4, 1);
    random_start(&streams[5], 1, RANDOM_VIEW, 2, 3, 0);
    random_start(&streams[6], 1 + (1ULL << 32), RANDOM_VIEW, 2, 3, 1);
    uint32_t words[7][64];
    for (int i = 0; i < 64; i++)
        for (int s = 0; s < 7; s++)
            words[s][i] = random_u32(&streams[s]);
    for (int s = 0; s < 7; s++)
        for (int t = 0; t < s; t++) {
            int same = 0;
            for (int i = 0; i < 64; i++)
                same += words[s][i] == words[t][i];
            assert_true(same < 2);
        }
    random_start(&again, 1, RANDOM_VIEW, 2, 3, 1);
    for (int i = 0; i < 64; i++)
        assert_int_equal(random_u32(&again), words[0][i]);
}

static double chi_square(const int *counts, int cells, double expected)
{
    double sum = 0;
    for (int i = 0; i < cells; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    return sum;
}

static void uniforms(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    struct random r;
    random_start(&r, 5, RANDOM_VIEW, 0, 0, 0);
    int doubles[100] = {0}, floats[100] = {0}, tens[10] = {0}, trues = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double d = random_double(&r);
        const float f = random_float(&r);
        assert_true(d >= 0 && d < 1 && f >= 0 && f < 1);
        doubles[(int)(d * 100)]++;
        floats[(int)(f * 100)]++;
        tens[random_below(&r, 10)]++;
        trues += random_chance(&r, 0.3);
        const double u = random_uniform(&r, -2, 5);
        assert_true(u >= -2 && u < 5);
    }
    assert_true(chi_square(doubles, 100, DRAWS / 100) < CHI2_99);
    assert_true(chi_square(floats, 100, DRAWS / 100) < CHI2_99);
    assert_true(chi_square(tens, 10, DRAWS / 10) < CHI2_9);
    assert_true(fabs(trues - 0.3 * DRAWS) < 4.5 * sqrt(0.3 * 0.7 * DRAWS));
    assert_int_equal(random_below(&r, 1), 0);
    /* For n of three quarters of 2^64, a plain remainder would be in the lowest third of 0..n-1
     * half of the time. */
    const uint64_t n = 3ULL << 62;
    int low = 0;
    for (int i = 0; i < DRAWS; i++)
        low += random_below(&r, n) < n / 3;
    assert_true(fabs(low - DRAWS / 3.0) < 4.5 * sqrt(DRAWS * 2.0 / 9));
}

/* Tests the moments, and the fraction within each multiple of the standard deviation, of the normal
 * distribution and of the one truncated at two. */
static void normals(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    struct random r;
    random_start(&r, 6, RANDOM_INIT, 0, 1, 0);
    double sum = 0, squares = 0, cut_sum = 0, cut_squares = 0, cut_max = 0;
    int inside = 0, cut_inside = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double x = random_normal(&r), y = random_truncated_normal(&r);
        sum += x;
        squares += x * x;
        inside += fabs(x) < 1;
        cut_sum += y;
        cut_squares += y * y;
        cut_inside += fabs(y) < 1;
        cut_max = fmax(cut_max, fabs(y));
    }
    const double root = sqrt(DRAWS);
    assert_true(fabs(sum / DRAWS) < 4.5 / root);
    assert_true(fabs(squares / DRAWS - 1) < 4.5 * M_SQRT2 / root);
    const double one = erf(1 / M_SQRT2), two = erf(2 / M_SQRT2);
    assert_true(fabs((double)inside / DRAWS - one) < 4.5 * 0.5 / root);
    assert_true(cut_max <= 2 && cut_max > 1.99);
    assert_true(fabs(cut_sum / DRAWS) < 4.5 / root);
    assert_true(fabs(sqrt(cut_squares / DRAWS) - 0.87962566) < 4.5 / root);
    assert_true(fabs((double)cut_inside / DRAWS - one / two) < 4.5 * 0.5 / root);
}

static void permutations(void **state)
{
    (void)state;
    struct random r;
    random_start(&r, 7, RANDOM_SHUFFLE, 0, 0, 0);
    int counts[24] = {0};
    for (int i = 0; i < 24000; i++) {
        int64_t p[4];
        random_permutation(&r, p, 4);
        int seen = 0, rank = 0;
        for (int a = 0; a < 4; a++) {
            seen |= 1 << p[a];
            int smaller = 0;
            for (int b = a + 1; b < 4; b++)
                smaller += p[b] < p[a];
            rank = rank * (4 - a) + smaller;
        }
        assert_int_equal(seen, 15);
        assert_in_range(rank, 0, 23);
        counts[rank]++;
    }
    assert_true(chi_square(counts, 24, 1000) < CHI2_23);
    int64_t one = -1;
    random_permutation(&r, &one, 1);
    assert_int_equal(one, 0);
    random_permutation(&r, &one, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers), cmocka_unit_test(names),        cmocka_unit_test(uniforms),
        cmocka_unit_test(normals),       cmocka_unit_test(permutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
