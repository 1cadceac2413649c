#include "network/projector.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

enum { MAX_LAYERS = 4, MAX_WIDTH = 1 << 20 }; /* the bounds of project's flags */

void projector_print(const struct projector *p, char text[PROJECTOR_TEXT])
{
    snprintf(text, PROJECTOR_TEXT, "layers=%" PRId64 " hidden=%" PRId64 " dim=%" PRId64, p->layers,
             p->hidden, p->dim);
}

/* Reads NAME=NUMBER at *text, up to a blank or the end. */
static int read_field(const char **text, const char *name, int64_t least, int64_t most,
                      int64_t *value)
{
    const size_t n = strlen(name);
    const char *at = *text + strspn(*text, " ");
    if (strncmp(at, name, n) != 0 || at[n] != '=')
        return -1;
    char *end;
    *value = strtoll(at + n + 1, &end, 10);
    *text = end;
    return end > at + n + 1 && (*end == ' ' || !*end) && *value >= least && *value <= most ? 0 : -1;
}

int projector_parse(const char *text, struct projector *p)
{
    const char *at = text;
    if (read_field(&at, "layers", 1, MAX_LAYERS, &p->layers) ||
        read_field(&at, "hidden", p->layers > 1, MAX_WIDTH, &p->hidden) ||
        read_field(&at, "dim", 1, MAX_WIDTH, &p->dim) || at[strspn(at, " ")])
        return fail("the description of a projection head, '%.100s', is not like 'layers=2 "
                    "hidden=512 dim=128'",
                    text);
    return 0;
}
