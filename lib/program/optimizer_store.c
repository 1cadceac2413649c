#include "program/optimizer_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/half.h"
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

void optimizer_store_answer(const struct owned_tensor *e, struct tensor *t)
{
    if (optimizer_store_is_bf16(e, t))
        half_narrow_bf16(e->value, t->data, e->count);
    else
        memcpy(t->data, e->value, e->bytes);
}

void optimizer_store_release(struct optimizer_store *s)
{
    while (s->n)
        optimizer_store_remove(s, s->n - 1);
    free(s->tensors);
    free(s->widened);
}
