/* server: the other end of links. It receives the clients' requests and sends the replies. */
#ifndef SERVER_H
#define SERVER_H

#include "frame/frame.h"
#include "link/endpoint.h"

/* The server's end of one or more links. */
struct server;

/* The configuration of a server. Requests come from `in` and replies go to `out`, which are one-way
 * endpoints of a single client; or both use the ZeroMQ address `listen`, unless that is "". */
struct server_config {
    const char *in, *out, *listen;
    const struct link_config *link;
};

/* Opens a server, which copies what it needs of the configuration. Returns NULL with a message.
 * Several servers may be open at once, each with its own settings. */
struct server *server_open(const struct server_config *config);
enum server_result {
    SERVER_FAILED = -1,    /* fail_message() says why */
    SERVER_ENDED = 0,      /* every client has sent its end frame */
    SERVER_REQUEST = 1,    /* *out is a request of *client, which the caller frees */
    SERVER_NOTHING = 2,    /* nothing came in time (server_next_within) */
    SERVER_CLIENT_LEFT = 3 /* *client went away (server_allow_leaving); the message says so */
};

/* Waits for the next request. Clients are numbered from 0, and the numbers stay the same as long as
 * the server exists. A client that vanishes without an end frame is a failure. Over a socket, peers
 * that never were clients cannot make the server fail: a peer that sends something other than
 * frames, or frames of another run (--run), is refused with a warning. Without a run ID or keys, a
 * client that sends only an end frame does not end the server at once; if no other client comes,
 * the server ends after the timeout. End frames are reported only if `ends` is not NULL:
 * SERVER_REQUEST with *ends set then means that *client has ended, and *out is NULL. */
enum server_result server_next(struct server *s, struct frame **out, int *client, bool *ends);
/* Makes the server wait for that many clients from now on. Each client must come within the timeout
 * after the one before it, and the server ends only when all have come and ended. Returns -1 with a
 * message if the server can have only one client. */
int server_expect(struct server *s, int clients);
/* Returns true if the server listens on a socket, so that several clients can come. */
bool server_listens(const struct server *s);
/* Lets the caller decide, from now on, what happens if a client leaves that might belong to another
 * run. That is a client whose join alone has been answered, on a server without run ID or key.
 * server_next_within() then returns SERVER_CLIENT_LEFT once and continues as if that client had
 * never come. */
void server_allow_leaving(struct server *s);
/* Does the same as server_next(), but returns SERVER_NOTHING if nothing comes within `seconds`. A
 * negative number waits without limit. */
enum server_result server_next_within(struct server *s, double seconds, struct frame **out,
                                      int *client, bool *ends);
/* Answers the client's oldest unanswered request (consumes f) with the request's `seq`. Returns -1
 * with a message. */
int server_reply(struct server *s, int client, struct frame *f);
/* Refuses the latest request of a client, because it cannot belong to this run. Sends
 * fail_message() to the client in an error frame, prints it on stderr, and from then on treats the
 * client as if it had never come. With `stays`, refuses only this request. The caller keeps the
 * request. Returns -1 and leaves the message as it was if the client cannot be refused. That is so
 * if the client has had an answer to more than its join, if it uses stdin, or if there is no other
 * client and only peers of this run can speak (the server has a run ID or a key). */
int server_refuse(struct server *s, int client, bool stays);
/* Writes the end frame, if replies go to a stream, and closes; called after the last request.
 * Returns -1 with a message if not everything arrived. Frees s in any case. */
int server_end(struct server *s);
/* Ends a server after a failure: sends every client that has not ended an error frame with
 * fail_message(), and closes without an end frame. Frees s and leaves fail_message() as it was. s
 * may be NULL. */
void server_abandon(struct server *s);

#endif
