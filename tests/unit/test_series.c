/* Tests operations on series: their lists, what they draw and how often, and their results for
 * known series. tests/programs/series.sh compares views of random series with numpy. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "data/waves.h"
#include "views/policy.h"
#include "views/view.h"

#include "drawn.h"

enum { DRAWS = 6000, STEPS = 50 };

static struct policy parse(const char *ops)
{
    struct policy p;
    if (policy_parse(&p, &operations_on_series, ops))
        fail_msg("%s: %s", ops, fail_message());
    return p;
}

static void draw(struct view *view, const struct policy *p, int length, int size, uint32_t number)
{
    struct random r;
    random_start(&r, 3, RANDOM_VIEW, 0, number, 0);
    view_draw(view, p, length, 1, size, &r);
}

static void assert_use(const struct operation_use *use, const char *name, double p)
{
    assert_string_equal(use->operation->name, name);
    assert_true(use->p == p);
}

static void test_lists(void **state)
{
    (void)state;
    struct policy p = parse("crop:0.2-0.6:0.5,permutation:1:3-5,trend");
    assert_int_equal(p.n_ops, 3);
    assert_use(&p.ops[0], "crop", 0.5);
    assert_true(p.ops[0].values[0].low == 0.2 && p.ops[0].values[0].high == 0.6);
    assert_use(&p.ops[1], "permutation", 1);
    assert_true(p.ops[1].values[1].low == 3 && p.ops[1].values[1].high == 5);
    assert_use(&p.ops[2], "trend", 0.8);
    assert_true(p.ops[2].values[1].low == 2);
    p = parse("jitter:1"); /* begins with the whole series */
    assert_int_equal(p.n_ops, 2);
    assert_use(&p.ops[0], "crop", 0);
    p = parse("simclr-series,mask");
    assert_int_equal(p.n_ops, 5);
    assert_use(&p.ops[4], "mask", 0.5);
    assert_false(policy_is_evaluation(&p));
    p = parse("eval");
    assert_true(policy_is_evaluation(&p));
    assert_null(policy_ops(&operations_on_series, "simclr"));

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
        assert_int_equal(policy_parse(&p, &operations_on_series, wrong[i][0]), -1);
        assert_string_equal(fail_message(), wrong[i][1]);
    }
}

/* Asserts that the fraction of the draws is p, within four standard deviations. */
static void assert_share(int count, int of, double p)
{
    const double std = sqrt(p * (1 - p) / of);
    if (!(fabs((double)count / of - p) <= 4 * std))
        fail_msg("%d of %d is not %g", count, of, p);
}

static void test_draws(void **state)
{
    (void)state;
    const struct policy p = parse("crop:0.2-0.6:0.7,scaling:0.4:0.5-2,trend:0.6:3,"
                                  "jitter:0.3:0.1-0.2,mask:0.5:0.1-0.4,permutation:0.8:2-4");
    int whole = 0, at_start = 0, segments[5] = {0}, up = 0;
    int scalings = 0, trends = 0, jitters = 0, masks = 0, permutations = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct view view;
        draw(&view, &p, 100, STEPS, i);
        const struct box crop = *view_box(&view);
        assert_true(crop.x >= 0 && crop.x + crop.w <= 100);
        assert_true(crop.w == 100 || (crop.w >= 20 && crop.w <= 60));
        whole += crop.w == 100;
        at_start += crop.w < 100 && 2 * crop.x < 100 - crop.w;
        struct view_op *op;
        if ((op = drawn_find(&view, "scaling"))) {
            scalings++;
            assert_true(*drawn_float(op, "factor") >= 0.5f && *drawn_float(op, "factor") <= 2);
        }
        if ((op = drawn_find(&view, "trend"))) {
            trends++;
            const float offset = *drawn_float(op, "offset"), slope = *drawn_float(op, "slope");
            assert_true(fabsf(offset) <= 3 && fabsf(slope) <= 3);
            up += slope > 0;
        }
        if ((op = drawn_find(&view, "jitter"))) {
            jitters++;
            const float sigma = *drawn_float(op, "sigma");
            assert_true(sigma >= 0.1f && sigma <= 0.2f);
            assert_int_equal(drawn_words(op, "counter")[0], 3U << 28);
        }
        if ((op = drawn_find(&view, "mask"))) {
            masks++;
            const int start = *drawn_int(op, "start"), length = *drawn_int(op, "length");
            assert_true(start >= 0 && length >= 5 && length <= 20 && start + length <= STEPS);
        }
        if ((op = drawn_find(&view, "permutation"))) {
            permutations++;
            segments[drawn_list(op, "order")->n]++;
        }
    }
    assert_share(whole, DRAWS, 0.3);
    assert_share(at_start, DRAWS - whole, 0.5 - 1 / 120.0); /* half of the ties count */
    assert_share(scalings, DRAWS, 0.4);
    assert_share(trends, DRAWS, 0.6);
    assert_share(up, trends, 0.5);
    assert_share(jitters, DRAWS, 0.3);
    assert_share(masks, DRAWS, 0.5);
    assert_share(permutations, DRAWS, 0.8);
    for (int n = 2; n <= 4; n++)
        assert_share(segments[n], permutations, 1 / 3.0);
}

/* 3 segments of 5 steps have 6 sets of cuts and 6 orders, which must be equally likely. */
static void test_permutations_are_as_likely(void **state)
{
    (void)state;
    const struct policy p = parse("permutation:1:3");
    int cuts[5][5] = {{0}}, orders[3][3] = {{0}};
    struct view view;
    for (uint32_t i = 0; i < DRAWS; i++) {
        draw(&view, &p, 5, 5, i);
        const struct operation_list *cut = drawn_list(&view.ops[1], "cuts");
        const struct operation_list *order = drawn_list(&view.ops[1], "order");
        assert_true(cut->n == 2 && order->n == 3);
        assert_true(cut->items[0] >= 1 && cut->items[1] <= 4);
        cuts[cut->items[0]][cut->items[1]]++;
        orders[order->items[0]][order->items[1]]++;
    }
    for (int i = 1; i <= 4; i++)
        for (int k = i + 1; k <= 4; k++)
            assert_share(cuts[i][k], DRAWS, 1 / 6.0);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (i != k)
                assert_share(orders[i][k], DRAWS, 1 / 6.0);
    const struct policy more = parse("permutation:1:16"); /* than there are steps */
    draw(&view, &more, 5, 5, 0);
    assert_int_equal(drawn_list(&view.ops[1], "order")->n, 5);
}

static void apply(const struct view *view, const float *x, int length, int channels, int size,
                  float *out)
{
    struct view_memory memory = {0};
    assert_int_equal(view_apply_series(view, x, length, channels, size, &memory, out), 0);
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
    struct view view;
    draw(&view, &whole, STEPS, STEPS, 0);
    apply(&view, &x[0][0], STEPS, 2, STEPS, &out[0][0]);
    assert_memory_equal(out, x, sizeof x); /* no bit may change */
    for (uint32_t n = 0; n < 50; n++) {    /* a ramp must stay one, to its last step */
        draw(&view, &half, STEPS, 4 * STEPS, n);
        const struct box run = *view_box(&view);
        assert_int_equal(run.w, STEPS / 2);
        apply(&view, &x[0][0], STEPS, 2, 4 * STEPS, &out[0][0]);
        for (int i = 0; i < 4 * STEPS; i++) {
            const double want = run.x + i * (run.w - 1) / (4.0 * STEPS - 1);
            assert_true(fabs((double)out[i][1] - want) <= 1e-5);
        }
        assert_true(out[0][0] == x[run.x][0]);
        assert_true(out[4 * STEPS - 1][0] == x[run.x + run.w - 1][0]);
    }
    draw(&view, &nothing, STEPS, STEPS, 0);
    apply(&view, &x[0][0], STEPS, 2, STEPS, &out[0][0]);
    for (int i = 0; i < STEPS; i++)
        assert_true(out[i][0] == 0 && out[i][1] == 0);
    draw(&view, &line, STEPS, STEPS, 0);
    apply(&view, &x[0][0], STEPS, 2, STEPS, &out[0][0]);
    struct view_op *trend = drawn_find(&view, "trend");
    const float offset = *drawn_float(trend, "offset"), slope = *drawn_float(trend, "slope");
    assert_true(fabsf(out[0][0] - (offset - slope / 2)) < 1e-6f);
    assert_true(fabsf(out[STEPS - 1][1] - (offset + slope / 2)) < 1e-6f);
}

/* The noise must have the right mean and standard deviation, and different views must have
 * different noise. */
static void test_noise(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float zeros[N], a[N], b[N];
    const struct policy p = parse("jitter:1:0.5-0.5");
    struct view view;
    draw(&view, &p, N, N, 1);
    apply(&view, zeros, N, 1, N, a);
    draw(&view, &p, N, N, 2);
    apply(&view, zeros, N, 1, N, b);
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
