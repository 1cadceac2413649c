/* metas: copies some of a frame's metadata. */
#ifndef METAS_H
#define METAS_H

#include "frame/frame.h"

/* Copies to `to` those of the keys, a list that NULL ends, that `from` has. */
void metas_copy(struct frame *to, const struct frame *from, const char *const *keys);

#endif
