#include <string.h>

#include "engine/exact_sum.h"
#include "engine/grains.h"
#include "network/network_parts.h"

/* Computes the backward pass of a norm. With g = dy' and the sums S1 = sum g and S2 = sum g (x -
 * mean) over the n values of a channel (arXiv 1502.03167, section 3): d bias = S1, d weight = S2
 * inverse, and dx = scale (g - S1/n - (x - mean) inverse^2 S2/n). */
static int norm_backward(struct network *net, const struct plan_operation *op)
{
    struct engine *e = net->engine;
    const struct norm_shape s = network_norm_shape(net, op->in);
    const struct norm_statistics *of = &net->statistics[op->in];
    const struct norm_channels k = network_norm_channels(net, op);
    const bool masked = op->relu && op->residual >= 0, relu = op->relu && !masked;
    const struct engine_place x = value(net, op->in), dy = gradient(net, op->out);
    const struct engine_place y = masked ? value(net, op->out) : no_map;
    double *sums = net->sums, n;
    double since = began(net);
    if (e->norm_backward_sums(e, &s, x, y, dy, &k, relu, sums))
        return -1;
    network_report(net, op, "norm backward sums", since, 1, masked ? 3 : 1);
    if (network_sum_grains(net, op, sums, &n))
        return -1;
    float *constant = net->coefficients, *slope = constant + s.c;
    float *dweight = parameter(net, op->weight)->grad;
    float *dbias = op->bias >= 0 ? parameter(net, op->bias)->grad : NULL;
    for (int64_t c = 0; c < s.c; c++) {
        const double inverse = (double)of->inverse[c], scale = (double)of->scale[c];
        dweight[c] = (float)(sums[s.c + c] * inverse);
        if (dbias)
            dbias[c] = (float)sums[c];
        constant[c] = (float)(scale * sums[c] / n);
        slope[c] = (float)(scale * inverse * inverse * sums[s.c + c] / n);
    }
    since = began(net);
    e->norm_backward(e, &s, x, dy, &k, relu, constant, slope);
    network_report(net, op, "norm backward", since, 2, 1);
    return 0;
}

/* Computes the gradient of a bias. The input's gradient is the output's, in the same memory. Sums
 * of grains are doubles, which are added as those of a norm's bias are. */
static int bias_backward(struct network *net, const struct plan_operation *op)
{
    struct engine *e = net->engine;
    const struct norm_shape s = network_norm_shape(net, op->in);
    const struct norm_channels k = network_bias_channels(net, op);
    float *dbias = parameter(net, op->bias)->grad;
    const double since = began(net);
    if (e->norm_backward_sums(e, &s, value(net, op->in), no_map, gradient(net, op->out), &k, false,
                              net->sums))
        return -1;
    exact_sum_digits(net->sums, s.grains, 2 * s.c, net->digits);
    exact_sum_values(net->digits, 2 * s.c, net->sums);
    for (int64_t c = 0; c < s.c; c++)
        dbias[c] = (float)net->sums[c];
    network_report(net, op, "bias backward", since, 1, 1);
    return 0;
}

/* Computes a convolution's gradients. `written` is true if the input's gradient already holds
 * another reader's part. */
static int conv_backward(struct network *net, const struct plan_operation *op, bool written)
{
    struct engine *e = net->engine;
    const struct conv_shape s = network_conv_shape(net, op);
    const struct engine_place dy = gradient(net, op->out), back = place(net, net->packed_back);
    struct parameter *weight = parameter(net, op->weight);
    double since = began(net);
    if (e->conv_backward_weights(e, &s, value(net, op->in), dy, place(net, net->partials),
                                 weight->grad, &net->work))
        return -1;
    network_report(net, op, "conv backward weights", since, 1, 1);
    if (net->layout.maps[op->in].grad == SIZE_MAX)
        return 0;
    since = began(net);
    e->conv_pack_backward(e, &s, weight->value, back);
    network_report(net, op, "weights packed", since, 0, 0);
    since = began(net);
    e->conv_backward_data(e, &s, dy, back, gradient(net, op->in), written, &net->work);
    network_report(net, op, "conv backward data", since, written ? 2 : 1, 1);
    return 0;
}

static void pool_backward(const struct network *net, const struct plan_operation *op)
{
    if (net->layout.maps[op->in].grad == SIZE_MAX)
        return;
    struct engine *e = net->engine;
    const struct engine_place dy = gradient(net, op->out), dx = gradient(net, op->in);
    const struct pool_shape windows = network_pool_shape(net, op);
    const struct norm_shape whole = network_norm_shape(net, op->in);
    const bool max = op->kind == PLAN_MAX_POOL;
    const double since = began(net);
    if (max)
        e->max_pool_backward(e, &windows, value(net, op->in), dy, dx);
    else if (op->kind == PLAN_MEAN_POOL)
        e->mean_pool_backward(e, &windows, dy, dx);
    else
        e->average_pool_backward(e, &whole, dy, dx);
    network_report(net, op, "pool backward", since, max ? 2 : 1, 1);
}

/* Computes the gradients of a selective kernel's operation. `written` has the same meaning as in
 * conv_backward(). */
static void halves_backward(const struct network *net, const struct plan_operation *op,
                            bool written)
{
    struct engine *e = net->engine;
    const struct engine_place dy = gradient(net, op->out), dx = gradient(net, op->in);
    const struct norm_shape s = network_half_shape(net, op);
    const double since = began(net);
    assert(written == (op->kind == PLAN_HALVES_MEAN));
    if (op->kind == PLAN_HALVES_MEAN)
        e->halves_mean_backward(e, &s, dy, dx);
    else
        e->halves_mix_backward(e, &s, value(net, op->in), value(net, op->logits), dy, dx,
                               gradient(net, op->logits));
    network_report(net, op, "halves backward", since, 2, 1);
}

static int operation_backward(struct network *net, const struct plan_operation *op, bool written)
{
    switch (op->kind) {
    case PLAN_CONVOLUTION:
        return conv_backward(net, op, written);
    case PLAN_BIAS:
        return bias_backward(net, op);
    case PLAN_BATCH_NORM:
        return norm_backward(net, op);
    case PLAN_MAX_POOL:
    case PLAN_AVERAGE_POOL:
    case PLAN_MEAN_POOL:
        pool_backward(net, op);
        break;
    case PLAN_HALVES_MEAN:
    case PLAN_HALVES_MIX:
        halves_backward(net, op, written);
        break;
    }
    return 0;
}

/* The state of a backward pass: the arguments of network_backward(), and its progress. */
struct backward_pass {
    int64_t number, parts; /* number of the present slice, and of all slices */
    int (*ready)(int parameter, void *user);
    void *user;
};

/* Reports that parameter `index` (-1: none) has its gradient over the present slice. After the last
 * slice its gradient over the batch is complete. */
static int finish_gradient(struct network *net, const struct backward_pass *pass, int index)
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
                            net->engine->threads);
    const bool last = pass->number == pass->parts - 1;
    return last && pass->ready ? pass->ready(index, pass->user) : 0;
}

/* Runs the slice whose values are in the maps backward through all operations that train. */
static int backward_slice(struct network *net, const struct backward_pass *pass)
{
    const struct plan *p = net->plan;
    bool *written = net->written;
    memset(written, 0, (size_t)p->n_tensors * sizeof *written);
    for (int i = p->n_operations - 1; i >= p->frozen; i--) {
        const struct plan_operation *op = &p->operations[i];
        if (operation_backward(net, op, written[op->in]))
            return -1;
        if (op->residual >= 0)
            written[op->residual] = true;
        written[op->in] = true;
        if (finish_gradient(net, pass, op->weight) || finish_gradient(net, pass, op->bias))
            return -1;
    }
    return 0;
}

/* Copies the gradient of the slice's output from the host to the engine. */
static void load_gradient(const struct network *net, const float *dout)
{
    struct engine *e = net->engine;
    const struct engine_place last = gradient(net, net->plan->n_tensors - 1);
    const int64_t n = net->images * output_values(net);
    if (output_is_floats(net))
        e->copy_in(e, dout, (size_t)n * sizeof *dout, last);
    else
        e->load_floats(e, dout, n, last);
}

/* Slices are computed from the last to the first, since the maps still hold the values of the last
 * one. If their number is a power of two, the tree of sums is the same in both directions. */
int network_backward(struct network *net, const float *dout, float *din,
                     int (*ready)(int parameter, void *user), void *user)
{
    assert(net->ran && (!din || net->shape.input_grad));
    const struct plan_map *first = &net->layout.maps[0];
    const int64_t values = first->h * first->w * first->c;
    struct engine *e = net->engine;
    struct backward_pass pass = {.parts = slices(net), .ready = ready, .user = user};
    net->ran = false; /* the forward pass's values will be overwritten */
    if (net->plan->frozen == net->plan->n_operations)
        return 0;
    for (; pass.number < pass.parts; pass.number++) {
        const int64_t at = (pass.parts - 1 - pass.number) * net->slice;
        if (pass.number && network_run_slice(net, at))
            return -1;
        load_gradient(net, dout + at * output_values(net));
        if (backward_slice(net, &pass))
            return -1;
        if (din && e->store_floats(e, gradient(net, 0), net->images * values, din + at * values))
            return -1;
    }
    return 0;
}
