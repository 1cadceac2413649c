/* run: what a training run's folder holds, and whether a run may begin, go on, or has come to its
 * end.
 */
#ifndef RUN_H
#define RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "run/run_options.h"

struct run {
    const char *folder;
    bool resume;                /* go on with the run that is there */
    const char *options;        /* a file with its options, "-" for stdin, or "" */
    struct run_changes changes; /* of those, on going on */
    /* Set by run_open(). */
    int lock;
    int64_t step;              /* of the state */
    struct run_options before; /* what was kept, if the run goes on */
};

/* DIR/NAME; the caller's. Ends the program where memory is out. */
char *run_path(const char *folder, const char *name);

/* Takes the lock, and looks only then what is there; checks the options and keeps them; removes
 * what killed programs left. A run that is complete gets its model from its state if that is gone.
 * 0: it is to be run; 1: it is complete, after *steps steps; -1 with a message. */
int run_open(struct run *r, int64_t *steps);

/* Of a run that failed: if it came to no other state, its options are again what they were before.
 * -1 with a message. */
int run_take_back(struct run *r);

/* Whether a run whose processes have all ended well has come to its end: all steps are made, and
 * the model is there. -1 with a message if not. */
int run_check_end(const struct run *r);

/* Prints the options, names and values that each end in a zero byte; or a line: "none", "STEP STEPS
 * incomplete", or "STEP STEPS complete", which means that the model is there too. -1 with a
 * message.
 */
int run_tell_options(const char *folder);
int run_tell_state(const char *folder);

#endif
