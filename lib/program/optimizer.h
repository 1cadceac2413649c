/* optimizer: what all optimizer programs share: joining, steps, state and model. A program brings
 * its update rule (optimizer_rule.h); cmd/sgd/sgd.c is a whole one. The optimizer owns the
 * parameters: its clients compute with what it answers.
 *
 * Requests are of two kinds. A join (`kind` = `join`) brings initial parameters and buffers, and is
 * answered with those in force and with the next `step`. All others bring gradients under the
 * parameters' names, in any number of frames a step; each is answered with the new values and `lr`.
 * A step is complete when each client has sent all that it joined with. A client may be one step
 * ahead: its requests then wait until the step is complete, so a saved state is that of one step.
 *
 * Anything else is an error: a step that is left out or repeated, a tensor that comes twice in a
 * step, a tensor that two clients joined with, a gradient of a frozen tensor, and a gradient that
 * is not finite. The answer to a join lacks `step` if all tensors there are frozen: no gradients
 * come then, so this optimizer does not count steps. */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include "link/server.h"
#include "program/optimizer_options.h"
#include "program/optimizer_rule.h"

/* The lines of --help about the frames of such a program. */
#define OPTIMIZER_FRAMES                                                                           \
    "In:  `kind` = `join` with initial parameters; then their gradients, under their\n"            \
    "     names, in any number of frames a step.\n"                                                \
    "Out: the parameters in force, under the same names, and `lr`.\n"                              \
    "\n"

/* Serves until all clients have ended, then writes state and model. Returns 0, or -1 with a
 * message; after a failure the last state that was written stays. A signal stops the program
 * between two steps, where the state is written. */
int optimizer_serve(struct server *server, const struct optimizer_rule *rule,
                    const struct optimizer_config *config);

/* The rest of an optimizer program after options_parse(): opens the server that the flags name and
 * serves. Returns the program's exit status; messages are printed. */
int optimizer_run(const struct optimizer_rule *rule);

#endif
