/* optimizer_client: how a stage with parameters talks to its optimizer, which owns them.
 *
 * It joins once with its initial parameters. Then, in each step, it sends gradients in buckets
 * while the backward pass is still running, and takes the new values over. docs/stages.md shows the
 * frames. Functions return 0, or -1 with a message. */
#ifndef OPTIMIZER_CLIENT_H
#define OPTIMIZER_CLIENT_H

#include "link/link.h"
#include "network/parameters.h"

struct optimizer_client;

/* Both must outlive the client. `wire` says how gradients of weights and their new values are sent:
 * as F32, or as BF16, which is half as many bytes and rounds each way; tensors of one dimension are
 * always F32. Returns NULL with a message if memory is out. */
struct optimizer_client *optimizer_client_new(struct link *link, struct parameters *parameters,
                                              enum dtype wire);
void optimizer_client_free(struct optimizer_client *c);

/* Sends the parameters, which only rank 0 does, and which blocks are frozen; takes over those that
 * are in force, and sets *next_step. `request` is the first frame of the stream: its rank, world,
 * grains, batch, images, steps and steps_per_epoch are sent along. */
int optimizer_client_join(struct optimizer_client *c, const struct frame *request,
                          int64_t *next_step);

/* Begins a step, after its forward pass. Buffers that are not frozen are sent with the first
 * bucket. The metadata step, steps, steps_per_epoch, batch, images, grains, epoch, rank and world
 * are `request`'s. All ranks cut the same buckets; buffers, and gradients that all ranks share, are
 * sent by rank 0 alone. */
int optimizer_client_begin(struct optimizer_client *c, const struct frame *request);
/* Sends the gradient of parameter number i, which is complete, perhaps together with later ones. */
int optimizer_client_push(struct optimizer_client *c, int i);
/* Sends what is left, waits for the answers and takes the new values over. *lr becomes the learning
 * rate that was used, as the optimizer printed it, or "" if it did not say; it is valid until the
 * next call. */
int optimizer_client_finish(struct optimizer_client *c, const char **lr);

#endif
