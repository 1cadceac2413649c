#include "program/step_gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "program/optimizer.h"

struct client {
    bool joined, ended;
    bool started; /* it has sent gradients since it joined */
    int64_t step; /* that of its last gradients; before them, what its join was told */
    int owes;     /* gradients in each step: the parameters it joined with, but frozen ones */
    int sent;     /* of them, in `step` */
};

struct request {
    struct frame *frame;
    int client;
};

struct step_gate {
    struct server *server;
    struct client *clients;
    int n_clients;
    struct request *waiting; /* in the order they came in */
    int n_waiting, capacity;
};

struct step_gate *step_gate_new(struct server *server)
{
    struct step_gate *t = calloc(1, sizeof *t);
    if (t)
        t->server = server;
    else
        fail_memory(NULL);
    return t;
}

void step_gate_free(struct step_gate *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_waiting; i++)
        frame_free(t->waiting[i].frame);
    free(t->waiting);
    free(t->clients);
    free(t);
}

static int know_client(struct step_gate *t, int client)
{
    if (client < t->n_clients)
        return 0;
    struct client *clients = realloc(t->clients, (size_t)(client + 1) * sizeof *clients);
    if (!clients)
        return fail_memory(NULL);
    t->clients = clients;
    for (; t->n_clients <= client; t->n_clients++)
        clients[t->n_clients] = (struct client){0};
    return 0;
}

static int keep(struct step_gate *t, struct frame *f, int client)
{
    if (t->n_waiting == t->capacity) {
        const int capacity = t->capacity ? 2 * t->capacity : 16;
        struct request *waiting = realloc(t->waiting, (size_t)capacity * sizeof *waiting);
        if (!waiting)
            return fail_memory(NULL);
        t->waiting = waiting;
        t->capacity = capacity;
    }
    t->waiting[t->n_waiting++] = (struct request){f, client};
    t->clients[client].joined = true;
    t->clients[client].ended = false;
    return 0;
}

static bool is_join(const struct frame *f)
{
    const char *kind = frame_meta(f, "kind");
    return kind && !strcmp(kind, "join");
}

/* The step that a client's peers have under way; INT64_MAX if there is none to wait for. */
static int64_t under_way(const struct step_gate *t, int client)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < t->n_clients; i++) {
        const struct client *c = &t->clients[i];
        const int64_t step = c->step + (c->sent >= c->owes);
        if (i != client && !c->ended && c->owes && step < least)
            least = step;
    }
    return least;
}

/* 1 if its time has come, 0 if it waits, -1 if it came where it should not. */
static int may_go(const struct step_gate *t, const struct request *r)
{
    int64_t step;
    if (is_join(r->frame))
        return 1;
    if (frame_meta_int(r->frame, "step", t->clients[r->client].step, &step))
        return -1;
    const int64_t others = under_way(t, r->client);
    if (step > others && step - 1 > others)
        return fail("client %d sent step %lld, where step %lld is under way", r->client,
                    (long long)step, (long long)others);
    return step <= others;
}

static void count(struct client *c, const struct frame *f)
{
    int parameters = 0;
    for (int i = 0; i < f->n_tensors; i++) {
        const char *name = f->tensors[i].name;
        parameters +=
            !optimizer_is_buffer(name) && !optimizer_is_frozen(frame_meta(f, "frozen"), name);
    }
    if (is_join(f)) {
        if (c->started) /* another run of the same client */
            c->owes = 0;
        c->started = false;
        c->owes += parameters;
        c->sent = 0;
        return;
    }
    int64_t step;
    if (frame_meta_int(f, "step", c->step, &step))
        return; /* the optimizer says it */
    if (step != c->step)
        c->sent = 0;
    c->step = step;
    c->started = true;
    c->sent += parameters;
}

/* Whether an earlier one of the same client waits: its replies come in order. */
static bool behind_another(const struct step_gate *t, int i)
{
    for (int j = 0; j < i; j++)
        if (t->waiting[j].client == t->waiting[i].client)
            return true;
    return false;
}

/* The first that waits no more: 1, 0 if there is none, -1. */
static int take_ready(struct step_gate *t, struct frame **out, int *client)
{
    for (int i = 0; i < t->n_waiting; i++) {
        const struct request r = t->waiting[i];
        const int go = behind_another(t, i) ? 0 : may_go(t, &r);
        if (go < 0)
            return -1;
        if (go == 0)
            continue;
        memmove(t->waiting + i, t->waiting + i + 1,
                (size_t)(--t->n_waiting - i) * sizeof *t->waiting);
        count(&t->clients[r.client], r.frame);
        *out = r.frame;
        *client = r.client;
        return 1;
    }
    return 0;
}

int step_gate_next(struct step_gate *t, struct frame **out, int *client)
{
    for (;;) {
        struct frame *f;
        bool ends;
        int got = take_ready(t, out, client);
        if (got)
            return got;
        if ((got = server_next(t->server, &f, client, &ends)) <= 0)
            return got; /* who waits, waits for a client that lives: none does */
        if (!ends && !is_join(f) && (*client >= t->n_clients || !t->clients[*client].joined)) {
            frame_free(f);
            fail("client %d sent gradients and has not joined", *client);
            if (server_refuse(t->server, *client, false))
                return -1;
            continue;
        }
        if (know_client(t, *client) || (!ends && keep(t, f, *client))) {
            frame_free(f);
            return -1;
        }
        if (ends)
            t->clients[*client].ended = true;
    }
}

int step_gate_reply(struct step_gate *t, int client, struct frame *f)
{
    if (is_join(f) && frame_meta_int(f, "step", 0, &t->clients[client].step)) {
        frame_free(f);
        return -1;
    }
    return server_reply(t->server, client, f);
}
