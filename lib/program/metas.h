/* metas: copies part of a frame's metadata. */
#ifndef METAS_H
#define METAS_H

#include "frame/frame.h"

/* Copies to `to` those of the keys that `from` has. The list of keys ends with NULL. */
void metas_copy(struct frame *to, const struct frame *from, const char *const *keys);

#endif
