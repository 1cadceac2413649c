/* step_gate: holds back the requests of clients that are a step ahead of the others.
 *
 * An optimizer answers the gradients of step t + 1 only after each of its clients has completed
 * step t: has sent all the gradients of it that it owes, or something of a later step, or its end
 * frame. To the optimizers after a shard all clients look like one, so the shard holds requests
 * back in their place. The gate knows nothing of names and values: its user counts gradients.
 *
 *   step_gate_client(g, client)->owes = 3;          the client joined with three parameters
 *   step_gate_put(g, client, step, frame);          for each of its requests
 *   while (step_gate_take(g, &r) == STEP_GATE_READY)
 *       answer r.frame, then step_gate_count(g, r.client, r.step, gradients in it); */
#ifndef STEP_GATE_H
#define STEP_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"

struct step_gate;

/* What is known of a client. A user sets joined, ended and, when it joins, owes, sent and step. */
struct step_gate_client {
    bool joined, ended;
    int owes;       /* gradients in each step; 0: the others never wait for it */
    int sent;       /* of them, in `step` */
    int64_t step;   /* the latest step that it was counted in, or that its join's answer named */
    int64_t latest; /* the latest step it sent a request for; -1: none yet */
    bool started;   /* it was counted since `started` was last cleared */
};

struct step_gate_request {
    struct frame *frame;
    int client;
    int64_t step;
};

/* A request that belongs to no step, such as a join: only earlier requests of its client hold it
 * back. */
#define STEP_GATE_NO_STEP INT64_MIN

enum step_gate_result {
    STEP_GATE_FAILED = -1, /* fail_message() says why */
    STEP_GATE_WAITING = 0, /* nothing that was put in may be answered yet */
    STEP_GATE_READY = 1    /* *out is a request; its frame is the caller's */
};

/* Returns NULL with a message if memory is out. */
struct step_gate *step_gate_new(void);
/* Frees the requests that wait, too. NULL is fine. */
void step_gate_free(struct step_gate *g);

/* The client of that number, from 0. It is made if it is new: all zero, but latest = -1. The
 * pointer is valid until a client with a higher number is made. NULL with a message: out of memory.
 */
struct step_gate_client *step_gate_client(struct step_gate *g, int client);
/* How many clients there are: one more than the highest number asked for. */
int step_gate_n_clients(const struct step_gate *g);

/* Takes over a request of a client that step_gate_client() made; the client has not ended then. -1
 * with a message: out of memory, and the frame stays the caller's. */
int step_gate_put(struct step_gate *g, int client, int64_t step, struct frame *frame);

/* Takes out the first request, in the order they were put in, whose step the other clients have
 * reached; requests of one client keep their order. Fails, and the request stays, if a request is
 * more than one step ahead of another client. */
enum step_gate_result step_gate_take(struct step_gate *g, struct step_gate_request *out);
/* Whether requests wait. */
bool step_gate_holds(const struct step_gate *g);

/* Counts n gradients of that step as received from the client. */
void step_gate_count(struct step_gate *g, int client, int64_t step, int n);

/* The step under way: the lowest that a client has not completed. INT64_MAX if no client that lives
 * owes anything. A step t is complete when this is above t. */
int64_t step_gate_under_way(const struct step_gate *g);

#endif
