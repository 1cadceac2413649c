/* shard: distributes parameters over K optimizers by their names, so that these answer like one.
 *
 * The owner of a tensor is the CRC-32 (zlib's) of its name, modulo K. It depends on nothing else,
 * so a run that resumes with the same number of optimizers in the same order finds each tensor in
 * the same state as before. For the parameters and buffers of encode and project, the bytes
 * of the fullest optimizer, divided by the mean over the optimizers, are:
 *
 *                 K = 2   K = 3   K = 4   K = 8
 *   ResNet-18      1.08    1.17    1.18    2.17
 *   ResNet-34      1.04    1.26    1.31    2.41
 *   ResNet-50      1.10    1.32    1.33    2.16
 *   ResNet-101     1.00    1.21    1.27    1.80
 *   ResNet-152     1.01    1.11    1.20    1.35
 *
 * With 8 optimizers, no rule for whole tensors is better than 1.64 for ResNet-18, since one tensor
 * is a fifth of it.
 *
 * Functions return -1 or NULL with a message that names the link. */
#ifndef SHARD_H
#define SHARD_H

#include "frame/frame.h"

/* The links to the optimizers of a shard. */
struct shard;

/* Returns the number (from 0) of the optimizer, of k, that owns the tensor of that name, which may
 * be that of a slot or slow copy: the owner of SLOT/NAME is that of NAME. */
int shard_owner(const char *name, int k);

/* Returns the number of links in a list (endpoint_take()), or -1 with a message if one of them is
 * not a link or if there are too many. */
int shard_count(const char *list);

/* Opens the links of such a list. */
struct shard *shard_open(const char *list);

/* Sends each tensor of a request (consumed) to its owner. *reply, which the caller frees,
 * holds their answers: the request's tensors in the request's order, the metadata of the first
 * optimizer's answer, and what each tells about its gradients (gradient_squares.h). The optimizers
 * work at the same time. It is an error if a tensor does not come back, was not asked for, or comes
 * back in another shape. Some requests are special:
 *
 *   kind = join       The optimizers must be at the same step.
 *   join, no tensors  It goes to all; the answer is everything they have.
 *   join with `ema`   The answer is all that comes back, which includes the slow copies (ema.h).
 *   no tensors        It is itself the answer.
 *   world > 1         It comes from one of several ranks, and each link leads to a reduce. All
 *                     links get a part, which may be empty, and the answer is everything that
 *                     comes back, since other ranks may have sent more tensors. */
int shard_ask(struct shard *s, struct frame *request, struct frame **reply);

/* Ends all links, waits until each peer has ended, and frees s. Returns -1 with a message if a peer
 * failed. */
int shard_end(struct shard *s);
/* Closes all links without an end frame, after a failure, and frees s. Leaves fail_message() as it
 * was. s may be NULL. */
void shard_abandon(struct shard *s);

#endif
