/* keygen: makes a pair of keys for tcp links. */
#include <stddef.h>

#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "link/keys.h"

static const char details[] =
    "keygen NAME writes a new secret key to NAME.key, which only its owner can read, and the\n"
    "public key that belongs to it to NAME.pub. Both are CURVE keys: 40 characters and a\n"
    "newline. Files that are there already are not overwritten.\n"
    "\n"
    "Example: a server and the one client that it admits.\n"
    "  keygen server && keygen client\n"
    "  lars --listen tcp://0.0.0.0:7000 --curve-key server.key --curve-clients client.pub\n"
    "  encode --opt tcp://HOST:7000 --curve-key client.key --curve-server-key server.pub";

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {
        .name = "keygen", .summary = "makes a pair of keys for tcp links", .details = details};
    int operand;
    options_parse(&program, argc, argv, &operand);
    if (argc - operand != 1)
        options_reject("one NAME is needed, not %d", argc - operand);
    if (!*argv[operand])
        options_reject("an empty NAME");
    return keys_generate(argv[operand]) ? warn_failure() : 0;
}
