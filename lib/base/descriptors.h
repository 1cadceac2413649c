/* descriptors: the three standard ones, and how many more there may be.
 *
 * Peers take descriptors too: whoever can reach an address can open as many connections as the
 * system lets this process have. So it lets it have all that the user may have, but for some that
 * are kept back, which only a save may use. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

/* Call first in main (signals_setup() does). Standard descriptors that are closed are taken, so
 * that no file or socket gets their place and what was meant for them: using them fails. Raises the
 * soft limit to what the hard one allows but for those that are kept back. */
void descriptors_setup(void);
/* For a child between fork and exec: the soft limit that this program was started with. */
void descriptors_reset(void);

/* open(2), with descriptors that were kept back if there are no others. */
int descriptors_open(const char *path, int flags);
/* mkostemp(3) in the same way. */
int descriptors_temporary(char *pattern, int flags);

#endif
