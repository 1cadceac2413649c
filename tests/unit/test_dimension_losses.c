/* Tests the losses that compare dimensions, Barlow Twins and VICReg, against plain loops in float64,
 * against finite differences, and against PyTorch (tests/golden/dimension_losses.py). */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

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

#include "base/random.h"
#include "frame/frame_io.h"
#include "gemm_8x12.h"
#include "loss/barlow.h"
#include "loss/vicreg.h"

/* A loss with its numbers: lambda, or the weights of the three terms. */
struct loss {
    bool vicreg;
    double number[3];
};

static const struct loss every[] = {
    {false, {0.0051}}, {false, {1}}, {true, {25, 25, 1}}, {true, {1, 4, 3}}};
enum { EVERY = sizeof every / sizeof *every };

static const char *name_of(const struct loss *l)
{
    static char text[64];
    snprintf(text, sizeof text, l->vicreg ? "vicreg %g %g %g" : "barlow %g", l->number[0],
             l->number[1], l->number[2]);
    return text;
}

static void run(const struct loss *l, const struct gemm_kernel *product, const float *z, int b,
                int d, int threads, float *dz, struct loss_metrics *m)
{
    const struct loss_input in = {
        .z = z, .n = 2 * b, .d = d, .views = 2, .threads = threads, .product = product};
    const struct vicreg_settings settings = {l->number[0], l->number[1], l->number[2]};
    assert_int_equal(l->vicreg ? vicreg(&in, &settings, dz, m) : barlow(&in, l->number[0], dz, m),
                     0);
    assert_true(isnan(m->accuracy) && isnan(m->entropy));
}

/* ---- the reference ---- */

/* A view's columns: deviations from the mean, divided by `scale` of their sum of squares. */
struct view {
    double *x;     /* (b, d) */
    double *scale; /* what x was multiplied with (d) */
    double *dx;    /* the loss's derivative by x (b, d) */
};

static void free_view(struct view *v)
{
    free(v->x);
    free(v->scale);
    free(v->dx);
}

static struct view center(const float *z, int b, int d)
{
    const size_t size = (size_t)(b * d);
    struct view v = {malloc(size * sizeof *v.x), malloc((size_t)d * sizeof *v.scale),
                     calloc(size, sizeof *v.dx)};
    for (int j = 0; j < d; j++) {
        double mean = 0;
        for (int i = 0; i < b; i++)
            mean += (double)z[2 * i * d + j] / b;
        for (int i = 0; i < b; i++)
            v.x[i * d + j] = (double)z[2 * i * d + j] - mean;
        v.scale[j] = 1;
    }
    return v;
}

static double product(const struct view *a, int j, const struct view *b, int k, int n, int d)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a->x[i * d + j] * b->x[i * d + k];
    return sum;
}

/* Takes a value's derivative by a->x'b->x at j, k to both. */
static void spread_derivative(struct view *a, int j, struct view *b, int k, int n, int d,
                              double derivative)
{
    for (int i = 0; i < n; i++) {
        a->dx[i * d + j] += derivative * b->x[i * d + k];
        b->dx[i * d + k] += derivative * a->x[i * d + j];
    }
}

static double barlow_of(struct view *v, double lambda, int b, int d)
{
    double loss = 0;
    for (int j = 0; j < d; j++)
        for (int k = 0; k < 2; k++) {
            v[k].scale[j] = 1 / sqrt(product(&v[k], j, &v[k], j, b, d) / b + 1e-5);
            for (int i = 0; i < b; i++)
                v[k].x[i * d + j] *= v[k].scale[j];
        }
    for (int j = 0; j < d; j++)
        for (int k = 0; k < d; k++) {
            const double c = product(&v[0], j, &v[1], k, b, d) / b;
            loss += j == k ? (1 - c) * (1 - c) : lambda * c * c;
            spread_derivative(&v[0], j, &v[1], k, b, d,
                              (j == k ? -2 * (1 - c) : 2 * lambda * c) / b);
        }
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < d; j++) { /* through the division by the deviation */
            double along = 0;
            for (int i = 0; i < b; i++)
                along += v[k].dx[i * d + j] * v[k].x[i * d + j] / b;
            for (int i = 0; i < b; i++)
                v[k].dx[i * d + j] =
                    v[k].scale[j] * (v[k].dx[i * d + j] - along * v[k].x[i * d + j]);
        }
    return loss;
}

static double vicreg_of(struct view *v, const double *weight, int b, int d)
{
    double loss = 0;
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < d; j++)
            for (int l = 0; l < d; l++) {
                const double c = product(&v[k], j, &v[k], l, b, d) / (b - 1);
                const double root = sqrt(c + 1e-4);
                if (j != l) {
                    loss += weight[2] * c * c / d;
                    spread_derivative(&v[k], j, &v[k], l, b, d, weight[2] * 2 * c / d / (b - 1));
                } else if (root < 1) {
                    loss += weight[1] * (1 - root) / (2 * d);
                    spread_derivative(&v[k], j, &v[k], j, b, d,
                                      -weight[1] / (2 * d) / (2 * root) / (b - 1));
                }
            }
    return loss;
}

/* Computes the loss as it is defined, and dz by the chain rule. */
static double reference(const struct loss *l, const float *z, int b, int d, double *dz)
{
    struct view v[2] = {center(z, b, d), center(z + d, b, d)};
    double loss = l->vicreg ? vicreg_of(v, l->number, b, d) : barlow_of(v, l->number[0], b, d);
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < d; j++) {
            double mean = 0;
            for (int i = 0; i < b; i++)
                mean += v[k].dx[i * d + j] / b;
            for (int i = 0; i < b; i++)
                dz[(2 * i + k) * d + j] = v[k].dx[i * d + j] - mean;
        }
    for (int i = 0; i < b && l->vicreg; i++)
        for (int j = 0; j < d; j++) {
            const double apart = (double)z[2 * i * d + j] - (double)z[(2 * i + 1) * d + j];
            loss += l->number[0] * apart * apart / (b * d);
            dz[2 * i * d + j] += 2 * l->number[0] * apart / (b * d);
            dz[(2 * i + 1) * d + j] -= 2 * l->number[0] * apart / (b * d);
        }
    free_view(&v[0]);
    free_view(&v[1]);
    return loss;
}

/* ---- comparison ---- */

enum columns {
    PLAIN,    /* views that are alike to 0.8 */
    ALIKE,    /* to 0.9999 */
    FAR,      /* means of 1000 deviations */
    CONSTANT, /* every third is */
    UNEVEN,   /* the first is 1000 times as long as the others, which are short */
    FEW,      /* all but three are constant */
    ONE,      /* mostly the same up to a factor */
    KINDS
};

static float *draw(enum columns kind, int b, int d, uint64_t seed)
{
    float *z = malloc((size_t)(2 * b * d) * sizeof *z);
    struct random r;
    random_start(&r, seed, RANDOM_INIT, 0, 0, 0);
    for (int i = 0; i < b; i++) {
        const double common = random_normal(&r);
        for (int j = 0; j < d; j++) {
            const double length = kind == UNEVEN ? (j ? 0.02 : 20) : 1;
            const double x = random_normal(&r) + (kind == ONE ? 3 * common : 0);
            const double share = kind == ALIKE ? 0.9999 : 0.8;
            const double y = share * x + sqrt(1 - share * share) * random_normal(&r);
            const bool constant = (kind == CONSTANT && j % 3 == 1) || (kind == FEW && j > 2);
            const double mean = kind == FAR ? 1000 + j : 0;
            z[2 * i * d + j] = (float)(constant ? -3 : mean + length * x);
            z[(2 * i + 1) * d + j] = (float)(constant ? 1.7 : mean + length * y);
        }
    }
    return z;
}

/* Returns the largest distance of a from b, relative to the largest element of b. */
static double distance(const float *a, const double *b, int n)
{
    double far = 0, most = 0;
    for (int i = 0; i < n; i++) {
        far = fmax(far, isnan(a[i]) ? INFINITY : fabs((double)a[i] - b[i]));
        most = fmax(most, fabs(b[i]));
    }
    return far / fmax(most, 1e-30);
}

static void compare(const struct loss *l, const char *what, int b, int d, double loss,
                    const float *dz, double want, const double *expect)
{
    const double errors[] = {fabs(loss - want) / want, distance(dz, expect, 2 * b * d)};
    for (int i = 0; i < 2; i++)
        if (!(errors[i] <= 1e-6))
            fail_msg("%s, %s, B %d, d %d: %s is off by %g", name_of(l), what, b, d,
                     i ? "dz" : "loss", errors[i]);
}

/* Compares the results of every kernel of floats that this machine can run, and of one with an
 * unusual shape. */
static void check_z(const struct loss *l, const float *z, int b, int d)
{
    const size_t size = (size_t)(2 * b * d);
    double *expect = malloc(size * sizeof *expect);
    float *dz = malloc(size * sizeof *dz);
    const double want = reference(l, z, b, d, expect);
    const struct gemm_kernel *product = &gemm_8x12;
    for (int64_t i = 0; product; product = gemm_kernel_at(i++)) {
        struct loss_metrics have;
        if (product->values != GEMM_FLOAT || !product->usable())
            continue;
        memset(dz, 0xff, size * sizeof *dz);
        run(l, product, z, b, d, 1, dz, &have);
        compare(l, product->name, b, d, have.loss, dz, want, expect);
    }
    free(dz);
    free(expect);
}

/* ---- tests ---- */

/* One dimension, two images: x = 1, -1 and y = 2, -2 have the variances 1 and 4. */
static void test_by_hand(void **state)
{
    (void)state;
    const float z[4] = {1, 2, -1, -2};
    float dz[4];
    struct loss_metrics m;
    run(&every[0], NULL, z, 2, 1, 1, dz, &m);
    const double c = 2 / sqrt((1 + 1e-5) * (4 + 1e-5));
    assert_true(fabs(m.loss / ((1 - c) * (1 - c)) - 1) < 1e-6);
    /* VICReg: variances 2 and 8 are beyond the hinge, and there is no pair of dimensions. */
    run(&every[2], NULL, z, 2, 1, 1, dz, &m);
    assert_true(m.loss == 25);
    assert_true(dz[0] == -25 && dz[1] == 25 && dz[2] == 25 && dz[3] == -25);
    /* Two dimensions of one view: x = (1, 1), (-1, 1), (1, -1), (-1, -1), twice the first in y. The
     * covariances are 0, 4/3 on the diagonal; all views differ by (x, 0). */
    const float four[16] = {1, 1, 2, 1, -1, 1, -2, 1, 1, -1, 2, -1, -1, -1, -2, -1};
    float dfour[16];
    run(&every[2], NULL, four, 4, 2, 1, dfour, &m);
    assert_true(fabs(m.loss - 12.5) < 1e-12);
}

static void test_odd_sizes(void **state)
{
    (void)state;
    static const int sizes[][2] = {{2, 1},   {2, 2},   {2, 3},  {2, 100},  {3, 1},
                                   {3, 5},   {3, 33},  {5, 3},  {7, 129},  {17, 16},
                                   {33, 31}, {40, 17}, {9, 97}, {100, 64}, {129, 65}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int l = 0; l < EVERY; l++) {
            float *z = draw(PLAIN, sizes[s][0], sizes[s][1], s);
            check_z(&every[l], z, sizes[s][0], sizes[s][1]);
            free(z);
        }
}

/* Sums of more than one chunk, and products of more than one tile. */
static void test_large_sizes(void **state)
{
    (void)state;
    static const int sizes[][2] = {{300, 140}, {132, 271}};
    for (int s = 0; s < 2; s++)
        for (int l = 1; l < 3; l++) {
            float *z = draw(PLAIN, sizes[s][0], sizes[s][1], 1);
            check_z(&every[l], z, sizes[s][0], sizes[s][1]);
            free(z);
        }
}

static void test_columns_of_all_kinds(void **state)
{
    (void)state;
    static const int sizes[][2] = {{40, 17}, {9, 97}, {17, 39}};
    for (int kind = 0; kind < KINDS; kind++)
        for (int s = 0; s < 3; s++)
            for (int l = 0; l < EVERY; l++) {
                float *z = draw(kind, sizes[s][0], sizes[s][1], 2);
                check_z(&every[l], z, sizes[s][0], sizes[s][1]);
                free(z);
            }
}

static void test_finite_differences(void **state)
{
    (void)state;
    static const int sizes[][2] = {{4, 3}, {3, 7}};
    for (int s = 0; s < 2; s++)
        for (int l = 0; l < EVERY; l++) {
            const int b = sizes[s][0], d = sizes[s][1], size = 2 * b * d;
            float *z = draw(PLAIN, b, d, 3), dz[64], unused[64];
            struct loss_metrics m, up, down;
            run(&every[l], NULL, z, b, d, 1, dz, &m);
            double most = 0;
            for (int i = 0; i < size; i++)
                most = fmax(most, fabs((double)dz[i]));
            for (int i = 0; i < size; i++) {
                const float saved = z[i];
                const float above = saved + 1e-3f, below = saved - 1e-3f;
                z[i] = above;
                run(&every[l], NULL, z, b, d, 1, unused, &up);
                z[i] = below;
                run(&every[l], NULL, z, b, d, 1, unused, &down);
                z[i] = saved;
                const double slope = (up.loss - down.loss) / ((double)above - (double)below);
                if (fabs(slope - (double)dz[i]) > 1e-3 * most)
                    fail_msg("%s, element %d: the loss rises by %g, dz says %g", name_of(&every[l]),
                             i, slope, (double)dz[i]);
            }
            free(z);
        }
}

static void test_threads(void **state)
{
    (void)state;
    static const int threads[] = {2, 3, 5};
    static const int sizes[][2] = {{300, 137}, {65, 400}};
    for (int s = 0; s < 4; s++)
        for (int l = 1; l < 3; l++) {
            const int b = sizes[s % 2][0], d = sizes[s % 2][1];
            const size_t size = (size_t)(2 * b * d) * sizeof(float);
            float *z = draw(s < 2 ? PLAIN : UNEVEN, b, d, 4), *dz = malloc(size),
                  *more = malloc(size);
            struct loss_metrics one, other;
            run(&every[l], NULL, z, b, d, 1, dz, &one);
            for (int t = 0; t < 3; t++) {
                run(&every[l], NULL, z, b, d, threads[t], more, &other);
                assert_memory_equal(dz, more, size);
                assert_memory_equal(&one.loss, &other.loss, sizeof one.loss);
            }
            free(z);
            free(dz);
            free(more);
        }
}

/* All views are the same: every dimension is constant. */
static void test_collapse(void **state)
{
    (void)state;
    enum { B = 20, D = 8 };
    float z[2 * B * D], dz[2 * B * D];
    struct loss_metrics m;
    for (int i = 0; i < 2 * B * D; i++)
        z[i] = (float)(i % D) - 2.5f;
    for (int l = 0; l < EVERY; l++) {
        run(&every[l], NULL, z, B, D, 2, dz, &m);
        const double want = every[l].vicreg ? every[l].number[1] * (1 - 0.01) : D;
        assert_true(fabs(m.loss - want) < 1e-12 * want);
        for (int i = 0; i < 2 * B * D; i++)
            assert_true(dz[i] == 0);
    }
}

/* A single element that is not finite must be noticed, in any of the ways. */
static void test_not_finite(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++)
        for (int l = 0; l < EVERY; l++)
            for (int d = 3; d < 50; d += 40) {
                float *z = draw(PLAIN, 10, d, 5), *dz = malloc((size_t)(20 * d) * sizeof *dz);
                struct loss_metrics m;
                z[7 * d + 2] = bad[i];
                run(&every[l], NULL, z, 10, d, 2, dz, &m);
                if (isfinite(m.loss))
                    fail_msg("%s: %g is not seen", name_of(&every[l]), (double)bad[i]);
                free(z);
                free(dz);
            }
}

/* tests/golden/dimension_losses.py explains the names. */
static void test_pytorch(void **state)
{
    (void)state;
    struct frame *golden = frame_load("tests/golden/dimension_losses.safetensors");
    if (!golden)
        fail_msg("%s", fail_message());
    int cases = 0;
    for (int i = 0; i < golden->n_tensors; i++) {
        const struct tensor *dz = &golden->tensors[i];
        struct loss l = {.vicreg = strstr(dz->name, "vicreg")};
        char key[64];
        if (strncmp(dz->name, "dz_", 3))
            continue;
        const char *numbers = strchr(dz->name + 3, '_') + 1;
        sscanf(numbers, "%lf_%lf_%lf", &l.number[0], &l.number[1], &l.number[2]);
        snprintf(key, sizeof key, "z%s", strrchr(dz->name, '_'));
        const struct tensor *z = frame_find(golden, key);
        const int b = (int)z->shape[0], d = (int)z->shape[2];
        float *have = malloc(z->bytes);
        double *wide = malloc(2 * z->bytes), want;
        for (int k = 0; k < 2 * b * d; k++)
            wide[k] = (double)((const float *)dz->data)[k];
        snprintf(key, sizeof key, "loss_%s", dz->name + 3);
        assert_int_equal(frame_meta_double(golden, key, NAN, &want), 0);
        struct loss_metrics m;
        run(&l, NULL, z->data, b, d, 2, have, &m);
        compare(&l, dz->name, b, d, m.loss, have, want, wide);
        free(have);
        free(wide);
        cases++;
    }
    assert_int_equal(cases, 16);
    frame_free(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_large_sizes),
        cmocka_unit_test(test_columns_of_all_kinds),
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_collapse),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
