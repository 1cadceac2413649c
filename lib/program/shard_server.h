/* shard_server: the requests of a shard's clients, each when its step has come (step_gate.h). */
#ifndef SHARD_SERVER_H
#define SHARD_SERVER_H

#include "frame/frame.h"
#include "link/server.h"

struct shard_server;

enum shard_server_result {
    SHARD_SERVER_FAILED = -1, /* fail_message() says why */
    SHARD_SERVER_ENDED = 0,   /* all clients have sent their end frames */
    SHARD_SERVER_REQUEST = 1  /* *out is a request */
};

/* The server stays the caller's. Returns NULL with a message if memory is out. */
struct shard_server *shard_server_new(struct server *server);
/* Frees the requests that wait, too. NULL is fine. */
void shard_server_free(struct shard_server *s);

/* Waits for the next request that may be answered: *out is the caller's, *client its client. They
 * come in the order in which they arrived, but for those that wait. Fails also if a client is more
 * than one step ahead of another. Answer a request before the next call. */
enum shard_server_result shard_server_next(struct shard_server *s, struct frame **out, int *client);
/* Calls server_reply() (consumes f). The answer to a join says which step its client is at. */
int shard_server_reply(struct shard_server *s, int client, struct frame *f);

#endif
