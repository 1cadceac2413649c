/* stop: whether the program was asked to stop, and how its waits learn of it.
 *
 * signals_setup() (signals.h) installs the handler. SIGTERM, SIGINT and SIGHUP only set a flag and
 * interrupt the present wait; a wait that begins just after the signal is interrupted within a
 * second. So every loop around a system call that can wait calls stop_check() after EINTR. */
#ifndef STOP_H
#define STOP_H

#include <pthread.h>
#include <stdatomic.h>

/* Returns the number of the first signal that asked the program to stop, or 0. */
int stop_requested(void);

/* If a stop was requested, leaves the message "stopped by SIGTERM" (or whichever signal it was) and
 * returns -1; else returns 0. */
int stop_check(void);

/* For a thread that another thread ends: from now on stop_check() in the calling thread also fails
 * while *flag is set, with the message "stopped". NULL undoes it. To end the thread, set the flag,
 * then call stop_wake() repeatedly until the thread has ended, since one call has no effect on a
 * thread that is only about to wait. */
void stop_when(const atomic_bool *flag);
/* Interrupts the thread's present wait. */
void stop_wake(pthread_t thread);

/* For a program that must reach a state in which it can stop: from now on stop_check() returns 0
 * for that many seconds after the signal. stop_requested() reports the signal at once. */
void stop_grace(double seconds);

/* The handlers of the signals that ask for a stop, and of the alarm that repeats the interruption.
 * For signals.c. */
void stop_on_signal(int number);
void stop_on_alarm(int number);

#endif
