/* child: starts and ends coprocesses. No child outlives the program. Children that are left when
 * the program exits are terminated, and the kernel terminates them if the program is killed. */
#ifndef CHILD_H
#define CHILD_H

#include <sys/types.h>

/* Starts `/bin/sh -c command` in a process group of its own. *to becomes a pipe to its stdin and
 * *from a pipe from its stdout; the caller closes both. If to is NULL, the child's stdin is empty;
 * if from is NULL, its stdout is the program's own. Returns -1 with a message. */
int child_start(const char *command, pid_t *pid, int *to, int *from);

/* Does the same with both pipes, and offers shared memory to the command (borrower.h). *channel
 * becomes this side's end of the channel, which the caller closes, or -1 if nothing is offered. */
int child_start_sharing(const char *command, pid_t *pid, int *to, int *from, int *channel);

/* Waits up to `seconds` for the child to exit. Returns 0 if it exited with status 0, else -1 with a
 * message that says how it ended ("exited with status 1", "was killed by SIGKILL") or that it still
 * runs. Sets *pid to 0 unless the child still runs. */
int child_wait(pid_t *pid, double seconds);

/* Ends the child: sends SIGTERM to its group, and SIGKILL after two seconds. Leaves fail_message()
 * as it was. */
void child_stop(pid_t *pid);

/* Does the same as child_wait(), and kills what is left of the child's group after it has exited.
 */
int child_finish(pid_t *pid, double seconds);

/* Ends the child and all of its group: sends SIGTERM, waits up to two seconds until the child has
 * exited and no process holds the other end of the pipe `from` any more, and kills what is left.
 * Leaves fail_message() as it was. */
void child_stop_group(pid_t *pid, int from);

/* Enlarges the buffer of a pipe or FIFO, so that its writer waits less often and a frame is ready
 * when its reader wants it. Does nothing if fd is something else or the system refuses. */
void child_widen_pipe(int fd);

#endif
