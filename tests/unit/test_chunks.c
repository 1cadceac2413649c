/* Tests batches in chunks. They must have the same bits as whole batches if no batch norm uses
 * several images, and otherwise the same bits as each chunk run by itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "engine/engine.h"
#include "network/head.h"
#include "network/initialize.h"
#include "network/network.h"
#include "network/resnet.h"

#include <cmocka.h> /* comes last because it defines a macro fail */

enum { SIDE = 9, IMAGE = SIDE * SIDE * 3, THREADS = 2 };

static float *noise(size_t n)
{
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        v[i] = (float)(state >> 8) / (1 << 23) - 1;
    }
    return v;
}

static struct network *make(struct plan *plan, const char *precision)
{
    struct engine *engine = engine_choose(precision, "auto", THREADS);
    assert_non_null(engine);
    assert_non_null(plan);
    struct network *net = network_new(plan, engine);
    assert_non_null(net);
    struct parameters *p = network_parameters(net);
    initialize_parameters(p, 1);
    for (int i = 0; i < p->n; i++) /* the last norms of blocks start at 0, which hides a block */
        for (size_t j = 0; !p->list[i].buffer && p->list[i].ndim == 1 && j < p->list[i].count; j++)
            ((float *)p->list[i].value)[j] = 1 + 0.01F * (float)(j % 7);
    return net;
}

/* The results of a step besides gradients. */
struct results {
    float *out, *din;
};

static struct results step(struct network *net, int64_t images, int64_t grains, int64_t chunk,
                           const float *x, const float *dout)
{
    const struct network_shape shape = {.images = images,
                                        .height = SIDE,
                                        .width = SIDE,
                                        .grains = grains,
                                        .chunk = chunk,
                                        .training = true,
                                        .input_grad = true};
    struct results r = {malloc((size_t)(images * network_outputs(net)) * sizeof(float)),
                        malloc((size_t)images * IMAGE * sizeof(float))};
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, r.out), 0);
    assert_int_equal(network_backward(net, dout, r.din, NULL, NULL), 0);
    return r;
}

static void release(struct network *net, struct results r)
{
    network_free(net);
    free(r.out);
    free(r.din);
}

static struct plan *without_norms(void)
{
    struct plan *p = plan_new(3);
    const int a = plan_convolution(p, 0, 20, 3, 1, 1, "a"),
              b = plan_convolution(p, a, 24, 3, 1, 1, "b");
    const int weights = plan_convolution(p, plan_halves_mean(p, b), 24, 1, 1, 0, "weights");
    const int mixed = plan_mean_pool(p, plan_halves_mix(p, b, weights), 2);
    assert_true(plan_average_pool(p, plan_convolution(p, mixed, 37, 3, 2, 1, "c")) > 0);
    return p;
}

static void test_without_norms_nothing_changes(void **state)
{
    (void)state;
    static const char *const precisions[] = {"fp32", "bf16"};
    enum { B = 16 };
    float *x = noise(B * IMAGE), *dout = noise(B * 37);
    for (int i = 0; i < 2; i++) {
        struct network *whole = make(without_norms(), precisions[i]);
        const struct results a = step(whole, B, 8, 0, x, dout);
        for (int64_t chunk = 2; chunk <= 2 * B; chunk *= 2) {
            struct network *net = make(without_norms(), precisions[i]);
            const struct results b = step(net, B, 8, chunk, x, dout);
            assert_memory_equal(a.out, b.out, B * 37 * sizeof *a.out);
            assert_memory_equal(a.din, b.din, B * IMAGE * sizeof *a.din);
            for (int p = 0; p < network_parameters(net)->n; p++) {
                const struct parameter *mine = &network_parameters(net)->list[p];
                assert_memory_equal(mine->grad, network_parameters(whole)->list[p].grad,
                                    mine->count * sizeof(float));
            }
            release(net, b);
        }
        release(whole, a);
    }
    free(x);
    free(dout);
}

/* ---- with norms ---- */

enum { ALL = 7, CHUNK = 3, CHUNKS = 3 };

static struct network *small(void)
{
    return make(resnet_plan(18, 0.125, RESNET_STEM_CIFAR, 3), "fp32");
}

static int64_t chunk_images(int64_t i)
{
    return i == CHUNKS - 1 ? ALL - i * CHUNK : CHUNK;
}

/* Returns the statistic by which a buffer that began at `start` was moved. */
static double seen(const float *moved, size_t i, double start)
{
    return ((double)moved[i] - 0.9 * start) / 0.1;
}

/* Checks running statistics: the mean and variance over the batch must follow from those of its
 * chunks. `pixels` is that of the map which the norm with this mean and variance reads. */
static void check_statistics(const struct parameters *all, struct network *const *parts, int mean,
                             int variance, double pixels)
{
    for (size_t i = 0; i < all->list[mean].count; i++) {
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < CHUNKS; k++) {
            const struct parameters *p = network_parameters(parts[k]);
            const double n = (double)chunk_images(k) * pixels;
            const double m = seen(p->list[mean].value, i, 0);
            sum += n * m;
            squares += n * (seen(p->list[variance].value, i, 1) * (n - 1) / n + m * m);
        }
        const double n = ALL * pixels, m = sum / n, v = (squares / n - m * m) * n / (n - 1);
        assert_true(fabs(seen(all->list[mean].value, i, 0) - m) < 1e-4 * (1 + fabs(m)));
        assert_true(fabs(seen(all->list[variance].value, i, 1) - v) < 1e-4 * (1 + v));
    }
    assert_int_equal(*(int64_t *)all->list[variance + 1].value, 1);
}

/* Returns the pixels of a network's map, by the name of a norm. */
static double pixels_of(const char *name)
{
    static const int sides[] = {SIDE, SIDE, (SIDE + 1) / 2, (SIDE + 3) / 4, (SIDE + 7) / 8};
    const int side = sides[strncmp(name, "layer", 5) ? 0 : name[5] - '0'];
    return side * side;
}

static void test_chunks_are_runs_of_their_own(void **state)
{
    (void)state;
    struct network *net = small(), *parts[CHUNKS];
    const int64_t width = network_outputs(net);
    float *x = noise(ALL * IMAGE), *dout = noise((size_t)(ALL * width));
    const struct results all = step(net, ALL, 1, CHUNK, x, dout);
    for (int64_t k = 0; k < CHUNKS; k++) {
        const int64_t at = k * CHUNK, n = chunk_images(k);
        parts[k] = small();
        const struct results r = step(parts[k], n, 1, 0, x + at * IMAGE, dout + at * width);
        assert_memory_equal(r.out, all.out + at * width, (size_t)(n * width) * sizeof *r.out);
        assert_memory_equal(r.din, all.din + at * IMAGE, (size_t)n * IMAGE * sizeof *r.din);
        free(r.out);
        free(r.din);
    }
    const struct parameters *p = network_parameters(net);
    for (int i = 0; i < p->n; i++) {
        const struct parameter *a = &p->list[i];
        double error = 0, most = 0;
        for (size_t j = 0; a->grad && j < a->count; j++) {
            double sum = 0;
            for (int k = 0; k < CHUNKS; k++) {
                const double part = (double)network_parameters(parts[k])->list[i].grad[j];
                sum += part;
                most = fmax(most, fabs(part));
            }
            error = fmax(error, fabs((double)a->grad[j] - sum));
        }
        if (!(error <= 3e-7 * most))
            fail_msg("the gradient of %s is off by %g of %g", a->name, error, most);
        if (strstr(a->name, "running_mean"))
            check_statistics(p, parts, i, i + 1, pixels_of(a->name));
    }
    for (int k = 0; k < CHUNKS; k++)
        network_free(parts[k]);
    release(net, all);
    free(x);
    free(dout);
}

static void test_evaluation_after_training(void **state)
{
    (void)state;
    struct network *net = small(), *other = small();
    const size_t width = (size_t)network_outputs(net);
    const struct network_shape evaluation = {.images = ALL, .height = SIDE, .width = SIDE};
    float *x = noise(ALL * IMAGE), *out[2];
    const struct results r = step(net, ALL, 1, 2, x, x);
    const struct parameters *p = network_parameters(net);
    for (int i = 0; i < p->n; i++)
        memcpy(network_parameters(other)->list[i].value, p->list[i].value,
               parameters_bytes(&p->list[i]));
    for (int i = 0; i < 2; i++) {
        struct network *each = i ? other : net;
        out[i] = malloc(ALL * width * sizeof(float));
        assert_int_equal(network_prepare(each, &evaluation), 0);
        assert_int_equal(network_forward(each, NULL, x, NULL, out[i]), 0);
    }
    assert_memory_equal(out[0], out[1], ALL * width * sizeof(float));
    network_free(other);
    release(net, r);
    free(out[0]);
    free(out[1]);
    free(x);
}

/* ---- announcements ---- */

struct heard {
    struct network *net;
    float *first[256]; /* first value of each gradient at the time of its announcement */
    int times[256];
};

static int hear(int index, void *user)
{
    struct heard *h = user;
    const struct parameter *p = &network_parameters(h->net)->list[index];
    assert_in_range(index, 0, 255);
    h->times[index]++;
    h->first[index] = malloc(p->count * sizeof(float));
    memcpy(h->first[index], p->grad, p->count * sizeof(float));
    return 0;
}

static void test_gradients_are_announced_when_all_chunks_are_in(void **state)
{
    (void)state;
    struct heard h = {.net = small()};
    const struct network_shape shape = {.images = ALL,
                                        .height = SIDE,
                                        .width = SIDE,
                                        .grains = 1,
                                        .chunk = CHUNK,
                                        .training = true};
    float *x = noise(ALL * IMAGE),
          *out = malloc((size_t)(ALL * network_outputs(h.net)) * sizeof *out);
    assert_int_equal(network_prepare(h.net, &shape), 0);
    assert_int_equal(network_forward(h.net, NULL, x, NULL, out), 0);
    assert_int_equal(network_backward(h.net, x, NULL, hear, &h), 0);
    const struct parameters *p = network_parameters(h.net);
    for (int i = 0; i < p->n; i++) {
        assert_int_equal(h.times[i], p->list[i].buffer ? 0 : 1);
        if (!p->list[i].buffer)
            assert_memory_equal(h.first[i], p->list[i].grad, p->list[i].count * sizeof(float));
        free(h.first[i]);
    }
    network_free(h.net);
    free(x);
    free(out);
}

static void test_a_single_view_is_refused(void **state)
{
    (void)state;
    struct network *net = make(head_plan(2, 8, 8, 4), "fp32");
    const struct network_shape shape = {
        .images = 5, .height = 1, .width = 1, .grains = 1, .chunk = 2, .training = true};
    float *x = noise(5 * 8), out[5 * 4];
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, out), -1);
    assert_string_equal(fail_message(), "batch normalization cannot train on a single view");
    network_free(net);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_norms_nothing_changes),
        cmocka_unit_test(test_chunks_are_runs_of_their_own),
        cmocka_unit_test(test_evaluation_after_training),
        cmocka_unit_test(test_gradients_are_announced_when_all_chunks_are_in),
        cmocka_unit_test(test_a_single_view_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
