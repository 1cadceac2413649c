#include "network/parameters.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/half.h"

int parameters_add(struct parameters *p, const char *name, enum dtype dtype, int ndim,
                   const int64_t *shape, bool buffer, enum parameter_start start)
{
    struct parameter add = {.dtype = dtype, .ndim = ndim, .buffer = buffer, .start = start};
    size_t bytes = dtype_size(dtype);
    add.count = 1;
    for (int i = 0; i < ndim; i++) {
        add.shape[i] = shape[i];
        if (__builtin_mul_overflow(add.count, shape[i], &add.count) ||
            __builtin_mul_overflow(bytes, shape[i], &bytes))
            return fail("%s: too large", name);
    }
    struct parameter *list = realloc(p->list, (size_t)(p->n + 1) * sizeof *list);
    if (!list)
        return fail_memory(NULL);
    p->list = list;
    add.name = strdup(name);
    add.value = calloc(1, bytes ? bytes : 1);
    if (!buffer)
        add.grad = calloc(1, bytes ? bytes : 1);
    if (!add.name || !add.value || (!buffer && !add.grad)) {
        free(add.name);
        free(add.value);
        free(add.grad);
        return fail("%s: out of memory for %zu bytes", name, bytes);
    }
    list[p->n] = add;
    return p->n++;
}

void parameters_clear(struct parameters *p)
{
    for (int i = 0; i < p->n; i++) {
        free(p->list[i].name);
        free(p->list[i].value);
        free(p->list[i].grad);
    }
    free(p->list);
    *p = (struct parameters){0};
}

int parameters_find(const struct parameters *p, const char *name)
{
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->list[i].name, name))
            return i;
    return -1;
}

bool parameters_claim(const struct parameters *p, const char *name)
{
    const size_t n = strcspn(name, ".");
    for (int i = 0; i < p->n; i++)
        if (n == strcspn(p->list[i].name, ".") && !strncmp(p->list[i].name, name, n))
            return true;
    return false;
}

int parameters_load(struct parameters *p, const struct frame *f, const char *where)
{
    for (int i = 0; i < p->n; i++) {
        const struct parameter *a = &p->list[i];
        if (!frame_find(f, a->name))
            continue;
        const bool half = a->dtype == DTYPE_F32 && frame_find(f, a->name)->dtype == DTYPE_BF16;
        if (!frame_need(f, a->name, half ? DTYPE_BF16 : a->dtype, a->ndim, a->shape))
            return fail_prefix("%s", where);
    }
    for (int i = 0; i < p->n; i++) {
        const struct tensor *t = frame_find(f, p->list[i].name);
        if (t && t->dtype != p->list[i].dtype)
            half_widen_bf16(t->data, p->list[i].value, p->list[i].count);
        else if (t)
            memcpy(p->list[i].value, t->data, t->bytes);
    }
    return 0;
}
