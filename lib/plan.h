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

#include "parameters.h"

enum plan_kind { PLAN_CONVOLUTION, PLAN_BATCH_NORM, PLAN_MAX_POOL, PLAN_AVERAGE_POOL };

struct plan_operation {
    enum plan_kind kind;
    int in, out;                     /* tensors */
    int residual;                    /* batch norm: a tensor to add before the ReLU, or -1 */
    int64_t kernel, stride, padding; /* convolution, max pool */
    bool relu;                       /* batch norm */
    int weight, bias;                /* parameters, or -1 */
    int mean, variance, batches;     /* batch norm's buffers */
};

struct plan {
    struct plan_operation *operations;
    int n_operations;
    int64_t *channels; /* of each tensor */
    int n_tensors;
    struct parameters parameters;
};

/* A plan whose tensor 0 is its input, with that many channels. NULL: out of memory. */
struct plan *plan_new(int64_t channels);
void plan_free(struct plan *p); /* NULL is fine */

/* Each appends an operation on tensor `in` and returns the tensor it makes, or -1 with a message.
 * `in` may be -1, which is returned, so that calls can be chained and checked once. The last
 * tensor made is the network's output.
 *
 * plan_convolution adds NAME.weight [O,I,k,k]; plan_linear is a 1x1 convolution whose NAME.weight
 * is [O,I] and starts from a normal distribution. plan_batch_norm adds NAME.weight, NAME.bias
 * (unless without_bias), NAME.running_mean, NAME.running_var and NAME.num_batches_tracked; its
 * result is relu(norm(in) + residual), where residual may be -1. It must be the only reader of
 * `in`, and the last reader of the residual, since its backward pass reuses their memory. */
int plan_convolution(struct plan *p, int in, int64_t channels, int64_t kernel, int64_t stride,
                     int64_t padding, const char *name);
int plan_linear(struct plan *p, int in, int64_t channels, const char *name);
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
