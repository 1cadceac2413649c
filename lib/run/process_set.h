/* process_set: the processes of one attempt at a training run, all of which it needs.
 *
 * Each process is in a process group of its own, and none outlives the program: a second process of
 * it, the guard, waits for the program's end. If the program is killed, the guard ends the
 * processes that are left and removes the attempt's private folder. */
#ifndef PROCESS_SET_H
#define PROCESS_SET_H

#include <stdbool.h>

struct process_set;

/* Starts the guard. If `folder` is not NULL, the guard removes it should the program be killed; the
 * path is copied. Returns NULL with a message if the guard cannot be started. */
struct process_set *process_set_new(const char *folder);

/* Starts `/bin/sh -c command` with an empty stdin and these descriptors as stdout and stderr, which
 * stay the caller's. Returns -1 with a message. */
int process_set_start(struct process_set *s, const char *name, const char *command, int out,
                      int err);

enum process_set_event {
    PROCESS_SET_NONE,  /* no process has ended */
    PROCESS_SET_ENDED, /* a process has ended with exit status 0 */
    PROCESS_SET_FAILED /* a process has ended otherwise; fail_message() says how: "the loss exited
                          with status 1", "the loss was killed by SIGKILL" */
};

/* Waits until a process ends, but at most `seconds`, and not after a signal has asked the program
 * to stop. Reports one process at a time. */
enum process_set_event process_set_wait(struct process_set *s, double seconds);

/* Returns how many processes have been started and are not reported as ended. */
int process_set_running(const struct process_set *s);

/* Sends a signal to the process of that name, not to its group. */
void process_set_signal(const struct process_set *s, const char *name, int number);

/* Whether one of the processes, or one that they started, has been stopped (as by SIGSTOP) for at
 * least `seconds`; then fail_message() names it. Time in which the program itself was stopped does
 * not count. Call it every second or so. */
bool process_set_is_stopped(struct process_set *s, double seconds);

/* Ends all processes and the guard, frees s, which may be NULL, and keeps fail_message(). The
 * processes first get a second, in which those that are linked to one that failed end by themselves
 * and say why; then comes SIGTERM and, after five more seconds, SIGKILL. */
void process_set_end(struct process_set *s);

#endif
