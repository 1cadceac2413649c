/* Compares the products of the linear probe, and the change of variables of its fit, with plain loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate/class_products.h"
#include "evaluate/preconditioner.h"

static uint32_t state = 1;

static double number(void)
{
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 23) - 1;
}

static double *numbers(int64_t n)
{
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = number();
    return v;
}

static void check_products(int64_t n, int64_t width, int64_t classes)
{
    float *x = malloc((size_t)(n * width) * sizeof *x);
    const float *rows[CLASS_PRODUCTS_ROWS];
    for (int64_t i = 0; i < n * width; i++)
        x[i] = (float)number() + 3;
    for (int64_t i = 0; i < n; i++)
        rows[i] = x + (n - 1 - i) * width; /* in any order */
    double *center = numbers(width), *w = numbers(classes * width), *z = numbers(n * classes);
    double *r = numbers(n * classes), *g = numbers(classes * width);
    double *before = malloc((size_t)(classes * width) * sizeof *before);
    memcpy(before, g, (size_t)(classes * width) * sizeof *g);
    class_products_logits(rows, n, width, center, w, classes, z);
    const int64_t first = width / 3, end = width - width / 5;
    class_products_gradient(rows, n, width, center, r, classes, first, end, g);
    for (int64_t c = 0; c < classes; c++) {
        for (int64_t i = 0; i < n; i++) {
            long double sum = 0;
            for (int64_t j = 0; j < width; j++)
                sum += ((long double)rows[i][j] - (long double)center[j]) *
                       (long double)w[c * width + j];
            assert_true(fabsl(sum - (long double)z[i * classes + c]) < 1e-14L * (long double)width);
        }
        for (int64_t j = 0; j < width; j++) {
            long double sum = (long double)before[c * width + j];
            for (int64_t i = 0; i < n && j >= first && j < end; i++)
                sum += ((long double)rows[i][j] - (long double)center[j]) *
                       (long double)r[i * classes + c];
            assert_true(fabsl(sum - (long double)g[c * width + j]) < 1e-14L * (long double)(n + 1));
        }
    }
    free(x);
    free(center);
    free(w);
    free(z);
    free(r);
    free(g);
    free(before);
}

static void test_products_are_those_of_plain_loops(void **context)
{
    (void)context;
    for (int64_t classes = 1; classes <= 12; classes++) {
        check_products(1 + 5 * classes % 64, 17 * classes - 10, classes);
        check_products(64, 67, classes);
    }
    check_products(63, 1100, 7);
    check_products(1, 1, 1);
}

/* With P = R^-1 and R'R = s S + l2 I, P'(s S + l2 I) P is the identity but for rounding. */
static void check_preconditioner(int64_t n, int64_t width, double l2, double tolerance)
{
    float *x = malloc((size_t)(n * width) * sizeof *x);
    double *mean = calloc((size_t)width, sizeof *mean),
           *scale = malloc((size_t)width * sizeof *scale);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++)
            x[i * width + j] = (float)(number() + (j ? (double)x[i * width + j - 1] / 2 : 0));
    for (int64_t j = 0; j < width; j++) {
        double square = 0;
        for (int64_t i = 0; i < n; i++)
            mean[j] += (double)x[i * width + j] / (double)n;
        for (int64_t i = 0; i < n; i++)
            square += pow((double)x[i * width + j] - mean[j], 2);
        scale[j] = 1 / sqrt(square / (double)n);
    }
    const struct feature_set set = {.x = x, .n = n, .width = width};
    struct preconditioner p;
    assert_int_equal(preconditioner_make(&p, &set, mean, scale, 1, NULL), 0);
    assert_int_equal(preconditioner_set(&p, 0.25, l2), 0);
    double *u = numbers(width), *w = numbers(width), *h = calloc((size_t)width, sizeof *h);
    double *back = numbers(width), *undone = numbers(width);
    preconditioner_apply(&p, u, 1, w);
    for (int64_t i = 0; i < n; i++) {
        double z = 0;
        for (int64_t j = 0; j < width; j++)
            z += ((double)x[i * width + j] - mean[j]) * scale[j] * w[j];
        for (int64_t j = 0; j < width; j++)
            h[j] += 0.25 * z * ((double)x[i * width + j] - mean[j]) * scale[j] / (double)n;
    }
    for (int64_t j = 0; j < width; j++)
        h[j] += l2 * w[j];
    preconditioner_chain(&p, h, 1, back);
    preconditioner_undo(&p, w, 1, undone);
    for (int64_t j = 0; j < width; j++) {
        assert_true(fabs(back[j] - u[j]) < tolerance);
        assert_true(fabs(undone[j] - u[j]) < 1e-4);
    }
    preconditioner_free(&p);
    free(x);
    free(mean);
    free(scale);
    free(u);
    free(w);
    free(h);
    free(back);
    free(undone);
}

/* Features are rounded to bf16 where the machine has products of it. */
static void test_the_change_of_variables_makes_the_hessian_the_identity(void **context)
{
    (void)context;
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        check_preconditioner(3000, 130, 1e-3, 0.03);
        check_preconditioner(100, 9, 1e-1, 0.03);
    }
    check_preconditioner(200, 300, 1.0, 0.05); /* more features than rows */
}

/* Twice the same features have no factor but for what is added to the diagonal. */
static void test_features_that_depend_on_each_other_have_a_factor(void **context)
{
    (void)context;
    enum { N = 50, D = 40 };
    float x[N * D];
    double mean[D] = {0}, scale[D];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++)
            x[i * D + j] = (float)(i % 2 ? 1 : -1);
    for (int j = 0; j < D; j++)
        scale[j] = 1;
    const struct feature_set set = {.x = x, .n = N, .width = D};
    struct preconditioner p;
    double u[D], w[D];
    assert_int_equal(preconditioner_make(&p, &set, mean, scale, 1, NULL), 0);
    assert_int_equal(preconditioner_set(&p, 0.5, 0), 0);
    for (int j = 0; j < D; j++)
        u[j] = j;
    preconditioner_apply(&p, u, 1, w);
    for (int j = 0; j < D; j++)
        assert_true(isfinite(w[j]));
    preconditioner_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_are_those_of_plain_loops),
        cmocka_unit_test(test_the_change_of_variables_makes_the_hessian_the_identity),
        cmocka_unit_test(test_features_that_depend_on_each_other_have_a_factor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
