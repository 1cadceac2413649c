/* Tests the functions of activations.h against plain loops of float64, for each type of
 * activations. MULTIVERSION picks the best level that this machine has; SIMCLR_ISA (base/isa.h)
 * hides levels, so that others can be tested. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "engine/activations.h"

#include <cmocka.h>

/* A value that is computed in float32 may have an error of some roundings of its largest term. */
static const double few_roundings = 4 * 0x1p-24;

/* ---- bf16 by its definition ---- */

/* Returns the nearest number of 8 bits, and of two equally near ones the even one, as rint does. */
static double round_to_bf16(double v)
{
    int exponent;
    if (v == 0 || !isfinite(v))
        return v;
    frexp(v, &exponent);
    const int last = (exponent < -125 ? -125 : exponent) - 8; /* below 2^-126, digits are lost */
    const double rounded = ldexp(rint(ldexp(v, -last)), last);
    return fabs(rounded) < 0x1p128 ? rounded : copysign(INFINITY, v);
}

static float float_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t b = 0; b < 0x10000; b++) {
        const float v = bf16_widen((uint16_t)b);
        const float same = float_of(b << 16);
        assert_memory_equal(&v, &same, sizeof v);
        /* All cases between two neighbours: at, below and above the middle, and at the ends. */
        static const uint32_t low[] = {0, 1, 2, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff};
        for (size_t i = 0; i < sizeof low / sizeof *low; i++) {
            const float wide = float_of(b << 16 | low[i]), narrow = bf16_widen(bf16_narrow(wide));
            if (isnan(wide)) {
                assert_true(isnan(narrow));
                assert_true(bf16_narrow(wide) & 0x40); /* the NaN is quiet */
                assert_int_equal(signbit(narrow), signbit(wide));
            } else {
                const float want = (float)round_to_bf16((double)wide);
                assert_memory_equal(&narrow, &want, sizeof want);
            }
        }
    }
}

/* ---- maps of either type ---- */

static double uniform(void) /* -1 to 1 */
{
    static uint64_t state = 1;
    state = state * 6364136223846793005 + 1442695040888963407;
    return (double)(state >> 33) / 0x1p30 - 1;
}

static bool is_bf16(const struct activations *m)
{
    return m->element == 2;
}

static double get(const struct activations *m, const void *map, int64_t i)
{
    return is_bf16(m) ? (double)bf16_widen(((const uint16_t *)map)[i])
                      : (double)((const float *)map)[i];
}

static void set(const struct activations *m, void *map, int64_t i, double v)
{
    if (is_bf16(m))
        ((uint16_t *)map)[i] = bf16_narrow((float)v);
    else
        ((float *)map)[i] = (float)v;
}

static void *new_map(const struct activations *m, int64_t n)
{
    void *map = malloc((size_t)n * m->element + 1);
    assert_non_null(map);
    memset(map, 0x7f, (size_t)n * m->element); /* a value that is not written stays 3e38 */
    return map;
}

static void *copy_of(const struct activations *m, const void *map, int64_t n)
{
    return memcpy(new_map(m, n), map, (size_t)n * m->element);
}

static void *random_map(const struct activations *m, int64_t n, double mean, double std)
{
    void *map = new_map(m, n);
    for (int64_t i = 0; i < n; i++)
        set(m, map, i, mean + std * uniform());
    return map;
}

static float *random_floats(int64_t n, double mean, double std)
{
    float *v = malloc((size_t)n * sizeof *v);
    assert_non_null(v);
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)(mean + std * uniform());
    return v;
}

/* Asserts that value i of a map equals `want` to float32's precision, rounded once. `terms` is the
 * sum of the absolute values of the terms from which it was computed. */
static void assert_value(const struct activations *m, const void *map, int64_t i, double want,
                         double terms)
{
    const double have = get(m, map, i), off = fabs(have - want);
    const double half_digit =
        is_bf16(m) ? ldexp(1, (want == 0 ? -126 : ilogb(want)) - 8) : fabs(want) * 0x1p-24;
    /* The first rounding may have an error of a digit: a value next to a middle may be rounded to
     * the other side. */
    if (!(off <= 2 * half_digit + few_roundings * terms))
        fail_msg("%s: value %lld is %.9g, not %.9g", m->name, (long long)i, have, want);
}

static void assert_same(const struct activations *m, const void *a, const void *b, int64_t n)
{
    assert_memory_equal(a, b, (size_t)n * m->element);
}

/* ---- batch normalization ---- */

static const int64_t channels[] = {1, 3, 5, 17, 33, 64, 520};
static const struct norm_shape norm_shapes[] = {
    {.images = 1, .pixels = 1, .grains = 1},   {.images = 1, .pixels = 35, .grains = 1},
    {.images = 6, .pixels = 49, .grains = 2},  {.images = 8, .pixels = 1, .grains = 8},
    {.images = 8, .pixels = 300, .grains = 8}, {.images = 64, .pixels = 16, .grains = 4},
};
enum { N_SHAPES = sizeof norm_shapes / sizeof *norm_shapes };
enum { N_CHANNELS = sizeof channels / sizeof *channels };

struct norm_case {
    struct norm_shape s;
    int64_t n;
    float *mean, *scale, *bias, *constant, *slope;
    struct norm_channels k;
    void *x, *residual, *dy;
};

/* Makes a case; `ratio` is that of the mean to the standard deviation. */
static struct norm_case norm_case(const struct activations *m, struct norm_shape s, int64_t c,
                                  double ratio)
{
    s.c = c;
    struct norm_case t = {.s = s, .n = s.images * s.pixels * c};
    t.mean = random_floats(c, ratio, 0.3);
    t.scale = random_floats(c, 0.5, 1);
    t.bias = random_floats(c, 0, 0.5);
    t.constant = random_floats(c, 0, 0.1);
    t.slope = random_floats(c, 0, 0.1);
    t.k = (struct norm_channels){t.mean, t.scale, t.bias};
    t.x = random_map(m, t.n, ratio, 1);
    t.residual = random_map(m, t.n, 0, 1);
    t.dy = random_map(m, t.n, 0.2, 1);
    return t;
}

static void norm_case_free(struct norm_case *t)
{
    void *all[] = {t->mean, t->scale, t->bias, t->constant, t->slope, t->x, t->residual, t->dy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void check_forward(const struct activations *m, const struct norm_case *t, bool residual,
                          bool relu)
{
    const void *r = residual ? t->residual : NULL;
    void *y = new_map(m, t->n), *other = new_map(m, t->n);
    m->norm_forward(&t->s, t->x, &t->k, r, relu, y, 1);
    for (int64_t i = 0; i < t->n; i++) {
        const int64_t c = i % t->s.c;
        const double x = get(m, t->x, i), mean = (double)t->mean[c], scale = (double)t->scale[c];
        const double bias = (double)t->bias[c], add = r ? get(m, r, i) : 0;
        double want = (x - mean) * scale + bias + add;
        if (relu && want < 0)
            want = 0;
        assert_value(m, y, i, want, fabs((x - mean) * scale) + fabs(bias) + fabs(add));
    }
    for (int threads = 2; threads <= 3; threads++) {
        m->norm_forward(&t->s, t->x, &t->k, r, relu, other, threads);
        assert_same(m, y, other, t->n);
    }
    memcpy(other, t->x, (size_t)t->n * m->element);
    m->norm_forward(&t->s, other, &t->k, r, relu, other, 2); /* in place */
    assert_same(m, y, other, t->n);
    free(y);
    free(other);
}

static void test_norm_forward(void **state)
{
    const struct activations *m = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int j = 0; j < N_CHANNELS; j++) {
            struct norm_case t = norm_case(m, norm_shapes[i], channels[j], j % 2 ? 100 : 0.5);
            for (int mode = 0; mode < 4; mode++)
                check_forward(m, &t, mode & 1, mode & 2);
            norm_case_free(&t);
        }
}

/* Maps that are written past the caches must get the same values as small ones, at any address and
 * with any number of channels. */
static void test_large_maps(void **state)
{
    const struct activations *m = *state;
    static const int64_t c[] = {64, 33};
    for (int k = 0; k < 2; k++) {
        const struct norm_shape one = {.images = 1, .pixels = 1030, .grains = 1};
        struct norm_case t = norm_case(m, one, c[k], 0.5);
        struct norm_shape s = t.s;
        s.images = 9 * 1024 * 1024 / (t.n * (int64_t)m->element) + 1;
        void *small = new_map(m, t.n), *x = new_map(m, s.images * t.n);
        char *y = new_map(m, s.images * t.n + 1);
        void *from = y + m->element; /* not aligned */
        for (int64_t i = 0; i < s.images; i++)
            memcpy((char *)x + i * t.n * (int64_t)m->element, t.x, (size_t)t.n * m->element);
        m->norm_forward(&t.s, t.x, &t.k, NULL, true, small, 1);
        m->norm_forward(&s, x, &t.k, NULL, true, from, 2);
        for (int64_t i = 0; i < s.images; i++)
            assert_same(m, small, (char *)from + i * t.n * (int64_t)m->element, t.n);

        struct pool_shape p = {.images = 1,
                               .h = 10,
                               .w = 103,
                               .c = c[k],
                               .oh = 5,
                               .ow = 52,
                               .kernel = 3,
                               .stride = 2,
                               .padding = 1};
        void *dy = random_map(m, s.images * p.oh * p.ow * p.c, 0, 1);
        for (int64_t i = 1; i < s.images; i++)
            memcpy((char *)dy + i * p.oh * p.ow * p.c * (int64_t)m->element, dy,
                   (size_t)(p.oh * p.ow * p.c) * m->element);
        m->max_pool_backward(&p, t.x, dy, small, 1);
        p.images = s.images;
        m->max_pool_backward(&p, x, dy, from, 2);
        for (int64_t i = 0; i < s.images; i++)
            assert_same(m, small, (char *)from + i * t.n * (int64_t)m->element, t.n);
        free(dy);
        free(small);
        free(x);
        free(y);
        norm_case_free(&t);
    }
}

enum mode { NO_RELU, RELU, RESIDUAL };

static double *new_sums(const struct activations *m, const struct norm_shape *s)
{
    double *sums = malloc((size_t)(m->norm_partials(s) * 2 * s->c) * sizeof *sums);
    assert_non_null(sums);
    return sums;
}

/* Asserts that a sum is right relative to the typical size of a sum of as many random numbers. This
 * is a tighter bound than one relative to the sum of their absolute values. */
static void assert_sum(const struct activations *m, double have, double want, double squares)
{
    if (!(fabs(have - want) <= 1e-6 * sqrt(squares)))
        fail_msg("%s: a sum is %.12g, not %.12g of %.3g", m->name, have, want, sqrt(squares));
}

static void check_backward(const struct activations *m, const struct norm_case *t, enum mode mode)
{
    const struct norm_shape *s = &t->s;
    const int64_t per_grain = t->n / s->grains, c = s->c;
    const bool relu = mode == RELU;
    void *y = new_map(m, t->n), *dy = copy_of(m, t->dy, t->n);
    double *sums = new_sums(m, s), *other_sums = new_sums(m, s);
    m->norm_forward(s, t->x, &t->k, mode == RESIDUAL ? t->residual : NULL, mode != NO_RELU, y, 1);
    const void *read = mode == RESIDUAL ? y : NULL;
    m->norm_backward_sums(s, t->x, read, dy, &t->k, relu, sums, 1);

    /* dy' replaces dy if there is a residual; otherwise it is only in the sums. */
    void *masked = copy_of(m, t->dy, t->n);
    for (int64_t i = 0; i < t->n; i++)
        if (mode != NO_RELU && !(get(m, y, i) > 0))
            set(m, masked, i, 0);
    assert_same(m, dy, mode == RESIDUAL ? masked : t->dy, t->n);
    for (int64_t g = 0; g < s->grains; g++)
        for (int64_t k = 0; k < c; k++) {
            double sum = 0, square = 0, product = 0, product_square = 0;
            for (int64_t i = g * per_grain + k; i < (g + 1) * per_grain; i += c) {
                const double d = get(m, masked, i);
                const double p = d * (get(m, t->x, i) - (double)t->mean[k]);
                sum += d;
                square += d * d;
                product += p;
                product_square += p * p;
            }
            assert_sum(m, sums[g * 2 * c + k], sum, square);
            assert_sum(m, sums[g * 2 * c + c + k], product, product_square);
        }
    for (int threads = 2; threads <= 3; threads++) {
        void *again = copy_of(m, t->dy, t->n);
        m->norm_backward_sums(s, t->x, read, again, &t->k, relu, other_sums, threads);
        assert_memory_equal(sums, other_sums, (size_t)(s->grains * 2 * c) * sizeof *sums);
        assert_same(m, dy, again, t->n);
        free(again);
    }
    /* A worker that has only the last grain must compute the same sum. */
    const struct norm_shape last = {s->images / s->grains, s->pixels, c, 1};
    const int64_t at = (s->grains - 1) * per_grain * (int64_t)m->element;
    m->norm_backward_sums(&last, (char *)t->x + at, read ? (char *)y + at : NULL, (char *)dy + at,
                          &t->k, relu, other_sums, 1);
    assert_memory_equal(sums + (s->grains - 1) * 2 * c, other_sums, (size_t)(2 * c) * sizeof *sums);

    void *dx = copy_of(m, t->x, t->n);
    m->norm_backward(s, dx, dy, &t->k, relu, t->constant, t->slope, 1);
    for (int64_t i = 0; i < t->n; i++) {
        const int64_t k = i % c;
        const double a = get(m, masked, i) * (double)t->scale[k], b = (double)t->constant[k];
        const double v = (get(m, t->x, i) - (double)t->mean[k]) * (double)t->slope[k];
        assert_value(m, dx, i, a - b - v, fabs(a) + fabs(b) + fabs(v));
    }
    for (int threads = 2; threads <= 3; threads++) {
        void *again = copy_of(m, t->x, t->n);
        m->norm_backward(s, again, dy, &t->k, relu, t->constant, t->slope, threads);
        assert_same(m, dx, again, t->n);
        free(again);
    }
    free(dx);
    free(masked);
    free(y);
    free(dy);
    free(sums);
    free(other_sums);
}

static void test_norm_backward(void **state)
{
    const struct activations *m = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int j = 0; j < N_CHANNELS; j++) {
            struct norm_case t = norm_case(m, norm_shapes[i], channels[j], j % 2 ? 100 : 0.5);
            for (enum mode mode = NO_RELU; mode <= RESIDUAL; mode++)
                check_backward(m, &t, mode);
            norm_case_free(&t);
        }
}

/* Where norm(x) is 0 except for its rounding, the backward pass must find the same sign as the
 * forward pass. Each bias cancels the result for one of the values, all but the last digit, or
 * exactly if nothing is rounded. */
static void test_mask_at_the_kink(void **state)
{
    const struct activations *m = *state;
    const struct norm_shape s = {.images = 4, .pixels = 64, .grains = 2};
    int64_t passed = 0, n = 0;
    for (int j = 0; j < N_CHANNELS; j++) {
        struct norm_case t = norm_case(m, s, channels[j], 1);
        const int64_t c = t.s.c;
        for (int64_t k = 0; k < c; k++) {
            const double x = round_to_bf16(1 + uniform());
            const double digits = (double)(k % 4 < 3 ? k % 4 - 1 : 0);
            if (k % 4 == 3) {
                t.mean[k] = 0;
                t.scale[k] = 1;
            }
            t.bias[k] =
                (float)-((x - (double)t.mean[k]) * (double)t.scale[k] * (1 + digits * 0x1p-23));
            t.constant[k] = t.slope[k] = 0;
            for (int64_t i = k; i < t.n; i += c)
                set(m, t.x, i, x + (is_bf16(m) ? 0 : 0x1p-23 * (double)(i / c % 5 - 2)));
        }
        for (int64_t i = 0; i < t.n; i++)
            set(m, t.dy, i, 1);
        void *y = new_map(m, t.n);
        double *sums = new_sums(m, &t.s);
        m->norm_forward(&t.s, t.x, &t.k, NULL, true, y, 2);
        m->norm_backward_sums(&t.s, t.x, NULL, t.dy, &t.k, true, sums, 2);
        m->norm_backward(&t.s, t.x, t.dy, &t.k, true, t.constant, t.slope, 2);
        for (int64_t k = 0; k < 2 * c; k++) {
            int64_t count = 0, grain = k / c;
            for (int64_t i = grain * t.n / 2 + k % c; i < (grain + 1) * t.n / 2; i += c) {
                count += get(m, y, i) > 0;
                assert_true((get(m, t.x, i) != 0) == (get(m, y, i) > 0));
            }
            assert_true(sums[grain * 2 * c + k % c] == (double)count);
            passed += count;
        }
        n += t.n;
        free(y);
        free(sums);
        norm_case_free(&t);
    }
    assert_true(passed > n / 10 && passed < n * 9 / 10); /* otherwise nothing is tested */
}

static void test_nan(void **state)
{
    const struct activations *m = *state;
    const float one[40] = {[0] = 1}, zero[40] = {0};
    float scale[40];
    for (int i = 0; i < 40; i++)
        scale[i] = 1 + one[i];
    const struct norm_shape s = {.images = 1, .pixels = 4, .c = 40, .grains = 1};
    const struct pool_shape p = {.images = 1,
                                 .h = 2,
                                 .w = 2,
                                 .c = 40,
                                 .oh = 1,
                                 .ow = 1,
                                 .kernel = 2,
                                 .stride = 2,
                                 .padding = 0};
    const struct norm_channels k = {zero, scale, zero};
    for (int64_t i = 0; i < 160; i += 13) {
        void *x = random_map(m, 160, 0, 1), *y = new_map(m, 160);
        set(m, x, i, i % 2 ? NAN : -NAN);
        m->norm_forward(&s, x, &k, NULL, true, y, 1);
        for (int64_t j = 0; j < 160; j++)
            assert_true(isnan(get(m, y, j)) == (i == j));
        m->max_pool(&p, x, y, 1);
        for (int64_t j = 0; j < 40; j++)
            assert_true(isnan(get(m, y, j)) == (i % 40 == j));
        free(x);
        free(y);
    }
}

/* ---- pooling ---- */

static void check_max_pool(const struct activations *m, struct pool_shape s)
{
    s.oh = (s.h + 2 * s.padding - s.kernel) / s.stride + 1;
    s.ow = (s.w + 2 * s.padding - s.kernel) / s.stride + 1;
    const int64_t n = s.images * s.h * s.w * s.c, out = s.images * s.oh * s.ow * s.c;
    void *x = new_map(m, n), *dy = random_map(m, out, 0, 1), *y = new_map(m, out);
    void *dx = new_map(m, n), *other = new_map(m, n > out ? n : out);
    double *want = calloc((size_t)n, sizeof *want), *terms = calloc((size_t)n, sizeof *terms);
    for (int64_t i = 0; i < n; i++) {
        const double v = rint(4 * uniform()) + 0; /* few values, so many ties; no -0 */
        set(m, x, i, fabs(v) == 4 ? copysign(INFINITY, v) : v);
    }
    m->max_pool(&s, x, y, 1);
    m->max_pool_backward(&s, x, dy, dx, 1);
    for (int64_t i = 0; i < out; i++) {
        const int64_t c = i % s.c, b = i / s.c % s.ow, a = i / s.c / s.ow % s.oh;
        const int64_t image = i / s.c / s.ow / s.oh;
        int64_t best = -1;
        for (int64_t ky = 0; ky < s.kernel; ky++)
            for (int64_t kx = 0; kx < s.kernel; kx++) {
                const int64_t row = a * s.stride - s.padding + ky;
                const int64_t column = b * s.stride - s.padding + kx;
                if (row < 0 || row >= s.h || column < 0 || column >= s.w)
                    continue;
                const int64_t at = ((image * s.h + row) * s.w + column) * s.c + c;
                if (best < 0 || get(m, x, at) > get(m, x, best))
                    best = at;
            }
        assert_true(get(m, y, i) == get(m, x, best));
        want[best] += get(m, dy, i);
        terms[best] += fabs(get(m, dy, i));
    }
    for (int64_t i = 0; i < n; i++)
        assert_value(m, dx, i, want[i], terms[i]);
    for (int threads = 2; threads <= 3; threads++) {
        m->max_pool(&s, x, other, threads);
        assert_same(m, y, other, out);
        m->max_pool_backward(&s, x, dy, other, threads);
        assert_same(m, dx, other, n);
    }
    free(x);
    free(dy);
    free(y);
    free(dx);
    free(other);
    free(want);
    free(terms);
}

static void test_max_pool(void **state)
{
    static const struct pool_shape shapes[] = {
        {.images = 3, .h = 8, .w = 8, .kernel = 3, .stride = 2, .padding = 1},
        {.images = 1, .h = 1, .w = 1, .kernel = 3, .stride = 2, .padding = 1},
        {.images = 2, .h = 7, .w = 71, .kernel = 3, .stride = 2, .padding = 1},
        {.images = 2, .h = 7, .w = 70, .kernel = 3, .stride = 1, .padding = 2},
        {.images = 2, .h = 9, .w = 66, .kernel = 2, .stride = 1, .padding = 0},
        {.images = 1, .h = 11, .w = 67, .kernel = 2, .stride = 3, .padding = 1},
        {.images = 1, .h = 5, .w = 6, .kernel = 1, .stride = 2, .padding = 0},
    };
    const struct activations *m = *state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int j = 0; j < N_CHANNELS; j++) {
            struct pool_shape s = shapes[i];
            s.c = channels[j] < 100 ? channels[j] : 67;
            check_max_pool(m, s);
        }
}

static void test_average_pool(void **state)
{
    const struct activations *m = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int j = 0; j < N_CHANNELS; j++) {
            struct norm_shape s = norm_shapes[i];
            s.c = channels[j];
            const int64_t n = s.images * s.pixels * s.c, out = s.images * s.c;
            void *x = random_map(m, n, 0.3, 1), *dx = new_map(m, n), *other = new_map(m, n);
            float *y = random_floats(out, 0, 1), *dy = random_floats(out, 0, 1);
            float *other_y = random_floats(out, 0, 1);
            m->average_pool(&s, x, y, 1);
            m->average_pool_backward(&s, dy, dx, 1);
            for (int64_t k = 0; k < out; k++) {
                double sum = 0;
                for (int64_t p = 0; p < s.pixels; p++)
                    sum += get(m, x, (k / s.c * s.pixels + p) * s.c + k % s.c);
                assert_true(fabs((double)y[k] - sum / (double)s.pixels) < 1e-6);
            }
            for (int64_t k = 0; k < n; k++) {
                const double want = (double)dy[k / s.c / s.pixels * s.c + k % s.c];
                assert_value(m, dx, k, want / (double)s.pixels, 0);
            }
            for (int threads = 2; threads <= 3; threads++) {
                m->average_pool(&s, x, other_y, threads);
                assert_memory_equal(y, other_y, (size_t)out * sizeof *y);
                m->average_pool_backward(&s, dy, other, threads);
                assert_same(m, dx, other, n);
            }
            free(x);
            free(dx);
            free(other);
            free(y);
            free(dy);
            free(other_y);
        }
}

static void check_mean_pool(const struct activations *m, struct pool_shape s)
{
    s.kernel = 2;
    s.oh = (s.h - 1) / s.stride + 1;
    s.ow = (s.w - 1) / s.stride + 1;
    const int64_t n = s.images * s.h * s.w * s.c, out = s.images * s.oh * s.ow * s.c;
    void *x = random_map(m, n, 0.3, 1), *dy = random_map(m, out, 0, 1);
    void *y = new_map(m, out), *dx = new_map(m, n);
    void *other_y = new_map(m, out), *other_dx = new_map(m, n);
    double *want = calloc((size_t)out, sizeof *want), *terms = calloc((size_t)out, sizeof *terms);
    double *dwant = calloc((size_t)n, sizeof *dwant), *dterms = calloc((size_t)n, sizeof *dterms);
    m->mean_pool(&s, x, y, 1);
    m->mean_pool_backward(&s, dy, dx, 1);
    for (int64_t k = 0; k < out; k++) {
        const int64_t c = k % s.c, b = k / s.c % s.ow, a = k / s.c / s.ow % s.oh;
        const int64_t image = k / s.c / s.ow / s.oh;
        for (int64_t i = a * s.stride; i < a * s.stride + 2 && i < s.h; i++)
            for (int64_t j = b * s.stride; j < b * s.stride + 2 && j < s.w; j++) {
                const int64_t at = ((image * s.h + i) * s.w + j) * s.c + c;
                want[k] += get(m, x, at) / 4;
                terms[k] += fabs(get(m, x, at));
                dwant[at] += get(m, dy, k) / 4;
                dterms[at] += fabs(get(m, dy, k));
            }
    }
    for (int64_t k = 0; k < out; k++)
        assert_value(m, y, k, want[k], terms[k]);
    for (int64_t k = 0; k < n; k++)
        assert_value(m, dx, k, dwant[k], dterms[k]);
    for (int threads = 2; threads <= 3; threads++) {
        m->mean_pool(&s, x, other_y, threads);
        m->mean_pool_backward(&s, dy, other_dx, threads);
        assert_same(m, y, other_y, out);
        assert_same(m, dx, other_dx, n);
    }
    void *const maps[] = {x, dy, y, dx, other_y, other_dx, want, terms, dwant, dterms};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        free(maps[i]);
}

static void test_mean_pool(void **state)
{
    static const struct pool_shape shapes[] = {
        {.images = 2, .h = 6, .w = 8, .stride = 1}, {.images = 2, .h = 6, .w = 8, .stride = 2},
        {.images = 3, .h = 7, .w = 5, .stride = 2}, {.images = 3, .h = 5, .w = 1, .stride = 1},
        {.images = 1, .h = 1, .w = 1, .stride = 2}, {.images = 2, .h = 8, .w = 7, .stride = 3},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int j = 0; j < N_CHANNELS; j++) {
            struct pool_shape s = shapes[i];
            s.c = channels[j];
            check_mean_pool(*state, s);
        }
}

/* An infinity or a NaN beside a window must not reach its result. */
static void test_mean_pool_edges(void **state)
{
    const struct activations *m = *state;
    const struct pool_shape s = {
        .images = 2, .h = 1, .w = 3, .c = 1, .oh = 1, .ow = 2, .kernel = 2, .stride = 2};
    void *x = new_map(m, 6), *y = new_map(m, 4);
    const double in[] = {1, 3, -8, INFINITY, NAN, 2};
    for (int i = 0; i < 6; i++)
        set(m, x, i, in[i]);
    m->mean_pool(&s, x, y, 1);
    assert_true(get(m, y, 0) == 1 && get(m, y, 1) == -2);
    assert_true(isnan(get(m, y, 2)) && get(m, y, 3) == 0.5);
    free(x);
    free(y);
}

/* ---- selective kernels ---- */

/* Computes the mean and the mix of halves and both gradients in float64, with arrays as in
 * activations.h. */
static void check_halves(const struct activations *m, const struct norm_shape *s)
{
    const int64_t c = s->c, images = s->images, pixels = s->pixels;
    const int64_t n = images * pixels * 2 * c, out = images * pixels * c;
    void *x = random_map(m, n, 0.3, 1), *logits = random_map(m, images * 2 * c, 0, 6);
    void *dy = random_map(m, out, 0, 1), *dmean = random_map(m, images * c, 0, 1);
    void *mean = new_map(m, images * c), *y = new_map(m, out);
    void *dx = new_map(m, n), *dlogits = new_map(m, images * 2 * c);
    m->halves_mean(s, x, mean, 1);
    m->halves_mix(s, x, logits, y, 1);
    m->halves_mix_backward(s, x, logits, dy, dx, dlogits, 1);
    for (int64_t i = 0; i < images * c; i++) {
        const int64_t image = i / c, k = i % c;
        const double p = get(m, logits, image * 2 * c + k);
        const double q = get(m, logits, image * 2 * c + c + k);
        const double u = exp(p) / (exp(p) + exp(q)), v = exp(q) / (exp(p) + exp(q));
        /* p - q is an exponent, so its rounding error becomes a relative error of that many
         * roundings. */
        const double spread = 1 + fabs(p - q) / 4;
        double sum = 0, size = 0, gradient = 0, gradient_size = 0;
        for (int64_t j = 0; j < pixels; j++) {
            const int64_t at = (image * pixels + j) * 2 * c + k, to = (image * pixels + j) * c + k;
            const double a = get(m, x, at), b = get(m, x, at + c), d = get(m, dy, to);
            sum += a + b;
            size += fabs(a) + fabs(b);
            gradient += u * v * (a - b) * d;
            gradient_size += spread * u * v * fabs((a - b) * d);
            assert_value(m, y, to, u * a + v * b, spread * (fabs(u * a) + fabs(v * b)));
            assert_value(m, dx, at, u * d, spread * fabs(u * d));
            assert_value(m, dx, at + c, v * d, spread * fabs(v * d));
        }
        assert_value(m, mean, i, sum / (double)pixels, size / (double)pixels);
        assert_value(m, dlogits, image * 2 * c + k, gradient, gradient_size);
        assert_value(m, dlogits, image * 2 * c + c + k, -gradient, gradient_size);
    }
    void *summed = copy_of(m, dx, n);
    m->halves_mean_backward(s, dmean, summed, 1);
    for (int64_t i = 0; i < n; i++) {
        const double part = get(m, dmean, i / c / 2 / pixels * c + i % c) / (double)pixels;
        assert_value(m, summed, i, get(m, dx, i) + part, fabs(get(m, dx, i)) + fabs(part));
    }
    for (int threads = 2; threads <= 3; threads++) {
        void *other_mean = new_map(m, images * c), *other_y = new_map(m, out);
        void *other_dx = new_map(m, n), *other_dlogits = new_map(m, images * 2 * c);
        m->halves_mean(s, x, other_mean, threads);
        m->halves_mix(s, x, logits, other_y, threads);
        m->halves_mix_backward(s, x, logits, dy, other_dx, other_dlogits, threads);
        m->halves_mean_backward(s, dmean, other_dx, threads);
        assert_same(m, mean, other_mean, images * c);
        assert_same(m, y, other_y, out);
        assert_same(m, summed, other_dx, n);
        assert_same(m, dlogits, other_dlogits, images * 2 * c);
        free(other_mean);
        free(other_y);
        free(other_dx);
        free(other_dlogits);
    }
    void *const maps[] = {x, logits, dy, dmean, mean, y, dx, dlogits, summed};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        free(maps[i]);
}

static void test_halves(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int j = 0; j < N_CHANNELS; j++) {
            struct norm_shape s = norm_shapes[i];
            s.c = channels[j];
            check_halves(*state, &s);
        }
}

/* Logits that differ by a large amount must give weights 0 and 1, and no NaN. */
static void test_halves_of_large_logits(void **state)
{
    const struct activations *m = *state;
    const struct norm_shape s = {.images = 1, .pixels = 1, .c = 2, .grains = 1};
    void *x = new_map(m, 4), *logits = new_map(m, 4), *y = new_map(m, 2);
    void *dy = new_map(m, 2), *dx = new_map(m, 4), *dlogits = new_map(m, 4);
    const double in[] = {2, 3, 5, 7}, far[] = {1e4, -1e30, -1e4, 1e30};
    for (int i = 0; i < 4; i++) {
        set(m, x, i, in[i]);
        set(m, logits, i, far[i]);
        set(m, dy, i / 2, 1);
    }
    m->halves_mix(&s, x, logits, y, 1);
    m->halves_mix_backward(&s, x, logits, dy, dx, dlogits, 1);
    assert_true(get(m, y, 0) == 2 && get(m, y, 1) == 7);
    assert_true(get(m, dx, 0) == 1 && get(m, dx, 1) == 0 && get(m, dx, 2) == 0);
    for (int i = 0; i < 4; i++)
        assert_true(get(m, dlogits, i) == 0);
    void *const maps[] = {x, logits, y, dy, dx, dlogits};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        free(maps[i]);
}

/* ---- values in and out ---- */

static void test_load_bytes(void **state)
{
    const struct activations *m = *state;
    static const float mean[] = {0.485F, 0.456F, 0.4F, 0}, std[] = {0.229F, 0.2F, 0.3F, 1};
    static const int64_t pixels[] = {1, 63, 64, 1000};
    for (int64_t c = 1; c <= 4; c++)
        for (int i = 0; i < 4; i++) {
            const int64_t n = pixels[i] * c;
            uint8_t *x = malloc((size_t)n);
            void *y = new_map(m, n), *other = new_map(m, n);
            for (int64_t j = 0; j < n; j++)
                x[j] = (uint8_t)(pixels[i] == 1 ? 255 : 127.5 + 127.5 * uniform());
            m->load_bytes(x, pixels[i], c, mean, std, y, 1);
            for (int64_t j = 0; j < n; j++) {
                const float v = ((float)x[j] / 255 - mean[j % c]) / std[j % c];
                assert_true(get(m, y, j) == (is_bf16(m) ? round_to_bf16((double)v) : (double)v));
            }
            m->load_bytes(x, pixels[i], c, mean, std, other, 3);
            assert_same(m, y, other, n);
            free(x);
            free(y);
            free(other);
        }
}

static void test_load_and_store(void **state)
{
    const struct activations *m = *state;
    static const int64_t counts[] = {1, 31, 100000};
    for (int i = 0; i < 3; i++) {
        const int64_t n = counts[i];
        float *x = random_floats(n, 0, 100), *back = random_floats(n, 0, 1);
        void *y = new_map(m, n);
        m->load_floats(x, n, y, 2);
        m->store_floats(y, n, back, 3);
        for (int64_t j = 0; j < n; j++)
            assert_true((double)back[j] ==
                        (is_bf16(m) ? round_to_bf16((double)x[j]) : (double)x[j]));
        free(x);
        free(back);
        free(y);
    }
}

#define FOR_BOTH(test)                                                                             \
    {#test " fp32", test, NULL, NULL, (void *)(uintptr_t)&activations_fp32},                       \
    {                                                                                              \
#test " bf16", test, NULL, NULL, (void *)(uintptr_t)&activations_bf16                      \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16),     FOR_BOTH(test_norm_forward),
        FOR_BOTH(test_large_maps),       FOR_BOTH(test_norm_backward),
        FOR_BOTH(test_mask_at_the_kink), FOR_BOTH(test_nan),
        FOR_BOTH(test_max_pool),         FOR_BOTH(test_average_pool),
        FOR_BOTH(test_load_bytes),       FOR_BOTH(test_load_and_store),
        FOR_BOTH(test_mean_pool),        FOR_BOTH(test_mean_pool_edges),
        FOR_BOTH(test_halves),           FOR_BOTH(test_halves_of_large_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
