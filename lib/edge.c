#include "edge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

void edge_tell(const char *name, const struct edge *edge)
{
    const char *wanted = getenv("SIMCLR_EDGES");
    if (!wanted || !*wanted || !strcmp(wanted, "0"))
        return;
    char shown[768]; /* a command may be long, and have lines */
    snprintf(shown, sizeof shown, "%s", name);
    for (unsigned char *c = (unsigned char *)shown; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
    program_warn("edge %s: %s %" PRId64 " out %" PRId64 " in %" PRId64 " waited %.3f", shown,
                 edge->what, edge->n, edge->out, edge->in, edge->waited);
}
