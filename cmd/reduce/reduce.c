/* reduce: sums the frames of several workers. Each worker gets the sum, or the answer to it. */
#include "program/reduce.h"

#include "base/fail.h"
#include "base/signals.h"
#include "link/link.h"
#include "program/collective.h"
#include "program/link_options.h"

static const char details[] =
    "In:  frames of N workers; their metadata `rank` and `world` say which worker sent them.\n"
    "Out: the sum of each tensor over the workers that have it, or with --next the answer to\n"
    "     this sum; every worker gets the same. Sums are made in a balanced tree by rank, so 1,\n"
    "     2, 4 and 8 workers add the same grains to the same bits.\n"
    "\n"
    "Example: one optimizer for two workers.\n"
    "  reduce --world 2 --listen ipc://reduce.ipc --next 'exec:lars --model model.st' &\n"
    "  augment --shard 0/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc\n"
    "  augment --shard 1/2 | encode --opt ipc://reduce.ipc --next ipc://gather.ipc";

/* Sends the same answer to all ranks, and consumes it. */
static int broadcast(struct collective *ranks, struct frame *answer)
{
    const int last = collective_count(ranks) - 1;
    for (int i = 0; i < last; i++) {
        struct frame *copy = frame_copy(answer);
        if (!copy || collective_reply(ranks, i, copy)) {
            if (!copy)
                fail_memory(NULL);
            frame_free(answer);
            return -1;
        }
    }
    return collective_reply(ranks, last, answer);
}

static int answer(struct collective *ranks, struct frame **frames)
{
    struct frame *sum = reduce_sum(frames, collective_count(ranks)), *reply;
    return !sum || collective_ask(ranks, sum, &reply) || broadcast(ranks, reply) ? -1 : 0;
}

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {
        "reduce",
        "sums tensors over workers",
        details,
        {collective_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return collective_run(answer);
}
