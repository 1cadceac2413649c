/* supervision: repeats attempts at a training run, each from the last saved state, until one
 * succeeds. */
#ifndef SUPERVISION_H
#define SUPERVISION_H

#include <stdint.h>

#include "run/attempt.h"

enum supervision_result {
    SUPERVISION_DONE,    /* the processes of the last attempt have all ended with status 0 */
    SUPERVISION_GAVE_UP, /* attempts have failed more often than allowed */
    SUPERVISION_STOPPED  /* a signal asked the program to stop (stop_requested()) */
};

/* Makes attempts, with a pause of 1, 2, 4 ... 32 seconds after a failure. Gives up after more than
 * `restarts` failures in a row without a new state, or at once if the first attempt makes no step.
 * Reports failures, with the end of the log, through warn_line(). Returns an enum
 * supervision_result, or -1 with a message if an attempt cannot begin or the state is damaged. */
int supervision_run(const struct attempt *attempt, int64_t restarts);

#endif
