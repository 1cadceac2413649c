#include "data/classes.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"

/* Returns the index of the name, or the index at which it would be inserted. */
static int find(const struct classes *c, const char *name, bool *there)
{
    int at = 0, end = c->n;
    *there = false;
    while (at < end) {
        const int middle = (at + end) / 2, order = strcmp(c->names[middle], name);
        if (order == 0)
            *there = true;
        if (order < 0)
            at = middle + 1;
        else
            end = middle;
    }
    return at;
}

int classes_add(struct classes *c, const char *name)
{
    bool there;
    const int at = find(c, name, &there);
    if (there)
        return 0;
    if (c->n == CLASSES_MAX)
        return fail("%s: more than %d classes", name, CLASSES_MAX);
    char **grown = grow(c->names, c->n, &c->capacity, sizeof *grown);
    if (grown)
        c->names = grown;
    char *copy = grown ? strdup(name) : NULL;
    if (!copy)
        return fail_memory(name);
    memmove(c->names + at + 1, c->names + at, (size_t)(c->n - at) * sizeof *c->names);
    c->names[at] = copy;
    c->n++;
    return 0;
}

int classes_order(struct classes *c, const char *const *names)
{
    c->numbers = calloc((size_t)c->n + 1, sizeof *c->numbers);
    if (!c->numbers)
        return fail_memory(NULL);
    for (int i = 0; i < c->n; i++) {
        bool there;
        c->numbers[find(c, names[i], &there)] = i;
    }
    return 0;
}

int classes_number(const struct classes *c, const char *name)
{
    bool there;
    const int at = find(c, name, &there);
    if (!there)
        return -1;
    return c->numbers ? c->numbers[at] : at;
}

void classes_free(struct classes *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->names[i]);
    free(c->names);
    free(c->numbers);
    *c = (struct classes){0};
}
