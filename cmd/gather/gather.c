/* gather: several workers' rows as one batch. Rows in, their part of the answer out. */
#include "gather.h"

#include <stdlib.h>

#include "fail.h"
#include "link.h"
#include "ranks.h"

static const char details[] =
    "In:  frames of N workers, which say who they are by `rank` and `world`.\n"
    "Out: to --next one frame with all rows in the order of the ranks; of its answer each\n"
    "     worker gets its own rows, and the metadata. Workers may have unequal numbers.\n"
    "\n"
    "Example: the loss sees the views of both workers.\n"
    "  gather --world 2 --listen ipc://gather.ipc \\\n"
    "    --next 'exec:project --opt exec:lars --next exec:ntxent' &\n"
    "  augment --shard 0/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc\n"
    "  augment --shard 1/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc";

/* Each rank's rows of the answer go back to it. */
static int scatter(struct ranks *ranks, const struct frame *answer, const int64_t *rows)
{
    int64_t total = 0, first = 0;
    for (int i = 0; i < ranks_count(ranks); i++)
        total += rows[i];
    for (int i = 0; i < ranks_count(ranks); first += rows[i++]) {
        struct frame *part = gather_part(answer, first, rows[i], total);
        if (!part || ranks_reply(ranks, i, part))
            return -1;
    }
    return 0;
}

static int serve(struct ranks *ranks, struct frame **frames, int64_t *rows)
{
    int got;
    while ((got = ranks_next(ranks, frames)) > 0) {
        struct frame *whole = gather_rows(frames, ranks_count(ranks), rows), *answer = NULL;
        for (int i = 0; i < ranks_count(ranks); i++)
            frame_free(frames[i]);
        const int bad = !whole || ranks_ask(ranks, whole, &answer) || scatter(ranks, answer, rows);
        frame_free(answer);
        if (bad)
            return -1;
    }
    return got;
}

int main(int argc, char **argv)
{
    const struct program program = {"gather",
                                    "several workers' rows as one batch",
                                    details,
                                    {ranks_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    signals_setup();

    struct ranks *ranks = ranks_open();
    if (!ranks)
        return program_fail();
    struct frame **frames = calloc((size_t)ranks_count(ranks), sizeof *frames);
    int64_t *rows = calloc((size_t)ranks_count(ranks), sizeof *rows);
    int status = 0;
    if (!frames || !rows)
        fail("out of memory");
    if (!frames || !rows || serve(ranks, frames, rows)) {
        status = program_fail(); /* first, so that the culprit's line leads a log */
        ranks_abandon(ranks);
    } else if (ranks_end(ranks))
        status = program_fail();
    free(frames);
    free(rows);
    return status;
}
