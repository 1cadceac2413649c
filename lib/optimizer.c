#include "optimizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "frame_io.h"
#include "half.h"
#include "signals.h"

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

/* ---- what is owned ---- */

enum {
    NAME_MAX_BYTES = 400, /* of a parameter: SLOT/NAME fits into 512 */
    STOP_PATIENCE = 20    /* seconds for the rest of a step, after a signal: Slurm gives 30 */
};

struct entry {
    char *name;
    enum dtype dtype;
    int ndim;
    int64_t shape[FRAME_MAX_DIMS];
    size_t count, bytes;
    void *value;
    float *slots[4];
    bool buffer;
    bool frozen;     /* kept as it is: no gradient of it comes */
    int client;      /* who joined with it; -1: nobody yet (a resumed state's) */
    int64_t updated; /* the step it was last sent in; -1: not yet */
};

struct request { /* one that came before its step */
    struct frame *frame;
    int client;
};

struct optimizer {
    struct server *server;
    const struct optimizer_rule *rule;
    const struct optimizer_config *config;
    struct entry *entries;
    int n_entries;
    float *widened; /* NULL, or room for the largest parameter's gradient */
    size_t largest; /* of its values */
    int64_t step;   /* the one under way */
    int64_t steps;  /* of the whole run, as the last request said */
    int64_t saved;
    struct {
        bool joined, ended;
        int64_t ahead; /* the latest step it sent anything for */
    } * clients;
    int n_clients;
    struct request *waiting;
    int n_waiting;
};

bool optimizer_is_buffer(const char *name)
{
    static const char *const endings[] = {".running_mean", ".running_var", ".num_batches_tracked"};
    size_t length = strlen(name);
    for (size_t i = 0; i < 3; i++)
        if (length > strlen(endings[i]) && !strcmp(name + length - strlen(endings[i]), endings[i]))
            return true;
    return false;
}

bool optimizer_is_frozen(const char *list, const char *name)
{
    while (list && *list) {
        const size_t length = strcspn(list, ",");
        if (length && !strncmp(list, name, length) && (!name[length] || name[length] == '.'))
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

static struct entry *find(struct optimizer *o, const char *name)
{
    for (int i = 0; i < o->n_entries; i++)
        if (!strcmp(o->entries[i].name, name))
            return &o->entries[i];
    return NULL;
}

static struct entry *add(struct optimizer *o, const struct tensor *t)
{
    struct entry e = {.dtype = t->dtype,
                      .ndim = t->ndim,
                      .count = tensor_count(t),
                      .bytes = t->bytes,
                      .buffer = optimizer_is_buffer(t->name),
                      .client = -1,
                      .updated = -1};
    memcpy(e.shape, t->shape, sizeof e.shape);
    if (strlen(t->name) > NAME_MAX_BYTES || strchr(t->name, '/')) {
        fail("%.40s: a parameter's name has no '/' and at most %d bytes", t->name, NAME_MAX_BYTES);
        return NULL;
    }
    if (!e.buffer && t->dtype != DTYPE_F32) {
        fail("parameter %s is %s, not F32", t->name, dtype_name(t->dtype));
        return NULL;
    }
    struct entry *entries = realloc(o->entries, (size_t)(o->n_entries + 1) * sizeof *entries);
    if (entries)
        o->entries = entries;
    e.name = strdup(t->name);
    e.value = malloc(t->bytes + 1);
    bool good = entries && e.name && e.value;
    for (int i = 0; !e.buffer && i < o->rule->n_slots; i++)
        good = (e.slots[i] = calloc(e.count + 1, sizeof(float))) && good;
    if (!good) {
        free(e.name);
        free(e.value);
        for (int i = 0; i < o->rule->n_slots; i++)
            free(e.slots[i]);
        fail("out of memory for parameter %s", t->name);
        return NULL;
    }
    memcpy(e.value, t->data, t->bytes);
    if (e.count > o->largest) {
        o->largest = e.count;
        free(o->widened);
        o->widened = NULL;
    }
    o->entries[o->n_entries] = e;
    return &o->entries[o->n_entries++];
}

/* A gradient may come as BF16, and is answered so. */
static bool is_half(const struct entry *e, const struct tensor *t)
{
    return !e->buffer && t->dtype == DTYPE_BF16;
}

static int check_shape(const struct entry *e, const struct tensor *t, bool half)
{
    bool same = (e->dtype == t->dtype || half) && e->ndim == t->ndim;
    for (int i = 0; same && i < e->ndim; i++)
        same = e->shape[i] == t->shape[i];
    return same ? 0 : fail("%s has another shape or dtype than the parameter in force", t->name);
}

static void release(struct optimizer *o)
{
    for (int i = 0; i < o->n_entries; i++) {
        free(o->entries[i].name);
        free(o->entries[i].value);
        for (int j = 0; j < o->rule->n_slots; j++)
            free(o->entries[i].slots[j]);
    }
    for (int i = 0; i < o->n_waiting; i++)
        frame_free(o->waiting[i].frame);
    free(o->entries);
    free(o->widened);
    free(o->clients);
    free(o->waiting);
}

/* ---- files ---- */

static struct tensor_spec entry_spec(const struct entry *e, const char *name)
{
    struct tensor_spec spec = {name, e->dtype, e->ndim, {0}};
    memcpy(spec.shape, e->shape, sizeof spec.shape);
    return spec;
}

/* All entries, with their slots or without. */
static struct frame *pack_all(const struct optimizer *o, bool slots)
{
    int most = o->n_entries * (1 + o->rule->n_slots), n = 0;
    struct tensor_spec *specs = calloc((size_t)most + 1, sizeof *specs);
    char(*names)[512] = calloc((size_t)most + 1, sizeof *names);
    struct frame *f = NULL;
    if (specs && names) {
        for (int i = 0; i < o->n_entries; i++)
            specs[n++] = entry_spec(&o->entries[i], o->entries[i].name);
        for (int j = 0; slots && j < o->rule->n_slots; j++)
            for (int i = 0; i < o->n_entries; i++) {
                if (o->entries[i].buffer)
                    continue;
                snprintf(names[n], sizeof *names, "%s/%s", o->rule->slots[j], o->entries[i].name);
                specs[n] = entry_spec(&o->entries[i], names[n]);
                n++;
            }
        f = frame_new(specs, n);
    } else
        fail("out of memory");
    for (int i = 0; f && i < o->n_entries; i++)
        memcpy(frame_find(f, o->entries[i].name)->data, o->entries[i].value, o->entries[i].bytes);
    n = o->n_entries;
    for (int j = 0; f && slots && j < o->rule->n_slots; j++)
        for (int i = 0; i < o->n_entries; i++)
            if (!o->entries[i].buffer)
                memcpy(frame_find(f, names[n++])->data, o->entries[i].slots[j],
                       o->entries[i].bytes);
    if (f) {
        frame_set_meta(f, "kind", slots ? "state" : "model");
        frame_set_meta(f, "optimizer", o->rule->name);
        frame_set_meta_int(f, "step", o->step);
        frame_set_meta_int(f, "steps", o->steps);
    }
    free(specs);
    free(names);
    return f;
}

static int save(const struct optimizer *o, const char *path, bool slots)
{
    if (!*path || o->n_entries == 0) /* nobody joined: what is there stays */
        return 0;
    struct frame *f = pack_all(o, slots);
    int bad = f ? frame_save(f, path) : -1;
    frame_free(f);
    return bad;
}

static int save_state(struct optimizer *o)
{
    if (o->saved == o->step)
        return 0;
    o->saved = o->step;
    return save(o, o->config->state, true);
}

/* DIR/model-200.safetensors, beside DIR/model.safetensors. */
static int keep_model(const struct optimizer *o)
{
    const char *model = o->config->model, *slash = strrchr(model, '/');
    const char *dot = strrchr(slash ? slash : model, '.');
    const int stem = dot ? (int)(dot - model) : (int)strlen(model);
    char *path;
    if (!o->config->keep_every || o->step % o->config->keep_every)
        return 0;
    if (asprintf(&path, "%.*s-%" PRId64 "%s", stem, model, o->step, dot ? dot : "") < 0)
        return fail("out of memory");
    const int bad = save(o, path, false);
    free(path);
    return bad;
}

/* A state's tensors: the parameters first, then what belongs to their slots. */
static int load_state(struct optimizer *o)
{
    const char *path = o->config->state, *kind, *name;
    if (!*path)
        return fail("--resume needs --state");
    struct frame *f = frame_load(path);
    if (!f)
        return -1;
    int bad = 0;
    kind = frame_meta(f, "kind");
    name = frame_meta(f, "optimizer");
    if (!kind || strcmp(kind, "state") || !name || !frame_meta(f, "step"))
        bad = fail("%s: not an optimizer's state", path);
    else if (strcmp(name, o->rule->name))
        bad = fail("%s: the state of %s, not of %s", path, name, o->rule->name);
    else if (frame_meta_int(f, "step", 0, &o->step) || o->step < 0 || o->step > INT64_MAX / 2)
        bad = fail("%s: step is no count", path);
    for (int i = 0; !bad && i < f->n_tensors; i++)
        if (!strchr(f->tensors[i].name, '/'))
            bad = add(o, &f->tensors[i]) ? 0 : -1;
    for (int i = 0; !bad && i < o->n_entries; i++)
        for (int j = 0; !bad && !o->entries[i].buffer && j < o->rule->n_slots; j++) {
            struct entry *e = &o->entries[i];
            char slot[512];
            snprintf(slot, sizeof slot, "%s/%s", o->rule->slots[j], e->name);
            const struct tensor *t = frame_find(f, slot);
            if (!t || check_shape(e, t, false))
                bad = fail("%s: %s is missing or does not fit", path, slot);
            else
                memcpy(e->slots[j], t->data, t->bytes);
        }
    o->saved = o->step;
    frame_free(f);
    return bad;
}

/* ---- requests ---- */

/* A reply is the request with the values in force in place of what came: they have the same sizes.
 */
static void put_values(struct optimizer *o, struct frame *f)
{
    for (int i = 0; i < f->n_tensors; i++) {
        const struct entry *e = find(o, f->tensors[i].name);
        if (is_half(e, &f->tensors[i]))
            narrow_bf16(e->value, f->tensors[i].data, e->count);
        else
            memcpy(f->tensors[i].data, e->value, e->bytes);
    }
}

static int check_join(struct optimizer *o, int client, const struct frame *request)
{
    for (int i = 0; i < request->n_tensors; i++) {
        const struct tensor *t = &request->tensors[i];
        const struct entry *e = find(o, t->name);
        if (!e && o->config->resume)
            return fail("%s has no tensor %s, which a client joined with", o->config->state,
                        t->name);
        if (!e)
            continue;
        if (check_shape(e, t, false))
            return -1;
        if (e->client >= 0 && e->client != client && !o->clients[e->client].ended)
            return fail("clients %d and %d both joined with %s", e->client, client, t->name);
    }
    return 0;
}

/* Takes over what a client joins with, as far as it is not known. */
static int take_initial(struct optimizer *o, int client, const struct frame *request)
{
    for (int i = 0; i < request->n_tensors; i++) {
        struct entry *e = find(o, request->tensors[i].name);
        if (!e && !(e = add(o, &request->tensors[i])))
            return -1;
        e->client = client;
        e->frozen = optimizer_is_frozen(frame_meta(request, "frozen"), e->name);
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
        if (!(reply = pack_all(o, false)))
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
        const struct entry *e = find(o, t->name);
        if (!e)
            return fail("a gradient of %s, which nobody joined with", t->name);
        if (e->frozen)
            return fail("%s %s, which is frozen", e->buffer ? "a value of" : "a gradient of",
                        t->name);
        if (check_shape(e, t, is_half(e, t)))
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
    struct entry *e = find(o, t->name);
    const float *gradient = t->data;
    if (is_half(e, t)) {
        if (!o->widened && !(o->widened = malloc(o->largest * sizeof *o->widened)))
            return fail("out of memory");
        widen_bf16(t->data, o->widened, e->count);
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
    struct progress_point at = {.step = o->step};
    if (frame_meta_int(request, "steps", o->step + 1, &at.steps) ||
        frame_meta_int(request, "steps_per_epoch", at.steps, &at.steps_per_epoch) ||
        frame_meta_int(request, "batch", 256, &at.batch))
        return -1;
    if (at.steps <= 0 || at.steps_per_epoch <= 0 || at.batch <= 0)
        return fail("steps, steps_per_epoch and batch must be positive");
    o->steps = at.steps;
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
        o->step++;
        if (keep_model(o))
            return -1;
        if (o->config->save_every && o->step % o->config->save_every == 0 && save_state(o))
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
            return fail("out of memory");
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
        return fail("out of memory");
    o->clients = clients;
    for (; o->n_clients <= client; o->n_clients++) {
        o->clients[o->n_clients].joined = o->clients[o->n_clients].ended = false;
        o->clients[o->n_clients].ahead = -1;
    }
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
    int client, got;
    bool ends;
    if (server_listens(o->server))
        stop_grace(STOP_PATIENCE);
    while (!stop_between_steps(o)) {
        got = server_next_within(o->server, 0.2, &request, &client, &ends);
        if (got <= 0)
            return got;
        if (got == 2)
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
    if (copy.keep_every && !*copy.model)
        return fail("--keep-every needs --model");
    int bad = (config->resume && load_state(&o)) || serve(&o);
    if (bad && stop_requested() && untouched(&o) && o.n_entries) {
        char message[256]; /* between two steps: nothing needs to be lost */
        snprintf(message, sizeof message, "%s", fail_message());
        if (!save_state(&o))
            fail("%s after %" PRId64 " steps", message, o.step);
    }
    if (!bad)
        bad = save_state(&o) || save(&o, copy.model, false);
    release(&o);
    return bad ? -1 : 0;
}

int optimizer_run(const struct optimizer_rule *rule)
{
    if (!*optimizer_config.state && !*optimizer_config.model)
        program_warn("neither --state nor --model is given: the result will not be kept");
    struct server *server = server_open();
    if (!server)
        return program_fail();
    if (optimizer_serve(server, rule, &optimizer_config)) {
        const int status = program_fail(); /* first, so that the culprit's line leads a log */
        server_abandon(server);
        return status;
    }
    return server_end(server) ? program_fail() : 0;
}
