/* step_gate: the requests of an optimizer's clients, each when its step has come.
 *
 * An optimizer waits with a step until each of its clients has completed the one before. To
 * optimizers behind a shard all clients look like one, so the shard waits in their place: a client
 * that is one step ahead is not answered until the others have sent all the gradients that they
 * joined with. */
#ifndef STEP_GATE_H
#define STEP_GATE_H

#include "frame/frame.h"
#include "link/server.h"

struct step_gate;

/* NULL: out of memory. The server stays the caller's. */
struct step_gate *step_gate_new(struct server *server);
void step_gate_free(struct step_gate *t); /* with the requests that wait; NULL is fine */

/* The next request that may be answered: 1, *out (the caller's) and *client, in the order in which
 * they came but for those that wait; 0 when all clients have ended; -1, also for a client more than
 * one step ahead. Answer it before the next call. */
int step_gate_next(struct step_gate *t, struct frame **out, int *client);
/* server_reply(); the answer to a join says which step its client is at. */
int step_gate_reply(struct step_gate *t, int client, struct frame *f);

#endif
