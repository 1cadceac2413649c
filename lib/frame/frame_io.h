/* frame_io: frames from and to file descriptors and files. */
#ifndef FRAME_IO_H
#define FRAME_IO_H

#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

/* Takes a stream apart as bytes arrive, on blocking and non-blocking descriptors alike. */
struct frame_reader;

enum frame_reader_state {
    FRAME_READER_FAILED = -1, /* fail_message() says why */
    FRAME_READER_EOF = 0,     /* end of file on a frame boundary */
    FRAME_READER_FRAME = 1,   /* *out is a frame, the caller's */
    FRAME_READER_MORE = 2     /* bytes are missing: wait until the descriptor is readable */
};

/* Frames over `limit` bytes are refused; `where` (copied) names the stream. NULL: out of memory. */
struct frame_reader *frame_reader_new(size_t limit, const char *where);
void frame_reader_free(struct frame_reader *r);
/* One read(2) at most. */
enum frame_reader_state frame_reader_step(struct frame_reader *r, int fd, struct frame **out);
/* Bytes that it has read so far. */
int64_t frame_reader_taken(const struct frame_reader *r);

/* Writes all of `size` bytes to a blocking descriptor. -1 with a message, also when a signal asks
 * the program to stop. */
int write_all(int fd, const void *bytes, size_t size, const char *where);

/* A checkpoint: the one frame in that file. NULL with a message. */
struct frame *frame_load(const char *path);

/* Atomically: a temporary file beside it, fsync, rename, fsync of the folder. The old file stays
 * whole if anything fails, and the temporary one is removed. */
int frame_save(struct frame *f, const char *path);

#endif
