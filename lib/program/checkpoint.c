#include "program/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/warn.h"
#include "frame/sound.h"
#include "program/parameter_frames.h"

static const char counter[] = ".num_batches_tracked";

static bool is_counter(const char *name)
{
    const size_t length = strlen(name);
    return length > strlen(counter) && !strcmp(name + length - strlen(counter), counter);
}

static bool same_part(const char *a, const char *b)
{
    const size_t n = strcspn(a, ".");
    return n == strcspn(b, ".") && !strncmp(a, b, n);
}

/* Returns true if one of this project's optimizers wrote the file. Several stages may share it. */
static bool is_own(const struct frame *f)
{
    const char *kind = frame_meta(f, "kind");
    return kind && frame_meta(f, "optimizer") && (!strcmp(kind, "model") || !strcmp(kind, "state"));
}

static bool is_own_part(const char *name)
{
    static const char *const parts[] = {"conv1",  "bn1",       "layer1",    "layer2", "layer3",
                                        "layer4", "projector", "predictor", "fc",     "loss"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (same_part(name, parts[i]))
            return true;
    return strchr(name, '/') != NULL; /* an optimizer's slot */
}

/* Names the parts that this network does not use on stderr, each once. */
static void warn_unused(const struct parameters *p, const struct frame *f, const char *path)
{
    enum { LISTED = 8, SHOWN = 32 };
    char text[LISTED * (SHOWN + 2) + 32] = "";
    size_t length = 0;
    int n = 0;
    for (int i = 0; i < f->n_tensors; i++) {
        const char *name = f->tensors[i].name;
        bool known = parameters_claim(p, name) || (is_own(f) && is_own_part(name));
        for (int j = 0; j < i && !known; j++)
            known = same_part(name, f->tensors[j].name);
        if (known || ++n > LISTED)
            continue;
        const int part = (int)strcspn(name, ".");
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%.*s", n > 1 ? ", " : "",
                                   part < SHOWN ? part : SHOWN, name);
    }
    if (n > LISTED)
        snprintf(text + length, sizeof text - length, " and %d more", n - LISTED);
    const char *unread = is_own(f) ? NULL : frame_meta(f, "unread");
    if (n || unread)
        warn_line("%s: not used: %s%s%s", path, text, n && unread ? ", " : "",
                  unread ? unread : "");
}

/* Checks names and shapes before any value is copied. */
static int check(const struct parameters *p, const struct frame *f)
{
    for (int i = 0; i < p->n; i++) {
        const struct parameter *a = &p->list[i];
        const struct tensor *t = frame_find(f, a->name);
        if (!t && !is_counter(a->name))
            return fail("no tensor %s", a->name);
        if (t && !parameter_frames_need(a, f))
            return -1;
    }
    for (int i = 0; i < f->n_tensors; i++)
        if (parameters_claim(p, f->tensors[i].name) && parameters_find(p, f->tensors[i].name) < 0)
            return fail("the network has no tensor %s", f->tensors[i].name);
    return 0;
}

static int check_numbers(const struct parameters *p, const struct frame *f)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (parameters_find(p, f->tensors[i].name) >= 0 && sound_tensor(&f->tensors[i]))
            return -1;
    return 0;
}

int checkpoint_take(struct parameters *p, const struct frame *f, const char *path,
                    const char *flags)
{
    if (check(p, f))
        return fail("%s: %s; is the file of another %s?", path, fail_message(), flags);
    if (check_numbers(p, f))
        return fail_prefix("%s", path);
    for (int i = 0; i < p->n; i++)
        if (!frame_find(f, p->list[i].name))
            memset(p->list[i].value, 0, parameters_bytes(&p->list[i]));
    warn_unused(p, f, path);
    return parameter_frames_load(p, f, path);
}

int checkpoint_lacks(const char *part, const struct frame *f, const char *path, const char *flags)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (same_part(f->tensors[i].name, part))
            return fail("%s: the network has no tensor %s; is the file of another %s?", path,
                        f->tensors[i].name, flags);
    return 0;
}
