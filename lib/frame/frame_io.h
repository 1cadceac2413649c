/* frame_io: reads frames from, and writes them to, file descriptors and files. */
#ifndef FRAME_IO_H
#define FRAME_IO_H

#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

/* Reads frames from a stream as its bytes arrive. The descriptor may be blocking or not. */
struct frame_reader;

enum frame_reader_state {
    FRAME_READER_FAILED = -1, /* fail_message() says why */
    FRAME_READER_EOF = 0,     /* end of file on a frame boundary */
    FRAME_READER_FRAME = 1,   /* *out is a frame, which the caller frees */
    FRAME_READER_MORE = 2     /* incomplete: wait until the descriptor is readable */
};

/* Makes a reader that refuses frames over `limit` bytes. `where`, which is copied, names the stream
 * in messages. Returns NULL with a message if memory is out. */
struct frame_reader *frame_reader_new(size_t limit, const char *where);
void frame_reader_free(struct frame_reader *r);
/* Lets the reader take frames whose data lies in shared memory; without it they are refused. The
 * finder is copied. */
void frame_reader_share(struct frame_reader *r, const struct frame_finder *finder);
/* Calls read(2) at most once. */
enum frame_reader_state frame_reader_step(struct frame_reader *r, int fd, struct frame **out);
/* Returns how many bytes of frames the reader has read so far, with the data that it found in
 * shared memory. */
int64_t frame_reader_taken(const struct frame_reader *r);
/* Returns how many of them were in shared memory. */
int64_t frame_reader_found(const struct frame_reader *r);

/* Writes all `size` bytes to a blocking descriptor. Returns -1 with a message, also when a signal
 * asks the program to stop. */
int write_all(int fd, const void *bytes, size_t size, const char *where);

/* Reads a checkpoint, which is a file of one frame. The caller frees the frame. Returns NULL with a
 * message. */
struct frame *frame_load(const char *path);

/* Writes a checkpoint atomically: writes a temporary file beside path, fsyncs it, renames it, and
 * fsyncs the folder. If anything fails, removes the temporary file, leaves the old file unchanged,
 * and returns -1 with a message. */
int frame_save(struct frame *f, const char *path);

#endif
