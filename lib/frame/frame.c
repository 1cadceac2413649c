#include "frame/frame.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame_parts.h"

/* ---- making and freeing ---- */

void frame_free(struct frame *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n_tensors; i++)
        free(f->tensors[i].name);
    for (int i = 0; i < f->n_metas; i++) {
        free(f->metas[i].key);
        free(f->metas[i].value);
    }
    if (f->shared)
        f->shared->release(f->shared);
    free(f->integers);
    free(f->tensors);
    free(f->metas);
    free(f->memory);
    free(f);
}

/* Compares tensors for sorting. Those whose size is a multiple of 64 bytes come first, so that they
 * all start aligned; the rest follow by element size, so that each is aligned at least to its
 * element although there are no gaps. */
static int by_alignment(const void *pa, const void *pb)
{
    const struct tensor *a = pa, *b = pb;
    bool whole_a = a->bytes % FRAME_ALIGN == 0, whole_b = b->bytes % FRAME_ALIGN == 0;
    if (whole_a != whole_b)
        return whole_a ? -1 : 1;
    size_t size_a = dtype_size(a->dtype), size_b = dtype_size(b->dtype);
    if (!whole_a && size_a != size_b)
        return size_a > size_b ? -1 : 1;
    /* qsort is not stable, so the order in which the tensors were named breaks ties. */
    return a->data < b->data ? -1 : a->data > b->data;
}

struct frame *frame_new(const struct tensor_spec *specs, int n)
{
    struct frame *f = frame_new_unset(specs, n);
    if (f)
        memset(f->data, 0, f->data_size);
    return f;
}

struct frame *frame_new_unset(const struct tensor_spec *specs, int n)
{
    return frame_new_in(NULL, specs, n);
}

struct frame *frame_new_in(struct frame_memory *memory, const struct tensor_spec *specs, int n)
{
    struct frame *f = calloc(1, sizeof *f);
    if (!f || !(f->tensors = calloc((size_t)n + 1, sizeof *f->tensors))) {
        fail("out of memory for a frame");
        goto failed;
    }
    for (int i = 0; i < n; i++) {
        const struct tensor_spec *spec = &specs[i];
        struct tensor *t = &f->tensors[i];
        assert(spec->ndim >= 0 && spec->ndim <= FRAME_MAX_DIMS);
        if (!*spec->name || !strcmp(spec->name, "__metadata__")) {
            fail("'%s' can't be a tensor's name", spec->name);
            goto failed;
        }
        for (int j = 0; j < i; j++)
            if (!strcmp(specs[j].name, spec->name)) {
                fail("tensor %s is there twice", spec->name);
                goto failed;
            }
        if (!(t->name = strdup(spec->name))) {
            fail("out of memory for a frame");
            goto failed;
        }
        f->n_tensors++;
        t->dtype = spec->dtype;
        t->ndim = spec->ndim;
        memcpy(t->shape, spec->shape, sizeof t->shape);
        if (tensor_bytes(t->dtype, t->ndim, t->shape, &t->bytes) ||
            __builtin_add_overflow(f->data_size, t->bytes, &f->data_size)) {
            fail("tensor %s: %s", spec->name, "the shape is negative or overflows");
            goto failed;
        }
        t->data = (void *)(uintptr_t)(i + 1); /* its order, for by_alignment() */
    }
    qsort(f->tensors, (size_t)n, sizeof *f->tensors, by_alignment);
    if (memory && f->data_size > memory->size) {
        fail("a frame of %zu bytes does not fit into %zu", f->data_size, memory->size);
        goto failed;
    }
    f->shared = memory;
    if (frame_allocate(f))
        goto failed;
    return f;
failed:
    if (f)
        f->shared = NULL; /* stays the caller's */
    frame_free(f);
    return NULL;
}

static bool listed(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (!strcmp(name, *list))
            return true;
    return false;
}

struct frame *frame_derive(const struct frame *from, const struct tensor_spec *add, int n,
                           const char *const *except)
{
    struct tensor_spec *specs = calloc((size_t)(n + from->n_tensors) + 1, sizeof *specs);
    if (!specs)
        return fail_null("out of memory for a frame");
    int total = 0;
    for (; total < n; total++)
        specs[total] = add[total];
    for (int i = 0; i < from->n_tensors; i++) {
        bool added = false;
        for (int j = 0; j < n && !added; j++)
            added = !strcmp(add[j].name, from->tensors[i].name);
        if (!added && !listed(from->tensors[i].name, except))
            specs[total++] = tensor_spec_of(&from->tensors[i]);
    }
    struct frame *f = frame_new(specs, total);
    if (f) {
        for (int i = n; i < total; i++) {
            const struct tensor *source = frame_find(from, specs[i].name);
            memcpy(frame_find(f, specs[i].name)->data, source->data, source->bytes);
        }
        frame_inherit_metas(f, from);
    }
    free(specs);
    return f;
}

struct frame *frame_copy(const struct frame *f)
{
    return frame_derive(f, NULL, 0, NULL);
}

struct frame *frame_copy_metas(const struct frame *f)
{
    struct frame *copy = frame_new(NULL, 0);
    if (copy)
        frame_inherit_metas(copy, f);
    return copy;
}

struct frame *frame_new_end(void)
{
    struct frame *f = frame_new(NULL, 0);
    if (f)
        frame_set_meta(f, "end", "1");
    return f;
}

bool frame_is_end(const struct frame *f)
{
    const char *end = frame_meta(f, "end");
    return f->n_tensors == 0 && end && !strcmp(end, "1");
}

struct frame *frame_new_error(const char *message)
{
    struct frame *f = frame_new(NULL, 0);
    if (f)
        frame_set_meta(f, "error", message);
    return f;
}

/* ---- looking things up ---- */

struct tensor *frame_find(const struct frame *f, const char *name)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (!strcmp(f->tensors[i].name, name))
            return &f->tensors[i];
    return NULL;
}

struct tensor *frame_need(const struct frame *f, const char *name, enum dtype dtype, int ndim,
                          const int64_t *shape)
{
    struct tensor *t = frame_find(f, name);
    if (!t)
        return fail_null("the frame has no tensor %s", name);
    bool fits = t->dtype == dtype && (ndim < 0 || t->ndim == ndim);
    for (int i = 0; fits && i < ndim; i++)
        fits = shape[i] < 0 || shape[i] == t->shape[i];
    if (fits)
        return t;
    char found[256], wanted[256];
    tensor_describe(found, sizeof found, t->dtype, t->ndim, t->shape);
    if (ndim < 0)
        snprintf(wanted, sizeof wanted, "%s", dtype_name(dtype));
    else
        tensor_describe(wanted, sizeof wanted, dtype, ndim, shape);
    return fail_null("tensor %s is %s, not %s", name, found, wanted);
}
