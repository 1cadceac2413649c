#include <string.h>

#include "engine/exact_sum.h"
#include "engine/grains.h"
#include "network/network_parts.h"

/* With g = dy' and the sums S1 = sum g and S2 = sum g (x - mean) over the n values of a channel
 * (arXiv 1502.03167, section 3): d bias = S1, d weight = S2 inverse, and
 * dx = scale (g - S1/n - (x - mean) inverse^2 S2/n). */
static int norm_backward(struct network *net, const struct plan_operation *op)
{
    const struct activations *maps = net->engine.maps;
    const struct norm_shape s = network_norm_shape(net, op->in);
    const struct statistics *keep = &net->statistics[op->in];
    const struct norm_channels k = network_norm_channels(net, op);
    const bool masked = op->relu && op->residual >= 0;
    void *x = value(net, op->in), *dout = gradient(net, op->out);
    double *sums = net->sums;
    double since = began(net);
    maps->norm_backward_sums(&s, x, masked ? value(net, op->out) : NULL, dout, &k,
                             op->relu && !masked, sums, net->threads);
    network_report(net, op, "norm backward sums", since, 1, masked ? 3 : 1);
    double n;
    if (network_sum_grains(net, op, sums, &n))
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
    network_report(net, op, "norm backward", since, 2, 1);
    return 0;
}

/* The input's gradient is the output's, in its place. Sums of grains are doubles, added as those of
 * a norm's bias are. */
static void bias_backward(struct network *net, const struct plan_operation *op)
{
    const struct norm_shape s = network_norm_shape(net, op->in);
    const struct norm_channels k = network_bias_channels(net, op);
    float *dbias = parameter(net, op->bias)->grad;
    const double since = began(net);
    net->engine.maps->norm_backward_sums(&s, value(net, op->in), NULL, gradient(net, op->out), &k,
                                         false, net->sums, net->threads);
    exact_sum_digits(net->sums, s.grains, 2 * s.c, net->digits);
    exact_sum_values(net->digits, 2 * s.c, net->sums);
    for (int64_t c = 0; c < s.c; c++)
        dbias[c] = (float)net->sums[c];
    network_report(net, op, "bias backward", since, 1, 1);
}

/* written: whether the input's gradient holds another reader's part already */
static void conv_backward(struct network *net, const struct plan_operation *op, bool written)
{
    const struct precision *v = &net->engine.values;
    const struct conv_shape s = network_conv_shape(net, op);
    struct parameter *weight = parameter(net, op->weight);
    double since = began(net);
    conv_backward_weights(v, &s, value(net, op->in), gradient(net, op->out), net->partials,
                          weight->grad, &net->work);
    network_report(net, op, "conv backward weights", since, 1, 1);
    if (net->layout.maps[op->in].grad == SIZE_MAX)
        return;
    since = began(net);
    conv_pack_backward(v, &s, weight->value, net->packed_back, net->threads);
    network_report(net, op, "weights packed", since, 0, 0);
    since = began(net);
    conv_backward_data(v, &s, gradient(net, op->out), net->packed_back, gradient(net, op->in),
                       written, &net->work);
    network_report(net, op, "conv backward data", since, written ? 2 : 1, 1);
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
                            (int64_t)network_gradient_values(net), pass->number, pass->parts,
                            net->threads);
    const bool last = pass->number == pass->parts - 1;
    return last && pass->ready ? pass->ready(index, pass->user) : 0;
}

static void pool_backward(struct network *net, const struct plan_operation *op)
{
    if (net->layout.maps[op->in].grad == SIZE_MAX)
        return;
    const struct activations *e = net->engine.maps;
    const double since = began(net);
    if (op->kind == PLAN_MAX_POOL) {
        const struct pool_shape s = network_pool_shape(net, op);
        e->max_pool_backward(&s, value(net, op->in), gradient(net, op->out), gradient(net, op->in),
                             net->threads);
        network_report(net, op, "pool backward", since, 2, 1);
    } else if (op->kind == PLAN_MEAN_POOL) {
        const struct pool_shape s = network_pool_shape(net, op);
        e->mean_pool_backward(&s, gradient(net, op->out), gradient(net, op->in), net->threads);
        network_report(net, op, "pool backward", since, 1, 1);
    } else {
        const struct norm_shape s = network_norm_shape(net, op->in);
        e->average_pool_backward(&s, gradient(net, op->out), gradient(net, op->in), net->threads);
        network_report(net, op, "pool backward", since, 1, 1);
    }
}

/* written: as for conv_backward() */
static void halves_backward(struct network *net, const struct plan_operation *op, bool written)
{
    const struct activations *e = net->engine.maps;
    const struct norm_shape s = network_half_shape(net, op);
    const double since = began(net);
    assert(written == (op->kind == PLAN_HALVES_MEAN));
    if (op->kind == PLAN_HALVES_MEAN)
        e->halves_mean_backward(&s, gradient(net, op->out), gradient(net, op->in), net->threads);
    else
        e->halves_mix_backward(&s, value(net, op->in), value(net, op->logits),
                               gradient(net, op->out), gradient(net, op->in),
                               gradient(net, op->logits), net->threads);
    network_report(net, op, "halves backward", since, 2, 1);
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
        if (pass.number && network_run_slice(net, at))
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
