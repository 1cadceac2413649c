/* installation: finds the folders of the programs and pipelines from the place of the running program, so
 * that a tree may be moved or reached through symbolic links.
 *
 *               installed below PREFIX        in a checkout
 *   program     PREFIX/bin/simclr             bin/simclr, or build/KIND/bin/simclr
 *   programs    PREFIX/libexec/simclr         the folder of the program
 *   share       PREFIX/share/simclr           the checkout; holds pipelines/ and examples/
 *   manual      PREFIX/share/man              build/share/man, or build/KIND/share/man */
#ifndef INSTALLATION_H
#define INSTALLATION_H

#include <stdbool.h>

/* Absolute paths without symbolic links. installation_free() frees them. */
struct installation {
    char *programs, *share, *pipelines, *manual;
    bool standard; /* the pipelines find the same folder of programs by themselves */
};

/* Fills *l from the place of the running program. Returns -1 with a message, and with *l empty, if
 * it is neither in an installed tree nor in a checkout, or if the folder of the programs has a colon
 * in its name, which PATH cannot hold. */
int installation_find(struct installation *l);
void installation_free(struct installation *l); /* leaves {0} */

#endif
