/* checkpoint: takes a network's parameters from a file, and checks that the file was made for this
 * network.
 *
 * The first part of a name ("layer1" of "layer1.0.conv1.weight") says what a tensor belongs to. Of
 * the parts that a network has, a file must hold exactly the network's tensors: a file that holds
 * more is of a deeper network, and the features would be those of no network at all. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "frame/frame.h"
#include "network/parameters.h"

/* Takes the values of p from the file; num_batches_tracked may be missing and is 0 then. Parts that
 * the network does not have are left alone, and named on stderr unless this project wrote them for
 * another of its programs. Returns -1 with a message, and p is unchanged, if a tensor is missing,
 * has another shape, is one too many or holds what no network can (sound.h). `flags` are the flags
 * that make the network, for the message. */
int checkpoint_load(struct parameters *p, const char *path, const char *flags);
/* Does the same for a frame that was read from `path`. */
int checkpoint_take(struct parameters *p, const struct frame *f, const char *path,
                    const char *flags);

/* For a stage that is set to have no network: returns -1 with a message if the file has one, whose
 * tensors' names begin with `part`. */
int checkpoint_lacks(const char *part, const char *path, const char *flags);

#endif
