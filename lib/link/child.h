/* child: coprocesses. Whatever way the program ends, none of its children outlives it: those that
 * are left when it exits are terminated, and the kernel does the same should it be killed. */
#ifndef CHILD_H
#define CHILD_H

#include <sys/types.h>

/* Starts `/bin/sh -c command` in a process group of its own. *to is a pipe to its stdin, *from one
 * from its stdout. Without `to` its stdin is empty, without `from` its stdout is the program's own.
 * -1 with a message. */
int child_start(const char *command, pid_t *pid, int *to, int *from);

/* Waits up to `seconds` for it to exit. 0 if it exited with status 0; -1 with a message that says
 * how it ended ("exited with status 1", "was killed by SIGKILL"), or that it is still running: then
 * *pid is left, else it is set to 0. */
int child_wait(pid_t *pid, double seconds);

/* Makes it end: SIGTERM to its group, after two seconds SIGKILL. Keeps fail_message(). */
void child_stop(pid_t *pid);

/* A pipe or FIFO takes more before who writes has to wait: fewer switches, and a frame that is
 * there when it is asked for. Where fd is something else, or the system refuses, it stays as it is.
 */
void child_widen_pipe(int fd);

#endif
