/* derive: tells from the names and shapes of tensors which network they are of.
 *
 * What cannot be told is left at its default: normalize=none and size=0. A first convolution of 3
 * is taken for the CIFAR stem, with stride 1 and without pooling, which shapes do not show. */
#ifndef DERIVE_H
#define DERIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "network/encoder.h"
#include "network/projector.h"

/* Return true if f holds such a network under this project's names, and describe it. They look at
 * the tensors that tell the sizes; whether all others are there and fit, checkpoint.h says. */
bool derive_encoder(const struct frame *f, struct encoder *e);
bool derive_projector(const struct frame *f, struct projector *p);

/* Returns the number of classes of `fc`, or 0 if there is none. */
int64_t derive_classes(const struct frame *f);

#endif
