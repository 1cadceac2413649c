/* optimizer_settings: the settings that a state was made with, so that a run resumes only with the
 * same.
 *
 * There are two kinds of settings: those of the run, which are in the requests' metadata (images,
 * batch, grains, steps_per_epoch), and the optimizer's own flags. A setting that is missing on one
 * side is not compared. The number of steps may change; the schedule then changes with it. */
#ifndef OPTIMIZER_SETTINGS_H
#define OPTIMIZER_SETTINGS_H

#include <stdint.h>

#include "cli/options.h"
#include "frame/frame.h"

enum { RUN_SETTINGS = 4 };
/* The settings of a run, in the order images, batch, grains, steps_per_epoch. */
struct run_settings {
    int64_t values[RUN_SETTINGS]; /* -1 if missing */
};

/* The settings of this optimizer's run, and of the state that it resumed. */
struct optimizer_settings {
    const char *path;                /* path of the state, for messages */
    const struct option_spec *flags; /* the program's own flags, or NULL */
    struct run_settings run;         /* from the requests */
    struct run_settings resumed;     /* from the resumed state */
    int64_t resumed_steps; /* steps of the resumed state's run, or of the new schedule once a line
                              has said so; 0: unknown */
};

/* Initializes the settings, all of them missing. Both arguments must outlive the settings. */
void optimizer_settings_init(struct optimizer_settings *s, const char *path,
                             const struct option_spec *flags);

/* Checks that a request's settings of the run match the resumed state's. Returns -1 with a message
 * if they do not. */
int optimizer_settings_check(const struct optimizer_settings *s, const struct frame *request);

/* Checks the same for a request with gradients for `step` of a run of `steps` steps, of which at
 * least one must be left, and stores the request's settings. Prints a line on stderr if `steps`
 * differs from the resumed state's. Returns -1 with a message. */
int optimizer_settings_take(struct optimizer_settings *s, const struct frame *request, int64_t step,
                            int64_t steps);

/* Writes the settings into a state's metadata. */
void optimizer_settings_write(const struct optimizer_settings *s, struct frame *state);

/* Reads the settings of the run, which has `steps` steps, from a state, and compares the state's
 * flags with the program's. If the state has no flags, skips the comparison and prints a line on
 * stderr. Returns -1 with a message. */
int optimizer_settings_resume(struct optimizer_settings *s, const struct frame *state,
                              int64_t steps);

#endif
