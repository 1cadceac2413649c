/* server: the other end of links: requests in, replies out. */
#ifndef SERVER_H
#define SERVER_H

#include "frame/frame.h"
#include "link/endpoint.h"

struct server;

/* Requests come from `in` and replies go to `out`, one-way endpoints of one client; or both go over
 * the ZeroMQ address `listen`, unless it is "". */
struct server_config {
    const char *in, *out, *listen;
    const struct link_config *link;
};

/* Copies what it needs of the configuration. NULL with a message. Several servers may be open at
 * once. */
struct server *server_open(const struct server_config *config);
/* The next request: 1, *out (the caller's) and *client (numbers from 0, stable while the server
 * lives); 0 when every client has sent its end frame; -1 on failure, a client that vanished
 * without an end frame included. Over a socket, peers that were never clients cannot fail it: what
 * sends no frames, or frames of another run (--run), is told about on stderr and else ignored.
 * Without an ID or keys, a client that sends an end frame alone ends nothing: after --timeout there
 * is an end, if nobody else comes. A frame with end = 1 is handed out only if `ends` is not NULL:
 * then *ends tells that *client is done and *out is NULL. */
int server_next(struct server *s, struct frame **out, int *client, bool *ends);
/* From now on that many clients are waited for: none may stay away longer than --timeout after the
 * one before it, and there is no end until all have come and ended. -1 with a message if there can
 * be only one. */
int server_expect(struct server *s, int clients);
/* Whether several clients can come, over --listen. */
bool server_listens(const struct server *s);
/* From now on it is the caller who decides what becomes of a client that joined, was answered
 * nothing but that, and then went away, unless it must be of this run (an ID or keys):
 * server_next_within() gives 3 once, with its number in *client and a message, and goes on as if it
 * had never been. */
void server_allow_leaving(struct server *s);
/* server_next(), which gives 2 when nothing came within `seconds` (negative: as long as it takes).
 */
int server_next_within(struct server *s, double seconds, struct frame **out, int *client,
                       bool *ends);
/* Answers client's oldest unanswered request (consumes f). The reply gets the request's `seq`. */
int server_reply(struct server *s, int client, struct frame *f);
/* The latest request of a client cannot be one of this run's: tells the client, by an error frame,
 * and the user, on stderr, what fail_message() says, and goes on without the client: 0. It is as if
 * it had never been one. With `stays` only this request is refused. The request stays the caller's.
 * -1, and the message stays: it has been answered before (but that it may join), or is over stdin,
 * or there is no other client to go on for and whoever speaks is of this run (an ID or keys). */
int server_refuse(struct server *s, int client, bool stays);
/* After the last request: writes the end frame (stdout) and closes. Frees s in any case. */
int server_end(struct server *s);
/* After a failure: tells every client that spoke why, by an error frame with fail_message(), and
 * closes without an end frame. Keeps fail_message(). NULL is fine. */
void server_abandon(struct server *s);

#endif
