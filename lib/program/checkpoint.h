/* checkpoint: takes a network's parameters from a file, and checks that the file was made for this
 * network.
 *
 * The first part of a tensor's name ("layer1" in "layer1.0.conv1.weight") names the part of the
 * network that it belongs to. For each part that the network has, the file must hold exactly the
 * network's tensors. A file that holds more was made by a deeper network, and the features would be
 * those of neither network. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "frame/frame.h"
#include "network/parameters.h"

/* Takes the values of p from a frame that was read from `path`; num_batches_tracked may be missing and is then 0. Ignores
 * parts that the network does not have, and names them on stderr unless one of this project's
 * optimizers wrote the file. Returns -1 with a message, and leaves p unchanged, if a tensor is
 * missing, has another shape, is superfluous or holds values that no network can have (sound.h).
 * `flags` are the flags that set the network's shape, for the message. */
int checkpoint_take(struct parameters *p, const struct frame *f, const char *path,
                    const char *flags);

/* Checks that a frame that was read from `path` has no network whose tensors' names begin with
 * `part`, for a stage that is configured without a network. Returns -1 with a message if it has
 * one. */
int checkpoint_lacks(const char *part, const struct frame *f, const char *path, const char *flags);

#endif
