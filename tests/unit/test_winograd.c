/* Tests all passes of Winograd's convolutions, on maps of floats and of bf16, with every kernel of
 * floats that this machine has and with one of another shape, against plain loops in double on the
 * same rounded inputs. Also tests that neither threads, nor other images, nor where weights are
 * transformed change a bit, and that grains are added as grains.h says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "engine/grains.h"
#include "engine/winograd_gradient.h"
#include "gemm_8x12.h"

/* Shapes: maps of less than a tile, of odd sizes, of many tiles; odd channels; strips of one part,
 * of several and with a remainder; grains of one image and of several; few tiles for the channels,
 * in many grains and in few. The columns are images, h, w, c, o, grains. */
static const int64_t shapes[][6] = {
    {1, 1, 1, 1, 1, 1},    {1, 2, 3, 5, 7, 1},     {6, 4, 4, 64, 64, 3},   {3, 5, 9, 17, 35, 3},
    {2, 13, 6, 33, 20, 1}, {4, 7, 7, 96, 48, 2},   {2, 8, 8, 16, 130, 2},  {1, 40, 36, 24, 32, 1},
    {8, 3, 3, 40, 3, 4},   {40, 4, 4, 8, 16, 20},  {2, 4, 4, 512, 64, 1},  {1, 4, 8, 64, 512, 1},
    {4, 32, 30, 3, 9, 2},  {1, 1, 12, 31, 33, 1},  {1, 21, 2, 20, 100, 1}, {66, 4, 4, 5, 6, 2},
    {10, 5, 4, 70, 90, 5}, {17, 4, 4, 40, 24, 17}, {16, 4, 4, 33, 48, 16}, {1, 3, 3, 130, 70, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void *room(int64_t count, size_t size)
{
    void *p = aligned_alloc(64, ((size_t)count * size + 63) / 64 * 64);
    assert_non_null(p);
    return p;
}

/* Returns memory full of NaNs, which show if a value is used that was never written. */
static void *room_of_nans(int64_t count, size_t size)
{
    return memset(room(count, size), 0xff, (size_t)count * size);
}

static size_t value_size(bool bf16)
{
    return bf16 ? sizeof(uint16_t) : sizeof(float);
}

static float rounded(float v, bool bf16)
{
    return bf16 ? bf16_widen(bf16_narrow(v)) : v;
}

/* Returns the values of x as a map. */
static void *map_of(const float *x, int64_t n, bool bf16)
{
    void *map = room(n, value_size(bf16));
    for (int64_t i = 0; i < n; i++)
        if (bf16)
            ((uint16_t *)map)[i] = bf16_narrow(x[i]);
        else
            ((float *)map)[i] = x[i];
    return map;
}

static float value_at(const void *map, int64_t i, bool bf16)
{
    return bf16 ? bf16_widen(((const uint16_t *)map)[i]) : ((const float *)map)[i];
}

/* Returns approximately normally distributed numbers, or with `positive`, these after a ReLU. */
static float *numbers(uint64_t seed, int64_t n, bool positive)
{
    float *x = room(n, sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            sum += (double)(seed >> 40) / (1 << 23) - 1;
        }
        x[i] = positive && sum < 0 ? 0 : (float)sum;
    }
    return x;
}

struct truth {
    double *y, *dx, *dw;
};

static struct truth truth(const struct winograd_shape *s, const float *x, const float *w,
                          const float *dy)
{
    const int64_t pixels = s->images * s->h * s->w;
    struct truth t = {calloc((size_t)(pixels * s->o), sizeof(double)),
                      calloc((size_t)(pixels * s->c), sizeof(double)),
                      calloc((size_t)(s->o * s->c * 9), sizeof(double))};
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t k = 0; k < 9; k++) {
            const int64_t image = p / (s->h * s->w);
            const int64_t iy = p / s->w % s->h + k / 3 - 1, ix = p % s->w + k % 3 - 1;
            if (iy < 0 || ix < 0 || iy >= s->h || ix >= s->w)
                continue;
            const int64_t from = ((image * s->h + iy) * s->w + ix) * s->c;
            for (int64_t o = 0; o < s->o; o++)
                for (int64_t c = 0; c < s->c; c++) {
                    const double weight = (double)rounded(w[(o * s->c + c) * 9 + k], s->bf16);
                    const double d = (double)rounded(dy[p * s->o + o], s->bf16);
                    const double v = (double)rounded(x[from + c], s->bf16);
                    t.y[p * s->o + o] += v * weight;
                    t.dx[from + c] += d * weight;
                    t.dw[(o * s->c + c) * 9 + k] += d * v;
                }
        }
    return t;
}

/* Asserts that errors are within a bound. A value stored as bf16 may have one more rounding. */
static void assert_close(const char *what, const char *kernel, int shape, const double *right,
                         const float *shift, const void *got, bool bf16, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(right[i]));
    for (int64_t i = 0; i < n; i++) {
        const double want = right[i] + (shift ? (double)rounded(shift[i], bf16) : 0);
        const double d = (double)value_at(got, i, bf16) - want;
        if (!(fabs(d) <= 1e-5 * most + (bf16 ? fabs(want) / 256 : 0)))
            fail_msg("%s, %s%s, shape %d: value %lld is off by %g of %g", what, kernel,
                     bf16 ? " on bf16" : "", shape, (long long)i, d, most);
    }
}

static struct workspace workspace(const struct gemm_kernel *p, const struct winograd_shape *s,
                                  int threads)
{
    const size_t gradient = winograd_gradient_work_bytes(p, s);
    struct workspace w = {.bytes = winograd_work_bytes(p, s, threads), .threads = threads};
    assert_int_equal(w.bytes % 64, 0);
    assert_int_equal(gradient % 64, 0);
    if (w.bytes < gradient)
        w.bytes = gradient;
    w.memory = room_of_nans((int64_t)w.bytes * threads, 1);
    return w;
}

/* The results of all passes for one shape. */
struct results {
    void *y, *dx;
    float *dw;
    double *sums;
};

static void free_results(struct results *r)
{
    free(r->y);
    free(r->dx);
    free(r->dw);
    free(r->sums);
}

/* Computes the gradient of the weights. */
static void gradient(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                     const void *dy, float *dw, const struct workspace *work)
{
    void *shared = room_of_nans((int64_t)winograd_gradient_shared_bytes(p, s), 1);
    winograd_gradient(p, s, x, dy, shared, dw, work);
    free(shared);
}

static struct results run(const struct gemm_kernel *p, const struct winograd_shape *s,
                          const void *x, const float *w, const void *dy, bool once, int threads)
{
    const int64_t pixels = s->images * s->h * s->w;
    const struct winograd_shape back = {s->images, s->h, s->w, s->o, s->c, s->grains, s->bf16};
    struct results r = {room_of_nans(pixels * s->o, value_size(s->bf16)),
                        room_of_nans(pixels * s->c, value_size(s->bf16)),
                        room_of_nans(s->o * 9 * s->c, sizeof(float)),
                        room_of_nans(winograd_sum_rows(s) * 2 * s->o, sizeof(double))};
    struct workspace work = workspace(p, s, threads);
    void *packed = room_of_nans((int64_t)winograd_packed_bytes(p, s), 1);
    winograd_pack_forward(p, s, w, once, packed, threads);
    winograd_forward(p, s, x, packed, r.y, r.sums, false, &work);
    winograd_pack_backward(p, s, w, once, packed, threads);
    winograd_forward(p, &back, dy, packed, r.dx, NULL, false, &work);
    gradient(p, s, x, dy, r.dw, &work);
    free(work.memory);
    free(packed);
    return r;
}

/* The gradient must have the bits of the tree over its grains' gradients, each computed alone. */
static void check_grains(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                         const void *dy, const float *dw)
{
    const int64_t nw = s->o * 9 * s->c;
    const size_t pixels = (size_t)(s->images / s->grains * s->h * s->w) * value_size(s->bf16);
    struct winograd_shape alone = *s;
    alone.images /= s->grains;
    alone.grains = 1;
    struct workspace work = workspace(p, &alone, 1);
    float *parts = room_of_nans(s->grains * nw, sizeof *parts);
    for (int64_t g = 0; g < s->grains; g++)
        gradient(p, &alone, (const char *)x + (size_t)(g * s->c) * pixels,
                 (const char *)dy + (size_t)(g * s->o) * pixels, parts + g * nw, &work);
    grains_sum_floats(parts, s->grains, nw, 1);
    assert_memory_equal(dw, parts, (size_t)nw * sizeof *dw);
    free(work.memory);
    free(parts);
}

/* Checks sums against y as it was before rounding. */
static void check_sums(const struct winograd_shape *s, const float *y, const double *sums)
{
    const int64_t rows = winograd_sum_rows(s) / s->grains;
    const int64_t pixels = s->images / s->grains * s->h * s->w;
    assert_int_equal(rows * s->grains, winograd_sum_rows(s));
    for (int64_t g = 0; g < s->grains; g++)
        for (int64_t o = 0; o < s->o; o++) {
            double sum = 0, square = 0, size = 0, got = 0, got_square = 0;
            for (int64_t i = 0; i < pixels; i++) {
                const double v = (double)y[(g * pixels + i) * s->o + o];
                sum += v;
                size += fabs(v);
                square += v * v;
            }
            for (int64_t i = g * rows; i < (g + 1) * rows; i++) {
                got += sums[i * 2 * s->o + o];
                got_square += sums[(i * 2 + 1) * s->o + o];
            }
            assert_true(fabs(got - sum) <= 1e-12 * size);
            assert_true(fabs(got_square - square) <= 1e-12 * square);
        }
}

/* Maps of bf16 must give the same as maps of floats with the same numbers, except for one
 * rounding. */
static void check_rounding(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const float *x, const float *w, const float *dy, const struct results *r)
{
    struct winograd_shape floats = *s;
    floats.bf16 = false;
    const int64_t nx = s->images * s->h * s->w * s->c, ny = nx / s->c * s->o;
    const int64_t nw = s->o * 9 * s->c;
    float *xf = room(nx, sizeof *xf), *wf = room(nw, sizeof *wf), *dyf = room(ny, sizeof *dyf);
    for (int64_t i = 0; i < nx; i++)
        xf[i] = rounded(x[i], true);
    for (int64_t i = 0; i < nw; i++)
        wf[i] = rounded(w[i], true);
    for (int64_t i = 0; i < ny; i++)
        dyf[i] = rounded(dy[i], true);
    struct results exact = run(p, &floats, xf, wf, dyf, true, 1);
    void *y = map_of(exact.y, ny, true), *dx = map_of(exact.dx, nx, true);
    assert_memory_equal(r->y, y, (size_t)ny * sizeof(uint16_t));
    assert_memory_equal(r->dx, dx, (size_t)nx * sizeof(uint16_t));
    assert_memory_equal(r->dw, exact.dw, (size_t)nw * sizeof *r->dw);
    check_sums(s, exact.y, r->sums);
    free_results(&exact);
    free(xf);
    free(wf);
    free(dyf);
    free(y);
    free(dx);
}

static void check_shape(const struct gemm_kernel *p, int shape, bool bf16)
{
    const int64_t *n = shapes[shape];
    const struct winograd_shape made = {n[0], n[1], n[2], n[3], n[4], n[5], bf16}, *s = &made;
    const size_t size = value_size(bf16);
    const int64_t pixels = s->images * s->h * s->w;
    const int64_t nx = pixels * s->c, ny = pixels * s->o, nw = s->o * 9 * s->c;
    float *x = numbers(1, nx, true), *w = numbers(2, nw, false), *dy = numbers(3, ny, false);
    struct truth right = truth(s, x, w, dy);
    void *x_map = map_of(x, nx, bf16), *dy_map = map_of(dy, ny, bf16);
    struct results r = run(p, s, x_map, w, dy_map, true, 1);
    assert_close("forward", p->name, shape, right.y, NULL, r.y, bf16, ny);
    assert_close("backward, data", p->name, shape, right.dx, NULL, r.dx, bf16, nx);
    assert_close("backward, weights", p->name, shape, right.dw, NULL, r.dw, false, nw);
    check_grains(p, s, x_map, dy_map, r.dw);
    if (bf16)
        check_rounding(p, s, x, w, dy, &r);
    else
        check_sums(s, r.y, r.sums);

    for (int i = 2; i <= 7; i++) {
        const int threads = i / 2;
        struct results other = run(p, s, x_map, w, dy_map, i % 2, threads);
        assert_memory_equal(r.y, other.y, (size_t)ny * size);
        assert_memory_equal(r.dx, other.dx, (size_t)nx * size);
        assert_memory_equal(r.dw, other.dw, (size_t)nw * sizeof *r.dw);
        assert_memory_equal(r.sums, other.sums,
                            (size_t)(winograd_sum_rows(s) * 2 * s->o) * sizeof *r.sums);
        free_results(&other);
    }

    /* Test adding to existing values. */
    struct workspace work = workspace(p, s, 2);
    void *packed = room_of_nans((int64_t)winograd_packed_bytes(p, s), 1);
    float *shift = numbers(4, ny, false);
    void *y = map_of(shift, ny, bf16);
    winograd_pack_forward(p, s, w, false, packed, 2);
    winograd_forward(p, s, x_map, packed, y, NULL, true, &work);
    assert_close("added", p->name, shape, right.y, shift, y, bf16, ny);

    /* Test the last image by itself. */
    struct winograd_shape alone = *s;
    alone.images = alone.grains = 1;
    free(work.memory);
    work = workspace(p, &alone, 1);
    winograd_forward(p, &alone, (char *)x_map + (size_t)(nx - nx / s->images) * size, packed, y,
                     NULL, false, &work);
    assert_memory_equal(y, (char *)r.y + (size_t)(ny - ny / s->images) * size,
                        (size_t)(ny / s->images) * size);

    free_results(&r);
    free(work.memory);
    free(packed);
    free(shift);
    free(y);
    free(right.y);
    free(right.dx);
    free(right.dw);
    free(x_map);
    free(dy_map);
    free(x);
    free(w);
    free(dy);
}

static void check_passes(bool bf16)
{
    const struct gemm_kernel *p = &gemm_8x12;
    for (int64_t i = 0; p; p = gemm_kernel_at(i++)) {
        if (p->values == GEMM_FLOAT && p->usable())
            for (int shape = 0; shape < SHAPES; shape++)
                check_shape(p, shape, bf16);
    }
}

static void test_floats(void **state)
{
    (void)state;
    check_passes(false);
}

static void test_bf16(void **state)
{
    (void)state;
    check_passes(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
