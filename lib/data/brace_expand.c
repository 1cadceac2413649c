#include "data/brace_expand.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"

struct name_list {
    char **names;
    int64_t n, capacity;
};

static int add(struct name_list *l, char *name)
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

/* The contents of a pair of braces: a range, or words separated by commas. */
struct brace_group {
    const char *start, *end; /* the text between the braces */
    bool range;
    long long first, last;
    int width; /* width to which numbers are padded with zeros */
};

/* Finds the first group of a text. Returns false if there is none, or, with *broken set, if a brace
 * is not closed. */
static bool find_group(const char *text, struct brace_group *g, bool *broken)
{
    *broken = false;
    for (const char *open = strchr(text, '{'); open; open = strchr(open + 1, '{')) {
        const char *close = strchr(open, '}');
        if (!close) {
            *broken = true;
            return false;
        }
        *g = (struct brace_group){.start = open + 1, .end = close};
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

enum word_result { WORD_NO_MEMORY = -1, WORD_NO_MORE, WORD_FOUND };

/* Gets the i-th word of the group. */
static enum word_result word(const struct brace_group *g, long long i, char **out)
{
    *out = NULL;
    if (g->range) {
        const long long step = g->first <= g->last ? 1 : -1, value = g->first + step * i;
        if (i > llabs(g->last - g->first))
            return WORD_NO_MORE;
        return asprintf(out, "%0*lld", g->width, value) < 0 ? WORD_NO_MEMORY : WORD_FOUND;
    }
    const char *at = g->start;
    for (; i > 0; i--) {
        at = memchr(at, ',', (size_t)(g->end - at));
        if (!at)
            return WORD_NO_MORE;
        at++;
    }
    const char *comma = memchr(at, ',', (size_t)(g->end - at));
    *out = strndup(at, (size_t)((comma ? comma : g->end) - at));
    return *out ? WORD_FOUND : WORD_NO_MEMORY;
}

/* Copies the names of `in` to `out`, and replaces each name that has a group by the names that its
 * first group expands to. Sets *more to whether there was such a name. */
static int expand_group(const struct name_list *in, struct name_list *out, bool *more)
{
    *more = false;
    for (int64_t k = 0; k < in->n; k++) {
        struct brace_group g;
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
        enum word_result found;
        for (long long i = 0; (found = word(&g, i, &w)) == WORD_FOUND; i++) {
            if (asprintf(&whole, "%.*s%s%s", (int)(g.start - 1 - name), name, w, g.end + 1) < 0)
                whole = NULL;
            free(w);
            if (add(out, whole))
                return -1;
            if (out->n > BRACE_EXPAND_MAX)
                return fail("%s: more than %d names", name, BRACE_EXPAND_MAX);
        }
        if (found == WORD_NO_MEMORY)
            return fail_memory(NULL);
    }
    return 0;
}

int brace_expand(const char *pattern, char ***names, int64_t *n)
{
    struct name_list now = {0};
    bool more = true;
    int result = add(&now, strdup(pattern));
    while (result == 0 && more) {
        struct name_list next = {0};
        result = expand_group(&now, &next, &more);
        brace_expand_free(now.names, now.n);
        now = next;
    }
    if (result) {
        brace_expand_free(now.names, now.n);
        now = (struct name_list){0};
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
