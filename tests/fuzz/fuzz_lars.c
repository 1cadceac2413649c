/* Fuzzes an optimizer and its clients: joins, gradients and ends in any order. If the first byte is
 * an uppercase letter, the optimizer resumes from a saved state, which is the first part. */
#include <assert.h>
#include <ctype.h>
#include <unistd.h>

int lars_main(int argc, char **argv);
#define main lars_main
#include "../../cmd/lars/lars.c"
#undef main

#include "link/server.h"
#include "peers.h"
#include "program/link_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size}, state = {0};
    const bool resume = isupper(input_byte(&rest));
    if (resume)
        input_part(&rest, &state);
    server_options.listen = "tcp://127.0.0.1:2";
    link_options.timeout = 0;
    peers_play(rest);
    const int fd = input_stream(state);
    struct optimizer_config config = optimizer_options_config();
    config.resume = resume;
    config.state = resume ? input_path(fd) : "";
    config.save_every = 0;
    const struct optimizer_rule rule = {.name = "lars",
                                        .n_slots = 1,
                                        .slots = {"momentum"},
                                        .hyper = &lars,
                                        .options = options,
                                        .update = update,
                                        .measure = measure,
                                        .apply = apply};
    struct server *server = server_open(&server_options);
    assert(server);
    if (optimizer_serve(server, &rule, &config))
        server_abandon(server);
    else
        server_end(server);
    close(fd);
    return 0;
}
