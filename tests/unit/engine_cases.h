/* engine_cases: whole networks that an engine is tested on, and how far the results of two engines
 * are apart. For test_engines.c and test_engine_opencl.c. */
#ifndef ENGINE_CASES_H
#define ENGINE_CASES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "network/head.h"
#include "network/network.h"
#include "network/resnet.h"
#include "network_values.h"

#include <cmocka.h> /* comes last because it defines a macro fail; so does this header */

/* ---- networks ---- */

static struct plan *basic_blocks(void)
{
    return resnet_plan(18, 0.2, RESNET_STEM_CIFAR, 3);
}

static struct plan *bottlenecks(void)
{
    return resnet_plan(50, 0.1, RESNET_STEM_IMAGENET, 3);
}

static struct plan *selective(void)
{
    struct plan *p = plan_new(3);
    int at = plan_convolution(p, 0, 12, 3, 1, 1, "conv1");
    at = resnet_sk_bottleneck(p, at, 8, 2, "first");
    at = resnet_sk_bottleneck(p, at, 8, 1, "second");
    return plan_average_pool(p, at) < 0 ? NULL : p;
}

static struct plan *series(void)
{
    return resnet_series_plan(18, 0.15, RESNET_STEM_IMAGENET, 3);
}

static struct plan *half_frozen(void)
{
    struct plan *p = resnet_plan(18, 0.2, RESNET_STEM_CIFAR, 3);
    plan_freeze(p, resnet_operations(p, 3));
    return p;
}

static struct plan *head(void)
{
    return head_plan(3, 3, 24, 16);
}

/* Returns a plan without a norm, with a bias, and with a map as its output. */
static struct plan *plain(void)
{
    struct plan *p = plan_new(3);
    int at = plan_bias(p, plan_convolution(p, 0, 20, 5, 2, 2, "a"), "a");
    at = plan_max_pool(p, at, 3, 2, 1);
    return plan_mean_pool(p, plan_convolution(p, at, 37, 3, 1, 1, "b"), 2) < 0 ? NULL : p;
}

static const struct network_case {
    const char *name;
    struct plan *(*plan)(void);
    int64_t h, w, images, grains, chunk;
} cases[] = {
    {"basic blocks", basic_blocks, 13, 10, 8, 4, 0},
    {"bottlenecks", bottlenecks, 40, 33, 8, 4, 0},
    {"selective kernels", selective, 9, 8, 16, 4, 0},
    {"series", series, 1, 70, 16, 4, 0},
    {"frozen up to layer2", half_frozen, 12, 10, 8, 2, 0},
    {"chunks of whole grains", basic_blocks, 12, 10, 16, 4, 8},
    {"chunks of other sizes", basic_blocks, 12, 10, 16, 4, 6},
    {"head", head, 1, 1, 32, 8, 0},
    {"plain", plain, 17, 14, 4, 2, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- what a step makes ---- */

/* A network after a step, with its output and the input's gradient. */
struct made {
    struct network *net;
    size_t n_out, n_in;
    float *evaluated, *out, *din; /* din is NULL if operations are frozen */
};

/* Moves values away from the kinks of ReLUs, where a rounding error would change a whole gradient.
 * Most channels are moved far above 0, and a quarter of those that have no residual far below 0. */
static void avoid_kinks(struct parameters *p)
{
    for (int i = 0; i < p->n; i++) {
        const struct parameter *a = &p->list[i];
        for (size_t j = 0; ends(a->name, ".bias") && j < a->count; j++)
            ((float *)a->value)[j] = ends(a->name, "bn1.bias") && j % 4 == 3 ? -3 : 3;
    }
}

static struct made run_step(const struct network_case *c, struct engine *engine)
{
    assert_non_null(engine);
    struct plan *plan = c->plan();
    assert_non_null(plan);
    struct network *net = network_new(plan, engine);
    assert_non_null(net);
    struct network_shape shape = {.images = c->images, .height = c->h, .width = c->w};
    struct plan_layout l;
    assert_int_equal(plan_lay_out(plan, c->images, c->h, c->w, 4, false, false, &l), 0);
    const struct plan_map *last = &l.maps[plan->n_tensors - 1];
    struct made m = {.net = net,
                     .n_out = (size_t)(c->images * last->h * last->w * last->c),
                     .n_in = (size_t)(c->images * c->h * c->w * 3)};
    plan_layout_clear(&l);
    float *x = filled("x", m.n_in), *dout = filled("dout", m.n_out);
    m.evaluated = malloc(m.n_out * sizeof(float));
    m.out = malloc(m.n_out * sizeof(float));
    m.din = plan->frozen ? NULL : malloc(m.n_in * sizeof(float));
    fill_parameters(network_parameters(net));
    avoid_kinks(network_parameters(net));
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, m.evaluated), 0);
    shape.training = true;
    shape.grains = c->grains;
    shape.chunk = c->chunk;
    shape.input_grad = m.din;
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, m.out), 0);
    assert_int_equal(network_backward(net, dout, m.din, NULL, NULL), 0);
    free(x);
    free(dout);
    return m;
}

static void free_made(struct made *m)
{
    network_free(m->net);
    free(m->evaluated);
    free(m->out);
    free(m->din);
}

/* ---- comparison ---- */

/* Errors relative to the norm of the compared values: the largest error of the outputs and the
 * running statistics, with each tensor by itself, and that of all gradients together, since some
 * gradients are zero except for rounding. */
struct errors {
    double out, gradient;
};

/* The squares of the difference and of the expected values. */
struct squares {
    double off, size;
};

static void add_squares(struct squares *s, const float *a, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double off = (double)a[i] - (double)want[i];
        s->off += off * off;
        s->size += (double)want[i] * (double)want[i];
    }
}

static double relative(const struct squares *s)
{
    return s->size > 0 ? sqrt(s->off / s->size) : s->off > 0 ? INFINITY : 0;
}

/* Raises *most to an error if that is larger; a NaN stays. */
static void raise_to(double *most, const float *a, const float *want, size_t n)
{
    struct squares s = {0, 0};
    add_squares(&s, a, want, n);
    const double error = relative(&s);
    if (!(error <= *most))
        *most = error;
}

static struct errors compare(const struct made *m, const struct made *want)
{
    struct errors e = {0, 0};
    struct squares gradients = {0, 0};
    const struct parameters *p = network_parameters(m->net), *q = network_parameters(want->net);
    raise_to(&e.out, m->evaluated, want->evaluated, want->n_out);
    raise_to(&e.out, m->out, want->out, want->n_out);
    if (m->din)
        raise_to(&e.gradient, m->din, want->din, want->n_in);
    for (int i = 0; i < p->n; i++) {
        const struct parameter *a = &p->list[i], *b = &q->list[i];
        if (a->type == PARAMETER_INTEGER)
            assert_int_equal(*(int64_t *)a->value, *(int64_t *)b->value);
        else if (a->buffer)
            raise_to(&e.out, a->value, b->value, a->count);
        else if (!a->frozen)
            add_squares(&gradients, a->grad, b->grad, a->count);
    }
    const double all = relative(&gradients);
    if (!(all <= e.gradient))
        e.gradient = all;
    return e;
}

#endif
