/* attempt: a training run's processes, from a step on to its end or to the first failure. */
#ifndef ATTEMPT_H
#define ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attempt {
    const char *run; /* the folder: log.txt and commands.sh are in it */
    int lock;        /* run_folder_lock() */
    struct attempt_process {
        const char *name, *command; /* for /bin/sh -c */
    } * processes;
    int n;
    const char *first; /* a command that has to have ended well before they start; or "" */
    const char *asked; /* the process that a signal to the program is passed on to */
    const char *shown; /* the process whose stderr is the program's; others' is the log */
    double timeout;    /* how long one of them may be stopped */
};

/* What the commands find in their environment:
 *   SIMCLR_SOCKETS  a private folder, for sockets, FIFOs and keys
 *   SIMCLR_RUN      the attempt's number, which is the ID of all its links
 *   SIMCLR_START    the first step
 *   SIMCLR_RESUME   --resume if there is a state, else empty
 * 0 when all have ended well; 1 when one has not, or the program was asked to stop: what failed
 * stands in `failed`, and nothing runs any more; -1 with a message: it could not begin. */
int attempt_run(const struct attempt *a, int64_t start, bool resume, char *failed, size_t size);

#endif
