/* meeting: where the clients of a server at ipc:// or shm:// hand it shared memory.
 *
 * Beside its ZeroMQ socket the server listens on an abstract Unix socket. At ipc:// it is named after
 * device and inode of the ZeroMQ socket's file. So a client that finds it speaks to the same process
 * that it speaks to over ZeroMQ: a program in the middle has another file. At shm://NAME it is named
 * after the user and NAME, as the ZeroMQ socket is. Both sides refuse processes of other users. An
 * abstract socket ends with its process and leaves no file.
 *
 * The client connects, and sends a random token. It puts the token before each message over ZeroMQ
 * whose data is in shared memory, as a part of the envelope, so the server knows whose memory is
 * meant. A server that does not listen gets whole frames. */
#ifndef MEETING_H
#define MEETING_H

#include <stddef.h>

#include "link/borrower.h"

enum { MEETING_TOKEN = 24 }; /* bytes of a token */

enum meeting_result {
    MEETING_FAILED = -1, /* the message says why */
    MEETING_NONE = 0,    /* the server shares no memory */
    MEETING_LATER = 1,   /* too many want to connect: try again */
    MEETING_CHANNEL = 2
};

/* Connects to the server at an endpoint. With MEETING_CHANNEL sets *channel and the token. Call it
 * after the server has answered something. */
enum meeting_result meeting_connect(const char *endpoint, int *channel, unsigned char *token);

/* The server's side. */
struct meeting;

/* Listens beside the ZeroMQ socket at an endpoint ipc://path, which must be bound, or shm://NAME.
 * Segments may have at most `limit` bytes. Returns NULL with a message if that is not possible. */
struct meeting *meeting_open(const char *endpoint, size_t limit);
void meeting_close(struct meeting *m); /* NULL is fine */

/* Accepts those who have connected. A server that calls it often keeps the queue of its socket short,
 * which processes of other users can fill. */
void meeting_welcome(struct meeting *m);

/* Returns the memory of the client with this token of n bytes, or NULL without a message if there is
 * none. It is valid until the next call of meeting_sweep(). */
struct borrower *meeting_find(struct meeting *m, const unsigned char *token, size_t n);

/* Frees the memory of clients that are gone. */
void meeting_sweep(struct meeting *m);

#endif
