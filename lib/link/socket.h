/* socket: ZeroMQ sockets for links. A message is a frame, and the death of a peer is noticed.
 *
 * ZeroMQ hides that a peer goes away, but a monitor socket reports it. So a client whose server
 * vanishes, and a server whose client vanishes, notice it: at once on one machine, and within the
 * timeout, by heartbeats, over a network. */
#ifndef SOCKET_H
#define SOCKET_H

#include "frame/frame.h"
#include "link/borrower.h"
#include "link/endpoint.h"
#include "link/traffic.h"

/* Types of ZeroMQ sockets: DEALER and ROUTER are the ends of links, PUSH and PULL of streams. */
enum socket_role { SOCKET_DEALER, SOCKET_ROUTER, SOCKET_PUSH, SOCKET_PULL };

struct socket;

/* Opens a socket: DEALER and PUSH connect, ROUTER and PULL bind. Copies what it needs of the
 * configuration. Returns NULL with a message. Only one thread at a time may open or close sockets;
 * different threads may use different sockets. */
struct socket *socket_open(enum socket_role role, const char *endpoint,
                           const struct link_config *config);
/* Returns true if only peers of the same run can speak to this socket, because it has a run ID
 * (--run) or keys over tcp://. */
bool socket_is_guarded(const struct socket *s);
/* Waits up to `patience` seconds until everything sent has left, or drops what is left if patience
 * is 0; then closes and frees s. Returns -1 with a message if the time was too short. s may be
 * NULL. */
int socket_close(struct socket *s, double patience);

/* Waits until the peer's side has taken every byte out of the system's buffers, or the peer is
 * dead. A PUSH calls it after its last frame. Without it a slow reader may lose what is still in
 * the buffers when the connection closes, since libzmq drops that when it sees the hang-up. */
int socket_drain(struct socket *s);

/* The sender of a message, to which a reply goes. */
struct envelope {
    struct envelope_part {
        unsigned char bytes[256];
        size_t size;
    } parts[4]; /* ROUTER: the identity, and the client's delimiters */
    int n;
    int connection; /* number of the message's connection; see socket_gone() */
};

/* Sends one frame without copying it, and consumes f also on failure. `to` is the receiver for a
 * ROUTER, else NULL. Waits for a connection and for room, up to the timeout. */
int socket_send(struct socket *s, const struct envelope *to, struct frame *f);

/* Does the same with the header alone of a frame whose data lies in shared memory that the receiver
 * has too. A client sends its token as the only part of `to` (meeting.h). */
int socket_send_header(struct socket *s, const struct envelope *to, struct frame *f);
/* Returns the memory that a ROUTER shares with the sender of a message, or NULL. */
struct borrower *socket_borrower(const struct socket *s, const struct envelope *from);
/* Lets a DEALER find the data of replies in shared memory. The finder is copied. */
void socket_share(struct socket *s, const struct frame_finder *finder);

enum socket_result {
    SOCKET_FAILED = -1, /* fail_message() says why */
    SOCKET_NOTHING = 0, /* no message came */
    SOCKET_FRAME = 1,   /* *out is a frame, which the caller frees */
    SOCKET_REFUSED = 2  /* a peer sent something other than a frame, or a frame of another run;
                         * fail_message() says which, and *out is NULL; only ROUTER and PULL
                         * return this */
};

/* Waits up to `seconds` for a message; a negative number waits without limit. A DEALER also fails
 * if the server was not reached within the timeout or has gone away. A ROUTER or PULL returns
 * SOCKET_NOTHING early when a peer goes away, and prints a warning if something connects that
 * cannot be a peer. Sets *from to the sender, unless from is NULL. */
enum socket_result socket_receive(struct socket *s, double seconds, struct frame **out,
                                  struct envelope *from);

/* Returns true if the connection that an envelope names is closed. Call this only when nothing is
 * left to receive. */
bool socket_gone(const struct socket *s, int connection);
/* Sets *out and *in to the bytes of the frames sent and received so far, without what ZeroMQ adds,
 * and *shared to what of them went through shared memory. */
void socket_traffic(const struct socket *s, int64_t *out, int64_t *in, struct traffic *shared);

/* Prints on stderr that a peer was refused and why, for the first ten peers. */
void socket_tell_refusal(struct socket *s, const char *why);

#endif
