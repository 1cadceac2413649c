#include "program/step_gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"

struct step_gate {
    struct step_gate_client *clients;
    struct step_gate_request *waiting; /* in the order of arrival */
    int64_t client_capacity, waiting_capacity;
    int n_clients, n_waiting;
};

struct step_gate *step_gate_new(void)
{
    struct step_gate *g = calloc(1, sizeof *g);
    if (!g)
        fail_memory(NULL);
    return g;
}

void step_gate_free(struct step_gate *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_waiting; i++)
        frame_free(g->waiting[i].frame);
    free(g->waiting);
    free(g->clients);
    free(g);
}

struct step_gate_client *step_gate_client(struct step_gate *g, int client)
{
    while (g->n_clients <= client) {
        struct step_gate_client *clients =
            grow(g->clients, g->n_clients, &g->client_capacity, sizeof *clients);
        if (!clients) {
            fail_memory(NULL);
            return NULL;
        }
        g->clients = clients;
        clients[g->n_clients++] = (struct step_gate_client){.latest = -1};
    }
    return &g->clients[client];
}

int step_gate_n_clients(const struct step_gate *g)
{
    return g->n_clients;
}

int step_gate_put(struct step_gate *g, int client, int64_t step, struct frame *frame)
{
    struct step_gate_request *waiting =
        grow(g->waiting, g->n_waiting, &g->waiting_capacity, sizeof *waiting);
    if (!waiting)
        return fail_memory(NULL);
    g->waiting = waiting;
    waiting[g->n_waiting++] = (struct step_gate_request){frame, client, step};
    struct step_gate_client *c = &g->clients[client];
    c->ended = false;
    if (step > c->latest)
        c->latest = step;
    return 0;
}

/* Returns the lowest step that a client other than `except` has not completed. */
static int64_t under_way(const struct step_gate *g, int except)
{
    int64_t lowest = INT64_MAX;
    for (int i = 0; i < g->n_clients; i++) {
        const struct step_gate_client *c = &g->clients[i];
        if (i == except || c->ended || !c->owes)
            continue;
        int64_t step = c->step + (c->sent >= c->owes);
        if (step < c->latest) /* it has begun a later step, so this one is complete */
            step = c->latest;
        if (step < lowest)
            lowest = step;
    }
    return lowest;
}

int64_t step_gate_under_way(const struct step_gate *g)
{
    return under_way(g, -1);
}

bool step_gate_holds(const struct step_gate *g)
{
    return g->n_waiting > 0;
}

/* Returns true if an earlier request of the same client waits. Its replies must keep their order.
 */
static bool has_earlier(const struct step_gate *g, int i)
{
    for (int j = 0; j < i; j++)
        if (g->waiting[j].client == g->waiting[i].client)
            return true;
    return false;
}

enum step_gate_result step_gate_take(struct step_gate *g, struct step_gate_request *out)
{
    for (int i = 0; i < g->n_waiting; i++) {
        const struct step_gate_request r = g->waiting[i];
        if (has_earlier(g, i))
            continue;
        const int64_t others = under_way(g, r.client);
        if (r.step > others && r.step - 1 > others) {
            fail("client %d sent step %lld, where step %lld is under way", r.client,
                 (long long)r.step, (long long)others);
            return STEP_GATE_FAILED;
        }
        if (r.step > others)
            continue;
        memmove(g->waiting + i, g->waiting + i + 1,
                (size_t)(--g->n_waiting - i) * sizeof *g->waiting);
        *out = r;
        return STEP_GATE_READY;
    }
    return STEP_GATE_WAITING;
}

void step_gate_count(struct step_gate *g, int client, int64_t step, int n)
{
    struct step_gate_client *c = &g->clients[client];
    if (step > c->step) {
        c->step = step;
        c->sent = 0;
    }
    if (step == c->step)
        c->sent += n;
    c->started = true;
}
