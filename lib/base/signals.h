/* signals: what a program does about signals. */
#ifndef SIGNALS_H
#define SIGNALS_H

/* Call first in main. SIGPIPE and SIGXFSZ are ignored, so a write to a reader that is gone, or
 * beyond the size that a file may have, fails instead. SIGTERM, SIGINT and SIGHUP ask the program
 * to stop (stop.h), unless they are ignored already. Also calls descriptors_setup(). */
void signals_setup(void);

/* For a child between fork and exec: restores the default actions and the limit of descriptors. */
void signals_reset(void);

#endif
