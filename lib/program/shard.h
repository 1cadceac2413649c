/* shard: spreads parameters over K optimizers by their names, so that these answer as one.
 *
 * The owner of a tensor is CRC-32 (zlib's) of its name, modulo K. It depends on nothing else, so a
 * run that goes on with as many optimizers in the same order finds the states where they are.
 * Bytes of the fullest optimizer over the mean, for the parameters and buffers of encode and
 * project:
 *
 *                 K = 2   K = 3   K = 4   K = 8
 *   ResNet-18      1.08    1.17    1.18    2.17
 *   ResNet-34      1.04    1.26    1.31    2.41
 *   ResNet-50      1.10    1.32    1.33    2.16
 *   ResNet-101     1.00    1.21    1.27    1.80
 *   ResNet-152     1.01    1.11    1.20    1.35
 *
 * With 8 no rule for whole tensors is better than 1.64 for ResNet-18: a fifth of it is one tensor.
 *
 * Errors: -1 or NULL with a message that names the link. */
#ifndef SHARD_H
#define SHARD_H

#include "frame/frame.h"

struct shard;

/* Returns the number, from 0, of the one of k optimizers that owns the tensor of that name. */
int shard_owner(const char *name, int k);

/* Returns how many links a list has (endpoint_take()), or -1 with a message if one of them is no
 * link or if there are too many. */
int shard_count(const char *list);

/* Opens the links of such a list. */
struct shard *shard_open(const char *list);

/* Sends each tensor of a request (consumed) to its owner. *reply, the caller's, holds their
 * answers: the request's tensors in the request's order, and the metadata of the first optimizer's
 * answer. The optimizers work at the same time. A tensor that does not come back, that was not
 * asked for, or that comes back in another shape is an error. Special requests:
 *
 *   kind = join       the optimizers must be at the same step
 *   join, no tensors  goes to all; the answer is everything they have
 *   no tensors        is the answer itself
 *   world > 1         of a rank, whose links lead to a reduce each: all get a part, if an empty
 *                     one, and the answer is all that comes, as other ranks may have sent more */
int shard_ask(struct shard *s, struct frame *request, struct frame **reply);

/* Ends all links, waits until each peer has ended, and frees s. -1 if one of them failed. */
int shard_end(struct shard *s);
/* After a failure: closes without an end frame. Keeps fail_message(). NULL is fine. */
void shard_abandon(struct shard *s);

#endif
