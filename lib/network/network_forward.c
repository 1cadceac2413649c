#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "engine/exact_sum.h"
#include "network/network_parts.h"

static const double epsilon = 1e-5; /* added to variances */
static const float decay = 0.9F;    /* of running statistics */

static int number_of(const struct network *net, const struct plan_operation *op)
{
    return (int)(op - net->plan->operations);
}

static void pack_weights(struct network *net, int i)
{
    const struct plan_operation *op = &net->plan->operations[i];
    const struct conv_shape s = network_conv_shape(net, op);
    const double since = began(net);
    conv_pack_forward(&net->engine.values, &s, parameter(net, op->weight)->value,
                      net->packed + net->packed_at[i], net->threads);
    network_report(net, op, "weights packed", since, 0, 0);
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

struct norm_channels network_norm_channels(const struct network *net,
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
    const struct norm_shape s = network_norm_shape(net, op->in);
    const struct statistics *keep = &net->statistics[op->in];
    if (trains(net, number_of(net, op)))
        slice_statistics(net, op, keep, s.c);
    else
        running_statistics(net, op, keep, s.c);
    const struct norm_channels k = network_norm_channels(net, op);
    const double since = began(net);
    net->engine.maps->norm_forward(&s, value(net, op->in), &k,
                                   op->residual >= 0 ? value(net, op->residual) : NULL, op->relu,
                                   value(net, op->out), net->threads);
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
    net->engine.maps->norm_forward(&s, value(net, op->in), &k, NULL, false, value(net, op->out),
                                   net->threads);
    network_report(net, op, "bias forward", since, 1, 1);
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
    const struct conv_shape s = network_conv_shape(net, op);
    const struct precision *v = &net->engine.values;
    struct statistics *keep = &net->statistics[op->out];
    const bool sums = trains(net, i) && keep->sums;
    if (packs_at_use(net))
        pack_weights(net, i);
    const double since = began(net);
    conv_forward(v, &s, value(net, op->in), net->packed + net->packed_at[i], value(net, op->out),
                 sums ? net->sums : NULL, &net->work);
    network_report(net, op, "conv forward", since, 1, 1);
    if (!sums)
        return 0;
    sum_rows(net->sums, conv_sum_rows(v, &s), s.grains, 2 * s.o);
    return network_sum_grains(net, norm_after(net, i), keep->sums, &keep->values);
}

static void halves_forward(struct network *net, const struct plan_operation *op)
{
    const struct activations *e = net->engine.maps;
    const struct norm_shape s = network_half_shape(net, op);
    const double since = began(net);
    if (op->kind == PLAN_HALVES_MEAN)
        e->halves_mean(&s, value(net, op->in), value(net, op->out), net->threads);
    else
        e->halves_mix(&s, value(net, op->in), value(net, op->logits), value(net, op->out),
                      net->threads);
    network_report(net, op, "halves forward", since, 1, 1);
}

static int run_operations(struct network *net)
{
    const struct activations *e = net->engine.maps;
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
            const struct pool_shape s = network_pool_shape(net, op);
            const double since = began(net);
            e->max_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            network_report(net, op, "pool forward", since, 1, 1);
            break;
        }
        case PLAN_AVERAGE_POOL: {
            const struct norm_shape s = network_norm_shape(net, op->in);
            const double since = began(net);
            e->average_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            network_report(net, op, "pool forward", since, 1, 1);
            break;
        }
        case PLAN_MEAN_POOL: {
            const struct pool_shape s = network_pool_shape(net, op);
            const double since = began(net);
            e->mean_pool(&s, value(net, op->in), value(net, op->out), net->threads);
            network_report(net, op, "pool forward", since, 1, 1);
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

int network_run_slice(struct network *net, int64_t at)
{
    const struct activations *e = net->engine.maps;
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
        if (network_run_slice(net, at))
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
