/* frame_parts: the internals of frame.h, shared by the files that implement it: frame.c (tensors),
 * frame_meta.c (metadata), frame_header.c (JSON) and frame_memory.c (buffers). */
#ifndef FRAME_PARTS_H
#define FRAME_PARTS_H

#include "frame/frame.h"

enum { FRAME_ALIGN = 64 }; /* alignment in bytes of a frame's data in memory */

/* Returns n rounded up to a multiple of FRAME_ALIGN. */
static inline size_t frame_round_up(size_t n)
{
    return (n + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
}

/* Allocates the buffer without initializing it, and points the tensors, whose order is final, into
 * it. If f->shared is set, the buffer has room for the header alone, and the tensors are in the
 * shared memory. Returns -1 with a message. */
int frame_allocate(struct frame *f);
/* Makes room for a header of `need` bytes, which moves the data unless it is shared. Returns -1 with
 * a message. */
int frame_grow_room(struct frame *f, size_t need);
/* Gives a frame whose data is shared copies of its integer tensors. Returns -1 with a message. */
int frame_copy_integers(struct frame *f);
/* Writes these copies back into the shared memory. */
void frame_write_integers(struct frame *f);
/* Copies shared data into a buffer of the frame's own. Returns -1 with a message. */
int frame_come_home(struct frame *f);

#endif
