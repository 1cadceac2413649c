#include "program/optimizer.h"

#include <inttypes.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/squares.h"
#include "base/stop.h"
#include "base/warn.h"
#include "frame/sound.h"
#include "program/ema.h"
#include "program/gradient_squares.h"
#include "program/link_options.h"
#include "program/optimizer_state.h"
#include "program/parameter_name.h"
#include "program/step_gate.h"

enum { STOP_PATIENCE = 20 }; /* seconds after a signal to complete a step; Slurm allows 30 */

struct optimizer {
    struct server *server;
    struct step_gate *gate; /* the clients, and their requests that wait */
    struct optimizer_state state;
    bool checked; /* clients have joined with all tensors of a resumed state */
};

/* Returns the state of a client that has already sent something. */
static struct step_gate_client *client_of(const struct optimizer *o, int client)
{
    return step_gate_client(o->gate, client);
}

/* ---- joins ---- */

/* Makes the reply of the request itself: its tensors take the current values, which have the same
 * sizes. */
static void put_values(const struct optimizer *o, struct frame *f)
{
    for (int i = 0; i < f->n_tensors; i++)
        optimizer_store_answer(optimizer_store_find(&o->state.store, f->tensors[i].name),
                               &f->tensors[i]);
}

static bool same_part(const char *a, const char *b)
{
    const size_t n = strcspn(a, ".");
    return n == strcspn(b, ".") && !strncmp(a, b, n);
}

/* Checks that a resumed state was not made by a deeper network than the client's: of each part
 * ("layer1") of which the client has any tensor, it must have all. */
static int check_left_over(const struct optimizer *o, const struct frame *request)
{
    for (int i = 0; i < o->state.store.n; i++) {
        const char *name = o->state.store.tensors[i].name;
        bool claimed = false;
        for (int j = 0; j < request->n_tensors && !claimed; j++)
            claimed = same_part(name, request->tensors[j].name);
        if (claimed && !frame_find(request, name))
            return fail("%s has %s, which the client's network has not", o->state.config->state,
                        name);
    }
    return 0;
}

static const char other_loss[] = "resume with the loss that it was made with, or start a new run";

/* Checks a part of a loss's state in a join against that of a resumed state. */
static int check_loss(const struct optimizer *o, const struct tensor *t,
                      const struct owned_tensor *e)
{
    char was[128], is[128];
    if (!e)
        return fail("%s: has no %s, which this run's loss keeps: %s", o->state.config->state,
                    t->name, other_loss);
    if (!optimizer_store_check(e, t, false))
        return 0;
    tensor_describe(was, sizeof was, e->dtype, e->ndim, e->shape);
    tensor_describe(is, sizeof is, t->dtype, t->ndim, t->shape);
    return fail("%s: made with %s %s, and this run's loss has %s: %s", o->state.config->state,
                t->name, was, is, other_loss);
}

/* Checks a join against the tensors that are already there. Returns -1 with a message. */
static int check_join(struct optimizer *o, int client, const struct frame *request)
{
    const char *resumed = o->state.config->resume ? o->state.config->state : NULL;
    if (optimizer_settings_check(&o->state.settings, request) ||
        descriptions_check(&o->state.described, request, resumed) ||
        optimizer_store_check_slow(&o->state.store, request, resumed))
        return -1;
    for (int i = 0; i < request->n_tensors; i++) {
        const struct tensor *t = &request->tensors[i];
        const struct owned_tensor *e = optimizer_store_find(&o->state.store, t->name);
        if (sound_tensor(t))
            return fail("a client joined with parameters of which %s", fail_message());
        if (resumed && parameter_name_is_loss(t->name) && check_loss(o, t, e))
            return -1;
        if (!e && o->state.config->resume)
            return fail("%s has no tensor %s, which a client joined with", o->state.config->state,
                        t->name);
        if (!e && o->state.step > 0)
            return fail("a client joined with %s after the first step", t->name);
        if (!e)
            continue;
        if (optimizer_store_check(e, t, false))
            return -1;
        if (e->client >= 0 && e->client != client && !client_of(o, e->client)->ended)
            return fail("clients %d and %d both joined with %s", e->client, client, t->name);
    }
    return o->state.config->resume && request->n_tensors ? check_left_over(o, request) : 0;
}

/* Counts the gradients and the parts of a loss's state that a client must send in each step, and
 * those that it has sent in this one. */
static void count_owed(const struct optimizer *o, int client)
{
    struct step_gate_client *c = client_of(o, client);
    c->owes = c->sent = 0;
    for (int i = 0; i < o->state.store.n; i++) {
        const struct owned_tensor *e = &o->state.store.tensors[i];
        if (e->client == client && parameter_name_is_owed(e->name) && !e->frozen) {
            c->owes++;
            c->sent += e->updated == o->state.step;
        }
    }
}

/* Makes the client the owner of its tensors, and stores those that are new. */
static int take_initial(struct optimizer *o, int client, const struct frame *request)
{
    double momentum;
    if (ema_get(request, &momentum))
        return -1;
    for (int i = 0; i < request->n_tensors; i++) {
        struct owned_tensor *e = optimizer_store_find(&o->state.store, request->tensors[i].name);
        if (!e && (!(e = optimizer_store_add(&o->state.store, &request->tensors[i])) ||
                   optimizer_store_keep_slow(e, momentum)))
            return -1;
        e->client = client;
        e->frozen = parameter_name_is_frozen(frame_meta(request, "frozen"), e->name);
    }
    if (descriptions_take(&o->state.described, request, client))
        return -1;
    client_of(o, client)->joined = true;
    client_of(o, client)->step = o->state.step;
    count_owed(o, client);
    return 0;
}

/* Returns true if this optimizer can count steps. One of several optimizers (shard.h) may own only
 * frozen tensors; it then receives no gradients, so it does not see any steps. */
static bool counts_steps(const struct optimizer *o)
{
    bool frozen = false;
    for (int i = 0; i < o->state.store.n; i++) {
        if (!o->state.store.tensors[i].frozen &&
            parameter_name_is_owed(o->state.store.tensors[i].name))
            return true;
        frozen = frozen || o->state.store.tensors[i].frozen;
    }
    return !frozen;
}

/* Adds slow copies to the answer to a join. Consumes the answer on failure. */
static int add_slow(const struct optimizer *o, struct frame **answer)
{
    struct frame *all = optimizer_store_add_slow(&o->state.store, *answer);
    frame_free(*answer);
    *answer = all;
    return all ? 0 : -1;
}

/* Answers a join that check_join() has accepted. Consumes the request. */
static int answer_join(struct optimizer *o, int client, struct frame *request)
{
    struct frame *reply = request;
    const bool slow = frame_meta(request, "ema") != NULL;
    if (take_initial(o, client, request)) {
        frame_free(request);
        return -1;
    }
    if (request->n_tensors)
        put_values(o, request);
    else { /* a rank that joins without tensors gets all of them */
        frame_free(request);
        if (!(reply = optimizer_state_pack(&o->state, false)))
            return -1;
        frame_drop_meta(reply, "optimizer");
    }
    if (slow && add_slow(o, &reply))
        return -1;
    frame_set_meta(reply, "kind", "join");
    if (counts_steps(o))
        frame_set_meta_int(reply, "step", o->state.step);
    return server_reply(o->server, client, reply);
}

/* Checks that gradients fit the parameters. Returns -1 with a message. Sets *twice if a gradient
 * came for the second time in this step. */
static int check_gradients(struct optimizer *o, const struct frame *request, bool *twice)
{
    *twice = false;
    for (int i = 0; i < request->n_tensors; i++) {
        const struct tensor *t = &request->tensors[i];
        const struct owned_tensor *e = optimizer_store_find(&o->state.store, t->name);
        if (!e)
            return fail("a gradient of %s, which nobody joined with", t->name);
        if (e->frozen)
            return fail("%s %s, which is frozen", e->buffer ? "a value of" : "a gradient of",
                        t->name);
        if (optimizer_store_check(e, t, optimizer_store_is_bf16(e, t)))
            return -1;
        *twice = e->updated == o->state.step;
        if (*twice)
            return fail("%s %s came twice in step %" PRId64,
                        e->buffer ? "buffer" : "the gradient of", t->name, o->state.step);
    }
    return 0;
}

/* Updates the parameter e from its gradient, which came in t, and puts the new value into t. Sets
 * *squares to the sum of the gradient's squares. */
static int update_parameter(struct optimizer *o, const struct owned_tensor *e, struct tensor *t,
                            double lr, double *squares)
{
    enum { PART = 1 << 13 }; /* elements: those of all arrays together stay in a core's caches */
    const struct optimizer_rule *rule = o->state.rule;
    const float *gradient = optimizer_store_gradient(&o->state.store, e, t);
    double rate;
    if (!gradient)
        return -1;
    if (rule->apply
            ? rule->measure(rule->hyper, lr, e->ndim, e->count, e->value, gradient, &rate, squares)
            : rule->update(rule->hyper, lr, o->state.step, e->ndim, e->count, e->value, gradient,
                           e->slots))
        return fail("the gradient of %s is not finite in step %" PRId64, t->name, o->state.step);
    if (!rule->apply) {
        *squares = squares_sum(gradient, e->count);
        optimizer_store_answer(e, t);
        return 0;
    }
    for (size_t at = 0; at < e->count; at += PART) {
        const size_t n = e->count - at < PART ? e->count - at : PART;
        float *slots[OPTIMIZER_SLOTS];
        for (int i = 0; i < rule->n_slots; i++)
            slots[i] = e->slots[i] + at;
        rule->apply(rule->hyper, rate, e->ndim, n, (float *)e->value + at, gradient + at, slots);
        optimizer_store_answer_part(e, t, at, n);
    }
    return 0;
}

/* Updates the parameter whose gradient is t and its slow copy, or stores the new value of a buffer.
 * t then has the new value. Writes the sum of the gradient's squares into *squares. */
static int update(struct optimizer *o, struct tensor *t, double lr, double *squares)
{
    struct optimizer_state *s = &o->state;
    struct owned_tensor *e = optimizer_store_find(&s->store, t->name);
    if (e->buffer)
        memcpy(e->value, t->data, t->bytes);
    else if (update_parameter(o, e, t, lr, squares) || optimizer_store_follow(&s->store, e, t))
        return -1;
    e->updated = s->step;
    return 0;
}

/* Updates the tensors of a request, and tells its sender the gradients' sums of squares: they are
 * in the request's metadata then, which the reply is made of. */
static int take_step(struct optimizer *o, struct frame *request, double *lr)
{
    struct schedule_point at = {.step = o->state.step};
    if (frame_meta_int(request, "steps", o->state.step + 1, &at.steps) ||
        frame_meta_int(request, "steps_per_epoch", at.steps, &at.steps_per_epoch) ||
        frame_meta_int(request, "batch", 256, &at.batch))
        return -1;
    if (at.steps <= 0 || at.steps_per_epoch <= 0 || at.batch <= 0)
        return fail("steps, steps_per_epoch and batch must be positive");
    o->state.steps = at.steps;
    if (optimizer_settings_take(&o->state.settings, request, o->state.step, o->state.steps))
        return -1;
    *lr = schedule_rate(&o->state.config->schedule, &at);
    for (int i = 0; i < request->n_tensors; i++) {
        struct tensor *t = &request->tensors[i];
        double squares = 0;
        if (update(o, t, *lr, &squares))
            return -1;
        if (!parameter_name_is_buffer(t->name))
            gradient_squares_set(request, t->name, squares);
    }
    return 0;
}

/* Answers gradients of the current step. Consumes the request. */
static int answer_gradients(struct optimizer *o, int client, struct frame *request)
{
    double lr = 0;
    bool twice;
    if (check_gradients(o, request, &twice)) {
        frame_free(request);
        return twice ? server_refuse(o->server, client, true) : -1;
    }
    if (take_step(o, request, &lr)) {
        frame_free(request);
        return -1;
    }
    int gradients = 0;
    for (int i = 0; i < request->n_tensors; i++)
        gradients += parameter_name_is_owed(request->tensors[i].name);
    step_gate_count(o->gate, client, o->state.step, gradients);
    frame_set_meta(request, "kind", "parameters");
    frame_set_meta_float(request, "lr", (float)lr);
    return server_reply(o->server, client, request);
}

/* ---- steps ---- */

/* Returns true if nothing was sent in the current step. */
static bool untouched(const struct optimizer *o)
{
    for (int i = 0; i < o->state.store.n; i++)
        if (o->state.store.tensors[i].updated == o->state.step)
            return false;
    return true;
}

/* Checks that clients joined with all tensors of a resumed state. A tensor that is not claimed
 * would never change again. */
static int check_unclaimed(struct optimizer *o)
{
    for (int i = 0; o->state.config->resume && !o->checked && i < o->state.store.n; i++)
        if (o->state.store.tensors[i].client < 0 &&
            parameter_name_is_loss(o->state.store.tensors[i].name))
            return fail("%s: has %s, which this run's loss does not keep: %s",
                        o->state.config->state, o->state.store.tensors[i].name, other_loss);
        else if (o->state.store.tensors[i].client < 0)
            return fail("%s has %s, which no client joined with: is a stage missing?",
                        o->state.config->state, o->state.store.tensors[i].name);
    o->checked = true;
    return 0;
}

/* Begins the next step, and saves the state if it is due. */
static int begin_next_step(struct optimizer *o)
{
    struct optimizer_state *s = &o->state;
    if (check_unclaimed(o))
        return -1;
    s->step++;
    if (optimizer_state_keep_model(s))
        return -1;
    const bool due = s->config->save_every && s->step % s->config->save_every == 0;
    return due ? optimizer_state_save(s) : 0;
}

/* Answers all requests whose step has begun, and begins the next step whenever each client has
 * completed the current one. After a signal it returns between two steps. */
static int answer_waiting(struct optimizer *o)
{
    for (;;) {
        struct step_gate_request r = {0};
        bool begins = step_gate_under_way(o->gate) > o->state.step && !untouched(o);
        if (!begins) {
            const enum step_gate_result got = step_gate_take(o->gate, &r);
            if (got != STEP_GATE_READY)
                return got == STEP_GATE_FAILED ? -1 : 0;
            begins = r.step > o->state.step; /* a client left out the rest of this step */
        }
        const int failed = begins ? begin_next_step(o) : 0;
        if (failed || (begins && stop_requested())) {
            frame_free(r.frame);
            return failed;
        }
        if (r.frame && answer_gradients(o, r.client, r.frame))
            return -1;
    }
}

/* Puts gradients into the gate after checking their step. Consumes the request. */
static int take_gradients(struct optimizer *o, int client, struct frame *request)
{
    int64_t step;
    if (frame_meta_int(request, "step", o->state.step, &step)) {
        frame_free(request);
        return -1;
    }
    /* A client may be one step ahead of the others, but it must not skip steps or go back. */
    const int64_t now = o->state.step, latest = client_of(o, client)->latest;
    const bool late = step < now || step < latest;
    if (late || (step != now && !(step == now + 1 && latest >= now))) {
        frame_free(request);
        fail("client %d sent step %" PRId64 ", where step %" PRId64 " is under way", client, step,
             now);
        return late ? server_refuse(o->server, client, true) : -1;
    }
    if (step_gate_put(o->gate, client, step, request)) {
        frame_free(request);
        return -1;
    }
    return answer_waiting(o);
}

/* ---- serving ---- */

/* Forgets a client that joined and left, and that may not belong to this run. Returns -1 if other
 * clients are there and it brought parameters, since the run cannot go on without it. Otherwise
 * removes its tensors; if a resumed state holds them, they stay and wait for another client. */
static int forget_client(struct optimizer *o, int client)
{
    struct optimizer_store *store = &o->state.store;
    bool others = false, owns = false;
    for (int i = 0; i < step_gate_n_clients(o->gate); i++)
        others = others || (i != client && client_of(o, i)->joined && !client_of(o, i)->ended);
    for (int i = 0; i < store->n; i++)
        owns = owns || store->tensors[i].client == client;
    if (client >= step_gate_n_clients(o->gate) || (others && owns))
        return -1;
    warn_line("%s: forgotten, having sent nothing but its join", fail_message());
    for (int i = store->n - 1; i >= 0; i--)
        if (store->tensors[i].client == client && o->state.config->resume)
            store->tensors[i].client = -1;
        else if (store->tensors[i].client == client)
            optimizer_store_remove(store, i);
    descriptions_forget(&o->state.described, client);
    client_of(o, client)->joined = false;
    client_of(o, client)->ended = true;
    return 0;
}

/* Ends the program after a signal, once the current step is complete. */
static int stop_between_steps(const struct optimizer *o)
{
    if (!stop_requested() || !untouched(o))
        return 0;
    stop_grace(0);
    return stop_check();
}

/* Handles one request of a client, and consumes it. */
static int handle(struct optimizer *o, int client, struct frame *request)
{
    struct step_gate_client *c = client_of(o, client);
    const char *kind = frame_meta(request, "kind");
    const bool joins = kind && !strcmp(kind, "join"), known = c->joined;
    bool bad = joins && check_join(o, client, request);
    c->ended = false;
    if (!joins && !known)
        bad = fail("client %d sent gradients and has not joined", client);
    if (!bad)
        return joins ? answer_join(o, client, request) : take_gradients(o, client, request);
    const int status = known ? -1 : server_refuse(o->server, client, false);
    frame_free(request);
    c->ended = true; /* it does not count as a client */
    return status;
}

static int serve(struct optimizer *o)
{
    struct frame *request;
    int client;
    bool ends;
    if (server_listens(o->server))
        stop_grace(STOP_PATIENCE);
    server_allow_leaving(o->server);
    while (!stop_between_steps(o)) {
        const enum server_result got = server_next_within(o->server, 0.2, &request, &client, &ends);
        if (got == SERVER_FAILED || got == SERVER_ENDED)
            return got == SERVER_ENDED ? 0 : -1;
        if (got == SERVER_CLIENT_LEFT && forget_client(o, client))
            return -1;
        if (got != SERVER_REQUEST)
            continue;
        struct step_gate_client *c = step_gate_client(o->gate, client);
        if (!c) {
            frame_free(request);
            return -1;
        }
        if (ends)
            c->ended = true;
        if (ends ? answer_waiting(o) : handle(o, client, request))
            return -1;
    }
    return -1;
}

/* Saves the state when a signal stops the program. Between two steps no progress need be lost.
 * Before the first step there is no progress, and some clients may not have joined yet, so a state
 * would lack their tensors; then nothing is saved. */
static void save_stopped(struct optimizer *o)
{
    struct fail_note why;
    if (!stop_requested() || !untouched(o) || o->state.step == 0)
        return;
    fail_save(&why);
    if (optimizer_state_save(&o->state))
        return;
    fail_restore(&why);
    fail("%s after %" PRId64 " steps", fail_message(), o->state.step);
}

int optimizer_serve(struct server *server, const struct optimizer_rule *rule,
                    const struct optimizer_config *config)
{
    if (config->keep_every && !*config->model)
        return fail("--keep-every needs --model");
    /* A run that was killed while it saved may have left temporary files. */
    if (*config->state)
        atomic_file_clean(config->state);
    if (*config->model)
        atomic_file_clean(config->model);
    struct optimizer o = {.server = server, .gate = step_gate_new()};
    if (!o.gate)
        return -1;
    optimizer_state_init(&o.state, rule, config);
    int bad = (config->resume && optimizer_state_load(&o.state)) || serve(&o);
    if (bad)
        save_stopped(&o);
    else
        bad = optimizer_state_save(&o.state) || optimizer_state_save_model(&o.state);
    step_gate_free(o.gate);
    optimizer_state_release(&o.state);
    return bad ? -1 : 0;
}

int optimizer_run(const struct optimizer_rule *rule)
{
    const struct optimizer_config config = optimizer_options_config();
    if (!*config.state && !*config.model)
        warn_line("neither --state nor --model is given: the result will not be kept");
    struct server *server = server_open(&server_options);
    if (!server)
        return warn_failure();
    if (optimizer_serve(server, rule, &config)) {
        const int status = warn_failure(); /* first, so that the cause comes first in a log */
        server_abandon(server);
        return status;
    }
    return server_end(server) ? warn_failure() : 0;
}
