/* Tests SGD and Adam against torch.optim in float64 (tests/golden/optimizers.py), and which
 * parameters a `frozen` list names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame/frame_io.h"
#include "optimizer/adam.h"
#include "optimizer/sgd.h"
#include "program/optimizer.h"
#include "program/parameter_name.h"

enum { STEPS = 10 };

static struct frame *golden;

static int open_golden(void **state)
{
    (void)state;
    golden = frame_load("tests/golden/optimizers.safetensors");
    return golden ? 0 : -1;
}

static int close_golden(void **state)
{
    (void)state;
    frame_free(golden);
    return 0;
}

/* Returns a setting. The generator leaves out those that have torch's default, 0. */
static double setting(const char *name, const char *what)
{
    char key[64];
    double value;
    snprintf(key, sizeof key, "%s_%s", name, what);
    assert_int_equal(frame_meta_double(golden, key, 0, &value), 0);
    return value;
}

static double rate(int step)
{
    char what[16];
    snprintf(what, sizeof what, "%d", step);
    return setting("lr", what);
}

__attribute__((format(printf, 1, 2))) static const struct tensor *find(const char *format, ...)
{
    char key[64];
    va_list args;
    va_start(args, format);
    vsnprintf(key, sizeof key, format, args);
    va_end(args);
    const struct tensor *t = frame_find(golden, key);
    if (!t)
        fail_msg("no %s", key);
    return t;
}

static void assert_near(const float *have, const struct tensor *want)
{
    const float *w = want->data;
    double far = 0, most = 0;
    for (size_t i = 0; i < tensor_count(want); i++) {
        far = fmax(far, fabs((double)have[i] - (double)w[i]));
        most = fmax(most, fabs((double)w[i]));
    }
    if (!(far <= 1e-6 * most))
        fail_msg("%s is off by %g of %g", want->name, far, most);
}

struct parameter_state {
    size_t n;
    float *w, *a, *b; /* a, b: the optimizer's state */
};

static struct parameter_state begin(void)
{
    const struct tensor *start = frame_find(golden, "w/0");
    const size_t n = tensor_count(start);
    struct parameter_state p = {n, malloc(start->bytes), calloc(n, 4), calloc(n, 4)};
    memcpy(p.w, start->data, start->bytes);
    return p;
}

static void end(struct parameter_state *p)
{
    free(p->w);
    free(p->a);
    free(p->b);
}

static void test_sgd(void **state)
{
    (void)state;
    static const char *const cases[] = {"sgd", "plain", "nesterov"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct sgd s = {setting(cases[i], "momentum"), setting(cases[i], "weight_decay"),
                              setting(cases[i], "nesterov") != 0};
        struct parameter_state p = begin();
        for (int step = 1; step <= STEPS; step++) {
            assert_int_equal(
                sgd_step(&s, rate(step), true, p.n, p.w, find("g/%d", step)->data, p.a), 0);
            assert_near(p.w, find("w/%s/%d", cases[i], step));
        }
        if (s.momentum > 0)
            assert_near(p.a, find("s/%s/momentum_buffer", cases[i]));
        end(&p);
    }
}

static void test_adam(void **state)
{
    (void)state;
    static const char *const cases[] = {"adam", "coupled", "adamw"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct adam a = {.beta1 = setting(cases[i], "betas1"),
                               .beta2 = setting(cases[i], "betas2"),
                               .eps = setting(cases[i], "eps"),
                               .weight_decay = setting(cases[i], "weight_decay"),
                               .decoupled = i == 2};
        struct parameter_state p = begin();
        for (int step = 1; step <= STEPS; step++) {
            assert_int_equal(
                adam_step(&a, rate(step), step, true, p.n, p.w, find("g/%d", step)->data, p.a, p.b),
                0);
            assert_near(p.w, find("w/%s/%d", cases[i], step));
        }
        assert_near(p.a, find("s/%s/exp_avg", cases[i]));
        assert_near(p.b, find("s/%s/exp_avg_sq", cases[i]));
        end(&p);
    }
}

/* Parameters that are excluded from weight decay must move as if there were none. */
static void test_no_decay(void **state)
{
    (void)state;
    const struct sgd s[] = {{0.9, 0.1, true}, {0.9, 0, true}};
    const struct adam a[] = {{0.9, 0.999, 1e-8, 0.1, true}, {0.9, 0.999, 1e-8, 0, false}};
    struct parameter_state one = begin(), other = begin();
    const float *g = find("g/%d", 1)->data;
    sgd_step(&s[0], 0.1, false, one.n, one.w, g, one.a);
    sgd_step(&s[1], 0.1, true, one.n, other.w, g, other.a);
    assert_memory_equal(one.w, other.w, one.n * sizeof *one.w);
    adam_step(&a[0], 0.1, 1, false, one.n, one.w, g, one.a, one.b);
    adam_step(&a[1], 0.1, 1, true, one.n, other.w, g, other.a, other.b);
    assert_memory_equal(one.w, other.w, one.n * sizeof *one.w);
    end(&one);
    end(&other);
}

static void test_not_finite(void **state)
{
    (void)state;
    const struct sgd s = {0.9, 0, false};
    const struct adam a = {0.9, 0.999, 1e-8, 0, false};
    struct parameter_state p = begin(), was = begin();
    float *g = calloc(p.n, sizeof *g);
    for (size_t at = 0; at < p.n; at += 40) {
        for (size_t i = 0; i < p.n; i++)
            p.a[i] = was.a[i] = p.b[i] = was.b[i] = g[i] = 1;
        g[at] = at % 80 ? NAN : -INFINITY;
        assert_int_equal(sgd_step(&s, 1, true, p.n, p.w, g, p.a), -1);
        assert_int_equal(adam_step(&a, 1, 1, true, p.n, p.w, g, p.a, p.b), -1);
        assert_memory_equal(p.w, was.w, p.n * sizeof *g);
        assert_memory_equal(p.a, was.a, p.n * sizeof *g);
        assert_memory_equal(p.b, was.b, p.n * sizeof *g);
    }
    free(g);
    end(&p);
    end(&was);
}

static void test_frozen(void **state)
{
    (void)state;
    const char *list = "conv1,layer1,fc.weight";
    assert_true(parameter_name_is_frozen(list, "conv1.weight"));
    assert_true(parameter_name_is_frozen(list, "layer1.0.bn1.running_mean"));
    assert_true(parameter_name_is_frozen(list, "fc.weight"));
    assert_false(parameter_name_is_frozen(list, "fc.bias"));
    assert_false(parameter_name_is_frozen(list, "layer10.weight"));
    assert_false(parameter_name_is_frozen(list, "layer"));
    assert_false(parameter_name_is_frozen(list, "layer2.0.conv1.weight"));
    assert_false(parameter_name_is_frozen("", "conv1.weight"));
    assert_false(parameter_name_is_frozen(",,", "conv1.weight"));
    assert_false(parameter_name_is_frozen(NULL, "conv1.weight"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sgd),      cmocka_unit_test(test_adam),
        cmocka_unit_test(test_no_decay), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_frozen),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
