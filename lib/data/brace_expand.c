#include "data/brace_expand.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"

struct list {
    char **names;
    int64_t n, capacity;
};

static int add(struct list *l, char *name)
{
    if (!name)
        return fail_memory(NULL);
    char **grown = grow(l->names, l->n, &l->capacity, sizeof *grown);
    if (!grown) {
        free(name);
        return fail_memory(NULL);
    }
    l->names = grown;
    l->names[l->n++] = name;
    return 0;
}

/* What stands between a pair of braces: a range, or words between commas. */
struct group {
    const char *start, *end; /* its inside */
    bool range;
    long long first, last;
    int width; /* of the numbers, filled up with zeros */
};

/* The first group at or after *text; false if there is none. *broken: a brace does not close. */
static bool find_group(const char *text, struct group *g, bool *broken)
{
    *broken = false;
    for (const char *open = strchr(text, '{'); open; open = strchr(open + 1, '{')) {
        const char *close = strchr(open, '}');
        if (!close) {
            *broken = true;
            return false;
        }
        *g = (struct group){.start = open + 1, .end = close};
        char past = 0;
        g->range = sscanf(g->start, "%9lld..%9lld%c", &g->first, &g->last, &past) == 3 &&
                   past == '}' && strspn(g->start, "0123456789.") == (size_t)(close - g->start);
        if (g->range && *g->start == '0')
            g->width = (int)strcspn(g->start, ".");
        if (g->range || memchr(g->start, ',', (size_t)(close - g->start)))
            return true;
    }
    return false;
}

/* The i-th word of the group: 1, 0 when there are no more, -1 when memory is out. */
static int word(const struct group *g, long long i, char **out)
{
    *out = NULL;
    if (g->range) {
        const long long step = g->first <= g->last ? 1 : -1, value = g->first + step * i;
        if (i > llabs(g->last - g->first))
            return 0;
        return asprintf(out, "%0*lld", g->width, value) < 0 ? -1 : 1;
    }
    const char *at = g->start;
    for (; i > 0; i--) {
        at = memchr(at, ',', (size_t)(g->end - at));
        if (!at)
            return 0;
        at++;
    }
    const char *comma = memchr(at, ',', (size_t)(g->end - at));
    *out = strndup(at, (size_t)((comma ? comma : g->end) - at));
    return *out ? 1 : -1;
}

/* Replaces each name of `in` by those that its group makes, or leaves it. */
static int expand_group(const struct list *in, struct list *out, bool *more)
{
    *more = false;
    for (int64_t k = 0; k < in->n; k++) {
        struct group g;
        bool broken;
        const char *name = in->names[k];
        if (!find_group(name, &g, &broken)) {
            if (broken)
                return fail("%s: a brace does not close", name);
            if (add(out, strdup(name)))
                return -1;
            continue;
        }
        *more = true;
        char *w, *whole;
        int there;
        for (long long i = 0; (there = word(&g, i, &w)) == 1; i++) {
            if (asprintf(&whole, "%.*s%s%s", (int)(g.start - 1 - name), name, w, g.end + 1) < 0)
                whole = NULL;
            free(w);
            if (add(out, whole))
                return -1;
            if (out->n > BRACE_EXPAND_MAX)
                return fail("%s: more than %d names", name, BRACE_EXPAND_MAX);
        }
        if (there < 0)
            return fail_memory(NULL);
    }
    return 0;
}

int brace_expand(const char *pattern, char ***names, int64_t *n)
{
    struct list now = {0};
    bool more = true;
    int result = add(&now, strdup(pattern));
    while (result == 0 && more) {
        struct list next = {0};
        result = expand_group(&now, &next, &more);
        brace_expand_free(now.names, now.n);
        now = next;
    }
    if (result) {
        brace_expand_free(now.names, now.n);
        now = (struct list){0};
    }
    *names = now.names;
    *n = now.n;
    return result;
}

void brace_expand_free(char **names, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}
