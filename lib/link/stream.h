/* stream: frames that flow one way, from a sink that writes them to a source that reads them.
 * endpoint.h says what endpoints mean. In a ZeroMQ stream the sink connects (PUSH) and the source
 * binds (PULL).
 *
 * A source may be a list of K endpoints (endpoint_take()). Then frame i of the stream is the next
 * one of endpoint i mod K, so frames that K producers made in turn are read in order. No
 * frame is read before its turn: an early producer waits, and a slow one slows the others down. The
 * stream ends when the endpoint whose turn it is ends; all others must have ended too. */
#ifndef STREAM_H
#define STREAM_H

#include "frame/frame.h"
#include "link/endpoint.h"

/* The reading end and the writing end of a stream. */
struct source;
struct sink;

/* Opens "-", a PATH, exec:CMD (its stdout), or binds tcp:// or ipc://; or does so for each endpoint
 * of a list. Returns NULL with a message. */
struct source *source_open(const char *endpoint, const struct link_config *config);
/* Opens the file of that name, even if the name looks like another endpoint; "-" is stdin. It
 * serves for options that name a file and not an endpoint. */
struct source *source_open_file(const char *path, const struct link_config *config);
enum source_result {
    SOURCE_FAILED = -1, /* fail_message() says why */
    SOURCE_END = 0,     /* the stream has ended */
    SOURCE_FRAME = 1    /* *out is a frame, which the caller frees */
};

/* Waits for the next frame. Also fails if the stream breaks off without an end frame, or if one
 * endpoint of a list ends before another. Over tcp:// and ipc:// the first frame must come within
 * the timeout, counted from its turn. Consumes end frames. */
enum source_result source_next(struct source *s, struct frame **out);
/* Sets how long to wait, after an end frame, for another stream or the end of the file. The initial
 * value is the timeout; a server sets less, since it answers sooner. */
void source_set_patience(struct source *s, double seconds);
/* Lets the source find data in shared memory (frame_reader_share()). It must be a descriptor. */
void source_share(struct source *s, const struct frame_finder *finder);
/* Closes the source and frees it; s may be NULL. */
void source_close(struct source *s);
/* Returns the name for messages: "stdin" or "features.st", for example. For a list, it is the name
 * of the endpoint read last. */
const char *source_name(const struct source *s);

/* Opens "-", a PATH (created or truncated), exec:CMD (its stdin), or connects to tcp:// or ipc://.
 * Returns NULL with a message. */
struct sink *sink_open(const char *endpoint, const struct link_config *config);
/* Writes a frame, which it consumes also on failure. Returns -1 with a message. */
int sink_write(struct sink *s, struct frame *f);
/* Does the same with the header alone of a frame whose data lies in shared memory that the reader
 * has too. The sink must be a descriptor. */
int sink_write_header(struct sink *s, struct frame *f);
/* Writes the end frame, flushes, closes, and checks that everything arrived. Returns -1 with a
 * message. Frees s in any case. */
int sink_end(struct sink *s);
/* Closes without an end frame, so that the reader fails too. Frees s and leaves fail_message() as
 * it was. s may be NULL. */
void sink_abandon(struct sink *s);

#endif
