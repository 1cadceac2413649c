/* stream: frames that flow one way, from a sink that writes them to a source that reads them.
 * endpoint.h says what endpoints mean. In a ZeroMQ stream the sink connects (PUSH) and the source
 * binds (PULL).
 *
 * A source may be a list of K endpoints (endpoint_take()). Then frame i of the stream is the next
 * one of endpoint i mod K, so what K producers made in turn is in order again. Nothing is read
 * ahead of its turn: an early producer waits, and a slow one slows the others down. The stream ends
 * where the endpoint whose turn it is ends; all others must have ended too. */
#ifndef STREAM_H
#define STREAM_H

#include "frame/frame.h"
#include "link/endpoint.h"

struct source;
struct sink;

/* Opens "-", a PATH, exec:CMD (its stdout), or binds tcp:// or ipc://; or does so for each of a
 * list. NULL with a message. */
struct source *source_open(const char *endpoint, const struct link_config *config);
/* Opens the file of that name, even if the name looks like another endpoint; "-" is stdin. For
 * names that say where data is, not how it comes. */
struct source *source_open_file(const char *path, const struct link_config *config);
enum source_result {
    SOURCE_FAILED = -1, /* fail_message() says why */
    SOURCE_END = 0,     /* the stream has ended */
    SOURCE_FRAME = 1    /* *out is a frame, the caller's */
};

/* Waits for the next frame. Fails also if the stream breaks off without an end frame, or if one of
 * a list ends before another does. Over tcp:// and ipc:// the first frame has to come within the
 * timeout of its turn. End frames are consumed here. */
enum source_result source_next(struct source *s, struct frame **out);
/* How long to wait, after an end frame, for a further stream or the end of the file (at first the
 * timeout): a server answers sooner. */
void source_set_patience(struct source *s, double seconds);
void source_close(struct source *s);
/* The name for messages: "stdin", "features.st"; for a list, that of the endpoint read last. */
const char *source_name(const struct source *s);

/* Opens "-", a PATH (created or truncated), exec:CMD (its stdin), or connects tcp:// or ipc://. */
struct sink *sink_open(const char *endpoint, const struct link_config *config);
/* Writes a frame; consumes it, also on failure. */
int sink_write(struct sink *s, struct frame *f);
/* Writes the end frame, flushes, closes, and checks that all of it arrived. Frees s in any case. */
int sink_end(struct sink *s);
/* Closes without an end frame, so that the reader fails too. Frees s; keeps fail_message(). NULL is
 * fine. */
void sink_abandon(struct sink *s);

#endif
