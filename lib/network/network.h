/* network: a plan with its parameters and memory, which an engine executes.
 *
 *   network_prepare -> network_forward -> (training) network_backward
 *
 * network_prepare() allocates all memory, and does so again only if shapes change. Feature maps and
 * packed weights are in the engine's memory (engine.h); parameters, inputs, outputs and their
 * gradients are in host memory. */
#ifndef NETWORK_H
#define NETWORK_H

#include "engine/engine.h"
#include "network/normalization.h"
#include "network/plan.h"

struct network;

/* Returns a network that owns the plan and the engine. Returns NULL with a message if memory is
 * out, or if the plan or the engine is NULL because the function that should have made it failed.
 * It then frees both. */
struct network *network_new(struct plan *plan, struct engine *engine);
/* Returns a network that owns a copy of the plan, whose parameters have the same values and no
 * gradients, so it has forward passes only. Otherwise it is like network_new(); the other
 * network's plan stays with it. */
struct network *network_copy(const struct network *net, struct engine *engine);
void network_free(struct network *net); /* NULL is fine */

/* network_parameters() returns the plan's parameters, which the network owns. The caller fills in
 * values before the first forward pass, calls network_parameters_changed() after each later change,
 * and reads gradients after a backward pass. */
struct parameters *network_parameters(struct network *net);
void network_parameters_changed(struct network *net);

/* Return the number of channels of the input and of the output. */
int64_t network_inputs(const struct network *net);
int64_t network_outputs(const struct network *net);

/* Makes the network share its batches with the networks of other workers from now on. Each worker
 * runs its own part of a batch, and batch norm uses the whole batch ("global" batch norm, section
 * 2.2 of the paper). Every worker calls add() in the same order, forward and backward, with `count`
 * integers of its own, and add() replaces each by its sum over all workers; `name` is the norm's
 * ("layer1.0.bn1"). If add() returns anything but 0, the pass ends with -1. The gradients of a
 * norm's own parameters are then those over the whole batch in every worker, and are marked as
 * `shared`. */
void network_share(struct network *net,
                   int (*add)(const char *name, int64_t *values, size_t count, void *user),
                   void *user);

struct network_shape {
    int64_t images, height, width;
    int64_t grains;    /* training: number of parts of a sum over images; divides images */
    int64_t chunk;     /* training: images in memory at a time; 0: all */
    bool training;     /* batch statistics, and memory for a backward pass */
    bool forward_only; /* training: no backward pass follows, so memory is that of an evaluation of
                          these images, and the running statistics stay as they are */
    bool input_grad;   /* training: the backward pass also computes the input's gradient; then no
                        operation of the plan may be frozen */
};

/* Lays out and allocates memory for this shape. Returns at once if it is the present shape. Returns
 * -1 with a message if a map would be empty, the grains do not divide the images, or memory is
 * out. */
int network_prepare(struct network *net, const struct network_shape *shape);

/* Runs the forward pass. The input is either bytes (images, H, W, C), which `normalize` converts to
 * numbers, or floats of the same shape, which are used unchanged; the other pointer is NULL. The
 * output goes to out, which is (images, outputs), or (images, h, w, c) if the plan ends with a map.
 *
 * In training, batch norm uses the batch's statistics, and moves its running statistics a tenth of
 * the way towards them (PyTorch's momentum 0.1, with the unbiased variance). In evaluation it uses
 * the running statistics, and an image's output depends on that image alone. Returns -1 with a
 * message if a channel has a single value to normalize in training, or if the engine failed.
 *
 * A training batch that is larger than a chunk uses memory for one chunk only: the forward pass
 * computes one chunk after another, and network_backward() runs all chunks but one forward again.
 * The caller must therefore keep the input until then. Batch norm uses the chunk's statistics, and
 * moves the running statistics once, by the statistics of the whole batch. Gradients of chunks are
 * added as those of grains are (grains.h); a chunk that is not a whole number of grains counts as
 * one grain. */
int network_forward(struct network *net, const uint8_t *bytes, const float *floats,
                    const struct normalization *normalize, float *out);

/* Runs the backward pass after a forward pass in training. Computes the gradients of all parameters
 * that are not frozen, given dout (images, outputs), and writes the input's gradient to din
 * (images, H, W, C) unless that is NULL. Calls ready(parameter, user), unless it is NULL, as soon
 * as the gradient of a parameter is complete; if it returns anything but 0, the pass ends with -1.
 * Returns -1 with a message if the engine failed. */
int network_backward(struct network *net, const float *dout, float *din,
                     int (*ready)(int parameter, void *user), void *user);

/* One call of the engine, for profiles. */
struct network_event {
    const char *kernel; /* "conv forward", "norm backward" ... */
    const char *name;   /* the name of the operation's first parameter, or "" */
    double seconds;     /* from call to return; shorter than the work if the engine queues */
    double flops;       /* 2 for each multiplication of a direct convolution, else 0 */
    double bytes;       /* bytes of the maps read and written, counted once each */
};

/* Makes the network call observe() after each call of the engine from now on. NULL stops this. */
void network_observe(struct network *net,
                     void (*observe)(const struct network_event *event, void *user), void *user);

#endif
