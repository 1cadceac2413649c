/* stream: frames that flow one way, out of a source and into a sink. An endpoint's meaning is in
 * endpoint.h; of a ZeroMQ stream the sink connects (PUSH) and the source binds (PULL). */
#ifndef STREAM_H
#define STREAM_H

#include "endpoint.h"
#include "frame.h"

struct source;
struct sink;

/* Opens "-", a PATH, exec:CMD (its stdout), or binds tcp:// or ipc://. NULL with a message. */
struct source *source_open(const char *endpoint, const struct link_config *config);
/* The next frame: 1 and *out (the caller's), 0 at the end of the stream, -1 on failure, a stream
 * that broke off without an end frame included. End frames are consumed here. */
int source_next(struct source *s, struct frame **out);
/* How long to wait, after an end frame, for a further stream or the end of the file (at first the
 * timeout): a server answers sooner. */
void source_set_patience(struct source *s, double seconds);
void source_close(struct source *s);
const char *source_name(const struct source *s); /* for messages: "stdin", "features.st" */

/* Opens "-", a PATH (created or truncated), exec:CMD (its stdin), or connects tcp:// or ipc://. */
struct sink *sink_open(const char *endpoint, const struct link_config *config);
int sink_write(struct sink *s, struct frame *f); /* consumes f, also on failure */
/* Writes the end frame, flushes, closes; checks that it all arrived. Frees s in any case. */
int sink_end(struct sink *s);
/* Closes without an end frame, so that the failure travels. Keeps fail_message(). NULL is fine. */
void sink_abandon(struct sink *s);

#endif
