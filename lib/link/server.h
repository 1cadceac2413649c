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
enum server_result {
    SERVER_FAILED = -1,    /* fail_message() says why */
    SERVER_ENDED = 0,      /* every client has sent its end frame */
    SERVER_REQUEST = 1,    /* *out is a request, the caller's, of *client */
    SERVER_NOTHING = 2,    /* nothing came in time (server_next_within) */
    SERVER_CLIENT_LEFT = 3 /* *client went away (server_allow_leaving); the message says so */
};

/* Waits for the next request. Clients have numbers from 0, which stay the same while the server
 * lives. A client that vanishes without an end frame is a failure. Over a socket, peers that never
 * were clients cannot make it fail: one that sends no frames, or frames of another run (--run), is
 * refused with a warning. Without an ID or keys, a client that sends an end frame alone ends
 * nothing; if nobody else comes, the server ends after the timeout. End frames are handed out only
 * if `ends` is not NULL: SERVER_REQUEST with *ends set then means that *client has ended, and *out
 * is NULL. */
enum server_result server_next(struct server *s, struct frame **out, int *client, bool *ends);
/* From now on that many clients are waited for: none may stay away longer than --timeout after the
 * one before it, and there is no end until all have come and ended. -1 with a message if there can
 * be only one. */
int server_expect(struct server *s, int clients);
/* Whether several clients can come, over --listen. */
bool server_listens(const struct server *s);
/* From now on it is the caller who decides what becomes of a client that joined, was answered
 * nothing but that, and then went away, unless it must be of this run (an ID or keys):
 * server_next_within() returns SERVER_CLIENT_LEFT once, and goes on as if that client had never
 * been. */
void server_allow_leaving(struct server *s);
/* The same, but returns SERVER_NOTHING when nothing came within `seconds` (negative: waits as long
 * as it takes). */
enum server_result server_next_within(struct server *s, double seconds, struct frame **out,
                                      int *client, bool *ends);
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
