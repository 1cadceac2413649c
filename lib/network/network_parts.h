/* network_parts: the internals that network.h hides. These files share them: network.c (the network
 * itself), network_memory.c (the memory that it needs), network_forward.c and network_backward.c (a
 * pass over the plan's operations). */
#ifndef NETWORK_PARTS_H
#define NETWORK_PARTS_H

#include <assert.h>

#include "base/clock.h"
#include "network/network.h"

/* The statistics that a batch norm receives from the convolution before it and keeps for the
 * backward pass. The sums (2, c) are those of the norm's input and of its square. If several
 * workers share a batch, sums and numbers of values are those of all workers. */
struct norm_statistics {
    double *sums, values;             /* over the slice; values of a channel */
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
    int64_t images; /* images of the present slice; the last slice may be smaller */
    struct network_input {
        const uint8_t *bytes;
        const float *floats;
        const struct normalization *normalize;
    } input; /* the caller's; the backward pass runs its chunks forward again */

    /* One block of the engine's memory, and the offsets of its parts. */
    struct engine_memory *memory;
    size_t maps;
    size_t packed, packed_back; /* weights of all operations; of one, for its backward pass */
    size_t *packed_at;          /* offset of each operation's weights in packed */
    size_t partials;            /* for gradients of weights */
    struct engine_scratch work;

    /* One block of host memory, and its parts. */
    unsigned char *host;
    double *sums;                /* rows of sums, (2, c) for each grain */
    int64_t *digits;             /* of their sum (exact_sum.h), and the number of values */
    float *coefficients, *zeros; /* (2, c) for norm_backward(); (c) for norms without weights */
    float *carried;              /* gradients of chunks: the levels of grains_carry_floats() */

    struct norm_statistics *statistics; /* statistics of each tensor that is normalized */
    bool *written; /* whether each tensor's gradient already holds one reader's part */

    int (*add)(const char *name, int64_t *values, size_t count, void *user); /* NULL: one worker */
    void *workers;

    void (*observe)(const struct network_event *event, void *user);
    void *observer;
};

/* ---- the plan's operations ---- */

static inline struct parameter *parameter(const struct network *net, int index)
{
    return &net->plan->parameters.list[index];
}

/* Returns true if operation i is trained in this pass. It then uses the batch's statistics. */
static inline bool trains(const struct network *net, int i)
{
    return net->shape.training && i >= net->plan->frozen;
}

/* Returns true if a backward pass follows, for the operations that are trained. */
static inline bool goes_back(const struct network *net)
{
    return net->shape.training && !net->shape.forward_only;
}

/* Return the sizes of operations for the present slice. network_half_shape() returns that of one
 * half of the map that a selective kernel reads. */
struct conv_shape network_conv_shape(const struct network *net, const struct plan_operation *op);
struct pool_shape network_pool_shape(const struct network *net, const struct plan_operation *op);
struct norm_shape network_norm_shape(const struct network *net, int tensor);
struct norm_shape network_half_shape(const struct network *net, const struct plan_operation *op);

/* Returns the number of values in all gradients together. */
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

/* Returns the place of operation i's packed weights for the forward pass. */
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

/* Returns true if the output comes from an average pool, whose output is floats in every engine. */
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

/* Returns true if weights are packed when they are used, into memory for one operation only. This
 * is so if they change with each step and serve one slice. Other weights are packed once for all
 * the slices and batches that use them. */
static inline bool packs_at_use(const struct network *net)
{
    return net->shape.training && slices(net) == 1;
}

/* Runs the slice of the input that begins with image `at` forward through all operations. Returns
 * -1 with a message on failure. */
int network_run_slice(struct network *net, int64_t at);

/* ---- norms ---- */

/* Return the coefficients of each channel for the engine, which are valid until the next call of
 * either function. A norm without a trainable bias has a bias of zeros. For the engine, PLAN_BIAS
 * is a norm with fixed coefficients. */
struct norm_channels network_norm_channels(const struct network *net,
                                           const struct plan_operation *op);
struct norm_channels network_bias_channels(const struct network *net,
                                           const struct plan_operation *op);

/* Adds the rows of net->sums, one for each grain, over all grains of all workers. Writes the result
 * to sums (2, c), and the number of values of a channel to *n. Returns -1 with a message on
 * failure. */
int network_sum_grains(struct network *net, const struct plan_operation *op, double *sums,
                       double *n);

/* ---- memory ---- */

/* Frees what network_prepare() allocated. */
void network_release(struct network *net);

/* ---- observing ---- */

static inline double began(const struct network *net)
{
    return net->observe ? clock_now() : 0;
}

/* Reports a call of the engine for an operation. The call began at `since`, and read or wrote maps
 * of the input's size `inputs` times and maps of the output's size `outputs` times. */
void network_report(const struct network *net, const struct plan_operation *op, const char *kernel,
                    double since, int inputs, int outputs);

#endif
