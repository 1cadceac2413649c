/* reduce: sums over workers. Any frames in, their sum, or what is made of it, out. */
#include "reduce.h"

#include <stdlib.h>

#include "fail.h"
#include "link.h"
#include "ranks.h"

static const char details[] =
    "In:  frames of N workers, which say who they are by `rank` and `world`.\n"
    "Out: the sum of each tensor over the workers that have it, or with --next the answer to\n"
    "     this sum: the same to all. The order of the sum is a balanced tree by rank, so 1,\n"
    "     2, 4 and 8 workers add the same grains to the same bits.\n"
    "\n"
    "Example: one optimizer for two workers.\n"
    "  reduce --world 2 --listen ipc://reduce.ipc --next 'exec:lars --model model.st' &\n"
    "  augment --shard 0/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc\n"
    "  augment --shard 1/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc";

/* The same answer to all; consumes it. */
static int broadcast(struct ranks *ranks, struct frame *answer)
{
    const int last = ranks_count(ranks) - 1;
    for (int i = 0; i < last; i++) {
        struct frame *copy = frame_copy(answer);
        if (!copy || ranks_reply(ranks, i, copy)) {
            if (!copy)
                fail("out of memory");
            frame_free(answer);
            return -1;
        }
    }
    return ranks_reply(ranks, last, answer);
}

static int serve(struct ranks *ranks, struct frame **frames)
{
    int got;
    while ((got = ranks_next(ranks, frames)) > 0) {
        struct frame *sum = reduce_sum(frames, ranks_count(ranks)), *answer = NULL;
        for (int i = 0; i < ranks_count(ranks); i++)
            frame_free(frames[i]);
        if (!sum || ranks_ask(ranks, sum, &answer) || broadcast(ranks, answer))
            return -1;
    }
    return got;
}

int main(int argc, char **argv)
{
    const struct program program = {"reduce",
                                    "sums over workers",
                                    details,
                                    {ranks_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    signals_setup();

    struct ranks *ranks = ranks_open();
    if (!ranks)
        return program_fail();
    struct frame **frames = calloc((size_t)ranks_count(ranks), sizeof *frames);
    int status = 0;
    if (!frames)
        fail("out of memory");
    if (!frames || serve(ranks, frames)) {
        status = program_fail(); /* first, so that the culprit's line leads a log */
        ranks_abandon(ranks);
    } else if (ranks_end(ranks))
        status = program_fail();
    free(frames);
    return status;
}
