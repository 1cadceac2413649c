/* link: a client's connection to a server: requests go out, replies come back in their order.
 *
 * Every wait is bounded or ends when the peer dies: a peer that does not connect or answer within
 * the timeout, that closes its pipe, or whose ZeroMQ heartbeats stop, is an error whose message
 * names it. SIGTERM and SIGINT end every wait with an error as well. Errors: 0 or -1 with
 * fail_message(), unless a declaration says more. A reply with `error` counts as a failure: its
 * text becomes the message. */
#ifndef LINK_H
#define LINK_H

#include "frame/frame.h"
#include "link/endpoint.h"

struct link;

enum { LINKS_AT_ONCE = ENDPOINTS_MAX };

/* Starts the coprocess or connects. If the server is not there yet, the first link_receive() waits
 * for it up to the timeout. Returns NULL with a message. */
struct link *link_open(const char *endpoint, const struct link_config *config);
/* Queues a request (consumes f) and moves bytes both ways as far as possible without waiting for
 * the reply. Several requests may be in flight. */
int link_send(struct link *l, struct frame *f);
/* Moves bytes both ways without waiting, as link_send() does: for a client that computes while
 * requests are in flight, so that the peer has something to do meanwhile. */
int link_advance(struct link *l);
/* Waits for the next reply, in the order of the requests; *out is the caller's. */
int link_receive(struct link *l, struct frame **out);
/* Receives from each of n links, at most LINKS_AT_ONCE: out[i] becomes the next reply of links[i].
 * Bytes move on all links meanwhile, so that their peers work at the same time. On failure out
 * holds nothing. */
int link_receive_all(struct link *const *links, int n, struct frame **out);
/* Calls link_send(), then link_receive(). */
int link_request(struct link *l, struct frame *f, struct frame **out);
/* Sends the end frame. Send it on all links before you close any. */
int link_end(struct link *l);
/* Closes and frees the link. After link_end() it first waits, up to the timeout, until a coprocess
 * has exited with 0 or ZeroMQ has sent the end frame; returns -1 with a message if the peer failed.
 * Without link_end() the peer sees a broken link, and a coprocess that stays is terminated. NULL is
 * fine. */
int link_close(struct link *l);
/* The endpoint, for messages. */
const char *link_name(const struct link *l);

#endif
