/* signals: sets a program's reaction to signals. */
#ifndef SIGNALS_H
#define SIGNALS_H

/* Sets the reaction to signals; main() must call this first. It ignores SIGPIPE and SIGXFSZ, so
 * that a write fails if its reader is gone or if it exceeds the allowed size of a file. SIGTERM,
 * SIGINT and SIGHUP ask the program to stop (stop.h), unless they are already ignored. It also
 * calls descriptors_setup(). */
void signals_setup(void);

/* Restores the default actions and the limit of descriptors. A child calls it between fork and
 * exec. */
void signals_reset(void);

#endif
