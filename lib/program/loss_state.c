#include "program/loss_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/sound.h"
#include "link/link.h"
#include "program/link_options.h"
#include "program/metas.h"

struct loss_state {
    struct link *link; /* NULL without an optimizer */
    bool begun;
    const struct loss_tensor *tensors;
    int n;
};

struct loss_state *loss_state_open(const char *opt)
{
    struct loss_state *s = calloc(1, sizeof *s);
    if (!s)
        return fail_null("out of memory");
    if (*opt && !(s->link = link_open(opt, &link_options))) {
        free(s);
        return NULL;
    }
    return s;
}

/* Returns a new frame with the present values, and those of the keys that the request has. */
static struct frame *pack(const struct loss_state *s, const struct frame *request,
                          const char *const *keys)
{
    struct tensor_spec *specs = calloc((size_t)s->n + 1, sizeof *specs);
    if (!specs)
        return fail_null("out of memory");
    for (int i = 0; i < s->n; i++) {
        const struct loss_tensor *t = &s->tensors[i];
        specs[i] = (struct tensor_spec){t->name, t->dtype, t->ndim, {0}};
        memcpy(specs[i].shape, t->shape, (size_t)t->ndim * sizeof *t->shape);
    }
    struct frame *f = frame_new_unset(specs, s->n);
    free(specs);
    for (int i = 0; f && i < s->n; i++) {
        struct tensor *t = frame_find(f, s->tensors[i].name);
        memcpy(t->data, s->tensors[i].data, t->bytes);
    }
    if (f)
        metas_copy(f, request, keys);
    return f;
}

/* Takes the values that are in force from the answer to a join. */
static int take(const struct loss_state *s, const struct frame *reply)
{
    for (int i = 0; i < s->n; i++) {
        const struct loss_tensor *to = &s->tensors[i];
        const struct tensor *t = frame_need(reply, to->name, to->dtype, to->ndim, to->shape);
        if (!t || sound_tensor(t))
            return fail_prefix("%s: its answer to a join", link_name(s->link));
        memcpy(to->data, t->data, t->bytes);
    }
    return 0;
}

static int join(struct loss_state *s, const struct frame *request, int64_t step)
{
    struct frame *reply;
    int64_t at;
    struct frame *f =
        pack(s, request,
             (const char *const[]){"grains", "batch", "images", "steps", "steps_per_epoch", NULL});
    if (!f)
        return -1;
    frame_set_meta(f, "kind", "join");
    if (link_request(s->link, f, &reply))
        return -1;
    int bad = take(s, reply) || frame_meta_int(reply, "step", 0, &at);
    if (!bad && at != step)
        bad = fail("the first batch is of step %lld, the optimizer is at step %lld: start augment "
                   "with --start %lld",
                   (long long)step, (long long)at, (long long)at);
    frame_free(reply);
    return bad ? -1 : 0;
}

int loss_state_begin(struct loss_state *s, const struct loss *loss, const struct loss_input *first,
                     const struct frame *request)
{
    int64_t step;
    if (s->begun)
        return 0;
    if (frame_meta_int(request, "step", 0, &step))
        return -1;
    if (!s->link && step)
        return fail("the first batch is of step %lld, and what the loss kept is lost: give --opt "
                    "LINK, the optimizer, which keeps it",
                    (long long)step);
    if ((s->n = loss->open(first, &s->tensors)) < 0)
        return -1;
    s->begun = true;
    if (!s->link)
        return 0;
    if (join(s, request, step))
        return -1;
    return loss->check && loss->check() ? fail_prefix("%s", link_name(s->link)) : 0;
}

int loss_state_send(struct loss_state *s, const struct frame *request)
{
    struct frame *reply;
    if (!s->link)
        return 0;
    struct frame *f = pack(s, request,
                           (const char *const[]){"step", "steps", "steps_per_epoch", "batch",
                                                 "images", "grains", "epoch", NULL});
    if (!f)
        return -1;
    frame_set_meta(f, "kind", "gradients");
    if (link_request(s->link, f, &reply))
        return -1;
    frame_free(reply); /* the same values */
    return 0;
}

int loss_state_end(struct loss_state *s)
{
    int status = s->link ? link_end(s->link) : 0;
    if (link_close(s->link))
        status = -1;
    free(s);
    return status;
}

void loss_state_abandon(struct loss_state *s)
{
    struct fail_note note;
    if (!s)
        return;
    fail_save(&note);
    link_close(s->link);
    free(s);
    fail_restore(&note);
}
