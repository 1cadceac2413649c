/* tree: a scratch folder for data sets that lie in files. */
#ifndef TREE_H
#define TREE_H

#include "input.h"

/* An empty folder, made once a process and emptied by each call; in memory where there is room for
 * files in memory. It goes away when the process exits well. */
const char *tree_new(void);
/* A file in it with these bytes; its folders are made. A name with "." or ".." in it, or with more
 * than NAME_MAX bytes, is passed over. */
void tree_add(const char *name, struct input bytes);

#endif
