/* signals: how a program learns that it shall stop. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <pthread.h>
#include <stdatomic.h>

/* Call first in main. Sees to descriptors (descriptors.h). SIGPIPE and SIGXFSZ are ignored, so a
 * write to a reader that is gone, or beyond the size that a file may have, fails instead. SIGTERM,
 * SIGINT and SIGHUP only set a flag and interrupt the present wait; a wait that begins just after
 * the signal is interrupted within a second. */
void signals_setup(void);

/* The number of the signal that asked the program to stop, or 0. */
int stop_requested(void);

/* If a stop was requested, leaves the message "stopped by SIGTERM" (or what it was) and returns -1;
 * else 0. Every loop around a system call that can wait calls it after EINTR. */
int stop_check(void);

/* For a thread that another one ends: in the calling thread stop_check() fails, with the message
 * "stopped", once *flag is set as well. NULL: as before. Set the flag, then interrupt the thread's
 * wait with stop_wake() until it has ended, since it may only have been about to wait. */
void stop_when(const atomic_bool *flag);
void stop_wake(pthread_t thread);

/* A program that must come to a state it can stop in: from now on stop_check() passes for so many
 * seconds after a signal, which stop_requested() tells at once. */
void stop_grace(double seconds);

/* For a child between fork and exec: the defaults again. */
void signals_reset(void);

#endif
