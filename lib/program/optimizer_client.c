#include "program/optimizer_client.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/half.h"
#include "frame/sound.h"
#include "optimizer/slow_copy.h"
#include "program/ema.h"
#include "program/gradient_buckets.h"
#include "program/gradient_squares.h"
#include "program/metas.h"
#include "program/parameter_frames.h"
#include "program/parameter_name.h"

/* Messages of this size are the fastest over pipes and sockets (docs/links.md). */
enum { BUCKET_BYTES = 1 << 20 };

struct optimizer_client {
    struct link *link;
    struct parameters *parameters;
    struct parameters *slow; /* slow copies of them, or NULL */
    double momentum;         /* of the slow copies */
    bool *moved;             /* whether each parameter has a new value in this step */
    enum dtype wire;
    int64_t rank;
    struct frame *metas; /* metadata for the current step's requests */
    int *bucket;         /* parameters whose gradients wait to be sent */
    struct gradient_buckets *buckets;
    int n_bucket, in_flight;
    size_t bucket_bytes;
    double *squares; /* of each parameter's gradient in this step; NAN before the answer */
    char lr[64];
};

struct optimizer_client *optimizer_client_new(struct link *link, struct parameters *parameters,
                                              enum dtype wire)
{
    struct optimizer_client *c = calloc(1, sizeof *c);
    if (c && (c->bucket = calloc((size_t)parameters->n + 1, sizeof *c->bucket)) &&
        (c->squares = calloc((size_t)parameters->n + 1, sizeof *c->squares)) &&
        (c->buckets = gradient_buckets_new(link, parameters)) &&
        (c->moved = calloc((size_t)parameters->n + 1, sizeof *c->moved))) {
        c->link = link;
        c->parameters = parameters;
        c->wire = wire;
        return c;
    }
    optimizer_client_free(c);
    return fail_null("out of memory");
}

void optimizer_client_free(struct optimizer_client *c)
{
    if (!c)
        return;
    frame_free(c->metas);
    gradient_buckets_free(c->buckets);
    free(c->bucket);
    free(c->squares);
    free(c->moved);
    free(c);
}

void optimizer_client_keep_slow(struct optimizer_client *c, struct parameters *slow,
                                double momentum)
{
    assert(slow->n == c->parameters->n);
    c->slow = slow;
    c->momentum = momentum;
}

/* Returns true if this rank sends parameter i. Values that all ranks have in common are sent by
 * rank 0. */
static bool sends(const struct optimizer_client *c, int i)
{
    const struct parameter *p = &c->parameters->list[i];
    return c->rank == 0 || (!p->buffer && !p->shared);
}

static struct tensor_spec spec_of(const struct parameter *p, enum dtype wire)
{
    struct tensor_spec spec = {p->name, parameter_frames_dtype(p), p->ndim, {0}};
    if (!p->buffer && p->ndim > 1)
        spec.dtype = wire;
    memcpy(spec.shape, p->shape, (size_t)p->ndim * sizeof *p->shape);
    return spec;
}

/* Writes the names of the frozen parameters into a join. Blocks are frozen as a whole, so these are
 * the first parts of the names, such as "conv1" and "layer1". */
static void name_frozen(const struct optimizer_client *c, struct frame *join)
{
    char list[1024] = "";
    size_t length = 0;
    for (int i = 0; i < c->parameters->n; i++) {
        const struct parameter *p = &c->parameters->list[i];
        const int part = (int)strcspn(p->name, ".");
        if (!p->frozen || parameter_name_is_frozen(list, p->name))
            continue;
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%.*s", length ? "," : "",
                                   part, p->name);
        assert(length < sizeof list);
    }
    for (int i = 0; i < c->parameters->n; i++)
        assert(c->parameters->list[i].frozen ==
               parameter_name_is_frozen(list, c->parameters->list[i].name));
    if (length)
        frame_set_meta(join, "frozen", list);
}

/* Returns a new frame with the values of the first n parameters, for a join. */
static struct frame *pack_values(const struct optimizer_client *c, int n)
{
    struct tensor_spec *specs = calloc((size_t)n + 1, sizeof *specs);
    if (!specs)
        return fail_null("out of memory");
    for (int i = 0; i < n; i++)
        specs[i] = spec_of(&c->parameters->list[i], DTYPE_F32);
    struct frame *f = frame_new(specs, n);
    free(specs);
    for (int i = 0; f && i < n; i++) {
        struct tensor *t = frame_find(f, c->parameters->list[i].name);
        memcpy(t->data, c->parameters->list[i].value, t->bytes);
    }
    return f;
}

/* Returns a new frame with this rank's share of the bucket: gradients, and the values of buffers.
 */
static struct frame *pack_bucket(const struct optimizer_client *c)
{
    struct tensor_spec *specs = calloc((size_t)c->n_bucket + 1, sizeof *specs);
    if (!specs)
        return fail_null("out of memory");
    int n = 0;
    for (int i = 0; i < c->n_bucket; i++)
        if (sends(c, c->bucket[i]))
            specs[n++] = spec_of(&c->parameters->list[c->bucket[i]], c->wire);
    struct frame *f = gradient_buckets_next(c->buckets, c->bucket, c->n_bucket, specs, n);
    free(specs);
    for (int i = 0; f && i < c->n_bucket; i++) {
        const struct parameter *p = &c->parameters->list[c->bucket[i]];
        struct tensor *t = frame_find(f, p->name);
        if (t && t->dtype == DTYPE_BF16)
            half_narrow_bf16(p->grad, t->data, p->count);
        else if (t && (p->buffer || t->data != p->grad))
            memcpy(t->data, p->buffer ? p->value : p->grad, t->bytes);
    }
    return f;
}

/* Returns true if parameter i has a slow copy that moves: frozen parameters keep theirs. */
static bool follows(const struct optimizer_client *c, int i)
{
    const struct parameter *p = &c->parameters->list[i];
    return c->slow && !p->buffer && !p->frozen;
}

/* Takes the slow copies from the answer to a join. */
static int take_slow(struct optimizer_client *c, const struct frame *reply)
{
    for (int i = 0; c->slow && i < c->slow->n; i++) {
        const struct parameter *p = &c->slow->list[i];
        char name[EMA_TEXT];
        if (p->buffer)
            continue;
        ema_name(name, p->name);
        if (!frame_find(reply, name))
            return fail("%s: the answer to a join lacks %s: this optimizer keeps no slow copies, "
                        "which --ema needs",
                        link_name(c->link), name);
        const struct tensor *t = frame_need(reply, name, DTYPE_F32, p->ndim, p->shape);
        if (!t || sound_tensor(t))
            return fail_prefix("%s", link_name(c->link));
        memcpy(p->value, t->data, t->bytes);
    }
    return 0;
}

/* Moves the slow copies of the parameters whose new values have come with this answer. */
static int follow(struct optimizer_client *c, const struct frame *reply)
{
    for (int i = 0; i < c->parameters->n; i++) {
        const struct parameter *p = &c->parameters->list[i];
        if (!follows(c, i) || !frame_find(reply, p->name))
            continue;
        if (c->moved[i])
            return fail("%s: %s came twice in a step", link_name(c->link), p->name);
        c->moved[i] = true;
        slow_copy_follow(c->momentum, p->count, p->value, c->slow->list[i].value);
    }
    return 0;
}

/* Checks that each slow copy has moved. */
static int check_moved(const struct optimizer_client *c)
{
    for (int i = 0; i < c->parameters->n; i++)
        if (follows(c, i) && !c->moved[i])
            return fail("%s: no answer to gradients has %s, which its slow copy follows",
                        link_name(c->link), c->parameters->list[i].name);
    return 0;
}

static int take_squares(struct optimizer_client *c, const struct frame *reply)
{
    return gradient_squares_take(c->squares, c->parameters, reply)
               ? fail_prefix("%s", link_name(c->link))
               : 0;
}

/* Checks that the current values fit. They may come from a resumed state, and so from another
 * network. */
static int check_values(const struct optimizer_client *c, const struct frame *reply)
{
    for (int i = 0; i < reply->n_tensors; i++) {
        const struct tensor *t = &reply->tensors[i];
        if (parameters_claim(c->parameters, t->name) && parameters_find(c->parameters, t->name) < 0)
            return fail("%s: the optimizer has %s, which this network has not", link_name(c->link),
                        t->name);
        if (parameters_find(c->parameters, t->name) >= 0 && sound_tensor(t))
            return fail_prefix("%s", link_name(c->link));
    }
    return 0;
}

int optimizer_client_join(struct optimizer_client *c, const struct frame *request,
                          const struct frame *description, int64_t *next_step)
{
    if (frame_meta_int(request, "rank", 0, &c->rank))
        return -1;
    struct frame *join = pack_values(c, c->rank == 0 ? c->parameters->n : 0), *reply;
    if (!join)
        return -1;
    metas_copy(join, request,
               (const char *const[]){"rank", "world", "grains", "batch", "images", "steps",
                                     "steps_per_epoch", NULL});
    frame_set_meta(join, "kind", "join");
    frame_inherit_metas(join, description);
    name_frozen(c, join);
    if (c->slow)
        ema_set(join, c->momentum);
    if (link_request(c->link, join, &reply))
        return -1;
    int bad = check_values(c, reply) ||
              parameter_frames_load(c->parameters, reply, link_name(c->link)) ||
              take_slow(c, reply) || frame_meta_int(reply, "step", 0, next_step);
    for (int i = 0; !bad && i < c->parameters->n; i++)
        if (!frame_find(reply, c->parameters->list[i].name))
            bad = fail("%s: the answer to a join lacks %s", link_name(c->link),
                       c->parameters->list[i].name);
    frame_free(reply);
    link_trim(c->link); /* no other frame is as large as this one */
    return bad ? -1 : 0;
}

int optimizer_client_begin(struct optimizer_client *c, const struct frame *request)
{
    frame_free(c->metas);
    c->n_bucket = c->in_flight = 0;
    c->bucket_bytes = 0;
    for (int i = 0; i < c->parameters->n; i++) {
        c->squares[i] = NAN;
        c->moved[i] = false;
    }
    if (!(c->metas = frame_new(NULL, 0)) || gradient_buckets_begin(c->buckets))
        return -1;
    metas_copy(c->metas, request,
               (const char *const[]){"step", "steps", "steps_per_epoch", "batch", "images",
                                     "grains", "epoch", "rank", "world", NULL});
    frame_set_meta(c->metas, "kind", "gradients");
    /* Buffers are sent first, because a client's step is complete when its last gradient arrives.
     */
    for (int i = 0; i < c->parameters->n; i++)
        if (c->parameters->list[i].buffer && !c->parameters->list[i].frozen &&
            optimizer_client_push(c, i))
            return -1;
    return 0;
}

static int send_bucket(struct optimizer_client *c)
{
    if (c->n_bucket == 0)
        return 0;
    struct frame *f = pack_bucket(c);
    if (!f)
        return -1;
    frame_inherit_metas(f, c->metas);
    c->n_bucket = 0;
    c->bucket_bytes = 0;
    c->in_flight++;
    return link_send(c->link, f);
}

int optimizer_client_push(struct optimizer_client *c, int i)
{
    const struct tensor_spec spec = spec_of(&c->parameters->list[i], c->wire);
    c->bucket[c->n_bucket++] = i;
    c->bucket_bytes += c->parameters->list[i].count * dtype_size(spec.dtype);
    return c->bucket_bytes >= BUCKET_BYTES ? send_bucket(c) : link_advance(c->link);
}

int optimizer_client_finish(struct optimizer_client *c, const char **lr)
{
    if (send_bucket(c))
        return -1;
    c->lr[0] = 0;
    for (; c->in_flight; c->in_flight--) {
        struct frame *reply;
        if (link_receive(c->link, &reply))
            return -1;
        const char *text = frame_meta(reply, "lr");
        if (text)
            snprintf(c->lr, sizeof c->lr, "%s", text);
        if (gradient_buckets_take(c->buckets, reply) || take_squares(c, reply) || follow(c, reply))
            return -1;
    }
    *lr = c->lr;
    return check_moved(c);
}

double optimizer_client_grad_norm(const struct optimizer_client *c)
{
    return gradient_squares_norm(c->squares, c->parameters);
}
