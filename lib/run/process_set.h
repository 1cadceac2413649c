/* process_set: the processes of one attempt at a training run, which needs all of them.
 *
 * Each process has its own process group, and none outlives the program. To ensure that, the
 * program starts a second process, the guard, which waits for the program's end. If the program is
 * killed, the guard ends the remaining processes and removes the attempt's private folder. */
#ifndef PROCESS_SET_H
#define PROCESS_SET_H

#include <stdbool.h>

struct run_cost;

/* The processes of an attempt and their guard. */
struct process_set;

/* Starts the guard. If `folder` is not NULL, the guard removes that folder if the program is
 * killed; the path is copied. Returns NULL with a message if the guard cannot be started. */
struct process_set *process_set_new(const char *folder);

/* Starts `/bin/sh -c command` with an empty stdin and these descriptors as stdout and stderr. The
 * caller still owns the descriptors. Returns -1 with a message. */
int process_set_start(struct process_set *s, const char *name, const char *command, int out,
                      int err);

enum process_set_event {
    PROCESS_SET_NONE,  /* no process has ended */
    PROCESS_SET_ENDED, /* a process has ended with exit status 0 */
    PROCESS_SET_FAILED /* a process has ended otherwise; fail_message() says how: "the loss exited
                          with status 1", "the loss was killed by SIGKILL" */
};

/* Waits until a process ends, but at most `seconds`, and only until a signal asks the program to
 * stop. Reports one process at a time. */
enum process_set_event process_set_wait(struct process_set *s, double seconds);

/* Returns the number of processes that were started and have not been reported as ended. */
int process_set_running(const struct process_set *s);

/* Sends a signal to the process of that name, but not to its group. */
void process_set_signal(const struct process_set *s, const char *name, int number);

/* Keeps an account (run_cost.h) of the processes that are started from now on; the set owns it and
 * ends it with itself. */
void process_set_account(struct process_set *s, struct run_cost *cost);

/* Looks at the processes; call this about once a second. Adds the CPU time that they have taken to
 * the account. Returns true if one of them, or a descendant of one, has been stopped (for example
 * by SIGSTOP) for at least `seconds`; fail_message() then names it. Time in which the program
 * itself was stopped does not count. */
bool process_set_look(struct process_set *s, double seconds);

/* Ends all processes and the guard, and frees s, which may be NULL. Leaves fail_message() as it
 * was. The processes first get one second, in which those that are linked to a failed process can
 * end by themselves and say why. Then they get SIGTERM and, after five more seconds, SIGKILL. */
void process_set_end(struct process_set *s);

#endif
