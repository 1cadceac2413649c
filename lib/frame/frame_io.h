/* frame_io: frames from and to file descriptors and files. */
#ifndef FRAME_IO_H
#define FRAME_IO_H

#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

/* Reads frames from a stream as its bytes arrive; descriptors may be blocking or not. */
struct frame_reader;

enum frame_reader_state {
    FRAME_READER_FAILED = -1, /* fail_message() says why */
    FRAME_READER_EOF = 0,     /* end of file on a frame boundary */
    FRAME_READER_FRAME = 1,   /* *out is a frame, the caller's */
    FRAME_READER_MORE = 2     /* bytes are missing: wait until the descriptor is readable */
};

/* Frames over `limit` bytes are refused; `where`, which is copied, names the stream in messages.
 * Returns NULL with a message if memory is out. */
struct frame_reader *frame_reader_new(size_t limit, const char *where);
void frame_reader_free(struct frame_reader *r);
/* Calls read(2) at most once. */
enum frame_reader_state frame_reader_step(struct frame_reader *r, int fd, struct frame **out);
/* Returns how many bytes it has read so far. */
int64_t frame_reader_taken(const struct frame_reader *r);

/* Writes all of `size` bytes to a blocking descriptor. -1 with a message, also when a signal asks
 * the program to stop. */
int write_all(int fd, const void *bytes, size_t size, const char *where);

/* Reads a checkpoint, a file of one frame, which is the caller's. NULL with a message. */
struct frame *frame_load(const char *path);

/* Writes a checkpoint atomically: into a temporary file beside path, then fsync, rename, and fsync
 * of the folder. If anything fails, returns -1 with a message: the old file stays whole, and the
 * temporary one is removed. */
int frame_save(struct frame *f, const char *path);

#endif
