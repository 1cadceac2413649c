#include "network/parameters.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"

static size_t type_bytes(enum parameter_type type)
{
    return type == PARAMETER_FLOAT ? sizeof(float) : sizeof(int64_t);
}

size_t parameters_bytes(const struct parameter *p)
{
    return p->count * type_bytes(p->type);
}

int parameters_add(struct parameters *p, const char *name, enum parameter_type type, int ndim,
                   const int64_t *shape, bool buffer, enum parameter_start start)
{
    struct parameter add = {.type = type, .ndim = ndim, .buffer = buffer, .start = start};
    size_t bytes = type_bytes(type);
    add.count = 1;
    for (int i = 0; i < ndim; i++) {
        add.shape[i] = shape[i];
        if (__builtin_mul_overflow(add.count, shape[i], &add.count) ||
            __builtin_mul_overflow(bytes, shape[i], &bytes))
            return fail("%s: too large", name);
    }
    struct parameter *list = grow(p->list, p->n, &p->room, sizeof *list);
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
