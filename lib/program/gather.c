#include "program/gather.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

static struct tensor_spec with_rows(const struct tensor *t, int64_t rows)
{
    struct tensor_spec s = tensor_spec_of(t);
    if (t->ndim)
        s.shape[0] = rows;
    return s;
}

/* Returns the number of rows of a frame, or -1 with a message. */
static int64_t count_rows(const struct frame *f, int i)
{
    int64_t rows = 0;
    for (int k = 0; k < f->n_tensors; k++) {
        const struct tensor *t = &f->tensors[k];
        if (!t->ndim)
            return fail("%s of worker %d has no rows", t->name, i);
        if (k && t->shape[0] != rows)
            return fail("worker %d sent %lld rows of %s and %lld of %s", i, (long long)rows,
                        f->tensors->name, (long long)t->shape[0], t->name);
        rows = t->shape[0];
    }
    return rows;
}

/* Returns true if f has a tensor whose rows can be joined to those of t. Otherwise leaves a
 * message. */
static bool fitting(const struct frame *f, const struct tensor *t, int i)
{
    const struct tensor *other = frame_find(f, t->name);
    if (!other) {
        fail("worker %d sent no %s, worker 0 did", i, t->name);
        return false;
    }
    bool same = other->dtype == t->dtype && other->ndim == t->ndim;
    for (int k = 1; same && k < t->ndim; k++)
        same = other->shape[k] == t->shape[k];
    if (!same)
        fail("rows of %s differ between workers 0 and %d", t->name, i);
    return same;
}

struct frame *gather_rows(struct frame *const *frames, int n, int64_t *rows)
{
    const struct frame *head = frames[0];
    int64_t total = 0;
    for (int i = 0; i < n; i++) {
        if ((rows[i] = count_rows(frames[i], i)) < 0)
            return NULL;
        if (frames[i]->n_tensors != head->n_tensors)
            return fail_null("worker %d sent %d tensors, worker 0 %d", i, frames[i]->n_tensors,
                             head->n_tensors);
        if (__builtin_add_overflow(total, rows[i], &total))
            return fail_null("the rows' number overflows");
    }
    /* This is checked before memory is allocated: rows that fit have together no more bytes than
     * were sent. */
    for (int k = 0; k < head->n_tensors; k++)
        for (int i = 0; i < n; i++)
            if (!fitting(frames[i], &head->tensors[k], i))
                return NULL;
    struct tensor_spec *specs = calloc((size_t)head->n_tensors + 1, sizeof *specs);
    if (!specs) {
        fail_memory(NULL);
        return NULL;
    }
    for (int k = 0; k < head->n_tensors; k++)
        specs[k] = with_rows(&head->tensors[k], total);
    struct frame *whole = frame_new(specs, head->n_tensors);
    free(specs);
    for (int k = 0; whole && k < head->n_tensors; k++) {
        char *to = frame_find(whole, head->tensors[k].name)->data;
        for (int i = 0; i < n; i++) {
            const struct tensor *t = frame_find(frames[i], head->tensors[k].name);
            memcpy(to, t->data, t->bytes);
            to += t->bytes;
        }
    }
    if (whole)
        frame_inherit_metas(whole, head);
    return whole;
}

struct frame *gather_part(const struct frame *whole, int64_t first, int64_t count, int64_t total)
{
    struct tensor_spec *specs = calloc((size_t)whole->n_tensors + 1, sizeof *specs);
    if (!specs) {
        fail_memory(NULL);
        return NULL;
    }
    for (int k = 0; k < whole->n_tensors; k++) {
        const struct tensor *t = &whole->tensors[k];
        specs[k] = with_rows(t, t->ndim && t->shape[0] == total ? count
                                : t->ndim                       ? t->shape[0]
                                                                : 0);
    }
    struct frame *part = frame_new(specs, whole->n_tensors);
    free(specs);
    for (int k = 0; part && k < whole->n_tensors; k++) {
        const struct tensor *t = &whole->tensors[k];
        struct tensor *to = frame_find(part, t->name);
        const bool cut = t->ndim && t->shape[0] == total && total;
        const size_t row = cut ? t->bytes / (size_t)total : 0;
        memcpy(to->data, (const char *)t->data + (size_t)first * row, to->bytes);
    }
    if (part)
        frame_inherit_metas(part, whole);
    return part;
}
