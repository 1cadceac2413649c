/* NT-Xent against plain loops in float64, against finite differences, and against PyTorch
 * (tests/golden/loss_and_lars.py). */
/* Before cmocka.h, which makes fail a macro. */
#include "fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame_io.h"
#include "ntxent.h"
#include "random.h"

/* Equation 1 word for word, in float64; dz by the chain rule through the normalization. */
static struct ntxent_metrics reference(const double *z, int n, int d, double temperature,
                                       double *dz)
{
    double *u = malloc((size_t)(n * d) * sizeof *u), *norm = malloc((size_t)n * sizeof *norm),
           *p = malloc((size_t)n * (size_t)n * sizeof *p),
           *du = calloc((size_t)(n * d), sizeof *du), *others = calloc((size_t)n, sizeof *others);
    struct ntxent_metrics m = {0};
    for (int i = 0; i < n; i++) {
        double square = 0;
        for (int k = 0; k < d; k++)
            square += z[i * d + k] * z[i * d + k];
        norm[i] = fmax(sqrt(square), 1e-12);
        for (int k = 0; k < d; k++)
            u[i * d + k] = z[i * d + k] / norm[i];
    }
    for (int i = 0; i < n; i++) {
        double *s = p + (size_t)i * (size_t)n, most = -INFINITY, sum = 0, next = -INFINITY;
        for (int j = 0; j < n; j++) {
            s[j] = 0;
            for (int k = 0; k < d; k++)
                s[j] += u[i * d + k] * u[j * d + k] / temperature;
            if (j != i)
                most = fmax(most, s[j]);
            if (j != i && j != (i ^ 1))
                next = fmax(next, s[j]);
        }
        for (int j = 0; j < n; j++)
            sum += j != i ? exp(s[j] - most) : 0;
        double l = most + log(sum);
        m.loss += (l - s[i ^ 1]) / n;
        m.accuracy += (s[i ^ 1] > next) / (double)n;
        for (int j = 0; j < n; j++) {
            double q = j != i ? exp(s[j] - l) : 0;
            others[i] += j != (i ^ 1) ? q : 0;
            m.entropy -= q > 0 ? q * (s[j] - l) / n : 0;
            s[j] = q;
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double c = p[i * n + j] + p[j * n + i];
            if (j == (i ^ 1)) /* p - 1, without the rounding where p is close to 1 */
                c = -others[i] - others[j];
            for (int k = 0; k < d; k++)
                du[i * d + k] += c * u[j * d + k] / (temperature * n);
        }
    for (int i = 0; i < n; i++) {
        double along = 0;
        for (int k = 0; k < d; k++)
            along += du[i * d + k] * u[i * d + k];
        for (int k = 0; k < d; k++)
            dz[i * d + k] = (du[i * d + k] - along * u[i * d + k]) / norm[i];
    }
    free(u);
    free(norm);
    free(p);
    free(du);
    free(others);
    return m;
}

/* Views of a pair are alike to the degree that `likeness` says. */
static float *draw(int n, int d, double likeness, double scale, uint64_t seed)
{
    float *z = malloc((size_t)(n * d) * sizeof *z);
    struct random r;
    random_start(&r, seed, RANDOM_INIT, 0, 0, 0);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < d; k++) {
            double x = random_normal(&r);
            z[i * d + k] =
                (float)(i & 1 ? likeness * (double)z[(i - 1) * d + k] + scale * x : scale * x);
        }
    return z;
}

/* Largest distance of a from b, relative to the largest of b. */
static double distance(const float *a, const double *b, int n)
{
    double far = 0, most = 0;
    for (int i = 0; i < n; i++) {
        far = fmax(far, fabs((double)a[i] - b[i]));
        most = fmax(most, fabs(b[i]));
    }
    return most > 0 ? far / most : far;
}

static double relative(double a, double b)
{
    return fabs(a - b) / fmax(fabs(b), 1);
}

static void check_z(const struct product *product, const float *z, int n, int d, double temperature,
                    const char *what)
{
    float *dz = malloc((size_t)(n * d) * sizeof *dz);
    double *wide = malloc((size_t)(n * d) * sizeof *wide),
           *expect = malloc((size_t)(n * d) * sizeof *expect);
    for (int i = 0; i < n * d; i++)
        wide[i] = (double)z[i];
    struct ntxent_metrics have, want = reference(wide, n, d, temperature, expect);
    assert_int_equal(ntxent_by(product, z, n, d, temperature, 2, dz, &have), 0);
    double errors[] = {relative(have.loss, want.loss), relative(have.entropy, want.entropy),
                       distance(dz, expect, n * d)};
    for (int i = 0; i < 3; i++)
        if (!(errors[i] <= 1e-5))
            fail_msg("%s, %s, n %d, d %d, T %g: %s is off by %g", product->name, what, n, d,
                     temperature, ((const char *[]){"loss", "entropy", "dz"})[i], errors[i]);
    if (fabs(have.accuracy - want.accuracy) > 1e-12)
        fail_msg("%s, %s, n %d, d %d, T %g: accuracy %g, not %g", product->name, what, n, d,
                 temperature, have.accuracy, want.accuracy);
    free(dz);
    free(wide);
    free(expect);
}

/* By every product of floats that this machine can run. */
static void check_case(int n, int d, double temperature, double scale)
{
    float *z = draw(n, d, 0.7, scale, (uint64_t)(n * 1000 + d));
    for (const char *const *name = product_names; *name; name++) {
        const struct product *product = product_find(*name);
        if (product->values == PRODUCT_FLOAT && product->usable())
            check_z(product, z, n, d, temperature, "drawn");
    }
    free(z);
}

/* A tile has 192 rows and as many columns, a block up to 8 and 32. */
static void test_reference(void **state)
{
    (void)state;
    static const int sizes[][2] = {{2, 1},    {4, 1},    {4, 7},     {6, 16},   {8, 17},
                                   {10, 100}, {16, 128}, {34, 129},  {190, 33}, {192, 32},
                                   {194, 5},  {254, 33}, {384, 129}, {386, 1},  {600, 31}};
    static const double temperatures[] = {0.05, 0.1, 0.5, 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++)
            check_case(sizes[i][0], sizes[i][1], temperatures[t], 1);
}

/* At 1/64 and below, exponentials are taken of differences from the largest. */
static void test_extreme_temperature(void **state)
{
    (void)state;
    static const double temperatures[] = {0.01, 0.0156, 1.0 / 64, 0.0157, 0.02, 10, 100};
    for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
        check_case(2, 5, temperatures[t], 1);
        check_case(16, 128, temperatures[t], 1);
        check_case(258, 33, temperatures[t], 1);
    }
}

/* Rows that lie along one line or another: similarities of 1, 0 and -1 without rounding, so that a
 * row's candidates can all be as far away as can be, and nothing may overflow or vanish. */
static void test_opposites(void **state)
{
    (void)state;
    static const signed char lines[][8] = {
        {1, -1},                    /* no others, and the positive is opposite */
        {1, 1, -1, -1},             /* the others are opposite */
        {1, -1, 1, -1},             /* the positive is */
        {1, -1, 2, -2, 1, 2},       /* on two lines */
        {1, 1, 1, 2, -1, -1, 2, -2} /* among equals */
    };
    static const double temperatures[] = {1e-3, 0.01, 0.0156, 0.0157, 0.1, 1e3};
    const struct product *product = product_choose(PRODUCT_FLOAT);
    for (size_t l = 0; l < sizeof lines / sizeof *lines; l++)
        for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
            float z[16] = {0};
            int n = 0;
            for (; n < 8 && lines[l][n]; n++)
                z[2 * n + abs(lines[l][n]) - 1] = lines[l][n] > 0 ? 1 : -1;
            check_z(product, z, n, 2, temperatures[t], "opposites");
        }
}

/* The loss does not depend on the length of z; its gradient goes as the inverse. */
static void test_scales(void **state)
{
    (void)state;
    static const double scales[] = {1e-9, 1e-4, 1e4, 1e18, 1e30};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++)
        check_case(34, 9, 0.5, scales[i]);
}

/* One pair has no negatives: nothing to lose, nothing to learn. */
static void test_one_pair(void **state)
{
    (void)state;
    const float z[6] = {1, 2, 3, -4, 5, 6};
    float dz[6];
    struct ntxent_metrics m;
    assert_int_equal(ntxent(z, 2, 3, 0.5, 3, dz, &m), 0);
    assert_true(m.loss == 0 && m.entropy == 0 && m.accuracy == 1);
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(dz[i]) < 1e-7f);
}

static void test_finite_differences(void **state)
{
    (void)state;
    enum { N = 10, D = 5 };
    float *z = draw(N, D, 0.7, 1, 3), dz[N * D], unused[N * D];
    struct ntxent_metrics m;
    assert_int_equal(ntxent(z, N, D, 0.5, 1, dz, &m), 0);
    for (int i = 0; i < N * D; i++) {
        struct ntxent_metrics up, down;
        float saved = z[i], h = 1e-2f;
        z[i] = saved + h;
        float above = z[i];
        assert_int_equal(ntxent(z, N, D, 0.5, 1, unused, &up), 0);
        z[i] = saved - h;
        float below = z[i];
        assert_int_equal(ntxent(z, N, D, 0.5, 1, unused, &down), 0);
        z[i] = saved;
        double slope = (up.loss - down.loss) / ((double)above - (double)below);
        if (fabs(slope - (double)dz[i]) > 1e-4)
            fail_msg("element %d: the loss rises by %g, dz says %g", i, slope, (double)dz[i]);
    }
    free(z);
}

static void test_threads(void **state)
{
    (void)state;
    enum { N = 1000, D = 37 };
    static const int threads[] = {1, 2, 3, 5};
    static const double temperatures[] = {0.01, 0.1};
    float *z = draw(N, D, 0.7, 1, 4), *dz = malloc(2 * N * D * sizeof *dz);
    for (int i = 0; i < 2; i++) {
        struct ntxent_metrics m[2];
        assert_int_equal(ntxent(z, N, D, temperatures[i], 1, dz, &m[0]), 0);
        for (int t = 1; t < 4; t++)
            for (int again = 0; again < 5; again++) {
                assert_int_equal(ntxent(z, N, D, temperatures[i], threads[t], dz + N * D, &m[1]),
                                 0);
                assert_memory_equal(dz, dz + N * D, N * D * sizeof *dz);
                assert_memory_equal(&m[0], &m[1], sizeof m[0]);
            }
    }
    free(z);
    free(dz);
}

/* Representations that have all become equal are right nowhere; the loss is ln(n - 1). */
static void test_collapse(void **state)
{
    (void)state;
    enum { N = 300, D = 8 };
    float *z = malloc(N * D * sizeof *z), *dz = malloc(N * D * sizeof *dz);
    struct ntxent_metrics m;
    for (int i = 0; i < N * D; i++)
        z[i] = (float)(i % D) - 2.5f;
    assert_int_equal(ntxent(z, N, D, 0.5, 2, dz, &m), 0);
    assert_true(m.accuracy == 0);
    assert_true(relative(m.loss, log(N - 1)) < 1e-6 && relative(m.entropy, log(N - 1)) < 1e-6);
    memset(z, 0, N * D * sizeof *z); /* no direction at all */
    assert_int_equal(ntxent(z, N, D, 0.5, 2, dz, &m), 0);
    assert_true(m.accuracy == 0 && relative(m.loss, log(N - 1)) < 1e-6);
    for (int i = 0; i < N * D; i++)
        assert_true(dz[i] == 0);
    free(z);
    free(dz);
}

/* One bad element must not go unseen. */
static void test_not_finite(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; b < 3; b++) {
        float *z = draw(20, 4, 0.7, 1, 5), dz[80];
        struct ntxent_metrics m;
        z[37] = bad[b];
        assert_int_equal(ntxent(z, 20, 4, 0.5, 2, dz, &m), 0);
        assert_true(!isfinite(m.loss));
        free(z);
    }
}

static void test_pytorch(void **state)
{
    (void)state;
    struct frame *golden = frame_load("tests/golden/loss_and_lars.safetensors");
    if (!golden)
        fail_msg("%s", fail_message());
    static const char *const temperatures[] = {"0.05", "0.1", "0.5", "1"};
    const struct tensor *z = frame_find(golden, "z");
    int n = (int)z->shape[0] * 2, d = (int)z->shape[2];
    float *dz = malloc(z->bytes);
    double *wide = malloc(2 * z->bytes);
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++) {
        char key[32];
        double loss;
        struct ntxent_metrics m;
        snprintf(key, sizeof key, "dz_%s", temperatures[i]);
        const float *want = frame_find(golden, key)->data;
        for (int k = 0; k < n * d; k++)
            wide[k] = (double)want[k];
        assert_int_equal(ntxent(z->data, n, d, atof(temperatures[i]), 2, dz, &m), 0);
        assert_true(distance(dz, wide, n * d) < 1e-5);
        snprintf(key, sizeof key, "loss_%s", temperatures[i]);
        assert_int_equal(frame_meta_double(golden, key, NAN, &loss), 0);
        assert_true(relative(m.loss, loss) < 1e-6);
        snprintf(key, sizeof key, "accuracy_%s", temperatures[i]);
        assert_int_equal(frame_meta_double(golden, key, NAN, &loss), 0);
        assert_true(fabs(m.accuracy - loss) < 1e-9);
        snprintf(key, sizeof key, "entropy_%s", temperatures[i]);
        assert_int_equal(frame_meta_double(golden, key, NAN, &loss), 0);
        assert_true(relative(m.entropy, loss) < 1e-6);
    }
    free(dz);
    free(wide);
    frame_free(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),  cmocka_unit_test(test_extreme_temperature),
        cmocka_unit_test(test_opposites),  cmocka_unit_test(test_scales),
        cmocka_unit_test(test_one_pair),   cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_collapse),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
