/* network: a plan with its parameters and memory, executed by an engine.
 *
 *   network_prepare -> network_forward -> (training) network_backward
 *
 * network_prepare() allocates all memory, and does so again only if shapes change. What the engine
 * computes on is in the engine's memory (engine.h); parameters, inputs, outputs and their gradients
 * are in host memory. */
#ifndef NETWORK_H
#define NETWORK_H

#include "engine/engine.h"
#include "network/plan.h"

struct network;

/* How images of bytes become numbers: (x/255 - mean) / std of each channel. */
struct normalization {
    float mean[3], std[3];
};

/* Returns a network that owns the plan and the engine, either of which may be NULL if its maker
 * failed. NULL with a message if memory is out or the engine or the plan is NULL; both are freed
 * then. */
struct network *network_new(struct plan *plan, struct engine *engine);
void network_free(struct network *net); /* NULL is fine */

/* The plan's parameters. The caller fills in values before the first forward pass, calls
 * network_parameters_changed() after it changed any later, and reads gradients after a backward
 * pass. */
struct parameters *network_parameters(struct network *net);
void network_parameters_changed(struct network *net);

/* Channels of the input and of the output. */
int64_t network_inputs(const struct network *net);
int64_t network_outputs(const struct network *net);

/* From now on a batch is spread over several workers, each of which runs its own part of it, and
 * batch norm is over all of them ("global" batch norm, section 2.2 of the paper). Every worker
 * calls add() in the same order, forward and backward, with `count` integers of its own, and add()
 * replaces each by its sum over all workers; `name` is the norm's ("layer1.0.bn1"). If add() fails
 * (not 0), the pass ends with -1. The gradients of a norm's own parameters are then those over the
 * whole batch, in every worker, and marked as `shared`. */
void network_share(struct network *net,
                   int (*add)(const char *name, int64_t *values, size_t count, void *user),
                   void *user);

struct network_shape {
    int64_t images, height, width;
    int64_t grains;  /* training: parts that sums over images are made of; divides images */
    int64_t chunk;   /* training: images in memory at a time; 0: all */
    bool training;   /* batch statistics, and memory for a backward pass */
    bool input_grad; /* training: the backward pass also makes the input's gradient; then no
                        operation of the plan may be frozen */
};

/* Lays out and allocates memory for this shape; returns at once if it is the present one. -1 with a
 * message if a map would be empty, the grains do not divide the images, or memory is out. */
int network_prepare(struct network *net, const struct network_shape *shape);

/* Runs forward. The input is either bytes (images, H, W, C), which `normalize` turns into numbers,
 * or floats of the same shape, which are taken as they are; the other one is NULL. out gets
 * (images, outputs), or the last map (images, h, w, c).
 *
 * In training, batch norm uses the batch's statistics, and moves its running ones a tenth of the
 * way towards them (PyTorch's momentum 0.1, with the unbiased variance). In evaluation it uses the
 * running ones, and an image's output depends on that image alone. -1 with a message if training
 * finds a single value of a channel to normalize, or the engine failed.
 *
 * A training batch that is larger than a chunk takes memory for one chunk only: the forward pass
 * goes chunk by chunk, and network_backward() runs all chunks but one forward again, so the input
 * must stay until then. Batch norm uses the chunk's statistics, and moves the running ones once, by
 * those over the whole batch. Gradients of chunks are added as those of grains are (grains.h); a
 * chunk that is not a whole number of grains counts as one grain. */
int network_forward(struct network *net, const uint8_t *bytes, const float *floats,
                    const struct normalization *normalize, float *out);

/* After a forward pass in training: computes the gradients of all parameters that are not frozen,
 * given dout (images, outputs), and writes the input's gradient to din (images, H, W, C) unless
 * that is NULL. As soon as the gradient of a parameter is complete, ready(index, user) is called
 * unless it is NULL; if it fails (not 0), the pass ends with -1. -1 with a message if the engine
 * failed. */
int network_backward(struct network *net, const float *dout, float *din,
                     int (*ready)(int parameter, void *user), void *user);

/* One call of the engine, for profiles. */
struct network_event {
    const char *kernel; /* "conv forward", "norm backward" ... */
    const char *name;   /* of the operation's first parameter, or "" */
    double seconds;     /* from call to return: of an engine that queues, not its work's */
    double flops;       /* 2 for each multiplication of a direct convolution, else 0 */
    double bytes;       /* of the maps read and written, once each */
};

/* From now on observe() is called after each call of the engine; NULL stops it. */
void network_observe(struct network *net,
                     void (*observe)(const struct network_event *event, void *user), void *user);

#endif
