/* checkpoint: what a file holds for a network, and whether it was made for this one.
 *
 * The first part of a name ("layer1" of "layer1.0.conv1.weight") says what a tensor belongs to. Of
 * the parts that a network has, a file must hold exactly the network's tensors; with others left
 * over it is of a deeper network, and features would be those of no network at all. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "network/parameters.h"

/* Takes the values of p from the file; num_batches_tracked may be missing and is 0 then. Parts that
 * the network has not are left alone, and told about on stderr unless this project wrote them for
 * another of its programs. -1 with a message, and p is as it was: a tensor is missing, is of
 * another shape, is one too many or holds what no network does (sound.h). `flags` are those that
 * make the network, for the message. */
int checkpoint_load(struct parameters *p, const char *path, const char *flags);
/* The same for a frame that was read from there. */
int checkpoint_take(struct parameters *p, const struct frame *f, const char *path,
                    const char *flags);

/* For a stage that is set to have no network: -1 with a message if the file has one, whose names
 * begin with `part`. */
int checkpoint_lacks(const char *part, const char *path, const char *flags);

#endif
