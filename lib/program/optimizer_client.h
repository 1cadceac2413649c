/* optimizer_client: the client side of a stage with parameters and the optimizer that owns them.
 *
 * The stage joins once with its initial parameters. Then, in each step, it sends gradients in
 * buckets while the backward pass is still running, and receives the new values. docs/stages.md
 * shows the frames. Functions return 0, or -1 with a message. */
#ifndef OPTIMIZER_CLIENT_H
#define OPTIMIZER_CLIENT_H

#include "link/link.h"
#include "network/parameters.h"

/* A stage's connection to its optimizer. */
struct optimizer_client;

/* Makes a client. `link` and `parameters` must outlive it. `wire` is the dtype in which gradients
 * of weights and their new values are sent: F32, or BF16, which needs half as many bytes and rounds
 * in each direction. Tensors of one dimension are always sent as F32. Returns NULL with a message
 * if memory is out. */
struct optimizer_client *optimizer_client_new(struct link *link, struct parameters *parameters,
                                              enum dtype wire);
void optimizer_client_free(struct optimizer_client *c);

/* Makes the client keep slow copies of the parameters (optimizer/slow_copy.h) in `slow`, which has
 * the same tensors in the same order and must outlive it. Called before the join, which asks for
 * them: they start as the optimizer's. Each new value of a parameter then moves its copy, as it
 * does in the optimizer. Buffers of `slow` are left alone. */
void optimizer_client_keep_slow(struct optimizer_client *c, struct parameters *slow,
                                double momentum);

/* Joins: sends the names of the frozen blocks, the momentum of slow copies if there are any and, on
 * rank 0 only, the parameters. Receives the
 * current values and sets *next_step. `request` is the first frame of the stream; its rank, world,
 * grains, batch, images, steps and steps_per_epoch are sent along, and all metadata of
 * `description`, which says what the stage is (description.h). */
int optimizer_client_join(struct optimizer_client *c, const struct frame *request,
                          const struct frame *description, int64_t *next_step);

/* Begins a step, after its forward pass. Sends buffers that are not frozen with the first bucket.
 * The metadata step, steps, steps_per_epoch, batch, images, grains, epoch, rank and world come from
 * `request`. All ranks divide the gradients into the same buckets. Rank 0 alone sends buffers, and
 * gradients that are the same on all ranks. */
int optimizer_client_begin(struct optimizer_client *c, const struct frame *request);
/* Sends the gradient of parameter number i, which must be complete. It may wait to be sent in one
 * bucket with later gradients. */
int optimizer_client_push(struct optimizer_client *c, int i);
/* Sends what is left, waits for the answers and stores the new values. With slow copies it is an
 * error if a parameter has no new value, or two. *lr becomes the learning rate that was used, as
 * the optimizer printed it, or "" if the optimizer did not send it. The text is valid until the
 * next call. */
int optimizer_client_finish(struct optimizer_client *c, const char **lr);
/* Returns the l2 norm of the step's gradient of all workers together, after
 * optimizer_client_finish(). It is that of the gradients as they were sent (`wire`). Returns NAN if
 * the optimizer did not tell it (gradient_squares.h). */
double optimizer_client_grad_norm(const struct optimizer_client *c);

#endif
