/* optimizer: the code that all optimizer programs share: joining, steps, state and model. A program
 * provides its update rule (optimizer_rule.h); cmd/sgd/sgd.c is a complete example. The optimizer
 * owns the parameters, and its clients compute with the values that it sends.
 *
 * Requests are of two kinds. A join (`kind` = `join`) brings initial parameters and buffers; the
 * answer has the current values and the next `step`, and with the metadata `ema` slow copies of the
 * parameters (ema.h), which the optimizer keeps from then on. All other requests bring gradients
 * under the parameters' names, in any number of frames a step; each answer has the new values and
 * `lr`. A step is complete when each client has sent the gradients of all tensors that it joined
 * with, and the values of those that are a loss's state (parameter_name.h). A client may be one
 * step ahead. Its requests then wait until the step is complete, so a saved state always belongs to
 * a single step.
 *
 * Anything else is an error: a step that is left out or repeated, a tensor that comes twice in a
 * step, a tensor that two clients joined with, a gradient of a frozen tensor, and a gradient that
 * is not finite. The answer to a join lacks `step` if all tensors of this optimizer are frozen: it
 * then receives no gradients and cannot count steps. */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include "link/server.h"
#include "program/optimizer_options.h"
#include "program/optimizer_rule.h"

/* The lines of an optimizer's --help that describe its frames. */
#define OPTIMIZER_FRAMES                                                                           \
    "In:  `kind` = `join` with initial parameters; then their gradients, under their\n"            \
    "     names, in any number of frames a step.\n"                                                \
    "Out: the parameters in force, under the same names, and `lr`.\n"                              \
    "\n"

/* Serves until all clients have ended, then writes state and model. Returns 0, or -1 with a
 * message; after a failure the last state that was written stays. A signal stops the program
 * between two steps, after it has written the state. */
int optimizer_serve(struct server *server, const struct optimizer_rule *rule,
                    const struct optimizer_config *config);

/* Runs the rest of an optimizer program after options_parse(): opens the server that the flags
 * name, and serves. Prints messages and returns the program's exit status. */
int optimizer_run(const struct optimizer_rule *rule);

#endif
