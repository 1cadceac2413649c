#include "network.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "conv.h"
#include "exact.h"
#include "fail.h"
#include "grains.h"

static const double epsilon = 1e-5; /* added to variances */
static const float decay = 0.9F;    /* of running statistics */
enum {
    ALIGNMENT = 64,
    HUGE_PAGE = 2 << 20,
    SLICE = 64 /* images that evaluation takes at a time */
};

/* What batch norm gets from the convolution before it, and keeps for the backward pass: (c) each,
 * sums (2,c): of its input over the slice, and of that squared; and the same over the batch. Of
 * several workers that share a batch these are all workers' sums and values. */
struct statistics {
    double *sums, *batch;
    double values, batch_values;   /* of a channel, that the sums are over */
    float *mean, *scale, *inverse; /* scale = weight * inverse; inverse = 1 / deviation */
};

struct network {
    struct plan *plan;
    struct engine engine;
    int threads;

    struct network_shape shape;
    bool prepared, changed, ran;
    struct plan_layout layout;
    int64_t slice;  /* images that the layout is for: a chunk in training */
    int64_t images; /* of the slice that is at work: the last one may be smaller */
    struct input {
        const uint8_t *bytes;
        const float *floats;
        const struct normalization *normalize;
    } input; /* the caller's, for the chunks that the backward pass runs forward again */

    unsigned char *memory; /* one block, of which all below are parts */
    unsigned char *maps;
    unsigned char *packed, *packed_back; /* weights; for the backward pass, of one operation */
    size_t *packed_at;                   /* of each operation, in packed */
    struct statistics *statistics;       /* of each tensor that is normalized */
    bool *written;                       /* of each tensor: its gradient holds some reader's part */
    void *partials;                      /* of gradients of weights */
    double *sums;                        /* rows of sums, before they are added */
    int64_t *digits;                     /* of their sum (exact.h), and the number of values */
    float *coefficients, *zeros;         /* (2, c), (c): what norm kernels are given */
    float *carried;                      /* gradients of chunks: grains_carry_floats()'s levels */
    struct workspace work;

    int (*add)(const char *name, int64_t *values, size_t count, void *user); /* NULL: alone */
    void *workers;

    void (*observe)(const struct network_event *event, void *user);
    void *observer;
};

struct network *network_new(struct plan *plan, const struct engine *engine, int threads)
{
    struct network *net = calloc(1, sizeof *net);
    const size_t n = (size_t)plan->n_operations;
    if (net) {
        net->packed_at = calloc(n, sizeof *net->packed_at);
        net->statistics = calloc((size_t)plan->n_tensors, sizeof *net->statistics);
        net->written = calloc((size_t)plan->n_tensors, sizeof *net->written);
    }
    if (!net || !net->packed_at || !net->statistics || !net->written) {
        fail("out of memory");
        plan_free(plan);
        network_free(net);
        return NULL;
    }
    net->plan = plan;
    net->engine = *engine;
    net->threads = threads;
    return net;
}

static void release(struct network *net)
{
    plan_layout_clear(&net->layout);
    free(net->memory);
    net->memory = NULL;
    net->prepared = false;
}

void network_free(struct network *net)
{
    if (!net)
        return;
    release(net);
    plan_free(net->plan);
    free(net->packed_at);
    free(net->statistics);
    free(net->written);
    free(net);
}

struct parameters *network_parameters(struct network *net)
{
    return &net->plan->parameters;
}

void network_parameters_changed(struct network *net)
{
    net->changed = true;
}

int64_t network_inputs(const struct network *net)
{
    return net->plan->channels[0];
}

int64_t network_outputs(const struct network *net)
{
    return net->plan->channels[net->plan->n_tensors - 1];
}

void network_share(struct network *net,
                   int (*add)(const char *name, int64_t *values, size_t count, void *user),
                   void *user)
{
    net->add = add;
    net->workers = user;
    for (int i = 0; i < net->plan->n_operations; i++) {
        const struct plan_operation *op = &net->plan->operations[i];
        if (op->kind != PLAN_BATCH_NORM)
            continue;
        net->plan->parameters.list[op->weight].shared = add != NULL;
        if (op->bias >= 0)
            net->plan->parameters.list[op->bias].shared = add != NULL;
    }
}

/* Values that the output has for each image. */
static int64_t output_values(const struct network *net)
{
    const struct plan_map *m = &net->layout.maps[net->plan->n_tensors - 1];
    return m->h * m->w * m->c;
}

/* ---- shapes ---- */

/* Is operation i trained in this pass: does it use the batch's statistics, and have a backward
 * pass? */
static bool trains(const struct network *net, int i)
{
    return net->shape.training && i >= net->plan->frozen;
}

static int number_of(const struct network *net, const struct plan_operation *op)
{
    return (int)(op - net->plan->operations);
}

/* Of the slice at work: whole grains where it holds such, else one sum. */
static int64_t slice_grains(const struct network *net)
{
    if (!net->shape.training)
        return 1;
    const int64_t each = net->shape.images / net->shape.grains;
    return net->images % each ? 1 : net->images / each;
}

static struct conv_shape conv_shape(const struct network *net, const struct plan_operation *op)
{
    const struct plan_map *in = &net->layout.maps[op->in], *out = &net->layout.maps[op->out];
    return (struct conv_shape){.images = net->images,
                               .h = in->h,
                               .w = in->w,
                               .c = in->c,
                               .oh = out->h,
                               .ow = out->w,
                               .o = out->c,
                               .kernel = op->kernel,
                               .stride = op->stride,
                               .padding = op->padding,
                               .grains = slice_grains(net),
                               .row = op->row};
}

static struct norm_shape norm_shape(const struct network *net, int tensor)
{
    const struct plan_map *m = &net->layout.maps[tensor];
    return (struct norm_shape){
        .images = net->images, .pixels = m->h * m->w, .c = m->c, .grains = slice_grains(net)};
}

static struct pool_shape pool_shape(const struct network *net, const struct plan_operation *op)
{
    const struct plan_map *in = &net->layout.maps[op->in], *out = &net->layout.maps[op->out];
    return (struct pool_shape){.images = net->images,
                               .h = in->h,
                               .w = in->w,
                               .c = in->c,
                               .oh = out->h,
                               .ow = out->w,
                               .kernel = op->kernel,
                               .stride = op->stride,
                               .padding = op->padding};
}

static void *value(const struct network *net, int tensor)
{
    return net->maps + net->layout.maps[tensor].value;
}

static void *gradient(const struct network *net, int tensor)
{
    assert(net->layout.maps[tensor].grad != SIZE_MAX);
    return net->maps + net->layout.maps[tensor].grad;
}

/* An average pool's result is the network's, and made of floats in every engine. */
static const struct maps *last_maps(const struct network *net)
{
    const struct plan *p = net->plan;
    const bool averaged = p->operations[p->n_operations - 1].kind == PLAN_AVERAGE_POOL;
    return averaged ? &maps_fp32 : net->engine.maps;
}

static struct parameter *parameter(const struct network *net, int index)
{
    return &net->plan->parameters.list[index];
}

/* ---- observing ---- */

void network_observe(struct network *net,
                     void (*observe)(const struct network_event *event, void *user), void *user)
{
    net->observe = observe;
    net->observer = user;
}

static double began(const struct network *net)
{
    return net->observe ? clock_now() : 0;
}

static size_t map_values(const struct network *net, int tensor)
{
    const struct plan_map *m = &net->layout.maps[tensor];
    return (size_t)(net->images * m->h * m->w * m->c);
}

/* Reports a kernel of an operation that passed over its input and output so many times. */
static void report(const struct network *net, const struct plan_operation *op, const char *kernel,
                   double since, int inputs, int outputs)
{
    if (!net->observe)
        return;
    const double in = (double)map_values(net, op->in), out = (double)map_values(net, op->out);
    const double window = (double)(op->row ? op->kernel : op->kernel * op->kernel) *
                          (double)net->layout.maps[op->in].c;
    const struct network_event event = {
        .kernel = kernel,
        .name = op->weight >= 0 ? parameter(net, op->weight)->name : "",
        .seconds = clock_now() - since,
        .flops = op->kind == PLAN_CONVOLUTION && inputs ? 2 * out * window : 0,
        .bytes = (inputs * in + outputs * out) * (double)net->engine.maps->element};
    net->observe(&event, net->observer);
}

/* ---- memory ---- */

/* Reserves bytes at the end of a block of *total; false on overflow. */
static bool reserve(size_t *total, size_t bytes, size_t *at)
{
    *at = *total;
    return !__builtin_add_overflow(*total, bytes, total) &&
           !__builtin_add_overflow(*total, ALIGNMENT - 1, total) &&
           (*total = *total / ALIGNMENT * ALIGNMENT, true);
}

static void raise_to(size_t *most, size_t bytes)
{
    if (bytes > *most)
        *most = bytes;
}

/* In large pages where the system has them: a step walks through all of its memory, and looking a
 * page up for every 4 KiB costs up to a third of its time. */
static unsigned char *allocate(size_t bytes)
{
    if (bytes < HUGE_PAGE)
        return aligned_alloc(ALIGNMENT, bytes);
    if (bytes > SIZE_MAX - HUGE_PAGE)
        return NULL;
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    unsigned char *memory = aligned_alloc(HUGE_PAGE, bytes);
    if (memory)
        madvise(memory, bytes, MADV_HUGEPAGE); /* a wish, which may fail */
    return memory;
}

static int64_t slices(const struct network *net)
{
    return (net->shape.images + net->slice - 1) / net->slice;
}

/* Weights that change with each step and serve one slice are packed when they are used, in memory
 * for one operation alone; others once, for all slices and batches that use them. */
static bool packs_at_use(const struct network *net)
{
    return net->shape.training && slices(net) == 1;
}

/* What the operations take besides maps: bytes, and sums and channels in values. */
struct needs {
    size_t packed, back, partials, sums, channels, kept, work;
};

/* Raises needs to those of slices of net->images. -1 on overflow. */
static int raise_needs(struct network *net, struct needs *n)
{
    const struct plan *p = net->plan;
    const struct panel_values *v = &net->engine.values;
    n->packed = n->kept = 0; /* the same for slices of any size */
    for (int i = 0; i < p->n_operations; i++) {
        const struct plan_operation *op = &p->operations[i];
        if (op->kind == PLAN_CONVOLUTION) {
            const struct conv_shape s = conv_shape(net, op);
            const size_t bytes = conv_packed_bytes(v, &s);
            net->packed_at[i] = 0;
            if (packs_at_use(net))
                raise_to(&n->packed, bytes);
            else if (!reserve(&n->packed, bytes, &net->packed_at[i]))
                return -1;
            raise_to(&n->work, conv_work_bytes(v, &s, net->threads));
            if (!trains(net, i))
                continue;
            raise_to(&n->back, packs_at_use(net) ? 0 : bytes);
            raise_to(&n->partials, conv_partial_bytes(v, &s));
            raise_to(&n->sums, (size_t)(conv_sum_rows(v, &s) * 2 * s.o));
        } else if (op->kind == PLAN_BATCH_NORM || op->kind == PLAN_BIAS) {
            const struct norm_shape s = norm_shape(net, op->in);
            raise_to(&n->channels, (size_t)s.c);
            if (op->kind == PLAN_BATCH_NORM)
                n->kept += (4 * sizeof(float) + 4 * sizeof(double)) * (size_t)s.c;
            if (trains(net, i))
                raise_to(&n->sums, (size_t)(net->engine.maps->norm_partials(&s) * 2 * s.c));
        }
    }
    return 0;
}

/* Values of all gradients together. */
static size_t gradient_values(const struct network *net)
{
    size_t values = 0;
    for (int i = 0; i < net->plan->parameters.n; i++)
        if (!parameter(net, i)->buffer)
            values += parameter(net, i)->count;
    return values;
}

/* Points statistics to their places in `kept`. */
static void place_statistics(struct network *net, double *kept)
{
    const struct plan *p = net->plan;
    for (int i = 0; i < p->n_operations; i++) {
        if (p->operations[i].kind != PLAN_BATCH_NORM)
            continue;
        const int64_t c = p->channels[p->operations[i].in];
        float *floats = (float *)(kept + 4 * c);
        net->statistics[p->operations[i].in] = (struct statistics){.sums = kept,
                                                                   .batch = kept + 2 * c,
                                                                   .mean = floats,
                                                                   .scale = floats + c,
                                                                   .inverse = floats + 2 * c};
        kept = (double *)(floats + 4 * c);
    }
}

int network_prepare(struct network *net, const struct network_shape *shape)
{
    assert(shape->training || !shape->input_grad);
    assert(!net->plan->frozen || !shape->input_grad);
    if (net->prepared && !memcmp(&net->shape, shape, sizeof *shape))
        return 0;
    if (shape->images < 1)
        return fail("no images");
    if (shape->training && (shape->grains < 1 || shape->images % shape->grains))
        return fail("%lld grains do not divide %lld views", (long long)shape->grains,
                    (long long)shape->images);
    release(net);
    net->shape = *shape;
    const int64_t most = !shape->training ? SLICE : shape->chunk ? shape->chunk : shape->images;
    net->slice = most < shape->images ? most : shape->images;
    if (plan_lay_out(net->plan, net->slice, shape->height, shape->width, net->engine.maps->element,
                     shape->training, shape->input_grad, &net->layout))
        return -1;
    struct needs n = {0};
    const int64_t sizes[] = {net->slice, shape->images - (slices(net) - 1) * net->slice};
    size_t total = 0, at_maps, at_packed, at_back, at_partials, at_sums, at_digits, at_channels,
           at_kept, at_carried, at_work, carried = 0, work = 0;
    bool fits = true;
    for (int i = 0; fits && i < 2; i++) {
        net->images = sizes[i];
        fits = !raise_needs(net, &n);
    }
    for (int64_t parts = slices(net) - 1; fits && shape->training && parts; parts /= 2)
        fits = !__builtin_add_overflow(carried, gradient_values(net) * sizeof(float), &carried);
    if (!fits || __builtin_mul_overflow(n.work, (size_t)net->threads, &work) ||
        !reserve(&total, net->layout.bytes, &at_maps) || !reserve(&total, n.packed, &at_packed) ||
        !reserve(&total, n.back, &at_back) || !reserve(&total, n.partials, &at_partials) ||
        !reserve(&total, n.sums * sizeof(double), &at_sums) ||
        !reserve(&total, (EXACT_DIGITS * 2 * n.channels + 1) * sizeof(int64_t), &at_digits) ||
        !reserve(&total, 3 * n.channels * sizeof(float), &at_channels) ||
        !reserve(&total, n.kept, &at_kept) || !reserve(&total, carried, &at_carried) ||
        !reserve(&total, work, &at_work))
        return fail("the network's memory overflows");
    net->memory = allocate(total);
    if (!net->memory)
        return fail("out of memory: a step of %lld views of %lld x %lld needs %zu MiB",
                    (long long)net->slice, (long long)shape->height, (long long)shape->width,
                    total >> 20);
    net->maps = net->memory + at_maps;
    net->packed = net->memory + at_packed;
    net->packed_back = packs_at_use(net) ? net->packed : net->memory + at_back;
    net->partials = net->memory + at_partials;
    net->sums = (double *)(net->memory + at_sums);
    net->digits = (int64_t *)(net->memory + at_digits);
    net->coefficients = (float *)(net->memory + at_channels);
    net->zeros = net->coefficients + 2 * n.channels;
    net->carried = (float *)(net->memory + at_carried);
    net->work = (struct workspace){
        .memory = net->memory + at_work, .bytes = n.work, .threads = net->threads};
    place_statistics(net, (double *)(net->memory + at_kept));
    net->prepared = net->changed = true;
    net->ran = false;
    return 0;
}

/* ---- forward ---- */

static void pack_weights(struct network *net, int i)
{
    const struct plan_operation *op = &net->plan->operations[i];
    const struct conv_shape s = conv_shape(net, op);
    const double since = began(net);
    conv_pack_forward(&net->engine.values, &s, parameter(net, op->weight)->value,
                      net->packed + net->packed_at[i], net->threads);
    report(net, op, "weights packed", since, 0, 0);
}

static void pack_changed_weights(struct network *net)
{
    for (int i = 0; i < net->plan->n_operations && net->changed && !packs_at_use(net); i++)
        if (net->plan->operations[i].kind == PLAN_CONVOLUTION)
            pack_weights(net, i);
    net->changed = false;
}

struct moments {
    double mean, variance;
};

/* Of channel i of c, from the sums (2,c) over n values a channel. */
static struct moments moments(const double *sums, int64_t c, int64_t i, double n)
{
    const double mean = sums[i] / n;
    return (struct moments){mean, fmax(sums[c + i] / n - mean * mean, 0)};
}

/* Mean and deviation of each channel from the sums over the slice. */
static void slice_statistics(const struct network *net, const struct plan_operation *op,
                             const struct statistics *keep, int64_t c)
{
    const float *weight = parameter(net, op->weight)->value;
    for (int64_t i = 0; i < c; i++) {
        const struct moments m = moments(keep->sums, c, i, keep->values);
        keep->mean[i] = (float)m.mean;
        keep->inverse[i] = (float)(1 / sqrt(m.variance + epsilon));
        keep->scale[i] = weight[i] * keep->inverse[i];
    }
}

/* After all slices: running statistics move once a step, by the sums over the whole batch. */
static void move_running_statistics(const struct network *net)
{
    for (int o = 0; o < net->plan->n_operations; o++) {
        const struct plan_operation *op = &net->plan->operations[o];
        if (op->kind != PLAN_BATCH_NORM || !trains(net, o))
            continue;
        const struct statistics *keep = &net->statistics[op->in];
        const int64_t c = net->plan->channels[op->in];
        const double n = keep->batch_values;
        float *mean = parameter(net, op->mean)->value;
        float *variance = parameter(net, op->variance)->value;
        for (int64_t i = 0; i < c; i++) {
            const struct moments of = moments(keep->batch, c, i, n);
            mean[i] = decay * mean[i] + (1 - decay) * (float)of.mean;
            variance[i] = decay * variance[i] + (1 - decay) * (float)(of.variance * n / (n - 1));
        }
        ++*(int64_t *)parameter(net, op->batches)->value;
    }
}

static void running_statistics(const struct network *net, const struct plan_operation *op,
                               const struct statistics *keep, int64_t c)
{
    const float *weight = parameter(net, op->weight)->value;
    const float *variance = parameter(net, op->variance)->value;
    memcpy(keep->mean, parameter(net, op->mean)->value, (size_t)c * sizeof *keep->mean);
    for (int64_t i = 0; i < c; i++)
        keep->scale[i] = weight[i] * (float)(1 / sqrt((double)variance[i] + epsilon));
}

/* What the kernels need of a channel. A norm without a trainable bias has one of zeros. */
static struct norm_channels norm_channels(const struct network *net,
                                          const struct plan_operation *op)
{
    const struct statistics *keep = &net->statistics[op->in];
    const size_t c = (size_t)net->plan->channels[op->in];
    const float *bias = net->zeros;
    if (op->bias >= 0)
        bias = parameter(net, op->bias)->value;
    else
        memset(net->zeros, 0, c * sizeof *net->zeros);
    return (struct norm_channels){.mean = keep->mean, .scale = keep->scale, .bias = bias};
}

static void norm_forward(struct network *net, const struct plan_operation *op)
{
    const struct norm_shape s = norm_shape(net, op->in);
    const struct statistics *keep = &net->statistics[op->in];
    if (trains(net, number_of(net, op)))
        slice_statistics(net, op, keep, s.c);
    else
        running_statistics(net, op, keep, s.c);
    const struct norm_channels k = norm_channels(net, op);
    const double since = began(net);
    net->engine.maps->norm_forward(&s, value(net, op->in), &k,
                                   op->residual >= 0 ? value(net, op->residual) : NULL, op->relu,
                                   value(net, op->out), net->threads);
    report(net, op, "norm forward", since, op->residual >= 0 ? 2 : 1, 1);
}

/* A norm by fixed numbers, of which the kernels know. */
static struct norm_channels bias_channels(const struct network *net,
                                          const struct plan_operation *op)
{
    const size_t c = (size_t)net->plan->channels[op->in];
    memset(net->zeros, 0, c * sizeof *net->zeros);
    for (size_t i = 0; i < c; i++)
        net->coefficients[i] = 1;
    return (struct norm_channels){
        .mean = net->zeros, .scale = net->coefficients, .bias = parameter(net, op->bias)->value};
}

static void bias_forward(struct network *net, const struct plan_operation *op)
{
    const struct norm_shape s = norm_shape(net, op->in);
    const struct norm_channels k = bias_channels(net, op);
    const double since = began(net);
    net->engine.maps->norm_forward(&s, value(net, op->in), &k, NULL, false, value(net, op->out),
                                   net->threads);
    report(net, op, "bias forward", since, 1, 1);
}

/* Adds each grain's rows, (n) each, in their order: its sum is left in row `grain`. */
static void sum_rows(double *rows, int64_t n_rows, int64_t grains, int64_t n)
{
    const int64_t each = n_rows / grains;
    for (int64_t g = 0; g < grains; g++) {
        double *to = rows + g * n;
        const double *from = rows + g * each * n;
        if (to != from)
            memcpy(to, from, (size_t)n * sizeof *to);
        for (int64_t i = 1; i < each; i++)
            for (int64_t j = 0; j < n; j++)
                to[j] += from[i * n + j];
    }
}

/* A norm's name: that of its scale without ".weight". */
static void norm_name(const struct network *net, const struct plan_operation *op, char name[256])
{
    const char *weight = parameter(net, op->weight)->name;
    const size_t length = strlen(weight) - strlen(".weight");
    snprintf(name, 256, "%.*s", (int)(length < 255 ? length : 255), weight);
}

/* sums (2,c) and *n, the values of a channel, over all grains of all workers, from each grain's in
 * net->sums. */
static int sum_grains(struct network *net, const struct plan_operation *op, double *sums, double *n)
{
    const struct norm_shape s = norm_shape(net, op->in);
    int64_t *digits = net->digits, *values = digits + EXACT_DIGITS * 2 * s.c;
    exact_sum(net->sums, s.grains, 2 * s.c, digits);
    *values = s.images * s.pixels;
    if (net->add) {
        char name[256];
        norm_name(net, op, name);
        if (net->add(name, digits, (size_t)(values + 1 - digits), net->workers))
            return -1;
        if (*values < 2)
            return fail("batch normalization cannot train on a single view");
    }
    exact_values(digits, 2 * s.c, sums);
    *n = (double)*values;
    return 0;
}

static const struct plan_operation *norm_after(const struct network *net, int i)
{
    const struct plan_operation *next = &net->plan->operations[i + 1];
    while (next->kind != PLAN_BATCH_NORM || next->in != net->plan->operations[i].out)
        next++;
    return next;
}

/* In training a convolution also makes the sums for the batch norm that reads it. */
static int conv_forward_and_sum(struct network *net, int i)
{
    const struct plan_operation *op = &net->plan->operations[i];
    const struct conv_shape s = conv_shape(net, op);
    const struct panel_values *v = &net->engine.values;
    struct statistics *keep = &net->statistics[op->out];
    const bool sums = trains(net, i) && keep->sums;
    if (packs_at_use(net))
        pack_weights(net, i);
    const double since = began(net);
    conv_forward(v, &s, value(net, op->in), net->packed + net->packed_at[i], value(net, op->out),
                 sums ? net->sums : NULL, &net->work);
    report(net, op, "conv forward", since, 1, 1);
    if (!sums)
        return 0;
    sum_rows(net->sums, conv_sum_rows(v, &s), s.grains, 2 * s.o);
    return sum_grains(net, norm_after(net, i), keep->sums, &keep->values);
}

/* Of one half of the map that a selective kernel reads. */
static struct norm_shape half_shape(const struct network *net, const struct plan_operation *op)
{
    struct norm_shape s = norm_shape(net, op->in);
    s.c /= 2;
    return s;
}

static void halves_forward(struct network *net, const struct plan_operation *op)
{
    const struct maps *e = net->engine.maps;
    const struct norm_shape s = half_shape(net, op);
    const double since = began(net);
    if (op->kind == PLAN_HALVES_MEAN)
        e->halves_mean(&s, value(net, op->in), value(net, op->out), net->threads);
    else
        e->halves_mix(&s, value(net, op->in), value(net, op->logits), value(net, op->out),
                      net->threads);
    report(net, op, "halves forward", since, 1, 1);
}

static int run_operations(struct network *net)
{
    const struct maps *e = net->engine.maps;
    for (int i = 0; i < net->plan->n_operations; i++) {
        const struct plan_operation *op = &net->plan->operations[i];
        switch (op->kind) {
        case PLAN_CONVOLUTION:
            if (conv_forward_and_sum(net, i))
                return -1;
            break;
        case PLAN_BIAS:
            bias_forward(net, op);
            break;
        case PLAN_BATCH_NORM:
            norm_forward(net, op);
            break;
        case PLAN_MAX_POOL: {
            const struct pool_shape s = pool_shape(net, op);
            const double since = began(net);
            e->max_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            report(net, op, "pool forward", since, 1, 1);
            break;
        }
        case PLAN_AVERAGE_POOL: {
            const struct norm_shape s = norm_shape(net, op->in);
            const double since = began(net);
            e->average_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            report(net, op, "pool forward", since, 1, 1);
            break;
        }
        case PLAN_MEAN_POOL: {
            const struct pool_shape s = pool_shape(net, op);
            const double since = began(net);
            e->mean_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            report(net, op, "pool forward", since, 1, 1);
            break;
        }
        case PLAN_HALVES_MEAN:
        case PLAN_HALVES_MIX:
            halves_forward(net, op);
            break;
        }
    }
    return 0;
}

/* The input's slice that begins with image `at`, through all operations. */
static int run_slice(struct network *net, int64_t at)
{
    const struct maps *e = net->engine.maps;
    const struct input *in = &net->input;
    const struct plan_map *first = &net->layout.maps[0];
    const int64_t pixels = first->h * first->w, from = at * pixels * first->c;
    const int64_t rest = net->shape.images - at;
    net->images = rest < net->slice ? rest : net->slice;
    if (in->bytes)
        e->load_bytes(in->bytes + from, net->images * pixels, first->c, in->normalize->mean,
                      in->normalize->deviation, value(net, 0), net->threads);
    else
        e->load_floats(in->floats + from, net->images * pixels * first->c, value(net, 0),
                       net->threads);
    return run_operations(net);
}

static void add_to_batch_sums(const struct network *net, bool first)
{
    for (int t = net->plan->frozen + 1; t < net->plan->n_tensors; t++) {
        struct statistics *keep = &net->statistics[t];
        for (int64_t i = 0; keep->sums && i < 2 * net->plan->channels[t]; i++)
            keep->batch[i] = first ? keep->sums[i] : keep->batch[i] + keep->sums[i];
        keep->batch_values = first ? keep->values : keep->batch_values + keep->values;
    }
}

/* Each slice needs two values a channel for a variance; workers may have them together. */
static int check_norms(const struct network *net)
{
    const int64_t last = net->shape.images - (slices(net) - 1) * net->slice;
    for (int i = 0; i < net->plan->n_operations; i++) {
        const struct plan_operation *op = &net->plan->operations[i];
        const struct plan_map *m = &net->layout.maps[op->in];
        if (op->kind == PLAN_BATCH_NORM && trains(net, i) && !net->add && last * m->h * m->w < 2)
            return fail("batch normalization cannot train on a single view");
    }
    return 0;
}

int network_forward(struct network *net, const uint8_t *bytes, const float *floats,
                    const struct normalization *normalize, float *out)
{
    assert(net->prepared && !bytes != !floats);
    assert(!bytes || (normalize && net->plan->channels[0] <= 3));
    const int last = net->plan->n_tensors - 1;
    const bool training = net->shape.training;
    if (training && check_norms(net))
        return -1;
    pack_changed_weights(net);
    net->input = (struct input){bytes, floats, normalize};
    for (int64_t at = 0; at < net->shape.images; at += net->slice) {
        if (run_slice(net, at))
            return -1;
        if (training)
            add_to_batch_sums(net, at == 0);
        last_maps(net)->store_floats(value(net, last), net->images * output_values(net),
                                     out + at * output_values(net), net->threads);
    }
    if (training)
        move_running_statistics(net);
    net->ran = training;
    return 0;
}

/* ---- backward ---- */

/* With g = dy' and the sums S1 = sum g and S2 = sum g (x - mean) over the n values of a channel
 * (arXiv 1502.03167, section 3): d bias = S1, d weight = S2 inverse, and
 * dx = scale (g - S1/n - (x - mean) inverse^2 S2/n). */
static int norm_backward(struct network *net, const struct plan_operation *op)
{
    const struct maps *maps = net->engine.maps;
    const struct norm_shape s = norm_shape(net, op->in);
    const struct statistics *keep = &net->statistics[op->in];
    const struct norm_channels k = norm_channels(net, op);
    const bool masked = op->relu && op->residual >= 0;
    void *x = value(net, op->in), *dout = gradient(net, op->out);
    double *sums = net->sums;
    double since = began(net);
    maps->norm_backward_sums(&s, x, masked ? value(net, op->out) : NULL, dout, &k,
                             op->relu && !masked, sums, net->threads);
    report(net, op, "norm backward sums", since, 1, masked ? 3 : 1);
    double n;
    if (sum_grains(net, op, sums, &n))
        return -1;
    float *constant = net->coefficients, *slope = constant + s.c;
    float *dweight = parameter(net, op->weight)->grad;
    float *dbias = op->bias >= 0 ? parameter(net, op->bias)->grad : NULL;
    for (int64_t c = 0; c < s.c; c++) {
        const double inverse = (double)keep->inverse[c], scale = (double)keep->scale[c];
        dweight[c] = (float)(sums[s.c + c] * inverse);
        if (dbias)
            dbias[c] = (float)sums[c];
        constant[c] = (float)(scale * sums[c] / n);
        slope[c] = (float)(scale * inverse * inverse * sums[s.c + c] / n);
    }
    since = began(net);
    maps->norm_backward(&s, x, dout, &k, op->relu && !masked, constant, slope, net->threads);
    report(net, op, "norm backward", since, 2, 1);
    return 0;
}

/* The input's gradient is the output's, in its place. Sums of grains are doubles, added as those of
 * a norm's bias are. */
static void bias_backward(struct network *net, const struct plan_operation *op)
{
    const struct norm_shape s = norm_shape(net, op->in);
    const struct norm_channels k = bias_channels(net, op);
    float *dbias = parameter(net, op->bias)->grad;
    const double since = began(net);
    net->engine.maps->norm_backward_sums(&s, value(net, op->in), NULL, gradient(net, op->out), &k,
                                         false, net->sums, net->threads);
    exact_sum(net->sums, s.grains, 2 * s.c, net->digits);
    exact_values(net->digits, 2 * s.c, net->sums);
    for (int64_t c = 0; c < s.c; c++)
        dbias[c] = (float)net->sums[c];
    report(net, op, "bias backward", since, 1, 1);
}

/* written: whether the input's gradient holds another reader's part already */
static void conv_backward(struct network *net, const struct plan_operation *op, bool written)
{
    const struct panel_values *v = &net->engine.values;
    const struct conv_shape s = conv_shape(net, op);
    struct parameter *weight = parameter(net, op->weight);
    double since = began(net);
    conv_backward_weights(v, &s, value(net, op->in), gradient(net, op->out), net->partials,
                          weight->grad, &net->work);
    report(net, op, "conv backward weights", since, 1, 1);
    if (net->layout.maps[op->in].grad == SIZE_MAX)
        return;
    since = began(net);
    conv_pack_backward(v, &s, weight->value, net->packed_back, net->threads);
    report(net, op, "weights packed", since, 0, 0);
    since = began(net);
    conv_backward_data(v, &s, gradient(net, op->out), net->packed_back, gradient(net, op->in),
                       written, &net->work);
    report(net, op, "conv backward data", since, written ? 2 : 1, 1);
}

/* What network_backward() was given, and how far it is. */
struct pass {
    int64_t number, parts; /* of the slice at work; of all */
    int (*ready)(int parameter, void *user);
    void *user;
};

/* Parameter `index` (-1: none) has its gradient over the slice at work. When that is the last one
 * its gradient over the batch is complete. */
static int finish_gradient(struct network *net, const struct pass *pass, int index)
{
    if (index < 0)
        return 0;
    size_t before = 0;
    for (int i = 0; i < index; i++)
        if (!parameter(net, i)->buffer)
            before += parameter(net, i)->count;
    const struct parameter *p = parameter(net, index);
    if (pass->parts > 1)
        grains_carry_floats(p->grad, (int64_t)p->count, net->carried + before,
                            (int64_t)gradient_values(net), pass->number, pass->parts, net->threads);
    const bool last = pass->number == pass->parts - 1;
    return last && pass->ready ? pass->ready(index, pass->user) : 0;
}

static void pool_backward(struct network *net, const struct plan_operation *op)
{
    if (net->layout.maps[op->in].grad == SIZE_MAX)
        return;
    const struct maps *e = net->engine.maps;
    const double since = began(net);
    if (op->kind == PLAN_MAX_POOL) {
        const struct pool_shape s = pool_shape(net, op);
        e->max_pool_backward(&s, value(net, op->in), gradient(net, op->out), gradient(net, op->in),
                             net->threads);
        report(net, op, "pool backward", since, 2, 1);
    } else if (op->kind == PLAN_MEAN_POOL) {
        const struct pool_shape s = pool_shape(net, op);
        e->mean_pool_backward(&s, gradient(net, op->out), gradient(net, op->in), net->threads);
        report(net, op, "pool backward", since, 1, 1);
    } else {
        const struct norm_shape s = norm_shape(net, op->in);
        e->average_pool_backward(&s, gradient(net, op->out), gradient(net, op->in), net->threads);
        report(net, op, "pool backward", since, 1, 1);
    }
}

/* written: as for conv_backward() */
static void halves_backward(struct network *net, const struct plan_operation *op, bool written)
{
    const struct maps *e = net->engine.maps;
    const struct norm_shape s = half_shape(net, op);
    const double since = began(net);
    assert(written == (op->kind == PLAN_HALVES_MEAN));
    if (op->kind == PLAN_HALVES_MEAN)
        e->halves_mean_backward(&s, gradient(net, op->out), gradient(net, op->in), net->threads);
    else
        e->halves_mix_backward(&s, value(net, op->in), value(net, op->logits),
                               gradient(net, op->out), gradient(net, op->in),
                               gradient(net, op->logits), net->threads);
    report(net, op, "halves backward", since, 2, 1);
}

/* The slice whose values the maps hold. */
static int backward_slice(struct network *net, const struct pass *pass)
{
    const struct plan *p = net->plan;
    bool *written = net->written;
    memset(written, 0, (size_t)p->n_tensors * sizeof *written);
    for (int i = p->n_operations - 1; i >= p->frozen; i--) {
        const struct plan_operation *op = &p->operations[i];
        if (op->kind == PLAN_CONVOLUTION)
            conv_backward(net, op, written[op->in]);
        else if (op->kind == PLAN_BIAS)
            bias_backward(net, op);
        else if (op->kind == PLAN_HALVES_MEAN || op->kind == PLAN_HALVES_MIX)
            halves_backward(net, op, written[op->in]);
        else if (op->kind != PLAN_BATCH_NORM)
            pool_backward(net, op);
        else if (norm_backward(net, op))
            return -1;
        if (op->residual >= 0)
            written[op->residual] = true;
        written[op->in] = true;
        if (finish_gradient(net, pass, op->weight) || finish_gradient(net, pass, op->bias))
            return -1;
    }
    return 0;
}

/* Slices go from the last to the first, since the last one's values are still there. Where their
 * number is a power of two, the tree of sums is the same in both directions. */
int network_backward(struct network *net, const float *dout, float *din,
                     int (*ready)(int parameter, void *user), void *user)
{
    assert(net->ran && (!din || net->shape.input_grad));
    const struct plan_map *first = &net->layout.maps[0];
    const int64_t values = first->h * first->w * first->c;
    const int last = net->plan->n_tensors - 1;
    struct pass pass = {.parts = slices(net), .ready = ready, .user = user};
    net->ran = false; /* the forward pass's values are overwritten */
    if (net->plan->frozen == net->plan->n_operations)
        return 0;
    for (; pass.number < pass.parts; pass.number++) {
        const int64_t at = (pass.parts - 1 - pass.number) * net->slice;
        if (pass.number && run_slice(net, at))
            return -1;
        last_maps(net)->load_floats(dout + at * output_values(net),
                                    net->images * output_values(net), gradient(net, last),
                                    net->threads);
        if (backward_slice(net, &pass))
            return -1;
        if (din)
            net->engine.maps->store_floats(gradient(net, 0), net->images * values,
                                           din + at * values, net->threads);
    }
    return 0;
}
