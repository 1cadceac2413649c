/* run: the rules for a training run's folder: whether a run may begin, be resumed, or is complete.
 */
#ifndef RUN_H
#define RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "run/run_options.h"

struct training_run {
    const char *folder;
    bool resume;                /* resume the run that the folder holds */
    const char *options;        /* a file with the run's options, "-" for stdin, or "" for none */
    struct run_changes changes; /* which options may differ when the run is resumed */
    /* run_open() sets these. */
    int lock;                  /* descriptor, which stays open */
    int64_t step;              /* steps that the saved state has made */
    struct run_options before; /* the folder's options, if the run is resumed */
};

/* Returns DIR/NAME, which the caller frees. Aborts the program if memory is out. */
char *run_path(const char *folder, const char *name);

enum run_status {
    RUN_INCOMPLETE, /* there are steps to make */
    RUN_COMPLETE    /* all steps are made, and the model is there */
};

/* Locks the folder, and only then looks at what it holds. Checks the options, stores them in the
 * folder, and removes what killed programs left. If the run is complete but its model is missing or
 * damaged, writes the model from the state. *steps gets the steps that are made. Returns an enum
 * run_status; or -1 with a message, for instance if another run holds the lock, if there is no run
 * to resume, if there is one but r->resume is false, or if an option differs that may not. */
int run_open(struct training_run *r, int64_t *steps);

/* Restores the options that the folder had before run_open(), if the run has failed without a new
 * state. Returns -1 with a message. */
int run_restore_options(struct training_run *r);

/* Checks, after all processes have ended well, that all steps are made and that the model is there.
 * Returns -1 with a message if not. */
int run_check_complete(const struct training_run *r);

/* Prints the options of the folder's run on stdout, as names and values that each end in a zero
 * byte. Returns -1 with a message. */
int run_print_options(const char *folder);

/* Prints one line on stdout: "none", "STEP STEPS incomplete", or "STEP STEPS complete", where STEP
 * of STEPS steps are made. Returns -1 with a message. */
int run_print_state(const char *folder);

#endif
