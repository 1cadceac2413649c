#include "program/shard_server.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "program/parameter_name.h"
#include "program/step_gate.h"

struct shard_server {
    struct server *server;
    struct step_gate *gate;
};

struct shard_server *shard_server_new(struct server *server)
{
    struct shard_server *s = calloc(1, sizeof *s);
    if (!s) {
        fail_memory(NULL);
        return NULL;
    }
    s->server = server;
    if (!(s->gate = step_gate_new())) {
        free(s);
        return NULL;
    }
    return s;
}

void shard_server_free(struct shard_server *s)
{
    if (!s)
        return;
    step_gate_free(s->gate);
    free(s);
}

static bool is_join(const struct frame *f)
{
    const char *kind = frame_meta(f, "kind");
    return kind && !strcmp(kind, "join");
}

/* Counts the tensors that a client owes. */
static int count_parameters(const struct frame *f)
{
    const char *frozen = frame_meta(f, "frozen");
    int n = 0;
    for (int i = 0; i < f->n_tensors; i++) {
        const char *name = f->tensors[i].name;
        n += parameter_name_is_owed(name) && !parameter_name_is_frozen(frozen, name);
    }
    return n;
}

/* Counts the parameters of a request that is about to be answered: the gradients that it brings or,
 * in a join, the gradients that its client will send in each step. A loss's state counts as such. */
static void count(struct shard_server *s, const struct step_gate_request *r)
{
    struct step_gate_client *c = step_gate_client(s->gate, r->client);
    const int parameters = count_parameters(r->frame);
    if (!is_join(r->frame)) {
        step_gate_count(s->gate, r->client, r->step, parameters);
        return;
    }
    if (c->started) /* the client has begun another run */
        c->owes = 0;
    c->started = false;
    c->owes += parameters;
    c->sent = 0;
}

/* Puts a request into the gate. Consumes f, also on failure. */
static int put(struct shard_server *s, int client, struct frame *f)
{
    struct step_gate_client *c = step_gate_client(s->gate, client);
    int64_t step = STEP_GATE_NO_STEP;
    if (!c || (!is_join(f) && frame_meta_int(f, "step", c->step, &step)) ||
        step_gate_put(s->gate, client, step, f)) {
        frame_free(f);
        return -1;
    }
    c->joined = true;
    return 0;
}

/* Waits for the server's next request and puts it into the gate. */
static enum shard_server_result receive(struct shard_server *s)
{
    struct frame *f;
    int client;
    bool ends;
    const enum server_result got = server_next(s->server, &f, &client, &ends);
    if (got != SERVER_REQUEST)
        return got == SERVER_ENDED ? SHARD_SERVER_ENDED : SHARD_SERVER_FAILED;
    struct step_gate_client *c = step_gate_client(s->gate, client);
    if (ends) {
        if (!c)
            return SHARD_SERVER_FAILED;
        c->ended = true;
        return SHARD_SERVER_REQUEST;
    }
    if (c && !c->joined && !is_join(f)) {
        frame_free(f);
        fail("client %d sent gradients and has not joined", client);
        return server_refuse(s->server, client, false) ? SHARD_SERVER_FAILED : SHARD_SERVER_REQUEST;
    }
    return put(s, client, f) ? SHARD_SERVER_FAILED : SHARD_SERVER_REQUEST;
}

enum shard_server_result shard_server_next(struct shard_server *s, struct frame **out, int *client)
{
    for (;;) {
        struct step_gate_request r;
        const enum step_gate_result ready = step_gate_take(s->gate, &r);
        if (ready == STEP_GATE_FAILED)
            return SHARD_SERVER_FAILED;
        if (ready == STEP_GATE_READY) {
            count(s, &r);
            *out = r.frame;
            *client = r.client;
            return SHARD_SERVER_REQUEST;
        }
        /* Once the server has ended, no request can be waiting: requests wait only for a client
         * that has not ended. */
        const enum shard_server_result got = receive(s);
        if (got != SHARD_SERVER_REQUEST)
            return got;
    }
}

int shard_server_reply(struct shard_server *s, int client, struct frame *f)
{
    struct step_gate_client *c = step_gate_client(s->gate, client);
    if (is_join(f)) {
        if (frame_meta_int(f, "step", 0, &c->step)) {
            frame_free(f);
            return -1;
        }
        c->latest = c->step;
    }
    return server_reply(s->server, client, f);
}
