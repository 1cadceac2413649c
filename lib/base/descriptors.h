/* descriptors: opens the three standard file descriptors and limits how many a process may have.
 *
 * Peers use descriptors too: whoever can reach an address can open as many connections as this
 * process has descriptors. The setup therefore raises the limit as far as the user may raise it,
 * less a reserve that only the functions below use, and that connections are driven out of. A
 * checkpoint can then always be saved. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

/* Opens those of the standard descriptors that are closed, in a mode in which using them fails.
 * Otherwise a file or socket would get their number and receive the text that was meant for them.
 * Also raises the soft limit to the hard one, less the reserve. main() must call this first;
 * signals_setup() does. */
void descriptors_setup(void);
/* Restores the soft limit that this program was started with. A child calls it between fork and
 * exec. */
void descriptors_reset(void);

/* Works like open(2), but takes a descriptor of the reserve if there are no others. If peers keep
 * taking it first, tries again for some seconds. */
int descriptors_open(const char *path, int flags);
/* Works like mkostemp(3), with the same use of the reserve. */
int descriptors_temporary(char *pattern, int flags);

#endif
