/* optimizer_client: how a stage with parameters speaks to its optimizer, which owns them.
 *
 * It joins once with its initial parameters. Then, in each step, gradients go out in buckets while
 * the backward pass is still running, and new values come back. docs/stages.md shows the frames. */
#ifndef OPTIMIZER_CLIENT_H
#define OPTIMIZER_CLIENT_H

#include "link/link.h"
#include "network/parameters.h"

struct optimizer_client;

/* Both must outlive the client. wire: how gradients of weights travel, and their new values: as
 * F32, or as BF16, half as many bytes, rounded on each way; what has one dimension stays F32. NULL:
 * out of memory. */
struct optimizer_client *optimizer_client_new(struct link *link, struct parameters *parameters,
                                              enum dtype wire);
void optimizer_client_free(struct optimizer_client *c);

/* Sends the parameters (only rank 0; the other ranks send none), and which blocks are frozen; takes
 * over those that are in force, and sets *next_step. `request` is the first frame of the stream,
 * whose rank and world travel along. */
int optimizer_client_join(struct optimizer_client *c, const struct frame *request,
                          int64_t *next_step);

/* Begins a step, after its forward pass; buffers that are not frozen are sent with the first
 * bucket. step, steps, steps_per_epoch, batch, epoch, rank and world are taken from `request`. All
 * ranks cut the same buckets; of buffers, and of gradients that are shared, only rank 0's are sent.
 */
int optimizer_client_begin(struct optimizer_client *c, const struct frame *request);
/* The gradient of parameter number i is complete and is sent, perhaps with some that follow. */
int optimizer_client_push(struct optimizer_client *c, int i);
/* Sends what is left; waits for the answers and takes over the new values.
 * *lr is the learning rate that was used, as the optimizer printed it ("" if it did not say);
 * valid until the next call. */
int optimizer_client_finish(struct optimizer_client *c, const char **lr);

#endif
