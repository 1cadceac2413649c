/* shard_server: returns the requests of a shard's clients, each only after its step has begun
 * (step_gate.h). */
#ifndef SHARD_SERVER_H
#define SHARD_SERVER_H

#include "frame/frame.h"
#include "link/server.h"

/* A server whose requests pass a step gate. */
struct shard_server;

enum shard_server_result {
    SHARD_SERVER_FAILED = -1, /* fail_message() says why */
    SHARD_SERVER_ENDED = 0,   /* all clients have sent their end frames */
    SHARD_SERVER_REQUEST = 1  /* *out is a request */
};

/* Makes a shard server. The caller keeps `server`. Returns NULL with a message if memory is out. */
struct shard_server *shard_server_new(struct server *server);
/* Frees s and the requests that wait. s may be NULL. */
void shard_server_free(struct shard_server *s);

/* Waits for the next request that may be answered. Sets *out, which the caller frees, and *client.
 * Requests come in the order of their arrival, except for those that have to wait. Also fails if a
 * client is more than one step ahead of another. The caller must answer a request before the next
 * call. */
enum shard_server_result shard_server_next(struct shard_server *s, struct frame **out, int *client);
/* Calls server_reply() (consumes f). Takes the client's current step from the answer to its join.
 */
int shard_server_reply(struct shard_server *s, int client, struct frame *f);

#endif
