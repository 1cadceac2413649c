#include "program/gradient_buckets.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "program/parameter_frames.h"

/* Parameters that are sent in one frame. */
struct bucket {
    int *members; /* their numbers (n) */
    int n;
    struct tensor_spec *specs; /* tensors of the request (n_specs) */
    int n_specs;
    struct frame *request; /* made ahead; gradients lie in it */
    struct frame *values;  /* the last reply, if values lie in it */
};

/* Where the arrays of a parameter are. */
struct place {
    bool lent;  /* the gradient is in a request */
    int holder; /* the value is in `values` of bucket number holder - 1; 0: in memory of its own */
};

struct gradient_buckets {
    struct link *link;
    struct parameters *parameters;
    struct place *places; /* of each parameter */
    struct bucket *list;
    int64_t capacity;
    int n, sent, taken;
    struct frame *last; /* a reply that is freed in the next call */
    bool other;         /* this step's buckets are other ones than those of the list */
};

struct gradient_buckets *gradient_buckets_new(struct link *link, struct parameters *parameters)
{
    struct gradient_buckets *b = calloc(1, sizeof *b);
    if (!b || !(b->places = calloc((size_t)parameters->n + 1, sizeof *b->places))) {
        free(b);
        return fail_null("out of memory");
    }
    b->link = link;
    b->parameters = parameters;
    return b;
}

/* ---- memory of the parameters' own ---- */

static int own_gradient(struct gradient_buckets *b, int i)
{
    struct parameter *p = &b->parameters->list[i];
    if (!b->places[i].lent)
        return 0;
    b->places[i].lent = false;
    p->grad = calloc(1, parameters_bytes(p) + 1);
    return p->grad ? 0 : fail("out of memory for the gradient of %s", p->name);
}

static int own_value(struct gradient_buckets *b, int i)
{
    struct parameter *p = &b->parameters->list[i];
    if (!b->places[i].holder)
        return 0;
    b->places[i].holder = 0;
    void *value = malloc(parameters_bytes(p) + 1);
    if (value)
        memcpy(value, p->value, parameters_bytes(p));
    p->value = value;
    return value ? 0 : fail("out of memory for %s", p->name);
}

static void release(struct bucket *bucket)
{
    frame_free(bucket->request);
    frame_free(bucket->values);
    free(bucket->members);
    free(bucket->specs);
    *bucket = (struct bucket){0};
}

/* Empties the list. */
static int forget(struct gradient_buckets *b)
{
    int bad = 0;
    for (int i = 0; i < b->parameters->n; i++) {
        bad = own_gradient(b, i) || bad;
        bad = own_value(b, i) || bad;
    }
    frame_free(b->last);
    b->last = NULL;
    while (b->n)
        release(&b->list[--b->n]);
    b->other = false;
    return bad ? -1 : 0;
}

void gradient_buckets_free(struct gradient_buckets *b)
{
    if (!b)
        return;
    forget(b);
    free(b->list);
    free(b->places);
    free(b);
}

/* ---- gradients ---- */

/* Makes a bucket's frame ahead, and puts the gradients of its parameters there, unless the link has
 * no shared memory for it. */
static int make_ahead(struct gradient_buckets *b, struct bucket *bucket)
{
    frame_free(bucket->request);
    bucket->request = link_frame_new(b->link, bucket->specs, bucket->n_specs);
    if (!bucket->request)
        return -1;
    const bool shared = bucket->request->shared != NULL;
    for (int k = 0; k < bucket->n; k++) {
        const int i = bucket->members[k];
        struct parameter *p = &b->parameters->list[i];
        const struct tensor *t = shared ? frame_find(bucket->request, p->name) : NULL;
        if (p->buffer || !t || t->dtype != DTYPE_F32) {
            if (own_gradient(b, i))
                return -1;
            continue;
        }
        if (!b->places[i].lent)
            free(p->grad);
        b->places[i].lent = true;
        p->grad = t->data;
    }
    if (!shared) {
        frame_free(bucket->request);
        bucket->request = NULL;
    }
    return 0;
}

int gradient_buckets_begin(struct gradient_buckets *b)
{
    b->sent = b->taken = 0;
    if (b->other && forget(b))
        return -1;
    for (int i = 0; i < b->n; i++)
        if (make_ahead(b, &b->list[i]))
            return -1;
    return 0;
}

/* Adds a bucket to the list. */
static int record(struct gradient_buckets *b, const int *members, int n,
                  const struct tensor_spec *specs, int n_specs)
{
    struct bucket *list = grow(b->list, b->n, &b->capacity, sizeof *list);
    if (!list)
        return fail_memory(NULL);
    b->list = list;
    struct bucket new = {.n = n, .n_specs = n_specs};
    new.members = calloc((size_t)n + 1, sizeof *members);
    new.specs = calloc((size_t)n_specs + 1, sizeof *specs);
    if (!new.members || !new.specs) {
        release(&new);
        return fail_memory(NULL);
    }
    memcpy(new.members, members, (size_t)n * sizeof *members);
    memcpy(new.specs, specs, (size_t)n_specs * sizeof *specs);
    list[b->n++] = new;
    return 0;
}

struct frame *gradient_buckets_next(struct gradient_buckets *b, const int *members, int n,
                                    const struct tensor_spec *specs, int n_specs)
{
    if (b->sent == b->n && !b->other && record(b, members, n, specs, n_specs))
        return NULL;
    struct bucket *bucket = b->sent < b->n ? &b->list[b->sent] : NULL;
    b->sent++;
    b->other = b->other || !bucket || bucket->n != n ||
               memcmp(bucket->members, members, (size_t)n * sizeof *members) != 0;
    if (b->other || !bucket->request)
        return link_frame_new(b->link, specs, n_specs);
    struct frame *f = bucket->request;
    bucket->request = NULL;
    return f;
}

/* ---- new values ---- */

/* Returns true if the parameter's value may stay in the reply's tensor t. */
static bool stays(const struct parameter *p, const struct frame *reply, const struct tensor *t)
{
    return reply->shared && t && t->dtype == DTYPE_F32 && !p->buffer;
}

/* Takes the values of the parameters of bucket number k from the reply: those that can stay in it
 * do. The others have, or get, memory of their own. */
static int take_members(struct gradient_buckets *b, int k, const struct frame *reply)
{
    for (int j = 0; j < b->list[k].n; j++) {
        const int i = b->list[k].members[j];
        struct parameter *p = &b->parameters->list[i];
        const struct tensor *t = frame_find(reply, p->name);
        if (!stays(p, reply, t)) {
            if (b->places[i].holder == k + 1 && own_value(b, i))
                return -1;
            continue;
        }
        if (!b->places[i].holder)
            free(p->value);
        b->places[i].holder = k + 1;
        p->value = t->data;
    }
    return 0;
}

int gradient_buckets_take(struct gradient_buckets *b, struct frame *reply)
{
    struct bucket *bucket = !b->other && b->taken < b->n ? &b->list[b->taken] : NULL;
    b->taken++;
    frame_free(b->last);
    b->last = reply;
    if (parameter_frames_check(b->parameters, reply, link_name(b->link)) ||
        (bucket && take_members(b, (int)(bucket - b->list), reply)))
        return -1;
    parameter_frames_copy(b->parameters, reply);
    if (bucket) {
        frame_free(bucket->values);
        bucket->values = reply->shared ? reply : NULL;
        b->last = reply->shared ? NULL : reply;
    }
    return 0;
}
