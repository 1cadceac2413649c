/* Operations on series: their lists, what is drawn and how often, and what becomes of known series.
 * Views of random series are redone by numpy in tests/programs/series.sh. */
/* Before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "data/waves.h"
#include "views/series.h"

enum { DRAWS = 6000, STEPS = 50 };

static struct policy parse(const char *ops)
{
    struct policy p;
    if (policy_parse_from(&series_ops, &p, ops))
        fail_msg("%s: %s", ops, fail_message());
    return p;
}

static struct view draw(const struct policy *p, int length, int size, uint32_t number)
{
    struct view view;
    struct random r;
    random_start(&r, 3, RANDOM_VIEW, 0, number, 0);
    series_draw(&view, p, length, size, &r);
    return view;
}

static const struct applied *find(const struct view *view, enum series_op kind)
{
    for (int i = 0; i < view->n_ops; i++)
        if (view->ops[i].kind == (int)kind)
            return &view->ops[i];
    return NULL;
}

static void test_lists(void **state)
{
    (void)state;
    struct policy p = parse("crop:0.2-0.6:0.5,permutation:1:3-5,trend");
    assert_int_equal(p.n_ops, 3);
    assert_true(p.ops[0].kind == SERIES_CROP && p.ops[0].low == 0.2 && p.ops[0].high == 0.6);
    assert_true(p.ops[0].p == 0.5 && p.ops[1].low == 3 && p.ops[1].high == 5);
    assert_true(p.ops[2].kind == SERIES_TREND && p.ops[2].p == 0.8 && p.ops[2].strength == 2);
    p = parse("jitter:1"); /* begins with the whole series */
    assert_true(p.n_ops == 2 && p.ops[0].kind == SERIES_CROP && p.ops[0].p == 0);
    p = parse("simclr-series,mask");
    assert_true(p.n_ops == 5 && p.ops[4].kind == SERIES_MASK);
    assert_false(policy_is_evaluation(&p));
    p = parse("eval");
    assert_true(policy_is_evaluation(&p));
    assert_null(policy_ops_from(&series_ops, "simclr"));
    assert_null(policy_ops("simclr-series"));

    static const char *const wrong[][2] = {
        {"blur", "unknown operation 'blur' (there are crop, center, jitter, scaling, trend, mask, "
                 "permutation)"},
        {"simclr", "unknown operation 'simclr' (there are crop, center, jitter, scaling, trend, "
                   "mask, permutation)"},
        {"permutation:1:1.5-3", "permutation: 1.5-3: not whole numbers"},
        {"permutation:1:0-3", "permutation: 0 is not between 1 and 16"},
        {"mask:1:0.5-0.1", "mask: 0.5-0.1 runs backward"},
        {"jitter,crop", "crop has to come first"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(policy_parse_from(&series_ops, &p, wrong[i][0]), -1);
        assert_string_equal(fail_message(), wrong[i][1]);
    }
}

/* A share of the draws, within four deviations. */
static void assert_share(int count, int of, double p)
{
    const double deviation = sqrt(p * (1 - p) / of);
    if (!(fabs((double)count / of - p) <= 4 * deviation))
        fail_msg("%d of %d is not %g", count, of, p);
}

static void test_draws(void **state)
{
    (void)state;
    const struct policy p = parse("crop:0.2-0.6:0.7,scaling:0.4:0.5-2,trend:0.6:3,"
                                  "jitter:0.3:0.1-0.2,mask:0.5:0.1-0.4,permutation:0.8:2-4");
    int whole = 0, times[SERIES_OP_COUNT] = {0}, at_start = 0, segments[5] = {0}, up = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw(&p, 100, STEPS, i);
        for (int k = 0; k < view.n_ops; k++)
            times[view.ops[k].kind]++;
        const struct box crop = view.ops[0].box;
        assert_true(crop.x >= 0 && crop.x + crop.w <= 100);
        assert_true(crop.w == 100 || (crop.w >= 20 && crop.w <= 60));
        whole += crop.w == 100;
        at_start += crop.w < 100 && 2 * crop.x < 100 - crop.w;
        const struct applied *a;
        if ((a = find(&view, SERIES_SCALING)))
            assert_true(a->factor >= 0.5f && a->factor <= 2);
        if ((a = find(&view, SERIES_TREND))) {
            assert_true(fabsf(a->offset) <= 3 && fabsf(a->slope) <= 3);
            up += a->slope > 0;
        }
        if ((a = find(&view, SERIES_JITTER)))
            assert_true(a->sigma >= 0.1f && a->sigma <= 0.2f && a->counter[0] == 3U << 28);
        if ((a = find(&view, SERIES_MASK)))
            assert_true(a->box.x >= 0 && a->box.w >= 5 && a->box.w <= 20 &&
                        a->box.x + a->box.w <= STEPS);
        if ((a = find(&view, SERIES_PERMUTATION)))
            segments[a->n_segments]++;
    }
    assert_int_equal(times[SERIES_CROP], DRAWS);
    assert_share(whole, DRAWS, 0.3);
    assert_share(at_start, DRAWS - whole, 0.5 - 1 / 120.0); /* ties count as the other half */
    assert_share(times[SERIES_SCALING], DRAWS, 0.4);
    assert_share(times[SERIES_TREND], DRAWS, 0.6);
    assert_share(up, times[SERIES_TREND], 0.5);
    assert_share(times[SERIES_JITTER], DRAWS, 0.3);
    assert_share(times[SERIES_MASK], DRAWS, 0.5);
    assert_share(times[SERIES_PERMUTATION], DRAWS, 0.8);
    for (int n = 2; n <= 4; n++)
        assert_share(segments[n], times[SERIES_PERMUTATION], 1 / 3.0);
}

/* Of 5 steps, 3 segments have 6 sets of cuts and 6 orders. */
static void test_permutations_are_as_likely(void **state)
{
    (void)state;
    const struct policy p = parse("permutation:1:3");
    int cuts[5][5] = {{0}}, orders[3][3] = {{0}};
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw(&p, 5, 5, i);
        const struct applied *a = &view.ops[1];
        assert_int_equal(a->n_segments, 3);
        assert_true(a->cuts[0] == 0 && a->cuts[1] >= 1 && a->cuts[2] <= 4 && a->cuts[3] == 5);
        cuts[a->cuts[1]][a->cuts[2]]++;
        orders[a->order_of_segments[0]][a->order_of_segments[1]]++;
    }
    for (int i = 1; i <= 4; i++)
        for (int k = i + 1; k <= 4; k++)
            assert_share(cuts[i][k], DRAWS, 1 / 6.0);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (i != k)
                assert_share(orders[i][k], DRAWS, 1 / 6.0);
    const struct policy more = parse("permutation:1:16"); /* than there are steps */
    const struct view view = draw(&more, 5, 5, 0);
    assert_int_equal(view.ops[1].n_segments, 5);
}

static void apply(const struct view *view, const float *x, int channels, int size, float *out)
{
    struct view_memory memory = {0};
    assert_int_equal(series_apply(view, x, channels, size, &memory, out), 0);
    view_memory_free(&memory);
}

static void test_known_series(void **state)
{
    (void)state;
    float x[STEPS][2], out[4 * STEPS][2];
    for (int i = 0; i < STEPS; i++) {
        x[i][0] = sinf((float)i);
        x[i][1] = (float)i;
    }
    const struct policy whole = parse("center"), half = parse("crop:0.5-0.5"),
                        nothing = parse("mask:1:1-1"), line = parse("scaling:1:0-0,trend:1:1");
    struct view view = draw(&whole, STEPS, STEPS, 0);
    apply(&view, &x[0][0], 2, STEPS, &out[0][0]);
    assert_memory_equal(out, x, sizeof x); /* not a bit is changed */
    for (uint32_t n = 0; n < 50; n++) {    /* a ramp stays one, from its first to its last step */
        view = draw(&half, STEPS, 4 * STEPS, n);
        const struct box run = view.ops[0].box;
        assert_int_equal(run.w, STEPS / 2);
        apply(&view, &x[0][0], 2, 4 * STEPS, &out[0][0]);
        for (int i = 0; i < 4 * STEPS; i++) {
            const double want = run.x + i * (run.w - 1) / (4.0 * STEPS - 1);
            assert_true(fabs((double)out[i][1] - want) <= 1e-5);
        }
        assert_true(out[0][0] == x[run.x][0]);
        assert_true(out[4 * STEPS - 1][0] == x[run.x + run.w - 1][0]);
    }
    view = draw(&nothing, STEPS, STEPS, 0);
    apply(&view, &x[0][0], 2, STEPS, &out[0][0]);
    for (int i = 0; i < STEPS; i++)
        assert_true(out[i][0] == 0 && out[i][1] == 0);
    view = draw(&line, STEPS, STEPS, 0);
    apply(&view, &x[0][0], 2, STEPS, &out[0][0]);
    const struct applied *a = find(&view, SERIES_TREND);
    assert_true(fabsf(out[0][0] - (a->offset - a->slope / 2)) < 1e-6f);
    assert_true(fabsf(out[STEPS - 1][1] - (a->offset + a->slope / 2)) < 1e-6f);
}

/* The noise's mean and deviation, and that no two views share it. */
static void test_noise(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float zeros[N], a[N], b[N];
    const struct policy p = parse("jitter:1:0.5-0.5");
    struct view view = draw(&p, N, N, 1);
    apply(&view, zeros, 1, N, a);
    view = draw(&p, N, N, 2);
    apply(&view, zeros, 1, N, b);
    double mean = 0, square = 0, both = 0;
    for (int i = 0; i < N; i++) {
        mean += (double)a[i] / N;
        square += (double)a[i] * (double)a[i] / N;
        both += (double)a[i] * (double)b[i] / N;
    }
    assert_true(fabs(mean) < 4 * 0.5 / sqrt(N));
    assert_true(fabs(sqrt(square) - 0.5) < 4 * 0.5 / sqrt(2 * N));
    assert_true(fabs(both) < 4 * 0.25 / sqrt(N));
}

static void test_waves(void **state)
{
    (void)state;
    float a[WAVES_LENGTH], b[WAVES_LENGTH];
    waves_draw(false, 17, a);
    waves_draw(false, 17, b);
    assert_memory_equal(a, b, sizeof a);
    waves_draw(true, 17, b);
    assert_memory_not_equal(a, b, sizeof a);
    waves_draw(false, 27, b); /* of the same class */
    assert_memory_not_equal(a, b, sizeof a);
    for (uint32_t i = 0; i < 1000; i++) {
        waves_draw(false, i, a);
        for (int t = 0; t < WAVES_LENGTH; t++)
            assert_true(fabsf(a[t]) < 12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_permutations_are_as_likely),
        cmocka_unit_test(test_known_series),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_waves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
