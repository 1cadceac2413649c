#include "program/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/half.h"
#include "base/multiversion.h"
#include "engine/grains.h"

MULTIVERSION static void add_bf16(uint16_t *restrict a, const uint16_t *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = bf16_narrow(bf16_widen(a[i]) + bf16_widen(b[i]));
}

/* Computes a += b, n numbers each, which are unsigned because the sums may overflow. */
static void add_words(uint32_t *restrict a, const uint32_t *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] += b[i];
}

static void add_long_words(uint64_t *restrict a, const uint64_t *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] += b[i];
}

/* Computes a += b. Returns -1 with a message. */
static int add(const struct tensor *a, const struct tensor *b)
{
    bool same = a->dtype == b->dtype && a->ndim == b->ndim;
    for (int i = 0; same && i < a->ndim; i++)
        same = a->shape[i] == b->shape[i];
    if (!same)
        return fail("%s has not the same shape and dtype from all workers", a->name);
    const size_t n = tensor_count(a);
    switch (a->dtype) {
    case DTYPE_F32:
        grains_add_floats(a->data, b->data, (int64_t)n);
        return 0;
    case DTYPE_BF16:
        add_bf16(a->data, b->data, n);
        return 0;
    case DTYPE_I32:
        add_words(a->data, b->data, n);
        return 0;
    case DTYPE_I64:
        add_long_words(a->data, b->data, n);
        return 0;
    default:
        return fail("%s is %s, of which no sum is made", a->name, dtype_name(a->dtype));
    }
}

/* Computes the sum of the frames' tensors of that name in the order of the tree, in one of them.
 * parts[n] is working memory: the tensor of each frame, or NULL where the frame has none. */
static const struct tensor *sum_of(struct frame *const *frames, int n, const char *name,
                                   const struct tensor **parts)
{
    for (int i = 0; i < n; i++)
        parts[i] = frame_find(frames[i], name);
    for (int stride = 1; stride < n; stride *= 2)
        for (int i = 0; i + stride < n; i += 2 * stride) {
            const struct tensor *b = parts[i + stride];
            if (!parts[i])
                parts[i] = b;
            else if (b && add(parts[i], b))
                return NULL;
        }
    return parts[0];
}

struct frame *reduce_sum(struct frame *const *frames, int n)
{
    int most = 0, count = 0;
    for (int i = 0; i < n; i++)
        most += frames[i]->n_tensors;
    const struct tensor **sums = calloc((size_t)most + 1, sizeof *sums);
    const struct tensor **parts = calloc((size_t)n, sizeof *parts);
    struct tensor_spec *specs = calloc((size_t)most + 1, sizeof *specs);
    struct frame *f = NULL;
    if (!sums || !parts || !specs)
        fail_memory(NULL);
    bool good = sums && parts && specs;
    for (int i = 0; good && i < n; i++)
        for (int k = 0; good && k < frames[i]->n_tensors; k++) {
            const struct tensor *t = &frames[i]->tensors[k];
            bool known = false;
            for (int j = 0; j < i && !known; j++)
                known = frame_find(frames[j], t->name);
            if (known)
                continue;
            good = (sums[count] = sum_of(frames, n, t->name, parts)) != NULL;
            specs[count++] = tensor_spec_of(t);
        }
    if (good && (f = frame_new(specs, count))) {
        for (int k = 0; k < count; k++)
            memcpy(frame_find(f, specs[k].name)->data, sums[k]->data, sums[k]->bytes);
        frame_inherit_metas(f, frames[0]);
    }
    free(sums);
    free(parts);
    free(specs);
    return f;
}
