/* Tests scores of predictions that can be counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "evaluate/bootstrap.h"
#include "evaluate/scores.h"

static void test_predictions(void **state)
{
    (void)state;
    const double score[6] = {0.5, 2, 2, -INFINITY, -1, 0.5};
    const int ranks[6] = {2, 0, 1, SCORES_UNRANKED, 4, 3};
    for (int label = 0; label < 6; label++) {
        struct prediction v = scores_predict(score, 6, label);
        assert_int_equal(v.label, 1);
        assert_int_equal(v.rank, ranks[label]);
    }
}

static void test_scores(void **state)
{
    (void)state;
    /* Class 5 has no rows. */
    const int64_t y[8] = {0, 0, 0, 1, 1, 2, 3, 4};
    const struct prediction v[8] = {{0, 0}, {0, 0}, {2, 4}, {1, 0}, {5, 5}, {2, 0}, {0, 1}, {4, 0}};
    struct scores s;
    assert_int_equal(scores_make(&s, v, y, 8, 6), 0);
    assert_float_equal(s.top1, 5.0 / 8, 1e-15);
    assert_float_equal(s.top5, 7.0 / 8, 1e-15);
    const double per_class[5] = {2.0 / 3, 0.5, 1, 0, 1};
    for (int c = 0; c < 5; c++)
        assert_float_equal(s.per_class[c], per_class[c], 1e-15);
    assert_true(isnan(s.per_class[5]));
    assert_float_equal(s.mean_class, (2.0 / 3 + 0.5 + 1 + 0 + 1) / 5, 1e-15);
    const int64_t confusion[36] = {
        2, 0, 1, 0, 0, 0, /* */
        0, 1, 0, 0, 0, 1, /* */
        0, 0, 1, 0, 0, 0, /* */
        1, 0, 0, 0, 0, 0, /* */
        0, 0, 0, 0, 1, 0, /* */
        0, 0, 0, 0, 0, 0,
    };
    assert_memory_equal(s.confusion, confusion, sizeof confusion);
    scores_free(&s);
}

static void test_few_classes(void **state)
{
    (void)state;
    const int64_t y[2] = {0, 3};
    const struct prediction v[2] = {{3, 3}, {3, 0}};
    struct scores s;
    assert_int_equal(scores_make(&s, v, y, 2, 4), 0);
    assert_float_equal(s.top1, 0.5, 0);
    assert_float_equal(s.top5, 1, 0);
    scores_free(&s);
}

/* A class that cannot be predicted must be in no top 5, however few classes there are. */
static void test_unranked(void **state)
{
    (void)state;
    const int64_t y[4] = {1, 1, 0, 0};
    struct prediction v[4];
    for (int i = 0; i < 4; i++)
        v[i] = scores_predict((double[]){1, i == 1 ? 0 : -INFINITY}, 2, y[i]);
    struct scores s;
    struct intervals sampled;
    assert_int_equal(scores_make(&s, v, y, 4, 2), 0);
    assert_float_equal(s.top1, 0.5, 0);
    assert_float_equal(s.top5, 0.75, 0);
    scores_free(&s);
    assert_int_equal(bootstrap(&sampled, v, y, 1, 2, 10, 0.9, 0), 0); /* only the first row */
    assert_float_equal(sampled.top5.high, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_few_classes),
        cmocka_unit_test(test_unranked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
