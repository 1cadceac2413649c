/* tree: a scratch folder for data sets that consist of files. */
#ifndef TREE_H
#define TREE_H

#include "input.h"

/* Returns the path of an empty folder. The first call of a process creates it, and each later call
 * empties it. It is in memory if there is room for files in memory. It is removed when the process
 * exits normally. */
const char *tree_new(void);
/* Adds a file with these bytes and creates its folders. Skips a name that contains "." or ".." as a
 * part, or that has more than NAME_MAX bytes. */
void tree_add(const char *name, struct input bytes);

#endif
