/* link: how frames cross from one program to another. docs/links.md is the page for users.
 *
 * Three roles:
 *   source, sink   one way: frames out of an endpoint, frames into one
 *   link           a client's training edge: requests out, replies back, in order
 *   server         the other end of links: requests in, replies out
 *
 * Endpoints: "-" is stdin or stdout; PATH a file or FIFO; "exec:CMD" a coprocess run by /bin/sh;
 * "tcp://host:port" and "ipc://path" are ZeroMQ. A client connects, a server listens; of a one-way
 * stream the sink connects (PUSH) and the source binds (PULL).
 *
 * Every wait is bounded or ends when the peer dies: a peer that does not connect or answer within
 * the timeout, that closes its pipe, or whose ZeroMQ heartbeats stop, is an error whose message
 * names it. SIGTERM and SIGINT end every wait with an error as well. Errors: 0 or -1 with
 * fail_message(), unless a declaration says more. A frame with `error` counts as a failure: its
 * text becomes the message. */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"
#include "options.h"

struct link_config {
    double timeout; /* seconds */
    size_t max_frame;
    bool crc;                     /* write crc32 */
    bool insecure;                /* allow tcp beyond loopback without keys */
    const char *curve_key;        /* file with this program's secret key, or "" */
    const char *curve_server_key; /* file with the server's public key, or "" */
};

/* The settings that the flags of link_option_specs fill: --timeout, --max-frame, --crc,
 * --insecure, --curve-key, --curve-server-key. Hand them to options_parse() as `more`. */
extern struct link_config link_config;
extern const struct option_spec link_option_specs[];
extern const int n_link_option_specs;

/* Call first in main: SIGPIPE is ignored (writes fail instead), SIGTERM and SIGINT interrupt waits.
 * Then stop_requested() is the signal's number, else 0. */
void link_setup_signals(void);
int stop_requested(void);

/* ---- one way ---- */
struct source;
struct sink;

/* Opens "-", a PATH, exec:CMD (its stdout), or binds tcp:// or ipc://. NULL with a message. */
struct source *source_open(const char *endpoint, const struct link_config *config);
/* The next frame: 1 and *out (the caller's), 0 at the end of the stream, -1 on failure, a stream
 * that broke off without an end frame included. End frames are consumed here. */
int source_next(struct source *s, struct frame **out);
void source_close(struct source *s);
const char *source_name(const struct source *s); /* for messages: "stdin", "features.st" */

/* Opens "-", a PATH (created or truncated), exec:CMD (its stdin), or connects tcp:// or ipc://. */
struct sink *sink_open(const char *endpoint, const struct link_config *config);
int sink_write(struct sink *s, struct frame *f); /* consumes f, also on failure */
/* Writes the end frame, flushes, closes; checks that it all arrived. Frees s in any case. */
int sink_end(struct sink *s);
/* Closes without an end frame, so that the failure travels. */
void sink_abandon(struct sink *s);

/* ---- client ---- */
struct link;

/* Starts the coprocess or connects; a server that is not there yet is waited for by the first
 * link_receive() up to the timeout. */
struct link *link_open(const char *endpoint, const struct link_config *config);
/* Queues a request (consumes f) and moves bytes both ways as far as it can without waiting for
 * the reply; several requests may be in flight. */
int link_send(struct link *l, struct frame *f);
/* Waits for the next reply, in the order of the requests. */
int link_receive(struct link *l, struct frame **out);
/* link_send, then link_receive. */
int link_request(struct link *l, struct frame *f, struct frame **out);
/* Sends the end frame. Send it on all links before link_close()ing any. */
int link_end(struct link *l);
/* After link_end: waits (bounded) until a coprocess has exited with 0, or the end frame has left
 * by ZeroMQ. Without: the peer sees a broken link; a coprocess that stays is terminated. Frees l
 * in any case; -1 if the peer failed. NULL is fine. */
int link_close(struct link *l);
const char *link_name(const struct link *l);

/* ---- server ---- */
struct server;

/* The flags of a program that answers requests: `in` and `out` are one-way endpoints (usually
 * "-"), unless `listen` is not "": then requests and replies go over that ZeroMQ address and the
 * other two are unused. */
struct server *server_open(const char *in, const char *out, const char *listen,
                           const struct link_config *config);
/* The next request: 1, *out (the caller's) and *client (numbers from 0, stable while the server
 * lives); 0 when every client has sent its end frame; -1 on failure, a client that vanished
 * without an end frame included. A frame with end = 1 is handed out only if `ends` is not NULL:
 * then *ends tells that *client is done and *out is NULL. */
int server_next(struct server *s, struct frame **out, int *client, bool *ends);
/* Answers client's oldest unanswered request (consumes f). The reply gets the request's `seq`. */
int server_reply(struct server *s, int client, struct frame *f);
/* After the last request: writes the end frame (stdout) and closes. Frees s in any case. */
int server_end(struct server *s);
/* After a failure: tells every client that spoke why, by an error frame with fail_message(), and
 * closes without an end frame. Keeps fail_message(). NULL is fine. */
void server_abandon(struct server *s);

#endif
