/* shared_memory: segments of memory that two processes on one machine have in common.
 *
 * A segment is a memfd: it has no name anywhere, and ends with the last process that maps it. One
 * process makes it and sends its descriptor over a Unix socket, the channel; nobody else can attach
 * to it. Its size can never change (seals), or a peer that shortens it could kill the other with
 * SIGBUS, so the receiver checks the seals. Functions return -1 with a message on failure, unless
 * their declarations say otherwise. */
#ifndef SHARED_MEMORY_H
#define SHARED_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "link/endpoint.h"

/* Returns true unless the settings, or the environment variable SIMCLR_SHARED_MEMORY with the value
 * 0, say that no memory may be shared. */
bool shared_memory_wanted(const struct link_config *config);

/* Makes a pair of connected sockets that keep the borders of messages. Both are closed on exec. */
int shared_memory_channel(int ends[2]);

/* Returns 1 if the process that made the other end of a Unix socket, or listens there, is of the same
 * user as this one, 0 if it is of another, and -1 if the system does not say, as of a socket that has
 * been closed. Leaves no message. */
int shared_memory_same_user(int fd);

/* Returns true if it is of the same user and fd keeps the borders of messages. */
bool shared_memory_trusts(int fd);

/* Makes a segment of `size` bytes, which are zero and have been allocated, and maps it. The caller
 * closes *fd and calls shared_memory_unmap(). */
int shared_memory_make(size_t size, unsigned char **bytes, int *fd);

/* Maps all of a segment that a peer made, after it has checked that it is a memfd whose size is
 * sealed and at most `limit` bytes. Does not close fd. The caller calls shared_memory_unmap(). */
int shared_memory_map(int fd, size_t limit, unsigned char **bytes, size_t *size);

/* Gives the memory of a segment back to the system, for both processes. It stays mapped, full of
 * zeros. */
void shared_memory_empty(unsigned char *bytes, size_t size);

void shared_memory_unmap(unsigned char *bytes, size_t size);

/* Sends a message of n bytes, and with it a descriptor if fd >= 0, without waiting. */
int shared_memory_send(int channel, const void *message, size_t n, int fd);

enum shared_memory_result {
    SHARED_MEMORY_FAILED = -1, /* the message says why */
    SHARED_MEMORY_NOTHING = 0, /* no message has come */
    SHARED_MEMORY_MESSAGE = 1  /* message has been filled */
};

/* Receives a message of exactly n bytes, without waiting. Sets *fd to the descriptor that came with
 * it, which the caller closes, or to -1; if fd is NULL none may come. Descriptors beyond the first
 * are closed. */
enum shared_memory_result shared_memory_receive(int channel, void *message, size_t n, int *fd);

#endif
