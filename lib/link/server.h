/* server: the other end of links: requests come in, replies go out. */
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

/* Opens a server, which copies what it needs of the configuration. NULL with a message. Several
 * servers may be open at once, each with settings of its own. */
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
/* From now on the server waits for that many clients: each must come within the timeout after the
 * one before it, and the server has not ended until all have come and ended. Returns -1 with a
 * message if there can be only one. */
int server_expect(struct server *s, int clients);
/* Returns true if it listens on a socket, so that several clients can come. */
bool server_listens(const struct server *s);
/* From now on the caller decides what happens if a client leaves that got no answer but that to its
 * join, and that may be of another run (there is no ID and no key): server_next_within() returns
 * SERVER_CLIENT_LEFT once, and goes on as if that client had never been. */
void server_allow_leaving(struct server *s);
/* The same, but returns SERVER_NOTHING when nothing came within `seconds` (negative: waits as long
 * as it takes). */
enum server_result server_next_within(struct server *s, double seconds, struct frame **out,
                                      int *client, bool *ends);
/* Answers the client's oldest unanswered request (consumes f) with the request's `seq`. Returns -1
 * with a message. */
int server_reply(struct server *s, int client, struct frame *f);
/* Refuses the latest request of a client, which cannot be of this run: sends fail_message() to the
 * client in an error frame, prints it on stderr, and from then on treats the client as if it had
 * never come. With `stays`, only this request is refused. The request stays the caller's. Returns
 * -1 and keeps the message if the client cannot be refused: it has had an answer other than that to
 * its join, or speaks over stdin, or no other client is there and whoever speaks is of this run
 * (there is an ID or a key). */
int server_refuse(struct server *s, int client, bool stays);
/* After the last request: writes the end frame, if replies go to a stream, and closes. Returns -1
 * with a message if not all arrived. Frees s in any case. */
int server_end(struct server *s);
/* After a failure: sends every client that has not ended an error frame with fail_message(), and
 * closes without an end frame. Frees s; keeps fail_message(). NULL is fine. */
void server_abandon(struct server *s);

#endif
