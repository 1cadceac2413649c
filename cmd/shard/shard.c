/* shard: makes several optimizers work as one. Reads gradients and writes new parameters. */
#include "program/shard.h"

#include "base/fail.h"
#include "base/signals.h"
#include "base/warn.h"
#include "link/link.h"
#include "link/server.h"
#include "program/link_options.h"
#include "program/shard_server.h"

static const char *next = "";

static const struct option_spec options[] = {
    {.name = "next",
     .kind = OPTION_STRING,
     .value = &next,
     .argument = "LINK",
     .help = "LINK,LINK,...: optimizers, each of which owns a part"},
    {0},
};

static const char details[] =
    "In:  the requests of an optimizer: `kind` = `join` with initial parameters, then gradients.\n"
    "Out: the answer of the optimizers, as if they were one. A tensor's name alone decides\n"
    "     which of them owns it, so a resumed run needs the same states in the same order.\n"
    "A comma in --next separates links only if exec:, tcp://, ipc:// or shm:// follows.\n"
    "\n"
    "Example: two optimizers hold one half of the model each.\n"
    "  augment --data shapes --batch 64 --steps 20 |\n"
    "    encode --opt 'exec:shard --next \"exec:lars --state a.st,exec:lars --state b.st\"' \\\n"
    "      --next 'exec:project --opt exec:lars --next exec:ntxent' | progress";

static int serve(struct shard_server *requests, struct shard *shard)
{
    struct frame *request, *reply;
    int client;
    enum shard_server_result got;
    while ((got = shard_server_next(requests, &request, &client)) == SHARD_SERVER_REQUEST)
        if (shard_ask(shard, request, &reply) || shard_server_reply(requests, client, reply))
            return -1;
    return got == SHARD_SERVER_ENDED ? 0 : -1;
}

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {"shard",
                                    "makes several optimizers work as one",
                                    details,
                                    {options, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    if (shard_count(next) < 0)
        options_reject("--next: %s", fail_message());

    struct server *server = server_open(&server_options);
    struct shard_server *requests = server ? shard_server_new(server) : NULL;
    struct shard *shard = requests ? shard_open(next) : NULL;
    const bool bad = !shard || serve(requests, shard);
    shard_server_free(requests);
    if (bad) {
        const int status = warn_failure(); /* first, so that the cause comes first in a log */
        server_abandon(server);
        shard_abandon(shard);
        return status;
    }
    if (shard_end(shard)) {
        const int status = warn_failure();
        server_abandon(server);
        return status;
    }
    return server_end(server) ? warn_failure() : 0;
}
