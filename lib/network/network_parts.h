/* network_parts: what network.h hides, shared by the files that implement it: network.c (what a
 * network is), network_memory.c (one block for all it needs), network_forward.c and
 * network_backward.c (a pass over the plan's operations). */
#ifndef NETWORK_PARTS_H
#define NETWORK_PARTS_H

#include <assert.h>

#include "base/clock.h"
#include "engine/conv.h"
#include "network/network.h"

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
    int64_t *digits;                     /* of their sum (exact_sum.h), and the number of values */
    float *coefficients, *zeros;         /* (2, c), (c): what norm kernels are given */
    float *carried;                      /* gradients of chunks: grains_carry_floats()'s levels */
    struct workspace work;

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

/* Is operation i trained in this pass: does it use the batch's statistics, and have a backward
 * pass? */
static inline bool trains(const struct network *net, int i)
{
    return net->shape.training && i >= net->plan->frozen;
}

/* Their sizes, for the slice at work. half_shape: of one half of the map that a selective kernel
 * reads. */
struct conv_shape network_conv_shape(const struct network *net, const struct plan_operation *op);
struct pool_shape network_pool_shape(const struct network *net, const struct plan_operation *op);
struct norm_shape network_norm_shape(const struct network *net, int tensor);
struct norm_shape network_half_shape(const struct network *net, const struct plan_operation *op);

/* Values of all gradients together. */
size_t network_gradient_values(const struct network *net);

/* ---- maps ---- */

static inline void *value(const struct network *net, int tensor)
{
    return net->maps + net->layout.maps[tensor].value;
}

static inline void *gradient(const struct network *net, int tensor)
{
    assert(net->layout.maps[tensor].grad != SIZE_MAX);
    return net->maps + net->layout.maps[tensor].grad;
}

/* Values that the output has for each image. */
static inline int64_t output_values(const struct network *net)
{
    const struct plan_map *m = &net->layout.maps[net->plan->n_tensors - 1];
    return m->h * m->w * m->c;
}

/* An average pool's result is the network's, and made of floats in every engine. */
static inline const struct activations *last_maps(const struct network *net)
{
    const struct plan *p = net->plan;
    const bool averaged = p->operations[p->n_operations - 1].kind == PLAN_AVERAGE_POOL;
    return averaged ? &activations_fp32 : net->engine.maps;
}

/* ---- slices ---- */

static inline int64_t slices(const struct network *net)
{
    return (net->shape.images + net->slice - 1) / net->slice;
}

/* Weights that change with each step and serve one slice are packed when they are used, in memory
 * for one operation alone; others once, for all slices and batches that use them. */
static inline bool packs_at_use(const struct network *net)
{
    return net->shape.training && slices(net) == 1;
}

/* The input's slice that begins with image `at`, forward through all operations. -1 with a
 * message. */
int network_run_slice(struct network *net, int64_t at);

/* ---- norms ---- */

/* What the kernels need of a channel, until the next call. A norm without a trainable bias has one
 * of zeros; PLAN_BIAS is a norm by fixed numbers, of which the kernels know. */
struct norm_channels network_norm_channels(const struct network *net,
                                           const struct plan_operation *op);
struct norm_channels network_bias_channels(const struct network *net,
                                           const struct plan_operation *op);

/* sums (2,c) and *n, the values of a channel, over all grains of all workers, from each grain's in
 * net->sums. -1 with a message. */
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

/* Reports a kernel of an operation that passed over its input and output so many times. */
void network_report(const struct network *net, const struct plan_operation *op, const char *kernel,
                    double since, int inputs, int outputs);

#endif
