/* weights_out: the tensors of networks, as files hold them. */
#ifndef WEIGHTS_OUT_H
#define WEIGHTS_OUT_H

#include "frame/frame.h"
#include "network/plan.h"

/* Makes a list of the parameters and buffers of n plans, of which some may be NULL. Names and values
 * stay the plans'; the caller frees all->list and nothing else of it. Returns -1 with a message if
 * memory is out. */
int weights_out_join(struct plan *const *plans, int n, struct parameters *all);

/* Returns the p->n tensors of p, whose names and values stay those of p, or NULL with a message if
 * memory is out. The caller frees the array. */
struct tensor *weights_out_list(const struct parameters *p);

/* Writes tensors and the metadata of `metas` as safetensors, to a file that appears when it is
 * complete. Returns -1 with a message. */
int weights_out_save(const struct tensor *list, int count, const struct frame *metas,
                     const char *path);

#endif
