/* stage_parts: the internals of stage.h, shared by the files that implement it: stage.c (links and
 * the serving loop), stage_input.c (requests), stage_forward.c (the network and its output),
 * stage_training.c (a training step), stage_target.c (the momentum network of --ema) and
 * stage_sync.c (batch norm over several workers).
 *
 * Functions return 0, or -1 with a message; those that return a pointer return NULL with a message.
 */
#ifndef STAGE_PARTS_H
#define STAGE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"
#include "link/link.h"
#include "network/network.h"
#include "program/optimizer_client.h"
#include "program/stage.h"

/* A running stage. */
struct stage_run {
    const struct stage *stage;
    struct frame *weights;           /* the file of --init, until the network has taken it */
    struct frame *description;       /* metadata for the join */
    bool named;                      /* an output has carried logit_names */
    struct engine *engine;           /* until the network has taken it */
    struct network *net;             /* NULL until the first request, and for the identity */
    struct network *slow;            /* NULL until the first training step, and without --ema */
    struct link *next, *opt, *sync;  /* NULL if not given */
    struct optimizer_client *client; /* NULL until the first training step, and for the identity */
    const struct frame *step;        /* the current step's request */
    bool awaits_update;              /* gradients were sent, but no new values received yet */
    char dinput[16], doutput[16];    /* names of the gradients */
    char input_target[16], output_target[16]; /* "h_target" and "z_target" */
};

/* Returns true if the flags ask for training. */
bool stage_trains(const struct stage *stage);

/* ---- requests (stage_input.c) ---- */

/* The sizes of the input: B images with V views each, of H x W pixels and C channels. A vector
 * counts as an image of 1 x 1. */
struct stage_sizes {
    int64_t b, v, h, w, c;
    int64_t images; /* b x v */
};

/* Returns the request's input, after checking that it fits this stage and its network, and sets its
 * sizes. */
const struct tensor *stage_input_find(const struct stage_run *run, const struct frame *request,
                                      struct stage_sizes *s);

/* Returns the number of the batch's grains that b images make, or -1 with a message. */
int64_t stage_input_grains(const struct frame *request, int64_t b);

/* ---- the network (stage_forward.c) ---- */

/* Returns the engine that the flags ask for. */
struct engine *stage_engine(void);

/* Makes the network for the first request's input, with its initial parameters. */
int stage_forward_start(struct stage_run *run, const struct frame *request,
                        const struct tensor *input);

/* Computes the output. Returns a new frame: the request with the output in the input's place. With
 * grains > 0 this is a training pass, otherwise an evaluation, in which the frame may have no rows.
 */
struct frame *stage_forward(struct stage_run *run, const struct frame *request,
                            const struct tensor *input, const struct stage_sizes *s,
                            int64_t grains);

/* ---- training (stage_training.c) ---- */

/* Runs one training step. Returns the reply to the caller. */
struct frame *stage_training_step(struct stage_run *run, const struct frame *request);

/* Waits until the optimizer has answered with the new values of the last step, and stores them.
 * Returns at once if no gradients were sent. Sets *lr as optimizer_client_finish() does. */
int stage_training_update(struct stage_run *run, const char **lr);

/* ---- the momentum network (stage_target.c) ----
 * With --ema a stage has a second network with slow copies of the parameters (optimizer_client.h).
 * It computes the targets: its output for the same batch, in training mode, without a gradient. */

/* Returns true if the flags ask for targets. */
bool stage_has_target(void);

/* Returns the tensor that the targets are computed from: the input itself if it is images, else the
 * targets of the stage before, of the same sizes. */
const struct tensor *stage_target_input(const struct stage_run *run, const struct frame *request,
                                        const struct tensor *input, const struct stage_sizes *s);

/* Makes the momentum network from the network, before the join, which fills its parameters. */
int stage_target_start(struct stage_run *run);

/* Takes over the statistics of frozen batch norms, after the join. */
void stage_target_joined(struct stage_run *run);

/* Computes the targets into out, after the network's own forward pass of the same shape. */
int stage_target_forward(struct stage_run *run, const struct tensor *input,
                         const struct network_shape *shape, float *out);

/* ---- batch norm over several workers (stage_sync.c) ---- */

/* Replaces `count` integers of this worker by their sums over all workers, through --sync. It is
 * the callback of network_share(); `user` is the stage_run. */
int stage_sync_add(const char *name, int64_t *values, size_t count, void *user);

#endif
