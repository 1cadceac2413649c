/* Tests copies of networks that only go forward: they compute what the network computes, in less
 * memory, and change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "network/head.h"
#include "network/network_parts.h"
#include "network/resnet.h"
#include "network_values.h"

#include <cmocka.h> /* comes last because it defines a macro fail */

enum { IMAGES = 16, SIDE = 8 };
enum kind { BASIC, BOTTLENECK, SELECTIVE, PREDICTOR, KINDS };

static struct plan *make_plan(enum kind kind)
{
    switch (kind) {
    case BASIC:
        return resnet_plan(18, 0.2, RESNET_STEM_CIFAR, 3);
    case BOTTLENECK:
        return resnet_plan(50, 0.2, RESNET_STEM_IMAGENET, 3);
    case SELECTIVE:
        return resnet_sk_plan(50, 0.2, RESNET_STEM_IMAGENET, 3);
    default:
        return head_predictor_plan(2, SIDE * SIDE * 3, 20, 12);
    }
}

static struct engine *make_engine(const char *precision, int threads)
{
    struct engine *e = engine_choose(precision, "auto", threads);
    assert_non_null(e);
    return e;
}

static struct network *make(enum kind kind, const char *precision)
{
    struct network *net = network_new(make_plan(kind), make_engine(precision, 2));
    assert_non_null(net);
    fill_parameters(network_parameters(net));
    return net;
}

/* Checks that no value and no property of the copy's parameters has changed. */
static void check_unchanged(struct network *copy, struct network *of, enum kind kind)
{
    struct network *fresh = make(kind, "fp32");
    const struct parameters *p = network_parameters(copy), *want = network_parameters(fresh);
    assert_int_equal(p->n, want->n);
    for (int k = 0; k < p->n; k++) {
        const struct parameter *a = &p->list[k], *b = &want->list[k];
        assert_null(a->grad);
        assert_true(a->buffer == b->buffer);
        assert_true(a->frozen == network_parameters(of)->list[k].frozen);
        assert_string_equal(a->name, b->name);
        assert_memory_equal(a->value, b->value, parameters_bytes(a));
    }
    network_free(fresh);
}

enum mode { PLAIN, CHUNKS, FROZEN, MODES };

static void check(enum kind kind, enum mode mode, const char *precision)
{
    struct network *net = make(kind, precision);
    const int64_t side = kind == PREDICTOR ? 1 : SIDE;
    struct network_shape shape = {.images = IMAGES,
                                  .height = side,
                                  .width = side,
                                  .grains = 4,
                                  .chunk = mode == CHUNKS ? IMAGES / 4 : 0,
                                  .training = true};
    if (mode == FROZEN)
        plan_freeze(net->plan, resnet_operations(net->plan, 2));
    struct network *copy = network_copy(net, make_engine(precision, 1));
    assert_non_null(copy);
    const size_t n = (size_t)(IMAGES * network_outputs(net));
    float *x = filled("x", IMAGES * SIDE * SIDE * 3), *out = malloc(2 * n * sizeof *out);
    assert_int_equal(network_prepare(net, &shape), 0);
    assert_int_equal(network_forward(net, NULL, x, NULL, out), 0);
    shape.forward_only = true;
    assert_int_equal(network_prepare(copy, &shape), 0);
    assert_true(copy->layout.bytes < net->layout.bytes);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(network_forward(copy, NULL, x, NULL, out + n), 0);
        assert_memory_equal(out, out + n, n * sizeof *out);
    }
    check_unchanged(copy, net, kind);
    free(x);
    free(out);
    network_free(copy);
    network_free(net);
}

static void test_agrees(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (enum mode mode = 0; mode < MODES; mode++)
            if (kind != PREDICTOR || mode != FROZEN) {
                check(kind, mode, "fp32");
                if (mode == PLAIN)
                    check(kind, mode, "bf16");
            }
}

/* A batch of 128 views of 32 pixels needs a fraction of the memory of a training step. */
static void test_memory(void **state)
{
    (void)state;
    size_t bytes[2];
    for (int forward_only = 0; forward_only < 2; forward_only++) {
        struct network *net =
            network_new(resnet_plan(18, 1, RESNET_STEM_CIFAR, 3), make_engine("fp32", 1));
        const struct network_shape shape = {.images = 128,
                                            .height = 32,
                                            .width = 32,
                                            .grains = 4,
                                            .training = true,
                                            .forward_only = forward_only};
        assert_int_equal(network_prepare(net, &shape), 0);
        bytes[forward_only] = net->layout.bytes;
        network_free(net);
    }
    print_message("maps of a step: %zu MiB; forward only: %zu MiB\n", bytes[0] >> 20,
                  bytes[1] >> 20);
    assert_true(bytes[1] < bytes[0] / 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_agrees),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
