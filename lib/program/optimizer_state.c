#include "program/optimizer_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame_io.h"
#include "frame/sound.h"

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

/* Describes all tensors, followed with `slots` by the parameters' slots, whose names it writes to
 * `names`. Returns their number. */
static int describe(const struct optimizer_state *s, bool slots, struct tensor_spec *specs,
                    char (*names)[SLOT_NAME])
{
    const struct optimizer_store *all = &s->store;
    int n = 0;
    for (int i = 0; i < all->n; i++)
        specs[n++] = owned_spec(&all->tensors[i], all->tensors[i].name);
    for (int j = 0; slots && j < s->rule->n_slots; j++)
        for (int i = 0; i < all->n; i++) {
            if (all->tensors[i].buffer)
                continue;
            snprintf(names[n], sizeof *names, "%s/%s", s->rule->slots[j], all->tensors[i].name);
            specs[n] = owned_spec(&all->tensors[i], names[n]);
            n++;
        }
    return n;
}

/* Copies the values, and with `slots` the slots, into a frame that describe() described. */
static void copy_values(const struct optimizer_state *s, bool slots, struct frame *f,
                        char (*names)[SLOT_NAME])
{
    const struct optimizer_store *all = &s->store;
    int n = all->n;
    for (int i = 0; i < all->n; i++)
        memcpy(frame_find(f, all->tensors[i].name)->data, all->tensors[i].value,
               all->tensors[i].bytes);
    for (int j = 0; slots && j < s->rule->n_slots; j++)
        for (int i = 0; i < all->n; i++)
            if (!all->tensors[i].buffer)
                memcpy(frame_find(f, names[n++])->data, all->tensors[i].slots[j],
                       all->tensors[i].bytes);
}

struct frame *optimizer_state_pack(const struct optimizer_state *s, bool slots)
{
    const size_t most = (size_t)s->store.n * (size_t)(1 + s->rule->n_slots) + 1;
    struct tensor_spec *specs = calloc(most, sizeof *specs);
    char(*names)[SLOT_NAME] = calloc(most, sizeof *names);
    struct frame *f = NULL;
    if (specs && names)
        f = frame_new(specs, describe(s, slots, specs, names));
    else
        fail_memory(NULL);
    if (f) {
        copy_values(s, slots, f, names);
        frame_set_meta(f, "kind", slots ? "state" : "model");
        frame_set_meta(f, "optimizer", s->rule->name);
        frame_set_meta_int(f, "step", s->step);
        frame_set_meta_int(f, "steps", s->steps);
        descriptions_write(&s->described, f);
        if (slots)
            optimizer_settings_write(&s->settings, f);
    }
    free(specs);
    free(names);
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

/* Stores a state's tensors: first the parameters, then the tensors of their slots. */
static int take_tensors(struct optimizer_state *s, const struct frame *f)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (sound_tensor(&f->tensors[i]) ||
            (!strchr(f->tensors[i].name, '/') && !optimizer_store_add(&s->store, &f->tensors[i])))
            return -1;
    for (int i = 0; i < s->store.n; i++)
        for (int j = 0; !s->store.tensors[i].buffer && j < s->rule->n_slots; j++) {
            struct owned_tensor *e = &s->store.tensors[i];
            char slot[SLOT_NAME];
            snprintf(slot, sizeof slot, "%s/%s", s->rule->slots[j], e->name);
            const struct tensor *t = frame_find(f, slot);
            if (!t || optimizer_store_check(e, t, false))
                return fail("%s is missing or does not fit", slot);
            memcpy(e->slots[j], t->data, t->bytes);
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
