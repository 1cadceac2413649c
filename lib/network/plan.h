/* plan: a network as a flat list of operations on numbered tensors, and the layout of its memory.
 *
 * resnet.h and head.h append operations; network.h executes them with an engine. A tensor is a
 * feature map (h, w, c) for each image. The plan stores its channels. Its height and width follow
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
    PLAN_MEAN_POOL,   /* mean of 2x2 windows */
    PLAN_HALVES_MEAN, /* selective kernels: the mean from which their weights are computed */
    PLAN_HALVES_MIX   /* selective kernels: the weighted sum of the halves of a map */
};

struct plan_operation {
    enum plan_kind kind;
    int in, out;                     /* the tensors that it reads and writes */
    int residual;                    /* batch norm: a tensor to add before the ReLU, or -1 */
    int logits;                      /* halves mix: the tensor that weights the halves */
    int64_t kernel, stride, padding; /* convolution and windowed pools */
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
    int frozen; /* number of operations at the beginning that do not train (plan_freeze()) */
    struct parameters parameters;
    bool series;                            /* see plan_new_series() */
    int64_t room_operations, room_channels; /* the module's own: capacities of the lists */
};

/* Return a plan whose tensor 0 is its input, with that many channels. In a plan for series, maps
 * have one row, 1 x W x C, and kernels run along W. Return NULL with a message if memory is out. */
struct plan *plan_new(int64_t channels);
struct plan *plan_new_series(int64_t channels);
void plan_free(struct plan *p); /* NULL is fine */

/* Returns a copy of a plan and of its parameters' values, for forward passes only: the parameters
 * have no gradients. Returns NULL with a message if memory is out. */
struct plan *plan_copy(const struct plan *p);

/* Each of the following functions appends an operation on tensor `in`. It returns the operation's
 * output tensor, or -1 with a message. If `in` is -1 it returns -1, so that calls can be chained
 * and checked once. The last tensor is the network's output. */

/* Appends a convolution, with the parameter NAME.weight (O, I, k, k), or (O, I, k) in a plan for
 * series. */
int plan_convolution(struct plan *p, int in, int64_t channels, int64_t kernel, int64_t stride,
                     int64_t padding, const char *name);

/* Appends a 1x1 convolution whose NAME.weight is (O, I) and starts from a normal distribution. */
int plan_linear(struct plan *p, int in, int64_t channels, const char *name);

/* Appends an operation that adds NAME.bias to each channel; it starts at 0. */
int plan_bias(struct plan *p, int in, const char *name);

/* plan_norm() appends batch normalization: relu(norm(in) + residual). Adds the parameters
 * NAME.weight and NAME.bias and the buffers NAME.running_mean, NAME.running_var and
 * NAME.num_batches_tracked. `in` must be the output of a convolution. The norm must be the only
 * reader of `in` and the last reader of the residual, since its backward pass reuses their memory.
 * struct plan_norm has its options. */
struct plan_norm {
    const char *name;
    int residual; /* a tensor, or -1 for none */
    bool relu;
    bool zero;         /* the weight starts at 0 instead of 1 */
    bool without_bias; /* there is no NAME.bias */
};
int plan_batch_norm(struct plan *p, int in, const struct plan_norm *norm);

int plan_max_pool(struct plan *p, int in, int64_t kernel, int64_t stride, int64_t padding);

/* Appends the mean over the whole map. It must be the last operation, since its result is floats in
 * every engine. */
int plan_average_pool(struct plan *p, int in);

/* Appends the mean of 2x2 windows, which are `stride` pixels apart from the first pixel on. Pixels
 * of a window beyond the lower and right edge are zeros and are included in the mean, so the output
 * has ceil(h / stride) x ceil(w / stride) pixels. The operation must be the last reader of `in`,
 * since its backward pass overwrites the gradient instead of adding to it. */
int plan_mean_pool(struct plan *p, int in, int64_t stride);

/* These append selective kernels (arXiv 1903.06586, section 3.1, steps fuse and select). The
 * channels of their map are two halves a and b of c channels each.
 *
 * plan_halves_mean() computes the mean of a + b over all pixels, which is a 1x1 map of c channels.
 * plan_halves_mix() computes u a + v b on c channels. Each image and channel has its own weights,
 * u = exp(p) / (exp(p) + exp(q)) and v = 1 - u, where p and q are the halves of `logits`, a 1x1 map
 * of 2c channels. The two operations must be the only readers of `in`, in this order. */
int plan_halves_mean(struct plan *p, int in);
int plan_halves_mix(struct plan *p, int in, int logits);

/* Freezes the first n operations. They keep their parameters: training runs them as evaluation
 * does, with batch norm's running statistics, and the backward pass ends after the last operation
 * that is not frozen. The operations from n on may not read any tensor before the output of
 * operation n - 1, so a convolution and its norm are not separated. */
void plan_freeze(struct plan *p, int n);

/* The place of each tensor in a block of memory. */
struct plan_layout {
    struct plan_map {
        int64_t h, w, c;
        size_t value, grad; /* offsets in bytes, multiples of 64; SIZE_MAX: it has none */
    } * maps;               /* of each tensor */
    size_t bytes;           /* of the whole block */
};

/* Lays out the tensors of `images` images of h x w, in `element` bytes a value. Two tensors share
 * memory if the last reader of one comes before the operation that writes the other. For training,
 * gradients have places too (the input's only with input_grad). Two kinds of gradients need no
 * memory of their own: the gradient of a batch norm's input replaces that input, and the gradient
 * of its residual replaces the gradient of its output. Returns 0, or -1 with a message if a map
 * would be empty, a size overflows or memory is out. The caller frees the result with
 * plan_layout_clear(). */
int plan_lay_out(const struct plan *p, int64_t images, int64_t h, int64_t w, size_t element,
                 bool training, bool input_grad, struct plan_layout *out);
void plan_layout_clear(struct plan_layout *l);

#endif
