/* Tests the network with each engine against PyTorch (tests/golden/network.py explains how) and
 * against finite differences. Also tests that neither threads nor other images change a result.
 * test_engines.c compares the engines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "device/engine_opencl.h"
#include "emulated.h"
#include "engine/engine_cpu.h"
#include "engine_reference.h"
#include "frame/frame.h"
#include "frame/frame_io.h"
#include "network/head.h"
#include "network/initialize.h"
#include "network/network.h"
#include "network/resnet.h"
#include "network_values.h"

#include <cmocka.h> /* comes last because it defines a macro fail */

/* ---- engines ---- */

/* The engine that make_engine() makes: that of a device (NULL: the processor), or a kernel (NULL: the
 * reference engine) and a precision. */
static const char *device;
static const struct gemm_kernel *kernel;
static enum engine_precision precision;

static struct engine *make_engine(int threads)
{
    struct engine *e = device   ? engine_opencl_new(device, threads)
                       : kernel ? engine_cpu_new(kernel, precision, threads)
                                : engine_reference_new(threads);
    assert_non_null(e);
    return e;
}

/* Runs a test with the reference engine and with each kernel of this machine in each precision, or
 * without `all`, with those that compute with full floats. */
static void with_engines(bool all, void (*test)(void))
{
    kernel = NULL;
    test();
    for (int i = 0; gemm_kernel_names[i]; i++) {
        kernel = gemm_kernel_find(gemm_kernel_names[i]);
        for (precision = ENGINE_FP32; precision <= ENGINE_FP32X3; precision++) {
            const bool computes =
                precision != (kernel->values == GEMM_BF16 ? ENGINE_FP32 : ENGINE_FP32X3);
            if (kernel->usable() && computes && (all || precision == ENGINE_FP32))
                test();
        }
    }
}

/* ---- golden ---- */

enum kind {
    CONV,
    NORM,
    NORM_RELU,
    MAX_POOL,
    AVERAGE_POOL,
    MEAN_POOL,
    BASIC,
    BOTTLENECK,
    SK_BOTTLENECK,
    HEAD,
    RESNET,
    SK_RESNET,
    SERIES_CONV,
    SERIES_RESNET
};

static const struct golden {
    const char *name;
    enum kind kind;
    int64_t images, h, w, c;
    int64_t to, kernel, stride; /* to: channels, a ResNet's depth, a head's layers */
    bool evaluation;
    double tolerance;
    double width; /* of a ResNet */
} goldens[] = {
    {"conv3x3s1", CONV, 4, 7, 6, 8, 12, 3, 1, false, 1e-5, 0},
    {"conv3x3s2", CONV, 4, 7, 6, 8, 12, 3, 2, false, 1e-5, 0},
    {"conv1x1s1", CONV, 4, 7, 6, 8, 12, 1, 1, false, 1e-5, 0},
    {"conv1x1s2", CONV, 4, 7, 6, 8, 12, 1, 2, false, 1e-5, 0},
    {"conv7x7s2", CONV, 4, 13, 12, 3, 16, 7, 2, false, 1e-5, 0},
    {"norm", NORM, 8, 5, 4, 8, 0, 0, 0, false, 1e-5, 0},
    {"norm_relu", NORM_RELU, 8, 5, 4, 8, 0, 0, 0, false, 1e-5, 0},
    {"norm_eval", NORM_RELU, 8, 5, 4, 8, 0, 0, 0, true, 1e-5, 0},
    {"max_pool", MAX_POOL, 4, 7, 6, 8, 0, 0, 0, false, 1e-5, 0},
    {"average_pool", AVERAGE_POOL, 4, 7, 6, 8, 0, 0, 0, false, 1e-5, 0},
    {"basic", BASIC, 8, 6, 6, 8, 8, 0, 1, false, 1e-5, 0},
    {"basic_down", BASIC, 8, 7, 6, 8, 16, 0, 2, false, 1e-5, 0},
    {"bottleneck", BOTTLENECK, 8, 6, 6, 32, 8, 0, 1, false, 1e-5, 0},
    {"bottleneck_down", BOTTLENECK, 8, 7, 6, 8, 8, 0, 2, false, 1e-5, 0},
    {"mean_pool1", MEAN_POOL, 4, 7, 6, 8, 0, 0, 1, false, 1e-5, 0},
    {"mean_pool2", MEAN_POOL, 4, 7, 6, 8, 0, 0, 2, false, 1e-5, 0},
    {"sk_bottleneck", SK_BOTTLENECK, 16, 6, 6, 32, 8, 0, 1, false, 1e-5, 0},
    {"sk_bottleneck_first", SK_BOTTLENECK, 16, 6, 6, 8, 8, 0, 1, false, 1e-5, 0},
    {"sk_bottleneck_down", SK_BOTTLENECK, 16, 7, 6, 8, 8, 0, 2, false, 1e-5, 0},
    {"head1", HEAD, 16, 1, 1, 32, 1, 0, 0, false, 1e-5, 0},
    {"head2", HEAD, 16, 1, 1, 32, 2, 0, 0, false, 1e-5, 0},
    {"head3", HEAD, 16, 1, 1, 32, 3, 0, 0, false, 1e-5, 0},
    {"resnet18_cifar", RESNET, 8, 8, 8, 3, 18, 0, 1, false, 1e-4, 1},
    {"resnet18_imagenet", RESNET, 8, 32, 32, 3, 18, 0, 2, false, 1e-4, 1},
    {"resnet50_cifar", RESNET, 8, 16, 16, 3, 50, 0, 1, false, 1e-4, 1},
    {"resnet50_imagenet", RESNET, 8, 64, 64, 3, 50, 0, 2, false, 1e-4, 1},
    {"resnet50_cifar_narrow", RESNET, 8, 16, 16, 3, 50, 0, 1, false, 1e-4, 0.25},
    {"series_conv3s1", SERIES_CONV, 4, 1, 13, 8, 12, 3, 1, false, 1e-5, 0},
    {"series_conv3s2", SERIES_CONV, 4, 1, 13, 8, 12, 3, 2, false, 1e-5, 0},
    {"series_conv7s2", SERIES_CONV, 4, 1, 30, 2, 16, 7, 2, false, 1e-5, 0},
    {"series_resnet18_cifar", SERIES_RESNET, 8, 1, 33, 2, 18, 0, 1, false, 1e-4, 0.25},
    {"series_resnet18_imagenet", SERIES_RESNET, 8, 1, 150, 1, 18, 0, 2, false, 1e-4, 0.25},
    {"resnet50_imagenet_narrow", RESNET, 8, 64, 64, 3, 50, 0, 2, false, 1e-4, 0.25},
    {"resnet50_sk_cifar_narrow", SK_RESNET, 8, 16, 16, 3, 50, 0, 1, false, 1e-4, 0.25},
    {"resnet50_sk_imagenet_narrow", SK_RESNET, 8, 64, 64, 3, 50, 0, 2, false, 1e-4, 0.25},
};

static struct plan *plan_of(const struct golden *g)
{
    if (g->kind == HEAD)
        return head_plan((int)g->to, g->c, 24, 16);
    const enum resnet_stem stem = g->stride == 1 ? RESNET_STEM_CIFAR : RESNET_STEM_IMAGENET;
    if (g->kind == RESNET || g->kind == SK_RESNET)
        return (g->kind == RESNET ? resnet_plan : resnet_sk_plan)((int)g->to, g->width, stem, 3);
    if (g->kind == SERIES_RESNET)
        return resnet_series_plan((int)g->to, g->width, stem, g->c);
    struct plan *p = g->kind == SERIES_CONV ? plan_new_series(g->c) : plan_new(g->c);
    int out = -1;
    if (g->kind == CONV || g->kind == SERIES_CONV)
        out = plan_convolution(p, 0, g->to, g->kernel, g->stride, g->kernel / 2, "conv1");
    else if (g->kind == NORM || g->kind == NORM_RELU) {
        /* The sums for batch norm come from the convolution before it, which is the identity
         * here. */
        out = plan_convolution(p, 0, g->c, 1, 1, 0, "identity");
        out = plan_batch_norm(
            p, out,
            &(struct plan_norm){.name = "bn1", .residual = -1, .relu = g->kind == NORM_RELU});
    }
    if (g->kind == MAX_POOL)
        out = plan_max_pool(p, 0, 3, 2, 1);
    else if (g->kind == AVERAGE_POOL)
        out = plan_average_pool(p, 0);
    else if (g->kind == MEAN_POOL)
        out = plan_mean_pool(p, 0, g->stride);
    else if (g->kind == BASIC)
        out = resnet_basic_block(p, 0, g->to, g->stride, "block");
    else if (g->kind == BOTTLENECK)
        out = resnet_bottleneck(p, 0, g->to, g->stride, "block");
    else if (g->kind == SK_BOTTLENECK)
        out = resnet_sk_bottleneck(p, 0, g->to, g->stride, "block");
    assert_true(out > 0);
    return p;
}

/* Sets the biases that the file has, which keep values away from the ReLUs' kinks. Returns their
 * number. */
static int set_given_values(struct parameters *p, const struct frame *f)
{
    int given = 0;
    for (int i = 0; i < p->n; i++) {
        struct parameter *a = &p->list[i];
        char key[160];
        snprintf(key, sizeof key, "value/%s", a->name);
        const struct tensor *t = frame_find(f, key);
        if (!t)
            continue;
        assert_int_equal(tensor_count(t), a->count);
        memcpy(a->value, t->data, a->count * sizeof(float));
        given++;
    }
    return given;
}

/* Compares v (n) with the samples and the norm of that name in the file. */
static void compare(const struct golden *g, const struct frame *f, const char *prefix,
                    const char *name, const float *v, size_t n)
{
    char key[160];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    const struct tensor *t = frame_find(f, key);
    snprintf(key, sizeof key, "norm/%s%s", prefix, name);
    const struct tensor *norm = frame_find(f, key);
    if (!t || !norm)
        fail_msg("%s: the golden file has no %s", g->name, key);
    const size_t samples = tensor_count(t);
    double off = 0, size = 0, all = 0;
    for (size_t i = 0; i < samples; i++) {
        const double want = (double)((float *)t->data)[i],
                     got = (double)v[samples == n ? i : i * 2654435761 % n];
        off += (got - want) * (got - want);
        size += want * want;
    }
    for (size_t i = 0; i < n; i++)
        all += (double)v[i] * (double)v[i];
    const double want_all = (double)*(float *)norm->data;
    /* Some channels have gradients of zero, and the samples may be from these. The error is then
     * relative to the tensor's mean square. */
    size = fmax(size, want_all * want_all * (double)samples / (double)n);
    const double relative = sqrt(off / size), of_norm = fabs(sqrt(all) - want_all) / want_all;
    if (!(relative <= g->tolerance) || !(of_norm <= g->tolerance))
        fail_msg("%s: %s is off by %.2g, its norm by %.2g", g->name, key, relative, of_norm);
}

static size_t last_values(const struct golden *g, const struct plan *p)
{
    struct plan_layout l;
    assert_int_equal(plan_lay_out(p, g->images, g->h, g->w, 4, false, false, &l), 0);
    const struct plan_map *m = &l.maps[p->n_tensors - 1];
    const size_t n = (size_t)(g->images * m->h * m->w * m->c);
    plan_layout_clear(&l);
    return n;
}

static int count_relus(const struct plan *p)
{
    int relus = 0;
    for (int i = 0; i < p->n_operations; i++)
        relus += p->operations[i].relu;
    return relus;
}

static void check_golden(const struct golden *g)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/network/%s.safetensors", g->name);
    struct frame *f = frame_load(path);
    if (!f)
        fail_msg("%s", fail_message());
    char input[64];
    snprintf(input, sizeof input, "input %s", frame_meta(f, "seed"));

    struct plan *p = plan_of(g);
    assert_non_null(p);
    const size_t n_in = (size_t)(g->images * g->h * g->w * g->c), n_out = last_values(g, p);
    struct network *net = network_new(p, make_engine(2));
    fill_parameters(network_parameters(net));
    assert_int_equal(set_given_values(network_parameters(net), f), count_relus(p));
    const struct network_shape shape = {.images = g->images,
                                        .height = g->h,
                                        .width = g->w,
                                        .grains = 2,
                                        .training = !g->evaluation,
                                        .input_grad = !g->evaluation};
    if (network_prepare(net, &shape))
        fail_msg("%s", fail_message());
    float *x = filled(input, n_in), *dout = filled("dout", n_out);
    float *out = malloc(n_out * sizeof *out), *din = malloc(n_in * sizeof *din);
    assert_int_equal(network_forward(net, NULL, x, NULL, out), 0);
    compare(g, f, "", "out", out, n_out);
    if (!g->evaluation) {
        assert_int_equal(network_backward(net, dout, din, NULL, NULL), 0);
        compare(g, f, "", "din", din, n_in);
        for (int i = 0; i < p->parameters.n; i++) {
            const struct parameter *a = &p->parameters.list[i];
            if (is_identity(a))
                continue;
            if (a->grad)
                compare(g, f, "grad/", a->name, a->grad, a->count);
            else if (a->type == PARAMETER_FLOAT)
                compare(g, f, "after/", a->name, a->value, a->count);
            else
                assert_int_equal(*(int64_t *)a->value, 1);
        }
    }
    network_free(net);
    frame_free(f);
    free(x);
    free(dout);
    free(out);
    free(din);
}

static void all_goldens(void)
{
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++)
        check_golden(&goldens[i]);
}

static void test_golden(void **state)
{
    (void)state;
    with_engines(false, all_goldens);
}

static void test_golden_on_a_device(void **state)
{
    (void)state;
    struct engine *e = engine_opencl_new("opencl", 1);
    if (!e)
        skip();
    engine_free(e);
    device = "opencl";
    all_goldens();
    device = NULL;
}

/* ---- finite differences ---- */

enum { B = 16, S = 8 };
static const struct network_shape training = {
    .images = B, .height = S, .width = S, .grains = 4, .training = true, .input_grad = true};

static struct network *ready(struct plan *p, int threads)
{
    assert_non_null(p);
    struct network *net = network_new(p, make_engine(threads));
    assert_non_null(net);
    fill_parameters(network_parameters(net));
    return net;
}

static struct network *tiny(int depth, int threads, enum resnet_stem stem)
{
    return ready(resnet_plan(depth, 0.2, stem, 3), threads);
}

/* The number of networks, which together contain all kinds of operations. */
enum { NETWORKS = 3 };
static struct network *tiny_number(int i, int threads)
{
    return i == 0   ? tiny(18, threads, RESNET_STEM_CIFAR)
           : i == 1 ? tiny(50, threads, RESNET_STEM_IMAGENET)
                    : ready(resnet_sk_plan(50, 0.2, RESNET_STEM_IMAGENET, 3), threads);
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Checks that <dout, out> changes along a direction of parameter space as the gradient predicts.
 * The directions are partly along the gradient, so that the change is larger than rounding errors
 * and the effect of ReLUs that flip on the way. */
static void finite_differences_of(struct network *net)
{
    struct parameters *p = network_parameters(net);
    assert_int_equal(network_prepare(net, &training), 0);
    const size_t n_out = (size_t)(B * network_outputs(net));
    float *x = filled("x", B * S * S * 3), *dout = filled("d", n_out);
    float *out = malloc(n_out * sizeof *out);
    for (int direction = 0; direction < 4; direction++) {
        fill_parameters(p);
        network_parameters_changed(net);
        assert_int_equal(network_forward(net, NULL, x, NULL, out), 0);
        assert_int_equal(network_backward(net, dout, NULL, NULL, NULL), 0);
        double predicted = 0, moved[2];
        for (int side = 0; side < 2; side++) {
            const double h = side ? -2e-4 : 2e-4;
            fill_parameters(p);
            for (int i = 0; i < p->n; i++) {
                struct parameter *a = &p->list[i];
                if (a->buffer)
                    continue;
                const double norm = sqrt(dot(a->grad, a->grad, a->count));
                const double each = sqrt((double)a->count);
                const uint32_t key = key_of(a->name) + (uint32_t)direction;
                for (size_t j = 0; j < a->count; j++) {
                    const double step = 0.1 * (double)a->grad[j] / norm * (1 + direction) +
                                        0.1 * (double)unit(key, j) / each;
                    ((float *)a->value)[j] += (float)(h * step);
                    if (!side)
                        predicted += step * (double)a->grad[j];
                }
            }
            network_parameters_changed(net);
            assert_int_equal(network_forward(net, NULL, x, NULL, out), 0);
            moved[side] = dot(out, dout, n_out);
        }
        const double measured = (moved[0] - moved[1]) / 4e-4;
        if (!(fabs(measured - predicted) < 0.01 * fabs(predicted)))
            fail_msg("direction %d: %g, the gradient says %g", direction, measured, predicted);
    }
    network_free(net);
    free(x);
    free(dout);
    free(out);
}

/* Returns a network of two blocks with selective kernels. */
static struct network *selective(void)
{
    struct plan *p = plan_new(3);
    int at = plan_convolution(p, 0, 12, 3, 1, 1, "conv1");
    at = resnet_sk_bottleneck(p, at, 8, 2, "first");
    at = resnet_sk_bottleneck(p, at, 8, 1, "second");
    assert_true(plan_average_pool(p, at) > 0);
    return ready(p, 2);
}

static void finite_differences(void)
{
    finite_differences_of(selective());
    finite_differences_of(tiny(18, 2, RESNET_STEM_CIFAR));
}

/* ---- threads and neighbours ---- */

static void threads_change_nothing(void)
{
    for (int kind = 0; kind < NETWORKS; kind++) {
        struct network *nets[3];
        float *outs[3], *dins[3];
        float *x = filled("x", B * S * S * 3), *dout = NULL;
        size_t n_out = 0;
        for (int t = 0; t < 3; t++) {
            nets[t] = tiny_number(kind, t + 1);
            n_out = (size_t)(B * network_outputs(nets[t]));
            if (!dout)
                dout = filled("d", n_out);
            outs[t] = malloc(n_out * sizeof(float));
            dins[t] = malloc(B * S * S * 3 * sizeof(float));
            assert_int_equal(network_prepare(nets[t], &training), 0);
            for (int again = 0; again < 2; again++) {
                assert_int_equal(network_forward(nets[t], NULL, x, NULL, outs[t]), 0);
                assert_int_equal(network_backward(nets[t], dout, dins[t], NULL, NULL), 0);
            }
            assert_memory_equal(outs[t], outs[0], n_out * sizeof(float));
            assert_memory_equal(dins[t], dins[0], B * S * S * 3 * sizeof(float));
            for (int i = 0; i < network_parameters(nets[t])->n; i++) {
                const struct parameter *a = &network_parameters(nets[t])->list[i];
                const struct parameter *b = &network_parameters(nets[0])->list[i];
                if (a->grad)
                    assert_memory_equal(a->grad, b->grad, a->count * sizeof(float));
                assert_memory_equal(a->value, b->value, parameters_bytes(a));
            }
        }
        for (int t = 0; t < 3; t++) {
            network_free(nets[t]);
            free(outs[t]);
            free(dins[t]);
        }
        free(x);
        free(dout);
    }
}

static void neighbours_are_ignored_by(struct network *net)
{
    enum { N = 70 }; /* more than one slice */
    struct network_shape shape = {.images = N, .height = S, .width = S};
    const size_t width = (size_t)network_outputs(net);
    float *x = filled("x", N * S * S * 3), *all = malloc(N * width * sizeof *all);
    float *one = malloc(width * sizeof *one);
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, all), 0);
    shape.images = 1;
    assert_int_equal(network_prepare(net, &shape), 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(network_forward(net, NULL, x + i * S * S * 3, NULL, one), 0);
        assert_memory_equal(one, all + i * width, width * sizeof *one);
    }
    network_free(net);
    free(x);
    free(all);
    free(one);
}

static void evaluation_ignores_neighbours(void)
{
    neighbours_are_ignored_by(tiny(50, 2, RESNET_STEM_CIFAR));
    neighbours_are_ignored_by(tiny_number(NETWORKS - 1, 2));
}

static void bytes_are_normalized(void)
{
    struct network *net = tiny(18, 1, RESNET_STEM_CIFAR);
    const struct network_shape shape = {.images = 2, .height = S, .width = S};
    const struct normalization how = {3, {0.5F, 0.4F, 0.3F}, {0.25F, 0.2F, 0.5F}};
    enum { VALUES = 2 * S * S * 3 };
    uint8_t bytes[VALUES];
    float floats[VALUES];
    const size_t n_out = 2 * (size_t)network_outputs(net);
    float *a = malloc(n_out * sizeof *a), *b = malloc(n_out * sizeof *b);
    for (int i = 0; i < VALUES; i++) {
        bytes[i] = (uint8_t)(i * 37);
        floats[i] = ((float)bytes[i] / 255 - how.mean[i % 3]) / how.std[i % 3];
    }
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, bytes, NULL, &how, a), 0);
    assert_int_equal(network_forward(net, NULL, floats, NULL, b), 0);
    float most = 0;
    for (size_t i = 0; i < n_out; i++)
        most = fmaxf(most, fabsf(b[i]));
    for (size_t i = 0; i < n_out; i++)
        if (!(fabsf(a[i] - b[i]) <= 1e-5F * most))
            fail_msg("output %zu is %g of bytes, %g of floats", i, (double)a[i], (double)b[i]);
    network_free(net);
    free(a);
    free(b);
}

static int count_ready(int index, void *user)
{
    ((int *)user)[index]++;
    return 0;
}

static void every_gradient_is_announced_once_by(struct network *net)
{
    const struct parameters *p = network_parameters(net);
    int *times = calloc((size_t)p->n, sizeof *times);
    const size_t n_out = (size_t)(B * network_outputs(net));
    float *x = filled("x", B * S * S * 3), *dout = filled("d", n_out);
    float *out = malloc(n_out * sizeof *out);
    assert_int_equal(network_prepare(net, &training), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, out), 0);
    assert_int_equal(network_backward(net, dout, NULL, count_ready, times), 0);
    for (int i = 0; i < p->n; i++)
        assert_int_equal(times[i], p->list[i].buffer ? 0 : 1);
    network_free(net);
    free(times);
    free(x);
    free(dout);
    free(out);
}

static void every_gradient_is_announced_once(void)
{
    every_gradient_is_announced_once_by(tiny_number(0, 2));
    every_gradient_is_announced_once_by(tiny_number(NETWORKS - 1, 2));
}

static void initial_values(void)
{
    struct plan *p = resnet_plan(18, 1, RESNET_STEM_CIFAR, 3);
    initialize_parameters(&p->parameters, 1);
    const struct parameter *conv =
        &p->parameters.list[parameters_find(&p->parameters, "layer4.0.conv2.weight")];
    const float *v = conv->value;
    const double std = sqrt(1.0 / 4608);
    double square = 0;
    for (size_t i = 0; i < conv->count; i++) {
        square += (double)v[i] * (double)v[i];
        assert_true(fabs((double)v[i]) <= 2.0001 * std / 0.87962566103423978);
    }
    assert_true(fabs(sqrt(square / (double)conv->count) / std - 1) < 2e-3);
    const struct parameter *zero =
        &p->parameters.list[parameters_find(&p->parameters, "layer3.1.bn2.weight")];
    const struct parameter *one =
        &p->parameters.list[parameters_find(&p->parameters, "layer3.1.bn1.weight")];
    assert_true(((float *)zero->value)[7] == 0 && ((float *)one->value)[7] == 1);
    plan_free(p);
}

static void wrong_shapes(void)
{
    struct network *net = tiny(18, 1, RESNET_STEM_CIFAR);
    struct network_shape shape = training;
    shape.grains = 3;
    assert_int_equal(network_prepare(net, &shape), -1);
    assert_string_equal(fail_message(), "3 grains do not divide 16 views");
    shape = training;
    shape.height = INT64_MAX / 4;
    assert_int_equal(network_prepare(net, &shape), -1);
    shape =
        (struct network_shape){.images = 1, .height = 1, .width = 1, .grains = 1, .training = true};
    float x[3] = {0}, *out = malloc((size_t)network_outputs(net) * sizeof *out);
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, out), -1);
    free(out);
    network_free(net);
    assert_null(resnet_plan(19, 1, RESNET_STEM_CIFAR, 3));
}

static void test_finite_differences(void **state)
{
    (void)state;
    with_engines(false, finite_differences);
}

static void test_threads_change_nothing(void **state)
{
    (void)state;
    with_engines(true, threads_change_nothing);
}

static void test_evaluation_ignores_neighbours(void **state)
{
    (void)state;
    with_engines(true, evaluation_ignores_neighbours);
}

static void test_bytes_are_normalized(void **state)
{
    (void)state;
    with_engines(false, bytes_are_normalized);
}

static void test_every_gradient_is_announced_once(void **state)
{
    (void)state;
    with_engines(true, every_gradient_is_announced_once);
}

static void test_initial_values(void **state)
{
    (void)state;
    with_engines(false, initial_values);
}

static void test_wrong_shapes(void **state)
{
    (void)state;
    with_engines(false, wrong_shapes);
}

/* ---- tiles ---- */

static struct network *tiny_resnet(void)
{
    return tiny(18, 2, RESNET_STEM_CIFAR);
}

/* Returns the outputs and gradients of a small network, one after the other, and sets *n to their
 * number. */
static float *results_of(struct network *(*make)(void), const struct gemm_kernel *by,
                         enum engine_precision computes, size_t *n)
{
    kernel = by;
    precision = computes;
    struct network *net = make();
    struct parameters *p = network_parameters(net);
    const size_t n_out = (size_t)(B * network_outputs(net));
    *n = n_out + (size_t)B * S * S * 3;
    for (int i = 0; i < p->n; i++)
        *n += p->list[i].grad ? p->list[i].count : 0;
    float *all = malloc(*n * sizeof *all), *at = all + n_out;
    float *x = filled("x", B * S * S * 3), *dout = filled("d", n_out);
    assert_int_equal(network_prepare(net, &training), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, all), 0);
    assert_int_equal(network_backward(net, dout, at, NULL, NULL), 0);
    at += (size_t)B * S * S * 3;
    for (int i = 0; i < p->n; i++)
        if (p->list[i].grad) {
            memcpy(at, p->list[i].grad, p->list[i].count * sizeof *at);
            at += p->list[i].count;
        }
    network_free(net);
    free(x);
    free(dout);
    return all;
}

static double cosine(const float *a, const float *b, size_t n)
{
    return dot(a, b, n) / sqrt(dot(a, a, n) * dot(b, b, n));
}

/* Compares matrix units with the plain path on the same bf16 numbers, and three bf16 products with
 * float32. Only the order of sums and the last bits differ, until a ReLU flips. */
static void test_tiles(void **state)
{
    (void)state;
    const struct gemm_kernel *amx = gemm_kernel_find("bf16-amx");
    if (!amx || !runs(amx)) {
        print_message("this machine can neither run nor emulate bf16-amx\n");
        skip();
    }
    const struct gemm_kernel *floats = gemm_kernel_choose(GEMM_FLOAT);
    for (int i = 0; i < 2; i++) {
        size_t n, n_out = (size_t)B * 104;
        float *a = results_of(tiny_resnet, amx, i ? ENGINE_FP32X3 : ENGINE_BF16, &n);
        float *b = results_of(tiny_resnet, floats, i ? ENGINE_FP32 : ENGINE_BF16, &n);
        const double out = cosine(a, b, n_out), all = cosine(a, b, n);
        print_message("%s: cosine of outputs %.7f, of all with gradients %.7f\n",
                      i ? "fp32x3 and fp32" : "bf16 on tiles and plain", out, all);
        assert_true(out > (i ? 0.9999999 : 0.9999));
        assert_true(all > (i ? 0.9999 : 0.99));
        free(a);
        free(b);
    }
}

/* Maps of bf16 have 8 bits. A wrong or missing term of a gradient has a far larger effect than
 * that. */
static void test_selective_kernels_in_bf16(void **state)
{
    (void)state;
    const struct gemm_kernel *portable = gemm_kernel_find("fp32-portable");
    size_t n, n_out = (size_t)B * 32;
    float *a = results_of(selective, portable, ENGINE_BF16, &n);
    float *b = results_of(selective, portable, ENGINE_FP32, &n);
    const double out = cosine(a, b, n_out), all = cosine(a, b, n);
    print_message("bf16 and fp32: cosine of outputs %.7f, of all with gradients %.7f\n", out, all);
    assert_true(out > 0.9999);
    assert_true(all > 0.999);
    free(a);
    free(b);
}

int main(int argc, char **argv)
{
    (void)argc;
    const struct gemm_kernel *amx = gemm_kernel_find("bf16-amx");
    if (amx && !amx->usable() && lends(amx))
        run_emulated(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_evaluation_ignores_neighbours),
        cmocka_unit_test(test_bytes_are_normalized),
        cmocka_unit_test(test_every_gradient_is_announced_once),
        cmocka_unit_test(test_initial_values),
        cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_selective_kernels_in_bf16),
        /* Comes last, since PoCL's compiler takes the signals that the emulator needs. */
        cmocka_unit_test(test_golden_on_a_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
