/* weights: reads the weights of a network from a file of this project or of another program.
 *
 * Files may be safetensors, with this project's names, torchvision's or those of other programs
 * (naming.h), or what torch.save() wrote (python/torch_file.h). Only the tensors of the encoder, the
 * projection head and the classifier are read, so memory is about that of these. */
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include <stdbool.h>

#include "frame/frame.h"

/* Reads a file and returns a new frame with the tensors of its network under this project's names,
 * floats as F32 and integers as I64, or NULL with a message. If the file holds several encoders of
 * which one is chosen, prints a line on stderr. The metadata are those of the file, with:
 *
 *   encoder, projector, classifier   what the network is (network/encoder.h, network/projector.h,
 *                                    `classes=N`). If the file does not say it, it is derived from
 *                                    names and shapes (derive.h), and missing where it can't be.
 *   derived                          a list of the keys that were derived: "encoder,projector"
 *   unread                           a list of what else is in the file, for a message: "optimizer,
 *                                    module.encoder_k"; missing if nothing is */
struct frame *weights_load(const char *path);

/* Returns true if the description under this key was derived, and is not the file's own. */
bool weights_derived(const struct frame *f, const char *key);

#endif
