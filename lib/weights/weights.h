/* weights: reads the weights of a network from a file of this project or of another program. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include <stdbool.h>

#include "frame/frame.h"

/* Reads a file and returns a new frame with the tensors of its network under this project's names,
 * or NULL with a message. The metadata are those of the file, with:
 *
 *   encoder, projector, classifier   what the network is (network/encoder.h, network/projector.h,
 *                                    `classes=N`). If the file does not say it, it is derived from
 *                                    names and shapes (derive.h), and missing where it can't be.
 *   derived                          a list of the keys that were derived: "encoder,projector" */
struct frame *weights_load(const char *path);

/* Returns true if the description under this key was derived, and is not the file's own. */
bool weights_derived(const struct frame *f, const char *key);

#endif
