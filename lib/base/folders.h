/* folders: creates folders. */
#ifndef FOLDERS_H
#define FOLDERS_H

/* Creates the folder `path` and those above it, unless they exist. Returns -1 with a message that
 * names the part that cannot be created or is not a folder. */
int folders_make(const char *path);

#endif
