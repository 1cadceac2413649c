/* Compares the linear probe with scikit-learn and the nearest neighbours with numpy in float64;
 * tests/golden/evaluate.py has stored their results. Also tests the errors of both. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate/knn.h"
#include "evaluate/probe.h"
#include "frame/frame_io.h"

static struct frame *golden;

static void *need(const char *name)
{
    const struct tensor *t = frame_find(golden, name);
    assert_non_null(t);
    return t->data;
}

static struct feature_set rows(const char *x, const char *y)
{
    const struct tensor *t = frame_find(golden, x);
    return (struct feature_set){
        .x = need(x), .y = need(y), .n = t->shape[0], .width = t->shape[1], .classes = 6};
}

static void check_probe(const char *l2)
{
    static const char *const parts[] = {"coef", "intercept", "probability", "predicted"};
    const struct feature_set train = rows("train", "train_y"), test = rows("test", "test_y");
    void *expect[4];
    char name[64];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s_%s", parts[i], l2);
        expect[i] = need(name);
    }
    struct probe p;
    assert_int_equal(probe_fit(&p, &train, 6, atof(l2), 0.1, NULL), 0);
    assert_int_equal(p.seen, 5);
    assert_true(p.iterations > 0);
    double b_mean = 0;
    for (int c = 0; c < 5; c++)
        b_mean += p.b[c] / 5;
    for (int c = 0; c < 5; c++) {
        assert_int_equal(p.class_of[c], c + (c > 2));
        assert_float_equal((float)(p.b[c] - b_mean), ((float *)expect[1])[c], 2e-5f);
        for (int j = 0; j < 12; j++)
            assert_float_equal((float)p.w[c * 12 + j], ((float *)expect[0])[c * 12 + j], 2e-5f);
    }
    for (int i = 0; i < test.n; i++) {
        double logits[5], sum = 0;
        for (int c = 0; c < 5; c++) {
            logits[c] = p.b[c];
            for (int j = 0; j < 12; j++)
                logits[c] +=
                    p.w[c * 12 + j] * ((double)test.x[i * 12 + j] - p.mean[j]) * p.inverse_std[j];
            sum += exp(logits[c]);
        }
        for (int c = 0; c < 5; c++)
            assert_float_equal((float)(exp(logits[c]) / sum), ((float *)expect[2])[i * 5 + c],
                               1e-5f);
    }
    struct prediction v[90];
    assert_int_equal(probe_classify(&p, &test, v), 0);
    for (int i = 0; i < test.n; i++)
        assert_int_equal(v[i].label, ((int64_t *)expect[3])[i]);
    probe_free(&p);
}

static void test_probe_is_sklearns(void **state)
{
    (void)state;
    check_probe("1e-1");
    check_probe("1e-3");
}

static void test_probe_ignores_threads(void **state)
{
    (void)state;
    const struct feature_set train = rows("train", "train_y");
    struct probe one, three;
    omp_set_num_threads(1);
    assert_int_equal(probe_fit(&one, &train, 6, -1, 0.1, NULL), 0);
    omp_set_num_threads(3);
    assert_int_equal(probe_fit(&three, &train, 6, -1, 0.1, NULL), 0);
    assert_true(one.l2 >= 1e-7 && one.l2 <= 10);
    assert_memory_equal(&one.l2, &three.l2, sizeof one.l2);
    assert_memory_equal(one.w, three.w, 5 * 12 * sizeof *one.w);
    assert_memory_equal(one.b, three.b, 5 * sizeof *one.b);
    probe_free(&one);
    probe_free(&three);
}

static void test_knn_is_exact(void **state)
{
    (void)state;
    const struct feature_set train = rows("train", "train_y"), test = rows("test", "test_y");
    static const struct {
        int64_t k;
        const char *temperature;
    } settings[] = {{1, "0.1"}, {20, "0.1"}, {200, "0.02"}};
    for (int s = 0; s < 3; s++) {
        char name[64];
        snprintf(name, sizeof name, "knn_%d_%s", (int)settings[s].k, settings[s].temperature);
        const int64_t *expect = need(name);
        struct prediction v[90];
        assert_int_equal(
            knn_classify(&train, &test, settings[s].k, atof(settings[s].temperature), 6, v, NULL),
            0);
        for (int i = 0; i < test.n; i++) {
            assert_int_equal(v[i].label, expect[2 * i]);
            assert_int_equal(v[i].rank, expect[2 * i + 1]);
        }
    }
}

/* Rows that are nearly equal are all within the margin, so the candidates need more room. */
static void test_knn_of_collapsed_features(void **state)
{
    (void)state;
    enum { N = 3000, D = 9 };
    float *x = malloc(N * D * sizeof *x);
    int64_t *y = malloc(N * sizeof *y);
    for (int i = 0; i < N; i++) {
        y[i] = i % 7;
        for (int j = 0; j < D; j++)
            x[i * D + j] = 1;
    }
    x[(N - 1) * D] = 1.0001f; /* farther from the test row than the others */
    const struct feature_set train = {.x = x, .y = y, .n = N, .width = D, .classes = 7};
    const struct feature_set test = {.x = x, .y = y, .n = 1, .width = D, .classes = 7};
    struct prediction v;
    /* Of equal rows the five lowest vote; they have labels 0 to 4. */
    assert_int_equal(knn_classify(&train, &test, 5, 0.1, 7, &v, NULL), 0);
    assert_int_equal(v.label, 0);
    y[1] = 4;
    y[2] = 3;
    y[3] = 4;
    assert_int_equal(knn_classify(&train, &test, 5, 0.1, 7, &v, NULL), 0);
    assert_int_equal(v.label, 4);
    free(x);
    free(y);
}

/* Rows [n,d] of a kind, from a simple generator of numbers from 0 to 1. */
enum kind { SPREAD, ONE_SIDED, CLUSTERS, FEW_VALUES, HUGE_AND_TINY };

static float number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (1 << 24);
}

static float *some_rows(enum kind kind, int n, int d, uint32_t seed)
{
    float *x = malloc((size_t)(n * d) * sizeof *x);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++) {
            uint32_t own = (uint32_t)(i % 5 * 1000 + j) * 7919u;
            const float v = number(&seed) + number(&seed) + number(&seed) - 1.5f;
            const float cluster = number(&own) + number(&own);
            const float values[] = {v, v > 0 ? v + 0.5f : 0, cluster + 1e-4f * v,
                                    (float)(int)(2.5f * v), i % 2 ? v * 1e30f : v * 1e-30f};
            x[i * d + j] = i % 97 ? values[kind] : 0;
        }
    return x;
}

static long double cosine(const float *a, const float *b, int d)
{
    long double ab = 0, aa = 0, bb = 0;
    for (int j = 0; j < d; j++) {
        ab += (long double)a[j] * (long double)b[j];
        aa += (long double)a[j] * (long double)a[j];
        bb += (long double)b[j] * (long double)b[j];
    }
    return aa > 0 && bb > 0 ? ab / sqrtl(aa) / sqrtl(bb) : 0;
}

/* Compares with all similarities in long double: the j-th neighbour's is the j-th largest, equal ones
 * are in the order of the rows, and no row is twice. */
static void check_nearest(enum kind kind, int n, int m, int d, int k)
{
    float *x = some_rows(kind, n, d, 1), *xt = some_rows(kind, m, d, 2);
    const struct feature_set train = {.x = x, .n = n, .width = d},
                             test = {.x = xt, .n = m, .width = d};
    struct knn_neighbour *found = malloc((size_t)(m * k) * sizeof *found);
    long double *s = malloc((size_t)n * sizeof *s);
    assert_int_equal(knn_nearest(&train, &test, k, found, NULL), 0);
    for (int i = 0; i < m; i++) {
        const struct knn_neighbour *f = found + (ptrdiff_t)i * k;
        int above = 0;
        for (int r = 0; r < n; r++) {
            s[r] = cosine(xt + (ptrdiff_t)i * d, x + (ptrdiff_t)r * d, d);
            above += s[r] > (long double)f[k - 1].similarity + 1e-14L;
        }
        assert_true(above < k);
        for (int j = 0; j < k; j++) {
            assert_true(fabsl(s[f[j].row] - (long double)f[j].similarity) < 1e-14L);
            assert_true(j == 0 || f[j].similarity < f[j - 1].similarity ||
                        (f[j].similarity == f[j - 1].similarity && f[j].row > f[j - 1].row));
            above -= s[f[j].row] > (long double)f[k - 1].similarity + 1e-14L;
        }
        assert_int_equal(above, 0);
    }
    free(s);
    free(found);
    free(x);
    free(xt);
}

static void test_nearest_rows_of_any_kind_are_exact(void **state)
{
    (void)state;
    for (enum kind kind = SPREAD; kind <= HUGE_AND_TINY; kind++) {
        check_nearest(kind, 1500, 300, 67, 20);
        check_nearest(kind, 40, 70, 1, 40);
        check_nearest(kind, 1100, 40, 600, 7);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct feature_set train = rows("train", "train_y"), test = rows("test", "test_y");
    struct prediction v[90];
    struct probe p;
    assert_int_equal(knn_classify(&train, &test, 201, 0.1, 6, v, NULL), -1);
    assert_string_equal(fail_message(), "k = 201 neighbours of 200 training rows");
    test.width = 11;
    assert_int_equal(knn_classify(&train, &test, 20, 0.1, 6, v, NULL), -1);
    assert_string_equal(fail_message(), "training rows have 12 features, test rows 11");
    train.n = 19;
    assert_int_equal(probe_fit(&p, &train, 6, -1, 0.1, NULL), -1);
    probe_free(&p);
    int64_t same[19];
    for (int i = 0; i < 19; i++)
        same[i] = 4;
    train.y = same;
    assert_int_equal(probe_fit(&p, &train, 6, 0.1, 0.1, NULL), -1);
    assert_string_equal(fail_message(),
                        "the training rows are all of class 4: nothing to tell apart");
    probe_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_is_sklearns),
        cmocka_unit_test(test_probe_ignores_threads),
        cmocka_unit_test(test_knn_is_exact),
        cmocka_unit_test(test_knn_of_collapsed_features),
        cmocka_unit_test(test_nearest_rows_of_any_kind_are_exact),
        cmocka_unit_test(test_refusals),
    };
    golden = frame_load("tests/golden/evaluate.safetensors");
    if (!golden) {
        fprintf(stderr, "%s\n", fail_message());
        return 1;
    }
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    frame_free(golden);
    return failures;
}
