/* gradient_buckets: the memory of gradients and parameters when stage and optimizer share memory.
 *
 * A training stage sends the same parameters' gradients in the same buckets in each step. So after
 * the first step the frame of each bucket is made before the backward pass, which writes the
 * gradients right into it; and the new values stay where the optimizer has written them. Neither is
 * copied. Where the link has no shared memory, where values are rounded (BF16), and for buffers,
 * the parameters keep memory of their own.
 *
 * Functions return 0 or a pointer, or -1 or NULL with a message. */
#ifndef GRADIENT_BUCKETS_H
#define GRADIENT_BUCKETS_H

#include "link/link.h"
#include "network/parameters.h"

struct gradient_buckets;

/* Makes an empty list. link and parameters must outlive it. From then on the memory of values and
 * gradients in `parameters` may change between two steps. */
struct gradient_buckets *gradient_buckets_new(struct link *link, struct parameters *parameters);

/* Gives the parameters memory of their own again, with their values, and frees the list; b may be
 * NULL. If memory is out, they have no values any more. */
void gradient_buckets_free(struct gradient_buckets *b);

/* Begins a step: makes the frames of the buckets of the step before. */
int gradient_buckets_begin(struct gradient_buckets *b);

/* Returns a new frame for the step's next bucket. It has the gradients, or of buffers the values, of
 * n parameters; `specs` (n_specs) are the tensors that this rank sends. A tensor whose data is the
 * parameter's gradient has been filled, the caller fills the others. */
struct frame *gradient_buckets_next(struct gradient_buckets *b, const int *members, int n,
                                    const struct tensor_spec *specs, int n_specs);

/* Takes the new values from the reply to the step's next bucket, and the reply itself, also on
 * failure: the caller may read it until the next call. A reply that does not fit changes nothing. */
int gradient_buckets_take(struct gradient_buckets *b, struct frame *reply);

#endif
