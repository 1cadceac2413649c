/* optimizer: what all optimizer programs share: joining, schedule, state, model. A program brings
 * its update rule. The optimizer owns the parameters: its clients compute with what it answers.
 *
 * Requests: `kind` = `join` with initial parameters and buffers, answered with those in force and
 * the next `step`; then gradients under the parameters' names, in any number of frames a step, each
 * answered with the new values and `lr`. A step is complete when each client has sent all that it
 * joined with; a client that is one step ahead waits until then, so a saved state is one step's.
 * Anything else is an error: a step left out or gone back to, a tensor twice in a step, one that
 * two clients joined with, a gradient of one that is frozen or that is not finite. The answer to a
 * join lacks `step` when all that is there is frozen. */
#ifndef OPTIMIZER_H
#define OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/options.h"
#include "link/server.h"
#include "optimizer/schedule.h"

/* What --help says of the frames of such a program. */
#define OPTIMIZER_FRAMES                                                                           \
    "In:  `kind` = `join` with initial parameters; then their gradients, under their\n"            \
    "     names, in any number of frames a step.\n"                                                \
    "Out: the parameters in force, under the same names, and `lr`.\n"                              \
    "\n"

/* How a tensor changes in a step. */
struct optimizer_rule {
    const char *name;                  /* "lars": written into the state */
    int n_slots;                       /* tensors of state for each parameter, as large as it */
    const char *slots[4];              /* their names: "momentum" is stored as momentum/NAME */
    const void *hyper;                 /* handed to update */
    const struct option_spec *options; /* the program's own flags, which go into the state; NULL */
    /* Updates w (n) and its slots in place from gradient g; ndim is the tensor's. -1 if the
     * gradient is not finite. */
    int (*update)(const void *hyper, double lr, int64_t step, int ndim, size_t n, float *w,
                  const float *g, float *const *slots);
};

struct optimizer_config {
    struct schedule schedule;
    const char *state;  /* path, or "": none is written */
    const char *model;  /* path, or "" */
    int64_t save_every; /* steps; 0: only at the end */
    int64_t keep_every; /* steps; 0: none. Beside model.safetensors, what it would hold after step
                         * 200 is then kept as model-200.safetensors, and so on. They are written
                         * before the state of their step, so a resumed run lacks none, and one that
                         * it comes to again is replaced by the same. */
    bool resume;        /* start from `state` */
};

/* The flags for them, with their defaults: --lr to --resume. */
extern struct optimizer_config optimizer_config;
extern const struct option_spec optimizer_option_specs[];

/* The rates that hold without --lr and --base-lr, and --warmup. Without this, those of lars; else
 * to be set before options_parse(). */
struct optimizer_defaults {
    double linear_lr, sqrt_lr; /* base rates: x batch / 256, x sqrt(batch) */
    double warmup_epochs;
};
void optimizer_set_defaults(const struct optimizer_defaults *d);

/* Serves until all clients have ended, then writes state and model. 0, or -1 with a message; a
 * failure leaves the last state that was written. */
int optimizer_serve(struct server *s, const struct optimizer_rule *rule,
                    const struct optimizer_config *config);

/* The rest of an optimizer program behind options_parse(): opens the server of the flags and
 * serves. The exit status; messages are printed. */
int optimizer_run(const struct optimizer_rule *rule);

#endif
