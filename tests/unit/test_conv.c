/* Tests convolutions, forward and backward, with every kernel that this machine has (or that
 * tests/emulate.c emulates) and with one of another shape, against plain loops in double on the
 * same rounded inputs. Also tests that kernels that break their contract are refused. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "emulated.h"
#include "engine/conv.h"
#include "gemm_8x12.h"

/* A kind of convolution: a kernel, and the types of values that it can multiply. */
struct kind {
    const struct gemm_kernel *kernel;
    bool bf16_maps, split;
};

/* Shapes of convolutions: sizes that fit no tile, odd channels, single images, every kernel and
 * stride of a ResNet, maps that are divided, pixels that fill whole steps and pixels that don't,
 * and windows that extend beyond the map. The columns are images, h, w, c, o, kernel, stride,
 * padding, grains, row. */
static const int64_t shapes[][10] = {
    {2, 8, 8, 64, 64, 3, 1, 1, 1},     {1, 1, 1, 5, 7, 1, 1, 0, 1},
    {4, 1, 1, 96, 33, 1, 1, 0, 2},     {8, 4, 4, 64, 40, 3, 1, 1, 4},
    {3, 5, 7, 17, 35, 3, 1, 1, 3},     {2, 9, 6, 33, 20, 3, 2, 1, 2},
    {2, 8, 8, 32, 64, 1, 2, 0, 1},     {2, 7, 5, 31, 3, 1, 2, 0, 2},
    {2, 12, 12, 3, 16, 3, 1, 1, 1},    {2, 20, 17, 3, 24, 7, 2, 3, 2},
    {1, 3, 2, 1, 1, 3, 1, 1, 1},       {5, 6, 6, 40, 64, 1, 1, 0, 5},
    {1, 40, 48, 128, 32, 3, 1, 1, 1},  {6, 3, 3, 130, 66, 3, 1, 1, 2},
    {1, 2, 2, 4, 4, 7, 2, 3, 1},       {2, 6, 5, 8, 9, 2, 3, 0, 1},
    {2, 64, 64, 40, 24, 1, 1, 0, 1},   {1, 61, 53, 20, 24, 1, 1, 0, 1},
    {8, 7, 7, 40, 48, 1, 1, 0, 2},     {3, 64, 40, 64, 16, 3, 2, 1, 1},
    {2, 33, 30, 35, 9, 3, 2, 1, 1},    {4, 90, 90, 3, 20, 7, 2, 3, 2},
    {4, 1, 33, 64, 40, 3, 1, 1, 2, 1}, {4, 1, 40, 33, 64, 3, 2, 1, 2, 1},
    {4, 1, 51, 2, 16, 7, 2, 3, 4, 1},  {2, 4, 16, 64, 64, 3, 1, 1, 1, 1},
    {2, 5, 9, 17, 20, 3, 2, 1, 1, 1},  {3, 1, 17, 40, 24, 1, 2, 0, 1, 1},
    {2, 1, 900, 3, 8, 7, 1, 3, 2, 1},  {4, 16, 16, 64, 12, 3, 2, 1, 4},
    {4, 28, 28, 128, 20, 1, 1, 0, 4},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static struct conv_shape conv_shape(const int64_t n[10])
{
    struct conv_shape s = {.images = n[0],
                           .h = n[1],
                           .w = n[2],
                           .c = n[3],
                           .o = n[4],
                           .kernel = n[5],
                           .stride = n[6],
                           .padding = n[7],
                           .grains = n[8],
                           .row = n[9]};
    s.oh = (s.h + 2 * conv_row_padding(&s) - conv_rows(&s)) / s.stride + 1;
    s.ow = (s.w + 2 * s.padding - s.kernel) / s.stride + 1;
    return s;
}

static int64_t multiplications(int shape)
{
    const struct conv_shape s = conv_shape(shapes[shape]);
    return s.images * s.oh * s.ow * s.o * s.c * conv_rows(&s) * s.kernel;
}

/* Returns a limit of work for a kernel. Emulated instructions take microseconds, but those of tiles
 * do much more work. */
static int64_t limit_emulated(const struct gemm_kernel *p)
{
    return p->rows * p->columns == 1024 ? 1 << 26 : 1 << 20;
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    assert_non_null(p);
    return p;
}

/* Returns n numbers in [-1, 1), rounded to bf16 if maps are bf16, and sets *map to the same numbers
 * as a map's values. If these are floats, as weights are, they are not rounded, because the
 * convolution rounds them. */
static double *numbers(uint64_t seed, int64_t n, bool bf16, void **map, size_t value)
{
    double *x = room((size_t)n * sizeof *x);
    *map = room((size_t)n * value);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        const float v = (float)((double)(seed >> 40) / (1 << 23) - 1);
        if (value == sizeof(float))
            ((float *)*map)[i] = v;
        else
            ((uint16_t *)*map)[i] = bf16_narrow(v);
        x[i] = (double)(bf16 ? bf16_widen(bf16_narrow(v)) : v);
    }
    return x;
}

static double map_value(const void *map, int64_t i, bool bf16)
{
    return bf16 ? (double)bf16_widen(((const uint16_t *)map)[i]) : (double)((const float *)map)[i];
}

/* Runs `body` for every product of the convolution, with the indices of x, weight and y. */
#define EACH_PRODUCT(s, xi, wi, yi, body)                                                          \
    for (int64_t n_ = 0; n_ < (s)->images; n_++)                                                   \
        for (int64_t a_ = 0; a_ < (s)->oh; a_++)                                                   \
            for (int64_t b_ = 0; b_ < (s)->ow; b_++)                                               \
                for (int64_t ky_ = 0; ky_ < conv_rows(s); ky_++)                                   \
                    for (int64_t kx_ = 0; kx_ < (s)->kernel; kx_++) {                              \
                        const int64_t iy_ = a_ * (s)->stride + ky_ - conv_row_padding(s);          \
                        const int64_t ix_ = b_ * (s)->stride + kx_ - (s)->padding;                 \
                        if (iy_ < 0 || ix_ < 0 || iy_ >= (s)->h || ix_ >= (s)->w)                  \
                            continue;                                                              \
                        for (int64_t o_ = 0; o_ < (s)->o; o_++)                                    \
                            for (int64_t c_ = 0; c_ < (s)->c; c_++) {                              \
                                const int64_t xi =                                                 \
                                    ((n_ * (s)->h + iy_) * (s)->w + ix_) * (s)->c + c_;            \
                                const int64_t wi =                                                 \
                                    ((o_ * (s)->c + c_) * conv_rows(s) + ky_) * (s)->kernel + kx_; \
                                const int64_t yi =                                                 \
                                    ((n_ * (s)->oh + a_) * (s)->ow + b_) * (s)->o + o_;            \
                                body;                                                              \
                            }                                                                      \
                    }

/* Asserts that the errors of n values are within a bound relative to the largest value: products
 * are exact except for the rounding of a float32 sum, and a result that is stored as bf16 is
 * rounded once more. */
static void assert_close(const char *what, const struct kind *k, int shape, const double *right,
                         const void *map, bool bf16, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(right[i]));
    for (int64_t i = 0; i < n; i++) {
        const double got = map_value(map, i, bf16);
        const double limit = 1e-5 * most + (bf16 ? fabs(right[i]) / 256 : 0);
        if (!(fabs(got - right[i]) <= limit))
            fail_msg("%s, %s%s, shape %d: value %lld is %g, not %g", what, k->kernel->name,
                     k->bf16_maps ? " on bf16 maps" : "", shape, (long long)i, got, right[i]);
    }
}

struct buffers {
    void *packed, *memory;
    struct workspace work;
};

static struct buffers buffers(const struct precision *v, const struct conv_shape *s, int threads)
{
    const size_t bytes = conv_work_bytes(v, s, threads);
    struct buffers b = {room(conv_packed_bytes(v, s)), room(bytes * (size_t)threads), {0}};
    memset(b.memory, 0xff, bytes * (size_t)threads); /* NaNs, which show if any of it is used */
    b.work = (struct workspace){b.memory, bytes, threads};
    return b;
}

/* Returns the gradient of the weights. */
static float *gradient(const struct precision *v, const struct conv_shape *s, const void *x,
                       const void *dy, int threads)
{
    const size_t bytes = (size_t)(s->o * s->c * conv_rows(s) * s->kernel) * sizeof(float);
    const size_t partial_bytes = conv_partial_bytes(v, s, threads);
    struct buffers b = buffers(v, s, threads);
    void *partials = memset(room(partial_bytes), 0xff, partial_bytes);
    float *grad = memset(room(bytes), 0xff, bytes);
    conv_backward_weights(v, s, x, dy, partials, grad, &b.work);
    free(partials), free(b.packed), free(b.memory);
    return grad;
}

static void check_shape(const struct kind *k, const struct precision *v, int shape, int threads)
{
    const struct conv_shape s = conv_shape(shapes[shape]);
    const int64_t nx = s.images * s.h * s.w * s.c, ny = s.images * s.oh * s.ow * s.o;
    const int64_t nw = s.o * s.c * conv_rows(&s) * s.kernel;
    const size_t value = k->bf16_maps ? 2 : 4;
    void *x_map, *w_map, *dy_map, *old_map;
    double *x = numbers(1, nx, k->bf16_maps, &x_map, value);
    double *w = numbers(2, nw, k->bf16_maps, &w_map, 4);
    double *dy = numbers(3, ny, k->bf16_maps, &dy_map, value);
    double *old = numbers(4, nx, k->bf16_maps, &old_map, value);
    double *y = calloc((size_t)ny, sizeof *y), *dx = calloc((size_t)nx, sizeof *dx);
    double *dw = calloc((size_t)nw, sizeof *dw);
    EACH_PRODUCT(&s, xi, wi, yi, {
        y[yi] += x[xi] * w[wi];
        dx[xi] += dy[yi] * w[wi];
        dw[wi] += x[xi] * dy[yi];
    })
    struct buffers b = buffers(v, &s, threads);
    const int64_t rows = conv_sum_rows(v, &s);
    double *sums = room((size_t)(rows * 2 * s.o) * sizeof *sums);
    void *out = room((size_t)(ny > nx ? ny : nx) * value);
    memset(out, 0xff, (size_t)ny * value);
    conv_pack_forward(v, &s, w_map, true, b.packed, threads);
    conv_forward(v, &s, x_map, b.packed, out, sums, &b.work);
    assert_close("forward", k, shape, y, out, k->bf16_maps, ny);

    /* Check sums, with the parts of each grain added; each value may have the error above. */
    assert_int_equal(rows % s.grains, 0);
    const int64_t each = ny / s.grains / s.o;
    double most = 0;
    for (int64_t i = 0; i < ny; i++)
        most = fmax(most, fabs(y[i]));
    for (int64_t g = 0; g < s.grains; g++)
        for (int64_t o = 0; o < s.o; o++) {
            double sum = 0, square = 0, got = 0, got_square = 0;
            for (int64_t i = 0; i < each; i++) {
                const double right = y[(g * each + i) * s.o + o];
                sum += right;
                square += right * right;
            }
            for (int64_t i = 0; i < rows / s.grains; i++) {
                got += sums[(g * (rows / s.grains) + i) * 2 * s.o + o];
                got_square += sums[(g * (rows / s.grains) + i) * 2 * s.o + s.o + o];
            }
            const double limit = 1e-5 * most * (double)each;
            if (!(fabs(got - sum) <= limit) || !(fabs(got_square - square) <= 2 * most * limit))
                fail_msg("sums, %s, shape %d, grain %lld, channel %lld: %g and %g, not %g and %g",
                         k->kernel->name, shape, (long long)g, (long long)o, got, got_square, sum,
                         square);
        }

    conv_pack_backward(v, &s, w_map, b.packed, threads);
    memset(out, 0xff, (size_t)nx * value);
    conv_backward_data(v, &s, dy_map, b.packed, out, false, &b.work);
    assert_close("gradient of x", k, shape, dx, out, k->bf16_maps, nx);
    conv_backward_data(v, &s, dy_map, b.packed, old_map, true, &b.work);
    for (int64_t i = 0; i < nx; i++)
        dx[i] += old[i];
    assert_close("gradient added", k, shape, dx, old_map, k->bf16_maps, nx);

    float *grad = gradient(v, &s, x_map, dy_map, threads);
    assert_close("gradient of weights", k, shape, dw, grad, false, nw);
    if (k->kernel->usable()) {
        float *other = gradient(v, &s, x_map, dy_map, threads + 4);
        assert_memory_equal(grad, other, (size_t)nw * sizeof *grad);
        free(other);
    }
    free(x), free(w), free(dy), free(old), free(x_map), free(w_map), free(dy_map), free(old_map);
    free(y), free(dx), free(dw), free(b.packed), free(b.memory), free(sums), free(out);
    free(grad);
}

static void test_against_double(void **state)
{
    const struct kind *k = *state;
    const struct gemm_kernel *p = k->kernel;
    if (!runs(p)) {
        print_message("%s: this machine can neither run nor emulate it\n", p->name);
        skip();
    }
    const struct precision v = {p, k->bf16_maps, k->split};
    assert_int_equal(conv_check(&v), 0);
    for (int shape = 0; shape < N_SHAPES; shape++)
        if (p->usable() || multiplications(shape) < limit_emulated(p))
            check_shape(k, &v, shape, 1 + shape % 3);
}

static void refuse(const struct gemm_kernel *kernel, const char *why)
{
    (fail)("nothing");
    assert_int_equal(gemm_kernel_check(kernel), -1);
    if (!strstr(fail_message(), why) || !strstr(fail_message(), kernel->name))
        fail_msg("\"%s\" does not say \"%s\" of %s", fail_message(), why, kernel->name);
    const struct precision v = {kernel, kernel->values == GEMM_BF16, false};
    assert_int_equal(conv_check(&v), -1);
}

static void test_contract(void **state)
{
    (void)state;
    const struct gemm_kernel *kernel;
    for (int64_t i = 0; (kernel = gemm_kernel_at(i)); i++) {
        assert_int_equal(gemm_kernel_check(kernel), 0);
        assert_ptr_equal(gemm_kernel_find(gemm_kernel_names[i]), kernel);
    }
    static const struct {
        int64_t rows, columns, depth;
        const char *why;
    } bad[] = {
        {0, 16, 16, "blocks of 0 rows; 1 to 32"},
        {33, 16, 16, "blocks of 33 rows; 1 to 32"},
        {8, 0, 16, "blocks of 0 columns; 1 to 32"},
        {8, 48, 16, "blocks of 48 columns; 1 to 32"},
        {7, 12, 16, "7 x 12 floats, which are no multiple of 16"},
        {8, 12, 32, "takes 32 values a step; 16 are 64 bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gemm_kernel k = gemm_8x12;
        k.rows = bad[i].rows;
        k.columns = bad[i].columns;
        k.depth = bad[i].depth;
        refuse(&k, bad[i].why);
    }
    struct gemm_kernel k = gemm_8x12;
    k.values = GEMM_BF16;
    refuse(&k, "takes 16 values a step; 32 are 64 bytes");
}

/* Kernels of floats do not split values, and those of bf16 must split floats. */
static void test_precision(void **state)
{
    (void)state;
    struct gemm_kernel bf16 = gemm_8x12;
    bf16.values = GEMM_BF16;
    bf16.depth = 32;
    const struct {
        struct precision v;
        int status;
    } cases[] = {
        {{&gemm_8x12, false, false}, 0}, {{&gemm_8x12, true, false}, 0},
        {{&gemm_8x12, false, true}, -1}, {{&bf16, true, false}, 0},
        {{&bf16, false, true}, 0},       {{&bf16, false, false}, -1},
        {{&bf16, true, true}, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(conv_check(&cases[i].v), cases[i].status);
}

/* Adds the kinds of convolution that a kernel can compute. */
static int add_kinds(const struct gemm_kernel *kernel, struct kind *kinds)
{
    const bool floats = kernel->values == GEMM_FLOAT;
    kinds[0] = (struct kind){kernel, true, false};
    kinds[1] = (struct kind){kernel, false, !floats};
    return 2;
}

int main(int argc, char **argv)
{
    (void)argc;
    enum { MOST = 32 };
    static struct kind kinds[MOST];
    struct CMUnitTest tests[MOST + 2] = {cmocka_unit_test(test_contract),
                                         cmocka_unit_test(test_precision)};
    const struct gemm_kernel *kernel;
    int n = add_kinds(&gemm_8x12, kinds), n_tests = 2;
    for (int64_t i = 0; (kernel = gemm_kernel_at(i)); i++) {
        if (!kernel->usable() && lends(kernel))
            run_emulated(argv);
        if (n < MOST)
            n += add_kinds(kernel, kinds + n);
    }
    for (int i = 0; i < n; i++)
        tests[n_tests++] = (struct CMUnitTest){.name = kinds[i].kernel->name,
                                               .test_func = test_against_double,
                                               .initial_state = &kinds[i]};
    return cmocka_run_group_tests(tests, NULL, NULL); /* cmocka skips the empty rest */
}
