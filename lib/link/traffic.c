#include "link/traffic.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/warn.h"

void traffic_report(const char *name, const struct traffic *edge, const struct traffic *shared)
{
    const char *wanted = getenv("SIMCLR_EDGES");
    if (!wanted || !*wanted || !strcmp(wanted, "0"))
        return;
    warn_line("edge %.767s: %s %" PRId64 " out %" PRId64 " in %" PRId64 " waited %.3f", name,
              edge->what, edge->n, edge->out, edge->in, edge->waited);
    if (shared && (shared->out || shared->in))
        warn_line("shared memory of %.767s: %s %" PRId64 " out %" PRId64 " in %" PRId64, name,
                  edge->what, shared->n, shared->out, shared->in);
}
