/* regular_file: opens and reads regular files, and refuses devices, FIFOs and folders, on which a
 * read could block or never end. */
#ifndef REGULAR_FILE_H
#define REGULAR_FILE_H

#include <stdint.h>

/* Opens a regular file for reading and returns a descriptor, the caller's. *size, unless size is
 * NULL, becomes its length in bytes. Returns -1 with a message that names the file. */
int regular_file_open(const char *path, int64_t *size);

/* Reads a whole file of at most `largest` bytes into *text, which ends with a zero and is the
 * caller's. Returns -1 with a message, and *text is NULL then. */
int regular_file_text(const char *path, int64_t largest, char **text);

#endif
