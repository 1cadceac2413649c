/* attempt: runs the processes of a training run, starting from its last state, until all have ended
 * or one fails. */
#ifndef ATTEMPT_H
#define ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

/* The description of an attempt. The caller owns everything that it points to. */
struct attempt {
    const char *run; /* the run's folder, in which log.txt and commands.sh are written */
    int lock;        /* descriptor from run_folder_lock() */
    struct attempt_process {
        const char *name, *command; /* for /bin/sh -c */
    } * processes;
    int n;
    const char *first; /* a command that must succeed before the processes start, or "" */
    const char *asked; /* name of the process that gets SIGTERM if the program is asked to stop */
    const char *shown; /* name of the process whose stderr is the program's; others write the log */
    double timeout;    /* seconds for which a process may be stopped, as by SIGSTOP */
};

enum attempt_result {
    ATTEMPT_DONE,  /* all processes have ended with exit status 0 */
    ATTEMPT_FAILED /* one has failed, and the others were ended; fail_message() says which. Also
                      returned if the program was asked to stop (stop_requested()) */
};

/* Runs the processes. Their commands find in the environment:
 *   SIMCLR_SOCKETS  a private folder for sockets, FIFOs and keys; it is removed at the end
 *   SIMCLR_RUN      a random number, which identifies the attempt's links
 *   SIMCLR_START    `start`, the first step
 *   SIMCLR_RESUME   "--resume" if there is a state to resume from, else ""
 * Returns an enum attempt_result, or -1 with a message if the processes cannot be started. */
int attempt_run(const struct attempt *a, int64_t start, bool resume);

#endif
