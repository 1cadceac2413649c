#include "network.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "conv.h"
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
 * sums (2,c): of its input over the batch, and of that squared. */
struct statistics {
    double *sums;
    float *mean, *scale, *inverse; /* scale = weight * inverse; inverse = 1 / deviation */
};

struct network {
    struct plan *plan;
    struct engine engine;
    int threads;

    struct network_shape shape;
    bool prepared, changed, ran;
    struct plan_layout layout;
    int64_t images; /* that the layout is for: a slice in evaluation */

    unsigned char *memory; /* one block, of which all below are parts */
    unsigned char *maps, *packed, *packed_back;
    size_t *packed_at;             /* of each operation, in packed */
    struct statistics *statistics; /* of each tensor that is normalized */
    bool *written;                 /* of each tensor: its gradient holds some reader's part */
    void *partials;                /* of gradients of weights */
    double *sums;
    float *coefficients, *zeros; /* (2, c), (c): what norm kernels are given */
    struct workspace work;

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

/* Values that the output has for each image. */
static int64_t output_values(const struct network *net)
{
    const struct plan_map *m = &net->layout.maps[net->plan->n_tensors - 1];
    return m->h * m->w * m->c;
}

/* ---- shapes ---- */

static struct conv_shape conv_shape(const struct network *net, const struct plan_operation *op,
                                    int64_t images)
{
    const struct plan_map *in = &net->layout.maps[op->in], *out = &net->layout.maps[op->out];
    return (struct conv_shape){.images = images,
                               .h = in->h,
                               .w = in->w,
                               .c = in->c,
                               .oh = out->h,
                               .ow = out->w,
                               .o = out->c,
                               .kernel = op->kernel,
                               .stride = op->stride,
                               .padding = op->padding,
                               .grains = net->shape.training ? net->shape.grains : 1};
}

static struct norm_shape norm_shape(const struct network *net, int tensor, int64_t images)
{
    const struct plan_map *m = &net->layout.maps[tensor];
    return (struct norm_shape){.images = images,
                               .pixels = m->h * m->w,
                               .c = m->c,
                               .grains = net->shape.training ? net->shape.grains : 1};
}

static struct pool_shape pool_shape(const struct network *net, const struct plan_operation *op,
                                    int64_t images)
{
    const struct plan_map *in = &net->layout.maps[op->in], *out = &net->layout.maps[op->out];
    return (struct pool_shape){.images = images,
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
    const double window = (double)(op->kernel * op->kernel) * (double)net->layout.maps[op->in].c;
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

int network_prepare(struct network *net, const struct network_shape *shape)
{
    assert(shape->training || !shape->input_grad);
    if (net->prepared && !memcmp(&net->shape, shape, sizeof *shape))
        return 0;
    if (shape->images < 1)
        return fail("no images");
    if (shape->training && (shape->grains < 1 || shape->images % shape->grains))
        return fail("%lld grains do not divide %lld views", (long long)shape->grains,
                    (long long)shape->images);
    release(net);
    net->shape = *shape;
    net->images = shape->training || shape->images < SLICE ? shape->images : SLICE;
    const struct plan *p = net->plan;
    const struct maps *e = net->engine.maps;
    if (plan_lay_out(p, net->images, shape->height, shape->width, e->element, shape->training,
                     shape->input_grad, &net->layout))
        return -1;

    size_t packed = 0, back = 0, partials = 0, sums = 0, work = 0, channels = 0, kept = 0;
    for (int i = 0; i < p->n_operations; i++) {
        const struct plan_operation *op = &p->operations[i];
        if (op->kind == PLAN_CONVOLUTION) {
            const struct conv_shape s = conv_shape(net, op, net->images);
            const size_t bytes = conv_packed_bytes(&net->engine.values, &s);
            if (!reserve(&packed, bytes, &net->packed_at[i]))
                return fail("the network's memory overflows");
            raise_to(&back, bytes);
            raise_to(&partials, conv_partial_bytes(&net->engine.values, &s));
            raise_to(&work, conv_work_bytes(&net->engine.values, &s, net->threads));
            raise_to(&sums, (size_t)(conv_sum_rows(&net->engine.values, &s) * 2 * s.o));
        } else if (op->kind == PLAN_BATCH_NORM) {
            const struct norm_shape s = norm_shape(net, op->in, net->images);
            raise_to(&sums, (size_t)(e->norm_partials(&s) * 2 * s.c));
            raise_to(&channels, (size_t)s.c);
            kept += (4 * sizeof(float) + 2 * sizeof(double)) * (size_t)s.c;
        }
    }
    if (!shape->training)
        back = partials = sums = 0;
    size_t total = 0, at_maps, at_packed, at_back, at_partials, at_sums, at_channels, at_kept,
           at_work, work_bytes;
    if (__builtin_mul_overflow(work, (size_t)net->threads, &work_bytes) ||
        !reserve(&total, net->layout.bytes, &at_maps) || !reserve(&total, packed, &at_packed) ||
        !reserve(&total, back, &at_back) || !reserve(&total, partials, &at_partials) ||
        !reserve(&total, sums * sizeof(double), &at_sums) ||
        !reserve(&total, 3 * channels * sizeof(float), &at_channels) ||
        !reserve(&total, kept, &at_kept) || !reserve(&total, work_bytes, &at_work))
        return fail("the network's memory overflows");
    net->memory = allocate(total);
    if (!net->memory)
        return fail("out of memory: a step of %lld views of %lld x %lld needs %zu MiB",
                    (long long)shape->images, (long long)shape->height, (long long)shape->width,
                    total >> 20);
    net->maps = net->memory + at_maps;
    net->packed = net->memory + at_packed;
    net->packed_back = net->memory + at_back;
    net->partials = net->memory + at_partials;
    net->sums = (double *)(net->memory + at_sums);
    net->coefficients = (float *)(net->memory + at_channels);
    net->zeros = net->coefficients + 2 * channels;
    net->work =
        (struct workspace){.memory = net->memory + at_work, .bytes = work, .threads = net->threads};
    double *keep = (double *)(net->memory + at_kept);
    for (int i = 0; i < p->n_operations; i++) {
        if (p->operations[i].kind != PLAN_BATCH_NORM)
            continue;
        const int64_t c = p->channels[p->operations[i].in];
        float *floats = (float *)(keep + 2 * c);
        net->statistics[p->operations[i].in] = (struct statistics){
            .sums = keep, .mean = floats, .scale = floats + c, .inverse = floats + 2 * c};
        keep = (double *)(floats + 4 * c);
    }
    net->prepared = net->changed = true;
    net->ran = false;
    return 0;
}

/* ---- forward ---- */

static void pack_weights(struct network *net)
{
    for (int i = 0; i < net->plan->n_operations; i++) {
        const struct plan_operation *op = &net->plan->operations[i];
        if (op->kind != PLAN_CONVOLUTION)
            continue;
        const struct conv_shape s = conv_shape(net, op, net->images);
        const double since = began(net);
        conv_pack_forward(&net->engine.values, &s, parameter(net, op->weight)->value,
                          net->packed + net->packed_at[i], net->threads);
        report(net, op, "weights packed", since, 0, 0);
    }
    net->changed = false;
}

/* Mean and deviation of each channel from the sums over the batch, and the move of the running
 * statistics. */
static void finish_statistics(const struct network *net, const struct plan_operation *op,
                              const struct statistics *keep, int64_t c, int64_t count)
{
    const double *sums = keep->sums;
    const float *weight = parameter(net, op->weight)->value;
    float *running_mean = parameter(net, op->mean)->value;
    float *running_variance = parameter(net, op->variance)->value;
    for (int64_t i = 0; i < c; i++) {
        const double n = (double)count, mean = sums[i] / n;
        const double variance = fmax(sums[c + i] / n - mean * mean, 0);
        keep->mean[i] = (float)mean;
        keep->inverse[i] = (float)(1 / sqrt(variance + epsilon));
        keep->scale[i] = weight[i] * keep->inverse[i];
        running_mean[i] = decay * running_mean[i] + (1 - decay) * (float)mean;
        running_variance[i] =
            decay * running_variance[i] + (1 - decay) * (float)(variance * n / (n - 1));
    }
    ++*(int64_t *)parameter(net, op->batches)->value;
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

static void norm_forward(struct network *net, const struct plan_operation *op, int64_t images)
{
    const struct norm_shape s = norm_shape(net, op->in, images);
    const struct statistics *keep = &net->statistics[op->in];
    if (net->shape.training)
        finish_statistics(net, op, keep, s.c, images * s.pixels);
    else
        running_statistics(net, op, keep, s.c);
    const struct norm_channels k = norm_channels(net, op);
    const double since = began(net);
    net->engine.maps->norm_forward(&s, value(net, op->in), &k,
                                   op->residual >= 0 ? value(net, op->residual) : NULL, op->relu,
                                   value(net, op->out), net->threads);
    report(net, op, "norm forward", since, op->residual >= 0 ? 2 : 1, 1);
}

/* Adds each grain's rows, (n) each, in their order, and then the grains; the sum is left in row 0.
 */
static void sum_rows(double *rows, int64_t n_rows, int64_t grains, int64_t n, int threads)
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
    grains_sum_doubles(rows, grains, n, threads);
}

/* In training a convolution also makes the sums for the batch norm that reads it. */
static void conv_forward_and_sum(struct network *net, int i, int64_t images)
{
    const struct plan_operation *op = &net->plan->operations[i];
    const struct conv_shape s = conv_shape(net, op, images);
    const struct panel_values *v = &net->engine.values;
    double *sums = net->shape.training ? net->statistics[op->out].sums : NULL;
    const double since = began(net);
    conv_forward(v, &s, value(net, op->in), net->packed + net->packed_at[i], value(net, op->out),
                 sums ? net->sums : NULL, &net->work);
    report(net, op, "conv forward", since, 1, 1);
    if (!sums)
        return;
    sum_rows(net->sums, conv_sum_rows(v, &s), s.grains, 2 * s.o, net->threads);
    memcpy(sums, net->sums, (size_t)(2 * s.o) * sizeof *sums);
}

static void run_forward(struct network *net, int64_t images)
{
    const struct maps *e = net->engine.maps;
    for (int i = 0; i < net->plan->n_operations; i++) {
        const struct plan_operation *op = &net->plan->operations[i];
        switch (op->kind) {
        case PLAN_CONVOLUTION:
            conv_forward_and_sum(net, i, images);
            break;
        case PLAN_BATCH_NORM:
            norm_forward(net, op, images);
            break;
        case PLAN_MAX_POOL: {
            const struct pool_shape s = pool_shape(net, op, images);
            const double since = began(net);
            e->max_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            report(net, op, "pool forward", since, 1, 1);
            break;
        }
        case PLAN_AVERAGE_POOL: {
            const struct norm_shape s = norm_shape(net, op->in, images);
            const double since = began(net);
            e->average_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            report(net, op, "pool forward", since, 1, 1);
            break;
        }
        }
    }
}

int network_forward(struct network *net, const uint8_t *bytes, const float *floats,
                    const struct normalization *normalize, float *out)
{
    assert(net->prepared && !bytes != !floats);
    const struct maps *e = net->engine.maps;
    const struct plan_map *first = &net->layout.maps[0];
    const int64_t pixels = first->h * first->w;
    const int last = net->plan->n_tensors - 1;
    assert(!bytes || (normalize && first->c <= 3));
    for (int i = 0; net->shape.training && i < net->plan->n_operations; i++) {
        const struct plan_operation *op = &net->plan->operations[i];
        const struct plan_map *m = &net->layout.maps[op->in];
        if (op->kind == PLAN_BATCH_NORM && net->images * m->h * m->w < 2)
            return fail("batch normalization cannot train on a single view");
    }
    if (net->changed)
        pack_weights(net);
    for (int64_t at = 0; at < net->shape.images; at += net->images) {
        const int64_t rest = net->shape.images - at;
        const int64_t images = rest < net->images ? rest : net->images;
        const int64_t from = at * pixels * first->c, to = at * output_values(net);
        if (bytes)
            e->load_bytes(bytes + from, images * pixels, first->c, normalize->mean,
                          normalize->deviation, value(net, 0), net->threads);
        else
            e->load_floats(floats + from, images * pixels * first->c, value(net, 0), net->threads);
        run_forward(net, images);
        last_maps(net)->store_floats(value(net, last), images * output_values(net), out + to,
                                     net->threads);
    }
    net->ran = net->shape.training;
    return 0;
}

/* ---- backward ---- */

/* With g = dy' and the sums S1 = sum g and S2 = sum g (x - mean) over the n values of a channel
 * (arXiv 1502.03167, section 3): d bias = S1, d weight = S2 inverse, and
 * dx = scale (g - S1/n - (x - mean) inverse^2 S2/n). */
static void norm_backward(struct network *net, const struct plan_operation *op)
{
    const struct maps *maps = net->engine.maps;
    const struct norm_shape s = norm_shape(net, op->in, net->images);
    const struct statistics *keep = &net->statistics[op->in];
    const struct norm_channels k = norm_channels(net, op);
    const bool masked = op->relu && op->residual >= 0;
    void *x = value(net, op->in), *dout = gradient(net, op->out);
    double *sums = net->sums;
    double since = began(net);
    maps->norm_backward_sums(&s, x, masked ? value(net, op->out) : NULL, dout, &k,
                             op->relu && !masked, sums, net->threads);
    report(net, op, "norm backward sums", since, 1, masked ? 3 : 1);
    grains_sum_doubles(sums, s.grains, 2 * s.c, net->threads);
    float *constant = net->coefficients, *slope = constant + s.c;
    float *dweight = parameter(net, op->weight)->grad;
    float *dbias = op->bias >= 0 ? parameter(net, op->bias)->grad : NULL;
    const double n = (double)(s.images * s.pixels);
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
}

/* written: whether the input's gradient holds another reader's part already */
static void conv_backward(struct network *net, const struct plan_operation *op, bool written)
{
    const struct panel_values *v = &net->engine.values;
    const struct conv_shape s = conv_shape(net, op, net->images);
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

int network_backward(struct network *net, const float *dout, float *din,
                     int (*ready)(int parameter, void *user), void *user)
{
    assert(net->ran && (!din || net->shape.input_grad));
    const struct maps *e = net->engine.maps;
    const struct plan *p = net->plan;
    const int last = p->n_tensors - 1;
    bool *written = net->written;
    memset(written, 0, (size_t)p->n_tensors * sizeof *written);
    net->ran = false; /* the forward pass's values are overwritten */
    last_maps(net)->load_floats(dout, net->images * output_values(net), gradient(net, last),
                                net->threads);
    for (int i = p->n_operations - 1; i >= 0; i--) {
        const struct plan_operation *op = &p->operations[i];
        switch (op->kind) {
        case PLAN_CONVOLUTION:
            conv_backward(net, op, written[op->in]);
            break;
        case PLAN_BATCH_NORM:
            norm_backward(net, op);
            if (op->residual >= 0)
                written[op->residual] = true;
            break;
        case PLAN_MAX_POOL: {
            const struct pool_shape s = pool_shape(net, op, net->images);
            const double since = began(net);
            e->max_pool_backward(&s, value(net, op->in), gradient(net, op->out),
                                 gradient(net, op->in), net->threads);
            report(net, op, "pool backward", since, 2, 1);
            break;
        }
        case PLAN_AVERAGE_POOL: {
            const struct norm_shape s = norm_shape(net, op->in, net->images);
            const double since = began(net);
            e->average_pool_backward(&s, gradient(net, op->out), gradient(net, op->in),
                                     net->threads);
            report(net, op, "pool backward", since, 1, 1);
            break;
        }
        }
        written[op->in] = true;
        if (ready && ((op->weight >= 0 && ready(op->weight, user)) ||
                      (op->bias >= 0 && ready(op->bias, user))))
            return -1;
    }
    if (din)
        e->store_floats(gradient(net, 0),
                        net->images * net->shape.height * net->shape.width * p->channels[0], din,
                        net->threads);
    return 0;
}
