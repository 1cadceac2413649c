#include <stdlib.h>

#include "base/fail.h"
#include "network/network_parts.h"

struct network *network_new(struct plan *plan, struct engine *engine)
{
    struct network *net = plan && engine ? calloc(1, sizeof *net) : NULL;
    if (!net) {
        if (plan && engine)
            fail_memory(NULL);
        plan_free(plan);
        engine_free(engine);
        return NULL;
    }
    net->plan = plan;
    net->engine = engine;
    net->packed_at = calloc((size_t)plan->n_operations, sizeof *net->packed_at);
    net->statistics = calloc((size_t)plan->n_tensors, sizeof *net->statistics);
    net->written = calloc((size_t)plan->n_tensors, sizeof *net->written);
    if (net->packed_at && net->statistics && net->written)
        return net;
    network_free(net);
    fail_memory(NULL);
    return NULL;
}

struct network *network_copy(const struct network *net, struct engine *engine)
{
    return network_new(plan_copy(net->plan), engine);
}

void network_free(struct network *net)
{
    if (!net)
        return;
    network_release(net);
    engine_free(net->engine);
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

/* ---- sizes ---- */

/* Returns the number of grains of the present slice, or 1 if it is not a whole number of grains. */
static int64_t slice_grains(const struct network *net)
{
    if (!net->shape.training)
        return 1;
    const int64_t each = net->shape.images / net->shape.grains;
    return net->images % each ? 1 : net->images / each;
}

struct conv_shape network_conv_shape(const struct network *net, const struct plan_operation *op)
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

struct norm_shape network_norm_shape(const struct network *net, int tensor)
{
    const struct plan_map *m = &net->layout.maps[tensor];
    return (struct norm_shape){
        .images = net->images, .pixels = m->h * m->w, .c = m->c, .grains = slice_grains(net)};
}

struct pool_shape network_pool_shape(const struct network *net, const struct plan_operation *op)
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

struct norm_shape network_half_shape(const struct network *net, const struct plan_operation *op)
{
    struct norm_shape s = network_norm_shape(net, op->in);
    s.c /= 2;
    return s;
}

size_t network_gradient_values(const struct network *net)
{
    size_t values = 0;
    for (int i = 0; i < net->plan->parameters.n; i++)
        if (!parameter(net, i)->buffer)
            values += parameter(net, i)->count;
    return values;
}

/* ---- observing ---- */

void network_observe(struct network *net,
                     void (*observe)(const struct network_event *event, void *user), void *user)
{
    net->observe = observe;
    net->observer = user;
}

static size_t map_values(const struct network *net, int tensor)
{
    const struct plan_map *m = &net->layout.maps[tensor];
    return (size_t)(net->images * m->h * m->w * m->c);
}

void network_report(const struct network *net, const struct plan_operation *op, const char *kernel,
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
        .bytes = (inputs * in + outputs * out) * (double)net->engine->element};
    net->observe(&event, net->observer);
}
