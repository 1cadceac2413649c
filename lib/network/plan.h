/* plan: a network as a flat list of operations on numbered tensors, and its memory.
 *
 * resnet.h and head.h append operations; network.h executes them with an engine. A tensor is a map
 * of H x W x C for each image; its number of channels is known to the plan, its size follows from
 * the input's when memory is laid out. */
#ifndef PLAN_H
#define PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "network/parameters.h"

enum plan_kind {
    PLAN_CONVOLUTION,
    PLAN_BIAS,
    PLAN_BATCH_NORM,
    PLAN_MAX_POOL,
    PLAN_AVERAGE_POOL,
    PLAN_MEAN_POOL,   /* of 2x2 windows */
    PLAN_HALVES_MEAN, /* of selective kernels: what their weights are computed from */
    PLAN_HALVES_MIX   /* and what these make of the map */
};

struct plan_operation {
    enum plan_kind kind;
    int in, out;                     /* tensors */
    int residual;                    /* batch norm: a tensor to add before the ReLU, or -1 */
    int logits;                      /* halves mix: the tensor that weighs the halves */
    int64_t kernel, stride, padding; /* convolution, pools of windows */
    bool row;                        /* convolution: the kernel is 1 x kernel */
    bool relu;                       /* batch norm */
    int weight, bias;                /* parameters, or -1 */
    int mean, variance, batches;     /* batch norm's buffers */
};

struct plan {
    struct plan_operation *operations;
    int n_operations;
    int64_t *channels; /* of each tensor */
    int n_tensors;
    int frozen; /* so many operations from the first on (plan_freeze()) */
    struct parameters parameters;
    bool series; /* maps have one row, kernels are 1 x k: see plan_new_series() */
};

/* A plan whose tensor 0 is its input, with that many channels. NULL: out of memory. */
struct plan *plan_new(int64_t channels);
/* The same for series: maps are 1 x W x C, and kernels run along W. */
struct plan *plan_new_series(int64_t channels);
void plan_free(struct plan *p); /* NULL is fine */

/* Each appends an operation on tensor `in` and returns the tensor it makes, or -1 with a message.
 * `in` may be -1, which is returned, so that calls can be chained and checked once. The last
 * tensor made is the network's output.
 *
 * plan_convolution adds NAME.weight [O,I,k,k], of series [O,I,k]; plan_linear is a 1x1 convolution
 * whose NAME.weight is [O,I] and starts from a normal distribution. plan_batch_norm adds
 * NAME.weight, NAME.bias (unless without_bias), NAME.running_mean, NAME.running_var and
 * NAME.num_batches_tracked; its result is relu(norm(in) + residual), where residual may be -1. It
 * must be the only reader of `in`, and the last reader of the residual, since its backward pass
 * reuses their memory. */
int plan_convolution(struct plan *p, int in, int64_t channels, int64_t kernel, int64_t stride,
                     int64_t padding, const char *name);
int plan_linear(struct plan *p, int in, int64_t channels, const char *name);
int plan_bias(struct plan *p, int in, const char *name); /* adds NAME.bias, which starts at 0 */
struct plan_norm {
    const char *name;
    int residual; /* -1: none */
    bool relu;
    bool zero;         /* the scale starts at 0 */
    bool without_bias; /* no trainable bias */
};
int plan_batch_norm(struct plan *p, int in, const struct plan_norm *norm);
int plan_max_pool(struct plan *p, int in, int64_t kernel, int64_t stride, int64_t padding);
/* Over the whole map; must be the last operation, since its result are floats in every engine. */
int plan_average_pool(struct plan *p, int in);

/* The mean of each 2x2 window, one window every `stride` pixels from the first on. What a window
 * covers beyond the lower and the right edge are zeros, which count: a map of h x w becomes one of
 * ceil(h / stride) x ceil(w / stride). It must be the last reader of `in`, since its backward pass
 * writes the gradient where others add to it. */
int plan_mean_pool(struct plan *p, int in, int64_t stride);

/* Selective kernels (arXiv 1903.06586, section 3.1, steps fuse and select), of a map whose channels
 * are two halves a and b of c channels each.
 *
 * plan_halves_mean is the mean of a + b over all pixels: c channels on a map of 1x1.
 * plan_halves_mix is u a + v b on c channels, where each image and channel has its own weights
 * u = exp(p) / (exp(p) + exp(q)) and v = 1 - u; p and q are the halves of `logits`, a map of 1x1
 * with 2c channels. The two must be the only readers of `in`, in this order. */
int plan_halves_mean(struct plan *p, int in);
int plan_halves_mix(struct plan *p, int in, int logits);

/* The first n operations keep their parameters: training runs them as evaluation does, batch norm
 * by its running statistics, and its backward pass ends behind them. Between operation n - 1 and n
 * goes nothing but that one's output: a convolution is not parted from its norm. */
void plan_freeze(struct plan *p, int n);

/* Where everything lies for a given input. Offsets are in bytes from the start of one block. */
struct plan_layout {
    struct plan_map {
        int64_t h, w, c;
        size_t value, grad; /* offsets; SIZE_MAX: has none */
    } * maps;               /* of each tensor */
    size_t bytes;           /* the whole block */
};

/* Lays the tensors of `images` images of h x w out, `element` bytes a value. Tensors share memory
 * when one's last reader comes before the other's writer. For training also the gradients (the
 * input's only with input_grad), of which two kinds cost nothing: that of a batch norm's input
 * takes the input's place, that of its residual takes the place of its output's gradient. -1 with
 * a message if a map would be empty, a size overflows or memory is out. */
int plan_lay_out(const struct plan *p, int64_t images, int64_t h, int64_t w, size_t element,
                 bool training, bool input_grad, struct plan_layout *out);
void plan_layout_clear(struct plan_layout *l);

#endif
