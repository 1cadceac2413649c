#include "program/optimizer_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame_io.h"
#include "frame/sound.h"
#include "program/ema.h"
#include "program/parameter_name.h"

void optimizer_state_init(struct optimizer_state *s, const struct optimizer_rule *rule,
                          const struct optimizer_config *config)
{
    *s = (struct optimizer_state){
        .rule = rule, .config = config, .store = {.n_slots = rule->n_slots}, .saved = -1};
    optimizer_settings_init(&s->settings, config->state, rule->options);
}

void optimizer_state_release(struct optimizer_state *s)
{
    optimizer_store_release(&s->store);
    descriptions_clear(&s->described);
}

enum { SLOT_NAME = 512 };

static struct tensor_spec owned_spec(const struct owned_tensor *e, const char *name)
{
    struct tensor_spec spec = {name, e->dtype, e->ndim, {0}};
    memcpy(spec.shape, e->shape, sizeof spec.shape);
    return spec;
}

/* A tensor of a state besides parameters and buffers. */
struct extra {
    char name[SLOT_NAME];
    const struct owned_tensor *of; /* it has the shape of this parameter */
    const float *values;
};

/* Lists a state's slots, and then its slow copies, in list. Returns their number. */
static int list_extra(const struct optimizer_state *s, struct extra *list)
{
    const struct optimizer_store *all = &s->store;
    int n = 0;
    for (int j = 0; j < s->rule->n_slots; j++)
        for (int i = 0; i < all->n; i++) {
            const struct owned_tensor *e = &all->tensors[i];
            if (e->buffer)
                continue;
            snprintf(list[n].name, sizeof list->name, "%s/%s", s->rule->slots[j], e->name);
            list[n].of = e;
            list[n++].values = e->slots[j];
        }
    for (int i = 0; i < all->n; i++) {
        if (!all->tensors[i].slow)
            continue;
        ema_name(list[n].name, all->tensors[i].name);
        list[n].of = &all->tensors[i];
        list[n++].values = all->tensors[i].slow;
    }
    return n;
}

/* Returns a frame with all parameters and buffers, with the state of a loss if `losses` is set, and
 * n more tensors. */
static struct frame *pack(const struct optimizer_store *all, bool losses, const struct extra *extra,
                          int n)
{
    struct tensor_spec *specs = calloc((size_t)(all->n + n) + 1, sizeof *specs);
    int own = 0;
    if (!specs)
        return fail_null("out of memory");
    for (int i = 0; i < all->n; i++)
        if (losses || !parameter_name_is_loss(all->tensors[i].name))
            specs[own++] = owned_spec(&all->tensors[i], all->tensors[i].name);
    for (int i = 0; i < n; i++)
        specs[own + i] = owned_spec(extra[i].of, extra[i].name);
    struct frame *f = frame_new(specs, own + n);
    free(specs);
    if (!f)
        return NULL;
    for (int i = 0; i < all->n; i++)
        if (losses || !parameter_name_is_loss(all->tensors[i].name))
            memcpy(frame_find(f, all->tensors[i].name)->data, all->tensors[i].value,
                   all->tensors[i].bytes);
    for (int i = 0; i < n; i++)
        memcpy(frame_find(f, extra[i].name)->data, extra[i].values, extra[i].of->bytes);
    return f;
}

/* Writes the momentum of slow copies, in the order of their names, and the settings. The order of
 * the store differs between a run that was resumed and one that was not. */
static void write_settings(const struct optimizer_state *s, struct frame *f)
{
    const struct owned_tensor *next;
    for (const char *last = "";; last = next->name) {
        next = NULL;
        for (int i = 0; i < s->store.n; i++) {
            const struct owned_tensor *e = &s->store.tensors[i];
            if (e->slow && strcmp(e->name, last) > 0 && (!next || strcmp(e->name, next->name) < 0))
                next = e;
        }
        if (!next)
            break;
        ema_set_part(f, next->name, next->momentum);
    }
    optimizer_settings_write(&s->settings, f);
}

struct frame *optimizer_state_pack(const struct optimizer_state *s, bool slots)
{
    const size_t most = (size_t)s->store.n * (size_t)(1 + s->rule->n_slots) + 1;
    struct extra *extra = calloc(most, sizeof *extra);
    if (!extra)
        return fail_null("out of memory");
    struct frame *f = pack(&s->store, slots, extra, slots ? list_extra(s, extra) : 0);
    free(extra);
    if (!f)
        return NULL;
    frame_set_meta(f, "kind", slots ? "state" : "model");
    frame_set_meta(f, "optimizer", s->rule->name);
    frame_set_meta_int(f, "step", s->step);
    frame_set_meta_int(f, "steps", s->steps);
    descriptions_write(&s->described, f);
    if (slots)
        write_settings(s, f);
    return f;
}

static int save(const struct optimizer_state *s, const char *path, bool slots)
{
    if (!*path || s->store.n == 0) /* nobody joined: the file stays as it is */
        return 0;
    struct frame *f = optimizer_state_pack(s, slots);
    int bad = f ? 0 : -1;
    for (int i = 0; f && i < f->n_tensors && !bad; i++)
        if (sound_tensor(&f->tensors[i])) /* for example if the learning rate is far too high */
            bad = fail("%s in step %" PRId64 ": %s is left as it was", fail_message(), s->step - 1,
                       path);
    if (!bad)
        bad = frame_save(f, path);
    frame_free(f);
    return bad;
}

int optimizer_state_save(struct optimizer_state *s)
{
    if (s->saved == s->step)
        return 0;
    s->saved = s->step;
    return save(s, s->config->state, true);
}

int optimizer_state_save_model(const struct optimizer_state *s)
{
    return save(s, s->config->model, false);
}

/* Writes DIR/model-200.safetensors beside DIR/model.safetensors, if the step is due. */
int optimizer_state_keep_model(const struct optimizer_state *s)
{
    const char *model = s->config->model, *slash = strrchr(model, '/');
    const char *dot = strrchr(slash ? slash : model, '.');
    const int stem = dot ? (int)(dot - model) : (int)strlen(model);
    char *path;
    if (!s->config->keep_every || s->step % s->config->keep_every)
        return 0;
    if (asprintf(&path, "%.*s-%" PRId64 "%s", stem, model, s->step, dot ? dot : "") < 0)
        return fail_memory(NULL);
    const int bad = save(s, path, false);
    free(path);
    return bad;
}

static int check_kind(struct optimizer_state *s, const struct frame *f, const char *path)
{
    const char *kind = frame_meta(f, "kind"), *name = frame_meta(f, "optimizer");
    if (!kind || strcmp(kind, "state") || !name || !frame_meta(f, "step"))
        return fail("%s: not an optimizer's state", path);
    if (strcmp(name, s->rule->name))
        return fail("%s: the state of %s, not of %s", path, name, s->rule->name);
    if (frame_meta_int(f, "step", 0, &s->step) || s->step < 0 || s->step > INT64_MAX / 2 ||
        frame_meta_int(f, "steps", 0, &s->steps) || s->steps < 0 ||
        (s->steps && s->step > s->steps))
        return fail("%s: step '%.32s' of '%.32s' is no count", path, frame_meta(f, "step"),
                    frame_meta(f, "steps") ? frame_meta(f, "steps") : "");
    return 0;
}

/* Copies the tensor of that name from a state's frame to `to`, which is of the parameter e. */
static int take_extra(const struct owned_tensor *e, const struct frame *f, const char *name,
                      float *to)
{
    const struct tensor *t = frame_find(f, name);
    if (!t || optimizer_store_check(e, t, false))
        return fail("%s is missing or does not fit", name);
    memcpy(to, t->data, t->bytes);
    return 0;
}

/* Takes a parameter's slow copy. The state has both, it and its momentum, or neither. */
static int take_slow(struct owned_tensor *e, const struct frame *f)
{
    double momentum;
    char name[EMA_TEXT];
    ema_name(name, e->name);
    if (ema_get_part(f, e->name, &momentum) || optimizer_store_keep_slow(e, momentum))
        return -1;
    if (e->slow)
        return take_extra(e, f, name, e->slow);
    return frame_find(f, name) ? fail("%s has no momentum in the metadata", name) : 0;
}

/* Stores a state's tensors: first the parameters, then the tensors of their slots. */
static int take_tensors(struct optimizer_state *s, const struct frame *f)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (sound_tensor(&f->tensors[i]) ||
            (!strchr(f->tensors[i].name, '/') && !optimizer_store_add(&s->store, &f->tensors[i])))
            return -1;
    for (int i = 0; i < s->store.n; i++) {
        struct owned_tensor *e = &s->store.tensors[i];
        for (int j = 0; !e->buffer && j < s->rule->n_slots; j++) {
            char slot[SLOT_NAME];
            snprintf(slot, sizeof slot, "%s/%s", s->rule->slots[j], e->name);
            if (take_extra(e, f, slot, e->slots[j]))
                return -1;
        }
        if (!e->buffer && take_slow(e, f))
            return -1;
    }
    return 0;
}

int optimizer_state_load(struct optimizer_state *s)
{
    const char *path = s->config->state;
    if (!*path)
        return fail("--resume needs --state");
    struct frame *f = frame_load(path);
    if (!f)
        return -1;
    int bad = check_kind(s, f, path);
    if (!bad && take_tensors(s, f))
        bad = fail_prefix("%s", path);
    if (!bad)
        bad = optimizer_settings_resume(&s->settings, f, s->steps) ||
              descriptions_take(&s->described, f, -1);
    s->saved = s->step;
    frame_free(f);
    return bad;
}
