/* Tests that the tree over grains has the right shape, and that a worker's subtree is a part of
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grains.h"

#include <cmocka.h>

enum { COUNT = 1300 };

static float value(int64_t grain, int64_t i)
{
    /* The values differ greatly in size, so that another order gives another sum. */
    return (float)((grain * 7919 + i * 104729) % 1009) * (grain % 3 ? 1e-3F : 1e4F) + 0.1F;
}

static float *parts(int64_t first, int64_t grains)
{
    float *v = malloc((size_t)(grains * COUNT) * sizeof *v);
    for (int64_t g = 0; g < grains; g++)
        for (int64_t i = 0; i < COUNT; i++)
            v[g * COUNT + i] = value(first + g, i);
    return v;
}

static void test_tree_of_eight(void **state)
{
    (void)state;
    float *v = parts(0, 8);
    grains_sum_floats(v, 8, COUNT, 2);
    int other_order = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        const float a = value(0, i) + value(1, i), b = value(2, i) + value(3, i);
        const float c = value(4, i) + value(5, i), d = value(6, i) + value(7, i);
        const float left = a + b, right = c + d, sum = left + right;
        assert_memory_equal(&v[i], &sum, sizeof sum);
        float one_by_one = 0;
        for (int64_t g = 0; g < 8; g++)
            one_by_one += value(g, i);
        other_order += one_by_one != sum;
    }
    assert_true(other_order > 0); /* otherwise the comparison would show nothing */
    free(v);
}

static void test_subtrees_are_parts_of_the_tree(void **state)
{
    (void)state;
    float *all = parts(0, 8);
    grains_sum_floats(all, 8, COUNT, 3);
    for (int64_t workers = 2; workers <= 8; workers *= 2) {
        float *sums = malloc((size_t)(workers * COUNT) * sizeof *sums);
        for (int64_t w = 0; w < workers; w++) {
            float *mine = parts(w * 8 / workers, 8 / workers);
            grains_sum_floats(mine, 8 / workers, COUNT, 1);
            memcpy(sums + w * COUNT, mine, COUNT * sizeof *mine);
            free(mine);
        }
        grains_sum_floats(sums, workers, COUNT, 2);
        assert_memory_equal(sums, all, COUNT * sizeof *sums);
        free(sums);
    }
    free(all);
}

static void test_odd_numbers(void **state)
{
    (void)state;
    float v[5 * 3];
    for (int i = 0; i < 15; i++)
        v[i] = (float)i;
    grains_sum_floats(v, 5, 3, 2);
    for (int i = 0; i < 3; i++)
        assert_true(v[i] == (float)(5 * i + 3 * (1 + 2 + 3 + 4)));
}

static void test_parts_one_after_another(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 9; n++) {
        float *all = parts(0, n), *levels = malloc(4 * (COUNT + 3) * sizeof *levels);
        grains_sum_floats(all, n, COUNT, 1);
        for (int64_t i = 0; i < n; i++) {
            float *part = parts(i, 1);
            grains_carry_floats(part, COUNT, levels, COUNT + 3, i, n, 2);
            if (i == n - 1)
                assert_memory_equal(part, all, COUNT * sizeof *part);
            free(part);
        }
        free(levels);
        free(all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_of_eight),
        cmocka_unit_test(test_subtrees_are_parts_of_the_tree),
        cmocka_unit_test(test_odd_numbers),
        cmocka_unit_test(test_parts_one_after_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
