/* crew: the processes of one attempt, of which each is needed. Each runs in a process group of its
 * own, and none outlives the program: a guard, a process that waits for the program's end, ends
 * what is left should the program be killed, and removes the attempt's private folder. */
#ifndef CREW_H
#define CREW_H

#include <stdbool.h>
#include <stddef.h>

struct crew;

/* Starts the guard. `folder`, which may be NULL, is removed by it where the program is killed. NULL
 * with a message. */
struct crew *crew_new(const char *folder);

/* Starts `/bin/sh -c command`, its stdin being empty, its stdout and stderr these descriptors. -1
 * with a message. */
int crew_start(struct crew *c, const char *name, const char *command, int out, int err);

/* Waits up to `seconds`, or until a signal comes. 1: a process has ended, well if *failed is empty;
 * else it says what failed: "the loss exited with status 1", "the loss was killed by SIGKILL". 0:
 * none has. */
int crew_wait(struct crew *c, double seconds, char *failed, size_t size);
/* Those that have been started and have not ended. */
int crew_running(const struct crew *c);

/* Sends a signal to the process, not to its group. */
void crew_signal(const struct crew *c, const char *name, int number);

/* Looks for processes of the crew, and for those that they started, that have been stopped (as by
 * SIGSTOP) since at least so many seconds; the time in which the program itself was stopped does
 * not count. 1 with a message that names one, 0 if there is none. To be called every second or so.
 */
int crew_stopped(struct crew *c, double seconds);

/* Ends all. Those that are linked to what failed end by themselves and say why, so they have a
 * second for that; then come SIGTERM and, after five more seconds, SIGKILL. Also the guard ends.
 * Frees c. */
void crew_end(struct crew *c);

#endif
