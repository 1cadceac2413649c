/* Tests LARS and the learning rate against PyTorch in float64 (tests/golden/loss_and_lars.py). */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame/frame_io.h"
#include "optimizer/lars.h"
#include "optimizer/schedule.h"

static struct frame *golden;

static int open_golden(void **state)
{
    (void)state;
    golden = frame_load("tests/golden/loss_and_lars.safetensors");
    return golden ? 0 : -1;
}

static int close_golden(void **state)
{
    (void)state;
    frame_free(golden);
    return 0;
}

static double number(const char *key)
{
    double value;
    assert_non_null(frame_meta(golden, key));
    assert_int_equal(frame_meta_double(golden, key, 0, &value), 0);
    return value;
}

static const struct tensor *find(const char *kind, const char *name, int step)
{
    char key[64];
    snprintf(key, sizeof key, "%s/%s/%d", kind, name, step);
    const struct tensor *t = frame_find(golden, key);
    assert_non_null(t);
    return t;
}

static void assert_near(const float *have, const struct tensor *want, const char *what)
{
    const float *w = want->data;
    double far = 0, most = 0;
    for (size_t i = 0; i < tensor_count(want); i++) {
        far = fmax(far, fabs((double)have[i] - (double)w[i]));
        most = fmax(most, fabs((double)w[i]));
    }
    if (!(far <= 1e-6 * most))
        fail_msg("%s of %s is off by %g of %g", what, want->name, far, most);
}

/* Takes the three steps of the golden data and compares w with the tensors PREFIXw/NAME/STEP, and v
 * with PREFIXv/NAME/STEP where there are such. The rate changes as in the golden data, or is that of
 * the first step. */
static void compare_steps(const struct lars *l, const char *prefix, bool constant)
{
    static const char *const names[] = {"matrix", "conv", "bias", "zeros"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct tensor *start = find("w", names[i], 0);
        size_t n = tensor_count(start);
        float *w = malloc(start->bytes), *v = calloc(n, sizeof *v);
        memcpy(w, start->data, start->bytes);
        for (int step = 1; step <= 3; step++) {
            char key[16], want_w[16], want_v[16];
            snprintf(key, sizeof key, "lr_%d", constant ? 1 : step);
            snprintf(want_w, sizeof want_w, "%sw", prefix);
            snprintf(want_v, sizeof want_v, "%sv", prefix);
            assert_int_equal(lars_step(l, number(key), start->ndim > 1, n, w,
                                       find("g", names[i], step)->data, v),
                             0);
            assert_near(w, find(want_w, names[i], step), "w");
            if (!constant)
                assert_near(v, find(want_v, names[i], step), "v");
        }
        free(w);
        free(v);
    }
}

static void test_steps(void **state)
{
    (void)state;
    compare_steps(&(struct lars){.momentum = number("momentum"),
                                 .weight_decay = number("weight_decay"),
                                 .eta = number("eta")},
                  "", false);
}

static void test_clipped_steps(void **state)
{
    (void)state;
    struct lars l = {.momentum = number("momentum"),
                     .weight_decay = number("weight_decay"),
                     .eta = number("clip_eta"),
                     .clip = true};
    compare_steps(&l, "clip/", false);
    l.weight_decay = 0;
    compare_steps(&l, "solo/", true);
}

/* In the first step of a warm-up the rate is 0: the parameter stays, and 0 does not divide. */
static void test_clipped_at_a_rate_of_0(void **state)
{
    (void)state;
    const struct lars l = {.momentum = 0.9, .eta = 0.02, .clip = true};
    float w[3] = {1, 2, 3}, v[3] = {0}, g[3] = {4, 5, 6};
    assert_int_equal(lars_step(&l, 0, true, 3, w, g, v), 0);
    assert_true(w[0] == 1 && w[1] == 2 && w[2] == 3 && v[0] == 0 && v[1] == 0 && v[2] == 0);
}

static void test_not_finite(void **state)
{
    (void)state;
    const struct lars l = {.momentum = 0.9, .weight_decay = 1e-4, .eta = 1e-3};
    for (int where = 0; where < 40; where += 13) {
        float w[40], v[40], g[40];
        for (int i = 0; i < 40; i++) {
            w[i] = (float)i;
            v[i] = (float)-i;
            g[i] = 1;
        }
        g[where] = where % 2 ? NAN : INFINITY;
        assert_int_equal(lars_step(&l, 1, where % 3, 40, w, g, v), -1);
        for (int i = 0; i < 40; i++)
            assert_true(w[i] == (float)i && v[i] == (float)-i);
    }
}

/* With a gradient of zeros there is no trust ratio, only the direction of weight decay, and no
 * division by zero. */
static void test_zero_gradient(void **state)
{
    (void)state;
    const struct lars l = {.momentum = 0.9, .eta = 1e-3};
    float w[3] = {1, 2, 3}, v[3] = {0}, g[3] = {0};
    assert_int_equal(lars_step(&l, 1, true, 3, w, g, v), 0);
    assert_true(w[0] == 1 && w[1] == 2 && w[2] == 3 && v[0] == 0);
}

static void test_schedule(void **state)
{
    (void)state;
    static const char *const cases[] = {"linear", "sqrt", "base", "peak", "long"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schedule s = {0};
        struct schedule_point at = {0};
        int sqrt_scaling, constant;
        assert_int_equal(sscanf(frame_meta(golden, cases[i]),
                                "%lf %lf %d %" SCNd64 " %d %" SCNd64 " %" SCNd64 " %" SCNd64, &s.lr,
                                &s.base_lr, &sqrt_scaling, &s.warmup_steps, &constant, &at.steps,
                                &at.steps_per_epoch, &at.batch),
                         8);
        s.sqrt_scaling = sqrt_scaling;
        s.constant = constant;
        char key[32];
        snprintf(key, sizeof key, "rate_%s", cases[i]);
        const struct tensor *want = frame_find(golden, key);
        double peak = 0;
        for (at.step = 0; at.step < at.steps; at.step++)
            peak = fmax(peak, (double)((float *)want->data)[at.step]);
        for (at.step = 0; at.step < at.steps; at.step++) {
            double have = schedule_rate(&s, &at), expect = (double)((float *)want->data)[at.step];
            if (fabs(have - expect) > 1e-7 * peak)
                fail_msg("%s, step %d: %.9g, not %.9g", cases[i], (int)at.step, have, expect);
        }
        /* Test the same in epochs where they are whole numbers. */
        if (s.warmup_steps % at.steps_per_epoch == 0) {
            struct schedule epochs = s;
            epochs.warmup_steps = -1;
            epochs.warmup_epochs = (double)s.warmup_steps / (double)at.steps_per_epoch;
            for (at.step = 0; at.step < at.steps; at.step++)
                assert_true(schedule_rate(&s, &at) == schedule_rate(&epochs, &at));
        }
    }
}

/* Frames may contain extreme values, which the schedule must not trust. */
static void test_schedule_extremes(void **state)
{
    (void)state;
    const struct schedule s = {.lr = 1, .warmup_epochs = 1e6, .warmup_steps = -1};
    const struct schedule_point at = {1, INT64_MAX, INT64_MAX, 1};
    double rate = schedule_rate(&s, &at);
    assert_true(rate >= 0 && rate < 1e-9);
    const struct schedule short_one = {.lr = 1, .warmup_steps = 0};
    const struct schedule_point beyond = {INT64_MAX / 2, 5, 5, 1};
    assert_true(fabs(schedule_rate(&short_one, &beyond)) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_clipped_steps),
        cmocka_unit_test(test_clipped_at_a_rate_of_0),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_zero_gradient),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_schedule_extremes),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
