/* network_parts: what network.h hides, shared by the files that implement it: network.c (what a
 * network is), network_memory.c (the memory it needs), network_forward.c and network_backward.c (a
 * pass over the plan's operations). */
#ifndef NETWORK_PARTS_H
#define NETWORK_PARTS_H

#include <assert.h>

#include "base/clock.h"
#include "network/network.h"

/* What a batch norm gets from the convolution before it and keeps for the backward pass. The sums
 * (2, c) are those of the norm's input and of its square. If several workers share a batch, sums
 * and numbers of values are those of all workers. */
struct norm_statistics {
    double *sums, values;             /* over the slice: sums, and how many values of a channel */
    double *batch_sums, batch_values; /* over the batch */
    float *mean, *scale, *inverse;    /* (c): scale = weight * inverse; inverse = 1 / std */
};

struct network {
    struct plan *plan;
    struct engine *engine;

    struct network_shape shape;
    bool prepared, changed, ran;
    struct plan_layout layout;
    int64_t slice;  /* images that the layout is for: a chunk in training */
    int64_t images; /* of the slice under way: the last one may be smaller */
    struct network_input {
        const uint8_t *bytes;
        const float *floats;
        const struct normalization *normalize;
    } input; /* the caller's, for the chunks that the backward pass runs forward again */

    /* One block of the engine's memory, and where its parts begin. */
    struct engine_memory *memory;
    size_t maps;
    size_t packed, packed_back; /* weights; for the backward pass, of one operation */
    size_t *packed_at;          /* of each operation, in packed */
    size_t partials;            /* for gradients of weights */
    struct engine_scratch work;

    /* One block of host memory, and its parts. */
    unsigned char *host;
    double *sums;                /* rows of sums, (2, c) for each grain */
    int64_t *digits;             /* of their sum (exact_sum.h), and the number of values */
    float *coefficients, *zeros; /* (2, c), (c): for norm_backward() and norms without weights */
    float *carried;              /* gradients of chunks: grains_carry_floats()'s levels */

    struct norm_statistics *statistics; /* of each tensor that is normalized */
    bool *written; /* of each tensor: its gradient holds some reader's part already */

    int (*add)(const char *name, int64_t *values, size_t count, void *user); /* NULL: alone */
    void *workers;

    void (*observe)(const struct network_event *event, void *user);
    void *observer;
};

/* ---- the plan's operations ---- */

static inline struct parameter *parameter(const struct network *net, int index)
{
    return &net->plan->parameters.list[index];
}

/* Returns true if operation i is trained in this pass, so that it uses the batch's statistics and
 * has a backward pass. */
static inline bool trains(const struct network *net, int i)
{
    return net->shape.training && i >= net->plan->frozen;
}

/* Return the sizes of operations for the slice under way. network_half_shape(): of one half of the
 * map that a selective kernel reads. */
struct conv_shape network_conv_shape(const struct network *net, const struct plan_operation *op);
struct pool_shape network_pool_shape(const struct network *net, const struct plan_operation *op);
struct norm_shape network_norm_shape(const struct network *net, int tensor);
struct norm_shape network_half_shape(const struct network *net, const struct plan_operation *op);

/* Returns the number of values of all gradients together. */
size_t network_gradient_values(const struct network *net);

/* ---- places in the engine's memory ---- */

static inline struct engine_place place(const struct network *net, size_t offset)
{
    return (struct engine_place){net->memory, offset};
}

static inline struct engine_place value(const struct network *net, int tensor)
{
    return place(net, net->maps + net->layout.maps[tensor].value);
}

static inline struct engine_place gradient(const struct network *net, int tensor)
{
    assert(net->layout.maps[tensor].grad != SIZE_MAX);
    return place(net, net->maps + net->layout.maps[tensor].grad);
}

/* The packed weights of operation i, for the forward pass. */
static inline struct engine_place packed(const struct network *net, int i)
{
    return place(net, net->packed + net->packed_at[i]);
}

static const struct engine_place no_map = {NULL, 0};

/* ---- the output ---- */

/* Returns the number of values that the output has for each image. */
static inline int64_t output_values(const struct network *net)
{
    const struct plan_map *m = &net->layout.maps[net->plan->n_tensors - 1];
    return m->h * m->w * m->c;
}

/* Returns true if the output is an average pool's, which is floats in every engine. */
static inline bool output_is_floats(const struct network *net)
{
    const struct plan *p = net->plan;
    return p->operations[p->n_operations - 1].kind == PLAN_AVERAGE_POOL;
}

/* ---- slices ---- */

static inline int64_t slices(const struct network *net)
{
    return (net->shape.images + net->slice - 1) / net->slice;
}

/* Returns true if weights are packed when they are used, in memory for one operation alone: those
 * that change with each step and serve one slice. Others are packed once, for all the slices and
 * batches that use them. */
static inline bool packs_at_use(const struct network *net)
{
    return net->shape.training && slices(net) == 1;
}

/* Runs the slice of the input that begins with image `at` forward through all operations. -1 with a
 * message. */
int network_run_slice(struct network *net, int64_t at);

/* ---- norms ---- */

/* Return what the engine needs of each channel, valid until the next call of either. A norm without
 * a trainable bias has a bias of zeros; for the engine, PLAN_BIAS is a norm by fixed numbers. */
struct norm_channels network_norm_channels(const struct network *net,
                                           const struct plan_operation *op);
struct norm_channels network_bias_channels(const struct network *net,
                                           const struct plan_operation *op);

/* Adds the rows of net->sums, one for each grain, over all grains of all workers: sums (2, c), and
 * *n, the number of values of a channel. -1 with a message. */
int network_sum_grains(struct network *net, const struct plan_operation *op, double *sums,
                       double *n);

/* ---- memory ---- */

/* Frees what network_prepare() took. */
void network_release(struct network *net);

/* ---- observing ---- */

static inline double began(const struct network *net)
{
    return net->observe ? clock_now() : 0;
}

/* Reports a call of the engine for an operation, which began at `since` and passed `inputs` times
 * over a map of the input's size and `outputs` times over one of the output's. */
void network_report(const struct network *net, const struct plan_operation *op, const char *kernel,
                    double since, int inputs, int outputs);

#endif
