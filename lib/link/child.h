/* child: starts and ends coprocesses. No child outlives the program, however that ends: children
 * that are left when it exits are terminated, and the kernel terminates them if it is killed. */
#ifndef CHILD_H
#define CHILD_H

#include <sys/types.h>

/* Starts `/bin/sh -c command` in a process group of its own. *to becomes a pipe to its stdin, *from
 * one from its stdout, both the caller's. If to is NULL, its stdin is empty; if from is NULL, its
 * stdout is the program's own. Returns -1 with a message. */
int child_start(const char *command, pid_t *pid, int *to, int *from);

/* Waits up to `seconds` for it to exit. Returns 0 if it exited with status 0, else -1 with a
 * message that says how it ended ("exited with status 1", "was killed by SIGKILL") or that it still
 * runs. Sets *pid to 0 unless it still runs. */
int child_wait(pid_t *pid, double seconds);

/* Ends it: sends SIGTERM to its group, and SIGKILL after two seconds. Keeps fail_message(). */
void child_stop(pid_t *pid);

/* Enlarges the buffer of a pipe or FIFO, so that its writer waits less often and a frame is there
 * when its reader wants it. Does nothing if fd is something else or the system refuses. */
void child_widen_pipe(int fd);

#endif
