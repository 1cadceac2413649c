/* Tests cross-entropy against sums in float64, the gradients of a linear classifier against finite
 * differences, and frozen operations against evaluation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/random.h"
#include "loss/cross_entropy.h"
#include "network/initialize.h"
#include "network/network.h"
#include "network/resnet.h"

#include <cmocka.h> /* comes last because it defines a macro fail */
#include <math.h>

static float *normals(size_t n, double scale, uint32_t number)
{
    struct random r;
    float *v = malloc(n * sizeof *v);
    random_start(&r, 3, RANDOM_INIT, 0, number, 0);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(scale * random_normal(&r));
    return v;
}

static void test_loss(void **state)
{
    (void)state;
    static const struct {
        int64_t images, views, classes;
        double scale, smoothing;
    } cases[] = {{1, 1, 1, 1, 0},       {5, 2, 3, 1, 0},  {7, 1, 10, 3, 0.1}, {4, 3, 37, 30, 0},
                 {3, 2, 1000, 10, 0.2}, {6, 1, 16, 1, 1}, {40, 2, 10, 500, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const int64_t b = cases[c].images, v = cases[c].views, n = cases[c].classes, rows = b * v;
        const double smooth = cases[c].smoothing;
        float *x = normals((size_t)(rows * n), cases[c].scale, (uint32_t)c);
        float *d = malloc((size_t)(rows * n) * sizeof *d), *again = malloc((size_t)(rows * n) * 4);
        double *losses = malloc((size_t)rows * sizeof *losses), want = 0, right = 0;
        int64_t *y = malloc((size_t)b * sizeof *y), labelled = 0;
        for (int64_t i = 0; i < b; i++) {
            y[i] = i % 4 == 3 ? -1 : (i * 7) % n;
            labelled += v * (y[i] >= 0);
        }
        struct cross_entropy_metrics m, other;
        assert_int_equal(cross_entropy(x, y, b, v, n, smooth, 2, losses, d, &m), 0);
        for (int64_t r = 0; r < rows; r++) {
            const float *row = x + r * n;
            const int64_t label = y[r / v];
            double most = (double)row[0], sum = 0;
            int64_t at = 0;
            for (int64_t i = 1; i < n; i++)
                if ((double)row[i] > most)
                    most = (double)row[at = i];
            for (int64_t i = 0; i < n; i++)
                sum += exp((double)row[i] - most);
            right += label == at;
            for (int64_t i = 0; i < n; i++) {
                const double log_p = (double)row[i] - most - log(sum);
                const double q = smooth / (double)n + (i == label ? 1 - smooth : 0);
                const double expect = label < 0 ? 0 : (exp(log_p) - q) / (double)labelled;
                want -= label < 0 ? 0 : q * log_p / (double)labelled;
                assert_true(fabs((double)d[r * n + i] - expect) < 1e-6 / (double)labelled);
            }
        }
        assert_true(fabs(m.loss - want) <= 1e-6 * fmax(want, 1));
        assert_true(fabs(m.accuracy - right / (double)labelled) < 1e-12 && m.rows == labelled);
        assert_int_equal(cross_entropy(x, y, b, v, n, smooth, 3, losses, again, &other), 0);
        assert_memory_equal(d, again, (size_t)(rows * n) * sizeof *d);
        assert_true(other.loss == m.loss);
        free(x);
        free(d);
        free(again);
        free(losses);
        free(y);
    }
}

static void test_refused(void **state)
{
    (void)state;
    const float x[6] = {0};
    float d[6];
    double losses[3];
    struct cross_entropy_metrics m;
    const int64_t large[3] = {0, 2, 1}, low[3] = {0, 1, -2}, none[3] = {-1, -1, -1};
    assert_int_equal(cross_entropy(x, large, 3, 1, 2, 0, 1, losses, d, &m), -1);
    assert_non_null(strstr(fail_message(), "y is 2 in row 1: labels of 2 classes are 0 to 1"));
    assert_int_equal(cross_entropy(x, low, 3, 1, 2, 0, 1, losses, d, &m), -1);
    assert_non_null(strstr(fail_message(), "y is -2 in row 2"));
    assert_int_equal(cross_entropy(x, none, 3, 1, 2, 0, 1, losses, d, &m), -1);
    assert_non_null(strstr(fail_message(), "no image of the batch has a label"));
}

static struct network *make(struct plan *plan, int threads)
{
    struct engine *engine = engine_choose("fp32", "auto", threads);
    assert_non_null(engine);
    struct network *net = network_new(plan, engine);
    assert_non_null(net);
    initialize_parameters(network_parameters(net), 1);
    return net;
}

/* The map is linear, so its gradients are sums that are easy to write down. */
static void test_classifier(void **state)
{
    (void)state;
    enum { N = 12, D = 9, C = 5 };
    float *x = normals(N * D, 1, 1), *dout = normals(N * C, 1, 2), *bias = normals(C, 1, 3);
    for (int grains = 1; grains <= 4; grains *= 2) {
        struct plan *p = plan_new(D);
        assert_int_equal(plan_bias(p, plan_linear(p, 0, C, "fc"), "fc"), 2);
        struct network *net = make(p, grains);
        struct parameters *q = network_parameters(net);
        assert_string_equal(q->list[0].name, "fc.weight");
        assert_string_equal(q->list[1].name, "fc.bias");
        memcpy(q->list[1].value, bias, C * sizeof *bias);
        const struct network_shape shape = {.images = N,
                                            .height = 1,
                                            .width = 1,
                                            .grains = grains,
                                            .training = true,
                                            .input_grad = true};
        float out[N * C], din[N * D];
        assert_int_equal(network_prepare(net, &shape), 0);
        assert_int_equal(network_forward(net, NULL, x, NULL, out), 0);
        assert_int_equal(network_backward(net, dout, din, NULL, NULL), 0);
        const float *w = q->list[0].value;
        for (int c = 0; c < C; c++) {
            double sum = 0;
            for (int i = 0; i < N; i++) {
                double value = (double)bias[c];
                for (int k = 0; k < D; k++)
                    value += (double)w[c * D + k] * (double)x[i * D + k];
                assert_true(fabs((double)out[i * C + c] - value) < 1e-5);
                sum += (double)dout[i * C + c];
            }
            assert_true(fabs((double)q->list[1].grad[c] - sum) < 1e-5);
            for (int k = 0; k < D; k++) {
                double want = 0;
                for (int i = 0; i < N; i++)
                    want += (double)dout[i * C + c] * (double)x[i * D + k];
                assert_true(fabs((double)q->list[0].grad[c * D + k] - want) < 1e-5);
            }
        }
        for (int i = 0; i < N * D; i++) {
            double want = 0;
            for (int c = 0; c < C; c++)
                want += (double)w[c * D + i % D] * (double)dout[i / D * C + c];
            assert_true(fabs((double)din[i] - want) < 1e-5);
        }
        network_free(net);
    }
    free(x);
    free(dout);
    free(bias);
}

static int count_ready(int parameter, void *user)
{
    (void)parameter;
    ++*(int *)user;
    return 0;
}

/* If all operations are frozen, training must compute the same as evaluation, change nothing and
 * give no gradient. */
static void test_all_frozen(void **state)
{
    (void)state;
    enum { N = 6, S = 8 };
    float *x = normals(N * S * S * 3, 1, 4), *evaluated = NULL, *trained = NULL;
    for (int training = 0; training <= 1; training++) {
        struct plan *p = resnet_plan(18, 0.125, RESNET_STEM_CIFAR, 3);
        assert_int_equal(resnet_operations(p, 5), p->n_operations);
        plan_freeze(p, p->n_operations);
        struct network *net = make(p, 2);
        const struct network_shape shape = {
            .images = N, .height = S, .width = S, .grains = training ? 2 : 0, .training = training};
        float **out = training ? &trained : &evaluated;
        *out = malloc((size_t)(N * network_outputs(net)) * sizeof **out);
        assert_int_equal(network_prepare(net, &shape), 0);
        assert_int_equal(network_forward(net, NULL, x, NULL, *out), 0);
        int ready = 0;
        if (training)
            assert_int_equal(network_backward(net, trained, NULL, count_ready, &ready), 0);
        assert_int_equal(ready, 0);
        const struct parameters *q = network_parameters(net);
        for (int i = 0; i < q->n; i++)
            if (q->list[i].type == PARAMETER_INTEGER)
                assert_true(*(int64_t *)q->list[i].value == 0);
        if (training)
            assert_memory_equal(trained, evaluated,
                                (size_t)(N * network_outputs(net)) * sizeof *trained);
        network_free(net);
    }
    free(x);
    free(evaluated);
    free(trained);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_classifier),
        cmocka_unit_test(test_all_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
