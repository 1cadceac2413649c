#include "program/optimizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/half.h"
#include "base/stop.h"
#include "base/warn.h"
#include "frame/sound.h"
#include "program/link_options.h"
#include "program/optimizer_parts.h"
#include "program/parameter_name.h"

struct optimizer_config optimizer_config = {
    .schedule = {.lr = -1, .base_lr = -1, .warmup_epochs = 10, .warmup_steps = -1},
    .state = "",
    .model = "",
    .save_every = 100};
static const char *scaling = "linear", *shape = "cosine";
static struct optimizer_defaults defaults = {.linear_lr = 0.3, .sqrt_lr = 0.075};
static char base_lr_help[96] = "without: 0.3 for linear, 0.075 for sqrt scaling";

void optimizer_set_defaults(const struct optimizer_defaults *d)
{
    defaults = *d;
    optimizer_config.schedule.warmup_epochs = d->warmup_epochs;
    snprintf(base_lr_help, sizeof base_lr_help, "without: %g for linear, %g for sqrt scaling",
             d->linear_lr, d->sqrt_lr);
}

const struct option_spec optimizer_option_specs[] = {
    {.kind = OPTION_HEADING, .help = "learning rate"},
    {.name = "lr",
     .kind = OPTION_DOUBLE,
     .value = &optimizer_config.schedule.lr,
     .argument = "X",
     .min = 0,
     .max = 1e6,
     .help = "peak rate; without: the base rate scaled by the batch"},
    {.name = "base-lr",
     .kind = OPTION_DOUBLE,
     .value = &optimizer_config.schedule.base_lr,
     .argument = "X",
     .min = 0,
     .max = 1e6,
     .help = base_lr_help},
    {.name = "scaling",
     .kind = OPTION_CHOICE,
     .value = &scaling,
     .choices = "linear|sqrt",
     .help = "base rate x batch / 256, or x sqrt(batch)"},
    {.name = "warmup",
     .kind = OPTION_DOUBLE,
     .value = &optimizer_config.schedule.warmup_epochs,
     .argument = "EPOCHS",
     .min = 0,
     .max = 1e6,
     .help = "linear warm-up from 0"},
    {.name = "warmup-steps",
     .kind = OPTION_INT,
     .value = &optimizer_config.schedule.warmup_steps,
     .argument = "N",
     .min = 0,
     .max = 1e15,
     .help = "the same in steps, instead of --warmup"},
    {.name = "schedule",
     .kind = OPTION_CHOICE,
     .value = &shape,
     .choices = "cosine|constant",
     .help = "after the warm-up"},
    {.kind = OPTION_HEADING, .help = "state"},
    {.name = "state",
     .kind = OPTION_STRING,
     .value = &optimizer_config.state,
     .argument = "FILE",
     .help = "write parameters and optimizer state there"},
    {.name = "save-every",
     .kind = OPTION_INT,
     .value = &optimizer_config.save_every,
     .argument = "STEPS",
     .min = 0,
     .max = 1e15,
     .help = "how often; 0: only at the end"},
    {.name = "model",
     .kind = OPTION_STRING,
     .value = &optimizer_config.model,
     .argument = "FILE",
     .help = "write parameters and buffers there at the end"},
    {.name = "keep-every",
     .kind = OPTION_INT,
     .value = &optimizer_config.keep_every,
     .argument = "STEPS",
     .min = 0,
     .max = 1e15,
     .help = "keep models of these steps beside it, as FILE-STEP; 0: none"},
    {.name = "resume",
     .kind = OPTION_SWITCH,
     .value = &optimizer_config.resume,
     .help = "go on from --state"},
    {0},
};

/* ---- requests ---- */

enum { STOP_PATIENCE = 20 }; /* seconds for the rest of a step, after a signal: Slurm gives 30 */

/* A reply is the request with the values in force in place of what came: they have the same sizes.
 */
static void put_values(struct optimizer *o, struct frame *f)
{
    for (int i = 0; i < f->n_tensors; i++) {
        const struct entry *e = optimizer_find(o, f->tensors[i].name);
        if (optimizer_is_half(e, &f->tensors[i]))
            half_narrow_bf16(e->value, f->tensors[i].data, e->count);
        else
            memcpy(f->tensors[i].data, e->value, e->bytes);
    }
}

static bool same_part(const char *a, const char *b)
{
    const size_t n = strcspn(a, ".");
    return n == strcspn(b, ".") && !strncmp(a, b, n);
}

/* A resumed state of a deeper network than the client's: of a part that the client has, the client
 * has all. */
static int check_left_over(const struct optimizer *o, const struct frame *request)
{
    for (int i = 0; i < o->n_entries; i++) {
        const char *name = o->entries[i].name;
        bool claimed = false;
        for (int j = 0; j < request->n_tensors && !claimed; j++)
            claimed = same_part(name, request->tensors[j].name);
        if (claimed && !frame_find(request, name))
            return fail("%s has %s, which the client's network has not", o->config->state, name);
    }
    return 0;
}

static int check_join(struct optimizer *o, int client, const struct frame *request)
{
    if (settings_check(o, request))
        return -1;
    for (int i = 0; i < request->n_tensors; i++) {
        const struct tensor *t = &request->tensors[i];
        const struct entry *e = optimizer_find(o, t->name);
        if (sound_tensor(t))
            return fail("a client joined with parameters of which %s", fail_message());
        if (!e && o->config->resume)
            return fail("%s has no tensor %s, which a client joined with", o->config->state,
                        t->name);
        if (!e && o->step > 0)
            return fail("a client joined with %s after the first step", t->name);
        if (!e)
            continue;
        if (optimizer_check_shape(e, t, false))
            return -1;
        if (e->client >= 0 && e->client != client && !o->clients[e->client].ended)
            return fail("clients %d and %d both joined with %s", e->client, client, t->name);
    }
    return o->config->resume && request->n_tensors ? check_left_over(o, request) : 0;
}

/* Takes over what a client joins with, as far as it is not known. */
static int take_initial(struct optimizer *o, int client, const struct frame *request)
{
    for (int i = 0; i < request->n_tensors; i++) {
        struct entry *e = optimizer_find(o, request->tensors[i].name);
        if (!e && !(e = optimizer_add(o, &request->tensors[i])))
            return -1;
        e->client = client;
        e->frozen = parameter_name_is_frozen(frame_meta(request, "frozen"), e->name);
    }
    o->clients[client].joined = true;
    return 0;
}

/* One of several optimizers (shard.h) may own nothing but what is frozen: no gradients come to it,
 * so it does not learn of steps. */
static bool counts_steps(const struct optimizer *o)
{
    bool frozen = false;
    for (int i = 0; i < o->n_entries; i++) {
        if (!o->entries[i].frozen && !o->entries[i].buffer)
            return true;
        frozen = frozen || o->entries[i].frozen;
    }
    return !frozen;
}

/* Consumes the request. */
static int answer_join(struct optimizer *o, int client, struct frame *request)
{
    struct frame *reply = request;
    if (take_initial(o, client, request)) {
        frame_free(request);
        return -1;
    }
    if (request->n_tensors)
        put_values(o, request);
    else { /* a rank that brings nothing wants to know everything */
        frame_free(request);
        if (!(reply = optimizer_pack(o, false)))
            return -1;
        frame_drop_meta(reply, "optimizer");
    }
    frame_set_meta(reply, "kind", "join");
    if (counts_steps(o))
        frame_set_meta_int(reply, "step", o->step);
    return server_reply(o->server, client, reply);
}

/* Whether gradients fit the parameters. *twice: they do not since they have come already. */
static int check_gradients(struct optimizer *o, const struct frame *request, bool *twice)
{
    *twice = false;
    for (int i = 0; i < request->n_tensors; i++) {
        const struct tensor *t = &request->tensors[i];
        const struct entry *e = optimizer_find(o, t->name);
        if (!e)
            return fail("a gradient of %s, which nobody joined with", t->name);
        if (e->frozen)
            return fail("%s %s, which is frozen", e->buffer ? "a value of" : "a gradient of",
                        t->name);
        if (optimizer_check_shape(e, t, optimizer_is_half(e, t)))
            return -1;
        *twice = e->updated == o->step;
        if (*twice)
            return fail("%s %s came twice in step %" PRId64,
                        e->buffer ? "buffer" : "the gradient of", t->name, o->step);
    }
    return 0;
}

static int update(struct optimizer *o, const struct tensor *t, double lr)
{
    struct entry *e = optimizer_find(o, t->name);
    const float *gradient = t->data;
    if (optimizer_is_half(e, t)) {
        if (!o->widened && !(o->widened = malloc(o->largest * sizeof *o->widened)))
            return fail_memory(NULL);
        half_widen_bf16(t->data, o->widened, e->count);
        gradient = o->widened;
    }
    if (e->buffer)
        memcpy(e->value, t->data, t->bytes);
    else if (o->rule->update(o->rule->hyper, lr, o->step, e->ndim, e->count, e->value, gradient,
                             e->slots))
        return fail("the gradient of %s is not finite in step %" PRId64, t->name, o->step);
    e->updated = o->step;
    return 0;
}

static int take_step(struct optimizer *o, const struct frame *request, double *lr)
{
    struct schedule_point at = {.step = o->step};
    if (frame_meta_int(request, "steps", o->step + 1, &at.steps) ||
        frame_meta_int(request, "steps_per_epoch", at.steps, &at.steps_per_epoch) ||
        frame_meta_int(request, "batch", 256, &at.batch))
        return -1;
    if (at.steps <= 0 || at.steps_per_epoch <= 0 || at.batch <= 0)
        return fail("steps, steps_per_epoch and batch must be positive");
    o->steps = at.steps;
    if (settings_take(o, request))
        return -1;
    *lr = schedule_rate(&o->config->schedule, &at);
    for (int i = 0; i < request->n_tensors; i++)
        if (update(o, &request->tensors[i], *lr))
            return -1;
    return 0;
}

/* Consumes the request. */
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
    put_values(o, request);
    frame_set_meta(request, "kind", "parameters");
    frame_set_meta_float(request, "lr", (float)lr);
    return server_reply(o->server, client, request);
}

static bool complete(const struct optimizer *o, int client)
{
    if (o->clients[client].ended || o->clients[client].ahead > o->step)
        return true;
    for (int i = 0; i < o->n_entries; i++)
        if (o->entries[i].client == client && !o->entries[i].buffer && !o->entries[i].frozen &&
            o->entries[i].updated != o->step)
            return false;
    return true;
}

static bool untouched(const struct optimizer *o)
{
    for (int i = 0; i < o->n_entries; i++)
        if (o->entries[i].updated == o->step)
            return false;
    return true;
}

/* What a resumed state holds and nobody joined with would stay as it is from here on. */
static int check_unclaimed(struct optimizer *o)
{
    for (int i = 0; o->config->resume && !o->checked && i < o->n_entries; i++)
        if (o->entries[i].client < 0)
            return fail("%s has %s, which no client joined with: is a stage missing?",
                        o->config->state, o->entries[i].name);
    o->checked = true;
    return 0;
}

/* If each client has done its step, the next one begins: the state is saved when its time has
 * come, and the requests that waited are answered. */
static int finish_step(struct optimizer *o)
{
    for (;;) {
        for (int i = 0; i < o->n_clients; i++)
            if (!complete(o, i))
                return 0;
        if (untouched(o) && o->n_waiting == 0)
            return 0;
        if (check_unclaimed(o))
            return -1;
        o->step++;
        if (optimizer_keep_model(o))
            return -1;
        if (o->config->save_every && o->step % o->config->save_every == 0 &&
            optimizer_save_state(o))
            return -1;
        if (stop_requested()) /* here, before anything of the next step */
            return 0;
        int kept = 0, n = o->n_waiting;
        o->n_waiting = 0;
        for (int i = 0; i < n; i++) {
            struct request r = o->waiting[i];
            int64_t step;
            if (frame_meta_int(r.frame, "step", o->step, &step) || step != o->step) {
                o->waiting[kept++] = r;
                continue;
            }
            if (answer_gradients(o, r.client, r.frame)) {
                while (++i < n)
                    frame_free(o->waiting[i].frame);
                o->n_waiting = kept;
                return -1;
            }
        }
        o->n_waiting = kept;
        if (n == kept)
            return 0;
    }
}

static int take_gradients(struct optimizer *o, int client, struct frame *request)
{
    int64_t step;
    if (frame_meta_int(request, "step", o->step, &step)) {
        frame_free(request);
        return -1;
    }
    /* A client may be one step ahead of the others, but leaves none out and does not go back. */
    const int64_t last = o->clients[client].ahead;
    const bool late = step < o->step || step < last;
    if (late || (step != o->step && !(step == o->step + 1 && last >= o->step))) {
        frame_free(request);
        fail("client %d sent step %" PRId64 ", where step %" PRId64 " is under way", client, step,
             o->step);
        return late ? server_refuse(o->server, client, true) : -1;
    }
    o->clients[client].ahead = step;
    if (step > o->step) {
        struct request *waiting = realloc(o->waiting, (size_t)(o->n_waiting + 1) * sizeof *waiting);
        if (!waiting) {
            frame_free(request);
            return fail_memory(NULL);
        }
        o->waiting = waiting;
        waiting[o->n_waiting++] = (struct request){request, client};
        return finish_step(o);
    }
    return answer_gradients(o, client, request) ? -1 : finish_step(o);
}

static int know_client(struct optimizer *o, int client)
{
    if (client < o->n_clients)
        return 0;
    void *clients = realloc(o->clients, (size_t)(client + 1) * sizeof *o->clients);
    if (!clients)
        return fail_memory(NULL);
    o->clients = clients;
    for (; o->n_clients <= client; o->n_clients++) {
        o->clients[o->n_clients].joined = o->clients[o->n_clients].ended = false;
        o->clients[o->n_clients].ahead = -1;
    }
    return 0;
}

/* One that joined and left, and may be a stranger. If other clients are there and it brought
 * parameters, the run cannot do without it: -1. Else they are nobody's again, or gone. */
static int forget_client(struct optimizer *o, int client)
{
    bool others = false, owns = false;
    for (int i = 0; i < o->n_clients; i++)
        others = others || (i != client && o->clients[i].joined && !o->clients[i].ended);
    for (int i = 0; i < o->n_entries; i++)
        owns = owns || o->entries[i].client == client;
    if (client >= o->n_clients || (others && owns))
        return -1;
    warn_line("%s: forgotten, having sent nothing but its join", fail_message());
    for (int i = o->n_entries - 1; i >= 0; i--)
        if (o->entries[i].client == client && o->config->resume)
            o->entries[i].client = -1;
        else if (o->entries[i].client == client)
            optimizer_remove(o, i);
    o->clients[client].joined = false;
    o->clients[client].ended = true;
    return 0;
}

/* A program that is asked to stop finishes the step that is under way, if its clients let it. */
static int stop_between_steps(const struct optimizer *o)
{
    if (!stop_requested() || !untouched(o))
        return 0;
    stop_grace(0);
    return stop_check();
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
        if (know_client(o, client)) {
            frame_free(request);
            return -1;
        }
        if (ends) {
            o->clients[client].ended = true;
            if (finish_step(o))
                return -1;
            continue;
        }
        o->clients[client].ended = false;
        const char *kind = frame_meta(request, "kind");
        const bool joins = kind && !strcmp(kind, "join"), known = o->clients[client].joined;
        bool bad = joins && check_join(o, client, request);
        if (!joins && !known)
            bad = fail("client %d sent gradients and has not joined", client);
        if (bad && (known || server_refuse(o->server, client, false))) {
            frame_free(request);
            return -1;
        }
        if (bad) {
            o->clients[client].ended = true; /* it was none */
            frame_free(request);
        } else if (joins ? answer_join(o, client, request) : take_gradients(o, client, request))
            return -1;
    }
    return -1;
}

int optimizer_serve(struct server *s, const struct optimizer_rule *rule,
                    const struct optimizer_config *config)
{
    struct optimizer_config copy = *config;
    copy.schedule.sqrt_scaling = !strcmp(scaling, "sqrt");
    copy.schedule.constant = !strcmp(shape, "constant");
    if (copy.schedule.base_lr < 0)
        copy.schedule.base_lr = copy.schedule.sqrt_scaling ? defaults.sqrt_lr : defaults.linear_lr;
    struct optimizer o = {.server = s, .rule = rule, .config = &copy, .saved = -1};
    for (int i = 0; i < RUN_SETTINGS; i++)
        o.run.values[i] = o.resumed.values[i] = -1;
    if (copy.keep_every && !*copy.model)
        return fail("--keep-every needs --model");
    for (int i = 0; i < 2; i++) /* of a run that was killed while it saved */
        if (*(i ? copy.model : copy.state))
            atomic_file_clean(i ? copy.model : copy.state);
    int bad = (config->resume && optimizer_load_state(&o)) || serve(&o);
    /* Between two steps nothing needs to be lost. Before the first one nothing is, and some clients
     * may not have joined yet: a state would lack their tensors. */
    if (bad && stop_requested() && untouched(&o) && o.step > 0) {
        char message[256];
        snprintf(message, sizeof message, "%s", fail_message());
        if (!optimizer_save_state(&o))
            fail("%s after %" PRId64 " steps", message, o.step);
    }
    if (!bad)
        bad = optimizer_save_state(&o) || optimizer_save(&o, copy.model, false);
    optimizer_release(&o);
    return bad ? -1 : 0;
}

int optimizer_run(const struct optimizer_rule *rule)
{
    if (!*optimizer_config.state && !*optimizer_config.model)
        warn_line("neither --state nor --model is given: the result will not be kept");
    struct server *server = server_open(&server_options);
    if (!server)
        return warn_failure();
    if (optimizer_serve(server, rule, &optimizer_config)) {
        const int status = warn_failure(); /* first, so that the culprit's line leads a log */
        server_abandon(server);
        return status;
    }
    return server_end(server) ? warn_failure() : 0;
}
