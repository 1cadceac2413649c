/* step_gate: holds back the requests of clients that are a step ahead of the others.
 *
 * An optimizer answers the gradients of step t + 1 only after each of its clients has completed
 * step t. A client has completed a step when it has sent all its gradients for the step, a request
 * for a later step, or its end frame. The optimizers of a shard see all its clients as one, so the
 * shard holds requests back for them. The gate knows nothing of names and values; its user counts
 * gradients.
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

/* The requests that wait, and the steps of their clients. */
struct step_gate;

/* The state of a client. The user sets joined and ended, and when the client joins, owes, sent and
 * step. */
struct step_gate_client {
    bool joined, ended;
    int owes;       /* gradients in each step, and parts of a loss's state; with 0 the others never
                       wait for it */
    int sent;       /* number of them received in `step` */
    int64_t step;   /* latest step with a counted gradient, or the step in its join's answer */
    int64_t latest; /* latest step it sent a request for; -1 before the first */
    bool started;   /* true if a gradient was counted since the user cleared this */
};

/* A request that waits in the gate. */
struct step_gate_request {
    struct frame *frame;
    int client;
    int64_t step;
};

/* The step of a request that belongs to no step, such as a join. Only earlier requests of its
 * client hold it back. */
#define STEP_GATE_NO_STEP INT64_MIN

enum step_gate_result {
    STEP_GATE_FAILED = -1, /* fail_message() says why */
    STEP_GATE_WAITING = 0, /* none of the gate's requests may be answered yet */
    STEP_GATE_READY = 1    /* *out is a request, whose frame the caller frees */
};

/* Makes an empty gate. Returns NULL with a message if memory is out. */
struct step_gate *step_gate_new(void);
/* Frees the gate and the requests that wait. g may be NULL. */
void step_gate_free(struct step_gate *g);

/* Returns the client of that number, counted from 0. Makes it if it is new: all members are zero,
 * except latest = -1. The pointer is valid until a client with a higher number is made. Returns
 * NULL with a message if memory is out. */
struct step_gate_client *step_gate_client(struct step_gate *g, int client);
/* Returns the number of clients, which is one more than the highest number asked for. */
int step_gate_n_clients(const struct step_gate *g);

/* Takes over a request of a client that step_gate_client() made, and sets that the client has not
 * ended. If memory is out, returns -1 with a message, and the frame stays the caller's. */
int step_gate_put(struct step_gate *g, int client, int64_t step, struct frame *frame);

/* Takes out the first request, in the order in which they were put in, whose step the other clients
 * have reached. Requests of one client keep their order. Fails, and keeps the request, if a request
 * is more than one step ahead of another client. */
enum step_gate_result step_gate_take(struct step_gate *g, struct step_gate_request *out);
/* Returns true if requests wait. */
bool step_gate_holds(const struct step_gate *g);

/* Counts n gradients of that step as received from the client. */
void step_gate_count(struct step_gate *g, int client, int64_t step, int n);

/* Returns the current step: the lowest that a client has not completed. Returns INT64_MAX if no
 * client that has not ended owes gradients. A step t is complete when the result is above t. */
int64_t step_gate_under_way(const struct step_gate *g);

#endif
