/* bench: repeats one part of a training step in a process of its own, with nothing else around it;
 * tests/bench/run asks it. `bench --help` lists the parts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/random.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "engine/gemm_kernel.h"
#include "link/link.h"
#include "link/stream.h"
#include "loss/barlow.h"
#include "loss/dcl.h"
#include "loss/hcl.h"
#include "loss/ntxent.h"
#include "loss/vicreg.h"
#include "network/initialize.h"
#include "network/network.h"
#include "network/resnet.h"
#include "optimizer/lars.h"
#include "program/link_options.h"
#include "program/optimizer_client.h"

enum { ALIGNMENT = 64, CIFAR_UP_TO = 64 };

static int64_t depth = 18, pixels = 32, height, views = 128, grains = 8, threads = 2, batch = 256,
               dim = 128, bytes = 1 << 20, world = 1;
static const char *precision = "fp32", *kernel = "auto", *endpoint = "exec:cat";
static bool profile;

static const struct option_spec options[] = {
    {"depth", OPTION_INT, &depth, "D", "of the ResNet", 18, 152, 0, 0},
    {"pixels", OPTION_INT, &pixels, "S", "of its views; images: their width", 1, 4096, 0, 0},
    {"height", OPTION_INT, &height, "H", "images: theirs; 0: as wide", 0, 4096, 0, 0},
    {"views", OPTION_INT, &views, "N", "network: views a step", 1, 1 << 24, 0, 0},
    {"grains", OPTION_INT, &grains, "G", "network: divide the views", 1, 1 << 24, 0, 0},
    {"precision", OPTION_CHOICE, &precision, "P", "network: arithmetic", 0, 0, engine_precisions,
     0},
    {"kernel", OPTION_CHOICE, &kernel, "K", "network, product: what multiplies", 0, 0,
     engine_kernels, 0},
    {"profile", OPTION_SWITCH, &profile, NULL, "network: at the end a line for each kernel", 0, 0,
     0, 0},
    {"batch", OPTION_INT, &batch, "B", "a loss: pairs of views; images: how many", 1, 1 << 24, 0,
     0},
    {"dim", OPTION_INT, &dim, "D", "a loss: width of the projections", 1, 1 << 20, 0, 0},
    {"bytes", OPTION_INT, &bytes, "N", "echo, copy, ranks: that are moved", 1, 1e12, 0, 0},
    {"world", OPTION_INT, &world, "N", "ranks: how many", 1, LINKS_AT_ONCE, 0, 0},
    {"link", OPTION_STRING, &endpoint, "ENDPOINT", "optimizer, echo, ranks: the other side", 0, 0,
     0, 0},
    {"threads", OPTION_INT, &threads, "N", "of those that compute, but for lars", 1, 1024, 0, 0},
    {0},
};

static const char details[] =
    "The last word is one of these:\n"
    "\n"
    "  kernels    prints the names of block products that this machine can run, nothing else\n"
    "  work       prints the operations of an encoder's step, nothing else\n"
    "  images     prints a frame of images, x U8 [N,H,W,3], nothing else\n"
    "  product    block products of operands that stay in the caches: a processor's peak\n"
    "  copy       memory\n"
    "  network    an encoder's step: forward, backward\n"
    "  ntxent, dcl, hcl, barlow, vicreg\n"
    "             a loss with its defaults, and its gradient\n"
    "  lars       the optimizer's arithmetic on an encoder's parameters\n"
    "  optimizer  an encoder's gradients to an optimizer, its parameters back\n"
    "  echo       a frame there and back\n"
    "  ranks      a frame of each rank to a reduce or gather, and back\n"
    "\n"
    "After a round to warm up it prints `ready` and a round's work: floating-point operations\n"
    "or bytes, 0 where they are not counted. Then each line on stdin makes it do a round and\n"
    "print the seconds that this took:\n"
    "\n"
    "  yes | head -n 5 | bench --depth 50 --pixels 224 --views 32 network";

static int out_of_memory(void)
{
    return fail("out of memory");
}

static void *reserve(size_t size)
{
    return aligned_alloc(ALIGNMENT, (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

static void fill_noise(float *x, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5F;
    }
}

static float *noise(size_t n)
{
    float *x = reserve(n * sizeof *x);
    if (x)
        fill_noise(x, n);
    return x;
}

/* ---- product: the peak ---- */

static struct {
    const struct gemm_kernel *product;
    struct gemm_step *steps;
    void *a, *b;
    float *c; /* a block a thread */
    int64_t blocks;
} peak;

enum { PEAK_STEPS = 8 }; /* A and B fill most of a first-level cache */

static int product_open(double *work)
{
    const double enough = 2e9; /* operations of a thread in a round, of floats */
    const struct gemm_kernel *p =
        strcmp(kernel, "auto") ? gemm_kernel_find(kernel) : gemm_kernel_choose(GEMM_FLOAT);
    if (!p || !p->usable())
        return fail("this machine lacks the instructions of kernel %s", kernel);
    const bool floats = p->values == GEMM_FLOAT;
    peak.product = p;
    const size_t row = PEAK_STEPS * 64, block = (size_t)(p->rows * p->columns);
    peak.a = reserve((size_t)p->rows * row);
    peak.b = reserve(PEAK_STEPS * gemm_kernel_step_bytes(p));
    peak.c = reserve((size_t)threads * block * sizeof *peak.c);
    peak.steps = calloc(PEAK_STEPS, sizeof *peak.steps);
    if (!peak.a || !peak.b || !peak.c || !peak.steps)
        return out_of_memory();
    memset(peak.a, 0, (size_t)p->rows * row);
    memset(peak.b, 0, PEAK_STEPS * gemm_kernel_step_bytes(p));
    for (int s = 0; s < PEAK_STEPS; s++)
        peak.steps[s] =
            (struct gemm_step){.a = s * 64, .b = s * (ptrdiff_t)gemm_kernel_step_bytes(p)};
    const double each = 2.0 * (double)block * (double)p->depth * PEAK_STEPS;
    peak.blocks = (int64_t)ceil((floats ? enough : 8 * enough) / each);
    *work = each * (double)peak.blocks * (double)threads;
    return 0;
}

static int product_round(void)
{
    const struct gemm_kernel *p = peak.product;
#pragma omp parallel for num_threads((int)threads)
    for (int64_t t = 0; t < threads; t++) {
        p->begin();
        for (int64_t i = 0; i < peak.blocks; i++)
            p->block(peak.a, PEAK_STEPS * 64, peak.b, peak.steps, PEAK_STEPS,
                     peak.c + t * p->rows * p->columns);
        p->end();
    }
    return 0;
}

/* ---- copy: memory ---- */

static char *copy_from, *copy_to;

static int copy_open(double *work)
{
    copy_from = reserve((size_t)bytes);
    copy_to = reserve((size_t)bytes);
    if (!copy_from || !copy_to)
        return out_of_memory();
    memset(copy_from, 1, (size_t)bytes);
    *work = 2 * (double)bytes;
    return 0;
}

static int copy_round(void)
{
#pragma omp parallel for num_threads((int)threads)
    for (int64_t t = 0; t < threads; t++) {
        const int64_t from = bytes * t / threads, to = bytes * (t + 1) / threads;
        memcpy(copy_to + from, copy_from + from, (size_t)(to - from));
    }
    return 0;
}

/* ---- network: an encoder's step ---- */

static struct plan *make_plan(void)
{
    return resnet_plan((int)depth, 1,
                       pixels <= CIFAR_UP_TO ? RESNET_STEM_CIFAR : RESNET_STEM_IMAGENET, 3);
}

static struct network *make_network(void)
{
    struct engine *engine = engine_choose(precision, kernel, (int)threads);
    struct network *net = engine ? network_new(make_plan(), engine) : NULL;
    if (net)
        initialize_parameters(network_parameters(net), 0);
    return net;
}

/* Equal layers' use of one kernel, summed. */
struct use {
    const char *kernel;
    char layer[64];
    double seconds, flops, bytes;
    int64_t calls;
};

static struct {
    struct network *net;
    float *x, *h, *dh;
    struct plan *plan; /* the network's once more, with its maps' sizes, for names */
    struct plan_layout layout;
    struct use uses[512];
    int n_uses, rounds;
} step;

/* Multiplications and additions of direct convolutions: forward, weights' gradient, data's. */
static double step_flops(void)
{
    double sum = 0;
    for (int i = 0; i < step.plan->n_operations; i++) {
        const struct plan_operation *op = &step.plan->operations[i];
        if (op->kind != PLAN_CONVOLUTION)
            continue;
        const struct plan_map *in = &step.layout.maps[op->in], *out = &step.layout.maps[op->out];
        const int64_t products = out->h * out->w * out->c * in->c * op->kernel * op->kernel;
        sum += 2 * (double)products * (in->grad == SIZE_MAX ? 2 : 3);
    }
    return sum * (double)views;
}

static void name_layer(const char *parameter, char *name, size_t size)
{
    *name = '\0';
    for (int i = 0; i < step.plan->n_operations; i++) {
        const struct plan_operation *op = &step.plan->operations[i];
        if (op->weight < 0 || strcmp(step.plan->parameters.list[op->weight].name, parameter))
            continue;
        const struct plan_map *in = &step.layout.maps[op->in], *out = &step.layout.maps[op->out];
        if (op->kind == PLAN_CONVOLUTION)
            snprintf(name, size, "%lldx%lld/%lld, %lld to %lld, %lld px", (long long)op->kernel,
                     (long long)op->kernel, (long long)op->stride, (long long)in->c,
                     (long long)out->c, (long long)out->w);
        else
            snprintf(name, size, "%lld, %lld px%s", (long long)out->c, (long long)out->w,
                     op->residual >= 0 ? ", residual" : "");
    }
}

static void observe(const struct network_event *event, void *user)
{
    (void)user;
    char layer[sizeof step.uses->layer];
    name_layer(event->name, layer, sizeof layer);
    int i = 0;
    while (i < step.n_uses &&
           (strcmp(step.uses[i].kernel, event->kernel) || strcmp(step.uses[i].layer, layer)))
        i++;
    if (i == sizeof step.uses / sizeof *step.uses)
        return;
    struct use *use = &step.uses[i];
    if (i == step.n_uses) {
        *use = (struct use){.kernel = event->kernel};
        strcpy(use->layer, layer);
        step.n_uses++;
    }
    use->seconds += event->seconds;
    use->flops += event->flops;
    use->bytes += event->bytes;
    use->calls++;
}

static int plan_open(void)
{
    step.plan = make_plan();
    return step.plan ? plan_lay_out(step.plan, 1, pixels, pixels, sizeof(float), true, false,
                                    &step.layout)
                     : -1;
}

static int network_open(double *work)
{
    step.net = make_network();
    const struct network_shape shape = {
        .images = views, .height = pixels, .width = pixels, .grains = grains, .training = true};
    if (!step.net || network_prepare(step.net, &shape) || plan_open())
        return -1;
    const size_t outputs = (size_t)(views * network_outputs(step.net));
    step.x = noise((size_t)(views * pixels * pixels) * 3);
    step.h = reserve(outputs * sizeof *step.h);
    step.dh = noise(outputs);
    *work = step_flops();
    return step.x && step.h && step.dh ? 0 : out_of_memory();
}

static int network_round(void)
{
    network_parameters_changed(step.net); /* as after each step */
    step.rounds++;
    return network_forward(step.net, NULL, step.x, NULL, step.h) ||
           network_backward(step.net, step.dh, NULL, NULL, NULL);
}

/* A line for each use: kernel, layer, calls, seconds, operations and bytes of a round. */
static int network_close(void)
{
    const double n = step.rounds - 1; /* the first is not observed */
    for (int i = 0; i < step.n_uses; i++) {
        const struct use *u = &step.uses[i];
        printf("%s\t%s\t%.0f\t%.9f\t%.0f\t%.0f\n", u->kernel, u->layer, (double)u->calls / n,
               u->seconds / n, u->flops / n, u->bytes / n);
    }
    return 0;
}

/* ---- the losses ---- */

static float *z, *dz;

static int loss_open(void)
{
    z = noise((size_t)(batch * 2 * dim));
    dz = reserve((size_t)(batch * 2 * dim) * sizeof *dz);
    return z && dz ? 0 : out_of_memory();
}

/* Of losses over pairs of rows, 2 n^2 d: the similarities and the gradient. */
static int pairs_open(double *work)
{
    *work = 16.0 * (double)batch * (double)batch * (double)dim;
    return loss_open();
}

/* Of losses over pairs of columns, 6 B d^2 as they are defined: the d x d products and the gradient
 * of both views. With many dimensions, the code needs fewer. */
static int columns_open(double *work)
{
    *work = 6.0 * (double)batch * (double)dim * (double)dim;
    return loss_open();
}

static struct loss_input loss_input(void)
{
    const int used = loss_threads((int)threads, 2 * batch, dim); /* as the programs do */
    return (struct loss_input){
        .z = z, .n = 2 * batch, .d = dim, .views = 2, .normalize = true, .threads = used};
}

static int ntxent_round(void)
{
    const struct loss_input in = loss_input();
    struct loss_metrics metrics;
    return ntxent(&in, 0.5, NULL, dz, &metrics);
}

static int dcl_round(void)
{
    const struct loss_input in = loss_input();
    struct loss_metrics metrics;
    return dcl(&in, &(struct dcl_settings){.temperature = 0.1, .sigma = 0.5}, dz, &metrics);
}

static int hcl_round(void)
{
    const struct loss_input in = loss_input();
    struct loss_metrics metrics;
    return hcl(&in, &(struct hcl_settings){0.5, 1, 0.1}, dz, &metrics);
}

static int barlow_round(void)
{
    const struct loss_input in = loss_input();
    struct loss_metrics metrics;
    return barlow(&in, 0.0051, dz, &metrics);
}

static int vicreg_round(void)
{
    const struct loss_input in = loss_input();
    struct loss_metrics metrics;
    return vicreg(&in, &(struct vicreg_settings){25, 25, 1}, dz, &metrics);
}

/* ---- lars: the optimizer's arithmetic ---- */

static struct plan *lars_plan;
static float **momenta; /* of each parameter */

static int lars_open(double *work)
{
    lars_plan = make_plan();
    if (!lars_plan)
        return -1;
    const struct parameters *all = &lars_plan->parameters;
    initialize_parameters(&lars_plan->parameters, 0);
    momenta = calloc((size_t)all->n, sizeof *momenta);
    *work = 0;
    for (int i = 0; momenta && i < all->n; i++) {
        const struct parameter *p = &all->list[i];
        if (p->buffer)
            continue;
        fill_noise(p->grad, p->count);
        momenta[i] = calloc(p->count, sizeof *momenta[i]);
        if (!momenta[i])
            return out_of_memory();
        *work += 5 * sizeof(float) * (double)p->count; /* reads w, g, v; writes w, v */
    }
    return momenta ? 0 : out_of_memory();
}

static int lars_round(void)
{
    const struct lars rule = {.momentum = 0.9, .weight_decay = 1e-4, .eta = 1e-3};
    for (int i = 0; i < lars_plan->parameters.n; i++) {
        const struct parameter *p = &lars_plan->parameters.list[i];
        if (!p->buffer &&
            lars_step(&rule, 0.1, p->ndim > 1, p->count, p->value, p->grad, momenta[i]))
            return fail("%s is not finite", p->name);
    }
    return 0;
}

/* ---- optimizer, echo: links ---- */

static struct {
    struct link *link;
    struct network *net;
    struct optimizer_client *client;
    struct frame *request;
    int64_t step;
} wire;

static int optimizer_open(double *work)
{
    *work = 0;
    wire.net = make_network();
    wire.link = wire.net ? link_open(endpoint, &link_options) : NULL;
    wire.request = wire.link ? frame_new(NULL, 0) : NULL;
    if (!wire.request)
        return -1;
    frame_set_meta_int(wire.request, "steps", 1000000);
    wire.client = optimizer_client_new(wire.link, network_parameters(wire.net), DTYPE_F32);
    return wire.client ? optimizer_client_join(wire.client, wire.request, wire.request, &wire.step)
                       : -1;
}

static int optimizer_round(void)
{
    const struct parameters *all = network_parameters(wire.net);
    const char *lr;
    frame_set_meta_int(wire.request, "step", wire.step++);
    if (optimizer_client_begin(wire.client, wire.request))
        return -1;
    for (int p = all->n - 1; p >= 0; p--)
        if (!all->list[p].buffer && optimizer_client_push(wire.client, p))
            return -1;
    return optimizer_client_finish(wire.client, &lr);
}

static int echo_open(double *work)
{
    wire.link = link_open(endpoint, &link_options);
    *work = 2 * (double)bytes;
    return wire.link ? 0 : -1;
}

static int echo_round(void)
{
    struct frame *f = frame_new(&(struct tensor_spec){"x", DTYPE_U8, 1, {bytes}}, 1), *reply;
    if (!f || link_request(wire.link, f, &reply))
        return -1;
    frame_free(reply);
    return 0;
}

static int link_finish(void)
{
    return link_end(wire.link) || link_close(wire.link);
}

/* ---- ranks ---- */

static struct link *ranks[LINKS_AT_ONCE];

static int collective_open(double *work)
{
    *work = 2 * (double)world * (double)bytes;
    for (int i = 0; i < world; i++)
        if (!(ranks[i] = link_open(endpoint, &link_options)))
            return -1;
    return 0;
}

static int collective_round(void)
{
    struct frame *replies[LINKS_AT_ONCE];
    const int64_t count = bytes < 4 ? 1 : bytes / 4;
    for (int i = 0; i < world; i++) {
        struct frame *f = frame_new(&(struct tensor_spec){"x", DTYPE_F32, 1, {count}}, 1);
        if (!f)
            return -1;
        frame_set_meta_int(f, "rank", i);
        frame_set_meta_int(f, "world", world);
        if (link_send(ranks[i], f))
            return -1;
    }
    if (link_receive_all(ranks, (int)world, replies))
        return -1;
    for (int i = 0; i < world; i++)
        frame_free(replies[i]);
    return 0;
}

static int collective_close(void)
{
    int bad = 0;
    for (int i = 0; i < world; i++)
        bad = link_end(ranks[i]) || bad;
    for (int i = 0; i < world; i++)
        bad = link_close(ranks[i]) || bad;
    return bad;
}

/* ---- asking ---- */

static const struct part {
    const char *name;
    int (*open)(double *work);
    int (*round)(void);
    int (*close)(void); /* may be NULL */
} parts[] = {
    {"product", product_open, product_round, NULL},
    {"copy", copy_open, copy_round, NULL},
    {"network", network_open, network_round, network_close},
    {"ntxent", pairs_open, ntxent_round, NULL},
    {"dcl", pairs_open, dcl_round, NULL},
    {"hcl", pairs_open, hcl_round, NULL},
    {"barlow", columns_open, barlow_round, NULL},
    {"vicreg", columns_open, vicreg_round, NULL},
    {"lars", lars_open, lars_round, NULL},
    {"optimizer", optimizer_open, optimizer_round, link_finish},
    {"echo", echo_open, echo_round, link_finish},
    {"ranks", collective_open, collective_round, collective_close},
};

static int answer(const struct part *part)
{
    char line[256];
    double work;
    if (part->open(&work) || part->round())
        return -1;
    if (profile && step.net)
        network_observe(step.net, observe, NULL);
    printf("ready\t%.0f\n", work);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        const double since = clock_now();
        if (part->round())
            return -1;
        printf("%.9f\n", clock_now() - since);
        fflush(stdout);
    }
    return part->close ? part->close() : 0;
}

static int print_work(void)
{
    if (plan_open())
        return warn_failure();
    printf("%.0f\n", step_flops());
    return 0;
}

/* ---- images: what augmentation is measured on ---- */

/* As photographs have them: fields that vary the more the longer the wave, discs with sharp edges
 * over them, and a little noise. */
enum { DISCS = 12 };

struct picture {
    uint32_t key;
    struct {
        float x, y, radius, color[3];
    } discs[DISCS];
};

/* From -1 to 1, for these numbers. */
static float chance(uint32_t key, uint32_t a, uint32_t b)
{
    uint32_t h = key * 0x9e3779b1u + a * 0x85ebca77u + b * 0xc2b2ae3du;
    h = (h ^ h >> 15) * 0x2c1b3c6du;
    h = (h ^ h >> 12) * 0x297a2d39u;
    return (float)(h ^ h >> 15) / 0x1p31F - 1;
}

static float wave(uint32_t key, float x, float y)
{
    const float u = x - floorf(x), v = y - floorf(y);
    const uint32_t i = (uint32_t)x, j = (uint32_t)y;
    const float above = chance(key, i, j) * (1 - u) + chance(key, i + 1, j) * u;
    const float below = chance(key, i, j + 1) * (1 - u) + chance(key, i + 1, j + 1) * u;
    return above * (1 - v) + below * v;
}

/* x and y in shares of the picture's width. */
static uint8_t shade(const struct picture *p, uint32_t channel, float x, float y, uint32_t pixel)
{
    float value = 0.45F + 0.06F * chance(p->key + 1, pixel, channel);
    float amplitude = 1;
    for (int octave = 1; octave <= 8 && 1 << octave <= pixels; octave++) {
        const float waves = (float)(1 << octave);
        const uint32_t key = p->key + 16 * (uint32_t)octave;
        amplitude *= 0.65F;
        value += amplitude * (0.4F * wave(key, x * waves, y * waves) +
                              0.15F * wave(key + 1 + channel, x * waves, y * waves));
    }
    for (int d = 0; d < DISCS; d++)
        if (hypotf(x - p->discs[d].x, y - p->discs[d].y) < p->discs[d].radius)
            value += p->discs[d].color[channel];
    return (uint8_t)(255 * fminf(fmaxf(value, 0), 1));
}

static void draw_picture(uint32_t number, uint8_t *out)
{
    struct picture p = {.key = number << 12};
    for (uint32_t d = 0; d < DISCS; d++) {
        p.discs[d].x = 0.5F + 0.5F * chance(p.key, d, 0);
        p.discs[d].y = 0.5F + 0.5F * chance(p.key, d, 1);
        p.discs[d].radius = 0.15F + 0.12F * chance(p.key, d, 2);
        for (uint32_t c = 0; c < 3; c++)
            p.discs[d].color[c] = 0.25F * chance(p.key, d, 3 + c);
    }
    for (uint32_t i = 0; i < (uint32_t)(height * pixels); i++) {
        const float scale = 1 / (float)pixels;
        const float x = (float)(i % (uint32_t)pixels) * scale;
        const float y = (float)(i / (uint32_t)pixels) * scale;
        for (uint32_t c = 0; c < 3; c++)
            out[3 * i + c] = shade(&p, c, x, y, i);
    }
}

static int print_images(void)
{
    height = height ? height : pixels;
    struct frame *f =
        frame_new(&(struct tensor_spec){"x", DTYPE_U8, 4, {batch, height, pixels, 3}}, 1);
    struct sink *out = f ? sink_open("-", &link_options) : NULL;
    if (!out)
        return warn_failure();
    uint8_t *x = frame_find(f, "x")->data;
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (int64_t i = 0; i < batch; i++)
        draw_picture((uint32_t)i, x + 3 * i * height * pixels);
    return sink_write(out, f) || sink_end(out) ? warn_failure() : 0;
}

static int print_kernels(void)
{
    for (int i = 0; gemm_kernel_names[i]; i++) {
        const struct gemm_kernel *p = gemm_kernel_find(gemm_kernel_names[i]);
        if (p && p->usable())
            puts(p->name);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct program program = {.name = "bench",
                                    .summary = "repeats one part of a training step",
                                    .details = details,
                                    .options = {options}};
    int operand;
    options_parse(&program, argc, argv, &operand);
    signals_setup();
    const char *name = operand + 1 == argc ? argv[operand] : "";
    if (!strcmp(name, "kernels"))
        return print_kernels();
    if (!strcmp(name, "work"))
        return print_work();
    if (!strcmp(name, "images"))
        return print_images();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(name, parts[i].name))
            return answer(&parts[i]) ? warn_failure() : 0;
    options_reject("which part? bench --help lists them");
}
