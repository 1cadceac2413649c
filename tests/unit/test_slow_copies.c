/* Tests slow copies: the function that moves them, the optimizer's and the client's use of it, and
 * what joins and states say of them. */
#include "optimizer/slow_copy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/half.h"
#include "base/random.h"
#include "base/shortest.h"
#include "program/ema.h"
#include "program/optimizer_store.h"
#include "program/shard.h"

/* cmocka.h makes fail a macro, so it comes last. */
#include <cmocka.h>

static float *draw(size_t n, uint64_t seed)
{
    float *x = malloc(n * sizeof *x);
    struct random r;
    random_start(&r, seed, RANDOM_INIT, 0, 0, 0);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)random_normal(&r);
    return x;
}

/* Each product is rounded before it is added: a fused multiply-add would give other bits, as the
 * test shows of some. */
static void test_is_not_fused(void **state)
{
    (void)state;
    enum { N = 1000 };
    static const double momenta[] = {0, 0.5, 0.9, 0.99, 0.996, 0.9999};
    int others = 0;
    for (size_t m = 0; m < sizeof momenta / sizeof *momenta; m++) {
        float *now = draw(N, 1), *slow = draw(N, 2), *was = draw(N, 2);
        const float c = (float)(1 - momenta[m]);
        slow_copy_follow(momenta[m], N, now, slow);
        for (int i = 0; i < N; i++) {
            const volatile float apart = now[i] - was[i];
            const volatile float product = c * apart;
            const volatile float want = was[i] + product;
            assert_true(slow[i] == want);
            others += fmaf(c, apart, was[i]) != want;
        }
        free(now);
        free(slow);
        free(was);
    }
    assert_true(others > N / 10);
}

static struct frame *join_of(const char *ema)
{
    struct frame *f = frame_new((const struct tensor_spec[]){{"a.weight", DTYPE_F32, 2, {3, 5}},
                                                             {"a.running_mean", DTYPE_F32, 1, {3}}},
                                2);
    assert_non_null(f);
    if (ema)
        frame_set_meta(f, "ema", ema);
    for (int i = 0; i < 15; i++)
        ((float *)frame_find(f, "a.weight")->data)[i] = (float)i / 7;
    return f;
}

/* The copy follows the values as they are sent: those of a BF16 answer are rounded. */
static void test_follows_what_is_sent(void **state)
{
    (void)state;
    for (int half = 0; half < 2; half++) {
        struct optimizer_store s = {0};
        struct frame *join = join_of("0.75");
        struct owned_tensor *e = optimizer_store_add(&s, frame_find(join, "a.weight"));
        assert_int_equal(optimizer_store_keep_slow(e, 0.75), 0);
        assert_memory_equal(e->slow, e->value, e->bytes);
        float *value = e->value, want[15];
        for (int i = 0; i < 15; i++)
            value[i] += 1.0f / 3;
        struct frame *gradients = frame_new(
            &(struct tensor_spec){"a.weight", half ? DTYPE_BF16 : DTYPE_F32, 2, {3, 5}}, 1);
        assert_int_equal(optimizer_store_follow(&s, e, gradients->tensors), 0);
        for (int i = 0; i < 15; i++) {
            const float sent = half ? bf16_widen(bf16_narrow(value[i])) : value[i];
            want[i] = (float)i / 7 + 0.25f * (sent - (float)i / 7);
        }
        assert_memory_equal(e->slow, want, sizeof want);
        frame_free(gradients);
        frame_free(join);
        optimizer_store_release(&s);
    }
}

static void test_buffers_have_none(void **state)
{
    (void)state;
    struct optimizer_store s = {0};
    struct frame *join = join_of("0.5");
    for (int i = 0; i < join->n_tensors; i++)
        assert_int_equal(optimizer_store_keep_slow(optimizer_store_add(&s, &join->tensors[i]), 0.5),
                         0);
    struct frame *answer = optimizer_store_add_slow(&s, join);
    assert_int_equal(answer->n_tensors, 3);
    assert_memory_equal(frame_find(answer, "ema/a.weight")->data,
                        frame_find(join, "a.weight")->data, 15 * sizeof(float));
    frame_free(answer);
    frame_free(join);
    optimizer_store_release(&s);
}

static void refused(const struct optimizer_store *s, const char *ema, const char *state,
                    const char *message)
{
    struct frame *join = join_of(ema);
    assert_int_equal(optimizer_store_check_slow(s, join, state), -1);
    assert_string_equal(fail_message(), message);
    frame_free(join);
}

static void test_another_momentum_is_refused(void **state)
{
    (void)state;
    for (int with = 0; with < 2; with++) {
        struct optimizer_store s = {0};
        struct frame *join = join_of(with ? "0.99" : NULL);
        struct owned_tensor *e = optimizer_store_add(&s, frame_find(join, "a.weight"));
        assert_int_equal(optimizer_store_keep_slow(e, with ? 0.99 : EMA_NONE), 0);
        assert_int_equal(optimizer_store_check_slow(&s, join, "s.st"), 0);
        if (with) {
            refused(&s, "0.9", "s.st",
                    "s.st: made with --ema 0.99 for a.weight, and this run has 0.9: resume with "
                    "what it was made with, or start a new run");
            refused(&s, NULL, "s.st",
                    "s.st: made with --ema 0.99 for a.weight, and this run has none: resume with "
                    "what it was made with, or start a new run");
            refused(&s, "0.9", NULL,
                    "a client joined with a.weight and --ema 0.9, after one with --ema 0.99");
        } else
            refused(&s, "0.9", "s.st",
                    "s.st: made with --ema none for a.weight, and this run has 0.9: resume with "
                    "what it was made with, or start a new run");
        frame_free(join);
        optimizer_store_release(&s);
    }
    const struct optimizer_store none = {0};
    refused(&none, "1", NULL, "ema is 1: a momentum is at least 0 and less than 1");
    refused(&none, "-1", NULL, "ema is -1: a momentum is at least 0 and less than 1");
    refused(&none, "nan", NULL, "ema is nan: a momentum is at least 0 and less than 1");
}

/* What is printed reads back exactly, also under the key of a part. */
static void test_metadata(void **state)
{
    (void)state;
    static const double momenta[] = {0, 0.99, 0.996, 1.0 / 3, 1 - 0x1p-53, 5e-324};
    for (size_t i = 0; i < sizeof momenta / sizeof *momenta; i++) {
        struct frame *f = frame_new(NULL, 0);
        double back;
        assert_true(ema_get(f, &back) == 0 && back == EMA_NONE);
        ema_set(f, momenta[i]);
        ema_set_part(f, "layer1.0.conv1.weight", momenta[i]);
        assert_true(ema_get(f, &back) == 0 && back == momenta[i]);
        assert_true(ema_get_part(f, "layer1.1.bn2.bias", &back) == 0 && back == momenta[i]);
        assert_true(ema_get_part(f, "layer2.1.bn2.bias", &back) == 0 && back == EMA_NONE);
        frame_free(f);
    }
    char text[SHORTEST_TEXT];
    shortest_print(text, 0.1);
    assert_string_equal(text, "0.1");
}

static void test_has_the_parameters_owner(void **state)
{
    (void)state;
    for (int k = 1; k < 9; k++)
        assert_int_equal(shard_owner("ema/layer1.0.conv1.weight", k),
                         shard_owner("layer1.0.conv1.weight", k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_not_fused),
        cmocka_unit_test(test_follows_what_is_sent),
        cmocka_unit_test(test_buffers_have_none),
        cmocka_unit_test(test_another_momentum_is_refused),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_has_the_parameters_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
