#include "program/optimizer_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/half.h"
#include "optimizer/slow_copy.h"
#include "program/ema.h"
#include "program/parameter_name.h"

struct owned_tensor *optimizer_store_find(const struct optimizer_store *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->tensors[i].name, name))
            return &s->tensors[i];
    return NULL;
}

static void free_tensor(struct owned_tensor *e)
{
    free(e->name);
    free(e->value);
    free(e->slow);
    for (int i = 0; i < OPTIMIZER_SLOTS; i++)
        free(e->slots[i]);
}

/* Allocates the members of a tensor, and makes room for one more tensor. */
static int allocate(struct optimizer_store *s, struct owned_tensor *e, const char *name)
{
    void *tensors = grow(s->tensors, s->n, &s->capacity, sizeof *s->tensors);
    if (tensors)
        s->tensors = tensors;
    e->name = strdup(name);
    e->value = malloc(e->bytes + 1);
    bool good = tensors && e->name && e->value;
    for (int i = 0; !e->buffer && i < s->n_slots; i++)
        good = (e->slots[i] = calloc(e->count + 1, sizeof(float))) && good;
    return good ? 0 : fail("out of memory for parameter %s", name);
}

struct owned_tensor *optimizer_store_add(struct optimizer_store *s, const struct tensor *t)
{
    struct owned_tensor e = {.dtype = t->dtype,
                             .ndim = t->ndim,
                             .count = tensor_count(t),
                             .bytes = t->bytes,
                             .buffer = parameter_name_is_buffer(t->name),
                             .momentum = EMA_NONE,
                             .client = -1,
                             .updated = -1};
    memcpy(e.shape, t->shape, sizeof e.shape);
    if (strlen(t->name) > OPTIMIZER_STORE_NAME || strchr(t->name, '/'))
        return fail_null("%.40s: a parameter's name has no '/' and at most %d bytes", t->name,
                         OPTIMIZER_STORE_NAME);
    if (!e.buffer && t->dtype != DTYPE_F32)
        return fail_null("parameter %s is %s, not F32", t->name, dtype_name(t->dtype));
    if (allocate(s, &e, t->name)) {
        free_tensor(&e);
        return NULL;
    }
    memcpy(e.value, t->data, t->bytes);
    if (e.count > s->largest) {
        s->largest = e.count;
        free(s->widened);
        s->widened = NULL;
    }
    s->tensors[s->n] = e;
    return &s->tensors[s->n++];
}

void optimizer_store_remove(struct optimizer_store *s, int i)
{
    free_tensor(&s->tensors[i]);
    memmove(&s->tensors[i], &s->tensors[i + 1], (size_t)(--s->n - i) * sizeof *s->tensors);
}

bool optimizer_store_is_bf16(const struct owned_tensor *e, const struct tensor *t)
{
    return !e->buffer && t->dtype == DTYPE_BF16;
}

int optimizer_store_check(const struct owned_tensor *e, const struct tensor *t, bool bf16)
{
    bool same = (e->dtype == t->dtype || bf16) && e->ndim == t->ndim;
    for (int i = 0; same && i < e->ndim; i++)
        same = e->shape[i] == t->shape[i];
    return same ? 0 : fail("%s has another shape or dtype than the parameter in force", t->name);
}

const float *optimizer_store_gradient(struct optimizer_store *s, const struct owned_tensor *e,
                                      const struct tensor *t)
{
    if (!optimizer_store_is_bf16(e, t))
        return t->data;
    if (!s->widened && !(s->widened = malloc(s->largest * sizeof *s->widened))) {
        fail_memory(NULL);
        return NULL;
    }
    half_widen_bf16(t->data, s->widened, e->count);
    return s->widened;
}

void optimizer_store_answer_part(const struct owned_tensor *e, struct tensor *t, size_t first,
                                 size_t n)
{
    const float *from = (const float *)e->value + first;
    if (optimizer_store_is_bf16(e, t))
        half_narrow_bf16(from, (uint16_t *)t->data + first, n);
    else
        memcpy((float *)t->data + first, from, n * sizeof *from);
}

void optimizer_store_answer(const struct owned_tensor *e, struct tensor *t)
{
    if (optimizer_store_is_bf16(e, t))
        half_narrow_bf16(e->value, t->data, e->count);
    else
        memcpy(t->data, e->value, e->bytes);
}

/* ---- slow copies ---- */

int optimizer_store_keep_slow(struct owned_tensor *e, double momentum)
{
    if (e->buffer || momentum < 0)
        return 0;
    if (!(e->slow = malloc(e->bytes + 1)))
        return fail("out of memory for the slow copy of %s", e->name);
    memcpy(e->slow, e->value, e->bytes);
    e->momentum = momentum;
    return 0;
}

int optimizer_store_check_slow(const struct optimizer_store *s, const struct frame *join,
                               const char *resumed)
{
    double now;
    char is[32], was[32];
    if (ema_get(join, &now))
        return -1;
    for (int i = 0; i < join->n_tensors; i++) {
        const struct owned_tensor *e = optimizer_store_find(s, join->tensors[i].name);
        if (!e || e->buffer || e->momentum == now)
            continue;
        ema_print(is, now);
        ema_print(was, e->momentum);
        if (resumed)
            return fail("%s: made with --ema %s for %s, and this run has %s: resume with what it "
                        "was made with, or start a new run",
                        resumed, was, e->name, is);
        return fail("a client joined with %s and --ema %s, after one with --ema %s", e->name, is,
                    was);
    }
    return 0;
}

int optimizer_store_follow(struct optimizer_store *s, const struct owned_tensor *e,
                           struct tensor *t)
{
    if (!e->slow)
        return 0;
    optimizer_store_answer(e, t);
    const float *sent = optimizer_store_gradient(s, e, t); /* widened, if the answer is BF16 */
    if (!sent)
        return -1;
    slow_copy_follow(e->momentum, e->count, sent, e->slow);
    return 0;
}

struct frame *optimizer_store_add_slow(const struct optimizer_store *s, const struct frame *f)
{
    struct tensor_spec *specs = calloc((size_t)f->n_tensors + 1, sizeof *specs);
    char(*names)[EMA_TEXT] = calloc((size_t)f->n_tensors + 1, sizeof *names);
    const struct owned_tensor **from = calloc((size_t)f->n_tensors + 1, sizeof *from);
    struct frame *all = NULL;
    int n = 0;
    if (!specs || !names || !from)
        fail_memory(NULL);
    else {
        for (int i = 0; i < f->n_tensors; i++) {
            from[n] = optimizer_store_find(s, f->tensors[i].name);
            if (!from[n] || !from[n]->slow)
                continue;
            ema_name(names[n], f->tensors[i].name);
            specs[n] = tensor_spec_of(&f->tensors[i]);
            specs[n].name = names[n];
            n++;
        }
        all = frame_derive(f, specs, n, NULL);
    }
    for (int i = 0; all && i < n; i++)
        memcpy(frame_find(all, names[i])->data, from[i]->slow, from[i]->bytes);
    free(specs);
    free(names);
    free(from);
    return all;
}

void optimizer_store_release(struct optimizer_store *s)
{
    while (s->n)
        optimizer_store_remove(s, s->n - 1);
    free(s->tensors);
    free(s->widened);
}
