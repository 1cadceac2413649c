/* weights_out: the tensors of networks, as files hold them. */
#ifndef WEIGHTS_OUT_H
#define WEIGHTS_OUT_H

#include "frame/frame.h"
#include "network/plan.h"

/* Returns an array of the tensors of n plans, parameters and buffers, and sets *count. Entries of
 * plans may be NULL. Names and values stay the plans'; the caller frees the array. Returns NULL with
 * a message if memory is out. */
struct tensor *weights_out_list(struct plan *const *plans, int n, int *count);

/* Writes tensors and the metadata of `metas` as safetensors, to a file that appears when it is
 * complete. Returns -1 with a message. */
int weights_out_save(const struct tensor *list, int count, const struct frame *metas,
                     const char *path);

#endif
