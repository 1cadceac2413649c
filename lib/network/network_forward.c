#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "engine/exact_sum.h"
#include "network/network_parts.h"

/* Is added to variances. */
static const double epsilon = 1e-5;

/* The momentum of running statistics in PyTorch's sense, 0.1: a step moves them by this fraction of
 * the difference to the batch's. It is written so that 1 - momentum is the float 0.9. */
static const float momentum = 1 - 0.9F;

static int number_of(const struct network *net, const struct plan_operation *op)
{
    return (int)(op - net->plan->operations);
}

/* ---- weights ---- */

static void pack_weights(struct network *net, int i)
{
    const struct plan_operation *op = &net->plan->operations[i];
    const struct conv_shape s = network_conv_shape(net, op);
    const float *weight = parameter(net, op->weight)->value;
    const double since = began(net);
    net->engine->conv_pack_forward(net->engine, &s, weight, packs_at_use(net), packed(net, i));
    network_report(net, op, "weights packed", since, 0, 0);
}

static void pack_changed_weights(struct network *net)
{
    if (net->changed)
        net->engine->weights_changed(net->engine);
    for (int i = 0; i < net->plan->n_operations && net->changed && !packs_at_use(net); i++)
        if (net->plan->operations[i].kind == PLAN_CONVOLUTION)
            pack_weights(net, i);
    net->changed = false;
}

/* ---- norms ---- */

struct moments {
    double mean, variance;
};

/* Returns the moments of channel i, from the sums (2, c) over n values of each channel. */
static struct moments moments(const double *sums, int64_t c, int64_t i, double n)
{
    const double mean = sums[i] / n;
    return (struct moments){mean, fmax(sums[c + i] / n - mean * mean, 0)};
}

/* Computes each channel's mean and standard deviation from the sums over the slice. */
static void slice_statistics(const struct network *net, const struct plan_operation *op,
                             const struct norm_statistics *of, int64_t c)
{
    const float *weight = parameter(net, op->weight)->value;
    for (int64_t i = 0; i < c; i++) {
        const struct moments m = moments(of->sums, c, i, of->values);
        of->mean[i] = (float)m.mean;
        of->inverse[i] = (float)(1 / sqrt(m.variance + epsilon));
        of->scale[i] = weight[i] * of->inverse[i];
    }
}

/* Updates the running statistics from the sums over the whole batch, once a step after all
 * slices. */
static void move_running_statistics(const struct network *net)
{
    for (int o = 0; o < net->plan->n_operations; o++) {
        const struct plan_operation *op = &net->plan->operations[o];
        if (op->kind != PLAN_BATCH_NORM || !trains(net, o))
            continue;
        const struct norm_statistics *of = &net->statistics[op->in];
        const int64_t c = net->plan->channels[op->in];
        const double n = of->batch_values;
        float *mean = parameter(net, op->mean)->value;
        float *variance = parameter(net, op->variance)->value;
        for (int64_t i = 0; i < c; i++) {
            const struct moments m = moments(of->batch_sums, c, i, n);
            const float unbiased = (float)(m.variance * n / (n - 1));
            mean[i] = (1 - momentum) * mean[i] + momentum * (float)m.mean;
            variance[i] = (1 - momentum) * variance[i] + momentum * unbiased;
        }
        ++*(int64_t *)parameter(net, op->batches)->value;
    }
}

static void running_statistics(const struct network *net, const struct plan_operation *op,
                               const struct norm_statistics *of, int64_t c)
{
    const float *weight = parameter(net, op->weight)->value;
    const float *variance = parameter(net, op->variance)->value;
    memcpy(of->mean, parameter(net, op->mean)->value, (size_t)c * sizeof *of->mean);
    for (int64_t i = 0; i < c; i++)
        of->scale[i] = weight[i] * (float)(1 / sqrt((double)variance[i] + epsilon));
}

struct norm_channels network_norm_channels(const struct network *net,
                                           const struct plan_operation *op)
{
    const struct norm_statistics *of = &net->statistics[op->in];
    const size_t c = (size_t)net->plan->channels[op->in];
    const float *bias = net->zeros;
    if (op->bias >= 0)
        bias = parameter(net, op->bias)->value;
    else
        memset(net->zeros, 0, c * sizeof *net->zeros);
    return (struct norm_channels){.mean = of->mean, .scale = of->scale, .bias = bias};
}

static void norm_forward(struct network *net, const struct plan_operation *op)
{
    const struct norm_shape s = network_norm_shape(net, op->in);
    const struct norm_statistics *of = &net->statistics[op->in];
    if (trains(net, number_of(net, op)))
        slice_statistics(net, op, of, s.c);
    else
        running_statistics(net, op, of, s.c);
    const struct norm_channels k = network_norm_channels(net, op);
    const struct engine_place residual = op->residual >= 0 ? value(net, op->residual) : no_map;
    const double since = began(net);
    net->engine->norm_forward(net->engine, &s, value(net, op->in), &k, residual, op->relu,
                              value(net, op->out));
    network_report(net, op, "norm forward", since, op->residual >= 0 ? 2 : 1, 1);
}

struct norm_channels network_bias_channels(const struct network *net,
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
    const struct norm_shape s = network_norm_shape(net, op->in);
    const struct norm_channels k = network_bias_channels(net, op);
    const double since = began(net);
    net->engine->norm_forward(net->engine, &s, value(net, op->in), &k, no_map, false,
                              value(net, op->out));
    network_report(net, op, "bias forward", since, 1, 1);
}

/* Writes a norm's name, which is that of its weight without ".weight". */
static void norm_name(const struct network *net, const struct plan_operation *op, char name[256])
{
    const char *weight = parameter(net, op->weight)->name;
    const size_t length = strlen(weight) - strlen(".weight");
    snprintf(name, 256, "%.*s", (int)(length < 255 ? length : 255), weight);
}

int network_sum_grains(struct network *net, const struct plan_operation *op, double *sums,
                       double *n)
{
    const struct norm_shape s = network_norm_shape(net, op->in);
    int64_t *digits = net->digits, *values = digits + EXACT_SUM_DIGITS * 2 * s.c;
    exact_sum_digits(net->sums, s.grains, 2 * s.c, digits);
    *values = s.images * s.pixels;
    if (net->add) {
        char name[256];
        norm_name(net, op, name);
        if (net->add(name, digits, (size_t)(values + 1 - digits), net->workers))
            return -1;
        if (*values < 2)
            return fail("batch normalization cannot train on a single view");
    }
    exact_sum_values(digits, 2 * s.c, sums);
    *n = (double)*values;
    return 0;
}

/* ---- operations ---- */

static const struct plan_operation *norm_after(const struct network *net, int i)
{
    const struct plan_operation *next = &net->plan->operations[i + 1];
    while (next->kind != PLAN_BATCH_NORM || next->in != net->plan->operations[i].out)
        next++;
    return next;
}

/* Computes a convolution. In training, also computes the sums for the batch norm that reads it. */
static int conv_forward(struct network *net, int i)
{
    const struct plan_operation *op = &net->plan->operations[i];
    const struct conv_shape s = network_conv_shape(net, op);
    struct norm_statistics *of = &net->statistics[op->out];
    const bool sums = trains(net, i) && of->sums;
    if (packs_at_use(net))
        pack_weights(net, i);
    const double since = began(net);
    if (net->engine->conv_forward(net->engine, &s, value(net, op->in), packed(net, i),
                                  value(net, op->out), sums ? net->sums : NULL, &net->work))
        return -1;
    network_report(net, op, "conv forward", since, 1, 1);
    return sums ? network_sum_grains(net, norm_after(net, i), of->sums, &of->values) : 0;
}

static void pool_forward(const struct network *net, const struct plan_operation *op)
{
    struct engine *e = net->engine;
    const struct engine_place x = value(net, op->in), y = value(net, op->out);
    const struct pool_shape windows = network_pool_shape(net, op);
    const struct norm_shape whole = network_norm_shape(net, op->in);
    const double since = began(net);
    if (op->kind == PLAN_MAX_POOL)
        e->max_pool(e, &windows, x, y);
    else if (op->kind == PLAN_MEAN_POOL)
        e->mean_pool(e, &windows, x, y);
    else
        e->average_pool(e, &whole, x, y);
    network_report(net, op, "pool forward", since, 1, 1);
}

static void halves_forward(const struct network *net, const struct plan_operation *op)
{
    struct engine *e = net->engine;
    const struct engine_place x = value(net, op->in), y = value(net, op->out);
    const struct norm_shape s = network_half_shape(net, op);
    const double since = began(net);
    if (op->kind == PLAN_HALVES_MEAN)
        e->halves_mean(e, &s, x, y);
    else
        e->halves_mix(e, &s, x, value(net, op->logits), y);
    network_report(net, op, "halves forward", since, 1, 1);
}

static int operation_forward(struct network *net, int i)
{
    const struct plan_operation *op = &net->plan->operations[i];
    switch (op->kind) {
    case PLAN_CONVOLUTION:
        return conv_forward(net, i);
    case PLAN_BIAS:
        bias_forward(net, op);
        break;
    case PLAN_BATCH_NORM:
        norm_forward(net, op);
        break;
    case PLAN_MAX_POOL:
    case PLAN_AVERAGE_POOL:
    case PLAN_MEAN_POOL:
        pool_forward(net, op);
        break;
    case PLAN_HALVES_MEAN:
    case PLAN_HALVES_MIX:
        halves_forward(net, op);
        break;
    }
    return 0;
}

/* ---- a pass ---- */

int network_run_slice(struct network *net, int64_t at)
{
    struct engine *e = net->engine;
    const struct network_input *in = &net->input;
    const struct plan_map *first = &net->layout.maps[0];
    const int64_t pixels = first->h * first->w, from = at * pixels * first->c;
    const int64_t rest = net->shape.images - at;
    net->images = rest < net->slice ? rest : net->slice;
    if (in->bytes)
        e->load_bytes(e, in->bytes + from, net->images * pixels, first->c, in->normalize->mean,
                      in->normalize->std, value(net, 0));
    else
        e->load_floats(e, in->floats + from, net->images * pixels * first->c, value(net, 0));
    for (int i = 0; i < net->plan->n_operations; i++)
        if (operation_forward(net, i))
            return -1;
    return 0;
}

/* Copies the slice's output to the host. */
static int store_output(const struct network *net, float *out)
{
    struct engine *e = net->engine;
    const struct engine_place last = value(net, net->plan->n_tensors - 1);
    const int64_t n = net->images * output_values(net);
    return output_is_floats(net) ? e->copy_out(e, last, (size_t)n * sizeof *out, out)
                                 : e->store_floats(e, last, n, out);
}

static void add_to_batch_sums(const struct network *net, bool first)
{
    for (int t = net->plan->frozen + 1; t < net->plan->n_tensors; t++) {
        struct norm_statistics *of = &net->statistics[t];
        for (int64_t i = 0; of->sums && i < 2 * net->plan->channels[t]; i++)
            of->batch_sums[i] = first ? of->sums[i] : of->batch_sums[i] + of->sums[i];
        of->batch_values = first ? of->values : of->batch_values + of->values;
    }
}

/* Returns -1 with a message if some slice has a single value of a channel, which has no variance.
 * Workers that share a batch may have more values together; network_sum_grains() checks that. */
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
    assert(!bytes || (normalize && net->plan->channels[0] <= NORMALIZATION_CHANNELS));
    const bool training = net->shape.training;
    if (training && check_norms(net))
        return -1;
    pack_changed_weights(net);
    net->input = (struct network_input){bytes, floats, normalize};
    for (int64_t at = 0; at < net->shape.images; at += net->slice) {
        if (network_run_slice(net, at) || store_output(net, out + at * output_values(net)))
            return -1;
        if (training)
            add_to_batch_sums(net, at == 0);
    }
    if (goes_back(net))
        move_running_statistics(net);
    net->ran = goes_back(net);
    return 0;
}
