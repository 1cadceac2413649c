/* Tests BYOL's loss: a case by hand, PyTorch (tests/golden/byol.py), finite differences, rows of
 * zeros, values that are not finite, and the number of threads. */
#include "loss/byol_loss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/random.h"
#include "frame/frame_io.h"

/* cmocka.h makes fail a macro, so it comes last. */
#include <cmocka.h>

static struct loss_metrics run(const float *z, const float *target, int n, int d, int threads,
                               float *dz)
{
    struct loss_metrics m;
    const struct loss_input in = {
        .z = z, .target = target, .n = n, .d = d, .views = 2, .threads = threads};
    assert_int_equal(byol_loss(&in, dz, &m), 0);
    assert_true(isnan(m.accuracy) && isnan(m.entropy));
    return m;
}

static void draw(float *values, int count, uint64_t seed)
{
    struct random r;
    random_start(&r, seed, RANDOM_INIT, 0, 0, 0);
    for (int i = 0; i < count; i++)
        values[i] = (float)random_normal(&r);
}

/* Row 0 is compared with the target of row 1. The first cosine is 0.6, the second 0. */
static void test_by_hand(void **state)
{
    (void)state;
    const float z[] = {2, 0, 0, 3}, target[] = {5, 0, 3, 4};
    float dz[4];
    const struct loss_metrics m = run(z, target, 2, 2, 1, dz);
    assert_true(fabs(m.loss - (0.8 + 2) / 2) < 1e-15);
    /* -2 (v - cos u) / |z|, divided by the number of rows: v is (0.6, 0.8) and (1, 0). */
    const float want[] = {0, -0.8f / 2, -1.0f / 3, 0};
    for (int i = 0; i < 4; i++)
        assert_true(fabsf(dz[i] - want[i]) < 1e-7f);
}

static void test_pytorch(void **state)
{
    (void)state;
    struct frame *golden = frame_load("tests/golden/byol.safetensors");
    if (!golden)
        fail_msg("%s", fail_message());
    const struct tensor *z = frame_find(golden, "z");
    const float *want = frame_find(golden, "dz")->data;
    const int n = (int)z->shape[0] * 2, d = (int)z->shape[2];
    float *dz = malloc(z->bytes);
    double loss;
    assert_int_equal(frame_meta_double(golden, "loss", NAN, &loss), 0);
    const struct loss_metrics m = run(z->data, frame_find(golden, "target")->data, n, d, 2, dz);
    assert_true(fabs(m.loss - loss) < 1e-6);
    float most = 0;
    for (int i = 0; i < n * d; i++)
        most = fmaxf(most, fabsf(want[i]));
    for (int i = 0; i < n * d; i++)
        assert_true(fabsf(dz[i] - want[i]) < 1e-6f * most);
    free(dz);
    frame_free(golden);
}

static void test_finite_differences(void **state)
{
    (void)state;
    enum { N = 10, D = 19 };
    float z[N * D], target[N * D], dz[N * D], unused[N * D];
    draw(z, N * D, 1);
    draw(target, N * D, 2);
    run(z, target, N, D, 1, dz);
    for (int i = 0; i < N * D; i++) {
        const float saved = z[i], above = saved + 1e-2f, below = saved - 1e-2f;
        z[i] = above;
        const double up = run(z, target, N, D, 1, unused).loss;
        z[i] = below;
        const double down = run(z, target, N, D, 1, unused).loss;
        z[i] = saved;
        const double slope = (up - down) / ((double)above - (double)below);
        if (fabs(slope - (double)dz[i]) > 1e-5)
            fail_msg("element %d: the loss rises by %g, dz says %g", i, slope, (double)dz[i]);
    }
}

/* Lengths below 1e-12 count as 1e-12, as in PyTorch's normalize(). */
static void test_zeros(void **state)
{
    (void)state;
    const float z[] = {0, 0, 3, 4, 1e-13f, 0, 0, 1}, target[] = {1, 0, 0, 2, 0, 1, 1, 0};
    float dz[8];
    struct loss_metrics m = run(z, target, 4, 2, 1, dz);
    assert_true(fabs(m.loss - (2 + 2 - 1.2 + 2 - 0.2 + 0) / 4) < 1e-6);
    const float huge = -2 / 1e-12f / 4;
    assert_true(dz[0] == 0 && fabsf(dz[1] / huge - 1) < 1e-6f);
    assert_true(fabsf(dz[4] / huge - 1) < 1e-6f && dz[5] == 0);
    const float nothing[4] = {0};
    m = run(z, nothing, 2, 2, 1, dz);
    assert_true(m.loss == 2);
    for (int i = 0; i < 4; i++)
        assert_true(dz[i] == 0);
}

static void test_not_finite(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; b < 3; b++)
        for (int of_target = 0; of_target < 2; of_target++) {
            float values[2][40], dz[40];
            draw(values[0], 80, 3);
            values[of_target][33] = bad[b];
            assert_true(!isfinite(run(values[0], values[1], 8, 5, 2, dz).loss));
        }
}

static void test_threads(void **state)
{
    (void)state;
    enum { N = 1000, D = 37 };
    float *values = malloc(4 * N * D * sizeof *values);
    float *target = values + N * D, *dz = target + N * D, *again = dz + N * D;
    draw(values, 2 * N * D, 4);
    const struct loss_metrics one = run(values, target, N, D, 1, dz);
    for (int threads = 2; threads < 6; threads++) {
        const struct loss_metrics m = run(values, target, N, D, threads, again);
        assert_memory_equal(dz, again, N * D * sizeof *dz);
        assert_true(m.loss == one.loss);
    }
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
