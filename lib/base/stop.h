/* stop: records that the program was asked to stop, and interrupts its waits.
 *
 * signals_setup() (signals.h) installs the handler. SIGTERM, SIGINT and SIGHUP only set a flag and
 * interrupt the current wait; a wait that begins just after the signal is interrupted within a
 * second. Every loop around a system call that can wait must therefore call stop_check() after
 * EINTR. */
#ifndef STOP_H
#define STOP_H

#include <pthread.h>
#include <stdatomic.h>

/* Returns the number of the first signal that asked the program to stop, or 0. */
int stop_requested(void);

/* Checks whether a stop was requested. If so, returns -1 with the message "stopped by SIGTERM" (or
 * the name of the signal that came); otherwise returns 0. */
int stop_check(void);

/* Lets another thread end the calling one: from now on stop_check() in the calling thread also
 * fails while *flag is set, with the message "stopped". A NULL flag undoes this. To end the thread,
 * the other one sets the flag and then calls stop_wake() repeatedly until the thread has ended,
 * because one call has no effect on a thread that is just about to wait. */
void stop_when(const atomic_bool *flag);
/* Interrupts the wait that the thread is in. */
void stop_wake(pthread_t thread);

/* Makes stop_check() return 0 for that many seconds after the signal, for a program that must first
 * reach a state in which it can stop. stop_requested() still reports the signal at once. */
void stop_grace(double seconds);

/* Handle the signals that ask for a stop, and the alarm that repeats the interruption. Only
 * signals.c uses these. */
void stop_on_signal(int number);
void stop_on_alarm(int number);

#endif
