/* run: the rules for a training run's folder. They decide whether a run may begin or be resumed,
 * and whether it is complete. */
#ifndef RUN_H
#define RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "run/run_options.h"

/* A training run in its folder. */
struct training_run {
    const char *folder;
    bool resume;                /* resume the run that the folder holds */
    const char *options;        /* a file with the run's options, "-" for stdin, or "" for none */
    struct run_changes changes; /* which options may differ when the run is resumed */
    /* run_open() sets these. */
    int lock;                  /* descriptor, which stays open */
    int64_t step;              /* number of steps in the saved state */
    struct run_options before; /* the folder's options, if the run is resumed */
};

/* Returns DIR/NAME, which the caller frees. Aborts the program if memory is out. */
char *run_path(const char *folder, const char *name);

enum run_status {
    RUN_INCOMPLETE, /* there are steps left to make */
    RUN_COMPLETE    /* all steps are made, and the model exists */
};

/* Locks the folder, and only then reads its contents. Checks the options, stores them in the
 * folder, and removes the remains of killed programs. If the run is complete but its model is
 * missing or damaged, writes the model from the state. Sets *steps to the number of steps made.
 * Returns an enum run_status, or -1 with a message. It fails, for instance, if another run holds
 * the lock, if there is no run to resume, if there is one but r->resume is false, or if an option
 * differs that must not. */
int run_open(struct training_run *r, int64_t *steps);

/* Restores the options that the folder had before run_open(), if the run failed without a new
 * state. Returns -1 with a message. */
int run_restore_options(struct training_run *r);

/* Checks, after all processes have ended with status 0, that all steps are made and that the model
 * exists. Returns -1 with a message if not. */
int run_check_complete(const struct training_run *r);

/* Prints the options of the folder's run, or those in `file` unless it is "", on stdout: names and
 * values that each end in a zero byte. Returns -1 with a message. */
int run_print_options(const char *folder, const char *file);

/* Prints one line on stdout: "none", "STEP STEPS incomplete", or "STEP STEPS complete", where STEP
 * is the number of steps made and STEPS that of the whole run. Returns -1 with a message. */
int run_print_state(const char *folder);

#endif
