/* link: a client's connection to a server. It sends requests and receives the replies in the same
 * order.
 *
 * Every wait is bounded or ends when the peer dies. A peer that does not connect or answer within
 * the timeout, that closes its pipe, or whose ZeroMQ heartbeats stop, causes an error whose message
 * names it. SIGTERM and SIGINT also end every wait with an error. Functions return 0, or -1 with
 * fail_message(), unless their declarations say more. A reply with the metadata `error` counts as a
 * failure; its text becomes the message. */
#ifndef LINK_H
#define LINK_H

#include "frame/frame.h"
#include "link/endpoint.h"

/* The client's end of a link. */
struct link;

enum { LINKS_AT_ONCE = ENDPOINTS_MAX }; /* most links of one link_receive_all() */

/* Starts the coprocess or connects. If the server has not started yet, the first link_receive()
 * waits for it up to the timeout. Returns NULL with a message. */
struct link *link_open(const char *endpoint, const struct link_config *config);
/* Does the same as frame_new_unset() for a frame that will be a request on this link. If the peer
 * shares memory, the data lies there and is not copied when the frame is sent. */
struct frame *link_frame_new(struct link *l, const struct tensor_spec *specs, int n);
/* Gives memory of freed frames back to the system, as frame_trim_memory() does: call it after freeing
 * a request or reply that is larger than any that follow. */
void link_trim(struct link *l);
/* Queues a request (consumes f) and moves bytes in both directions as far as possible without
 * waiting for the reply. Several requests may be in flight. */
int link_send(struct link *l, struct frame *f);
/* Moves bytes in both directions without waiting, as link_send() does. A client that computes while
 * requests are in flight calls it now and then, so that the peer gets its requests meanwhile. */
int link_advance(struct link *l);
/* Waits for the next reply, in the order of the requests. The caller frees *out. */
int link_receive(struct link *l, struct frame **out);
/* Receives from each of n links, at most LINKS_AT_ONCE: out[i] becomes the next reply of links[i].
 * Bytes move on all links meanwhile, so that their peers work at the same time. On failure no frame
 * is left in out. */
int link_receive_all(struct link *const *links, int n, struct frame **out);
/* Calls link_send(), then link_receive(). */
int link_request(struct link *l, struct frame *f, struct frame **out);
/* Sends the end frame. A client of several links sends it on all of them before it closes any. */
int link_end(struct link *l);
/* Closes and frees the link. After link_end() it first waits, up to the timeout, until a coprocess
 * has exited with 0 or ZeroMQ has sent the end frame; it returns -1 with a message if the peer
 * failed. Without link_end() the peer sees a broken link, and a coprocess that does not exit is
 * terminated. l may be NULL. */
int link_close(struct link *l);
/* Returns the endpoint, for messages. */
const char *link_name(const struct link *l);

#endif
