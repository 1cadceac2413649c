/* network: a plan, its parameters, an engine and memory, executed.
 *
 *   network_prepare -> network_forward -> (training) network_backward
 *
 * All memory is allocated by network_prepare(), and again only when shapes change. */
#ifndef NETWORK_H
#define NETWORK_H

#include "engine/engine.h"
#include "network/plan.h"

struct network;

/* How byte images become numbers: (x/255 - mean) / deviation of each channel. */
struct normalization {
    float mean[3], deviation[3];
};

/* Takes the plan over, and copies the engine. threads is at least 1. NULL with a message (the plan
 * is freed). */
struct network *network_new(struct plan *plan, const struct engine *engine, int threads);
void network_free(struct network *net); /* NULL is fine */

/* The plan's parameters: fill values in before the first forward pass, call
 * network_parameters_changed() after changing any later, read gradients after a backward pass. */
struct parameters *network_parameters(struct network *net);
void network_parameters_changed(struct network *net);

/* Channels of the input and of the output. */
int64_t network_inputs(const struct network *net);
int64_t network_outputs(const struct network *net);

/* From now on a batch is spread over several workers, each of which runs its own part of it, and
 * batch norm is over all of them ("global" batch norm, section 2.2 of the paper). add() is called
 * in the same order in every worker, forward and backward, with `count` integers of this worker's,
 * and replaces each by its sum over all workers; `name` tells of which norm they are
 * ("layer1.0.bn1"). When it fails (not 0) the pass ends with -1. The gradients of a norm's own
 * parameters are then those over the whole batch, in every worker, and marked as `shared`. */
void network_share(struct network *net,
                   int (*add)(const char *name, int64_t *values, size_t count, void *user),
                   void *user);

struct network_shape {
    int64_t images, height, width;
    int64_t grains;  /* training: divides images */
    int64_t chunk;   /* training: images in memory at a time; 0: all */
    bool training;   /* batch statistics, and memory for a backward pass */
    bool input_grad; /* training: the backward pass also makes the input's gradient, which asks for
                        a plan without frozen operations */
};

/* Lays memory out for this shape; quick when nothing changed. -1 with a message: a map would be
 * empty, grains do not divide the images, memory is out. */
int network_prepare(struct network *net, const struct network_shape *shape);

/* Runs forward. bytes: (images,H,W,C), normalized by `normalize`; or else floats, taken as they
 * are. out (images, outputs), or (images,H,W,C) of the last map. In training, batch norm uses the
 * batch's statistics and moves its running ones by a tenth of the way (decay 0.9, the variance
 * unbiased); in evaluation it uses the running ones, and an image's output depends on nothing but
 * that image. -1 with a message if training has a single value a channel to normalize.
 *
 * A training batch that is larger than a chunk takes memory for one chunk only: the forward pass
 * goes chunk by chunk, and network_backward() runs each chunk but one forward again, so the input
 * must stay until then. Batch norm uses the chunk's statistics, and moves the running ones once, by
 * those over the whole batch. Gradients of chunks are added as those of grains are (grains.h); a
 * chunk that is no whole number of grains counts as one grain. */
int network_forward(struct network *net, const uint8_t *bytes, const float *floats,
                    const struct normalization *normalize, float *out);

/* After a forward pass in training: gradients of all parameters that are not frozen, given dout
 * (images, outputs). din (images,H,W,C), if not NULL, gets the input's. ready(index, user), unless
 * NULL, is called with the index of each parameter as soon as its gradient is complete; when it
 * fails (not 0) the pass ends with -1. */
int network_backward(struct network *net, const float *dout, float *din,
                     int (*ready)(int parameter, void *user), void *user);

/* What one kernel did: for profiles. */
struct network_event {
    const char *kernel; /* "conv forward", "norm backward" ... */
    const char *name;   /* of the operation's first parameter, or "" */
    double seconds;
    double flops; /* 2 for each multiplication of a direct convolution, else 0 */
    double bytes; /* of the maps read and written, once each */
};

/* From now on observe is called after each kernel (NULL: no longer). */
void network_observe(struct network *net,
                     void (*observe)(const struct network_event *event, void *user), void *user);

#endif
