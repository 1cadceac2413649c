/* cifar_files: the files of CIFAR-10 and CIFAR-100 in a folder, or in the archive that is
 * distributed. A list of names ends with NULL; an archive's folders do not matter. */
#ifndef CIFAR_FILES_H
#define CIFAR_FILES_H

#include <stdbool.h>

#include "data/sample.h"

enum { CIFAR_MAX_FILES = 5 }; /* largest number of names in a list */

struct cifar_list {
    const char *const *names;
    bool check; /* a file must begin as a pickle of a dict, since its name may mean anything */
};

/* Returns the first of n lists of which the folder or archive has a file, or -1. Looks only at the
 * first entries of an archive. */
int cifar_files_find(const char *path, const struct cifar_list *lists, int n);

/* Returns true if the folder or archive has a file of the list. */
bool cifar_files_has_any(const char *path, const struct cifar_list *list);

/* Reads the files in the order of the names, and calls take() with each, whose sample has its bytes
 * and names. If the file is missing, `found` is false, and the sample has names only. Returns -1 with a message if
 * reading or take() fails. An archive's files are in memory together. */
int cifar_files_read(const char *path, const char *const *names,
                     int (*take)(void *context, const struct sample *file, bool found),
                     void *context);

#endif
