/* meeting: where the clients of a server at ipc:// hand it shared memory.
 *
 * Beside its ZeroMQ socket the server listens on an abstract Unix socket, which is named after device
 * and inode of the ZeroMQ socket's file. So a client that finds it speaks to the same process that
 * it speaks to over ZeroMQ: a program in the middle has another file. Both sides refuse processes of
 * other users. An abstract socket ends with its process and leaves no file.
 *
 * The client connects, and sends a random token. It puts the token before each message over ZeroMQ
 * whose data is in shared memory, as a part of the envelope, so the server knows whose memory is
 * meant. A server that does not listen gets whole frames. */
#ifndef MEETING_H
#define MEETING_H

#include <stddef.h>

#include "link/borrower.h"

enum { MEETING_TOKEN = 24 }; /* bytes of a token */

/* Connects to the server at an address ipc://path and sets the token. Returns the channel, or -1
 * without a message if the server shares no memory. Call it after the server has answered
 * something. */
int meeting_connect(const char *endpoint, unsigned char *token);

/* The server's side. */
struct meeting;

/* Listens beside the ZeroMQ socket at an address ipc://path, which must be bound. Segments may have
 * at most `limit` bytes. Returns NULL without a message if that is not possible. */
struct meeting *meeting_open(const char *endpoint, size_t limit);
void meeting_close(struct meeting *m); /* NULL is fine */

/* Returns the memory of the client with this token of n bytes, or NULL without a message if there is
 * none. It is valid until the next call of meeting_sweep(). */
struct borrower *meeting_find(struct meeting *m, const unsigned char *token, size_t n);

/* Frees the memory of clients that are gone. */
void meeting_sweep(struct meeting *m);

#endif
