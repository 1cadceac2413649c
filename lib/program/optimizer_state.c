#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame_io.h"
#include "frame/sound.h"
#include "program/optimizer_parts.h"
#include "program/parameter_name.h"

/* ---- what is owned ---- */

struct entry *optimizer_find(struct optimizer *o, const char *name)
{
    for (int i = 0; i < o->n_entries; i++)
        if (!strcmp(o->entries[i].name, name))
            return &o->entries[i];
    return NULL;
}

struct entry *optimizer_add(struct optimizer *o, const struct tensor *t)
{
    struct entry e = {.dtype = t->dtype,
                      .ndim = t->ndim,
                      .count = tensor_count(t),
                      .bytes = t->bytes,
                      .buffer = parameter_name_is_buffer(t->name),
                      .client = -1,
                      .updated = -1};
    memcpy(e.shape, t->shape, sizeof e.shape);
    if (strlen(t->name) > NAME_MAX_BYTES || strchr(t->name, '/')) {
        return fail_null("%.40s: a parameter's name has no '/' and at most %d bytes", t->name,
                         NAME_MAX_BYTES);
    }
    if (!e.buffer && t->dtype != DTYPE_F32) {
        return fail_null("parameter %s is %s, not F32", t->name, dtype_name(t->dtype));
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
        return fail_null("out of memory for parameter %s", t->name);
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
bool optimizer_is_half(const struct entry *e, const struct tensor *t)
{
    return !e->buffer && t->dtype == DTYPE_BF16;
}

int optimizer_check_shape(const struct entry *e, const struct tensor *t, bool half)
{
    bool same = (e->dtype == t->dtype || half) && e->ndim == t->ndim;
    for (int i = 0; same && i < e->ndim; i++)
        same = e->shape[i] == t->shape[i];
    return same ? 0 : fail("%s has another shape or dtype than the parameter in force", t->name);
}

void optimizer_remove(struct optimizer *o, int i)
{
    free(o->entries[i].name);
    free(o->entries[i].value);
    for (int j = 0; j < o->rule->n_slots; j++)
        free(o->entries[i].slots[j]);
    memmove(&o->entries[i], &o->entries[i + 1], (size_t)(--o->n_entries - i) * sizeof *o->entries);
}

void optimizer_release(struct optimizer *o)
{
    while (o->n_entries)
        optimizer_remove(o, o->n_entries - 1);
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
struct frame *optimizer_pack(const struct optimizer *o, bool slots)
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
        fail_memory(NULL);
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
        if (slots)
            settings_write(o, f);
    }
    free(specs);
    free(names);
    return f;
}

int optimizer_save(const struct optimizer *o, const char *path, bool slots)
{
    if (!*path || o->n_entries == 0) /* nobody joined: what is there stays */
        return 0;
    struct frame *f = optimizer_pack(o, slots);
    int bad = f ? 0 : -1;
    for (int i = 0; f && i < f->n_tensors && !bad; i++)
        if (sound_tensor(&f->tensors[i])) /* a rate that is far too high, say */
            bad = fail("%s in step %" PRId64 ": %s is left as it was", fail_message(), o->step - 1,
                       path);
    if (!bad)
        bad = frame_save(f, path);
    frame_free(f);
    return bad;
}

int optimizer_save_state(struct optimizer *o)
{
    if (o->saved == o->step)
        return 0;
    o->saved = o->step;
    return optimizer_save(o, o->config->state, true);
}

/* DIR/model-200.safetensors, beside DIR/model.safetensors. */
int optimizer_keep_model(const struct optimizer *o)
{
    const char *model = o->config->model, *slash = strrchr(model, '/');
    const char *dot = strrchr(slash ? slash : model, '.');
    const int stem = dot ? (int)(dot - model) : (int)strlen(model);
    char *path;
    if (!o->config->keep_every || o->step % o->config->keep_every)
        return 0;
    if (asprintf(&path, "%.*s-%" PRId64 "%s", stem, model, o->step, dot ? dot : "") < 0)
        return fail_memory(NULL);
    const int bad = optimizer_save(o, path, false);
    free(path);
    return bad;
}

static int check_kind(struct optimizer *o, const struct frame *f, const char *path)
{
    const char *kind = frame_meta(f, "kind"), *name = frame_meta(f, "optimizer");
    if (!kind || strcmp(kind, "state") || !name || !frame_meta(f, "step"))
        return fail("%s: not an optimizer's state", path);
    if (strcmp(name, o->rule->name))
        return fail("%s: the state of %s, not of %s", path, name, o->rule->name);
    if (frame_meta_int(f, "step", 0, &o->step) || o->step < 0 || o->step > INT64_MAX / 2 ||
        frame_meta_int(f, "steps", 0, &o->steps) || o->steps < 0 ||
        (o->steps && o->step > o->steps))
        return fail("%s: step '%.32s' of '%.32s' is no count", path, frame_meta(f, "step"),
                    frame_meta(f, "steps") ? frame_meta(f, "steps") : "");
    return 0;
}

/* A state's tensors: the parameters first, then what belongs to their slots. */
static int take_tensors(struct optimizer *o, const struct frame *f)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (sound_tensor(&f->tensors[i]) ||
            (!strchr(f->tensors[i].name, '/') && !optimizer_add(o, &f->tensors[i])))
            return -1;
    for (int i = 0; i < o->n_entries; i++)
        for (int j = 0; !o->entries[i].buffer && j < o->rule->n_slots; j++) {
            struct entry *e = &o->entries[i];
            char slot[512];
            snprintf(slot, sizeof slot, "%s/%s", o->rule->slots[j], e->name);
            const struct tensor *t = frame_find(f, slot);
            if (!t || optimizer_check_shape(e, t, false))
                return fail("%s is missing or does not fit", slot);
            memcpy(e->slots[j], t->data, t->bytes);
        }
    return 0;
}

int optimizer_load_state(struct optimizer *o)
{
    const char *path = o->config->state;
    if (!*path)
        return fail("--resume needs --state");
    struct frame *f = frame_load(path);
    if (!f)
        return -1;
    int bad = check_kind(o, f, path);
    if (!bad && take_tensors(o, f))
        bad = fail_prefix("%s", path);
    if (!bad)
        bad = settings_resume(o, f);
    o->saved = o->step;
    frame_free(f);
    return bad;
}
