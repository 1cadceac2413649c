/* gradient_squares: how an optimizer tells its clients the norms of gradients.
 *
 * An optimizer has each gradient of the whole batch, which a worker has only a part of. It answers
 * a gradient of NAME with the sum of its squares as metadata `squares/NAME`, in float64 and with 17
 * digits, so that it reads back exactly. A client adds these over its parameters in their order.
 * The norm therefore has the same bits for any number of workers (to the grains' limits) and of
 * optimizers, and any division into frames. An optimizer need not send them. */
#ifndef GRADIENT_SQUARES_H
#define GRADIENT_SQUARES_H

#include <stdbool.h>

#include "frame/frame.h"
#include "network/parameters.h"

/* Writes the sum of squares of the gradient of that name, which is in an optimizer's store, into f.
 * Does nothing if f has nearly as many metadata keys as a frame may have. */
void gradient_squares_set(struct frame *f, const char *name, double squares);

/* Returns true if the metadata key is that of a sum of squares. */
bool gradient_squares_is_key(const char *key);

/* Writes into f, for each of its tensors in their order, the sum of squares that one of the n
 * frames has, if any. */
void gradient_squares_merge(struct frame *f, struct frame *const *frames, int n);

/* Writes the sums that f has into squares (p->n), each at the index of its parameter; those of
 * other names are ignored. Returns -1 with a message if one is not a finite number of at least 0.
 * */
int gradient_squares_take(double *squares, const struct parameters *p, const struct frame *f);

/* Returns the l2 norm of the gradient of all parameters that are neither buffers nor frozen, from
 * their sums of squares (p->n). Returns NAN if one of the sums is NAN, which stands for unknown, or
 * if there are no such parameters. */
double gradient_squares_norm(const double *squares, const struct parameters *p);

#endif
