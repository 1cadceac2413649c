/* Tests the engine of an OpenCL device against the reference engine of plain loops in double: each
 * operation by itself on odd sizes, and whole networks. It runs on the device that
 * SIMCLR_TEST_DEVICE names, or the first one, which may be the processor (PoCL). What needs a device
 * is skipped if there is none. */
#include <stddef.h>
#include <stdio.h>

#include "base/arena.h"
#include "device/engine_opencl.h"
#include "device/opencl_devices.h"
#include "engine_reference.h"

#include "engine_cases.h" /* comes last, with cmocka.h */

enum { THREADS = 2 };

static struct engine *open_device(void)
{
    const char *named = getenv("SIMCLR_TEST_DEVICE");
    struct engine *e = engine_opencl_new(named ? named : "opencl", THREADS);
    if (!e && !named)
        skip(); /* there is none */
    if (!e)
        fail_msg("%s", fail_message());
    return e;
}

/* ---- operations ---- */

/* An operation's operands: the values that go in, and those that come out. The same function runs it
 * on both engines. */
enum { MOST_MAPS = 5, MOST_SUMS = 1 << 14 };
struct operands {
    int64_t n[MOST_MAPS];         /* values of each map; 0: there is none */
    bool floats[MOST_MAPS];       /* the map is floats in every engine */
    size_t packed, work, partial; /* bytes */
    float *weight;
    int64_t n_weights;
};

struct outcome {
    float *maps[MOST_MAPS];
    float *gradient;
    double sums[MOST_SUMS];
};

/* The engine and the memory with which an operation is run. */
struct bench {
    struct engine *e;
    struct engine_place maps[MOST_MAPS], packed, partial;
    struct engine_scratch work;
    struct outcome *out;
};

/* Runs an operation. The maps begin as numbers named "0", "1"..., and are read after it. */
static struct outcome *run(struct engine *e, const struct operands *o, const void *shape,
                           void (*operate)(const struct bench *, const struct operands *,
                                           const void *shape))
{
    struct bench b = {.e = e, .out = calloc(1, sizeof *b.out)};
    struct arena a = {0};
    size_t at[MOST_MAPS];
    for (int i = 0; i < MOST_MAPS; i++)
        at[i] = arena_reserve(&a, (size_t)o->n[i], e->element);
    const size_t packed = arena_reserve(&a, o->packed, 1);
    const size_t work = arena_reserve(&a, o->work, 1), partial = arena_reserve(&a, o->partial, 1);
    struct engine_memory *memory = e->allocate(e, a.bytes);
    assert_non_null(memory);
    b.packed = (struct engine_place){memory, packed};
    b.partial = (struct engine_place){memory, partial};
    b.work = (struct engine_scratch){{memory, work}, o->work};
    b.out->gradient = calloc((size_t)o->n_weights + 1, sizeof(float));
    for (int i = 0; i < MOST_MAPS; i++) {
        float *values = filled((char[]){(char)('0' + i), 0}, (size_t)o->n[i] + 1);
        b.maps[i] = (struct engine_place){memory, at[i]};
        if (o->floats[i])
            e->copy_in(e, values, (size_t)o->n[i] * sizeof *values, b.maps[i]);
        else
            e->load_floats(e, values, o->n[i], b.maps[i]);
        free(values);
    }
    operate(&b, o, shape);
    for (int i = 0; i < MOST_MAPS; i++) {
        b.out->maps[i] = calloc((size_t)o->n[i] + 1, sizeof(float));
        assert_int_equal(o->floats[i] ? e->copy_out(e, b.maps[i], (size_t)o->n[i] * sizeof(float),
                                                    b.out->maps[i])
                                      : e->store_floats(e, b.maps[i], o->n[i], b.out->maps[i]),
                         0);
    }
    e->release(e, memory);
    return b.out;
}

static void free_outcome(struct outcome *o)
{
    for (int i = 0; i < MOST_MAPS; i++)
        free(o->maps[i]);
    free(o->gradient);
    free(o);
}

/* Returns the largest error, relative to the largest value. */
static double error_of(const float *a, const float *want, int64_t n)
{
    double off = 0, most = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)want[i]);
        off = d > off || d != d ? d : off;
        most = fmax(most, fabs((double)want[i]));
    }
    return off / most;
}

static double sum_error(const double *a, const double *want, int64_t n)
{
    double off = 0, most = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        off = fmax(off, fabs(a[i] - want[i]));
        most = fmax(most, fabs(want[i]));
    }
    return off / most;
}

static void compare_outcomes(const char *what, const struct operands *o, const struct outcome *a,
                             const struct outcome *want)
{
    double most = sum_error(a->sums, want->sums, MOST_SUMS);
    for (int i = 0; i < MOST_MAPS; i++)
        most = fmax(most, error_of(a->maps[i], want->maps[i], o->n[i]));
    most = fmax(most, error_of(a->gradient, want->gradient, o->n_weights));
    if (!(most < 1e-5))
        fail_msg("%s is off by %g", what, most);
}

/* Runs an operation on the device and on the reference, and compares. conv: the sizes of a
 * convolution, from which each engine takes the memory that it needs; else NULL. */
static void check(struct engine *e, const char *what, struct operands o, const void *shape,
                  const struct conv_shape *conv,
                  void (*operate)(const struct bench *, const struct operands *, const void *))
{
    struct engine *reference = engine_reference_new(THREADS);
    struct engine *const engines[] = {e, reference};
    struct outcome *got[2];
    for (int i = 0; i < 2; i++) {
        if (conv) {
            o.packed = engines[i]->conv_packed_bytes(engines[i], conv);
            o.work = engines[i]->conv_work_bytes(engines[i], conv);
            o.partial = engines[i]->conv_partial_bytes(engines[i], conv);
        }
        engines[i]->weights_changed(engines[i]);
        got[i] = run(engines[i], &o, shape, operate);
    }
    compare_outcomes(what, &o, got[0], got[1]);
    free_outcome(got[0]);
    free_outcome(got[1]);
    engine_free(reference);
}

/* ---- convolutions ---- */

static const struct conv_case {
    int64_t images, h, w, c, o, kernel, stride, padding, grains;
    bool row;
} convolutions[] = {
    {4, 7, 5, 3, 20, 3, 1, 1, 2, false},     /* scalar loads */
    {2, 19, 23, 3, 64, 7, 2, 3, 1, false},   /* the stem for ImageNet */
    {6, 5, 6, 13, 9, 1, 2, 0, 3, false},     /* phases without taps */
    {4, 8, 8, 64, 64, 3, 1, 1, 4, false},    /* whole tiles */
    {4, 6, 7, 130, 129, 3, 1, 1, 2, false},  /* Winograd, odd sizes */
    {2, 4, 4, 128, 256, 3, 1, 1, 1, false},  /* Winograd */
    {3, 13, 9, 132, 140, 3, 1, 1, 3, false}, /* Winograd, tiles beyond the map */
    {4, 7, 7, 36, 68, 3, 2, 1, 2, false},    /* phases of different sizes */
    {3, 10, 9, 5, 8, 5, 3, 2, 1, false},     /* stride 3 */
    {4, 1, 33, 3, 17, 7, 2, 3, 2, true},     /* a series */
    {32, 1, 1, 40, 24, 1, 1, 0, 8, false},   /* a head */
    {2, 12, 3, 8, 8, 11, 1, 5, 1, false},    /* a window larger than the map */
    {6, 33, 31, 12, 16, 3, 1, 1, 2, false},  /* a gradient in several parts */
};

static void convolve(const struct bench *b, const struct operands *o, const void *shape)
{
    const struct conv_shape *s = shape;
    struct engine *e = b->e;
    e->conv_pack_forward(e, s, o->weight, true, b->packed);
    assert_int_equal(
        e->conv_forward(e, s, b->maps[0], b->packed, b->maps[1], b->out->sums, &b->work), 0);
    assert_int_equal(e->conv_backward_weights(e, s, b->maps[0], b->maps[2], b->partial,
                                              b->out->gradient, &b->work),
                     0);
    e->conv_pack_backward(e, s, o->weight, b->packed);
    e->conv_backward_data(e, s, b->maps[2], b->packed, b->maps[3], true, &b->work);
    /* x is no longer needed. */
    e->conv_backward_data(e, s, b->maps[2], b->packed, b->maps[0], false, &b->work);
}

/* The output without sums has other tiles. */
static void convolve_alone(const struct bench *b, const struct operands *o, const void *shape)
{
    const struct conv_shape *s = shape;
    b->e->conv_pack_forward(b->e, s, o->weight, true, b->packed);
    assert_int_equal(b->e->conv_forward(b->e, s, b->maps[0], b->packed, b->maps[1], NULL, &b->work),
                     0);
}

static void test_convolutions(void **state)
{
    (void)state;
    struct engine *e = open_device();
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++) {
        const struct conv_case *c = &convolutions[i];
        struct conv_shape s = {.images = c->images,
                               .h = c->h,
                               .w = c->w,
                               .c = c->c,
                               .o = c->o,
                               .kernel = c->kernel,
                               .stride = c->stride,
                               .padding = c->padding,
                               .grains = c->grains,
                               .row = c->row};
        s.oh = c->row ? 1 : (c->h + 2 * c->padding - c->kernel) / c->stride + 1;
        s.ow = (c->w + 2 * c->padding - c->kernel) / c->stride + 1;
        const int64_t in = s.images * s.h * s.w * s.c, out = s.images * s.oh * s.ow * s.o;
        struct operands o = {.n = {in, out, out, in},
                             .n_weights = s.o * s.c * conv_rows(&s) * s.kernel};
        char name[32];
        snprintf(name, sizeof name, "convolution %zu", i);
        o.weight = filled(name, (size_t)o.n_weights);
        assert_true(s.grains * 2 * s.o <= MOST_SUMS);
        check(e, name, o, &s, &s, convolve);
        check(e, name, o, &s, &s, convolve_alone);
        free(o.weight);
    }
    engine_free(e);
}

/* A worker that holds the first of two grains computes the same bits for it as one that holds both:
 * maps, and the grain's sums. */
static void test_a_grain_alone(void **state)
{
    (void)state;
    struct engine *e = open_device();
    const int64_t channels[] = {20, 136}; /* 136: Winograd */
    for (int i = 0; i < 2; i++) {
        const int64_t c = channels[i], pixels = 9 * 7;
        struct conv_shape both = {.images = 6,
                                  .h = 9,
                                  .w = 7,
                                  .c = c,
                                  .oh = 9,
                                  .ow = 7,
                                  .o = c,
                                  .kernel = 3,
                                  .stride = 1,
                                  .padding = 1,
                                  .grains = 2};
        struct conv_shape one = both;
        one.images = 3;
        one.grains = 1;
        const struct conv_shape *shapes[] = {&both, &one};
        struct outcome *got[2];
        for (int j = 0; j < 2; j++) {
            const struct conv_shape *s = shapes[j];
            const int64_t n = s->images * pixels * c;
            struct operands o = {.n = {n, n, n, n},
                                 .n_weights = c * c * 9,
                                 .packed = e->conv_packed_bytes(e, s),
                                 .work = e->conv_work_bytes(e, s),
                                 .partial = e->conv_partial_bytes(e, s)};
            o.weight = filled("w", (size_t)o.n_weights);
            e->weights_changed(e);
            got[j] = run(e, &o, s, convolve);
            free(o.weight);
        }
        for (int m = 0; m < 4; m++)
            assert_memory_equal(got[0]->maps[m], got[1]->maps[m],
                                (size_t)(3 * pixels * c) * sizeof(float));
        assert_memory_equal(got[0]->sums, got[1]->sums, (size_t)(2 * c) * sizeof(double));
        assert_memory_not_equal(got[0]->gradient, got[1]->gradient,
                                (size_t)(c * c * 9) * sizeof(float));
        free_outcome(got[0]);
        free_outcome(got[1]);
    }
    engine_free(e);
}

/* ---- norms ---- */

/* Runs the two halves of a norm's backward pass after its forward pass. */
static void normalize(const struct bench *b, const struct norm_shape *s, bool residual, bool relu)
{
    struct engine *e = b->e;
    const size_t c = (size_t)s->c;
    float *mean = filled("mean", c), *scale = filled("scale", c), *bias = filled("bias", c);
    float *constant = filled("constant", c), *slope = filled("slope", c);
    const struct norm_channels k = {mean, scale, bias};
    const struct engine_place none = {NULL, 0};
    const bool masked = relu && residual;
    e->norm_forward(e, s, b->maps[0], &k, residual ? b->maps[1] : none, relu, b->maps[2]);
    assert_int_equal(e->norm_backward_sums(e, s, b->maps[0], masked ? b->maps[2] : none, b->maps[3],
                                           &k, relu && !masked, b->out->sums),
                     0);
    e->norm_backward(e, s, b->maps[0], b->maps[3], &k, relu && !masked, constant, slope);
    free(mean);
    free(scale);
    free(bias);
    free(constant);
    free(slope);
}

static void norm_alone(const struct bench *b, const struct operands *o, const void *shape)
{
    (void)o;
    normalize(b, shape, false, false);
}

static void norm_relu(const struct bench *b, const struct operands *o, const void *shape)
{
    (void)o;
    normalize(b, shape, false, true);
}

static void norm_residual(const struct bench *b, const struct operands *o, const void *shape)
{
    (void)o;
    normalize(b, shape, true, true);
}

static void test_norms(void **state)
{
    (void)state;
    struct engine *e = open_device();
    const struct norm_shape shapes[] = {{6, 35, 13, 3}, {4, 64, 64, 2}, {16, 1, 130, 4}};
    for (int i = 0; i < 3; i++) {
        const struct norm_shape *s = &shapes[i];
        const int64_t n = s->images * s->pixels * s->c;
        const struct operands o = {.n = {n, n, n, n}};
        check(e, "a norm", o, s, NULL, norm_alone);
        check(e, "a norm with a ReLU", o, s, NULL, norm_relu);
        check(e, "a norm with a residual", o, s, NULL, norm_residual);
    }
    engine_free(e);
}

/* ---- pools and selective kernels ---- */

static void pool_windows(const struct bench *b, const struct operands *o, const void *shape)
{
    const struct pool_shape *s = shape;
    (void)o;
    b->e->max_pool(b->e, s, b->maps[0], b->maps[1]);
    b->e->max_pool_backward(b->e, s, b->maps[0], b->maps[2], b->maps[3]);
}

static void pool_means(const struct bench *b, const struct operands *o, const void *shape)
{
    const struct pool_shape *s = shape;
    (void)o;
    b->e->mean_pool(b->e, s, b->maps[0], b->maps[1]);
    b->e->mean_pool_backward(b->e, s, b->maps[2], b->maps[3]);
}

static void average(const struct bench *b, const struct operands *o, const void *shape)
{
    (void)o;
    b->e->average_pool(b->e, shape, b->maps[0], b->maps[1]);
    b->e->average_pool_backward(b->e, shape, b->maps[2], b->maps[3]);
}

static void mix(const struct bench *b, const struct operands *o, const void *shape)
{
    struct engine *e = b->e;
    (void)o;
    /* The halves, their logits, the mix, and its gradient, which is the mix itself. */
    e->halves_mean(e, shape, b->maps[0], b->maps[2]);
    e->halves_mean_backward(e, shape, b->maps[2], b->maps[0]);
    e->halves_mix(e, shape, b->maps[0], b->maps[1], b->maps[2]);
    e->halves_mix_backward(e, shape, b->maps[0], b->maps[1], b->maps[2], b->maps[3], b->maps[4]);
}

static void test_pools(void **state)
{
    (void)state;
    struct engine *e = open_device();
    const struct pool_shape windows[] = {{3, 9, 7, 5, 5, 4, 3, 2, 1},
                                         {2, 8, 8, 64, 4, 4, 3, 2, 1},
                                         {2, 5, 6, 3, 4, 5, 2, 1, 0},
                                         {2, 6, 6, 4, 3, 3, 2, 2, 0}};
    for (int i = 0; i < 4; i++) {
        const struct pool_shape *s = &windows[i];
        const int64_t in = s->images * s->h * s->w * s->c, out = s->images * s->oh * s->ow * s->c;
        const struct operands o = {.n = {in, out, out, in}};
        check(e, "a maximum pool", o, s, NULL, pool_windows);
    }
    const struct pool_shape squares[] = {{3, 9, 7, 5, 5, 4, 2, 2, 0}, {2, 8, 8, 64, 8, 8, 2, 1, 0}};
    for (int i = 0; i < 2; i++) {
        const struct pool_shape *s = &squares[i];
        const int64_t in = s->images * s->h * s->w * s->c, out = s->images * s->oh * s->ow * s->c;
        const struct operands o = {.n = {in, out, out, in}};
        check(e, "a mean pool", o, s, NULL, pool_means);
    }
    const struct norm_shape maps[] = {{6, 35, 13, 3}, {4, 1, 64, 2}};
    for (int i = 0; i < 2; i++) {
        const struct norm_shape *s = &maps[i];
        const int64_t in = s->images * s->pixels * s->c, out = s->images * s->c;
        const struct operands o = {.n = {in, out, out, in}, .floats = {false, true, true, false}};
        check(e, "an average pool", o, s, NULL, average);
        const struct operands h = {.n = {2 * in, 2 * out, in, 2 * in, 2 * out}};
        check(e, "selective kernels", h, s, NULL, mix);
    }
    engine_free(e);
}

/* NaN counts as the largest value, and -0 as less than 0; equal maxima give the gradient to the
 * first. */
static void test_maxima(void **state)
{
    (void)state;
    struct engine *e = open_device();
    const struct pool_shape s = {1, 2, 2, 1, 1, 1, 2, 2, 0};
    const float x[][4] = {{1, NAN, 3, NAN}, {-0.0F, 0, -1, 0}, {2, 2, 2, 2}, {-1, -3, -2, -0.5F}};
    const int where[] = {1, 1, 0, 3};
    struct engine_memory *memory = e->allocate(e, 256);
    const struct engine_place in = {memory, 0}, y = {memory, 64}, dx = {memory, 128};
    for (int i = 0; i < 4; i++) {
        float most, d[4];
        e->load_floats(e, x[i], 4, in);
        e->max_pool(e, &s, in, y);
        assert_int_equal(e->store_floats(e, y, 1, &most), 0);
        assert_memory_equal(&most, &x[i][where[i]], sizeof most);
        e->load_floats(e, (float[]){7}, 1, y);
        e->max_pool_backward(e, &s, in, y, dx);
        assert_int_equal(e->store_floats(e, dx, 4, d), 0);
        for (int j = 0; j < 4; j++)
            assert_true(d[j] == (j == where[i] ? 7 : 0));
    }
    e->release(e, memory);
    engine_free(e);
}

/* Bytes are turned into the numbers that the host computes, bit by bit. */
static void test_bytes(void **state)
{
    (void)state;
    struct engine *e = open_device();
    const float mean[] = {0.4914F, 0.4822F, 0.4465F}, std[] = {0.247F, 0.2435F, 0.2616F};
    uint8_t x[256 * 3];
    float y[256 * 3];
    for (int i = 0; i < 256 * 3; i++)
        x[i] = (uint8_t)(i / 3);
    struct engine_memory *memory = e->allocate(e, sizeof y);
    e->load_bytes(e, x, 256, 3, mean, std, (struct engine_place){memory, 0});
    assert_int_equal(e->store_floats(e, (struct engine_place){memory, 0}, 256 * 3, y), 0);
    for (int i = 0; i < 256 * 3; i++)
        assert_true(y[i] == ((float)x[i] / 255 - mean[i % 3]) / std[i % 3]);
    e->release(e, memory);
    engine_free(e);
}

/* ---- networks ---- */

/* The bounds of test_engines.c for float32. */
static void test_networks(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct made want = run_step(&cases[i], engine_reference_new(THREADS));
        struct made m = run_step(&cases[i], open_device());
        const struct errors off = compare(&m, &want);
        const double out = off.out / 0x1p-24, gradient = off.gradient / 0x1p-24;
        print_message("%-24s %6.1f %6.1f\n", cases[i].name, out, gradient);
        if (!(out <= 48 && gradient <= 256))
            fail_msg("%s: outputs are off by %.1f roundoffs, gradients by %.1f", cases[i].name, out,
                     gradient);
        free_made(&m);
        free_made(&want);
    }
}

/* ---- memory ---- */

/* Memory that the device does not have is no crash: either it is refused, or the next function that
 * waits reports it. */
static void test_too_much_memory(void **state)
{
    (void)state;
    struct engine *e = open_device();
    const struct conv_shape s = {.images = 1 << 20,
                                 .h = 64,
                                 .w = 64,
                                 .c = 64,
                                 .oh = 64,
                                 .ow = 64,
                                 .o = 64,
                                 .kernel = 3,
                                 .stride = 1,
                                 .padding = 1,
                                 .grains = 8};
    assert_true(e->conv_packed_bytes(e, &s) == SIZE_MAX);
    assert_true(e->conv_work_bytes(e, &s) == SIZE_MAX);
    assert_true(e->conv_partial_bytes(e, &s) == SIZE_MAX);
    struct engine_memory *memory = e->allocate(e, (size_t)1 << 50);
    if (memory) {
        float y = 0;
        e->load_floats(e, &y, 1, (struct engine_place){memory, ((size_t)1 << 50) - 64});
        assert_int_equal(e->store_floats(e, (struct engine_place){memory, 0}, 1, &y), -1);
        assert_non_null(strstr(fail_message(), "device "));
    }
    e->release(e, memory);
    engine_free(e);
}

/* ---- choosing ---- */

static void test_names(void **state)
{
    (void)state;
    assert_true(opencl_names_device("opencl"));
    assert_true(opencl_names_device("opencl:0.0"));
    assert_true(opencl_names_device("opencl:12.3"));
    const char *const bad[] = {"",
                               "cpu",
                               "opencl:",
                               "opencl:0",
                               "opencl:0.",
                               "opencl:-1.0",
                               "opencl:0.0x",
                               "opencl:0. 0",
                               "opencl:+0.0",
                               "opencl:0.0.0",
                               "OpenCL",
                               "opencl:99999.0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (opencl_names_device(bad[i]))
            fail_msg("'%s' is taken for the name of a device", bad[i]);
    engine_free(open_device());
    assert_null(engine_opencl_new("opencl:77.0", 1));
    assert_string_equal(fail_message(),
                        "--device opencl:77.0: there is no such device; --device list "
                        "prints those that there are");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions), cmocka_unit_test(test_a_grain_alone),
        cmocka_unit_test(test_norms),        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_maxima),       cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_networks),     cmocka_unit_test(test_too_much_memory),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
