/* gather: joins the rows of several workers to one batch, and gives each worker its rows of the
 * answer. */
#include "program/gather.h"

#include <stdlib.h>

#include "base/fail.h"
#include "base/signals.h"
#include "link/link.h"
#include "program/collective.h"
#include "program/link_options.h"

static const char details[] =
    "In:  frames of N workers; their metadata `rank` and `world` say which worker sent them.\n"
    "Out: one frame with all rows, in the order of the ranks, goes to --next. Each worker gets\n"
    "     its own rows of the answer, and the metadata. Numbers of rows may differ.\n"
    "\n"
    "Example: the loss sees the views of both workers.\n"
    "  gather --world 2 --listen ipc://gather.ipc \\\n"
    "    --next 'exec:project --opt exec:lars --next exec:ntxent' &\n"
    "  augment --shard 0/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc\n"
    "  augment --shard 1/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc";

/* Sends each rank its rows of the answer. */
static int scatter(struct collective *ranks, const struct frame *answer, const int64_t *rows)
{
    int64_t total = 0, first = 0;
    for (int i = 0; i < collective_count(ranks); i++)
        total += rows[i];
    for (int i = 0; i < collective_count(ranks); first += rows[i++]) {
        struct frame *part = gather_part(answer, first, rows[i], total);
        if (!part || collective_reply(ranks, i, part))
            return -1;
    }
    return 0;
}

static int answer(struct collective *ranks, struct frame **frames)
{
    int64_t *rows = calloc((size_t)collective_count(ranks), sizeof *rows);
    if (!rows)
        return fail_memory(NULL);
    struct frame *whole = gather_rows(frames, collective_count(ranks), rows), *reply = NULL;
    const int bad = !whole || collective_ask(ranks, whole, &reply) || scatter(ranks, reply, rows);
    frame_free(reply);
    free(rows);
    return bad ? -1 : 0;
}

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {
        "gather",
        "joins the rows of several workers to one batch",
        details,
        {collective_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return collective_run(answer);
}
