#include "data/ignored.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/warn.h"

enum {
    LONGEST_EXTENSION = 12,
    NAMED = 10 /* kinds that a text names */
};
_Static_assert(NAMED *(IGNORED_KIND_BYTES + 24) + 64 < IGNORED_TEXT,
               "a text has room for all kinds");

void ignored_add(struct ignored *p, const char *kind, int64_t n)
{
    int i = 0;
    if (n == 0)
        return;
    while (i < p->n_kinds && strcmp(p->kinds[i].name, kind) != 0)
        i++;
    if (i == IGNORED_KINDS) {
        p->others += n;
        return;
    }
    if (i == p->n_kinds) {
        snprintf(p->kinds[i].name, sizeof p->kinds[i].name, "%s", kind);
        p->kinds[i].n = 0;
        p->n_kinds++;
    }
    p->kinds[i].n += n;
}

void ignored_add_file(struct ignored *p, const char *name)
{
    const char *dot = strrchr(name, '.');
    char kind[LONGEST_EXTENSION + 2] = "";
    size_t n = dot && dot > name ? strlen(dot) : 0;
    if (n < 2 || n > LONGEST_EXTENSION)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && !isalnum((unsigned char)dot[i]))
            n = 0;
        else
            kind[i] = (char)tolower((unsigned char)dot[i]);
    }
    ignored_add(p, n ? kind : "other files", 1);
}

static int most_first(const void *a, const void *b)
{
    const struct ignored_kind *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : strcmp(x->name, y->name);
}

void ignored_text(struct ignored *p, char *text)
{
    size_t used = 0;
    int64_t others = p->others;
    *text = '\0';
    qsort(p->kinds, (size_t)p->n_kinds, sizeof p->kinds[0], most_first);
    for (int i = 0; i < p->n_kinds; i++) {
        if (i >= NAMED)
            others += p->kinds[i].n;
        else
            used += (size_t)snprintf(text + used, IGNORED_TEXT - used, "%s%lld %s", i ? ", " : "",
                                     (long long)p->kinds[i].n, p->kinds[i].name);
    }
    if (others)
        snprintf(text + used, IGNORED_TEXT - used, ", %lld of other kinds", (long long)others);
}

void ignored_report(struct ignored *p, const char *where)
{
    char text[IGNORED_TEXT];
    ignored_text(p, text);
    if (*text)
        warn_line("%s: not read: %s", where, text);
}
