/* workers: the settings of a fuzzer for a program that serves workers, which includes this file. */
#ifndef WORKERS_H
#define WORKERS_H

#include "link/link.h"
#include "peers.h"
#include "program/collective.h"

/* Sets the number of workers, and whether there is a --next, from the first byte of the input. The
 * rest of the input is their messages. */
static void workers_play(struct input rest)
{
    const uint8_t how = input_byte(&rest);
    *(int64_t *)collective_option_specs[0].value = 1 + how / 2 % 4;
    *(const char **)collective_option_specs[1].value = how % 2 ? "tcp://127.0.0.1:1" : "";
    server_options.listen = "tcp://127.0.0.1:2";
    link_options.timeout = 0; /* the program ends when time passes */
    peers_play(rest);
}

#endif
