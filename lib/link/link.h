/* link: a client's training edge: requests out, replies back, in order.
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

/* Starts the coprocess or connects; a server that is not there yet is waited for by the first
 * link_receive() up to the timeout. */
struct link *link_open(const char *endpoint, const struct link_config *config);
/* Queues a request (consumes f) and moves bytes both ways as far as it can without waiting for
 * the reply; several requests may be in flight. */
int link_send(struct link *l, struct frame *f);
/* Moves bytes both ways without waiting, as link_send() does: for a client that computes while
 * requests are in flight, so that the peer has something to do meanwhile. */
int link_advance(struct link *l);
/* Waits for the next reply, in the order of the requests. */
int link_receive(struct link *l, struct frame **out);
/* link_receive() on each of n links, at most LINKS_AT_ONCE: out[i] is the next reply of links[i].
 * Bytes move on all of them meanwhile, so that they work at the same time. -1: out holds nothing.
 */
int link_receive_all(struct link *const *links, int n, struct frame **out);
/* link_send, then link_receive. */
int link_request(struct link *l, struct frame *f, struct frame **out);
/* Sends the end frame. Send it on all links before link_close()ing any. */
int link_end(struct link *l);
/* After link_end: waits (bounded) until a coprocess has exited with 0, or the end frame has left
 * by ZeroMQ. Without: the peer sees a broken link; a coprocess that stays is terminated. Frees l
 * in any case; -1 if the peer failed. NULL is fine. */
int link_close(struct link *l);
const char *link_name(const struct link *l);

#endif
