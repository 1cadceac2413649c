/* bench: times single parts of a step inside one process; tests/bench/run asks for them. Prints
 * the median seconds of each thing it times, a line each.
 *
 *   bench network DEPTH PIXELS VIEWS THREADS   forward, backward of an encoder
 *   bench ntxent B THREADS                     loss and gradient, d = 128
 *   bench optimizer DEPTH ENDPOINT             gradients to an optimizer, parameters back
 *   bench echo BYTES ENDPOINT                  a frame there and back, for exec:cat */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "initialize.h"
#include "link.h"
#include "network.h"
#include "ntxent.h"
#include "optimizer_client.h"
#include "random.h"
#include "resnet.h"

enum { ROUNDS = 5 };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_median(const char *what, double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, by_size);
    printf("%s\t%.6f\n", what, seconds[n / 2]);
}

static float *noise(size_t n)
{
    float *x = malloc(n * sizeof *x);
    uint32_t state = 1;
    for (size_t i = 0; x && i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
    }
    return x;
}

static struct network *make_network(int depth, int pixels, int threads)
{
    struct plan *plan =
        resnet_plan(depth, 1, pixels <= 64 ? RESNET_STEM_CIFAR : RESNET_STEM_IMAGENET);
    struct engine engine;
    const char *precision = getenv("PRECISION") ? getenv("PRECISION") : "fp32";
    if (!plan || engine_choose(precision, "auto", &engine))
        return NULL;
    struct network *net = network_new(plan, &engine, threads);
    if (net)
        initialize_parameters(network_parameters(net), 0);
    return net;
}

static int time_network(int depth, int pixels, int views, int threads)
{
    struct network *net = make_network(depth, pixels, threads);
    const struct network_shape shape = {
        .images = views, .height = pixels, .width = pixels, .grains = 8, .training = true};
    if (!net || network_prepare(net, &shape))
        return -1;
    float *x = noise((size_t)views * (size_t)pixels * (size_t)pixels * 3);
    float *h = malloc((size_t)views * (size_t)network_outputs(net) * sizeof *h);
    float *dh = noise((size_t)views * (size_t)network_outputs(net));
    double forward[ROUNDS], backward[ROUNDS];
    for (int i = -1; i < ROUNDS; i++) {
        double t0 = clock_now();
        if (network_forward(net, NULL, x, NULL, h))
            return -1;
        double t1 = clock_now();
        if (network_backward(net, dh, NULL, NULL, NULL))
            return -1;
        if (i >= 0) {
            forward[i] = t1 - t0;
            backward[i] = clock_now() - t1;
        }
    }
    print_median("forward", forward, ROUNDS);
    print_median("backward", backward, ROUNDS);
    return 0;
}

static int time_ntxent(int64_t b, int threads)
{
    float *z = noise((size_t)b * 2 * 128), *dz = malloc((size_t)b * 2 * 128 * sizeof *dz);
    double seconds[ROUNDS];
    struct ntxent_metrics metrics;
    for (int i = -1; i < ROUNDS; i++) {
        double t0 = clock_now();
        if (ntxent(z, 2 * b, 128, 0.5, threads, dz, &metrics))
            return -1;
        if (i >= 0)
            seconds[i] = clock_now() - t0;
    }
    print_median("ntxent", seconds, ROUNDS);
    return 0;
}

static int time_optimizer(int depth, const char *endpoint)
{
    struct network *net = make_network(depth, 32, 1);
    struct link *link = link_open(endpoint, &link_config);
    struct frame *request = frame_new(NULL, 0);
    if (!net || !link || !request)
        return -1;
    struct parameters *parameters = network_parameters(net);
    struct optimizer_client *client = optimizer_client_new(link, parameters);
    int64_t step;
    const char *lr;
    double seconds[ROUNDS];
    if (!client || optimizer_join(client, request, &step))
        return -1;
    for (int i = -1; i < ROUNDS; i++) {
        frame_set_meta_int(request, "step", i + 1);
        frame_set_meta_int(request, "steps", ROUNDS + 1);
        double t0 = clock_now();
        if (optimizer_begin(client, request))
            return -1;
        for (int p = parameters->n - 1; p >= 0; p--)
            if (!parameters->list[p].buffer && optimizer_push(client, p))
                return -1;
        if (optimizer_finish(client, &lr))
            return -1;
        if (i >= 0)
            seconds[i] = clock_now() - t0;
    }
    print_median("optimizer", seconds, ROUNDS);
    return link_end(link) || link_close(link);
}

static int time_echo(int64_t bytes, const char *endpoint)
{
    struct link *link = link_open(endpoint, &link_config);
    double seconds[ROUNDS];
    for (int i = -1; link && i < ROUNDS; i++) {
        struct frame *f = frame_new(&(struct tensor_spec){"x", DTYPE_U8, 1, {bytes}}, 1), *reply;
        double t0 = clock_now();
        if (!f || link_request(link, f, &reply))
            return -1;
        if (i >= 0)
            seconds[i] = clock_now() - t0;
        frame_free(reply);
    }
    if (!link)
        return -1;
    print_median("echo", seconds, ROUNDS);
    return link_end(link) || link_close(link);
}

int main(int argc, char **argv)
{
    signals_setup();
    int bad = 0;
    if (argc == 6 && !strcmp(argv[1], "network"))
        bad = time_network(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    else if (argc == 4 && !strcmp(argv[1], "ntxent"))
        bad = time_ntxent(atoll(argv[2]), atoi(argv[3]));
    else if (argc == 4 && !strcmp(argv[1], "optimizer"))
        bad = time_optimizer(atoi(argv[2]), argv[3]);
    else if (argc == 4 && !strcmp(argv[1], "echo"))
        bad = time_echo(atoll(argv[2]), argv[3]);
    else
        usage_fail("see the head of tests/bench/bench.c");
    return bad ? program_fail() : 0;
}
