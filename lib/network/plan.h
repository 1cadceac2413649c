/* plan: a network as a flat list of operations on numbered tensors, and the layout of its memory.
 *
 * resnet.h and head.h append operations; network.h executes them with an engine. A tensor is a
 * feature map (h, w, c) for each image. The plan knows its channels; its height and width follow
 * from the input's when memory is laid out. */
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
    PLAN_HALVES_MEAN, /* of selective kernels: their weights are computed from it */
    PLAN_HALVES_MIX   /* of selective kernels: the halves of a map, weighed and added */
};

struct plan_operation {
    enum plan_kind kind;
    int in, out;                     /* tensors that it reads and makes */
    int residual;                    /* batch norm: a tensor to add before the ReLU, or -1 */
    int logits;                      /* halves mix: the tensor that weighs the halves */
    int64_t kernel, stride, padding; /* convolution, pools of windows */
    bool row;                        /* convolution: the kernel is 1 x kernel */
    bool relu;                       /* batch norm */
    int weight, bias;                /* parameters, or -1 */
    int mean, variance, batches;     /* batch norm: its buffers */
};

struct plan {
    struct plan_operation *operations;
    int n_operations;
    int64_t *channels; /* of each tensor */
    int n_tensors;
    int frozen; /* the first N operations, which do not train (plan_freeze()) */
    struct parameters parameters;
    bool series;                            /* see plan_new_series() */
    int64_t room_operations, room_channels; /* the module's own */
};

/* Returns a plan whose tensor 0 is its input, with that many channels; NULL with a message if
 * memory is out. In a plan for series, maps have one row, 1 x W x C, and kernels run along W. */
struct plan *plan_new(int64_t channels);
struct plan *plan_new_series(int64_t channels);
void plan_free(struct plan *p); /* NULL is fine */

/* Each of the following appends an operation on tensor `in`. It returns the tensor that the
 * operation makes, or -1 with a message. `in` may be -1, which is returned, so that calls can be
 * chained and checked once. The last tensor made is the network's output. */

/* Adds the parameter NAME.weight (O, I, k, k), or (O, I, k) in a plan for series. */
int plan_convolution(struct plan *p, int in, int64_t channels, int64_t kernel, int64_t stride,
                     int64_t padding, const char *name);

/* A 1x1 convolution whose NAME.weight is (O, I) and starts from a normal distribution. */
int plan_linear(struct plan *p, int in, int64_t channels, const char *name);

/* Adds NAME.bias, which starts at 0, to each channel. */
int plan_bias(struct plan *p, int in, const char *name);

/* Makes relu(norm(in) + residual). Adds the parameters NAME.weight and NAME.bias and the buffers
 * NAME.running_mean, NAME.running_var and NAME.num_batches_tracked. A convolution must make `in`,
 * and the norm must be the only reader of `in` and the last reader of the residual, since its
 * backward pass reuses their memory. */
struct plan_norm {
    const char *name;
    int residual; /* a tensor, or -1 for none */
    bool relu;
    bool zero;         /* the weight starts at 0 instead of 1 */
    bool without_bias; /* there is no NAME.bias */
};
int plan_batch_norm(struct plan *p, int in, const struct plan_norm *norm);

int plan_max_pool(struct plan *p, int in, int64_t kernel, int64_t stride, int64_t padding);

/* The mean over the whole map. It must be the last operation, since its result is floats in every
 * engine. */
int plan_average_pool(struct plan *p, int in);

/* The mean of each 2x2 window, one window every `stride` pixels from the first on. Pixels of a
 * window beyond the lower and the right edge are zeros, which count: a map of h x w becomes one of
 * ceil(h / stride) x ceil(w / stride). It must be the last reader of `in`, since its backward pass
 * writes the gradient, and does not add to it. */
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

/* Freezes the first n operations. They keep their parameters: training runs them as evaluation
 * does, batch norm by its running statistics, and the backward pass ends after the last operation
 * that is not frozen. The operations from n on may read no tensor before the output of operation
 * n - 1; so a convolution and its norm are not separated. */
void plan_freeze(struct plan *p, int n);

/* Where each tensor is in a block of memory. */
struct plan_layout {
    struct plan_map {
        int64_t h, w, c;
        size_t value, grad; /* offsets in bytes, multiples of 64; SIZE_MAX: has none */
    } * maps;               /* of each tensor */
    size_t bytes;           /* of the whole block */
};

/* Lays out the tensors of `images` images of h x w, `element` bytes a value. Tensors share memory
 * if the last reader of one comes before the operation that makes the other. For training, the
 * gradients have places too (the input's only with input_grad). Two kinds of gradients cost
 * nothing: that of a batch norm's input replaces the input, and that of its residual replaces the
 * gradient of its output. Returns 0, or -1 with a message if a map would be empty, a size overflows
 * or memory is out. The caller frees the result with plan_layout_clear(). */
int plan_lay_out(const struct plan *p, int64_t images, int64_t h, int64_t w, size_t element,
                 bool training, bool input_grad, struct plan_layout *out);
void plan_layout_clear(struct plan_layout *l);

#endif
