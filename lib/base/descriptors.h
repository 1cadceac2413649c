/* descriptors: the three standard file descriptors, and how many a process may have.
 *
 * Peers use descriptors too: whoever can reach an address can open as many connections as this
 * process may have descriptors. So the limit is raised to the most that the user may set, less a
 * reserve that only the functions below use: a checkpoint can always be saved. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

/* Call first in main (signals_setup() does). Opens standard descriptors that are closed, in a way
 * that using them fails, so that no file or socket gets their number and with it the text that was
 * meant for them. Raises the soft limit to the hard one, less the reserve. */
void descriptors_setup(void);
/* For a child between fork and exec: restores the soft limit that this program was started with. */
void descriptors_reset(void);

/* As open(2), but takes a descriptor of the reserve if there are no others. */
int descriptors_open(const char *path, int flags);
/* As mkostemp(3), in the same way. */
int descriptors_temporary(char *pattern, int flags);

#endif
